"""The best of shared samples by each person's weights: what is shared, what is saved, and its exact form."""

import numpy as np
import pytest

from prefbench import registry, seeds
from prefbench.errors import PrefbenchError
from prefbench.learn.interface import Pairs, Personal, RewardFunction
from prefbench.learn.options import PersonalOptions
from prefbench.learn.routing import policies_of, weights_for_worst_off
from prefbench.learn.selection import BestOfPolicy, with_utilities
from prefbench.learn.weighted import Candidates, Frozen, SelectionPolicy, TrueUtilities, WeightedCriterion
from prefbench.problem.view import View
from support.worlds import known_rewards, make_world

PROMPTS = ["the film", "my sister", "a short story"]
PAIRS = Pairs(PROMPTS, [" was a joy", " sings", " is dull"], [" was dull", " left", " was a joy"])
DRAW = seeds.child(3, "answers")


def letters(prompts, responses):
    """Two experts who do not agree: the letter a, and silence."""
    return np.array([[text.count("a"), -len(text)] for text in responses], dtype=float)


class Counting:
    """An expert who counts how often she is asked."""

    def __init__(self, experts: RewardFunction) -> None:
        self.experts, self.asked = experts, 0

    def __call__(self, prompts, responses):
        self.asked += len(responses)
        return self.experts(prompts, responses)


def test_samples_are_had_once_for_all_people_and_any_order_of_prompts(tiny_backbone):
    experts = Counting(letters)
    pool = Candidates(tiny_backbone().reference, experts, 4)
    one, other = (SelectionPolicy.by(pool, np.array(weights)) for weights in ([1.0, 0.0], [0.0, 1.0]))
    first, second = one.sample(PROMPTS, 2, DRAW), other.sample(PROMPTS[::-1], 2, DRAW)[::-1]
    assert experts.asked == 4 * 2 * len(PROMPTS) and first != second
    for mine, hers in zip(first, second, strict=True):
        for text, shorter in zip(mine, hers, strict=True):
            assert text.count("a") >= shorter.count("a") and len(text) >= len(shorter)
    fresh = Candidates(tiny_backbone().reference, letters, 4)
    assert SelectionPolicy.by(fresh, np.array([1.0, 0.0])).sample(PROMPTS[1:2], 2, DRAW) == first[1:2]
    assert one.sample(PROMPTS, 2, seeds.child(3, "others")) == first
    assert one.sample(PROMPTS, 2, seeds.child(4, "answers")) != first


def test_chances_in_a_world_are_those_of_the_best_of_n(finite_world):
    backbone, prompts = finite_world
    rewards, weights = known_rewards(backbone), np.array([0.3, 0.7])
    shared = SelectionPolicy.by(Candidates(backbone.reference, rewards, 4), weights)
    alone = BestOfPolicy(backbone.reference, WeightedCriterion(rewards, (0.3, 0.7)), 4)
    listed = backbone.probabilities(shared)
    assert (listed == backbone.probabilities(alone)).all()
    drawn = shared.sample(prompts[:1], 20_000, DRAW)[0]
    state = backbone.world.state[prompts[0]]
    found = [drawn.count(text) / len(drawn) for text in backbone.world.responses[state]]
    assert found == pytest.approx(listed[state], abs=0.015)


@pytest.fixture
def finite_world(tmp_path):
    from prefbench.backbone.finite.backbone import Finite
    from prefbench.backbone.options import FiniteOptions
    from prefbench.store.stages import Store, Work

    world, prompts = make_world()
    return Finite(world, FiniteOptions(), Store(tmp_path), Work("policy", tmp_path), 0.5), prompts


def test_what_was_saved_answers_as_before(tiny_backbone, tmp_path):
    from prefbench.learn.options import RewardOptions
    from prefbench.learn.rewards import normalised

    backbone = tiny_backbone()
    reward = backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1), seed=0, name="saved")
    features = Frozen.of(backbone, PAIRS, reward, "reward")
    count = features(PROMPTS, PAIRS.chosen).shape[1]
    known = [
        (normalised([reward], ["one"], [np.arange(3.0)]), np.array([1.0])),
        (features, np.linspace(-1, 1, count)),
        (Frozen.of(backbone, PAIRS, None, "square"), np.linspace(-1, 1, count)),
        (TrueUtilities.over(letters, PAIRS), np.array([0.4, 0.6])),
    ]
    for number, (experts, weights) in enumerate(known):
        policy = SelectionPolicy.by(Candidates(backbone.reference, experts, 3), weights)
        folder = tmp_path / str(number)
        folder.mkdir()
        policy.save(folder)
        loaded = with_utilities(backbone.load_policy(folder), lambda: letters)
        assert loaded.sample(PROMPTS, 2, DRAW) == policy.sample(PROMPTS, 2, DRAW)
        assert loaded.logprob(PROMPTS, PAIRS.chosen) is None and loaded.most_kl == policy.most_kl
    with pytest.raises(PrefbenchError, match="not told"):
        backbone.load_policy(tmp_path / "3").sample(PROMPTS, 1, DRAW)
    own = SelectionPolicy.by(Candidates(backbone.reference, letters, 3), np.array([1.0, 0.0]))
    with pytest.raises(PrefbenchError, match="cannot be saved"):
        own.save(tmp_path)


def test_features_of_a_language_model_have_unit_spread_and_come_after_the_reward(tiny_backbone):
    from prefbench.learn.options import RewardOptions

    backbone = tiny_backbone()
    reward = backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1), seed=0, name="features")
    plain, scored = (Frozen.of(backbone, PAIRS, reward, beside) for beside in ("nothing", "reward"))
    both = plain([*PROMPTS, *PROMPTS], [*PAIRS.chosen, *PAIRS.rejected])
    assert both.std(axis=0) == pytest.approx(1)
    with_reward = scored(PROMPTS, PAIRS.chosen)
    assert with_reward[:, 0] == pytest.approx(reward.score(PROMPTS, PAIRS.chosen))
    assert with_reward[:, 1:] == pytest.approx(both[:3])
    squared = Frozen.of(backbone, PAIRS, reward, "square")(PROMPTS, PAIRS.chosen)
    assert squared == pytest.approx(np.column_stack([both[:3], -(both[:3] ** 2).sum(axis=1)]))


def test_weights_for_the_worst_off_by_samples_level_the_experts(tiny_backbone):
    """Where both can gain, the best policy for the worst off gives both as much, here in the samples."""
    backbone = tiny_backbone()
    drawn = backbone.reference.sample(PROMPTS, 8, seeds.child(0, "least favourable"))
    level = np.mean([len(text) for row in drawn for text in row]) / 5

    def opposed(prompts, responses):
        length = np.array([len(text) for text in responses], dtype=float)
        return np.column_stack([length / 10, level - length / 10])

    view = View({}, tuple(PROMPTS), 0)
    options = PersonalOptions(candidates=8, kl_coefficient=0.5)
    weights = weights_for_worst_off(view, backbone, opposed, options)
    assert weights.sum() == pytest.approx(1) and 0 < weights[0] < 1
    gained = np.zeros(2)
    for prompt, row in zip(PROMPTS, drawn, strict=True):
        said = opposed([prompt] * 8, row)
        tilted = np.exp(said @ weights / 0.5)
        gained += said.T @ (tilted / tilted.sum())
    assert gained[0] == pytest.approx(gained[1], abs=1e-6)
    assert isinstance(policies_of(view, backbone, opposed, options)(weights), SelectionPolicy)


@pytest.mark.parametrize("name", ["gold_personal", "known_groups_personal"])
def test_on_a_language_model_people_of_two_groups_get_two_answers(tiny_backbone, name):
    from prefbench.learn.interface import Aligned, Context
    from support.tiny import LONG, SHORT, pairs_by_length

    backbone, pairs = tiny_backbone(), pairs_by_length()

    def utilities(prompts, responses):
        return np.array([[len(text), -len(text)] for text in responses], dtype=float)

    class Columns(dict):
        def __getitem__(self, key):
            return self if isinstance(key, slice) else super().__getitem__(key)

    group = ["long" if user % 2 == 0 else "short" for user in pairs.user_id.tolist()]
    rows = Columns(prompt=pairs.prompts, chosen=pairs.chosen, rejected=pairs.rejected, group=group)
    shares = {"long": 0.5, "short": 0.5}
    view = View({"train": rows, "validation": rows}, tuple(pairs.prompts), 0, shares, utilities)
    entry = registry.get("aligner", name)
    few = {key: 5 for key in ("reward_epochs", "reward_group_epochs") if key in entry.options.model_fields}
    found = entry.function(view, backbone, entry.options(candidates=8, **few))
    policy = found.policy
    assert isinstance(found, Aligned) and "at most 1.20 nats" in found.notes[-1]
    assert isinstance(policy, Personal) and len(LONG) > len(SHORT)
    long, short = (policy.adapt(Context(group=each)).sample(PROMPTS, 4, DRAW) for each in shares)
    length = [np.mean([len(text) for row in rows for text in row]) for rows in (long, short)]
    assert length[0] > length[1]

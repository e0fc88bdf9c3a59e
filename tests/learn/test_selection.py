"""Best of n, another temperature and the best constant: closed forms, sampling, and what is saved."""

import numpy as np
import pytest

from prefbench import registry, seeds
from prefbench.errors import PrefbenchError
from prefbench.learn.interface import Aligned
from prefbench.learn.selection import (
    BestOfPolicy,
    LearnedCriterion,
    WorstOff,
    best_constant,
    with_utilities,
)
from prefbench.learn.simple_policies import tempered_reference
from prefbench.problem.view import View
from prefbench.record.evidence import read_items
from prefbench.record.verify import verify
from prefbench.running.run import run
from prefbench.spec import make_spec
from support.worlds import known_rewards, make_world


@pytest.fixture
def world_backbone(tmp_path):
    from prefbench.backbone.finite.backbone import Finite
    from prefbench.backbone.options import FiniteOptions
    from prefbench.store.stages import Store, Work

    world, prompts = make_world()
    return Finite(world, FiniteOptions(), Store(tmp_path), Work("policy", tmp_path), 0.5), prompts


def truth(world):
    """The true utilities of a world as an aligner is told them."""

    def utilities(prompts, responses):
        rows = world.rows(prompts)
        return world.utilities[rows, world.columns(rows, responses)]

    return utilities


def test_the_best_of_two_by_hand(world_backbone):
    """One third each: the worst of three is drawn twice in 1 of 9 cases, the best at least once in 5."""
    from prefbench.backbone.finite.backbone import _selected

    third = np.full((1, 3), 1 / 3)
    assert _selected(third, np.array([[0.0, 1.0, 2.0]]), 2) * 9 == pytest.approx(np.array([[1, 3, 5]]))
    assert _selected(third, np.array([[1.0, 1.0, 2.0]]), 2) * 9 == pytest.approx(np.array([[2, 2, 5]]))


def test_listed_chances_are_those_of_sampling_and_no_further_than_the_bound(world_backbone):
    backbone, prompts = world_backbone
    criterion = WorstOff.over(
        truth(backbone.world),
        prompts,
        [r[0] for r in backbone.reference.sample(prompts, 1, seeds.child(0, "x"))],
    )
    policy = BestOfPolicy(backbone.reference, criterion, 4)
    listed = backbone.probabilities(policy)
    assert listed.sum(axis=1) == pytest.approx(np.ones(4))
    drawn = policy.sample(prompts[:4], 20_000, seeds.child(1, "draws"))
    for prompt, row in zip(prompts, drawn, strict=False):
        state = backbone.world.state[prompt]
        found = [row.count(text) / len(row) for text in backbone.world.responses[state]]
        assert found == pytest.approx(listed[state], abs=0.015)
    kl = (listed * np.log(listed / backbone.world.reference)).sum(axis=1)
    assert (kl <= policy.most_kl).all() and policy.most_kl == pytest.approx(np.log(4) - 3 / 4)
    assert policy.logprob(prompts, [""] * len(prompts)) is None


def test_more_samples_are_better_for_the_worst_off(world_backbone):
    backbone, _ = world_backbone
    criterion = WorstOff((0.0, 0.0), (1.0, 1.0), truth(backbone.world))
    worst = criterion.score(*backbone._everything).reshape(backbone.world.reference.shape)
    means = [
        (backbone.probabilities(BestOfPolicy(backbone.reference, criterion, n)) * worst).sum(axis=1)
        for n in (2, 4, 16)
    ]
    assert (np.diff(means, axis=0) > 0).all()


def test_what_was_saved_answers_as_before(world_backbone, tmp_path):
    backbone, prompts = world_backbone
    tell = truth(backbone.world)
    made = [
        BestOfPolicy(backbone.reference, LearnedCriterion(known_rewards(backbone).models[0]), 3),
        BestOfPolicy(backbone.reference, WorstOff((0.1, -0.2), (1.0, 2.0), tell), 3),
        tempered_reference(backbone, 0.5),
    ]
    for number, policy in enumerate(made):
        folder = tmp_path / f"saved-{number}"
        folder.mkdir()
        policy.save(folder)
        loaded = with_utilities(backbone.load_policy(folder), lambda: tell)
        draw = seeds.child(0, "again")
        assert loaded.sample(prompts[:20], 2, draw) == policy.sample(prompts[:20], 2, draw)
        assert backbone.probabilities(loaded) == pytest.approx(backbone.probabilities(policy))
    untold = backbone.load_policy(tmp_path / "saved-1")
    with pytest.raises(PrefbenchError, match="was not told them"):
        untold.sample(prompts[:1], 1, seeds.child(0, "again"))


def test_another_temperature_is_the_power_of_every_token(tiny_backbone, tmp_path):
    import torch

    backbone = tiny_backbone()
    policy = tempered_reference(backbone, 0.5)
    prompts, texts = ["the film", "my sister"], [" was a joy", " dull"]
    found = policy.logprob(prompts, texts)
    for prompt, text, value in zip(prompts, texts, found, strict=True):
        asked, said = backbone.codec.prompts([prompt])[0], backbone.codec.responses([text])[0]
        with torch.no_grad():
            logits = backbone.reference.model(torch.tensor([[*asked, *said]])).logits[0].double()
        each = (logits / 0.5).log_softmax(-1)[len(asked) - 1 : -1]
        expected = sum(float(row[token]) for row, token in zip(each, said, strict=True))
        assert value == pytest.approx(expected, abs=1e-4)
    policy.save(tmp_path)
    assert backbone.load_policy(tmp_path).logprob(prompts, texts) == pytest.approx(found, abs=1e-6)


def test_the_best_constant_by_hand():
    """One group counts good words, the other wants few: "good" alone wins for both against two words."""

    def utilities(prompts, responses):
        words = [text.split() for text in responses]
        return np.array([[w.count("good"), -len(w)] for w in words], dtype=float)

    candidates = ["", " bad", " so very good so", " so bad"]
    found = best_constant(candidates, ["a", "b"], ["so so", "so so"], utilities, rounds=9)
    assert found == " good"
    assert best_constant(candidates, ["a"], ["so so"], utilities, rounds=0) == " bad"  # a tie and a win
    assert best_constant(["x"], ["a"], ["so so"], utilities, rounds=3) == "x"  # never shortened to nothing


def test_the_constant_is_found_on_train_prompts_alone(tiny_backbone):
    backbone = tiny_backbone()
    asked = []

    def utilities(prompts, responses):
        asked.extend(prompts)
        return np.array([[len(text), -len(text)] for text in responses], dtype=float)

    train = tuple(f"prompt {i}" for i in range(30))
    view = View({}, train, 0, shares={"long": 0.5, "short": 0.5}, utilities=utilities)
    entry = registry.get("aligner", "best_constant")
    made = entry.function(view, backbone, entry.options(candidates=12, prompts=10))
    assert isinstance(made, Aligned) and set(asked) <= set(train)
    assert entry.role == "floor" and repr(made.policy.text) in made.notes[0]


@pytest.mark.parametrize("aligner", ["best_of_n", "gold_best_of_n", "tempered"])
def test_a_run_in_a_world(tmp_path, aligner):
    sets = {"task": {"test_prompts": 50}}
    folder, record = run(make_spec(task="bandit_two_group", aligner=aligner, sets=sets), tmp_path)
    assert record.status == "ok" and record.regret is not None and verify(folder) == []
    if aligner == "tempered":
        assert record.kl is not None and record.notes == ()
        return
    assert record.kl is None and read_items(folder)["kl"].isna().all()
    assert "at most 1.84 nats" in record.notes[0] and 0 < record.regret.kl <= np.log(16) - 15 / 16

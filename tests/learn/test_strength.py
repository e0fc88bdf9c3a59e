"""Labels that are not certain: a share of k votes in m is worth k labels one way and m - k the other."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import adjusted_rand_score

from prefbench import seeds
from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.language.held_out import pairwise_score, ppo_score, reward_score
from prefbench.backbone.options import FiniteOptions
from prefbench.errors import UserError
from prefbench.learn import em, grouping, rewards
from prefbench.learn.interface import Pairs, PairwiseRequest, RewardRequest
from prefbench.learn.low_rank import fit_departures, fit_low_rank
from prefbench.learn.options import IPOOptions, PairwiseOptions, RewardOptions
from prefbench.learn.pairwise import DPO, IPO, labelled
from prefbench.learn.rewards import fit_linear, log_likelihood, ordered, pairs_digest, residual, strength_of
from prefbench.learn.routers import fit_free, fit_simplex, population, posterior
from prefbench.learn.variational import Variational, _first_weights
from prefbench.store.stages import Store, Work
from support.worlds import labelled as labelled_in
from support.worlds import make_world

VOTES = 4


def by_vote(pairs: Pairs, votes: int, seed: int = 0) -> tuple[Pairs, Pairs]:
    """Each pair as often as there are votes: with their share as strength, and as votes of both kinds."""
    k = np.random.default_rng(seed).integers(0, votes + 1, len(pairs))
    again = np.repeat(np.arange(len(pairs)), votes)
    soft = replace(pairs[again], strength=(k / votes)[again])
    lost = np.tile(np.arange(votes), len(pairs)) >= k[again]
    chosen, rejected = np.array(soft.chosen, dtype=object), np.array(soft.rejected, dtype=object)
    hard = replace(
        soft,
        strength=None,
        chosen=np.where(lost, rejected, chosen).tolist(),
        rejected=np.where(lost, chosen, rejected).tolist(),
    )
    return soft, hard


@pytest.fixture
def world(tmp_path):
    made, prompts = make_world()
    work = tmp_path / "work"
    work.mkdir()
    backbone = Finite(made, FiniteOptions(penalty=0.5), Store(tmp_path), Work("policy", work), 0.5)
    user = np.arange(len(prompts)) % 6
    theta = np.array([[1.0, -0.5, 0.3]] * 4 + [[-1.0, 0.5, 0.6]] * 2)
    return backbone, labelled_in(backbone, prompts, theta, user=user)


def test_loss_and_likelihood_by_hand():
    # Z = 0.75 at a margin of 2: 0.75 log(1 + e^-2) + 0.25 log(1 + e^2) = 0.126928 + 2 / 4
    by_hand = np.log1p(np.exp(-2)) + 0.5
    strength = torch.tensor([0.75])
    assert rewards.loss(torch.tensor([2.0]), strength=strength).item() == pytest.approx(by_hand)
    assert log_likelihood(np.array([2.0]), np.array([0.75])) == pytest.approx([-by_hand])
    assert labelled(DPO(1.0), Pairs([""], [""], [""], strength=np.array([0.75])))(
        torch.tensor([2.0])
    ).item() == pytest.approx(by_hand)
    # A tie pulls towards a margin of nought, and is content there.
    assert residual(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == pytest.approx([0.0, 0.5 - expit(1.0)])


def test_a_share_of_votes_is_its_votes_in_a_world(world):
    backbone, pairs = world
    each = np.random.default_rng(3).uniform(0.2, 3, len(pairs))
    for weights in (None, np.repeat(each, VOTES)):
        soft, hard = (replace(each, weights=weights) for each in by_vote(pairs, VOTES))
        one, other = (
            backbone.fit_reward(each, RewardOptions(), seed=0, name="r").table for each in (soft, hard)
        )
        assert np.abs(one - other).max() < 1e-8
        plain = backbone.fit_reward(replace(soft, strength=None), RewardOptions(), seed=0, name="r").table
        assert np.abs(one - plain).max() > 0.1
        group = {"group": np.where(soft.user_id < 4, "many", "few").astype(object)}
        for loss, options in ((DPO(0.2), PairwiseOptions(beta=0.2)), (IPO(0.2), IPOOptions(beta=0.2))):
            for step in (None, 0.1):
                fitted = [
                    backbone.fit_pairwise(
                        replace(each, **group), loss, options, seed=0, group_step=step
                    ).table
                    for each in (soft, hard)
                ]
                # The smooth maximum over groups ends where rounding lets it.
                assert np.abs(fitted[0] - fitted[1]).max() < (1e-8 if step is None else 1e-4)


def test_a_loss_without_slopes_is_given_strength_too(world):
    backbone, pairs = world
    soft, _ = by_vote(pairs, VOTES)
    named, plain = (
        backbone.fit_pairwise(soft, loss, PairwiseOptions(beta=0.2), seed=0).table
        for loss in (DPO(0.2), DPO(0.2).__call__)
    )
    assert np.allclose(named, plain, atol=1e-6)


@pytest.mark.parametrize("kind", ["reward", "policy"])
def test_a_share_of_votes_is_its_votes_on_a_language_model(tmp_path, tiny_backbone, kind):
    """One batch holds all pairs, so that their order plays no part."""
    chosen, rejected = [" good", " was", " was", " bad"], [" was", " good", " bad", " was"]
    soft, hard = by_vote(Pairs(["the film"] * 4, chosen, rejected), 3, seed=2)
    assert 0 < soft.strength.mean() < 1

    def fitted(given, folder):
        backbone = tiny_backbone(folder=tmp_path / folder)
        if kind == "reward":
            options = RewardOptions(reward_epochs=3, reward_batch=16)
            reward = backbone.fit_reward(given, options, seed=0, name="r")
            return reward.score(["the film"] * 4, chosen)
        policy = backbone.fit_pairwise(given, DPO(0.3), PairwiseOptions(epochs=3, batch=16), seed=0)
        return policy.logprob(["the film"] * 4, chosen)

    one, other = fitted(soft, "soft"), fitted(hard, "hard")
    assert one == pytest.approx(other, abs=1e-4)
    assert np.abs(one - fitted(replace(soft, strength=None), "plain")).max() > 1e-3


def test_held_out_pairs_count_with_their_strength(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    chosen, rejected = [" good", " was", " was", " bad"], [" was", " good", " bad", " was"]
    soft, hard = by_vote(Pairs(["the film"] * 4, chosen, rejected), 5, seed=2)
    model, reward = backbone.trainable_copy(0), backbone.new_reward(0)
    with torch.no_grad():
        for weight in [*model.parameters(), *reward.parameters()]:
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(weight)))

    def scores(held_out: Pairs) -> list[float]:
        best = RewardOptions(reward_checkpoint="best")
        fit = RewardRequest(held_out, best, seed=0, name="r", held_out=held_out)
        options = PairwiseOptions(checkpoint="best")
        pair = PairwiseRequest(held_out, DPO(0.3), options, seed=0, held_out=held_out)
        asked = type("Asked", (), {"options": options, "held_out": [held_out]})
        found = reward_score(backbone, reward, fit), pairwise_score(backbone, model, pair)
        return [score() for score in (*found, ppo_score(backbone, model, asked))]

    with torch.no_grad():
        assert scores(soft) == pytest.approx(scores(hard), abs=1e-5)
        assert np.abs(np.subtract(scores(soft), scores(replace(soft, strength=None)))).min() > 1e-3


def test_pairs_are_ordered_as_far_as_they_are_labelled():
    class Longer:
        def score(self, prompts, responses):
            return np.array([float(len(text)) for text in responses])

    pairs = Pairs(["x"] * 4, ["aa", "aa", "a", "a"], ["a", "a", "aa", "aa"])
    assert ordered(Longer(), pairs) == (2, 4)
    assert ordered(Longer(), replace(pairs, strength=np.array([1.0, 0.5, 0.75, 0.0]))) == (2.75, 4)
    assert ordered(Longer(), replace(pairs, strength=np.ones(4))) == (2.0, 4)


def test_a_linear_fit_of_votes_is_that_of_a_share():
    rng = np.random.default_rng(0)
    x, k = rng.normal(size=(50, 3)), rng.integers(0, VOTES + 1, 50)
    again = np.repeat(np.arange(50), VOTES)
    sign = np.where(np.tile(np.arange(VOTES), 50) < k[again], 1.0, -1.0)
    shares = fit_linear(x[again], 2.0, strength=(k / VOTES)[again], precise=True)
    votes = fit_linear(sign[:, None] * x[again], 2.0, precise=True)
    assert shares == pytest.approx(votes, abs=1e-8)


def people(units=(8, 4), pairs=12, dimensions=5, seed=0):
    """Differences of features, whose they are and shares of votes for the first, by two kinds of people."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(units)), units)
    unit = np.repeat(np.arange(len(truth)), pairs)
    x = rng.normal(size=(len(unit), dimensions))
    theta = 3 * rng.normal(size=(len(units), dimensions))
    chance = expit((x * theta[truth[unit]]).sum(axis=1))
    return x, unit, rng.binomial(VOTES, chance), truth


def test_groups_found_by_shares_of_votes_are_those_found_by_votes():
    """Each pair of m votes stands m times, with its share or as k one way and m - k the other."""
    x, unit, k, truth = people()
    again = np.repeat(np.arange(len(x)), VOTES)
    sign = np.where(np.tile(np.arange(VOTES), len(x)) < k[again], 1.0, -1.0)[:, None]
    share = (k / VOTES)[again]
    soft = grouping.design(x[again], unit[again], 12, 4.0, share)
    hard = grouping.design(sign * x[again], unit[again], 12, 4.0)
    weights = np.random.default_rng(1).uniform(0.1, 1, 12)
    (one, factor), (other, same) = grouping.fit(soft, weights), grouping.fit(hard, weights)
    assert one == pytest.approx(other, abs=1e-9) and factor == pytest.approx(same, abs=1e-9)
    ours, theirs = (
        grouping.left_out(soft, one, factor, weights),
        grouping.left_out(hard, other, same, weights),
    )
    assert ours == pytest.approx(theirs, abs=1e-6)
    first = grouping.group(x[again], None, unit[again], 2, 2, 0, share)
    second = grouping.group(sign * x[again], None, unit[again], 2, 2, 0)
    assert adjusted_rand_score(first.assignment, second.assignment) == 1.0
    assert adjusted_rand_score(truth, first.assignment) == 1.0
    assert first.likelihood == pytest.approx(second.likelihood, abs=1e-3)
    plain = [
        em.best_start(d, unit[again], 2, 2, 0, z) for d, z in ((x[again], share), (sign * x[again], None))
    ]
    assert plain[0].likelihood == pytest.approx(plain[1].likelihood, abs=1e-3)
    assert adjusted_rand_score(plain[0].assignment, plain[1].assignment) == 1.0


def test_a_mixture_in_a_world_finds_the_same_by_shares_and_by_votes(world):
    backbone, pairs = world
    soft, hard = by_vote(pairs, VOTES)
    found = [rewards.fit_everybody(backbone, each, RewardOptions(), 0) for each in (soft, hard)]
    assert np.abs(found[0].models[0].table - found[1].models[0].table).max() < 1e-8


# ---------------------------------------------------------------------------------- side columns


@dataclass(frozen=True)
class Margin:
    """-log sigmoid(beta D - m), m a side column: by how much the chosen response has to be ahead."""

    beta: float
    needs = ("margin",)

    def __call__(self, difference, side):
        return -torch.nn.functional.logsigmoid(self.beta * difference - side["margin"])


class MarginBySlopes(Margin):
    """The same with its derivative."""

    def slopes(self, difference, side):
        margin = self.beta * difference - side["margin"]
        return np.logaddexp(0, -margin), -self.beta * expit(-margin)


def test_a_loss_gets_the_side_columns_that_it_asks_for(world):
    """By its closed form: the mean of log(1 + exp(m - beta theta . x)) and the penalty have no slope."""
    backbone, pairs = world
    margin = np.random.default_rng(5).uniform(0, 2, len(pairs))
    strength = np.random.default_rng(6).uniform(0, 1, len(pairs))
    chosen, rejected = backbone.places(pairs)
    flat = backbone.world.features.reshape(-1, 3)
    x = flat[chosen] - flat[rejected]
    for z in (None, strength):
        given = replace(pairs, side={"margin": margin, "other": margin}, strength=z)
        for loss in (Margin(0.2), MarginBySlopes(0.2)):
            policy = backbone.fit_pairwise(given, loss, PairwiseOptions(beta=0.2), seed=0)
            theta = np.linalg.lstsq(
                np.diff(backbone.world.features, axis=1).reshape(-1, 3),
                np.diff(policy.table - np.log(backbone.world.reference), axis=1).ravel(),
                rcond=None,
            )[0]
            ahead, behind = expit(margin - 0.2 * (x @ theta)), expit(margin + 0.2 * (x @ theta))
            push = ahead if z is None else z * ahead - (1 - z) * behind
            slope = 0.5 * 0.2**2 / len(x) * theta - 0.2 * x.T @ push / len(x)
            assert np.abs(slope).max() < 1e-6


def test_a_margin_of_nought_is_dpo_on_a_language_model(tmp_path, tiny_backbone):
    pairs = Pairs(["the film"] * 4, [" good", " was", " was", " bad"], [" was", " good", " bad", " was"])
    options = PairwiseOptions(epochs=2, batch=3)

    def fitted(loss, name, margin):
        backbone = tiny_backbone(folder=tmp_path / name)
        given = replace(pairs, side={"margin": np.asarray(margin)})
        policy = backbone.fit_pairwise(given, loss, options, seed=0, held_out=given)
        return policy.logprob(pairs.prompts, pairs.chosen)

    plain = fitted(DPO(0.3), "dpo", np.zeros(4))
    assert fitted(Margin(0.3), "nought", np.zeros(4)) == pytest.approx(plain, abs=1e-6)
    assert np.abs(fitted(Margin(0.3), "margin", [0.0, 0.0, 3.0, 0.0]) - plain).max() > 1e-4


def test_a_column_that_is_not_there_is_named(world):
    backbone, pairs = world
    with pytest.raises(
        UserError, match=r"asks for the side column 'margin', and the pairs have other: let the alig"
    ):
        given = replace(pairs, side={"other": np.zeros(len(pairs))})
        backbone.fit_pairwise(given, Margin(0.2), PairwiseOptions(beta=0.2), seed=0)


# ------------------------------------------------------------------------------------ what it is


def test_rows_are_taken_with_their_strength_and_side_columns():
    pairs = Pairs(
        ["a", "b", "c"],
        ["1", "2", "3"],
        ["4", "5", "6"],
        strength=np.array([1.0, 0.5, 0.7]),
        side={"margin": np.array([1.0, 2.0, 3.0])},
    )
    taken = pairs[np.array([2, 0])]
    assert taken.strength.tolist() == [0.7, 1.0] and taken.side["margin"].tolist() == [3.0, 1.0]
    plain = replace(pairs, strength=None, side={})
    digests = [pairs_digest(each) for each in (pairs, plain, replace(plain, strength=pairs.strength))]
    assert len(set(digests)) == 3
    assert pairs_digest(replace(pairs, strength=np.array([1.0, 0.5, 0.8]))) not in digests
    assert rewards._pooled({"one": pairs, "two": taken}).strength.tolist() == [1.0, 0.5, 0.7, 0.7, 1.0]


# ------------------------------------------------------------------------------- routers and shared rewards

PEOPLE, EACH, WIDE = 5, 4, 3


def votes_of(k: np.ndarray, x: np.ndarray, user: np.ndarray):
    """Pairs once for each vote: differences, whose they are and shares of votes; and the votes themselves."""
    again = np.repeat(np.arange(len(x)), VOTES)
    lost = np.tile(np.arange(VOTES), len(x)) >= k[again]
    return x[again], user[again], (k / VOTES)[again], np.where(lost[:, None], -x[again], x[again])


@st.composite
def voted(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = np.array(draw(st.lists(st.integers(0, VOTES), min_size=PEOPLE * EACH, max_size=PEOPLE * EACH)))
    return votes_of(k, rng.normal(size=(PEOPLE * EACH, WIDE)), np.repeat(np.arange(PEOPLE), EACH))


@settings(max_examples=25, deadline=None)
@given(voted())
def test_a_share_of_votes_is_its_votes_to_routers(made):
    x, user, strength, hard = made
    centre = np.array([0.2, 0.5, 0.3])
    assert posterior(x, centre, strength) == pytest.approx(posterior(hard, centre), abs=1e-8)
    for fit in (fit_free, fit_simplex):
        one, other = fit(x, 0.7, centre, strength=strength), fit(hard, 0.7, centre)
        assert one == pytest.approx(other, abs=1e-6)  # an iteration that ends near the same point
    for found, told in zip(population(x[:, 0], user, strength), population(hard[:, 0], user), strict=True):
        assert found == pytest.approx(told, abs=1e-8)


@settings(max_examples=10, deadline=None)
@given(voted())
def test_a_share_of_votes_is_its_votes_to_a_code(made):
    x, _, strength, hard = made
    weights = _first_weights(WIDE, 2, seeds.torch_generator(0, "code"))
    found = Variational(weights, np.zeros(WIDE), np.ones(WIDE))
    won = np.isclose(hard, x).all(axis=1)
    with torch.no_grad():
        soft = found.code(x, 0 * x, strength)
        told = found.code(np.where(won[:, None], x, 0 * x), np.where(won[:, None], 0 * x, x))
    assert soft == pytest.approx(told, abs=1e-8)


def test_a_share_of_votes_is_its_votes_to_shared_rewards():
    rng = np.random.default_rng(5)
    x, user, strength, hard = votes_of(
        rng.integers(0, VOTES + 1, PEOPLE * EACH),
        rng.normal(size=(PEOPLE * EACH, WIDE)),
        np.repeat(np.arange(PEOPLE), EACH),
    )
    for form in ("simplex", "free"):
        more = {"ridge": 0.5, "weight_ridge": 0.5, "seed": 0}
        one = fit_low_rank(x, user, 2, form, strength=strength, **more)
        other, plain = (fit_low_rank(each, user, 2, form, **more) for each in (hard, x))
        assert one.margins(x, user) == pytest.approx(other.margins(x, user), abs=1e-5)
        assert np.abs(one.margins(x, user) - plain.margins(x, user)).max() > 0.1
    soft, told = (
        fit_departures(each, user, 0.4, penalty=0.5, ridge=1.0, **more)
        for each, more in ((x, {"strength": strength}), (hard, {}))
    )
    assert soft[0] == pytest.approx(told[0], abs=1e-6) and soft[1] == pytest.approx(told[1], abs=1e-6)


def test_labels_that_are_all_certain_are_as_if_nothing_were_said():
    """To the bit: a context without ties is no other one where ties are labelled."""
    pairs = Pairs(["p"] * 2, ["a"] * 2, ["b"] * 2)
    assert strength_of(replace(pairs, strength=np.ones(2))) is strength_of(pairs) is None
    assert strength_of(replace(pairs, strength=np.array([1.0, 0.5]))).tolist() == [1.0, 0.5]

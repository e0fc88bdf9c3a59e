"""Bradley-Terry rewards: the convex case against scikit-learn, the trained one on an easy utility."""

import numpy as np
import pytest
import torch

from prefbench.backbone.language import reward as language_reward
from prefbench.backbone.language import training
from prefbench.learn import rewards as bradley_terry
from prefbench.learn.interface import Pairs, RewardRequest, Rewards
from prefbench.learn.options import PairwiseOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.store.stages import Work


def test_loss_and_likelihood_by_hand():
    assert bradley_terry.loss(torch.zeros(3)).item() == pytest.approx(np.log(2))
    margin = np.array([0.0, 2.0, -2.0])
    expected = [-np.log(2), -np.log1p(np.exp(-2)), -np.log1p(np.exp(2))]
    assert bradley_terry.log_likelihood(margin) == pytest.approx(expected)
    assert np.isfinite(bradley_terry.log_likelihood(np.array([-1e4, 1e4]))).all()


@pytest.mark.parametrize("penalty", [0.1, 1.0, 100.0])
def test_the_linear_fit_is_scikit_learns(penalty):
    """A pair is a positive example of its difference and a negative one of minus its difference."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    difference = rng.normal(size=(300, 4))
    flip = rng.random(300) > 1 / (1 + np.exp(-difference @ [1.0, -2.0, 0.0, 0.5]))
    difference[flip] *= -1
    # Both copies together count every pair twice, so the penalty is halved against the loss.
    mirrored = np.concatenate([difference, -difference])
    labels = np.repeat([1, 0], 300)
    reference = LogisticRegression(C=1 / (2 * penalty), fit_intercept=False, tol=1e-10, max_iter=10_000)
    reference.fit(mirrored, labels)
    ours = bradley_terry.fit_linear(difference, penalty)
    assert ours == pytest.approx(reference.coef_[0], abs=2e-3)


def easy_pairs(n: int = 64) -> Pairs:
    """Long responses are preferred to short ones."""
    return Pairs(["the film"] * n, [" was a joy from start to"] * n, [" was"] * n)


def test_a_reward_model_learns_and_is_read_back(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path, pooling="last")
    pairs = easy_pairs()
    reward = language_reward.fit(
        backbone.at(Work("rewards", tmp_path)),
        RewardRequest(pairs, RewardOptions(reward_epochs=5, reward_batch=16), seed=0, name="x"),
    )
    chosen = reward.score(pairs.prompts, pairs.chosen)
    assert (chosen > reward.score(pairs.prompts, pairs.rejected) + 1).all()
    reward.save(tmp_path / "reward.safetensors")
    again = backbone.load_reward(tmp_path / "reward.safetensors")
    assert (again.score(pairs.prompts, pairs.chosen) == chosen).all()


def test_stored_rewards_are_centred_scaled_and_shared(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    pairs = easy_pairs()
    options = RewardOptions(reward_epochs=1)
    first = bradley_terry.fit_everybody(backbone, pairs, options, seed=0)
    everything = first(pairs.prompts * 2, [*pairs.chosen, *pairs.rejected])
    assert everything.mean() == pytest.approx(0, abs=1e-5) and everything.std() == pytest.approx(1, abs=1e-4)
    # Whose labels they are is nothing to a reward for everybody: with user ids it is the same stage.
    named = Pairs(pairs.prompts, pairs.chosen, pairs.rejected, user_id=np.arange(64) % 4)
    bradley_terry.fit_everybody(backbone, named, options, seed=0)
    folders = [p for p in (tmp_path / "stages" / "rewards").iterdir() if p.is_dir()]
    assert len(folders) == 1
    assert first.raw()(["the film"], [" was"])[0, 0] == pytest.approx(
        first(["the film"], [" was"])[0, 0] * first.scale[0] + first.shift[0]
    )


def test_an_epoch_takes_each_pair_once_and_leaves_out_those_that_weigh_nothing():
    pairs = easy_pairs(5)
    weights = np.array([2.0, 1.0, 1e-12, 3.0, 2.0])
    rows, weighed = training.weighed_rows(Pairs(pairs.prompts, pairs.chosen, pairs.rejected, weights=weights))
    assert rows.tolist() == [0, 1, 3, 4] and weighed == pytest.approx([1.0, 0.5, 1.5, 1.0])
    rows, weighed = training.weighed_rows(pairs)
    assert rows.tolist() == list(range(5)) and weighed.tolist() == [1.0] * 5


@pytest.mark.parametrize("kind", ["reward", "policy"])
def test_a_pair_of_twice_the_weight_counts_as_the_pair_twice(tmp_path, tiny_backbone, kind):
    """One batch holds all pairs, so that their order plays no part."""
    chosen, rejected = [" good", " was", " was", " bad"], [" was", " good", " bad", " was"]
    pairs = Pairs(["the film"] * 4, chosen, rejected)
    weighted = Pairs(pairs.prompts, chosen, rejected, weights=np.array([2.0, 1, 1, 2]))
    twice = pairs[np.array([0, 0, 1, 2, 3, 3])]

    def fitted(given, folder):
        backbone = tiny_backbone(folder=tmp_path / folder)
        if kind == "reward":
            options = RewardOptions(reward_epochs=3, reward_batch=8)
            reward = backbone.fit_reward(given, options, seed=0, name="r")
            return reward.score(pairs.prompts, pairs.chosen)
        policy = backbone.fit_pairwise(given, DPO(0.3), PairwiseOptions(epochs=3, batch=8), seed=0)
        return policy.logprob(pairs.prompts, pairs.chosen)

    plain = fitted(pairs, "plain")
    assert fitted(weighted, "weighted") == pytest.approx(fitted(twice, "twice"), abs=1e-4)
    assert np.abs(plain - fitted(twice, "again")).max() > 1e-3


def test_a_groups_reward_is_another_one_where_everybodys_was_fitted_otherwise(tmp_path, tiny_backbone):
    """It starts from everybody's, so everybody's options count though its own are the same."""
    backbone, pairs = tiny_backbone(folder=tmp_path), easy_pairs()
    found = [
        bradley_terry.fit_groups(backbone, {"all": pairs}, RewardOptions(reward_epochs=epochs), seed=0)
        for epochs in (1, 2)
    ]
    ours, theirs = (rewards.models[0].score(pairs.prompts, pairs.chosen) for rewards in found)
    assert np.abs(ours - theirs).max() > 1e-3


class Talking:
    """The part of a backbone that is told what is to be said."""

    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


@pytest.mark.parametrize(("right", "pairs", "said"), [(13, 16, 0), (11, 16, 1), (220, 400, 0), (0, 0, 0)])
def test_a_reward_that_orders_pairs_as_a_coin_might_is_said(right, pairs, said):
    """11 of 16: Wilson's 95% interval is 0.44 to 0.86; 13 of 16: 0.57 to 0.93; 220 of 400: 0.501 to 0.598."""
    backbone = Talking()
    rewards = Rewards([None], ["few"], np.zeros(1), np.ones(1), held_out=[(right, pairs)])
    bradley_terry.say_what_was_not_learned(backbone, rewards)
    assert len(backbone.said) == said
    assert all(f"of few orders {right} of {pairs} validation pairs" in note for note in backbone.said)


def test_stored_rewards_know_how_they_order_pairs_of_their_own_groups(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    pairs = easy_pairs()
    against = Pairs(pairs.prompts[:9], pairs.rejected[:9], pairs.chosen[:9])
    options = RewardOptions(reward_epochs=2)
    data, held_out = {"a": pairs, "b": pairs}, {"a": pairs[np.arange(5)], "b": against}
    rewards = bradley_terry.fit_groups(backbone, data, options, 0, held_out)
    assert rewards.held_out == [(5, 5), (0, 9)]
    again = bradley_terry.fit_groups(backbone, data, options, 0, held_out)  # from the stage
    assert again.held_out == [(5, 5), (0, 9)]
    assert bradley_terry.fit_groups(backbone, data, options, 0).held_out is None

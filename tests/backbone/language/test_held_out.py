"""The choice between the weights of a training by held-out pairs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefbench.backbone.language import pairwise, reward
from prefbench.backbone.language.best import Best, best_of
from prefbench.backbone.language.held_out import pairwise_score, ppo_score, reward_score
from prefbench.backbone.language.policies import LMReward
from prefbench.errors import UserError
from prefbench.learn.interface import OptimiseRequest, Pairs, PairwiseRequest, RewardRequest
from prefbench.learn.options import PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import log_likelihood, scores_of
from prefbench.learn.welfare import mean
from prefbench.store.stages import Work

JOY, DULL = " was a joy.", " was dull."
AGREED = Pairs(["the film"] * 16, [JOY] * 16, [DULL] * 16)
OPPOSED = Pairs(["the film"] * 8, [DULL] * 8, [JOY] * 8)
NOBODY = Pairs([], [], [])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.integers(0, 9))
def test_the_kept_weights_are_the_first_of_the_best_also_when_resumed(scores, interrupted):
    weight = torch.zeros(1)
    parameters = {"w": weight}

    def going_on(best, steps):
        for step in steps:
            weight.fill_(step)
            best.look(step)
        return best

    coming = iter(scores)
    at = range(len(scores))
    first = going_on(Best(parameters, lambda: next(coming), at), list(at)[:interrupted])
    second = Best(parameters, lambda: next(coming), at)
    second.restore(first.tensors(), first.scores)
    going_on(second, list(at)[interrupted:]).take()
    assert second.scores == scores
    assert weight.item() == int(np.argmax(scores))


def test_looks_are_spread_from_before_the_first_step_to_after_the_last():
    seen = []
    best = best_of({}, lambda: float(len(seen)), 10, 4)
    for step in range(11):
        before = len(best.scores)
        best.look(step)
        seen += [step] * (len(best.scores) - before)
    assert seen == [0, 2, 5, 8, 10]
    unscored = best_of({}, None, 10, 4)
    unscored.look(0)
    assert unscored.scores == []


def fitted(backbone, folder, kind, held_out, keep):
    """What is trained on pairs that agree, as its margin between the two responses, and its start's."""
    folder.mkdir()
    bound = backbone.at(Work("policy", folder))
    texts = ["the film"] * 2, [JOY, DULL]
    if kind == "reward":
        start = backbone.fit_reward(AGREED[np.arange(4)], RewardOptions(reward_epochs=1), seed=0, name="s")
        options = RewardOptions(reward_epochs=4, reward_batch=8, reward_checkpoint=keep)
        made = bound.fit_reward(AGREED, options, seed=0, name="r", start=start, held_out=held_out)
        return [float(one.score(*texts) @ [1, -1]) for one in (made, start)]
    if kind == "pairs":
        options = PairwiseOptions(epochs=4, batch=8, checkpoint=keep)
        made = bound.fit_pairwise(AGREED, DPO(0.1), options, seed=0, held_out=held_out)
    else:
        options = PPOOptions(iterations=6, batch=32, learning_rate=3e-3, checkpoint=keep)

        def joyful(prompts, responses):
            return np.array([[float("j" in text)] for text in responses])

        made = bound.optimise(
            joyful, mean(), options, prompts=["the film"], seed=0, names=["x"], held_out=[held_out, AGREED]
        )
    return [float(policy.logprob(*texts) @ [1, -1]) for policy in (made, backbone.reference)]


@pytest.mark.parametrize("kind", ["reward", "pairs", "ppo"])
def test_a_training_that_only_harms_held_out_pairs_leaves_all_as_it_was(tmp_path, tiny_backbone, kind):
    backbone = tiny_backbone(folder=tmp_path)
    last, start = fitted(backbone, tmp_path / "last", kind, OPPOSED, "last")
    kept, _ = fitted(backbone, tmp_path / "best", kind, OPPOSED, "best")
    assert abs(last - start) > 1e-3
    if kind == "ppo":  # of two sets of pairs that want opposite things the worse can only fall
        assert kept == start
    else:
        assert last > start and kept == start


@pytest.mark.parametrize("kind", ["reward", "pairs"])
def test_a_training_that_helps_held_out_pairs_is_kept_to_its_end(tmp_path, tiny_backbone, kind):
    backbone = tiny_backbone(folder=tmp_path)
    last, start = fitted(backbone, tmp_path / "last", kind, AGREED, "last")
    kept, _ = fitted(backbone, tmp_path / "best", kind, AGREED, "best")
    assert kept == last > start


def test_the_robust_choice_asks_the_group_with_the_largest_loss(tmp_path, tiny_backbone):
    """Most held-out pairs gain by the training; the few of one group lose and have the last word."""
    backbone = tiny_backbone(folder=tmp_path)
    groups = np.array(["many"] * 16 + ["few"] * 2, dtype=object)
    mixed = Pairs(["the film"] * 18, [JOY] * 16 + [DULL] * 2, [DULL] * 16 + [JOY] * 2, group=groups)
    train = replace(AGREED, group=np.array(["many"] * 16, dtype=object))
    options = PairwiseOptions(epochs=3, batch=8, checkpoint="best")

    def moved(group_step):
        policy = backbone.fit_pairwise(
            train, DPO(0.1), options, seed=0, group_step=group_step, held_out=mixed, name=f"{group_step}"
        )
        margins = [p.logprob(["the film"] * 2, [JOY, DULL]) @ [1, -1] for p in (policy, backbone.reference)]
        return abs(margins[0] - margins[1])

    assert moved(None) > 1.0 and moved(0.1) == 0


def test_scores_by_hand_from_log_probabilities_and_rewards(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    other = tiny_backbone(seed=1, folder=tmp_path).reference
    weights, groups = np.array([3.0, 1.0]), np.array(["a", "b"], dtype=object)
    pairs = Pairs(["the film"] * 2, [JOY, DULL], [DULL, JOY], group=groups, weights=weights)

    ours, theirs = (policy.logprob(["the film"] * 2, [JOY, DULL]) for policy in (other, backbone.reference))
    apart = (ours - theirs) @ [1, -1] * np.array([1, -1])
    losses = -log_likelihood(0.3 * apart)
    request = PairwiseRequest(AGREED, DPO(0.3), PairwiseOptions(checkpoint="best"), seed=0, held_out=pairs)
    assert pairwise_score(backbone, other.model, request)() == pytest.approx(-(3 * losses[0] + losses[1]) / 4)
    robust = replace(request, group_step=0.1)
    assert pairwise_score(backbone, other.model, robust)() == pytest.approx(-losses.max())

    won = 1 / (1 + np.exp(-apart))
    wished = OptimiseRequest(
        len, mean(), PPOOptions(checkpoint="best"), prompts=["a"], seed=0, names=["x", "y"], held_out=[pairs]
    )
    assert ppo_score(backbone, other.model, wished)() == pytest.approx((3 * won[0] + won[1]) / 4)
    apiece = replace(wished, held_out=[pairs[np.array([0])], pairs[np.array([1])], NOBODY])
    assert ppo_score(backbone, other.model, apiece)() == pytest.approx(won.min())

    model = backbone.new_reward(0)
    chosen, rejected = scores_of(LMReward(model, backbone), pairs)
    likely = log_likelihood(chosen - rejected)
    fit = RewardRequest(AGREED, RewardOptions(reward_checkpoint="best"), seed=0, name="r", held_out=pairs)
    assert reward_score(backbone, model, fit)() == pytest.approx((3 * likely[0] + likely[1]) / 4)


@pytest.mark.parametrize("kind", ["pairs", "ppo"])
def test_without_held_out_pairs_the_best_is_refused_in_one_line(tmp_path, tiny_backbone, kind):
    backbone = tiny_backbone(folder=tmp_path)
    with pytest.raises(UserError, match="checkpoint=best needs validation pairs") as raised:
        if kind == "pairs":
            backbone.fit_pairwise(AGREED, DPO(0.1), PairwiseOptions(checkpoint="best"), seed=0)
        else:
            options = PPOOptions(iterations=1, batch=2, checkpoint="best")
            backbone.optimise(
                lambda p, r: np.zeros((len(r), 1)), mean(), options, prompts=["a"], seed=0, names=["x"]
            )
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["reward", "pairs"])
def test_a_killed_training_chooses_as_a_whole_one(tmp_path, tiny_backbone, monkeypatch, kind):
    """The interrupted run has the best weights behind it already; they are in its checkpoint."""
    backbone = tiny_backbone(folder=tmp_path)
    monkeypatch.setattr("prefbench.store.stages.CHECKPOINT_SECONDS", 0.0)
    scores = [0.0, 2.0, 1.0, 0.5, 0.3]
    calls = []

    def score(*_):
        return lambda: scores[calls.append(1) or len(calls) - 1]

    module, name = (reward, "reward_score") if kind == "reward" else (pairwise, "pairwise_score")
    monkeypatch.setattr(module, name, score)

    def run(name, dies_at=None):
        work = Work("policy", tmp_path / name)
        work.path.mkdir(exist_ok=True)
        report = work.report
        steps = []

        def reporting(*args, **figures):
            steps.append(1)
            if len(steps) == dies_at:
                raise KeyboardInterrupt
            report(*args, **figures)

        work.report = reporting
        bound = backbone.at(work)
        if kind == "reward":
            options = RewardOptions(reward_epochs=2, reward_batch=4, reward_checkpoint="best")
            made = bound.fit_reward(AGREED, options, seed=0, name="r", held_out=OPPOSED)
            return made.score(["the film"], [JOY])
        options = PairwiseOptions(epochs=2, batch=4, checkpoint="best")
        made = bound.fit_pairwise(AGREED, DPO(0.3), options, seed=0, held_out=OPPOSED)
        return made.logprob(["the film"], [JOY])

    whole = run("whole")
    assert len(calls) == 5
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        run("killed", dies_at=6)  # after the look at step 6, which comes before the report
    calls[:] = [1] * 3  # looks at 0, 2 and 4 are in the checkpoint, the one at 6 is made again
    assert run("killed") == pytest.approx(whole, abs=0)

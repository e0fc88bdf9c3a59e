"""Policies without training. A measure on which one of these does well measures something else."""

from __future__ import annotations

from pydantic import Field

import prefbench as pb
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of
from prefbench.learn.selection import BestOfPolicy, Criterion, LearnedCriterion, WorstOff, most_kl_of_best
from prefbench.learn.selection import best_constant as search
from prefbench.learn.simple_policies import (
    ConstantPolicy,
    ExtremeLengthPolicy,
    ReferencePolicy,
    tempered_reference,
)
from prefbench.search import Choice
from prefbench.work import ROWS_AT_ONCE, Recipe, one_of_several, train_nothing


class ConstantOptions(pb.Options):
    """The response."""

    text: str = " it was a film."
    """The response to every prompt."""


class BestConstantOptions(pb.Options):
    """The search for one response to every prompt."""

    candidates: int = Field(200, ge=1)
    """Train prompts whose reference responses are tried."""
    prompts: int = Field(200, ge=10)
    """Train prompts that each of them is tried on."""
    rounds: int = Field(20, ge=0)
    """Words that a candidate may lose, one after the other, as long as that helps."""


class SelectionOptions(pb.Options):
    """Strength of the selection."""

    candidates: int = Field(4, ge=2, le=64)
    """Reference samples that one response is chosen from."""


class BestOfOptions(pb.Options):
    """Strength of the selection."""

    ladder = ("candidates", (1, 2, 4, 8, 16, 32, 64))

    candidates: int = Field(16, ge=1, le=1024)
    """Reference samples that one response is chosen from, the n of best-of-n."""

    def most_kl(self) -> float:
        """log n - (n - 1) / n, near the truth where samples are seldom equal."""
        return most_kl_of_best(self.candidates)


class BestOfRewardOptions(BestOfOptions, RewardOptions):
    """A reward model, and the strength of the selection by it."""

    search = {"candidates": Choice((2, 4, 8, 16, 32, 64))}


class TemperatureOptions(pb.Options):
    """The temperature."""

    temperature: float = Field(0.5, gt=0)
    """Temperature of sampling; the reference's own is 1."""


def no_answers(recipe: Recipe) -> None:
    """Nothing is sampled."""
    recipe.answers = 0


def search_of_one(recipe: Recipe) -> None:
    """Candidates, and what they are compared with, are sampled; the policy samples nothing."""
    rows = recipe.options["candidates"] + recipe.options["prompts"]
    recipe.add("search for a response", "sample", rows, min(rows, ROWS_AT_ONCE))
    recipe.answers = 0


def one_of_several_by_reward(recipe: Recipe) -> None:
    """A reward for everybody, and one of several samples by it."""
    recipe.everybody()
    one_of_several(recipe, 1)


@pb.aligner("reference", role="floor", work=train_nothing, place=6)
def reference(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
    """The reference policy itself, sampled anew: wins one half but for chance."""
    return ReferencePolicy(backbone.reference)


@pb.aligner("tempered", role="floor", work=train_nothing)
def tempered(view: pb.View, backbone: pb.Backbone, options: TemperatureOptions) -> pb.Policy:
    """The reference policy at another temperature: what being surer of itself is worth."""
    return tempered_reference(backbone, options.temperature)


@pb.aligner("constant", backbones={"causal_lm"}, role="floor", work=no_answers)
def constant(view: pb.View, backbone: pb.Backbone, options: ConstantOptions) -> pb.Policy:
    """The same fixed text for every prompt."""
    return ConstantPolicy(options.text)


@pb.aligner("best_constant", needs={"oracle"}, backbones={"causal_lm"}, role="floor", work=search_of_one)
def best_constant(view: pb.View, backbone: pb.Backbone, options: BestConstantOptions) -> pb.Aligned:
    """The one text that, for every train prompt, wins most for the group worst off by the true utilities.

    A reference response to some train prompt, or one shortened word by word. What it wins on test prompts
    can be had without reading any.
    """
    assert view.utilities is not None
    distinct = list(dict.fromkeys(view.prompts))
    order = pb.seeds.rng(view.seed, "best_constant", "prompts").permutation(len(distinct))
    chosen = [distinct[i] for i in order]
    asked, others = chosen[: options.prompts], chosen[-options.candidates :]
    draws = (pb.seeds.child(view.seed, "best_constant", side) for side in ("reference", "candidates"))
    theirs, texts = (
        [row[0] for row in backbone.reference.sample(prompts, 1, draw)]
        for prompts, draw in zip((asked, others), draws, strict=True)
    )
    found = search(texts, asked, theirs, view.utilities, options.rounds)
    return pb.Aligned(ConstantPolicy(found), notes=[f"the response to every prompt is {found!r}"])


@pb.aligner("longest", role="floor", work=one_of_several)
def longest(view: pb.View, backbone: pb.Backbone, options: SelectionOptions) -> pb.Policy:
    """The longest of several reference samples."""
    return ExtremeLengthPolicy(backbone.reference, "longest", options.candidates)


@pb.aligner("shortest", role="floor", work=one_of_several)
def shortest(view: pb.View, backbone: pb.Backbone, options: SelectionOptions) -> pb.Policy:
    """The shortest of several reference samples."""
    return ExtremeLengthPolicy(backbone.reference, "shortest", options.candidates)


@pb.aligner("best_of_n", work=one_of_several_by_reward)
def best_of_n(view: pb.View, backbone: pb.Backbone, options: BestOfRewardOptions) -> pb.Aligned:
    """The best of n reference samples by one reward fitted to everybody's labels: no policy is trained."""
    rewards = fit_everybody(backbone, pairs_of(view.preferences["train"]), options, view.seed)
    made = _best_of(backbone, LearnedCriterion(rewards.models[0]), options)
    return pb.Aligned(made.policy, rewards, notes=made.notes)


@pb.aligner("gold_best_of_n", needs={"oracle"}, role="ceiling", work=one_of_several)
def gold_best_of_n(view: pb.View, backbone: pb.Backbone, options: BestOfOptions) -> pb.Aligned:
    """The best of n reference samples by the true utility of the group that is worst off."""
    assert view.utilities is not None
    rows = view.preferences["train"][:]
    prompts, seen = [*rows["prompt"], *rows["prompt"]], [*rows["chosen"], *rows["rejected"]]
    return _best_of(backbone, WorstOff.over(view.utilities, prompts, seen), options)


def _best_of(backbone: pb.Backbone, criterion: Criterion, options: BestOfOptions) -> pb.Aligned:
    policy = BestOfPolicy(backbone.reference, criterion, options.candidates)
    most = f"the best of n={options.candidates} samples lies at most {policy.most_kl:.2f} nats"
    return pb.Aligned(policy, notes=[f"{most} from the reference, log n - (n - 1) / n"])

"""What a run does on its model, pass by pass, as far as it follows from its options.

An aligner for language models has a recipe here, made of what aligners are made of: rewards fitted to pairs,
EM, PPO, policies fitted to pairs. Of an aligner without one only what the harness does around it is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from prefbench.problem.problem import HELD_OUT_PAIRS, Problem

if TYPE_CHECKING:
    from prefbench.spec import RunSpec

ROWS_AT_ONCE = 256
"""Rows that are sampled together, as in `backbone/language/memory.py`, which needs torch."""
CHARACTERS = 3.5
"""Assumed characters of a prompt or text in a token."""
TEMPLATE_TOKENS = 16
"""Assumed for a chat template around a prompt."""

# ------------------------------------------------------------------------------- sizes of the problem


@dataclass(frozen=True)
class Sizes:
    """How large a problem is: numbers of prompts, and of tokens in them."""

    train: int
    """Labelled pairs, and as many prompts to optimise a policy on."""
    validation: int
    test: int
    groups: int
    instructed: int
    """Groups with an instruction, which are measured with it once more."""
    sampled: bool
    """Pairs are sampled from the reference policy, not given by the task."""
    prompt: float
    """Mean tokens of a prompt."""
    longest_prompt: int
    text: float
    """Mean tokens of a text of the corpus."""
    response: int
    """Tokens of the longest response."""
    gold: tuple[tuple[int, bool], ...] = ()
    """Pairs of each gold reward, and whether they come labelled."""

    @property
    def held_out(self) -> int:
        """Test prompts of which pairs are labelled as well."""
        return min(self.test, HELD_OUT_PAIRS)


def sizes_of(problem: Problem, chat: bool = False) -> Sizes:
    """The sizes of a problem, its tokens counted as `CHARACTERS` each.

    Args:
        problem: as the task states it.
        chat: prompts are put in a chat template.
    """
    from prefbench.evaluate.gold import GoldReward

    template = TEMPLATE_TOKENS if chat else 0
    prompts = [*problem.prompts.train, *problem.prompts.test]
    lengths = [template + math.ceil(len(text) / CHARACTERS) for text in prompts]
    texts = [len(text) / CHARACTERS for text in problem.corpus]
    return Sizes(
        train=_pairs(problem, "train"),
        validation=_pairs(problem, "validation"),
        test=len(problem.prompts.test),
        groups=len(problem.groups),
        instructed=sum(group.instruction is not None for group in problem.groups),
        sampled=problem.given is None,
        prompt=sum(lengths) / len(lengths),
        longest_prompt=max(lengths),
        text=sum(texts) / len(texts) if texts else 0.0,
        response=problem.response_tokens,
        gold=tuple(
            (len(group.utility.prompts), bool(group.utility.chosen))
            for group in problem.groups
            if isinstance(group.utility, GoldReward)
        ),
    )


def _pairs(problem: Problem, split: str) -> int:
    """How many pairs of a split are labelled: one for each prompt, of brought labels as many as there are."""
    if problem.given is None:
        return len(getattr(problem.prompts, split))
    return int((problem.given["split"] == split).sum())


# ------------------------------------------------------------------------------- what an aligner does

Kind = Literal["sample", "score", "train"]


@dataclass(frozen=True)
class Work:
    """Many passes of one kind through the model."""

    stage: str
    kind: Kind
    rows: float
    """Responses, at most."""
    fewest: float
    """Responses, at least."""
    batch: int
    """Rows in a pass, where the limit on tokens allows; 0 for as many as it does."""
    unit: int = 1
    """Rows that are never parted: the two responses of a pair."""
    held: int = 0
    """Trained models in memory meanwhile, besides the reference."""
    optimised: bool = False
    """One of them is being trained: its gradient and its moments are there as well."""
    vocabulary: bool = True
    """The output is log-probabilities; else a reward."""
    drawn: int = 1
    """Samples of each prompt, which is read once for all of them."""
    product: int = 1
    """Models that are multiplied token by token (`backbone.language.networks.LogLinear`)."""
    all_states: bool = False
    """The states between layers are returned (PPO's value head)."""
    prompt: float | None = None
    """Mean tokens before a response, where they are not a prompt's."""
    response: int | None = None
    """Tokens of a response, where they are not at most as many as the problem's."""


@dataclass
class Recipe:
    """What an aligner does, put together from what every aligner does it with."""

    options: Mapping[str, Any]
    """The aligner's."""
    sizes: Sizes
    works: list[Work] = field(default_factory=list)
    rewards: int = 0
    """Reward models that have been fitted and are kept."""
    policies: int = 0
    """Policies that have been trained and are kept."""
    answers: int = 1
    """Samples drawn for each response of the final policy."""
    speakers: int = 1
    """Models that each of them is drawn from and scored by; 0 if its probability is not computed."""
    product: int = 1
    """How many of these are multiplied token by token."""

    def add(self, stage: str, kind: Kind, rows: float, batch: int, least: float = 1.0, **more: Any) -> None:
        """Work on this many rows, of which at least the share `least` is done whatever happens."""
        self.works.append(Work(stage, kind, rows, rows * least, batch, **more))

    def score(self, stage: str, rows: float, least: float = 1.0, **more: Any) -> None:
        """Rows go through a model without training it, as many at once as the token limit lets."""
        self.add(stage, "score", rows, 0, least, **more)

    def fit_reward(
        self, stage: str, pairs: float, epochs: int, held: int, least: float = 1.0, passes: float = 1
    ) -> None:
        """A reward is trained on pairs and then scores both responses of all train pairs `passes` times."""
        batch = 2 * self.options["reward_batch"]
        more = {"held": held, "vocabulary": False}
        self.add(stage, "train", 2 * pairs * epochs, batch, least, unit=2, optimised=True, **more)
        self.score(stage, 2 * self.sizes.train * passes, least, **more)

    def everybody(self) -> None:
        """One reward for all pairs (`bradley_terry.fit_everybody`)."""
        self.fit_reward("reward of everybody", self.sizes.train, self.options["reward_epochs"], 1)
        self.rewards = 1

    def known_groups(self) -> None:
        """Everybody's reward, then one for each group on its own pairs (`bradley_terry.fit_groups`)."""
        self.everybody()
        groups = self.sizes.groups
        self.fit_reward(
            "rewards of groups",
            self.sizes.train,
            self.options["reward_group_epochs"],
            1 + groups,
            passes=groups,
        )
        self.rewards = groups

    def features(self) -> None:
        """What everybody's reward sees in both responses of every pair (`em.feature_differences`)."""
        self.score("rewards by EM", 2 * self.sizes.train, held=1, vocabulary=False)

    def mixture(self) -> None:
        """A reward for each cluster by EM (`em.fit_mixture`); hard EM splits the pairs, soft EM does not.

        At least one round of fits is made and at most `em_iterations`. The rewards of the round before are
        kept, should the round make things worse.
        """
        self.everybody()
        most = self.options["select_clusters"]
        tried = range(1, most + 1) if most else [self.options["clusters"]]
        rounds = self.options["em_iterations"]
        kept = 1
        for clusters in tried:
            self.features()
            share = clusters if self.options["em_assignment"] == "soft" else 1
            self.fit_reward(
                "rewards by EM",
                rounds * share * self.sizes.train,
                self.options["reward_group_epochs"],
                kept + 2 * clusters,
                1 / rounds,
                rounds * clusters,
            )
            if most:
                held_out = 2 * self.sizes.validation * clusters
                self.score("rewards by EM", held_out, held=kept + clusters, vocabulary=False)
                kept += clusters
        self.rewards = max(tried)

    def optimise(self, stage: str, rewards: int) -> None:
        """PPO against this many rewards (`ppo.train`), no iteration's updates stopped early."""
        sampled = self.options["iterations"] * self.options["batch"]
        step = -(-self.options["batch"] // self.options["minibatches"])
        self.policies += 1
        held = {"held": self.rewards + self.policies, "optimised": True}
        self.add(stage, "sample", sampled, min(self.options["batch"], ROWS_AT_ONCE), **held)
        batch = self.options["batch"]
        # The policy and the reference.
        self.add(stage, "score", sampled, batch, all_states=True, **held)
        self.add(stage, "score", sampled, batch, **held)
        if rewards:
            self.add(stage, "score", sampled * rewards, batch, vocabulary=False, **held)
        self.add(stage, "train", sampled * self.options["epochs"], step, all_states=True, **held)

    def pairwise(self, stage: str, fits: int = 1, held: int = 1, least: float = 1.0) -> None:
        """Policies fitted to all pairs (`pairwise.train`), each with the reference's log-probabilities."""
        pairs = 2 * self.sizes.train * fits
        more = {"held": held}
        self.score(stage, pairs, least, **more)
        epochs, batch = self.options["epochs"], 2 * self.options["batch"]
        self.add(stage, "train", pairs * epochs, batch, least, unit=2, optimised=True, **more)
        self.policies = 1

    def judge(self, stage: str, rows: float) -> None:
        """Every gold reward says how good these responses are."""
        for _ in self.sizes.gold:
            self.score(stage, rows, vocabulary=False)

    def measure_rewards(self) -> None:
        """Every reward scores the pairs that measure it (`run.py`)."""
        if self.rewards:
            rows = 2 * self.sizes.held_out * self.rewards
            self.score("evaluation", rows, held=self.rewards + self.policies, vocabulary=False)


def _reference(recipe: Recipe) -> None:
    """The reference answers."""


def _constant(recipe: Recipe) -> None:
    """Nothing is sampled."""
    recipe.answers = 0


def _extreme_length(recipe: Recipe) -> None:
    """One of several samples, whose probability has no closed form."""
    recipe.answers, recipe.speakers = recipe.options["candidates"], 0


def _single_reward(recipe: Recipe) -> None:
    """One reward, one policy."""
    recipe.everybody()
    recipe.optimise("policy by PPO", 1)


def _clusters(recipe: Recipe) -> None:
    """A reward for each cluster, and a policy for all of them."""
    recipe.mixture()
    recipe.optimise("policy by PPO", recipe.rewards)


def _known_groups(recipe: Recipe) -> None:
    """A reward for each group, and a policy for all of them."""
    recipe.known_groups()
    recipe.optimise("policy by PPO", recipe.rewards)


def _oracle(recipe: Recipe) -> None:
    """A policy on true utilities, without a reward model."""
    recipe.optimise("policy by PPO", 0)


def _pairwise(recipe: Recipe) -> None:
    """A policy fitted to the pairs."""
    recipe.pairwise("policy by pairs")


def _experts(recipe: Recipe) -> None:
    """A reward and a policy for each group (`experts.group_policies`)."""
    recipe.known_groups()
    for _ in range(recipe.sizes.groups):
        recipe.optimise("policies of groups", 1)


def _soups(recipe: Recipe) -> None:
    """The average of the groups' policies is one more model."""
    _experts(recipe)
    recipe.policies += 1


def _mpo(recipe: Recipe) -> None:
    """The groups' policies multiplied; each step of the descent samples from the product and scores that."""
    _experts(recipe)
    held = {"held": recipe.rewards + recipe.policies}
    batch = min(recipe.options["mpo_batch"], recipe.sizes.train)
    rows = recipe.options["mpo_steps"] * batch
    stage = "exponents of groups"
    recipe.product = recipe.speakers = recipe.policies
    more = {"product": recipe.product, **held}
    recipe.add(stage, "sample", rows * recipe.policies, min(batch, ROWS_AT_ONCE), **more)
    recipe.add(stage, "score", rows * recipe.rewards, batch, vocabulary=False, **held)


def _em_dpo(recipe: Recipe) -> None:
    """Everybody's reward for a start, then rounds of a policy for each cluster on all pairs, then regrets."""
    options, sizes = recipe.options, recipe.sizes
    clusters, rounds = options["clusters"], options["em_iterations"]
    recipe.everybody()
    recipe.features()
    held = 1 + 2 * clusters
    stage = "policies by EM"
    recipe.pairwise(stage, rounds * clusters, held, 1 / rounds)
    # Both responses of every pair by the policy and by the reference, for the E-step.
    recipe.score(stage, 2 * 2 * sizes.train * rounds * clusters, 1 / rounds, held=held)
    asked = min(options["regret_prompts"], sizes.train) * clusters
    recipe.add(stage, "sample", asked, min(asked, ROWS_AT_ONCE), held=held)
    recipe.score(stage, asked * 2 * clusters, held=held)
    recipe.rewards, recipe.policies, recipe.speakers = 0, clusters, clusters


RECIPES: Mapping[str, Callable[[Recipe], None]] = {
    "constant": _constant,
    "dpo": _pairwise,
    "em_dpo": _em_dpo,
    "gold_maxmin": _oracle,
    "gold_utilitarian": _oracle,
    "gr_dpo": _pairwise,
    "gr_ipo": _pairwise,
    "ipo": _pairwise,
    "is_dpo": _pairwise,
    "longest": _extreme_length,
    "maxmin": _clusters,
    "maxmin_known_groups": _known_groups,
    "mpo": _mpo,
    "reference": _reference,
    "shortest": _extreme_length,
    "single_reward": _single_reward,
    "single_reward_balanced": _single_reward,
    "soups": _soups,
    "welfare": _clusters,
}
"""What each aligner for language models does. Of any other only what the harness does for it is known."""


def works_of(spec: RunSpec, sizes: Sizes) -> list[Work]:
    """All passes of a run: the reference's training, pairs, the aligner's work, and the evaluation."""
    recipe = Recipe(spec.aligner_options, sizes)
    _reference_training(recipe, spec)
    _gold(recipe)
    begun = len(recipe.works)
    if sizes.sampled:
        pairs = 2 * (sizes.train + sizes.validation + sizes.held_out)
        recipe.add("pairs", "sample", pairs, min(pairs, ROWS_AT_ONCE), drawn=2)
        recipe.judge("pairs", pairs)
    RECIPES.get(spec.aligner, _reference)(recipe)
    recipe.measure_rewards()
    _evaluation(recipe, spec.evaluate_options["samples"])
    # Gold rewards stay to the end.
    later = [replace(work, held=work.held + len(sizes.gold)) for work in recipe.works[begun:]]
    return recipe.works[:begun] + later


def _reference_training(recipe: Recipe, spec: RunSpec) -> None:
    """Language-model training on the corpus: every token of a text is predicted from those before it."""
    prefix = "" if spec.model == "nano" else "sft_"
    steps, texts = (spec.model_options.get(f"{prefix}{name}", 0) for name in ("steps", "batch"))
    if steps:
        length = {"prompt": 1, "response": round(recipe.sizes.text)}
        recipe.add("reference", "train", steps * texts, texts, held=1, optimised=True, **length)


def _gold(recipe: Recipe) -> None:
    """Rewards that are the truth of a group, each fitted to pairs of its own (`evaluate/gold.py`)."""
    from prefbench.learn.options import RewardOptions

    options = RewardOptions.model_validate({})
    for index, (pairs, labelled) in enumerate(recipe.sizes.gold):
        rows = 2 * pairs
        if not labelled:
            recipe.add("gold rewards", "sample", rows, min(rows, ROWS_AT_ONCE), held=index, drawn=2)
        more: dict[str, Any] = {"held": index + 1, "vocabulary": False}
        trained, batch = rows * options.reward_epochs, 2 * options.reward_batch
        recipe.add("gold rewards", "train", trained, batch, unit=2, optimised=True, **more)
        recipe.score("gold rewards", rows, **more)


def _evaluation(recipe: Recipe, samples: int) -> None:
    """Responses to the test prompts by the policy and by the reference, and both log-probabilities of them.

    What trained the policy is gone by then.
    """
    answers = recipe.sizes.test * samples
    held: dict[str, Any] = {"held": recipe.speakers if recipe.policies else 0}
    for models, drawn in ((max(1, recipe.speakers), samples * recipe.answers), (1, samples)):
        rows = recipe.sizes.test * drawn * models * (1 + recipe.sizes.instructed)
        if rows:
            product = min(models, recipe.product)
            batch = min(rows, ROWS_AT_ONCE)
            recipe.add("evaluation", "sample", rows, batch, drawn=drawn, product=product, **held)
    if recipe.answers and recipe.speakers:
        recipe.score("evaluation", answers * (recipe.speakers + 1), product=recipe.product, **held)
    recipe.judge("evaluation", 2 * answers)

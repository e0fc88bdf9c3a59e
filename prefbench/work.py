"""The work that an aligner says it will compute, so that memory and time are known before anything starts.

`@pb.aligner(..., work=...)` takes a function of a `Recipe`, which it fills with what aligners are made of:
rewards fitted to pairs, EM, PPO, policies fitted to pairs. Functions that several aligners share stand at the
end. Of an aligner that declares nothing only what the harness does around it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ROWS_AT_ONCE = 256
"""Rows that are sampled together, as in `backbone/language/memory.py`, which needs torch."""

LOOKS = 2
"""Times an epoch that held-out pairs choose between the weights of a training, where they do."""
PRIOR_PROMPTS = 100
"""Train prompts whose samples stand for all responses of a game (`learn.routing.game_of`)."""
PPO_LOOKS = 12
"""Times that they do in the course of PPO."""


def em_rounds(em: str, most: int) -> int:
    """Most rounds of trained rewards that EM takes.

    Of groups found on features the first round confirms everybody's place, or moves somebody and another
    follows.
    """
    return min(most, 2) if em == "features" else most


@dataclass(frozen=True)
class People:
    """The people whom a policy answers, known as well as its aligner's `sees` lets it know them."""

    answers: int
    """Prompts that are answered anew, once for each person and state of knowledge in which something is known
    of her; none of a policy for everybody."""
    contexts: int
    """Times that the policy adapts to somebody."""
    pairs: int
    """Labelled pairs in all these contexts together, if the policy is shown any."""
    compared: int
    """Prompts whose two responses each group's utility judges, at most, once for each person and state of
    knowledge."""


@dataclass(frozen=True)
class Sizes:
    """Size of a problem: numbers of prompts, and of tokens in them."""

    train: int
    """Labels, of as many prompts to optimise a policy on where each pair has one."""
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
    labels: int = 1
    """Labels of each sampled pair."""
    gold: tuple[tuple[int, bool], ...] = ()
    """Pairs of each gold reward, and whether they come labelled."""
    people: People | None = None
    """The people who are answered one by one, if it matters who is answered."""


PassKind = Literal["sample", "score", "train"]


@dataclass(frozen=True)
class Passes:
    """Many passes of one kind through the model."""

    stage: str
    kind: PassKind
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
    """Models that are multiplied token by token (`backbone.language.backbone.LogLinear`)."""
    all_states: bool = False
    """The states between layers are returned (PPO's value head)."""
    prompt: float | None = None
    """Mean tokens before a response, where they are not a prompt's."""
    response: int | None = None
    """Tokens of a response, where they are not at most as many as the problem's."""


@dataclass
class Recipe:
    """The work of an aligner, put together from what every aligner does it with."""

    options: Mapping[str, Any]
    """Options of the aligner."""
    sizes: Sizes
    works: list[Passes] = field(default_factory=list)
    rewards: int = 0
    """Reward models that have been fitted and are kept."""
    policies: int = 0
    """Policies that have been trained and are kept."""
    answers: int = 1
    """Samples drawn for each response of the final policy."""
    speakers: int = 1
    """Models that each of them is drawn from and scored by; 0 if its probability is not computed."""
    product: int = 1
    """Number of models that are multiplied token by token."""
    shared: bool = False
    """The samples that a response is chosen from, and what is said of them, are the same for every person."""
    fits_heads: bool = False
    """Every reward begins with a head that is fitted to the states of its pairs (`model.reward_head`)."""
    readers: int = 0
    """Models that each response in a person's pairs goes through when the policy adapts to her, and where
    samples are shared each of these."""

    def add(
        self, stage: str, kind: PassKind, rows: float, batch: int, least: float = 1.0, **more: Any
    ) -> None:
        """Work on this many rows, of which at least the share `least` is done whatever happens."""
        self.works.append(Passes(stage, kind, rows, rows * least, batch, **more))

    def score(self, stage: str, rows: float, least: float = 1.0, **more: Any) -> None:
        """Rows go through a model without training it, as many at once as the token limit lets."""
        self.add(stage, "score", rows, 0, least, **more)

    def fit_reward(
        self,
        stage: str,
        pairs: float,
        epochs: int,
        held: int,
        least: float = 1.0,
        passes: float = 1,
        adapts: bool = False,
    ) -> None:
        """A reward is trained on pairs and then scores both responses of all train pairs `passes` times.

        `adapts` says that it begins with another, to whose states of the pairs a head is fitted.
        """
        batch = 2 * self.options["reward_batch"]
        more = {"held": held, "vocabulary": False}
        if adapts or self.fits_heads:
            self.score(stage, 2 * pairs, least, **more)
        if self.options["reward_checkpoint"] == "best":
            more["held"] += 1
            checked = self.sizes.validation * pairs / self.sizes.train
            self.score(stage, 2 * checked * (LOOKS * epochs + 1), least, **more)
        self.add(stage, "train", 2 * pairs * epochs, batch, least, unit=2, optimised=True, **more)
        self.score(stage, 2 * self.sizes.train * passes, least, **more)

    def everybody(self) -> None:
        """One reward for all pairs (`rewards.fit_everybody`)."""
        self.fit_reward("reward of everybody", self.sizes.train, self.options["reward_epochs"], 1)
        self.judge("reward of everybody", 1)
        self.rewards = 1

    def known_groups(self) -> None:
        """Everybody's reward, then one for each group on its own pairs (`rewards.fit_groups`)."""
        self.everybody()
        groups = self.sizes.groups
        self.fit_reward(
            "rewards of groups",
            self.sizes.train,
            self.options["reward_group_epochs"],
            1 + groups,
            passes=groups,
            adapts=True,
        )
        self.judge("rewards of groups", 1 + groups)
        self.rewards = groups

    def judge(self, stage: str, held: int) -> None:
        """Every validation pair is ordered once, by its own group's reward (`rewards.ordered`)."""
        self.score(stage, 2 * self.sizes.validation, held=held, vocabulary=False)

    def features(self, stage: str = "rewards by EM", passes: int = 1) -> None:
        """Score both responses of every pair so often, as `em.feature_differences` does once."""
        self.score(stage, 2 * self.sizes.train * passes, held=1, vocabulary=False)

    def mixture(self) -> None:
        """A reward for each cluster by EM (`em.fit_mixture`); hard EM splits the pairs, soft EM need not.

        At least one round of fits is made and at most `em_rounds`. The rewards of the round before are kept,
        should the round make things worse.
        """
        self.everybody()
        most = self.options["select_clusters"]
        tried = range(1, most + 1) if most else [self.options["clusters"]]
        rounds = em_rounds(self.options["em"], self.options["em_iterations"])
        kept = 1
        for clusters in tried:
            self.features()
            share = clusters if self.options["em_assignment"] == "soft" else 1
            self.fit_reward(
                "rewards by EM",
                rounds * share * self.sizes.train,
                self.options["reward_group_epochs"],
                kept + 2 * clusters,
                1 / (rounds * share),
                rounds * clusters,
                adapts=True,
            )
            self.judge("rewards by EM", kept + clusters)
            if most:
                held_out = 2 * self.sizes.validation * clusters
                self.score("rewards by EM", held_out, held=kept + clusters, vocabulary=False)
                kept += clusters
        self.rewards = max(tried)

    def optimise(self, stage: str, rewards: int, each: bool = False, least: float = 1.0) -> None:
        """PPO against this many rewards (`ppo.train`), no iteration's updates stopped early.

        `each` says that it is for one of the groups, and only its own pairs are held out; `least` is 0 of one
        that may not be needed.
        """
        sampled = self.options["iterations"] * self.options["batch"]
        step = -(-self.options["batch"] // self.options["minibatches"])
        self.policies += 1
        held = {"held": self.rewards + self.policies, "optimised": True}
        if self.options["checkpoint"] == "best":
            held["held"] += 1
            looks = min(self.options["iterations"], PPO_LOOKS) + 1
            checked = self.sizes.validation / (self.sizes.groups if each else 1)
            # The reference once, and the policy at each look.
            self.score(stage, 2 * checked * (1 + looks), least, **held)
        self.add(stage, "sample", sampled, min(self.options["batch"], ROWS_AT_ONCE), least, **held)
        batch = self.options["batch"]
        # The policy and the reference.
        self.add(stage, "score", sampled, batch, least, all_states=True, **held)
        self.add(stage, "score", sampled, batch, least, **held)
        if rewards:
            self.add(stage, "score", sampled * rewards, batch, least, vocabulary=False, **held)
        self.add(stage, "train", sampled * self.options["epochs"], step, least, all_states=True, **held)

    def pairwise(self, stage: str, fits: int = 1, held: int = 1, least: float = 1.0, views: int = 1) -> None:
        """Policies fitted to all pairs (`pairwise.train`), each with the reference's log-probabilities.

        `views` says how often each reads a pair in an epoch.
        """
        pairs = 2 * self.sizes.train * fits
        more = {"held": held}
        self.score(stage, pairs, least, **more)
        epochs, batch = self.options["epochs"], 2 * self.options["batch"]
        if self.options["checkpoint"] == "best":
            more["held"] += 1
            looks = 1 + views * (LOOKS * epochs + 1)
            self.score(stage, 2 * self.sizes.validation * fits * looks, least, **more)
        self.add(stage, "train", pairs * epochs * views, batch, least, unit=2, optimised=True, **more)
        self.policies = 1


def train_nothing(recipe: Recipe) -> None:
    """The reference answers, and nothing is trained."""


def one_reward(recipe: Recipe) -> None:
    """One reward for everybody, one policy by PPO."""
    recipe.everybody()
    recipe.optimise("policy by PPO", 1)


def rewards_by_cluster(recipe: Recipe) -> None:
    """A reward for each cluster by EM, and a policy for all of them by PPO."""
    recipe.mixture()
    recipe.optimise("policy by PPO", recipe.rewards)


def policy_by_pairs(recipe: Recipe) -> None:
    """A policy fitted to the pairs."""
    recipe.pairwise("policy by pairs")


def policies_by_group(recipe: Recipe) -> None:
    """A reward and a policy for each group (`experts.group_policies`)."""
    recipe.known_groups()
    for _ in range(recipe.sizes.groups):
        recipe.optimise("policies of groups", 1, each=True)


def features_and_policy(recipe: Recipe) -> None:
    """A reward for everybody, its features of every pair, and a policy by PPO on what is fitted to those."""
    recipe.everybody()
    recipe.features("features", passes=2)
    recipe.optimise("policy by PPO", 1)
    recipe.rewards = 0  # none is told to the harness


def features_and_selection(recipe: Recipe) -> None:
    """A reward for everybody, its features of every pair, and one of several samples by them."""
    recipe.everybody()
    recipe.features("features", passes=2)
    selection(recipe, 1)


def selection(recipe: Recipe, scorers: int, asks_prior: bool = False) -> None:
    """One of several samples by what so many models say of each (`learn.routing.policies_of`).

    `asks_prior` says that samples of train prompts are scored too, for weights that are the best ones for the
    worst off.
    """
    recipe.answers, recipe.speakers = recipe.options["candidates"], 0
    recipe.shared, recipe.readers = True, scorers
    if asks_prior:
        sampled_game(recipe, "prior", scorers)


def sampled_game(recipe: Recipe, stage: str, scorers: int) -> None:
    """Samples of some train prompts, with what so many models say of each (`learn.routing.game_of`)."""
    candidates = recipe.options["candidates"]
    rows = candidates * min(PRIOR_PROMPTS, recipe.sizes.train)
    recipe.add(stage, "sample", rows, min(rows, ROWS_AT_ONCE), held=scorers, drawn=candidates)
    recipe.score(stage, rows * scorers, held=scorers, vocabulary=False)


def one_of_several(recipe: Recipe, scorers: int = 0) -> None:
    """One of several samples, whose probability has no closed form, by what so many models say of each."""
    recipe.answers, recipe.speakers = recipe.options["candidates"], 0
    if scorers:
        rows = recipe.sizes.test * recipe.answers * scorers
        recipe.score("evaluation", rows, held=scorers, vocabulary=False)

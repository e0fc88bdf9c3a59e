"""The passes that a run makes on its model, as far as they follow from its options.

What the aligner does it has declared (`prefbench/work.py`); the rest is what the harness does around it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prefbench import registry
from prefbench.learn.options import RewardOptions
from prefbench.problem.people import people_of
from prefbench.problem.problem import HELD_OUT_PAIRS, Problem
from prefbench.problem.strata import plan, takes_place
from prefbench.work import ROWS_AT_ONCE, Passes, People, Recipe, Sizes

if TYPE_CHECKING:
    from prefbench.spec import RunSpec


CHARACTERS_PER_TOKEN = 3.5
"""Assumed characters of a prompt or text in a token."""
TEMPLATE_TOKENS = 16
"""Assumed for a chat template around a prompt."""


def sizes_of(problem: Problem, chat: bool = False) -> Sizes:
    """The sizes of a problem, its tokens counted as `CHARACTERS_PER_TOKEN` each.

    Args:
        problem: as the task states it.
        chat: prompts are put in a chat template.
    """
    template = TEMPLATE_TOKENS if chat else 0
    prompts = [*problem.prompts.train, *problem.measured]
    lengths = [template + math.ceil(len(text) / CHARACTERS_PER_TOKEN) for text in prompts]
    texts = [len(text) / CHARACTERS_PER_TOKEN for text in problem.corpus]
    return Sizes(
        train=_pairs(problem, "train"),
        validation=_pairs(problem, "validation"),
        labels=problem.population.labels_per_pair,
        test=len(problem.measured),
        groups=len(problem.groups),
        instructed=sum(group.instruction is not None for group in problem.groups),
        sampled=problem.given is None,
        prompt=sum(lengths) / len(lengths),
        longest_prompt=max(lengths),
        text=sum(texts) / len(texts) if texts else 0.0,
        response=problem.response_tokens,
        gold=tuple(
            group.utility.fitted_to for group in problem.groups if group.utility.fitted_to is not None
        ),
    )


def with_people(sizes: Sizes, problem: Problem, sees: Collection[str], seed: int) -> Sizes:
    """The sizes with the people whom a policy answers that is told so much of them."""
    if not takes_place(problem, sees):
        return sizes
    asked = plan(problem, people_of(problem, seed), sees, seed)
    known = asked[asked["seen"] | (asked["n"] > 0)] if sees else asked.iloc[:0]
    contexts = known.drop_duplicates(["place", "seen", "n", "context"])
    # Where members of a group differ by the groups' utilities, each of these judges everything.
    of_taste = problem.population.spread > 0 and not problem.tastes
    people = People(
        answers=len(known),
        contexts=len(contexts),
        pairs=int(contexts["n"].sum()) if "pairs" in sees else 0,
        compared=len(asked) // len(problem.groups) + (len(asked) if of_taste else 0),
    )
    return replace(sizes, people=people)


def _held_out(sizes: Sizes) -> int:
    """Test prompts of which pairs are labelled as well."""
    return min(sizes.test, HELD_OUT_PAIRS)


def _pairs(problem: Problem, split: str) -> int:
    """Number of labels of a split: of each prompt's pair, or as many as were brought."""
    if problem.given is None:
        return problem.population.labels_per_pair * len(getattr(problem.prompts, split))
    return int((problem.given["split"] == split).sum())


def _judge(recipe: Recipe, stage: str, rows: float) -> None:
    """Every gold reward says how good these responses are."""
    for _ in recipe.sizes.gold:
        recipe.score(stage, rows, vocabulary=False)


def _measure_rewards(recipe: Recipe) -> None:
    """Every reward scores the pairs that measure it (`running/measure.py`)."""
    if recipe.rewards:
        rows = 2 * recipe.sizes.labels * _held_out(recipe.sizes) * recipe.rewards
        recipe.score("evaluation", rows, held=recipe.rewards + recipe.policies, vocabulary=False)


def _proxies(recipe: Recipe, samples: int) -> None:
    """Every reward scores the responses to the test prompts, the policy's and the reference's."""
    if recipe.rewards:
        rows = 2 * recipe.sizes.test * samples * recipe.rewards
        held = recipe.rewards + (recipe.speakers if recipe.policies else 0)
        recipe.score("proxies", rows, held=held, vocabulary=False)


def recipe_of(spec: RunSpec, sizes: Sizes) -> Recipe:
    """A recipe for the aligner of a specification, without any work so far."""
    return Recipe(spec.aligner_options, sizes, fits_heads=spec.model_options.get("reward_head") == "fitted")


def works_of(spec: RunSpec, sizes: Sizes) -> list[Passes]:
    """All passes of a run: the reference's training, pairs, the aligner's work, and the evaluation."""
    recipe = recipe_of(spec, sizes)
    _reference_training(recipe, spec)
    _gold(recipe)
    begun = len(recipe.works)
    if sizes.sampled and spec.outside is None:  # from labels that nobody asks for nothing is learned
        pairs = 2 * ((sizes.train + sizes.validation) // sizes.labels + _held_out(sizes))
        recipe.add("pairs", "sample", pairs, min(pairs, ROWS_AT_ONCE), drawn=2)
        _judge(recipe, "pairs", pairs)
    declared = registry.get("aligner", spec.aligner).work
    if declared is not None:
        declared(recipe)
    _measure_rewards(recipe)
    _proxies(recipe, spec.evaluate_options["samples"])
    _evaluation(recipe, spec.evaluate_options["samples"])
    _people(recipe, spec.evaluate_options["samples"])
    # Gold rewards stay to the end.
    later = [replace(work, held=work.held + len(sizes.gold)) for work in recipe.works[begun:]]
    return recipe.works[:begun] + later


def _reference_training(recipe: Recipe, spec: RunSpec) -> None:
    """Language-model training on the corpus: every token of a text is predicted from those before it."""
    steps, texts = (spec.model_options.get(name, 0) for name in ("steps", "batch"))
    if steps:
        length = {"prompt": 1, "response": round(recipe.sizes.text)}
        recipe.add("reference", "train", steps * texts, texts, held=1, optimised=True, **length)


def _gold(recipe: Recipe) -> None:
    """Rewards that are the truth of a group, each fitted to pairs of its own (`evaluate/gold.py`)."""
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
    """Responses to the test prompts by the policy and by the reference, and their log-probabilities.

    What trained the policy is gone by then.
    """
    answers = recipe.sizes.test * samples
    held: dict[str, Any] = {"held": recipe.speakers if recipe.policies else 0}
    for models, drawn in ((max(1, recipe.speakers), samples * recipe.answers), (1, samples)):
        rows = recipe.sizes.test * drawn * models * (1 + recipe.sizes.instructed)
        if rows:
            product = min(models, recipe.product)
            batch = min(drawn if recipe.shared and drawn > samples else rows, ROWS_AT_ONCE)
            stage = "candidates" if drawn > samples else "evaluation"
            recipe.add(stage, "sample", rows, batch, drawn=drawn, product=product, **held)
    if recipe.shared and recipe.readers:
        more = {"held": recipe.readers, "vocabulary": False}
        recipe.score("candidates", answers * recipe.answers * recipe.readers, **more)
    # The reference reads its own responses and the policy's, after their own prompts and after others.
    recipe.score("evaluation", 4 * answers, **held)
    if recipe.answers and recipe.speakers:
        recipe.score("evaluation", answers * recipe.speakers, product=recipe.product, **held)
    _judge(recipe, "evaluation", 2 * answers)


def _people(recipe: Recipe, samples: int) -> None:
    """Everybody of whom something is known is answered by a policy of her own (`running/people.py`).

    Samples that policies select from are drawn once, prompt by prompt, and scored for everybody. That happens
    where the aligner still is, with all that it trained in memory.
    """
    people = recipe.sizes.people
    if people is None:
        return
    held: dict[str, Any] = {"held": recipe.rewards + recipe.policies}
    if people.contexts and people.pairs and recipe.readers:
        # One context after another.
        batch = max(2, round(2 * people.pairs / people.contexts))
        recipe.add("people", "score", 2 * people.pairs * recipe.readers, batch, vocabulary=False, **held)
    if people.answers and recipe.shared:
        drawn = samples * recipe.answers
        rows = recipe.sizes.test * drawn
        recipe.add("people", "sample", rows, min(drawn, ROWS_AT_ONCE), drawn=drawn, **held)
        if recipe.readers:
            recipe.score("people", rows * recipe.readers, vocabulary=False, **held)
    elif people.answers:
        models, rows = max(1, recipe.speakers), people.answers * samples
        each = max(1, round(people.answers / people.contexts)) * samples * recipe.answers
        product = min(models, recipe.product)
        more = {"drawn": samples * recipe.answers, "product": product, **held}
        recipe.add("people", "sample", rows * recipe.answers * models, min(each, ROWS_AT_ONCE), **more)
        if recipe.speakers:
            recipe.score("people", rows * recipe.speakers, product=product, **held)
            recipe.score("people", rows, **held)
    _judge(recipe, "people", 2 * people.compared * samples)

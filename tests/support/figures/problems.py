"""Figures of every task's problem, and of data that users bring."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench import registry, seeds
from prefbench.problem.labels import given_pairs, label_pairs
from prefbench.problem.problem import Problem
from prefbench.spec import make_spec
from prefbench.text import text_digest
from support.figures.numbers import flat, frame_digest, projected
from support.figures.sections import EXACT, SECTIONS, Figures, Section, entries, section
from support.tiny import SENTENCES, TINY_TASK

DATA = Path(__file__).parents[2] / "data"


def small_spec(
    task: str, aligner: str = "reference", model: Mapping[str, Any] | None = None, several: int = 1
) -> Any:
    """A specification at a small size, `several` people labelling each pair."""
    known = registry.get("task", task).options.model_fields
    sized = {key: value for key, value in TINY_TASK.items() if key in known}
    sets = {
        "task": {**sized, "labels_per_pair": several},
        "model": dict(model or {}),
    }
    return make_spec(task=task, aligner=aligner, minority_ratio=0.25, sets=sets)


def stated(spec: Any) -> Problem:
    """The problem of a specification."""
    task = registry.get("task", spec.task)
    return task.function(spec.data, spec.minority_ratio, spec.seed, **spec.task_options)


def _task(name: str, folder: Path) -> Figures:
    return described(stated(small_spec(name)))


def described(problem: Problem) -> Figures:
    """A problem's texts, groups and labels, without a model."""
    prompts = problem.prompts
    result: Figures = {
        "prompts": text_digest([*prompts.train, "|", *prompts.validation, "|", *prompts.test]),
        "splits": [len(prompts.train), len(prompts.validation), len(prompts.test)],
        "corpus": text_digest(problem.corpus),
        "groups": [
            [group.name, group.share, group.utility.name.partition("@")[0], group.instruction]
            for group in problem.groups
        ],
        "labelling": [problem.annotators, problem.pairs_per_annotator, problem.temperature],
        "responses": [problem.response_tokens, problem.chat],
    }
    if problem.world is not None:
        responses = [text for row in problem.world.responses for text in row]
        return {**result, "world": text_digest(responses), "beta": problem.world.beta}
    if problem.given is not None:
        rows, conflict = given_pairs(problem)
        return {**result, "given": frame_digest(rows), **flat({"conflict": conflict})}
    rows, conflict = label_pairs(pairs_from(problem), problem, seed=0)
    numbers = rows.select_dtypes("float")
    return {
        **result,
        "labels": frame_digest(rows),
        **flat({"conflict": conflict, "utility": {name: projected(numbers[name]) for name in numbers}}),
    }


def pairs_from(problem: Problem) -> pd.DataFrame:
    """Two texts of the corpus as responses to each prompt."""
    splits = {split: getattr(problem.prompts, split) for split in ("train", "validation", "test")}
    prompts = [prompt for members in splits.values() for prompt in members]
    draw = seeds.rng(0, "figures").choice(len(problem.corpus), size=(len(prompts), 2))
    said = [[problem.corpus[i][-60:] for i in row] for row in draw.tolist()]
    return pd.DataFrame(
        {
            "split": [split for split, members in splits.items() for _ in members],
            "prompt": prompts,
            "response_a": [row[0] for row in said],
            "response_b": [row[1] for row in said],
        }
    )


@section("data/brought", EXACT)
def brought(folder: Path) -> Figures:
    """Labels of real annotators, and a corpus and a table of answers from files."""
    texts = [
        f"{word} film {i}, or so: {sentence}" for i in range(40) for sentence in SENTENCES for word in WORDS
    ]
    reviews = folder / "reviews.csv"
    pd.DataFrame({"text": texts, "label": [i % 2 for i in range(len(texts))]}).to_csv(reviews, index=False)
    answers = folder / "answers.csv"
    pd.DataFrame(
        [
            {"instruction": f"tell me of {word} {i}", "model": model, "output": f"{words} {word} {'so ' * i}"}
            for i in range(10)
            for word in WORDS
            for model, words in zip("abc", SENTENCES, strict=False)
        ]
    ).to_csv(answers, index=False)
    talks = folder / "talks.jsonl"
    talks.write_text(
        "\n".join(
            json.dumps(
                {
                    "chosen": f"\n\nHuman: how do I mend {i}?\n\nAssistant: {WORDS[i % 3]}",
                    "rejected": f"\n\nHuman: how do I mend {i}?\n\nAssistant: {WORDS[(i + 1) % 4]} {i}",
                    "objective": "helpful" if i % 2 else "harmless",
                }
            )
            for i in range(300)
        )
    )
    result: Figures = {}
    for task, data in (
        ("tulu_personas", DATA / "personas"),
        ("hh_two_group", talks),
        ("imdb_two_group", reviews),
        ("response_pool", answers),
    ):
        known = registry.get("task", task).options.model_fields
        some = {**TINY_TASK, "annotators": 6, "test_prompts": 15, "gold_annotators": 1, "utility": "proxy"}
        sets = {"task": {key: value for key, value in some.items() if key in known}}
        spec = make_spec(task=task, aligner="reference", data=str(data), minority_ratio=0.25, sets=sets)
        result |= flat({task: described(stated(spec))})
    return result


WORDS = ("dull", "grand", "short", "warm")


def fill() -> None:
    """Sections for every task that is registered."""
    for entry in entries("task"):
        if entry.own_data:
            SECTIONS[f"data/{entry.name}"] = Section(functools.partial(_task, entry.name), EXACT)

"""Tables of what several models answered to the same prompts, and what they become: a pool.

A pool has the same models' answers to every prompt, all of them text, and no two to one prompt alike. Which
models and prompts give way to that is decided here, and counted. Nothing is done about what the answers say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.data.files import read_columns
from prefbench.errors import UserError
from prefbench.problem.utilities.content import content_words
from prefbench.problem.utilities.readability import count_sentences
from prefbench.problem.utilities.sentiment import VaderSum
from prefbench.text import is_empty, lower_words

__all__ = ["MIN_PROMPTS", "Answer", "Pool", "make_pool", "read_answers", "text_features"]

Answer = tuple[str, str, str]
"""Instruction, model, output; an empty string for what is missing."""

MIN_PROMPTS = 20
_LARGEST_GAP_SHARE = 0.1
"""Largest share of prompts that a model may leave without a usable answer; else the model is dropped."""


@dataclass(frozen=True)
class Pool:
    """S prompts and R models' answers to each of them."""

    source: str
    """The file's own name, or the word that stands for another source."""
    prompts: tuple[str, ...]
    """[S] different, sorted."""
    models: tuple[str, ...]
    """[R] different, sorted."""
    responses: tuple[tuple[str, ...], ...]
    """[S, R] different within a prompt, each with a word in it."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """Counts of what was read and what was left out (JSON values)."""


# --- from answers to a pool -------------------------------------------------------------------------------


def make_pool(source: str, answers: Iterable[Answer]) -> Pool:
    """Keep the prompts that all models answered, and of the models those that answered nearly all prompts.

    The first of several answers of one model to one prompt is kept. An answer is usable if it has a word and
    no earlier model, by name, gave the same. Models go first: one that lacks more than a tenth of the prompts
    would take all of these with it. Then every prompt goes to which some model has no usable answer.

    Args:
        source: what to call the table.
        answers: its rows, in any order.

    Returns:
        The pool; the order of rows matters only among several answers of one model to one prompt.

    Raises:
        UserError: fewer than two models or 20 prompts are left.
    """
    table: dict[str, dict[str, str]] = {}  # prompt, model: output
    models: set[str] = set()
    counts = Counter(rows=0, rows_without_prompt_or_model=0, rows_repeated=0)
    for prompt, model, output in answers:
        counts["rows"] += 1
        if not (prompt.strip() and model.strip()):
            counts["rows_without_prompt_or_model"] += 1
            continue
        models.add(model)
        row = table.setdefault(prompt, {})
        if model in row:
            counts["rows_repeated"] += 1
        else:
            row[model] = output
    kept, left_out = _complete_models(table, sorted(models))
    if len(kept) < 2:
        raise UserError(
            f"{source!r}: of {len(models)} models {len(kept)} answered nine in ten of its {len(table)} "
            "prompts in words of their own, and two are needed: leave out prompts or models until they have "
            "some in common."
        )
    faults = {prompt: _fault([table[prompt].get(model) for model in kept]) for prompt in sorted(table)}
    prompts = tuple(prompt for prompt, fault in faults.items() if fault is None)
    if len(prompts) < MIN_PROMPTS:
        raise UserError(
            f"{source!r} has {len(prompts)} prompts to which all of its {len(kept)} models gave different "
            f"answers, and {MIN_PROMPTS} are needed: leave out models, or name a larger table."
        )
    reasons = Counter(fault for fault in faults.values() if fault is not None)
    report = {
        **counts,
        "prompts": len(table),
        "prompts_dropped": {reason: reasons[reason] for reason in ("missing", "empty", "same_text")},
        "models_dropped": left_out,
        "models": kept,
    }
    responses = tuple(tuple(table[prompt][model] for model in kept) for prompt in prompts)
    return Pool(source, prompts, tuple(kept), responses, report)


def _complete_models(
    table: Mapping[str, Mapping[str, str]], models: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The models with a usable answer to nine in ten of the prompts, and the others."""
    kept: list[str] = []
    left_out: list[str] = []
    # A prompt that one model alone was asked is lost whatever goes, so it speaks against no other model.
    shared = {prompt: row for prompt, row in table.items() if len(row) > 1}
    said: dict[str, set[str]] = {prompt: set() for prompt in shared}
    for model in models:
        given = {prompt: row[model] for prompt, row in shared.items() if model in row}
        usable = {p: text for p, text in given.items() if text not in said[p] and not is_empty(text)}
        if not usable or len(shared) - len(usable) > _LARGEST_GAP_SHARE * len(shared):
            left_out.append(model)
            continue
        kept.append(model)
        for prompt, text in usable.items():
            said[prompt].add(text)
    return kept, left_out


def _fault(outputs: Sequence[str | None]) -> str | None:
    """The reason why a prompt with these answers cannot stay."""
    if any(output is None for output in outputs):
        return "missing"
    if any(is_empty(output or "") for output in outputs):
        return "empty"
    return "same_text" if len(set(outputs)) < len(outputs) else None


# --- reading ----------------------------------------------------------------------------------------------


def read_answers(data: str, columns: tuple[str, str, str]) -> tuple[str, list[Answer]]:
    """Read a table of answers.

    Args:
        data: path of a parquet, csv or jsonl file.
        columns: names of its columns of instructions, models and outputs.

    Returns:
        The file's own name and its rows; a missing cell is an empty string.

    Raises:
        UserError: the file is not there or not readable, or a column is missing or holds no text.
    """
    if len(set(columns)) < 3:
        raise UserError(
            f"instructions, models and outputs are said to be in columns {', '.join(map(repr, columns))}: "
            "name three different ones."
        )
    path = _existing_file(data)
    table = read_columns(path, "tables")
    missing = [column for column in columns if column not in table]
    if missing:
        listed = ", ".join(map(repr, table)) or "no columns"
        raise UserError(
            f"{path.name!r} has no column {missing[0]!r} but {listed:.300}: set task.instruction_column, "
            "task.model_column and task.output_column."
        )
    cells = [_texts(table[column], column, path.name) for column in columns]
    return path.name, list(zip(*cells, strict=True))


def _existing_file(data: str) -> Path:
    try:
        path = Path(data).expanduser()
        if data and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no permission, no such user
        pass
    raise UserError(
        f"--data {data!r:.300} is no file: name a parquet, csv or jsonl table of answers, or say synthetic."
    )


def _texts(values: Sequence[object], column: str, name: str) -> list[str]:
    texts = []
    for row, value in enumerate(values, start=1):
        if value is None or value != value:  # unequal to itself: a missing cell's NaN
            texts.append("")
        elif isinstance(value, str):
            # JSON can spell half a surrogate pair, which no file can take.
            texts.append(value.encode(errors="replace").decode())
        else:
            raise UserError(
                f"{name!r}: column {column!r} has no text but {value!r:.40} in row {row}: write it as text."
            )
    return texts


# --- features ---------------------------------------------------------------------------------------------

_FARTHEST_DEVIATIONS = 5.0
"""Standard deviations from the mean at which a feature is clipped: one answer stuck in a loop must not be
what a linear reward is fitted to."""
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*\u2022]|\d+[.)])[ \t]", re.MULTILINE)


def text_features(pool: Pool) -> tuple[Floats, list[str], list[str]]:
    """Features that linear rewards and policies see of a response: its form, not what a group thinks of it.

    No feature is a utility: different words are counted as a share and with the stop words, valence by the
    word, syllables not at all. Only `words` is brevity itself, but for answers so long that they are clipped.

    Returns:
        Features [S, R, d] with mean zero and variance one over the pool, test prompts and all, clipped five
        standard deviations from the mean before that; their names; and the names of those that are left out,
        because within each prompt they are constant or a linear combination of earlier ones: they would add
        nothing to a choice between responses.

    Raises:
        UserError: no feature is left.
    """
    count = len(pool.models)
    prompts = [prompt for prompt in pool.prompts for _ in range(count)]
    texts = [text for row in pool.responses for text in row]
    raw = _raw_features(prompts, texts)
    columns = {name: _standardised(values).reshape(-1, count) for name, values in raw.items()}
    kept = _independent({name: (x - x.mean(axis=1, keepdims=True)).ravel() for name, x in columns.items()})
    if not kept:
        raise UserError(
            f"{pool.source!r}: all answers to a prompt look alike, so that no feature is left: name another "
            "pool."
        )
    left_out = [name for name in columns if name not in kept]
    return np.stack([columns[name] for name in kept], axis=2), kept, left_out


def _raw_features(prompts: Sequence[str], texts: Sequence[str]) -> dict[str, Floats]:
    """All features [n], in units that standardisation takes away; each text has a word."""

    def each(function: Callable[[str], float]) -> Floats:
        return np.array([function(text) for text in texts], dtype=np.float64)

    listed = [lower_words(text) for text in texts]
    words = np.array([len(row) for row in listed], dtype=np.float64)
    letters = np.array([sum(map(len, row)) for row in listed])
    size = each(len)
    return {
        "log words": np.log(words),
        "words": words,
        "log word length": np.log(letters / words),
        "log sentence length": np.log(words / each(count_sentences)),
        "different words": np.array([len(set(row)) for row in listed]) / words,
        "valence of a word": VaderSum(empty=0.0)(prompts, texts) / words,
        "punctuation": each(lambda text: sum(map(text.count, ".,;:!?()\"'"))) / size,
        "digits": each(lambda text: sum(map(text.count, "0123456789"))) / size,
        "log questions": np.log1p(each(lambda text: text.count("?"))),
        "log exclamations": np.log1p(each(lambda text: text.count("!"))),
        "log lines": np.log1p(each(lambda text: text.count("\n"))),
        "log list items": np.log1p(each(lambda text: len(_LIST_ITEM.findall(text)))),
        "prompt taken up": _taken_up(prompts, texts),
    }


def _taken_up(prompts: Sequence[str], texts: Sequence[str]) -> Floats:
    """Share of the prompt's content words that occur in the response; 0 where it has none."""
    asked = {prompt: content_words(prompt) for prompt in dict.fromkeys(prompts)}
    return np.array(
        [
            len(asked[prompt] & content_words(text)) / max(len(asked[prompt]), 1)
            for prompt, text in zip(prompts, texts, strict=True)
        ]
    )


def _standardised(values: Floats) -> Floats:
    mean, reach = values.mean(), _FARTHEST_DEVIATIONS * values.std()
    clipped = np.clip(values, mean - reach, mean + reach)
    spread = clipped.std()
    return (clipped - clipped.mean()) / spread if spread > 1e-9 else np.zeros_like(values)


def _independent(columns: Mapping[str, Floats]) -> list[str]:
    """Names of columns that are no linear combination of those before, by Gram-Schmidt."""
    kept: list[str] = []
    basis: list[Floats] = []
    for name, column in columns.items():
        rest = column
        for _ in range(2):  # once more, for what rounding left
            for direction in basis:
                rest = rest - (rest @ direction) * direction
        # Relative to the standardised pool: a feature that all but depends on the prompt alone is none.
        size = float(np.linalg.norm(rest))
        if size > 1e-6 * np.sqrt(len(column)):
            kept.append(name)
            basis.append(rest / size)
    return kept

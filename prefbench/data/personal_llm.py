"""PersonalLLM (namkoong-lab/PersonalLLM, arXiv 2409.20296): 8 responses a prompt, scored by 10 reward models.

A row has `prompt`, eight responses called response_1 and so on, and for each response a column of each reward
model, named `response_1_gemma_2b` and so on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.data.annotated import Terms
from prefbench.data.files import Columns
from prefbench.data.label_source import from_hub, lacking, read_labels
from prefbench.data.pool import MIN_PROMPTS, Pool
from prefbench.errors import UserError

HUB_ID = "namkoong-lab/PersonalLLM"
WORD = "personal-llm"
TERMS = Terms(
    "PersonalLLM (Zollo et al. 2024)",
    "CC-BY-4.0 by its card, not commercial by an older note",
    "Whoever publishes rows of it has to see which of the two holds.",
)
_SCORE = re.compile(r"(response_\d+)_(.+)")


@dataclass(frozen=True)
class Scored:
    """A pool of responses, and the scores that reward models gave them."""

    pool: Pool
    models: tuple[str, ...]
    """[M] names of the reward models, sorted."""
    scores: Floats
    """[S, R, M] centred in each prompt, of variance one over the pool."""


def read_scored(data: str) -> Scored:
    """Responses with all scores; prompts that lack one, or that repeat a response, are left out.

    Args:
        data: `personal-llm` (from the hub), or a table of that layout.

    Raises:
        UserError: it cannot be read, is laid out otherwise, or leaves fewer than 20 prompts.
    """
    source, columns = (data, from_hub(HUB_ID)) if data == WORD else read_labels(data)
    found = [match for name in columns if (match := _SCORE.fullmatch(name))]
    responses = sorted({match[1] for match in found}, key=lambda name: int(name.rpartition("_")[2]))
    models = sorted({match[2] for match in found})
    if len(responses) < 2 or len(models) < 2:
        raise lacking(source, "response_1_gemma_2b", columns, f"It is to be laid out as {HUB_ID}.")
    needed = ["prompt", *responses, *(f"{name}_{model}" for name in responses for model in models)]
    for name in needed:
        if name not in columns:
            raise lacking(source, name, columns, f"It is to be laid out as {HUB_ID}.")
    rows: dict[str, tuple[tuple[str, ...], list[list[float]]]] = {}
    for index, prompt in enumerate(columns["prompt"]):
        texts = [columns[name][index] for name in responses]
        scores = [[_number(columns, f"{name}_{model}", index) for model in models] for name in responses]
        whole = isinstance(prompt, str) and all(isinstance(text, str) and text.strip() for text in texts)
        if whole and len(set(texts)) == len(texts) and np.isfinite(scores).all():
            rows.setdefault(str(prompt), (tuple(map(str, texts)), scores))
    if len(rows) < MIN_PROMPTS:
        raise UserError(
            f"{source!r} has {len(rows)} prompts with all responses and scores, and {MIN_PROMPTS} are "
            "needed: "
            "name a larger table."
        )
    prompts = tuple(sorted(rows))
    report = {"rows": len(columns["prompt"]), "rows_left_out": len(columns["prompt"]) - len(rows)}
    pool = Pool(source, prompts, tuple(responses), tuple(rows[prompt][0] for prompt in prompts), report)
    scores_of = np.array([rows[prompt][1] for prompt in prompts], dtype=np.float64)
    centred = scores_of - scores_of.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=(0, 1)))
    flat = [model for model, size in zip(models, spread.tolist(), strict=True) if size < 1e-9]
    if flat:
        raise UserError(
            f"{source!r}: {flat[0]} gives all responses of a prompt one score: remove its columns."
        )
    return Scored(pool, tuple(models), centred / spread)


def _number(columns: Columns, name: str, index: int) -> float:
    value: Any = columns[name][index]
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")

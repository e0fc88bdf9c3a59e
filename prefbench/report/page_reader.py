"""The page's reader: some prompts, with what every aligner answered."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.evaluate.win_rate import outcomes
from prefbench.record.evidence import item_columns, read_evidence
from prefbench.report.figures import Cell, FigureSetting
from prefbench.text import one_line

TEXT_CHARACTERS = 4000
"""Characters of a prompt or response in the reader; the rest is cut, and the cut is marked."""


def shelves(setting: FigureSetting, ratio: float, prompts: int) -> list[dict[str, Any]]:
    """Some prompts of each seed with what every aligner answered."""
    cells = sorted((cell for cell in setting.cells if cell.ratio == ratio), key=lambda cell: cell.line)
    seeds = sorted({seed for cell in cells for seed in cell.runs})
    found = [_shelf(cells, seed, prompts) for seed in seeds] if prompts else []
    return [shelf for shelf in found if shelf is not None]


def _shelf(cells: Sequence[Cell], seed: int, prompts: int) -> dict[str, Any] | None:
    chosen: list[int] | None = None
    n_prompts, samples = 0, 1
    names: list[str] = []
    units: list[str] = []
    by_prompt: dict[int, dict[str, Any]] = {}
    for cell in cells:
        folder, record = cell.runs.get(seed, (None, None))
        if folder is None or record is None or record.status != "ok":
            continue
        groups = [group.name for group in record.groups]
        try:
            if chosen is None:
                chosen, n_prompts = _choose(folder, prompts)
                names, units, samples = (
                    groups,
                    [g.unit for g in record.groups],
                    record.samples_per_prompt or 1,
                )
            if set(groups) != set(names):
                continue
            items = _read_chosen(folder, chosen, names)
        except Exception as error:  # the runs may be a stranger's, and their tables odd in any way
            warnings.warn(f"no responses of '{folder}' in the page: {one_line(error)[:120]}", stacklevel=2)
            continue
        for item in items:
            # The same id of another aligner is the same prompt, or it has no business beside it.
            entry = by_prompt.setdefault(item["id"], {**item["shared"], "answers": []})
            if entry["text"] != item["shared"]["text"]:
                continue
            answer = {"l": cell.line, **item["answer"]}
            if entry["reference"] != item["shared"]["reference"]:
                answer |= {"reference": item["shared"]["reference"], "ru": item["shared"]["ru"]}
            entry["answers"].append(answer)
    if not by_prompt:
        return None
    return {
        "seed": seed,
        "of": n_prompts,
        "samples": samples,
        "groups": [
            {"name": one_line(name), "unit": one_line(unit)} for name, unit in zip(names, units, strict=True)
        ],
        "prompts": [by_prompt[i] for i in sorted(by_prompt)],
    }


def _choose(folder: Path, prompts: int) -> tuple[list[int], int]:
    """Ids spaced evenly over the test prompts, and how many there are: no result has a say in it."""
    ids = np.unique(read_evidence(folder, columns=["prompt_id"])["prompt_id"].to_numpy())
    places = np.unique(np.linspace(0, len(ids) - 1, min(prompts, len(ids))).round().astype(int))
    return [int(ids[place]) for place in places], len(ids)


def _read_chosen(folder: Path, chosen: Sequence[int], groups: Sequence[str]) -> list[dict[str, Any]]:
    """The first sample of the chosen prompts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [name for name in item_columns(groups) if name not in ("words", "kl")]
    wanted = pa.array(chosen, pa.int64())
    table = read_evidence(folder, columns=[*columns, "reference_words"])
    keep = pc.and_(
        pc.is_in(table["prompt_id"].cast(pa.int64()), value_set=wanted), pc.equal(table["sample"], 0)
    )
    rows: list[dict[str, Any]] = table.filter(keep).to_pylist()
    if not rows:
        return []
    ours = [[[row[f"utility/{name}"] for name in groups]] for row in rows]
    theirs = [[[row[f"reference_utility/{name}"] for name in groups]] for row in rows]
    won = outcomes(
        ours, theirs, [[row["empty"]] for row in rows], [[row["reference_words"] == 0] for row in rows]
    )
    return [
        {
            "id": int(row["prompt_id"]),
            "shared": {
                "text": _cut(row["prompt"]),
                "reference": _cut(row["reference_response"]),
                "ru": _finite(theirs[i][0]),
            },
            "answer": {
                "text": _cut(row["response"]),
                "u": _finite(ours[i][0]),
                "o": [float(value) for value in won[i, 0]],
            },
        }
        for i, row in enumerate(rows)
    ]


def _cut(text: object) -> str:
    whole = "" if text is None else str(text)
    return whole if len(whole) <= TEXT_CHARACTERS else f"{whole[:TEXT_CHARACTERS]} [...]"


def _finite(values: Iterable[Any]) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in map(float, values)]

"""The page's view of single runs: what one seed gave, and the course of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.record.files import HISTORY_FILE
from prefbench.record.schema import Record
from prefbench.report.history import read_history
from prefbench.text import one_line

POINTS = 40
"""Points of a curve at most."""
MOST_CURVES = 12
"""Quantities of one run's training that are drawn at most."""
_ALSO = {"kl": "KL (nats per response)", "tokens": "tokens per response"}
"""Quantities beside the rewards, and what they are called."""


def run_of(folder: Path, record: Record, groups: Sequence[str]) -> dict[str, Any]:
    """One run in numbers.

    Args:
        folder: where its files lie.
        record: what was measured.
        groups: names of the setting's groups, in whose order win rates are given; None where one is missing.
    """
    rates = {one_line(group.name): round(group.win_rate, 4) for group in record.groups}
    made = record.provenance
    return {
        "seed": record.seed,
        "status": record.status,
        "name": one_line(folder.name),
        "rates": [rates.get(name) for name in groups],
        "kl": _short(record.kl),
        "words": _short(record.mean_length),
        "empty": _short(record.empty_rate),
        "clusters": _short(record.em.adjusted_rand_index if record.em else None),
        "seconds": _short(math.fsum(record.timings.values())),
        "started": one_line(made.started)[:16].replace("T", " "),
        "on": one_line(made.hardware),
        "by": one_line(f"{made.prefbench} {made.git[:12]}" if made.git else made.prefbench),
        "said": [one_line(said) for said in (record.message, *record.notes) if said],
        "curves": _curves(read_history(folder / HISTORY_FILE) or []),
    }


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _curves(history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Steps, and by quantity its values there; quantities that some iteration lacks are left out."""
    steps = range(0, len(history), max(1, math.ceil(len(history) / POINTS)))
    if len(steps) < 2:
        return {}
    names = [name for name in history[0] if name.startswith("reward/") or name in _ALSO]
    whole = [name for name in names if all(name in history[step] for step in steps)][:MOST_CURVES]
    values = {
        one_line(_ALSO.get(name, f"reward {name.removeprefix('reward/')}")): [
            _short(history[step][name]) for step in steps
        ]
        for name in whole
    }
    return {"steps": [step + 1 for step in steps], "values": values} if values else {}

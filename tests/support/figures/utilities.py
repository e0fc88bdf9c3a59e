"""Figures of utilities: every class that needs nothing, and those of every task."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.problem.utilities import combined as of_others
from prefbench.problem.utilities import content, readability, sentiment
from support.figures.problems import small_spec, stated
from support.figures.sections import EXACT, Figures, entries, section

EMPTY = -1.5
"""What a response without a word is worth."""
TEXTS = (
    "",
    " a joy.",
    " not good at all, and far too long; I hated every minute of it!",
    " Thank you, dear friend. It is wonderful: light, warm and funny.",
    " The cinematographer's extraordinary accomplishment notwithstanding, verbosity prevails.",
)


@section("utilities", EXACT)
def every_utility(folder: Path) -> Figures:
    """Utilities of fixed texts: every class that needs nothing, and those of every task and choice."""
    known: dict[str, Any] = {}
    for kind in [kind for room in (content, readability, sentiment) for kind in vars(room).values()]:
        if inspect.isclass(kind) and is_dataclass(kind) and "__call__" in vars(kind):
            needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
            if needed <= {"empty"}:
                known[kind.__name__] = kind(**dict.fromkeys(needed, EMPTY))
    glad = sentiment.VaderSum(EMPTY)
    known["Negated"] = of_others.Negated(glad, EMPTY)
    known["Weighted"] = of_others.Weighted(((0.5, glad), (2.0, content.Conciseness(EMPTY))))
    for entry in entries("task"):
        if entry.backbone == "finite" or not entry.own_data:
            continue  # tables: their sections have them
        for group in stated(small_spec(entry.name)).groups:
            known.setdefault(group.utility.name, group.utility)
    asked = ["what did you think of the film?"] * len(TEXTS)
    return {name: np.asarray(utility(asked, TEXTS)).tolist() for name, utility in known.items()}

"""Figures of everything that can move a result, small enough to compute in a minute.

`SECTIONS` names functions that each compute some figures; `test_numerics.py` holds them against stored ones.
Language models run in float64, so that another processor differs by far less than the smallest change that
matters. Nothing here hangs on a tie: what is drawn or decided is decided by a wide margin.
"""

from __future__ import annotations

from prefbench import registry
from support.figures import choices, evaluator, learners, problems, utilities, worlds  # noqa: F401
from support.figures.language import talk
from support.figures.sections import SECTIONS, compute, entries, tolerance_of

__all__ = ["SECTIONS", "compute", "entries", "talk", "tolerance_of"]

registry.load_plugins()
for filled in (problems, worlds, learners):
    filled.fill()

"""Sections of figures: each computes some, and says how far they may be from the stored ones."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefbench import registry
from support.figures.digits import float64, solved

Figures = dict[str, Any]
"""Names to numbers, texts or lists of them."""

EXACT, DESCENT = 1e-9, 1e-7
"""Relative tolerances: of what has an exact answer, and of training in float64."""
FREE, LEFT_FREE = {"low_rank", "pal", "sign_estimator"}, 2e-3
"""Aligners whose loss leaves something free, a factor's turn or a vector's length, so that where along it
a fit ends is up to the processor; and the tolerance of their figures in worlds."""


@dataclass(frozen=True)
class Section:
    """Some figures and how far they may be from the stored ones, relatively and, near zero, absolutely."""

    compute: Callable[[Path], Figures]
    """Takes an empty folder."""
    tolerance: float


SECTIONS: dict[str, Section] = {}


def compute(name: str) -> Figures:
    """The figures of a section, from nothing: no stage of an earlier call is served."""
    with tempfile.TemporaryDirectory() as folder, float64(), solved():
        return {key: _plain(value) for key, value in SECTIONS[name].compute(Path(folder)).items()}


def tolerance_of(section: str, figure: str) -> float:
    """How far a figure of a section may be from the stored one."""
    of_world = section.startswith("world")
    free = of_world and not FREE.isdisjoint(f"{section}/{figure}".split("/"))
    return LEFT_FREE if free else SECTIONS[section].tolerance


def _plain(value: Any) -> Any:
    """As JSON would give it back, numbers to twelve digits."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def section(name: str, tolerance: float) -> Callable[[Callable[[Path], Figures]], Callable[..., Figures]]:
    """Register a function as a section."""

    def registered(function: Callable[[Path], Figures]) -> Callable[[Path], Figures]:
        SECTIONS[name] = Section(function, tolerance)
        return function

    return registered


def entries(kind: registry.EntryKind) -> list[registry.Entry]:
    """Everything that prefbench itself registers."""
    return [entry for entry in registry.entries(kind) if entry.origin.plugin is None]

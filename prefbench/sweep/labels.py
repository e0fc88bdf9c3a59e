"""Names of cells for a reader: task, aligner, model, share, seed, and the options in which cells differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prefbench.spec import SECTIONS, RunSpec
from prefbench.sweep.grid import NAMED, options_of


def labels_of(specs: Sequence[RunSpec]) -> Mapping[str, str]:
    """The names of cells, by the hashes of their specifications."""
    apart = changing(specs)
    return {spec.hash: label(spec, apart) for spec in specs}


def label(spec: RunSpec, apart: Iterable[tuple[str, str]] = ()) -> str:
    """A cell in a few words.

    Args:
        spec: the cell.
        apart: sections and options that tell it from others.
    """
    options = said(spec, apart)
    named = f"{spec.task}, {spec.aligner}, {spec.model}, {spec.minority_ratio:g}, seed {spec.seed}"
    return f"{named}, {options}" if options else named


def said(spec: RunSpec, options: Iterable[tuple[str, str]]) -> str:
    """Options of a cell with their values, of those that it has."""
    return ", ".join(
        f"{option}={options_of(spec, section)[option]}"
        for section, option in options
        if option in options_of(spec, section)
    )


def changing(specs: Sequence[RunSpec]) -> list[tuple[str, str]]:
    """The options that differ between cells of the same task, aligner or model, with their sections."""
    seen: dict[tuple[str, str, str], set[str]] = {}
    for spec in specs:
        for section in SECTIONS:
            owner = getattr(spec, section) if section in NAMED else ""
            for option, value in options_of(spec, section).items():
                seen.setdefault((section, owner, option), set()).add(repr(value))
    return sorted({(section, option) for (section, _, option), values in seen.items() if len(values) > 1})

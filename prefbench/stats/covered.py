"""Coverage of a 95% interval over few runs, and the sentence that says it beneath a table.

`python benchmarks/interval_coverage.py --write` writes the figures; docs/statistics.md has every cell.
"""

from __future__ import annotations

from collections.abc import Iterable

COVERED: dict[int, tuple[float, float, float]] = {
    2: (0.843, 0.990, 0.619),
    3: (0.818, 0.959, 0.489),
    4: (0.879, 0.957, 0.572),
    5: (0.930, 0.956, 0.655),
    7: (0.934, 0.958, 0.768),
    10: (0.940, 0.956, 0.887),
}
"""By the number of runs: least and most over the worlds simulated, and the least where one in five fails."""


def said_of(runs: int) -> str | None:
    """A footnote on intervals from so many runs; None from where on they cover what they say."""
    if runs == 1:
        return "one seed: intervals are over its prompts and say nothing of other seeds"
    if runs >= max(COVERED):
        return None
    known = max(few for few in COVERED if few <= runs)
    least, most, failing = COVERED[known]
    return (
        f"95% intervals from {known} seeds cover {least:.0%} to {most:.0%} in simulations, and {failing:.0%} "
        "where one run in five fails"
    )


def said_of_all(runs: Iterable[int]) -> str:
    """The footnotes on intervals of several rows, from so many runs each; empty where none is needed."""
    return "; ".join(said for few in sorted(set(runs)) if (said := said_of(few)))

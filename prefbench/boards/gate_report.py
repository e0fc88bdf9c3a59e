"""The answer of a gate, row by row and as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefbench.boards.gate_file import Key
from prefbench.config import Check
from prefbench.stats.comparisons import DropTest, Verdict, closing


@dataclass(frozen=True)
class GateRow:
    """One row of the baseline against the same configuration now."""

    key: Key
    """task@version, model, data, minority ratio, aligner, config hash."""
    check: Check
    verdict: Verdict
    sentence: str
    """Words for a person: what happened, by how much, on how many prompts."""
    old: float | None
    new: float | None
    p_value: float | None
    """Probability of having fallen by more than the margin, corrected by Holm over every row of every
    check."""
    test: DropTest | None
    """The test of the fall; None where one side has no number."""
    paired: bool
    """True if both sides answered the same prompts and were compared prompt by prompt."""
    n_needed: int | None = None
    """Prompts on each side that would decide an undecided row; None where it is decided or none would."""
    would: str | None = None
    """Sentence that says how many prompts would decide an undecided row; None where it is decided or none
    would."""


@dataclass(frozen=True)
class GateReport:
    """The answer of a gate."""

    checks: tuple[Check, ...]
    level: float
    strict: bool
    """True if an undecided or missing row closes the gate too."""
    rows: tuple[GateRow, ...]
    unmatched: tuple[str, ...]
    """Baseline rows that nothing was run for."""
    allow_undecided: bool = False
    """True if a gate that decided nothing may stay open."""
    prompts_only: bool = False
    """True if the spread between seeds is left out."""

    @property
    def decided(self) -> bool:
        """True if at least one check of one row ended as held or fell."""
        return any(row.verdict != "cannot tell" for row in self.rows)

    def closes(self, verdict: Verdict) -> bool:
        """True if one such row closes the gate."""
        return verdict in closing((row.verdict for row in self.rows), self.strict, self.allow_undecided)

    @property
    def exit_code(self) -> int:
        """1 if a row fell or nothing was decided (or, when strict, a row is undecided or not run), else 0."""
        return int(
            any(self.closes(row.verdict) for row in self.rows) or (self.strict and bool(self.unmatched))
        )

    @property
    def undecided(self) -> str | None:
        """Sentences that say that nothing was decided, and what would decide; None where something was."""
        if self.decided:
            return None
        nearest = min((row for row in self.rows if row.n_needed), key=_needed, default=None)
        if nearest is not None:
            what = f"{nearest.would} for {nearest.check.metric} of {row_name(nearest.key)}"
        elif asked := next((row.would for row in self.rows if row.would), None):
            what = asked
        elif any(row.test for row in self.rows):
            what = "no number of prompts would, but another margin, such as 0.05"
        else:
            what = "whole runs on both sides would"
        return (
            f"UNDECIDED: no check held or fell, so this gate guards nothing: {what} "
            "(docs/faq.md#the-gate-decides-nothing)."
        )

    @property
    def sentences(self) -> list[str]:
        """One per row and per baseline row that was not run; if nothing was decided; its errors; the sum."""
        lines = [row.sentence for row in self.rows]
        lines += [f"NOT RUN: {name} is in the baseline only." for name in self.unmatched]
        return [*lines, *([self.undecided] if self.undecided else []), self.promise, self.sum]

    @property
    def promise(self) -> str:
        """Level of the answer, and of whom it speaks."""
        chance = f"no more than the margins, to be called fallen: at most {self.level:g}"
        if self.prompts_only:
            return (
                f"LEVEL: chance of policies that lose {chance}. Trained anew they may be called so more "
                "often, as the spread between seeds is left out."
            )
        return f"LEVEL: chance of a method that is trained anew and loses {chance}."

    @property
    def sum(self) -> str:
        """Open or closed, and how many of what."""
        counts = [
            f"{sum(row.verdict == verdict for row in self.rows)} {verdict}"
            for verdict in ("held", "fell", "cannot tell")
        ]
        state = "closed" if self.exit_code else "open"
        return f"{state}: {', '.join(counts)}, {len(self.unmatched)} not run."

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form."""
        return {
            "metric": self.checks[0].metric,
            "margin": self.checks[0].margin,
            "checks": [check.model_dump() for check in self.checks],
            "level": self.level,
            "strict": self.strict,
            "allow_undecided": self.allow_undecided,
            "prompts_only": self.prompts_only,
            "decided": self.decided,
            "exit_code": self.exit_code,
            "rows": [
                {
                    "key": list(row.key),
                    "metric": row.check.metric,
                    "margin": row.check.margin,
                    "verdict": row.verdict,
                    "sentence": row.sentence,
                    "old": row.old,
                    "new": row.new,
                    "p_value": row.p_value,
                    "paired": row.paired,
                    "n_needed": row.n_needed,
                    "test": row.test._asdict() if row.test else None,
                }
                for row in self.rows
            ],
            "unmatched": list(self.unmatched),
        }


def _needed(row: GateRow) -> int:
    assert row.n_needed is not None
    return row.n_needed


def row_name(key: Key) -> str:
    """A row's key in words."""
    task, model, data, ratio, aligner, config = key
    return f"{task} {model} {data} {ratio:g} {aligner} ({config})"

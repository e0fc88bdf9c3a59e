"""The budget of tuning before it begins: configurations, runs and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.evaluate.selection import Rule
from prefbench.sweep.tuning import Search


@dataclass(frozen=True)
class Budget:
    """The cost of tuning an aligner, as far as it is known before."""

    aligner: str
    rule: Rule
    space: Mapping[str, str]
    rungs: tuple[int, ...]
    """Configurations on each rung."""
    tokens: float | None
    """Tokens of all runs, at most, should those that take most be those that stay. None where not known."""
    answers: int
    """Answers to people who judge, of all runs; no tokens of them are in `tokens`."""

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(self.rungs)


def budget_of(search: Search) -> Budget:
    """The cost of a search that has not begun."""
    rungs = [len(search.candidates)]
    while len(rungs) < len(search.candidates[0].specs):
        rungs.append(-(-rungs[-1] // 2))
    each = sorted((c.tokens.total for c in search.candidates if c.tokens is not None), reverse=True)
    known = len(each) == len(search.candidates)
    return Budget(
        search.entry.name,
        search.rule,
        {name: str(drawn) for name, drawn in search.space.items()},
        tuple(rungs),
        sum(sum(each[:size]) for size in rungs) if known else None,
        search.answers * sum(rungs),
    )


def budget_rows(budgets: Sequence[Budget]) -> tuple[str, list[str], list[list[str]]]:
    """Budgets as a table: title, header, rows."""
    rows = [
        [
            each.aligner,
            each.rule,
            " ".join(map(str, each.rungs)),
            str(each.runs),
            "not known" if each.tokens is None else f"{each.tokens:.2e}",
            f"{each.answers:,}" if each.answers else "none",
            ", ".join(each.space) or "nothing",
        ]
        for each in budgets
    ]
    return (
        "",
        ["aligner", "rule", "configurations", "runs", "tokens at most", "answers to judges", "searched"],
        rows,
    )


def budget_json(budget: Budget) -> dict[str, Any]:
    """The same of one aligner as JSON values."""
    return {
        "aligner": budget.aligner,
        "rule": budget.rule,
        "space": dict(budget.space),
        "rungs": list(budget.rungs),
        "runs": budget.runs,
        "tokens": budget.tokens,
        "answers_to_judges": budget.answers,
    }

"""Tables of docs/results.md on what holds; `python leaderboard/scripts/claims.py BOARD...` prints them.

Every claim is tested by the project's own comparison: seeds are paired, one run is one observation, and a
mean of differences is judged by Student's t (`prefbench.stats.runs`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench import registry
from prefbench.boards.compare import Side, compare_rows, matched
from prefbench.boards.ranks import compare, roles
from prefbench.boards.rows import Row, load_rows
from prefbench.record.schema import GroupRecord, Record
from prefbench.report.figures import ratio_label
from prefbench.stats.comparisons import holm
from prefbench.stats.runs import Mean, interval_of, mean_of_figures, two_sided_p

WORST = "worst_group_win_rate"
DUELS = (
    ("maxmin", "single_reward"),
    ("maxmin", "dpo"),
    ("maxmin", "single_reward_balanced"),
    ("maxmin", "maxmin_known_groups"),
    ("rmod", "rmod_known_groups"),
    ("maxmin", "reference"),
    ("single_reward", "reference"),
    ("dpo", "reference"),
)
"""Who is compared with whom on each board."""
LEVEL = 0.05
FIGURES = {"reward_accuracy": "reward accuracy", "win_rate": "win rate"}


def has_single_labels(record: Record) -> bool:
    """True of a run each of whose pairs one annotator labelled."""
    return int(record.spec["task_options"].get("labels_per_pair", 1)) == 1


def said(mean: Mean) -> str:
    """A difference with its 95% interval."""
    low, high = interval_of(mean, -1.0, 1.0)
    return f"{mean.estimate:+.2f} [{low:+.2f}, {high:+.2f}]"


def probability(p: float) -> str:
    """A p-value to two digits, and no smaller than anybody cares."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def duels(rows: Sequence[Row], pairs: Iterable[tuple[str, str]] = DUELS) -> str:
    """The worst group of one aligner less that of another, on each board that has both, seed by seed.

    Args:
        rows: of boards that differ in the ratio alone, an aligner once on each.
        pairs: the two aligners of each comparison.
    """
    by_name = {(row.first.minority_ratio, row.first.aligner): row for row in rows}
    ratios = sorted({ratio for ratio, _ in by_name}, reverse=True)
    lines = []
    for first, second in pairs:
        for ratio in ratios:
            if (ratio, first) not in by_name or (ratio, second) not in by_name:
                continue
            sides = (Side(name, [by_name[ratio, name]]) for name in (first, second))
            match = compare_rows(matched(*sides))
            found = next(measure for measure in match.measures if measure.measure == WORST)
            lines.append(
                {
                    "worst group of": f"`{first}`",
                    "less that of": f"`{second}`",
                    "ratio": ratio_label(ratio),
                    "first": f"{found.first:.2f}",
                    "second": f"{found.second:.2f}",
                    "difference [95%]": f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]",
                    "p": probability(found.p_value),
                    "seeds": len(match.seeds),
                }
            )
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def marked(changes: Sequence[Mean]) -> list[str]:
    """Differences, bold where surely more than nothing and in italics where surely less, by Holm."""
    shown = []
    for mean, p in zip(changes, holm([two_sided_p(mean) for mean in changes]), strict=True):
        mark = "" if p >= LEVEL else "**" if mean.estimate > 0 else "*"
        shown.append(f"{mark}{said(mean)}{mark}")
    return shown


def against_floor(rows: Sequence[Row], tuned: Sequence[Row] = (), floor: str = "reference") -> str:
    """Every learner's worst group against a floor's, seed by seed, on one board; the largest first.

    Differences are marked, corrected by Holm over a column.

    Args:
        rows: of the board, an aligner once.
        tuned: some of the same learners, of other options, which have a column of their own.
        floor: an aligner of the board.
    """
    role = roles(rows)
    (least,) = (row for row in rows if row.first.aligner == floor)
    learners = [row for row in rows if role[row.first.aligner] == "learner"]
    found = [compare(row, least, WORST)[0] for row in learners]
    again = marked([compare(row, least, WORST)[0] for row in tuned])
    other = dict(zip((row.first.aligner for row in tuned), again, strict=True))
    lines = [
        {
            "needs": ", ".join(row.first.needs) or "nothing",
            "aligner": f"`{row.first.aligner}`",
            f"worst group, less that of `{floor}`": shown,
            **({"tuned": other.get(row.first.aligner, "")} if other else {}),
        }
        for row, mean, shown in sorted(
            zip(learners, found, marked(found), strict=True), key=lambda each: -each[1].estimate
        )
    ]
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def trends(rows: Sequence[Row], aligners: Sequence[str] = ("single_reward", "dpo", "maxmin")) -> str:
    """What becomes of each group as its share changes: a mean at each ratio, and the last less the first.

    The difference is paired by seed: the seeds of two ratios share prompts, reference and luck.
    """
    by_name = {(row.first.aligner, row.first.minority_ratio): row for row in rows}
    ratios = sorted({ratio for _, ratio in by_name}, reverse=True)
    lines = []
    for aligner in aligners:
        mine = [by_name[aligner, ratio] for ratio in ratios if (aligner, ratio) in by_name]
        for figure, words in FIGURES.items():
            for is_minority in (False, True):
                figures = [_by_seed(row, figure, is_minority) for row in mine]
                if not figures or not all(figures):
                    continue
                line = {
                    "aligner": f"`{aligner}`",
                    "what": words,
                    "of": "minority" if is_minority else "majority",
                }
                for row, of in zip(mine, figures, strict=True):
                    line[ratio_label(row.first.minority_ratio)] = f"{np.mean(list(of.values())):.2f}"
                if len(figures) > 1:
                    seeds = sorted(figures[0].keys() & figures[-1].keys())
                    change = mean_of_figures([figures[-1][seed] - figures[0][seed] for seed in seeds])
                    line["change [95%]"] = said(change)
                    line["p"] = probability(two_sided_p(change))
                lines.append(line)
    return pd.DataFrame(lines).fillna("").to_markdown(index=False, disable_numparse=True)


def _by_seed(row: Row, figure: str, is_minority: bool) -> dict[int, float]:
    """A group's figure in each run of a row that has it."""
    return {
        seed: value
        for seed, record in row.records.items()
        if (value := getattr(_group(record, is_minority), figure)) is not None
    }


def _group(record: Record, is_minority: bool) -> GroupRecord:
    return next(group for group in record.groups if group.is_minority == is_minority)


def main(boards: Iterable[Path]) -> None:
    """Print both tables."""
    registry.load_plugins()
    rows = [row for board in boards for row in load_rows(board)]
    print(f"## Trends\n\n{trends(rows)}\n\n## Comparisons\n\n{duels(rows)}")


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))

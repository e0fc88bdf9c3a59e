"""The gate: did a published result get worse? Yes, no, or too few prompts to say.

For a build server: the leaderboard's CSV is the baseline, a folder of fresh runs is what the code
does now, and each check names a metric and how much of it may be lost. A row fell if its drop is
beyond the margin with confidence, and held if it is within the margin with confidence. Anything else
is said to be undecided, with the number of prompts that would decide it, because a gate that passes
for want of data guards nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.boards.columns import DECIMALS
from prefbench.boards.csv_file import read_csv
from prefbench.boards.gate_file import GROUP, LEVEL, MARGIN, METRIC, Key, check_metric, fits, parse_checks
from prefbench.boards.gate_report import GateReport, row_name
from prefbench.boards.gate_rows import judged_row, tested_row
from prefbench.boards.names import config_hash
from prefbench.boards.rows import Row, load_rows
from prefbench.config import Check
from prefbench.errors import UserError
from prefbench.stats import comparisons

if TYPE_CHECKING:
    import pandas as pd


def gate(
    baseline_csv: Path,
    runs_dir: Path,
    metric: str | Sequence[str] | None = None,
    margin: float = MARGIN,
    level: float = LEVEL,
    strict: bool = False,
    baseline_runs: Path | None = None,
    checks: Sequence[Check] = (),
    allow_undecided: bool = False,
    prompts_only: bool = False,
) -> GateReport:
    """Compare fresh runs with a published leaderboard, row by row and check by check.

    Rows are matched on task@version, model, data, minority ratio, aligner and the hash of all
    options. A match is compared prompt by prompt if `baseline_runs` has the items that the CSV's row
    was made from and the seeds and prompts are the same; otherwise by the two rows' rates and their
    spread. Either is a t test over seeds. With one seed on a side the spread between its seeds is unknown
    and nothing is decided.

    `fell` needs a p value below `level` after Holm's correction over all rows of all checks and a lower
    bound of the drop beyond the margin, so a false alarm anywhere has chance `level` at most. `held` needs
    an upper bound within the margin, row by row. A run that diverged fell. Where not one check of one row
    fell or held, nothing was decided, and the gate is closed.

    Args:
        baseline_csv: from `leaderboard build`.
        runs_dir: the runs to judge.
        metric: `NAME` or `NAME=MARGIN`, one or several; NAME is one of `GATE_METRICS` or `group/GROUP`.
            The minority's win rate, if neither this nor `checks` says anything.
        margin: the drop that is tolerated where a metric names none, a share (0.05 is five points).
        level: one-sided significance level.
        strict: close the gate also for undecided rows and for baseline rows that were not run.
        baseline_runs: the runs folder behind the CSV, if it is at hand.
        checks: further checks, which may be for some rows only.
        allow_undecided: leave the gate open where nothing was decided.
        prompts_only: judge these policies by their prompts alone, whatever other seeds would give.

    Raises:
        UserError: if an argument is wrong, a file is missing, or no row matches.
    """
    named = [metric] if isinstance(metric, str) else list(metric or ())
    asked = (*parse_checks(named or ([] if checks else [METRIC]), margin), *checks)
    for check in asked:
        check_metric(check)
    if not 0 < level < 0.5:
        raise UserError(f"level {level} is not in (0, 0.5): the usual one is 0.05.")
    published = by_key(read_csv(baseline_csv), Path(baseline_csv))
    fresh = {row_key(row): row for row in load_rows(Path(runs_dir))}
    behind = {row_key(row): row for row in load_rows(Path(baseline_runs))} if baseline_runs else {}
    if not published.keys() & fresh.keys():
        outside = any(":" in aligner for *_, aligner, _ in fresh)
        raise UserError(
            f"no row of '{baseline_csv}' was run again in '{runs_dir}': run one of the baseline's "
            f"configurations{', with the same --policy and --name,' if outside else ''} or name another "
            f"folder. The baseline has {_listed(published)}; the runs have {_listed(fresh)}."
        )
    report = judge_rows(asked, published, fresh, behind, level, strict, allow_undecided, prompts_only)
    if not report.rows:
        raise UserError(
            f"no check fits a row that was run: the rows are {_listed(published.keys() & fresh.keys())}; "
            "mend the checks."
        )
    return report


def judge_rows(
    checks: Sequence[Check],
    published: dict[Key, dict[str, Any]],
    fresh: dict[Key, Row],
    behind: dict[Key, Row],
    level: float,
    strict: bool,
    allow_undecided: bool = False,
    prompts_only: bool = False,
) -> GateReport:
    """Every check of every row that both sides have, corrected together.

    Args:
        checks: asked of the rows that they fit.
        published: the baseline's cells, from `by_key`.
        fresh: the rows to judge.
        behind: the rows that the baseline's cells were made from, as far as they are at hand.
        level: one-sided significance level.
        strict: as in `gate`.
        allow_undecided: likewise.
        prompts_only: likewise.
    """
    for check in checks:
        _check_group(check, [behind[key] for key in fresh if key in behind and fits(check, key)])
    pairs = [
        (check, key)
        for check in dict.fromkeys(checks)
        for key in published
        if key in fresh and fits(check, key) and _has_group(check, behind.get(key))
    ]
    tested = [
        tested_row(published[key], fresh[key], behind.get(key), check, level, prompts_only)
        for check, key in pairs
    ]
    with_p = [number for number, one in enumerate(tested) if one.test is not None]
    adjusted = comparisons.holm([test.p_value for number in with_p if (test := tested[number].test)])
    corrected = dict(zip(with_p, adjusted.tolist(), strict=True))
    return GateReport(
        checks=tuple(checks),
        level=level,
        strict=strict,
        rows=tuple(
            judged_row(key, check, tested[number], corrected.get(number), level, len(with_p))
            for number, (check, key) in enumerate(pairs)
        ),
        unmatched=tuple(
            row_name(key)
            for key in published
            if key not in fresh and any(fits(check, key) for check in checks)
        ),
        allow_undecided=allow_undecided,
        prompts_only=prompts_only,
    )


def _check_group(check: Check, rows: Sequence[Row]) -> None:
    if not check.metric.startswith(GROUP):
        return
    name = check.metric.removeprefix(GROUP)
    groups = sorted({group.name for row in rows for group in row.groups})
    if not rows:
        raise UserError(
            f"metric '{check.metric}' is not in a CSV: give the baseline's runs with --baseline-runs."
        )
    if name not in groups:
        raise UserError(
            f"no group '{name}' in the baseline's runs, but {', '.join(groups) or 'none'}: name one of these."
        )


def _has_group(check: Check, behind: Row | None) -> bool:
    if not check.metric.startswith(GROUP):
        return True
    return behind is not None and check.metric.removeprefix(GROUP) in [group.name for group in behind.groups]


def by_key(frame: pd.DataFrame, path: Path) -> dict[Key, dict[str, Any]]:
    """A baseline's cells by the key of their row.

    Raises:
        UserError: if a row occurs twice.
    """
    rows: dict[Key, dict[str, Any]] = {}
    for number, values in enumerate(frame.to_dict("records"), start=2):
        cells = {str(name): value for name, value in values.items()}
        key = (
            cells["task"],
            cells["model"],
            cells["data"],
            round(cells["minority_ratio"], DECIMALS),
            cells["aligner"],
            cells["config_hash"],
        )
        if key in rows:
            raise UserError(
                f"baseline '{path}', row {number} repeats {row_name(key)}: delete one of the two."
            )
        rows[key] = cells
    return rows


def row_key(row: Row) -> Key:
    """The key that a row is matched by."""
    first = row.first
    ratio = round(first.minority_ratio, DECIMALS)
    task = f"{first.task}@{first.task_version}"
    return task, first.model, first.data, ratio, first.aligner, config_hash(first.spec)


def _listed(keys: Iterable[Key], most: int = 4) -> str:
    names = sorted(row_name(key) for key in keys)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "no rows"

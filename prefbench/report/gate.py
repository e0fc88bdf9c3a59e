"""The gate: did a published result get worse? Yes, no, or too few prompts to say.

For a build server: the leaderboard's CSV is the baseline, a folder of fresh runs is what the code
does now. A row fell if its drop is beyond the margin with confidence, and held if it is within the
margin with confidence. Anything else is said to be undecided, with the number of prompts that would
decide it, because a gate that passes for want of data guards nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError
from prefbench.evaluate import statistics
from prefbench.evaluate.statistics import DropTest, Verdict
from prefbench.report.leaderboard import (
    DECIMALS,
    METRICS,
    Row,
    compare,
    config_hash,
    load_rows,
    read_csv,
    two_level_intervals,
)

if TYPE_CHECKING:
    import pandas as pd

GATE_METRICS = tuple(metric for metric in METRICS if metric != "gap")
Key = tuple[str, str, str, float, str, str]


@dataclass(frozen=True)
class GateRow:
    """One row of the baseline against the same configuration now."""

    key: Key
    """task@version, model, data, minority ratio, aligner, config hash."""
    verdict: Verdict
    sentence: str
    """For a person: what happened, by how much, on how many prompts."""
    old: float | None
    new: float | None
    p_value: float | None
    """Of having fallen by more than the margin, corrected for the number of rows by Holm."""
    test: DropTest | None
    """None where one side has no number."""
    paired: bool
    """Whether both sides answered the same prompts and were compared prompt by prompt."""


@dataclass(frozen=True)
class GateReport:
    """What the gate says."""

    metric: str
    margin: float
    level: float
    strict: bool
    """Whether an undecided or missing row closes the gate too."""
    rows: tuple[GateRow, ...]
    unmatched: tuple[str, ...]
    """Baseline rows that nothing was run for."""

    @property
    def exit_code(self) -> int:
        """1 if a row fell (or, when strict, is undecided or was not run), else 0."""
        verdicts = {row.verdict for row in self.rows}
        closed = "fell" in verdicts or (self.strict and ("cannot tell" in verdicts or bool(self.unmatched)))
        return int(closed)

    @property
    def sentences(self) -> list[str]:
        """One per row, then one per baseline row that was not run, then the sum."""
        lines = [row.sentence for row in self.rows]
        lines += [f"NOT RUN: {name} is in the baseline only." for name in self.unmatched]
        counts = [
            f"{sum(row.verdict == verdict for row in self.rows)} {verdict}"
            for verdict in ("held", "fell", "cannot tell")
        ]
        lines.append(
            f"{'closed' if self.exit_code else 'open'}: {', '.join(counts)}, {len(self.unmatched)} not run."
        )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form."""
        return {
            "metric": self.metric,
            "margin": self.margin,
            "level": self.level,
            "strict": self.strict,
            "exit_code": self.exit_code,
            "rows": [
                {
                    "key": list(row.key),
                    "verdict": row.verdict,
                    "sentence": row.sentence,
                    "old": row.old,
                    "new": row.new,
                    "p_value": row.p_value,
                    "paired": row.paired,
                    "test": row.test._asdict() if row.test else None,
                }
                for row in self.rows
            ],
            "unmatched": list(self.unmatched),
        }


def gate(
    baseline_csv: Path,
    runs_dir: Path,
    metric: str = "minority_win_rate",
    margin: float = 0.03,
    level: float = 0.05,
    strict: bool = False,
    baseline_runs: Path | None = None,
) -> GateReport:
    """Compare fresh runs with a published leaderboard, row by row.

    Rows are matched on task@version, model, data, minority ratio, aligner and the hash of all
    options. A match is compared prompt by prompt if `baseline_runs` has the items that the CSV's row
    was made from and the seeds and prompts are the same; otherwise by the two rows' rates and
    intervals, which include the variance of seeds.

    `fell` needs a p value below `level` after Holm's correction over the rows and a lower bound of
    the drop beyond the margin, so a false alarm anywhere has chance `level` at most. `held` needs an upper
    bound within the margin, row by row. A run that diverged fell.

    Args:
        baseline_csv: from `leaderboard build`.
        runs_dir: the runs to judge.
        metric: one of `GATE_METRICS`.
        margin: the drop that is tolerated, a share (0.05 is five points).
        level: one-sided significance level.
        strict: close the gate also for undecided rows and for baseline rows that were not run.
        baseline_runs: the runs folder behind the CSV, if it is at hand.

    Raises:
        UserError: if an argument is wrong, a file is missing, or no row matches.
    """
    _check(metric, margin, level)
    published = _by_key(read_csv(baseline_csv), Path(baseline_csv))
    fresh = {_row_key(row): row for row in load_rows(Path(runs_dir))}
    behind = {_row_key(row): row for row in load_rows(Path(baseline_runs))} if baseline_runs else {}
    keys = [key for key in published if key in fresh]
    if not keys:
        raise UserError(
            f"no row of '{baseline_csv}' was run again in '{runs_dir}': run one of the baseline's "
            f"configurations. The baseline has {_listed(published)}; the runs have {_listed(fresh)}."
        )
    tested = {key: _test(published[key], fresh[key], behind.get(key), metric, margin, level) for key in keys}
    with_p = [key for key in keys if tested[key].test is not None]
    adjusted = statistics.holm([test.p_value for key in with_p if (test := tested[key].test)])
    corrected = dict(zip(with_p, adjusted.tolist(), strict=True))
    return GateReport(
        metric=metric,
        margin=margin,
        level=level,
        strict=strict,
        rows=tuple(_judge(key, tested[key], corrected.get(key), metric, margin, level) for key in keys),
        unmatched=tuple(_named(key) for key in published if key not in fresh),
    )


def _check(metric: str, margin: float, level: float) -> None:
    from prefbench.registry import suggest

    if metric not in GATE_METRICS:
        raise UserError(f"unknown metric '{metric}'.{suggest(metric, GATE_METRICS)}")
    if not 0 <= margin < 1:
        raise UserError(f"margin {margin} is not in [0, 1): five points are 0.05.")
    if not 0 < level < 0.5:
        raise UserError(f"level {level} is not in (0, 0.5): the usual one is 0.05.")


def _by_key(frame: pd.DataFrame, path: Path) -> dict[Key, dict[str, Any]]:
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
            raise UserError(f"baseline '{path}', row {number} repeats {_named(key)}: delete one of the two.")
        rows[key] = cells
    return rows


def _row_key(row: Row) -> Key:
    first = row.first
    ratio = round(first.minority_ratio, DECIMALS)
    task = f"{first.task}@{first.task_version}"
    return task, first.model, first.data, ratio, first.aligner, config_hash(first.spec)


def _named(key: Key) -> str:
    task, model, data, ratio, aligner, config = key
    return f"{task} {model} {data} {ratio:g} {aligner} ({config})"


def _listed(keys: Iterable[Key], most: int = 4) -> str:
    names = sorted(_named(key) for key in keys)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "no rows"


@dataclass(frozen=True)
class _Tested:
    """A comparison before the correction for several rows."""

    old: float | None
    new: float | None
    test: DropTest | None
    paired: bool
    prompts: tuple[int, int]
    note: str = ""
    diverged: bool = False


def _test(
    cells: dict[str, Any], fresh: Row, behind: Row | None, metric: str, margin: float, level: float
) -> _Tested:
    import pandas as pd

    if cells["status"] != "ok" or pd.isna(cells[metric]) or pd.isna(cells["n_prompts"]):
        return _Tested(None, None, None, False, (0, 0), f"the baseline row is {cells['status']}")
    old, n_old = float(cells[metric]), int(cells["n_prompts"])
    if fresh.status != "ok":
        diverged = fresh.status == "diverged"
        return _Tested(old, None, None, False, (n_old, 0), f"the new row is {fresh.status}", diverged)
    new, interval = two_level_intervals(fresh)[metric]
    n_new = sum(len(seed.scores) for seed in fresh.seeds)

    note = ""
    if behind is not None:
        if behind.status != "ok" or abs(two_level_intervals(behind)[metric][0] - old) > 10**-DECIMALS:
            note = "the baseline runs do not give the baseline's number"
        else:
            difference, paired = compare(behind, fresh, metric)
            if paired:
                test = statistics.judge_drop(difference, margin, n_new, level)
                return _Tested(old, new, test, True, (n_old, n_new))
            note = "seeds or prompts differ from the baseline's"
    test = statistics.two_sample_drop_test(
        old,
        n_old,
        new,
        n_new,
        margin,
        se_base=_standard_error(cells[f"{metric}_low"], cells[f"{metric}_high"]),
        se_new=_standard_error(*interval),
        level=level,
    )
    return _Tested(old, new, test, False, (n_old, n_new), note)


def _standard_error(low: float, high: float) -> float | None:
    """Of the rate that a 95% interval is for; None if the interval is missing."""
    se = (high - low) / (2 * statistics.z_quantile(0.975))
    return se if se > 0 else None  # also when it is NaN


def _judge(key: Key, tested: _Tested, p: float | None, metric: str, margin: float, level: float) -> GateRow:
    test = tested.test
    if test is None:
        verdict: Verdict = "fell" if tested.diverged else "cannot tell"
        said = f"{metric} cannot be compared, {tested.note}"
        if tested.diverged:
            said = f"{metric} was {tested.old:.3f} and now the run diverged"
        return _gate_row(key, verdict, f"{said}.", tested, None)
    assert p is not None and tested.old is not None and tested.new is not None
    verdict = test.verdict
    if verdict == "fell" and p >= level:
        verdict = "cannot tell"
    change = f"{metric} went from {tested.old:.3f} to {tested.new:.3f}"
    how = "prompt by prompt" if tested.paired else "unpaired"
    counts = f"p = {p:.2g}, {tested.prompts[0]:,} and {tested.prompts[1]:,} prompts, {how}"
    if tested.note:
        counts += f" because {tested.note}"
    if verdict == "fell":
        rest = f"a drop of at least {max(test.low, margin):.3f}, beyond the margin of {margin:g} ({counts})"
    elif verdict == "held":
        most = f"a drop of at most {test.high:.3f}" if test.high > 0 else "no drop"
        rest = f"{most}, within the margin of {margin:g} ({counts})"
    else:
        if test.n_needed is None:
            would = "no number of prompts settles this: choose another margin, such as 0.05"
        else:
            would = f"about {test.n_needed:,} prompts on each side would do"
        rest = (
            f"a drop between {test.low:.3f} and {test.high:.3f} "
            f"against a margin of {margin:g} ({counts}); {would}"
        )
    return _gate_row(key, verdict, f"{change}, {rest}.", tested, p)


def _gate_row(key: Key, verdict: Verdict, said: str, tested: _Tested, p: float | None) -> GateRow:
    label = {"held": "held", "fell": "FELL", "cannot tell": "CANNOT TELL"}[verdict]
    return GateRow(
        key=key,
        verdict=verdict,
        sentence=f"{label}: {_named(key)}: {said}",
        old=tested.old,
        new=tested.new,
        p_value=p,
        test=tested.test,
        paired=tested.paired,
    )

"""The gate: did a published result get worse? Yes, no, or too few prompts to say.

For a build server: the leaderboard's CSV is the baseline, a folder of fresh runs is what the code
does now, and each check names a metric and how much of it may be lost. A row fell if its drop is
beyond the margin with confidence, and held if it is within the margin with confidence. Anything else
is said to be undecided, with the number of prompts that would decide it, because a gate that passes
for want of data guards nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.boards.leaderboard import (
    DECIMALS,
    METRICS,
    Row,
    compare,
    config_hash,
    load_rows,
    made_by,
    read_csv,
    two_level_intervals,
)
from prefbench.config import GateFile, read
from prefbench.errors import UserError
from prefbench.record.record import near_reference
from prefbench.stats import comparisons, intervals, power
from prefbench.stats.comparisons import DropTest, Verdict
from prefbench.text import one_line

if TYPE_CHECKING:
    import pandas as pd

GATE_METRICS = tuple(metric for metric in METRICS if metric != "gap")
GROUP = "group/"
"""Before a group's name: its own win rate as a metric. The CSV has none, so it needs the baseline's runs."""
METRIC, MARGIN, LEVEL = "minority_win_rate", 0.03, 0.05
Key = tuple[str, str, str, float, str, str]


@dataclass(frozen=True)
class Check:
    """A metric, how much of it may be lost, and the rows that this is asked of."""

    metric: str = METRIC
    """One of `GATE_METRICS`, or `group/NAME`."""
    margin: float = MARGIN
    """The drop that is tolerated, a share (0.05 is five points)."""
    task: str | None = None
    """Only rows of this task, `name` or `name@version`."""
    aligner: str | None = None
    """Only rows of this aligner."""
    minority_ratio: float | None = None
    """Only rows at this share."""

    def fits(self, key: Key) -> bool:
        """Whether the check is asked of a row."""
        task, _, _, ratio, aligner, _ = key
        return (
            (self.task is None or self.task in (task, task.rpartition("@")[0]))
            and (self.aligner is None or self.aligner == aligner)
            and (self.minority_ratio is None or abs(self.minority_ratio - ratio) < 1e-9)
        )


@dataclass(frozen=True)
class GateConfig:
    """What a gate file says; None where it says nothing."""

    checks: tuple[Check, ...]
    level: float | None
    strict: bool | None
    allow_undecided: bool | None


def read_gate_config(path: Path) -> GateConfig:
    """A gate file: `level`, `strict`, `allow_undecided` and tables `[[check]]` with the fields of `Check`.

    Raises:
        UserError: if it is no TOML, or has a key or a value that does not fit.
    """
    said = read(GateFile, str(path))
    checks = tuple(Check(**table.given()) for table in said.check)
    for check in checks:
        _check_metric(check)
    return GateConfig(checks, said.level, said.strict, said.allow_undecided)


def parse_checks(metrics: Sequence[str], margin: float = MARGIN) -> tuple[Check, ...]:
    """`minority_win_rate=0.05` as checks; what names no margin has the given one.

    Raises:
        UserError: if the metric is unknown or the margin is no share.
    """
    checks = []
    for text in metrics:
        name, equals, value = text.rpartition("=") if "=" in text else (text, "", "")
        try:
            checks.append(Check(name.strip(), float(value) if equals else margin))
        except ValueError:
            raise UserError(
                f"--metric {text}: write it as NAME or NAME=MARGIN, such as {METRIC}=0.03."
            ) from None
        _check_metric(checks[-1])
    return tuple(checks)


@dataclass(frozen=True)
class GateRow:
    """One row of the baseline against the same configuration now."""

    key: Key
    """task@version, model, data, minority ratio, aligner, config hash."""
    check: Check
    verdict: Verdict
    sentence: str
    """For a person: what happened, by how much, on how many prompts."""
    old: float | None
    new: float | None
    p_value: float | None
    """Of having fallen by more than the margin, corrected by Holm over every row of every check."""
    test: DropTest | None
    """None where one side has no number."""
    paired: bool
    """Whether both sides answered the same prompts and were compared prompt by prompt."""
    n_needed: int | None = None
    """Prompts on each side that would decide an undecided row; None where it is decided or none would."""
    would: str | None = None
    """What would decide an undecided row, for a person; None where it is decided or nothing would."""


@dataclass(frozen=True)
class GateReport:
    """What the gate says."""

    checks: tuple[Check, ...]
    level: float
    strict: bool
    """Whether an undecided or missing row closes the gate too."""
    rows: tuple[GateRow, ...]
    unmatched: tuple[str, ...]
    """Baseline rows that nothing was run for."""
    allow_undecided: bool = False
    """Whether a gate that decided nothing may stay open."""

    @property
    def decided(self) -> bool:
        """Whether at least one check of one row ended as held or fell."""
        return any(row.verdict != "cannot tell" for row in self.rows)

    def closes(self, verdict: Verdict) -> bool:
        """Whether one such row closes the gate."""
        undecided = self.strict or not (self.decided or self.allow_undecided)
        return verdict == "fell" or (undecided and verdict == "cannot tell")

    @property
    def exit_code(self) -> int:
        """1 if a row fell or nothing was decided (or, when strict, a row is undecided or not run), else 0."""
        return int(
            any(self.closes(row.verdict) for row in self.rows) or (self.strict and bool(self.unmatched))
        )

    @property
    def undecided(self) -> str | None:
        """That nothing was decided, and what would; None where something was."""
        if self.decided:
            return None
        nearest = min((row for row in self.rows if row.n_needed), key=_needed, default=None)
        if nearest is not None:
            what = f"{nearest.would} for {nearest.check.metric} of {_named(nearest.key)}"
        elif any(row.test for row in self.rows):
            what = "no number of prompts would, but another margin, such as 0.05"
        else:
            what = "whole runs on both sides would"
        return f"UNDECIDED: no check held or fell, so this gate guards nothing: {what}."

    @property
    def sentences(self) -> list[str]:
        """One per row, one per baseline row that was not run, whether nothing was decided, and the sum."""
        lines = [row.sentence for row in self.rows]
        lines += [f"NOT RUN: {name} is in the baseline only." for name in self.unmatched]
        return [*lines, *([self.undecided] if self.undecided else []), self.sum]

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
            "checks": [asdict(check) for check in self.checks],
            "level": self.level,
            "strict": self.strict,
            "allow_undecided": self.allow_undecided,
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
) -> GateReport:
    """Compare fresh runs with a published leaderboard, row by row and check by check.

    Rows are matched on task@version, model, data, minority ratio, aligner and the hash of all
    options. A match is compared prompt by prompt if `baseline_runs` has the items that the CSV's row
    was made from and the seeds and prompts are the same; otherwise by the two rows' rates and
    intervals, which include the variance of seeds.

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

    Raises:
        UserError: if an argument is wrong, a file is missing, or no row matches.
    """
    named = [metric] if isinstance(metric, str) else list(metric or ())
    asked = (*parse_checks(named or ([] if checks else [METRIC]), margin), *checks)
    for check in asked:
        _check_metric(check)
    if not 0 < level < 0.5:
        raise UserError(f"level {level} is not in (0, 0.5): the usual one is 0.05.")
    published = by_key(read_csv(baseline_csv), Path(baseline_csv))
    fresh = {row_key(row): row for row in load_rows(Path(runs_dir))}
    behind = {row_key(row): row for row in load_rows(Path(baseline_runs))} if baseline_runs else {}
    if not published.keys() & fresh.keys():
        raise UserError(
            f"no row of '{baseline_csv}' was run again in '{runs_dir}': run one of the baseline's "
            f"configurations. The baseline has {_listed(published)}; the runs have {_listed(fresh)}."
        )
    report = judge_rows(asked, published, fresh, behind, level, strict, allow_undecided)
    if not report.rows:
        raise UserError(
            f"no check fits a row that was run: the rows are {_listed(published.keys() & fresh.keys())}."
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
    """
    for check in checks:
        _check_group(check, [behind[key] for key in fresh if key in behind and check.fits(key)])
    pairs = [
        (check, key)
        for check in dict.fromkeys(checks)
        for key in published
        if key in fresh and check.fits(key) and _has_group(check, behind.get(key))
    ]
    tested = [_test(published[key], fresh[key], behind.get(key), check, level) for check, key in pairs]
    with_p = [number for number, one in enumerate(tested) if one.test is not None]
    adjusted = comparisons.holm([test.p_value for number in with_p if (test := tested[number].test)])
    corrected = dict(zip(with_p, adjusted.tolist(), strict=True))
    return GateReport(
        checks=tuple(checks),
        level=level,
        strict=strict,
        rows=tuple(
            _judge(key, check, tested[number], corrected.get(number), level, len(with_p))
            for number, (check, key) in enumerate(pairs)
        ),
        unmatched=tuple(
            _named(key) for key in published if key not in fresh and any(check.fits(key) for check in checks)
        ),
        allow_undecided=allow_undecided,
    )


def _check_metric(check: Check) -> None:
    from prefbench.registry import suggest

    if check.metric not in GATE_METRICS and not (check.metric.startswith(GROUP) and check.metric != GROUP):
        raise UserError(f"unknown metric '{check.metric}'.{suggest(check.metric, GATE_METRICS)}")
    if not 0 <= check.margin < 1:
        raise UserError(f"margin {check.margin} is not in [0, 1): five points are 0.05.")


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
        raise UserError(f"no group '{name}' in the baseline's runs, but {', '.join(groups) or 'none'}.")


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
            raise UserError(f"baseline '{path}', row {number} repeats {_named(key)}: delete one of the two.")
        rows[key] = cells
    return rows


def row_key(row: Row) -> Key:
    """What a row is matched by."""
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
    seeds: int = 1
    """On the side that has fewer."""
    near: str | None = None
    """How the new policies are called where they are no farther than a hair from the reference."""


def _test(cells: dict[str, Any], fresh: Row, behind: Row | None, check: Check, level: float) -> _Tested:
    import pandas as pd

    metric = check.metric
    grouped = metric.startswith(GROUP)
    shown = METRIC if grouped else metric
    numbers = (cells[shown], cells["n_prompts"], cells["n_seeds"])
    if cells["status"] != "ok" or any(pd.isna(number) for number in numbers):
        why = cells["status"] if cells["status"] != "ok" else "without numbers"
        return _Tested(None, None, None, False, (0, 0), f"the baseline row is {why}")
    old, n_old = float(cells[shown]), int(cells["n_prompts"])
    if grouped and behind is not None and behind.measurable:
        old = _mean(behind, metric)
    if fresh.status != "ok":
        diverged = fresh.status == "diverged"
        return _Tested(old, None, None, False, (n_old, 0), f"the new row is {fresh.status}", diverged)
    numerics = None if pd.isna(cells["numerics"]) else int(cells["numerics"])
    if fresh.numerics != numerics:
        ours, theirs = made_by(numerics), made_by(fresh.numerics)
        note = f"the baseline was made by {ours} and the new row by {theirs}: make the baseline anew"
        return _Tested(old, None, None, False, (n_old, 0), note)
    if grouped and metric.removeprefix(GROUP) not in [group.name for group in fresh.groups]:
        return _Tested(old, None, None, False, (n_old, 0), "the new row lacks that group")
    new, n_new = _mean(fresh, metric), sum(len(seed.scores) for seed in fresh.seeds)
    near = near_reference(_kl(fresh))
    seeds = min(int(cells["n_seeds"]), len(fresh.seeds))

    note = ""
    if behind is not None:
        known = behind.status == "ok"
        if not known or abs(_mean(behind, shown) - float(cells[shown])) > 2 * 10**-DECIMALS:
            note = "the baseline runs do not give the baseline's number"
            if grouped:
                return _Tested(None, new, None, False, (n_old, n_new), note)
        else:
            difference, paired = compare(behind, fresh, metric, unbiased=True)
            if not paired:
                note = "seeds or prompts differ from the baseline's"
            if paired or grouped:
                n = n_new if paired else 2 / (1 / n_old + 1 / n_new)
                test = comparisons.judge_drop(difference, check.margin, n, level)
                return _Tested(old, new, test, paired, (n_old, n_new), note, seeds=seeds, near=near)
    interval = two_level_intervals(fresh)[metric][1]
    test = comparisons.two_sample_drop_test(
        old,
        n_old,
        new,
        n_new,
        check.margin,
        se_base=_standard_error(cells[f"{metric}_low"], cells[f"{metric}_high"]),
        se_new=_standard_error(*interval),
        seeds_base=int(cells["n_seeds"]),
        seeds_new=len(fresh.seeds),
        level=level,
    )
    return _Tested(old, new, test, False, (n_old, n_new), note, seeds=seeds, near=near)


def _mean(row: Row, metric: str) -> float:
    import numpy as np

    if metric.startswith(GROUP) or metric == "worst_group_win_rate":
        return float(np.mean([scores.mean() for scores in row.metric_scores(metric)]))
    from prefbench.evaluate.win_rate import fairness_statistics

    return float(fairness_statistics(row.groups)[metric](row.means))


def _kl(row: Row) -> float | None:
    """Mean distance from the reference over seeds, nats; None where one is unknown."""
    each = [record.kl for record in row.records.values() if record.kl is not None]
    return sum(each) / len(each) if len(each) == len(row.records) else None


def _standard_error(low: float, high: float) -> float | None:
    """Of the rate that a 95% interval is for; None if the interval is missing."""
    se = (high - low) / (2 * intervals.z_quantile(0.975))
    return se if se > 0 else None  # also when it is NaN


def _judge(key: Key, check: Check, tested: _Tested, p: float | None, level: float, tests: int) -> GateRow:
    test, metric, margin = tested.test, check.metric, check.margin
    if test is None:
        verdict: Verdict = "fell" if tested.diverged else "cannot tell"
        said = f"{metric} cannot be compared, {tested.note}"
        if tested.diverged:
            said = f"{metric} was {tested.old:.3f} and now the run diverged"
        return _gate_row(key, check, verdict, f"{said}.", tested, None)
    assert p is not None and tested.old is not None and tested.new is not None
    verdict, needed = test.verdict, test.n_needed
    if verdict == "fell" and p >= level:
        verdict = "cannot tell"  # alone it would have, but not as one of so many
        n = 2 / (1 / tested.prompts[0] + 1 / tested.prompts[1])
        needed = power.prompts_to_tell(test, margin, n, level, level / tests)
    change = f"{metric} went from {tested.old:.3f} to {tested.new:.3f}"
    how = "prompt by prompt" if tested.paired else "unpaired"
    counts = f"p = {p:.2g}, {tested.prompts[0]:,} and {tested.prompts[1]:,} prompts, {how}"
    if tested.note:
        counts += f" because {tested.note}"
    if tested.near is not None:
        counts += f", by a policy that is {tested.near}"
    if tested.seeds == 1:
        counts += ", one seed: of these policies, not of the method"
    if verdict == "fell":
        rest = f"a drop of at least {max(test.low, margin):.3f}, beyond the margin of {margin:g} ({counts})"
    elif verdict == "held":
        most = f"a drop of at most {test.high:.3f}" if test.high > 0 else "no drop"
        rest = f"{most}, within the margin of {margin:g} ({counts})"
    else:
        would = None if needed is None else _would(needed, tested)
        rest = (
            f"a drop between {test.low:.3f} and {test.high:.3f} against a margin of {margin:g} ({counts}); "
            f"{would or 'no number of prompts settles this: choose another margin, such as 0.05'}"
        )
        return _gate_row(key, check, verdict, f"{change}, {rest}.", tested, p, needed, would)
    return _gate_row(key, check, verdict, f"{change}, {rest}.", tested, p)


def _would(needed: int, tested: _Tested) -> str:
    """What would decide a row that so many prompts on each side would."""
    if tested.seeds == 1:
        return f"about {needed:,} prompts on each side would do"
    each = max(1, min(tested.prompts) // tested.seeds)
    return f"about {needed:,} prompts on each side would do, on {math.ceil(needed / each)} seeds of {each:,}"


def _gate_row(
    key: Key,
    check: Check,
    verdict: Verdict,
    said: str,
    tested: _Tested,
    p: float | None,
    needed: int | None = None,
    would: str | None = None,
) -> GateRow:
    label = {"held": "held", "fell": "FELL", "cannot tell": "CANNOT TELL"}[verdict]
    return GateRow(
        key=key,
        check=check,
        verdict=verdict,
        sentence=f"{label}: {_named(key)}: {said}",
        old=tested.old,
        new=tested.new,
        p_value=p,
        test=tested.test,
        paired=tested.paired,
        n_needed=needed,
        would=would,
    )


# ----------------------------------------------------------------------------------------- for machines


def summary_markdown(report: GateReport) -> str:
    """The report as GitHub-flavoured markdown; names and options cannot break out of the table."""
    signs = {"held": "held", "fell": "**fell**", "cannot tell": "cannot tell"}
    lines = [f"### prefbench gate: {_escaped(report.sum)}", ""]
    if report.undecided is not None:
        lines += [_escaped(report.undecided), ""]
    lines += [
        "| verdict | row | metric | baseline | now | drop | margin | p (Holm) | prompts that would tell |",
        "|---|---|---|---:|---:|---|---:|---:|---:|",
    ]
    for row in report.rows:
        test = row.test
        cells = [
            signs[row.verdict],
            _escaped(_named(row.key)),
            _escaped(row.check.metric),
            "" if row.old is None else f"{row.old:.3f}",
            "" if row.new is None else f"{row.new:.3f}",
            "" if test is None else f"{test.drop:+.3f} [{test.low:+.3f}, {test.high:+.3f}]",
            f"{row.check.margin:g}",
            "" if row.p_value is None else f"{row.p_value:.2g}",
            "" if row.n_needed is None else f"{row.n_needed:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| not run | {_escaped(name)} | | | | | | | |" for name in report.unmatched]
    lines += ["", f"Level {report.level:g} one-sided, {'strict' if report.strict else 'not strict'}.", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#@!])", r"\\\1", text)


def write_summary(report: GateReport, path: Path) -> None:
    """Write the markdown; what `GITHUB_STEP_SUMMARY` names is appended to, as others write there too."""
    import os

    from prefbench.store.files import write_atomically

    path = Path(path)
    if os.environ.get("GITHUB_STEP_SUMMARY") == str(path):
        with path.open("a", encoding="utf-8") as file:
            file.write(summary_markdown(report))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, summary_markdown(report))


def junit_xml(report: GateReport) -> str:
    """The report as JUnit XML.

    A failure closes the gate, and so does what is undecided if nothing was decided, or if strict; else it is
    skipped.
    """
    from xml.etree import ElementTree as ET

    cases: list[tuple[str, str, str, bool]] = [
        (f"{_named(row.key)} {row.check.metric}", row.verdict, row.sentence, report.closes(row.verdict))
        for row in report.rows
    ]
    cases += [
        (name, "not run", f"NOT RUN: {name} is in the baseline only.", report.strict)
        for name in report.unmatched
    ]
    failures = sum(failed for *_, failed in cases)
    skipped = sum(not failed and verdict in ("cannot tell", "not run") for _, verdict, _, failed in cases)
    counts = {
        "tests": str(len(cases)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": "prefbench gate", "time": "0", **counts})
    for name, verdict, sentence, failed in cases:
        case = ET.SubElement(
            suite, "testcase", {"classname": "prefbench.gate", "name": _xml_text(name), "time": "0"}
        )
        if failed:
            ET.SubElement(case, "failure", {"message": _xml_text(sentence), "type": verdict})
        elif verdict != "held":
            ET.SubElement(case, "skipped", {"message": _xml_text(sentence)})
        else:
            ET.SubElement(case, "system-out").text = _xml_text(sentence)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml_text(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold, escaped or not."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def write_junit(report: GateReport, path: Path) -> None:
    """Write the JUnit XML."""
    from prefbench.store.files import write_atomically

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, junit_xml(report))

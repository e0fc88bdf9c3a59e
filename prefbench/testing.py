"""A pytest plug-in for people who guard a model in their own tests, loaded by pytest itself.

```python
from prefbench.testing import assert_minority_win_rate


def test_nobody_is_left_behind(prefbench_run):
    runs = prefbench_run(task="bandit_two_group", aligner="maxmin", seeds=3)
    assert_minority_win_rate(runs, at_least=0.5)
```

Importing this module imports no torch; a run does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from prefbench.api.models import Groups, Model
    from prefbench.boards.rows import Row
    from prefbench.record.schema import Record
    from prefbench.stats.comparisons import DropTest
    from prefbench.stats.runs import Mean

__all__ = [
    "CannotTell",
    "assert_minority_win_rate",
    "assert_no_group_loses",
    "assert_win_rate",
    "prefbench_run",
]


class CannotTell(UserWarning):
    """There are too few prompts or seeds to say whether a rate held."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--prefbench-runs` and the setting `prefbench_runs`."""
    parser.getgroup("prefbench").addoption(
        "--prefbench-runs",
        metavar="DIR",
        help="Keep the runs of prefbench_run in DIR and take from there what is finished. Without it they "
        "are made anew in every session, which notices that your code changed.",
    )
    parser.addini("prefbench_runs", "As --prefbench-runs.", default="")


@pytest.fixture(scope="session")
def prefbench_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[Path]]:
    """A function that runs a specification and returns its runs' folders, one for each seed.

    Its keyword arguments are `prefbench run`'s: `task`, `aligner` or `policy`, `model`, `data`,
    `minority_ratio`, `seed`, `seeds` (how many, from `seed` up), `sets` (`{"task": {"annotators": 20}}` or
    `["task.annotators=20"]`) and `plugin` (files). Each specification runs once in a session; one that
    diverges or fails fails the test.
    """
    kept = request.config.getoption("--prefbench-runs") or request.config.getini("prefbench_runs")
    folder = Path(request.config.rootpath, kept) if kept else tmp_path_factory.mktemp("prefbench-runs")
    done: dict[str, Path] = {}

    def run_spec(
        *,
        seed: int = 0,
        seeds: int = 1,
        sets: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        plugin: Sequence[str | Path] = (),
        **names: Any,
    ) -> list[Path]:
        from prefbench.registry import load_plugins
        from prefbench.running.run import run
        from prefbench.spec import make_spec, parse_sets

        load_plugins([str(file) for file in plugin])
        options = sets if isinstance(sets, Mapping) else parse_sets(sets)
        specs = [make_spec(**names, seed=number, sets=options) for number in range(seed, seed + seeds)]
        for spec in specs:
            if spec.hash not in done:
                place, record = run(spec, folder)
                if record.status != "ok":
                    pytest.fail(f"the run in '{place}' {record.status}: {record.message}", pytrace=False)
                done[spec.hash] = place
        return [done[spec.hash] for spec in specs]

    return run_spec


def assert_minority_win_rate(
    runs: Record | Path | str | Sequence[Record | Path | str],
    *,
    at_least: float | None = None,
    baseline: Path | str | Sequence[Path | str] | None = None,
    margin: float = 0.03,
    level: float = 0.05,
    allow_undecided: bool = False,
    prompts_only: bool = False,
) -> None:
    """Fail if the minority's win rate is too low: see `assert_win_rate`."""
    __tracebackhide__ = True
    assert_win_rate(
        runs,
        metric="minority_win_rate",
        at_least=at_least,
        baseline=baseline,
        margin=margin,
        level=level,
        allow_undecided=allow_undecided,
        prompts_only=prompts_only,
    )


def assert_win_rate(
    runs: Record | Path | str | Sequence[Record | Path | str],
    *,
    metric: str = "minority_win_rate",
    at_least: float | None = None,
    baseline: Path | str | Sequence[Path | str] | None = None,
    margin: float = 0.03,
    level: float = 0.05,
    allow_undecided: bool = False,
    prompts_only: bool = False,
) -> None:
    """Fail if a win rate is below a bound, or fell against a baseline, beyond what chance explains.

    Like the gate it has three answers. A rate that is too low with confidence fails, which happens to a good
    model with chance `level` at most. Where the prompts are too few to say, a test that passed would guard
    nothing: it fails too, with how many would do, or warns with `CannotTell` if `allow_undecided`.

    Args:
        runs: runs of one specification that differ in their seed: folders, or one record (whose counts then
            have to do; folders of records hold the evidence prompt by prompt).
        metric: `worst_group_win_rate`, `minority_win_rate`, `majority_win_rate`, `mean_win_rate`, or
            `group/NAME`; of a bare record all but the worst and the mean.
        at_least: the rate to hold, a share.
        baseline: instead of it, the rates to hold: a leaderboard's CSV with a row of the same
            specification, or runs to compare prompt by prompt.
        margin: with `baseline`, the drop that is tolerated, a share.
        level: one-sided significance level.
        allow_undecided: warn instead of failing where it cannot be told.
        prompts_only: with `baseline`, judge these very policies by their prompts, with one seed too. Without
            it a comparison with one seed on a side cannot be told, as its spread is unknown.

    Raises:
        AssertionError: in plain words.
        UserError: if the arguments or the runs do not fit together.
    """
    __tracebackhide__ = True
    from prefbench.errors import UserError

    if (at_least is None) == (baseline is None):
        raise UserError("give either at_least or baseline.")
    if not 0 < level < 0.5:
        raise UserError(f"level {level} is not in (0, 0.5): the usual one is 0.05.")
    if at_least is not None:
        verdict, said = _against_bound(runs, metric, at_least, level)
    else:
        assert baseline is not None
        verdict, said = _against_baseline(runs, metric, baseline, margin, level, prompts_only)
    if verdict == "fell" or (verdict == "cannot tell" and not allow_undecided):
        raise AssertionError(said)
    if verdict == "cannot tell":
        warnings.warn(CannotTell(said), stacklevel=2 if metric != "minority_win_rate" else 3)


def assert_no_group_loses(
    old: Model,
    new: Model,
    groups: Groups,
    *,
    prompts: Path | str | Sequence[str] | None = None,
    margin: float | None = None,
    level: float | None = None,
    allow_undecided: bool = False,
    **more: Any,
) -> None:
    """Fail if a group is served worse by the new model than by the old one, beyond what chance explains.

    ```python
    def test_nobody_is_left_behind():
        assert_no_group_loses("responses:old.jsonl", "responses:new.jsonl", "groups.toml")
    ```

    Where the prompts are too few to say of any group, it fails too, or warns with `CannotTell` if
    `allow_undecided`.

    Args:
        old: the model in use: `KIND:SOURCE`, or responses by prompt.
        new: the model that is to take its place, likewise.
        groups: a groups file, or by name of the group a utility, its name or a function.
        prompts: a file of prompts or the prompts; those of `old`, where its responses are given.
        margin: the share below one half that is tolerated, of groups that name none.
        level: one-sided significance level of all groups together.
        allow_undecided: warn instead of failing where nothing was decided.
        more: further arguments of `compare_models`.

    Raises:
        AssertionError: in plain words, a sentence for each group.
        UserError: if the arguments do not fit together.
    """
    __tracebackhide__ = True
    from prefbench.api.models import compare_models

    found = compare_models(
        old,
        new,
        groups=groups,
        prompts=prompts,
        margin=margin,
        level=level,
        allow_undecided=allow_undecided or None,
        **more,
    ).statistics
    said = " ".join(group.sentence for group in found.groups)
    if found.exit_code:
        raise AssertionError(said)
    if not found.decided:
        warnings.warn(CannotTell(said), stacklevel=2)


def _against_bound(runs: Any, metric: str, at_least: float, level: float) -> tuple[str, str]:
    from prefbench.errors import UserError
    from prefbench.record.schema import Record
    from prefbench.stats import comparisons, intervals
    from prefbench.stats.runs import mean_over_runs

    if not 0 < at_least < 1:
        raise UserError(f"at_least {at_least} is not in (0, 1): half is 0.5.")
    if isinstance(runs, Record):
        rate, n, difference = _of_record(runs, metric, at_least)
        seeds, name = 1, f"{runs.aligner} on {runs.task}@{runs.task_version}"
    else:
        row = _row(runs)
        scores = row.metric_scores(_known(metric, row))
        difference = mean_over_runs([at_least - values for values in scores])
        rate, n, seeds = at_least - difference.estimate, sum(map(len, scores)), len(scores)
        name = f"{row.first.aligner} on {row.first.task}@{row.first.task_version}"
    test: DropTest = comparisons.judge_drop(difference, 0.0, n, level)
    over = f"{n:,} prompts and {seeds} seed{'s' if seeds > 1 else ''}"
    start = f"{metric} of {name} is {rate:.3f} over {over}"
    if test.verdict == "fell":
        return "fell", f"{start}: below {at_least:g} by at least {test.low:.3f} (p = {test.p_value:.2g})."
    if test.verdict == "held":
        return "held", start
    distance = abs(test.drop)
    needed = ""
    if distance > 1e-6:
        quantiles = intervals.z_quantile(1 - level) + intervals.z_quantile(0.8)
        needed = f"; about {round(n * (quantiles * difference.se / distance) ** 2) + 1:,} prompts would do"
    low, high = at_least - test.high, at_least - test.low
    return (
        "cannot tell",
        f"{start}, between {low:.3f} and {high:.3f}: that cannot be told from {at_least:g}{needed}.",
    )


def _of_record(record: Record, metric: str, at_least: float) -> tuple[float, int, Mean]:
    """Rate, prompts and the bound minus the rate, from a record's counts."""
    from prefbench.errors import UserError
    from prefbench.evaluate.win_rate import ScoredGroup, minority_and_majority
    from prefbench.stats.runs import Mean

    if record.status != "ok":
        raise AssertionError(f"the run {record.status}: {record.message}.")
    groups = [ScoredGroup(group.name, group.share, group.is_minority) for group in record.groups]
    minority, majority = minority_and_majority(groups)
    names = {f"group/{group.name}": index for index, group in enumerate(groups)}
    names |= {"minority_win_rate": minority, "majority_win_rate": majority}
    if metric not in names:
        raise UserError(f"a record alone does not tell {metric}'s doubt: give the run's folder.")
    group = record.groups[names[metric]]
    # Several samples of one prompt are one cluster, as if they all agreed: the safe side.
    n = group.n_prompts
    smoothed = (group.win_rate * n + 1) / (n + 2)
    se = (smoothed * (1 - smoothed) / (n + 2)) ** 0.5
    return group.win_rate, n, Mean(at_least - group.win_rate, se, float("inf"))


def _against_baseline(
    runs: Any, metric: str, baseline: Any, margin: float, level: float, prompts_only: bool
) -> tuple[str, str]:
    from prefbench.boards.csv_file import read_csv
    from prefbench.boards.gate import by_key, judge_rows, row_key
    from prefbench.boards.gate_file import parse_checks
    from prefbench.boards.table import frame_of
    from prefbench.config import Check
    from prefbench.errors import UserError
    from prefbench.record.schema import Record

    if isinstance(runs, Record):
        raise UserError("a record alone cannot be held against a baseline: give the run's folder.")
    row = _row(runs)
    if metric.startswith("group/"):
        check = Check(metric=_known(metric, row), margin=margin)
    else:
        (check,) = parse_checks([metric], margin)
    key = row_key(row)
    if isinstance(baseline, str | Path) and Path(baseline).is_file():
        published, behind = by_key(read_csv(Path(baseline)), Path(baseline)), {}
        if key not in published:
            raise UserError(
                f"'{baseline}' has no row of {row.first.aligner} on {key[0]} with these options ({key[-1]})"
                ": run it there too, or name another baseline."
            )
    else:
        old = _row(baseline)
        if row_key(old) != key:
            raise UserError("the baseline's runs are of another specification: run the same one.")
        published, behind = by_key(frame_of([old]), Path("baseline")), {key: old}
    one = {key: published[key]}
    report = judge_rows([check], one, {key: row}, behind, level, False, prompts_only=prompts_only)
    (judged,) = report.rows
    return judged.verdict, judged.sentence


def _row(runs: Any) -> Row:
    """The one row that these runs make."""
    from prefbench.boards.rows import rows_of
    from prefbench.errors import UserError
    from prefbench.record.files import RECORD_FILE, find_records, read_record

    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(run) for run in runs]
    found = []
    for folder in folders:
        if folder.is_dir() and not (folder / RECORD_FILE).is_file():
            found += find_records(folder)
        else:
            found.append((folder.parent if folder.name == RECORD_FILE else folder, read_record(folder)))
    rows = rows_of(found)
    if len(rows) != 1:
        raise UserError(
            f"{len(rows)} specifications in these runs: give runs that differ in their seed only."
        )
    (row,) = rows
    if row.status != "ok":
        why = "; ".join(record.message for record in row.records.values() if record.message)
        raise AssertionError(
            f"{row.first.aligner} on {row.first.task} is {row.status}{': ' if why else ''}{why}."
        )
    return row


def _known(metric: str, row: Row) -> str:
    from prefbench.boards.gate_file import GATE_METRICS
    from prefbench.errors import UserError
    from prefbench.registry import suggest

    known = [*GATE_METRICS, *(f"group/{group.name}" for group in row.groups)]
    if metric not in known:
        raise UserError(f"unknown metric '{metric}'.{suggest(metric, known)}")
    return metric

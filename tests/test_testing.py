"""The pytest plug-in: what passes, what fails and in which words, and that loading it costs nothing."""

import subprocess
import sys

import pytest

from prefbench.boards.csv_file import write_csv
from prefbench.boards.table import build
from prefbench.errors import UserError
from prefbench.record.files import read_record
from prefbench.testing import CannotTell, assert_minority_win_rate, assert_win_rate
from support.records import make_items, make_record, make_run

pytest_plugins = ["pytester"]
OLD = {"many": 0.85, "few": 0.75}


def several(folder, rates=OLD, seeds=3, n=300, **changes):
    return [make_run(folder, rates, n=n, seed=seed, **changes) for seed in range(seeds)]


def test_a_bound_is_held_missed_or_undecided(tmp_path):
    runs = several(tmp_path / "runs")
    assert_minority_win_rate(runs, at_least=0.6)
    assert_minority_win_rate(tmp_path / "runs", at_least=0.6)
    with pytest.raises(
        AssertionError, match=r"minority_win_rate of plain on toy@1 is 0\.7.* below 0\.9 by at"
    ):
        assert_minority_win_rate(runs, at_least=0.9)
    undecided = r"cannot be told from 0\.75; about [\d,]+ prompts would do"
    with pytest.raises(AssertionError, match=undecided):
        assert_minority_win_rate(runs, at_least=0.75)
    with pytest.warns(CannotTell, match=undecided):
        assert_minority_win_rate(runs, at_least=0.75, allow_undecided=True)
    assert_win_rate(runs, metric="group/many", at_least=0.6)
    assert_win_rate(runs, metric="worst_group_win_rate", at_least=0.6)


def test_a_record_alone_will_do(tmp_path):
    record = read_record(make_run(tmp_path, OLD, n=300))
    assert_minority_win_rate(record, at_least=0.6)
    with pytest.raises(AssertionError, match="below"):
        assert_minority_win_rate(record, at_least=0.9)
    with pytest.raises(UserError, match="give the run's folder"):
        assert_win_rate(record, metric="mean_win_rate", at_least=0.6)
    with pytest.raises(UserError, match="give the run's folder"):
        assert_minority_win_rate(record, baseline=tmp_path)
    with pytest.raises(AssertionError, match="KL exploded"):
        assert_minority_win_rate(make_record(make_items(OLD), status="diverged"), at_least=0.5)


def test_a_baseline_is_a_csv_or_runs(tmp_path):
    old = several(tmp_path / "old")
    write_csv(build(tmp_path / "old"), tmp_path / "results.csv")
    worse = several(tmp_path / "worse", {"many": 0.85, "few": 0.5})
    assert_minority_win_rate(old, baseline=tmp_path / "results.csv", margin=0.1)
    assert_minority_win_rate(old, baseline=old, margin=0.01)  # the same prompts: exactly no drop
    for baseline in (tmp_path / "results.csv", tmp_path / "old"):
        with pytest.raises(AssertionError, match=r"FELL: toy@1 .* minority_win_rate went from 0\.7"):
            assert_minority_win_rate(worse, baseline=baseline)
    assert_win_rate(worse, metric="majority_win_rate", baseline=tmp_path / "results.csv", margin=0.1)
    assert_win_rate(worse, metric="group/many", baseline=tmp_path / "old", margin=0.1)
    stranger = several(tmp_path / "stranger", aligner="other")
    with pytest.raises(UserError, match="has no row of other"):
        assert_minority_win_rate(stranger, baseline=tmp_path / "results.csv")
    with pytest.raises(UserError, match="another specification"):
        assert_minority_win_rate(stranger, baseline=old)


def test_wrong_arguments(tmp_path):
    runs = several(tmp_path / "runs", seeds=1)
    for arguments, said in [
        ({}, "either at_least or baseline"),
        ({"at_least": 0.5, "baseline": tmp_path}, "either at_least or baseline"),
        ({"at_least": 50}, "half is 0.5"),
        ({"at_least": 0.5, "level": 2}, "level"),
        ({"at_least": 0.5, "metric": "minority"}, "Did you mean 'minority_win_rate'"),
    ]:
        with pytest.raises(UserError, match=said):
            assert_win_rate(runs, **arguments)
    other = make_run(tmp_path / "other", OLD, aligner="other")
    with pytest.raises(UserError, match="2 specifications"):
        assert_minority_win_rate([*runs, other], at_least=0.5)
    diverged = make_run(tmp_path / "wild", OLD, status="diverged")
    with pytest.raises(AssertionError, match="is diverged: KL exploded"):
        assert_minority_win_rate(diverged, at_least=0.5)


def test_the_plugin_in_somebody_elses_tests(pytester):
    pytester.makepyfile(
        """
        from prefbench.testing import assert_minority_win_rate

        SETS = {"task": {"test_prompts": 100}}

        def test_guard(prefbench_run):
            runs = prefbench_run(task="bandit_two_group", aligner="maxmin", seeds=2, sets=SETS)
            assert len(runs) == 2
            assert runs == prefbench_run(task="bandit_two_group", aligner="maxmin", seeds=2, sets=SETS)
            assert_minority_win_rate(runs, at_least=0.3)

        def test_alarm(prefbench_run):
            runs = prefbench_run(task="bandit_two_group", aligner="reference", sets=SETS)
            assert_minority_win_rate(runs, at_least=0.9)
        """
    )
    words = ["-p", "prefbench.testing", "-p", "no:benchmark", "--prefbench-runs", "kept"]
    result = pytester.runpytest_inprocess(*words)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*AssertionError: minority_win_rate of reference on bandit_two_group@*below 0.9*"]
    )
    assert len(list(pytester.path.glob("kept/*/record.json"))) == 3


def test_loading_the_plugin_imports_nothing_heavy():
    code = "import sys, prefbench.testing; print({'torch', 'numpy', 'pandas', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"

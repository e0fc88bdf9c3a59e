"""The gate: its three answers, what it matches, and that it rarely cries wolf."""

import json

import numpy as np
import pytest
from test_record import make_run

from prefbench.errors import UserError
from prefbench.report import leaderboard as lb
from prefbench.report.gate import gate

OLD = {"many": 0.85, "few": 0.75}


@pytest.fixture
def published(tmp_path):
    """A baseline of one aligner on three seeds: its runs and its CSV."""
    return publish(tmp_path, OLD)


def publish(tmp_path, rates, seeds=3, n=300, **changes):
    runs = tmp_path / "old"
    for seed in range(seeds):
        make_run(runs, rates, n=n, seed=seed, **changes)
    lb.write_csv(lb.build(runs), tmp_path / "results.csv")
    return tmp_path


def rerun(tmp_path, rates, name="new", seeds=3, n=300, **changes):
    for seed in range(seeds):
        make_run(tmp_path / name, rates, n=n, seed=seed, **changes)
    return tmp_path / name


def test_the_same_runs_hold(published):
    csv, old = published / "results.csv", published / "old"
    for report in (gate(csv, old, margin=0.08), gate(csv, old, margin=0.01, baseline_runs=old)):
        assert [row.verdict for row in report.rows] == ["held"]
        assert report.exit_code == 0
        assert report.rows[0].old == pytest.approx(report.rows[0].new, abs=1e-6)


def test_a_real_drop_falls(published):
    new = rerun(published, {"many": 0.85, "few": 0.55})
    report = gate(published / "results.csv", new, margin=0.05)
    (row,) = report.rows
    assert (row.verdict, report.exit_code, row.paired) == ("fell", 1, False)
    for part in ("FELL", "minority_win_rate", f"{row.old:.3f}", f"{row.new:.3f}", "0.05", "p = ", "900"):
        assert part in row.sentence
    assert "\n" not in row.sentence
    json.dumps(report.to_dict(), allow_nan=False)
    assert gate(published / "results.csv", new, metric="majority_win_rate").exit_code == 0


def test_too_few_prompts_cannot_tell_and_says_how_many_would(tmp_path):
    publish(tmp_path, OLD, seeds=1, n=40)
    new = rerun(tmp_path, {"many": 0.85, "few": 0.7}, seeds=1, n=40, items_seed=5)
    report = gate(tmp_path / "results.csv", new)
    (row,) = report.rows
    assert (row.verdict, report.exit_code) == ("cannot tell", 0)
    assert f"about {row.test.n_needed:,} prompts on each side would do" in row.sentence
    assert row.test.n_needed > 500
    assert gate(tmp_path / "results.csv", new, strict=True).exit_code == 1


def test_pairing_decides_what_two_samples_cannot(tmp_path):
    publish(tmp_path, OLD, seeds=1)
    new = rerun(tmp_path, {"many": 0.85, "few": 0.74}, seeds=1)
    assert gate(tmp_path / "results.csv", new).rows[0].verdict == "cannot tell"
    (row,) = gate(tmp_path / "results.csv", new, baseline_runs=tmp_path / "old").rows
    assert (row.verdict, row.paired) == ("held", True)
    assert "prompt by prompt" in row.sentence


def test_other_prompts_or_other_runs_are_not_paired(tmp_path):
    publish(tmp_path, OLD, seeds=1)
    new = rerun(tmp_path, OLD, seeds=1, n=200)
    (row,) = gate(tmp_path / "results.csv", new, baseline_runs=tmp_path / "old").rows
    assert not row.paired and "seeds or prompts differ" in row.sentence
    stranger = rerun(tmp_path, {"many": 0.5, "few": 0.5}, name="stranger", seeds=1)
    (row,) = gate(tmp_path / "results.csv", new, baseline_runs=stranger).rows
    assert not row.paired and "do not give the baseline's number" in row.sentence


def test_a_run_that_diverged_fell(published):
    make_run(published / "new", OLD, status="diverged")
    report = gate(published / "results.csv", published / "new")
    assert report.rows[0].verdict == "fell" and report.exit_code == 1
    assert "diverged" in report.rows[0].sentence


def test_an_incomplete_row_cannot_be_told(published):
    for folder in rerun(published, OLD).glob("*/items.parquet"):
        folder.unlink()
    with pytest.warns(UserWarning):
        report = gate(published / "results.csv", published / "new")
    assert report.rows[0].verdict == "cannot tell" and "incomplete" in report.rows[0].sentence


def test_a_baseline_without_numbers_guards_nothing(tmp_path):
    publish(tmp_path, OLD, seeds=1, status="diverged")
    report = gate(tmp_path / "results.csv", rerun(tmp_path, OLD, seeds=1))
    assert report.rows[0].verdict == "cannot tell" and "baseline row is diverged" in report.rows[0].sentence


def test_rows_that_nobody_ran_are_named(tmp_path):
    publish(tmp_path, OLD)
    publish(tmp_path, OLD, aligner="other")
    new = rerun(tmp_path, OLD)
    report = gate(tmp_path / "results.csv", new)
    assert len(report.rows) == 1 and len(report.unmatched) == 1 and "other" in report.unmatched[0]
    assert any("NOT RUN" in line for line in report.sentences)
    assert report.exit_code == 0
    assert gate(tmp_path / "results.csv", new, strict=True).exit_code == 1


def test_nothing_to_compare_is_the_users_error(published):
    new = rerun(published, OLD, aligner_options={"beta": 2})
    with pytest.raises(UserError, match=r"toy@1 nano synthetic 0\.2 plain") as caught:
        gate(published / "results.csv", new)
    assert "\n" not in str(caught.value) and str(caught.value).count("plain") == 2


def test_wrong_arguments(published):
    csv = published / "results.csv"
    for arguments, said in [
        ({"metric": "worst_group"}, "Did you mean 'worst_group_win_rate'"),
        ({"metric": "gap"}, "unknown metric"),
        ({"margin": 5}, "five points are 0.05"),
        ({"margin": -0.1}, "five points are 0.05"),
        ({"level": 0.9}, "level"),
    ]:
        with pytest.raises(UserError, match=said):
            gate(csv, published / "old", **arguments)
    text = csv.read_text()
    csv.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(UserError, match="repeats"):
        gate(csv, published / "old")


def test_many_rows_are_corrected_together(tmp_path):
    for index in range(6):
        publish(tmp_path, OLD, seeds=1, aligner=f"a{index}")
    new = tmp_path / "new"
    for index in range(6):
        make_run(new, OLD if index else {"many": 0.85, "few": 0.5}, n=300, aligner=f"a{index}")
    report = gate(tmp_path / "results.csv", new)
    assert [row.verdict == "fell" for row in report.rows].count(True) == 1
    fell = next(row for row in report.rows if row.verdict == "fell")
    assert fell.p_value == pytest.approx(6 * fell.test.p_value)


def test_false_alarms_and_power_end_to_end(tmp_path):
    """At a true drop of just the margin few gates close; at 15 points beyond it nearly all do."""
    publish(tmp_path, {"many": 0.95, "few": 0.7}, seeds=1, n=400)
    published_rate = float(lb.read_csv(tmp_path / "results.csv")["worst_group_win_rate"].iloc[0])

    def alarms(drop, sims):
        closed = 0
        for sim in range(sims):
            runs = tmp_path / f"{drop}-{sim}"
            draws = np.random.default_rng([99, sim]).random(400)
            # Empty responses lose one in fifty, so that the rate of utilities is a little higher.
            rate = (published_rate - drop) / 0.98
            make_run(runs, {"many": 0.95, "few": rate}, n=400, draws=draws, items_seed=sim)
            closed += gate(tmp_path / "results.csv", runs, margin=0.05).exit_code
        return closed / sims

    assert alarms(0.05, 40) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert alarms(0.20, 20) >= 0.85

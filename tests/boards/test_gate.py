"""The gate: its three answers, what it matches, and that it rarely cries wolf."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from prefbench.boards.columns import OVER_SEEDS
from prefbench.boards.csv_file import read_csv, write_csv
from prefbench.boards.gate import gate
from prefbench.boards.gate_file import read_gate_file
from prefbench.boards.gate_output import junit_xml, summary_markdown, write_junit, write_summary
from prefbench.boards.rows import load_rows
from prefbench.boards.table import build
from prefbench.errors import UserError
from support.records import make_run
from support.simulated import simulation

OLD = {"many": 0.85, "few": 0.75}


@pytest.fixture
def published(tmp_path):
    """A baseline of one aligner on three seeds: its runs and its CSV."""
    return publish(tmp_path, OLD)


def publish(tmp_path, rates, seeds=3, n=300, **changes):
    runs = tmp_path / "old"
    for seed in range(seeds):
        make_run(runs, rates, n=n, seed=seed, **changes)
    write_csv(build(runs), tmp_path / "results.csv")
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
    assert gate(published / "results.csv", new, metric="majority_win_rate=0.09").exit_code == 0


def test_too_few_prompts_cannot_tell_and_says_how_many_would(tmp_path):
    publish(tmp_path, OLD, seeds=1, n=40)
    new = rerun(tmp_path, {"many": 0.85, "few": 0.7}, seeds=1, n=40, items_seed=5)
    report = gate(tmp_path / "results.csv", new, prompts_only=True)
    (row,) = report.rows
    assert (row.verdict, report.exit_code) == ("cannot tell", 1)
    assert f"about {row.test.n_needed:,} prompts on each side would do" in row.sentence
    assert row.test.n_needed > 500
    assert "prompts only: of these policies, not of the method" in row.sentence
    for strict in (False, True):
        report = gate(tmp_path / "results.csv", new, strict=strict, allow_undecided=True, prompts_only=True)
        assert report.exit_code == int(strict)


def test_one_seed_on_each_side_decides_nothing_of_a_method(tmp_path):
    """However far apart the two are: nothing is known of how far seeds lie apart."""
    publish(tmp_path, OLD, seeds=1)
    new = rerun(tmp_path, {"many": 0.85, "few": 0.2}, seeds=1)
    csv, old = tmp_path / "results.csv", tmp_path / "old"
    for runs in (None, old):
        report = gate(csv, new, baseline_runs=runs)
        (row,) = report.rows
        assert (row.verdict, row.test, report.exit_code) == ("cannot tell", None, 1)
        assert "went from 0.7" in row.sentence and "the spread between seeds is unknown" in row.sentence
        assert "two or more seeds on each side would tell" in report.undecided
        assert gate(csv, new, baseline_runs=runs, allow_undecided=True).exit_code == 0
        # Said to be the outputs of policies that are what they are, prompts decide.
        report = gate(csv, new, baseline_runs=runs, prompts_only=True)
        assert (report.rows[0].verdict, report.rows[0].paired) == ("fell", runs is not None)
        assert "the spread between seeds is left out" in report.promise and report.to_dict()["prompts_only"]


def test_one_new_seed_decides_nothing_either(tmp_path):
    """Of a method whose seeds are as unlike as can be, one is no news."""
    for seed, few in enumerate((0.9, 0.5, 0.8, 0.6, 0.7)):
        make_run(tmp_path / "old", {"many": 0.95, "few": few}, n=300, seed=seed)
    write_csv(build(tmp_path / "old"), tmp_path / "results.csv")
    new = rerun(tmp_path, {"many": 0.95, "few": 0.4}, seeds=1)
    (row,) = gate(tmp_path / "results.csv", new, margin=0.05).rows
    assert row.verdict == "cannot tell" and "one seed on a side" in row.sentence
    assert gate(tmp_path / "results.csv", new, margin=0.05, prompts_only=True).rows[0].verdict == "fell"


def test_the_spread_of_an_unpaired_baseline_is_the_files(published):
    """Welch's test of both sides' runs, also where the published interval is cut at 1."""
    new = rerun(published, {"many": 0.85, "few": 0.6}, n=200)
    (row,) = gate(published / "results.csv", new).rows
    sides = [load_rows(published / name)[0].metric_scores("minority_win_rate") for name in ("old", "new")]
    means = [[run.mean() for run in side] for side in sides]
    theirs = stats.ttest_ind(*means, equal_var=False)
    assert row.test.drop == pytest.approx(np.mean(means[0]) - np.mean(means[1]), abs=1e-5)
    # Half a prompt of doubt in each run is the rest.
    assert row.test.drop - row.test.low == pytest.approx(
        theirs.confidence_interval(0.9).high - row.test.drop, rel=0.05
    )


def test_an_older_baseline_is_read_but_for_its_worst_group(published):
    """Without the columns of today: a bootstrap's interval shows two thirds of three seeds' variance."""
    frame = read_csv(published / "results.csv")
    frame.drop(columns=list(OVER_SEEDS)).to_csv(published / "older.csv", index=False)
    (row,) = gate(published / "older.csv", published / "old", margin=0.3).rows
    assert row.test is not None
    report = gate(published / "older.csv", published / "old", metric="worst_group_win_rate", margin=0.3)
    assert report.exit_code == 1 and "the smallest of means over seeds" in report.rows[0].sentence
    same = gate(published / "results.csv", published / "old", metric="worst_group_win_rate", margin=0.3)
    assert same.exit_code == 0


def test_a_gate_that_decided_nothing_is_closed_and_says_what_would_decide(tmp_path):
    for name in ("plain", "other"):
        publish(tmp_path, OLD, n=40, aligner=name)
    for name, few in (("plain", 0.7), ("other", 0.74)):
        rerun(tmp_path, {"many": 0.85, "few": few}, n=40, aligner=name, items_seed=5)
    report = gate(tmp_path / "results.csv", tmp_path / "new")
    assert {row.verdict for row in report.rows} == {"cannot tell"}
    assert (report.decided, report.exit_code) == (False, 1)
    nearest = min(report.rows, key=lambda row: row.n_needed)
    seeds = -(-nearest.n_needed // 40)
    said = report.sentences[-3]
    assert report.sentences[-2].startswith("LEVEL: chance of a method that is trained anew")
    assert said.startswith("UNDECIDED: no check held or fell, so this gate guards nothing: about ")
    assert f"about {nearest.n_needed:,} prompts on each side would do, on {seeds} seeds of 40" in said
    assert f"for minority_win_rate of toy@1 nano synthetic 0.2 {nearest.key[4]}" in said and "\n" not in said
    assert report.sum == "closed: 0 held, 0 fell, 2 cannot tell, 0 not run."
    assert "UNDECIDED" in summary_markdown(report) and report.to_dict()["decided"] is False
    suite = ElementTree.fromstring(junit_xml(report)).find("testsuite")
    assert (suite.get("failures"), suite.get("skipped")) == ("2", "0")
    # Allowed, it is open, and a build server shows what was skipped.
    open_ = gate(tmp_path / "results.csv", tmp_path / "new", allow_undecided=True)
    suite = ElementTree.fromstring(junit_xml(open_)).find("testsuite")
    assert (open_.exit_code, suite.get("failures"), suite.get("skipped")) == (0, "0", "2")
    assert any(line.startswith("UNDECIDED") for line in open_.sentences)
    # One row that is decided is enough, and then the rest is not held against it.
    report = gate(
        tmp_path / "results.csv", tmp_path / "new", metric=["minority_win_rate", "mean_win_rate=0.4"]
    )
    assert (report.decided, report.exit_code) == (True, 0) and report.undecided is None


def test_what_cannot_be_compared_decides_nothing(tmp_path):
    publish(tmp_path, OLD, seeds=1, status="diverged")
    report = gate(tmp_path / "results.csv", rerun(tmp_path, OLD, seeds=1))
    assert report.exit_code == 1 and "whole runs on both sides would" in report.undecided


def test_a_policy_that_is_the_reference_is_called_that(published):
    new = rerun(published, {"many": 0.85, "few": 0.55})
    (row,) = gate(published / "results.csv", new, margin=0.05).rows
    assert "reference policy" not in row.sentence
    for path in new.glob("*/record.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "kl": 0.011}))
    (row,) = gate(published / "results.csv", new, margin=0.05).rows
    assert "by a policy that is practically the reference policy, 0.01 nats from it" in row.sentence


def test_pairing_decides_what_two_samples_cannot(tmp_path):
    publish(tmp_path, OLD, seeds=1)
    new = rerun(tmp_path, {"many": 0.85, "few": 0.74}, seeds=1)
    only = {"prompts_only": True}
    assert gate(tmp_path / "results.csv", new, **only).rows[0].verdict == "cannot tell"
    (row,) = gate(tmp_path / "results.csv", new, baseline_runs=tmp_path / "old", **only).rows
    assert (row.verdict, row.paired) == ("held", True)
    assert "prompt by prompt" in row.sentence


def test_other_prompts_or_other_runs_are_not_paired(tmp_path):
    publish(tmp_path, OLD)
    new = rerun(tmp_path, OLD, n=200)
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
    assert report.exit_code == 1  # that one is undecided
    report = gate(tmp_path / "results.csv", new, margin=0.1)
    assert report.exit_code == 0 and len(report.unmatched) == 1
    assert gate(tmp_path / "results.csv", new, margin=0.1, strict=True).exit_code == 1


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
    report = gate(tmp_path / "results.csv", new, prompts_only=True)
    assert [row.verdict == "fell" for row in report.rows].count(True) == 1
    fell = next(row for row in report.rows if row.verdict == "fell")
    assert fell.p_value == pytest.approx(6 * fell.test.p_value)


def test_false_alarms_and_power_end_to_end(tmp_path):
    """At a true drop of just the margin few gates close; at 15 points beyond it nearly all do."""
    publish(tmp_path, {"many": 0.95, "few": 0.7}, seeds=1, n=400)
    published_rate = float(read_csv(tmp_path / "results.csv")["worst_group_win_rate"].iloc[0])

    def alarms(drop, sims):
        closed = 0
        for sim in range(sims):
            runs = tmp_path / f"{drop}-{sim}"
            draws = np.random.default_rng([99, sim]).random(400)
            # Empty responses lose one in fifty, so that the rate of utilities is a little higher.
            rate = (published_rate - drop) / 0.98
            make_run(runs, {"many": 0.95, "few": rate}, n=400, draws=draws, items_seed=sim)
            only = {"allow_undecided": True, "prompts_only": True}
            report = gate(tmp_path / "results.csv", runs, margin=0.05, **only)
            closed += report.exit_code
        return closed / sims

    assert alarms(0.05, 40) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert alarms(0.20, 20) >= 0.85


# ------------------------------------------------------------------- several checks, files, strangers


def test_each_metric_has_its_own_margin_and_all_are_corrected_together(published):
    new = rerun(published, {"many": 0.85, "few": 0.66})
    csv = published / "results.csv"
    report = gate(csv, new, metric=["minority_win_rate=0.3", "worst_group_win_rate=0.01", "mean_win_rate"])
    assert [row.check.margin for row in report.rows] == [0.3, 0.01, 0.03]
    assert [row.verdict for row in report.rows][:2] == ["held", "fell"]
    by_metric = {row.check.metric: row for row in report.rows}
    worst = by_metric["worst_group_win_rate"]
    assert worst.p_value == pytest.approx(min(1, 3 * worst.test.p_value))
    plain = report.to_dict()
    assert (plain["metric"], plain["margin"], len(plain["checks"])) == ("minority_win_rate", 0.3, 3)


def test_a_groups_own_rate_needs_the_baselines_runs(published):
    new = rerun(published, {"many": 0.5, "few": 0.75})
    csv, old = published / "results.csv", published / "old"
    (row,) = gate(csv, new, metric="group/many", baseline_runs=old).rows
    assert row.verdict == "fell" and row.paired and row.old > 0.8
    assert gate(csv, new, metric="group/few=0.08", baseline_runs=old).rows[0].verdict == "held"
    with pytest.raises(UserError, match="give the baseline's runs with --baseline-runs"):
        gate(csv, new, metric="group/many")
    with pytest.raises(UserError, match="no group 'none' in the baseline's runs, but few, many"):
        gate(csv, new, metric="group/none", baseline_runs=old)


def test_what_the_correction_leaves_undecided_says_how_many_prompts(tmp_path):
    for index in range(8):
        publish(tmp_path, OLD, seeds=1, n=300, aligner=f"a{index}")
    new = tmp_path / "new"
    for index in range(8):
        make_run(new, OLD if index else {"many": 0.85, "few": 0.65}, n=300, aligner=f"a{index}")
    rows = gate(tmp_path / "results.csv", new, prompts_only=True).rows
    alone = [row for row in rows if row.test.verdict == "fell"]
    assert len(alone) == 1 and alone[0].verdict == "cannot tell"
    assert alone[0].n_needed > 300 and f"about {alone[0].n_needed:,} prompts" in alone[0].sentence


def test_a_gate_file(published):
    publish(published, OLD, aligner="other")
    new = rerun(published, {"many": 0.85, "few": 0.55})
    rerun(published, OLD, aligner="other")
    path = published / "gate.toml"
    path.write_text(
        "level = 0.01\nstrict = true\nallow_undecided = false\nprompts_only = false\n"
        '[[check]]\naligner = "plain"\nmargin = 0.4\n'
        '[[check]]\nmetric = "majority_win_rate"\nmargin = 0.2\ntask = "toy@1"\nminority_ratio = "4:1"\n'
        '[[check]]\nmetric = "mean_win_rate"\ntask = "elsewhere"\n'
    )
    config = read_gate_file(path)
    assert (config.level, config.strict, config.allow_undecided, len(config.check)) == (0.01, True, False, 3)
    assert config.prompts_only is False
    report = gate(published / "results.csv", new, checks=config.check)
    assert [(row.check.metric, row.key[4]) for row in report.rows] == [
        ("minority_win_rate", "plain"),
        ("majority_win_rate", "other"),
        ("majority_win_rate", "plain"),
    ]
    with pytest.raises(UserError, match="no check fits"):
        gate(published / "results.csv", new, checks=config.check[2:])
    for text, said in [
        ("levl = 1", "unknown key 'levl'. Did you mean 'level'"),
        ("strict = 1", "strict = 1 is not true or false"),
        ('allow_undecided = "yes"', "allow_undecided = 'yes' is not true or false"),
        ("check = 1", "check is not a list of tables"),
        ("check = [1]", "[[check]] 1 is not a table"),
        ("[[check]]\nmargin = true", "[[check]] 1: margin = True is not a number"),
        ("[[check]]\nmargin = 7", "five points are 0.05"),
        ("[[check]]\nmargin = 1" + "0" * 5000, "not a readable TOML file"),
        ("[[check]]\nmargin = 1" + "0" * 50, "margin = that number is not a number"),
        ("check = " + "[" * 5000, "not a readable TOML file"),
        ('[[check]]\nmetric = "minority"', "Did you mean 'minority_win_rate'"),
        ("[[check]]\nminority_ratio = 3", "minority ratio '3'"),
        ("[[check", "not a readable TOML file"),
    ]:
        path.write_text(text)
        with pytest.raises(UserError, match=re.escape(said)):
            read_gate_file(path)


VALUE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_gate_file_is_judged(tmp_path, data):
    names = ["metric", "margin", "task", "aligner", "minority_ratio", "level", "strict", "check", "x"]
    names += ["allow_undecided", "prompts_only"]
    lines = []
    for _ in range(data.draw(st.integers(0, 4))):
        if data.draw(st.booleans()):
            lines.append("[[check]]")
        lines.append(f"{data.draw(st.sampled_from(names))} = {json.dumps(data.draw(VALUE))}")
    path = tmp_path / "gate.toml"
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    path.write_bytes(data.draw(st.sampled_from([text, text + b"\xff", data.draw(st.binary(max_size=20))])))
    try:
        read_gate_file(path)
    except UserError as error:
        assert str(error)


def test_summary_and_junit_hold_whatever_names_say(tmp_path, monkeypatch):
    odd = "a|b`<img src=x>\x07\x1b]]>&\ud83d\ude00 **x** @you"
    odd = odd.encode("utf-16", "surrogatepass").decode("utf-16")
    publish(tmp_path, OLD, seeds=1, aligner=odd)
    publish(tmp_path, OLD, seeds=1, n=20, aligner="small")
    publish(tmp_path, OLD, seeds=1, aligner="not run")
    new = rerun(tmp_path, {"many": 0.85, "few": 0.4}, seeds=1, aligner=odd)
    rerun(tmp_path, OLD, seeds=1, n=20, aligner="small")
    for strict, failures, skipped in ((False, 1, 2), (True, 3, 0)):
        report = gate(tmp_path / "results.csv", new, strict=strict, prompts_only=True)
        root = ElementTree.fromstring(junit_xml(report))
        suite = root.find("testsuite")
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
            "3",
            str(failures),
            str(skipped),
        )
        assert (len(root.findall(".//failure")), len(root.findall(".//skipped"))) == (failures, skipped)
    text = summary_markdown(report)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<img" not in text and "\x07" not in text and "**fell**" in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    for _ in range(2):
        write_summary(summary_markdown(report), tmp_path / "step.md")
        write_summary(summary_markdown(report), tmp_path / "deep" / "own.md")
    assert (tmp_path / "step.md").read_text() == 2 * (tmp_path / "deep" / "own.md").read_text()
    write_junit(junit_xml(report), tmp_path / "deep" / "gate.xml")
    ElementTree.parse(tmp_path / "deep" / "gate.xml")


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (5, 0.0), (5, 0.05)])
def test_false_alarms_keep_the_level(paired, seeds, spread):
    """At a true drop of just the margin; four standard errors above the level are let pass."""
    alarm, power, held = simulation("gate_errors").row(paired, seeds, spread, 400, 300)
    assert alarm <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)
    assert power > (0.25 if spread else 0.45)
    assert held <= 1


@pytest.mark.parametrize(("spread", "seeds"), [(0.1, 3), (0.3, 5)])
def test_the_same_method_trained_anew_seldom_closes(spread, seeds):
    """At most as often as the gate states, where one seed judged by its prompts closes one time in three."""
    errors = simulation("gate_errors")
    for paired in (True, False):
        closed = errors.closed_for_nothing(paired, seeds, spread, 200)
        assert closed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert errors.closed_for_nothing(True, 1, spread, 100, prompts_only=True) > 0.15


@pytest.mark.slow
def test_the_gates_errors_are_what_the_page_says():
    errors = simulation("gate_errors")
    page = errors.PAGE.read_text(encoding="utf-8")
    for name, text in errors.tables().items():
        assert f"<!-- {name} -->\n{text}\n<!-- /{name} -->" in page


def test_other_numerics_decide_nothing(published):
    new = rerun(published, OLD, numerics=2, code="b" * 16)
    report = gate(published / "results.csv", new)
    (row,) = report.rows
    assert (row.verdict, report.exit_code) == ("cannot tell", 1)
    assert "made by a version before numerics and the new row by numerics 2: make the baseline anew" in (
        row.sentence
    )


def test_a_mixed_row_decides_nothing(published):
    new = rerun(published, OLD, seeds=2)
    make_run(new, OLD, n=300, seed=2, numerics=2)
    report = gate(published / "results.csv", new)
    assert (report.rows[0].verdict, report.exit_code) == ("cannot tell", 1)
    assert "the new row is mixed" in report.rows[0].sentence


def test_the_gate_of_this_repository_decides_on_several_seeds():
    """Its baseline has the runs behind it, so that code that gives the same responses holds every row."""
    folder = Path(__file__).parents[2] / "leaderboard"
    config = read_gate_file(folder / "gate.toml")
    assert not config.allow_undecided
    runs = folder / "baseline"
    report = gate(folder / "baseline.csv", runs, level=config.level, baseline_runs=runs, checks=config.check)
    assert {(row.verdict, row.paired) for row in report.rows} == {("held", True)}
    assert len(report.rows) >= 4 and not report.unmatched
    assert all(len(row.seeds) >= 5 for row in load_rows(runs))
    assert {row.key[0].partition("@")[0] for row in report.rows} == {check.task for check in config.check}
    assert sum(file.stat().st_size for file in runs.rglob("*.*") if file.is_file()) < 2e6

"""Rows by what is known of people: the best single policy, who beats it from which n, controls and room."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import t

import prefbench as pb
from prefbench.boards.csv_file import write_csv
from prefbench.boards.people import Difference, beats_from, control_answer, people_rows
from prefbench.boards.people_file import PEOPLE_COLUMNS, beside, people_frame, read_people
from prefbench.boards.people_show import show_people
from prefbench.boards.rows import load_rows
from prefbench.boards.verify_csv import verify_people_csv
from prefbench.errors import UserError
from prefbench.report.page import page
from prefbench.stats.intervals import Interval
from support.commands import typed
from support.records import make_run
from support.told import told_board, told_run

approx = pytest.approx


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return told_board(tmp_path_factory.mktemp("told"))


@pytest.fixture(scope="module")
def frame(runs):
    return people_frame(load_rows(runs))


def one(frame, aligner, n=None, context="own"):
    """The row of an aligner and a stratum; without n that of the seen."""
    of = frame[(frame["aligner"] == aligner) & (frame["context"] == context)]
    rows = of[of["n"].isna()] if n is None else of[of["n"] == n]
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_stratum_of_every_configuration_is_a_row(frame):
    assert tuple(frame.columns) == PEOPLE_COLUMNS
    counts = frame.groupby("aligner").size().to_dict()
    assert counts == {"deaf": 5, "fair": 4, "gold_personal": 4, "noisy": 6, "pooled": 4, "router": 6}
    assert set(frame["known"]) == {"seen", "unseen"} and (frame["people"] == 6).all()
    assert set(frame["seeds"]) == {"0 1 2 3"}


def test_figures_are_means_over_seeds_with_students_interval(frame):
    row = one(frame, "router", 8)
    rates = np.array([0.85, 0.87, 0.83, 0.86])
    assert row["worst_group_win_rate"] == approx(rates.mean(), abs=1e-6)
    error = math.sqrt((rates.var(ddof=1) + 1 / (60 * 59)) / 4)
    half = t.ppf(0.975, 3) * error
    assert row["worst_group_win_rate_low"] == approx(rates.mean() - half, abs=1e-6)
    assert row["worst_group_win_rate_high"] == approx(min(1, rates.mean() + half), abs=1e-6)
    assert row["worst_tenth"] == approx(rates.mean() / 2, abs=1e-6)
    assert (row["gini"], row["kl"], row["worst_group"]) == (0.1, 2.0, "few")


def test_the_best_single_policy_is_the_learner_for_everybody_with_the_best_worst_group(frame):
    """Neither a ceiling nor who is told of people is one, however good."""
    assert set(frame["single"]) == {"fair"}
    assert set(frame.loc[frame["role"] == "best single policy", "aligner"]) == {"fair"}
    assert frame.loc[~frame["aligner"].isin(["fair", "pooled"]), "beats_single_from"].ne("").all()
    alone = frame[frame["aligner"].isin(["fair", "pooled"])]
    assert alone["beats_single_from"].eq("").all() and alone["minus_single"].isna().all()


def test_the_difference_is_paired_over_seeds(frame):
    """0.25 in every seed, whatever luck both had; at n = 1 the luck of the one alone is left."""
    eight, first = one(frame, "router", 8), one(frame, "router", 1)
    assert eight["minus_single"] == approx(0.25, abs=1e-6)
    half = t.ppf(0.975, 3) * math.sqrt(1 / (60 * 59) / 4)
    assert eight["minus_single_low"] == approx(0.25 - half, abs=1e-6)
    assert first["minus_single"] == approx(-0.0025, abs=1e-6)
    assert first["minus_single_high"] - first["minus_single_low"] > 2 * half
    # Holm over three sizes: the smallest p counts thrice.
    p = 2 * t.sf(0.25 / math.sqrt(1 / (60 * 59) / 4), 3)
    assert eight["minus_single_p"] == approx(3 * p, abs=1e-6)


def test_from_which_n_the_best_single_policy_is_beaten(frame):
    found = frame.drop_duplicates("aligner").set_index("aligner")["beats_single_from"]
    assert (found["router"], found["gold_personal"], found["deaf"], found["noisy"]) == (
        *("8", "1", "never"),
        "cannot tell",
    )


def difference(low, high, p=0.5):
    return Difference((low + high) / 2, Interval(low, high), p)


@pytest.mark.parametrize(
    ("by_size", "answer"),
    [
        ({}, None),
        ({0: difference(-0.1, 0.1), 1: difference(0.1, 0.2, 0.01), 2: difference(0.1, 0.3, 0.01)}, 1),
        ({0: difference(-0.3, -0.2, 0.01), 8: difference(-0.2, 0.02)}, "never"),
        ({0: difference(-0.3, -0.2, 0.01), 8: difference(-0.2, 0.03)}, "cannot tell"),
        ({0: Difference(-0.5, None, 1.0)}, "cannot tell"),
        ({0: Difference(0.5, None, None)}, "cannot tell"),
    ],
)
def test_the_answers(by_size, answer):
    assert beats_from(by_size) == answer


@pytest.mark.parametrize(
    ("low", "high", "same", "answer"),
    [
        (0.001, 0.1, False, "passes"),
        (0.001, 0.01, False, "fails"),
        (-0.01, 0.02, False, "fails"),
        (-0.3, -0.2, False, "fails"),
        (-0.01, 0.3, False, "cannot tell"),
        (-0.5, 0.5, True, "fails"),
    ],
)
def test_a_control_fails_where_own_labels_are_worth_nothing_to_speak_of(low, high, same, answer):
    assert control_answer(difference(low, high), same) == answer


def test_controls_say_what_the_evidence_and_the_win_rates_say(frame):
    router = one(frame, "router", 8, "shuffled")
    assert router["control"] == "passes" and router["own_minus"] == approx(0.2, abs=1e-6)
    assert one(frame, "router", 8, "other group")["control"] == "passes"
    assert one(frame, "deaf", 8, "shuffled")["control"] == "fails"
    assert one(frame, "noisy", 8, "shuffled")["control"] == "cannot tell"
    other = one(frame, "noisy", 8, "other person")
    assert other["control"] == "" and other["own_minus"] == 0, "one of her group may want the same"
    answers = {name: one(frame, name, 0)["control"] for name in ("router", "noisy", "fair")}
    assert answers == {"router": "passes", "noisy": "fails", "fair": ""}


def test_what_fails_is_named(frame):
    text = " ".join(show_people(frame, console=Console(width=100)).split())
    assert "control failed by deaf: own labels are worth +0.00" in text and "'shuffled'" in text
    assert "control failed by noisy: whoever nothing is known of is not given its default" in text
    assert "failed by router" not in text
    assert "* surely more than fair, the best single policy" in text
    room = "the worst group has 0.95 of gold_personal, +0.35"
    assert room in text and "beyond fair, the best single policy" in text


def test_stars_and_columns_of_the_tables(frame):
    text = show_people(frame, "markdown")
    head = next(line for line in text.splitlines() if line.startswith("| aligner"))
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert names == ["aligner", "needs", "sees", "seen", "n = 0", "n = 1", "n = 8"]
    router = next(line for line in text.splitlines() if line.startswith("| router"))
    assert [cell.strip() for cell in router.strip("|").split("|")][1:3] == ["user_id", "pairs"]
    assert re.findall(r"0\.\d\d ± 0\.\d\d(\*?)", router) == ["*", "", "", "*"]
    order = re.findall(r"^\| (\w+)", text.split("Policies told")[0], re.MULTILINE)[1:]
    assert order == ["fair", "router", "noisy", "deaf", "pooled", "gold_personal"]
    assert "cover" in text, "intervals of four seeds say how often they hold"


@settings(max_examples=12, deadline=None)
@given(st.integers(55, 240))
def test_no_line_is_wider_than_the_terminal(frame, width):
    lines = show_people(frame, console=Console(width=width)).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)


def test_the_file_is_read_as_it_was_written_and_held_against_the_runs(runs, frame, tmp_path):
    path = tmp_path / "board-people.csv"
    write_csv(frame, path)
    pd.testing.assert_frame_equal(read_people(path), frame)
    assert all(not wrong for wrong in verify_people_csv(path, runs).values())
    forged = frame.copy()
    forged.loc[0, "worst_group_win_rate"] = 0.99
    forged.loc[1, "beats_single_from"] = "1"
    write_csv(forged, path)
    wrong = [said for said in verify_people_csv(path, runs).values() if said]
    assert [said[0].split(" is ")[0] for said in wrong] == ["worst_group_win_rate", "beats_single_from"]


@pytest.mark.parametrize(
    ("column", "value"), [("gini", "2"), ("n", "1.5"), ("own_minus", "3"), ("people", "many")]
)
def test_a_number_that_cannot_be_is_refused_in_one_line(frame, tmp_path, column, value):
    write_csv(frame.astype(object).where(frame.notna(), None).assign(**{column: value}), tmp_path / "p.csv")
    with pytest.raises(UserError, match=f"row 2: {column} is '{value}'") as caught:
        read_people(tmp_path / "p.csv")
    assert "\n" not in str(caught.value)


def test_the_commands_write_show_and_verify_it(runs, tmp_path):
    out = tmp_path / "results.csv"
    built = typed("leaderboard", "build", "--runs-dir", runs, "--out", out)
    assert built.code == 0 and beside(out).is_file()
    assert f"people's written to {beside(out)}: prefbench leaderboard show {out} --people" in built.out
    named = [line for line in built.out.splitlines() if "control failed by" in line]
    assert [re.findall(r"failed by (\w+)", line) for line in named] == [["noisy"], ["deaf"]]
    assert all(line.startswith("warning: toy@1, nano, synthetic") for line in named)
    shown = typed("leaderboard", "show", out, "--people")
    assert shown.code == 0 and "what is known of people" in shown.out
    assert typed("leaderboard", "show", out, "--people", "--format", "csv").out.startswith("board,task,")
    board = pb.leaderboard(runs)
    pd.testing.assert_frame_equal(board.people(), read_people(beside(out)))
    beside(out).write_text(beside(out).read_text().replace(",router,", ",rooter,"))
    checked = typed("leaderboard", "verify", "--runs-dir", runs, "--csv", out)
    assert f"{len(board.people()) - 6} of {len(board.people())} rows of {beside(out)}" in checked.out


def test_runs_without_people_have_nothing_of_it(tmp_path):
    make_run(tmp_path / "runs", {"many": 0.8, "few": 0.7})
    out = tmp_path / "results.csv"
    built = typed("leaderboard", "build", "--runs-dir", tmp_path / "runs", "--out", out)
    assert "people's" not in built.out and not beside(out).exists()
    shown = typed("leaderboard", "show", out, "--people")
    assert shown.code == 2 and "task.unseen_annotators" in shown.error
    assert people_frame(load_rows(tmp_path / "runs")).empty
    assert 'id="people"' not in page(tmp_path / "runs")
    beside(out).write_text("of other runs")
    again = typed("leaderboard", "build", "--runs-dir", tmp_path / "runs", "--out", out)
    assert f"warning: {beside(out)} is of other runs" in again.out


def test_the_page_has_the_tables_and_what_a_policy_sees(runs, tmp_path):
    text = page(runs)
    section = text.split('<section id="people"')[1].split("</section>")[0]
    assert section.count("<table>") == 3 and "Control failed by deaf" in section
    assert "needs</th><th" in text and text.index(">needs</th>") < text.index(">sees</th>")
    assert '"needs":"nothing, sees pairs"' in text
    told_run(tmp_path, 0.5, aligner="<b>bold")
    assert "&lt;b&gt;bold" in page(tmp_path) and "<b>bold" not in page(tmp_path)


def test_one_seed_has_the_runs_own_intervals_and_tells_nothing_of_others(tmp_path):
    told_board(tmp_path, seeds=(1,))
    frame = people_frame(load_rows(tmp_path))
    row = one(frame, "router", 8)
    assert (row["worst_group_win_rate_low"], row["worst_group_win_rate_high"]) == approx((0.77, 0.97))
    assert math.isnan(row["gini_low"]) and math.isnan(row["minus_single_low"])
    assert row["beats_single_from"] == "cannot tell"
    control = one(frame, "router", 8, "shuffled")
    assert (control["control"], control["own_minus_low"]) == ("passes", approx(0.1))
    assert "one seed" in show_people(frame, console=Console(width=100))


def test_where_nobody_differs_single_policies_are_known_by_their_records(tmp_path):
    """Such a board has the seen alone, of whom a policy for everybody keeps no account."""
    for seed in range(4):
        make_run(tmp_path, {"many": 0.9, "few": 0.5}, aligner="fair", seed=seed)
        told_run(tmp_path, {None: 0.8}, seed, sees=("user_id",), minus={}, aligner="by_id")
    frame = people_frame(load_rows(tmp_path))
    fair, by_id = one(frame, "fair"), one(frame, "by_id")
    assert fair["role"] == "best single policy" and fair["worst_group"] == "few"
    assert pd.isna(fair["people"]) and math.isnan(fair["gini"])
    assert by_id["minus_single"] == approx(0.8 - fair["worst_group_win_rate"], abs=1e-6)
    assert by_id["beats_single_from"] == "", "nobody is unseen"
    assert "by_id" in show_people(frame, console=Console(width=80))


def test_a_row_that_lacks_a_seed_is_left_out_and_said_so(tmp_path):
    for aligner, rate, seeds in (("fair", 0.6, 3), ("pooled", 0.5, 3), ("lucky", 0.9, 2)):
        for seed in range(seeds):
            told_run(tmp_path, rate, seed, sees=(), aligner=aligner)
    rows = load_rows(tmp_path)
    with pytest.warns(UserWarning, match="lucky on .* incomplete: no seed 2"):
        found = people_rows(rows)
    assert [row.row.first.aligner for row in found] == ["fair", "pooled"]
    assert {row.single.first.aligner for row in found} == {"fair"}


def test_boards_of_other_options_are_not_mixed(tmp_path):
    for spread, worst in ((0.0, 0.6), (0.5, 0.3)):
        for seed in range(3):
            options = {"spread": spread}
            told_run(tmp_path, worst, seed, sees=(), aligner="fair", task_options=options)
            told_run(tmp_path, 0.5, seed, aligner="router", task_options=options)
    frame = people_frame(load_rows(tmp_path))
    assert frame["board"].nunique() == 2
    signs = frame.query("aligner == 'router' and n == 1").sort_values("minus_single")["minus_single"]
    assert signs.tolist() == approx([-0.1, 0.2], abs=1e-6)


def test_evidence_that_is_gone_leaves_the_default_untold(tmp_path):
    folder = told_run(tmp_path, 0.5, aligner="router")
    (folder / "people.parquet").unlink()
    with pytest.warns(UserWarning, match="controls of router are not known"):
        frame = people_frame(load_rows(tmp_path))
    assert one(frame, "router", 0)["control"] == "cannot tell"

"""Frontiers: curves by seed, read off only where both sides were measured."""

import itertools
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import t

from prefbench.boards.frontier import (
    by_board,
    frontier_frame,
    frontiers_of,
    mean_over,
    not_drawn,
    points_frame,
    value_at,
)
from prefbench.boards.rows import load_rows
from prefbench.boards.verify import _kind
from prefbench.record.checked import Checked
from prefbench.record.divergence import divergence_of
from prefbench.record.files import read_record, write_record
from prefbench.report.plots import save_figures
from prefbench.search import spaced
from support.commands import typed
from support.records import make_run

approx = pytest.approx
DRAWS = (np.arange(100) + 0.5) / 100


def test_a_value_is_linear_in_log_kl_between_the_two_runs_beside_it():
    points = [(4.0, 0.7), (1.0, 0.5), (16.0, 0.3)]
    assert value_at(points, 1.0) == 0.5 and value_at(points, 16.0) == 0.3
    assert value_at(points, 2.0) == pytest.approx(0.6)
    assert value_at(points, 8.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("points", "nats"),
    [
        ([(1.0, 0.5), (4.0, 0.7)], 0.5),
        ([(1.0, 0.5), (4.0, 0.7)], 8.0),
        ([(-0.01, 0.5), (4.0, 0.7)], 1.0),
        ([], 1),
    ],
)
def test_nothing_is_read_off_where_one_side_was_not_measured(points, nats):
    assert value_at(points, nats) is None
    assert mean_over(points, nats, 16.0) is None


@given(
    st.lists(
        st.tuples(st.floats(0.01, 50), st.floats(0, 1)), min_size=2, max_size=8, unique_by=lambda p: p[0]
    ),
    st.floats(0.01, 50),
)
def test_a_value_lies_between_its_neighbours(points, nats):
    found = value_at(points, nats)
    below, above = ([p for p in points if p[0] <= nats], [p for p in points if p[0] >= nats])
    assert (found is None) == (not below or not above)
    if found is not None:
        ends = (max(below)[1], min(above)[1])
        assert min(ends) - 1e-9 <= found <= max(ends) + 1e-9


def test_the_area_is_the_mean_over_log_kl():
    line = [(1.0, 0.5), (8.0, 0.8)]
    assert mean_over(line, 1.0, 8.0) == pytest.approx(0.65)
    points = [(0.5, 0.4), (1.5, 0.6), (3.0, 0.9), (20.0, 0.2)]
    integral, _ = quad(
        lambda log: value_at(points, math.exp(log)), 0.0, math.log(8), points=np.log([1.5, 3.0])
    )
    assert mean_over(points, 1.0, 8.0) == pytest.approx(integral / math.log(8))


@pytest.mark.parametrize("count", [2, 6, 9])
def test_strengths_lie_evenly_in_log(count):
    found = spaced(0.03, 3.0, count)
    assert found == pytest.approx(np.geomspace(0.03, 3.0, count), rel=5e-3)
    assert (found[0], found[-1], len(set(found))) == (0.03, 3.0, count)


@pytest.fixture
def runs(tmp_path):
    """dpo at three strengths and two seeds, maxmin at one strength, and an aligner that nobody knows."""
    worst = {0.1: (9.0, 0.4), 0.3: (4.0, 0.8), 1.0: (0.5, 0.5)}
    for beta, (kl, few) in worst.items():
        for seed in (0, 1):
            rates = {"many": 0.9, "few": few + 0.1 * seed}
            options = {"beta": beta, "epochs": 4}
            make_run(
                tmp_path / "runs",
                rates,
                100,
                kl=kl,
                draws=DRAWS,
                aligner="dpo",
                aligner_options=options,
                seed=seed,
            )
    for aligner, option in (("maxmin", "kl_coefficient"), ("nobody", "beta")):
        for seed in (0, 1):
            options = {option: 0.3}
            rates = {"many": 0.9, "few": 0.5}
            make_run(
                tmp_path / "runs",
                rates,
                100,
                draws=DRAWS,
                aligner=aligner,
                aligner_options=options,
                seed=seed,
            )
    return tmp_path / "runs"


def test_runs_that_differ_in_their_strength_alone_make_a_frontier(runs):
    (found,) = frontiers_of(load_rows(runs))
    assert (found.record.aligner, found.option, found.strengths) == ("dpo", "beta", (0.1, 0.3, 1.0))
    worst = {seed: [y for _, y in points] for seed, points in found.points.items()}
    means = [np.mean([worst[seed][i] for seed in (0, 1)]) for i in range(3)]
    assert found.means() == [(0.5, means[2]), (4.0, means[1]), (9.0, means[0])]
    frame = frontier_frame(frontiers_of(load_rows(runs)))
    (row,) = frame.to_dict("records")
    assert (row["strengths"], row["seeds"], row["tuning"]) == ("0.1 0.3 1", "0 1", "default")
    assert (row["kl_least"], row["kl_most"]) == (0.5, 9.0)
    each = [worst[seed][1] for seed in (0, 1)]
    half = t.ppf(0.975, 1) * np.std(each, ddof=1) / math.sqrt(2)
    assert row["at_4_nats"] == pytest.approx(np.mean(each), abs=1e-6)
    assert row["at_4_nats_low"] == pytest.approx(max(0, np.mean(each) - half), abs=1e-6)
    assert row["at_1_nats"] == pytest.approx(means[2] + (means[1] - means[2]) / 3, abs=1e-6)  # log 2 of log 8
    assert 0 < row["area"] < 1


def test_other_options_make_another_frontier_and_a_lone_strength_makes_none(runs):
    for seed in (0, 1):
        rates, options = {"many": 0.9, "few": 0.5}, {"beta": 0.7, "epochs": 1}
        make_run(runs, rates, 100, draws=DRAWS, aligner="dpo", aligner_options=options, seed=seed)
    assert len(frontiers_of(load_rows(runs))) == 1


def test_the_command_writes_it_and_the_figure_shows_it(runs, tmp_path):
    out = tmp_path / "frontier.csv"
    outcome = typed("leaderboard", "frontier", "--runs-dir", runs, "--out", out)
    points = tmp_path / "frontier-points.csv"
    said = f"1 frontier written to {out}, the figures along them to {points}\n"
    assert (outcome.code, outcome.out) == (0, said)
    assert len(points.read_text().splitlines()) == 4
    header, line = out.read_text().splitlines()
    assert header.split(",")[4:8] == ["aligner", "tuning", "option", "strengths"]
    assert line.split(",")[4:8] == ["dpo", "default", "beta", "0.1 0.3 1"]
    files = save_figures(runs, tmp_path / "a", "svg")
    assert files[-1].name == "frontier.svg" and "<!-- dpo -->" in files[-1].read_text()
    assert save_figures(runs, tmp_path / "b", "svg")[-1].read_bytes() == files[-1].read_bytes()
    alone = save_figures(runs, tmp_path / "c", "svg", ["maxmin"])
    assert "frontier.svg" not in [file.name for file in alone]


@pytest.fixture
def beside(tmp_path):
    """maxmin, whose reward rises while the truth falls, and best-of-n by either, whose KL nobody knows."""
    spread = np.where(np.arange(100) % 2, 1.0, -1.0)  # mean 0, spread 1
    reached = {
        ("maxmin", "kl_coefficient"): {1.0: (1.0, 0.4, 0.5), 0.3: (2.0, 0.6, 1.0), 0.1: (8.0, -0.2, 2.0)},
        ("best_of_n", "candidates"): {1: (None, 0.0, 0.0), 4: (None, 0.3, 0.4), 64: (None, 0.5, 0.9)},
        ("gold_best_of_n", "candidates"): {1: (None, 0.0, None), 4: (None, 0.6, None)},
    }
    for (aligner, option), strengths in reached.items():
        for (strength, (kl, utility, proxy)), seed in itertools.product(strengths.items(), (0, 1)):
            columns = {}
            for name, more in (("many", 0.5), ("few", 0.0)):
                columns[f"reference_utility/{name}"] = 3 * spread + 7
                columns[f"utility/{name}"] = np.full(100, 3 * (utility + more + 0.1 * seed) + 7)
            if proxy is not None:
                columns |= {"proxy/a": np.full(100, proxy + 0.1 * seed), "reference_proxy/a": np.zeros(100)}
                columns |= {"proxy/b": np.full(100, 9.0), "reference_proxy/b": np.zeros(100)}
            make_run(
                tmp_path / "beside",
                {"many": 0.9, "few": 0.5},
                100,
                kl=kl,
                columns=columns,
                task="imdb_two_group",
                aligner=aligner,
                aligner_options={option: strength},
                seed=seed,
            )
    return tmp_path / "beside"


def test_gains_stand_beside_the_worst_group_along_the_way(beside):
    found = {each.record.aligner: each for each in frontiers_of(load_rows(beside))}
    strong = found["maxmin"]
    assert (strong.option, strong.trained, strong.measure) == ("kl_coefficient", True, "measured")
    assert strong.means("utility") == [(1.0, approx(0.45)), (2.0, approx(0.65)), (8.0, approx(-0.15))]
    assert strong.means("proxy") == [(1.0, approx(0.55)), (2.0, approx(1.05)), (8.0, approx(2.05))]
    assert found["gold_best_of_n"].means("proxy") == []
    frame = points_frame(found.values())
    rows = frame[frame["aligner"] == "maxmin"]
    assert rows["strength"].tolist() == [0.1, 0.3, 1.0] and rows["kl"].tolist() == [8.0, 2.0, 1.0]
    assert rows["utility"].tolist() == approx([-0.15, 0.65, 0.45])
    assert rows["proxy"].tolist() == approx([2.05, 1.05, 0.55])
    assert frame[frame["aligner"] == "gold_best_of_n"]["proxy"].isna().all()


def test_the_best_of_n_stands_at_its_bound_where_its_divergence_is_not_known(beside):
    found = {each.record.aligner: each for each in frontiers_of(load_rows(beside))}
    best = found["best_of_n"]
    assert (best.option, best.trained, best.measure) == ("candidates", False, "bound")
    kls = [x for x, _ in best.means()]
    assert kls == approx([0.0, math.log(4) - 3 / 4, math.log(64) - 63 / 64])
    row = frontier_frame([best]).to_dict("records")[0]
    assert (row["divergence"], row["strengths"], row["kl_least"]) == ("bound", "1 4 64", 0.0)
    assert row["kl_most"] == approx(3.174508, abs=1e-6)


def test_no_bound_follows_from_options_that_are_none(beside):
    for folder in beside.iterdir():
        record = read_record(folder)
        if record.aligner == "best_of_n":
            spec = record.spec | {"aligner_options": {"candidates": record.spec["seed"] - 5}}
            write_record(record.model_copy(update={"spec": spec}), folder)
    with pytest.warns(UserWarning, match="are the same run"):
        rows = load_rows(beside)
    assert {each.record.aligner for each in frontiers_of(rows)} == {"maxmin", "gold_best_of_n"}


def test_curves_without_training_stand_in_every_figure(beside, tmp_path):
    for aligners in (None, ["maxmin"]):
        figure = save_figures(beside, tmp_path / "figures", "svg", aligners)[-1]
        drawn = figure.read_text()
        assert figure.name == "frontier.svg"
        for name in ("maxmin", "best_of_n", "gold_best_of_n"):
            assert f"<!-- {name} -->" in drawn
        for title in ("true utility gained", "learned reward gained"):
            assert f"<!-- {title} -->" in drawn
    frontiers = frontiers_of(load_rows(beside))
    assert by_board(frontiers, ["dpo"]) == {}
    assert not_drawn(frontiers) == {}
    (board,) = by_board(frontiers)
    alone = [each for each in frontiers if each.record.aligner != "gold_best_of_n"]
    assert not_drawn(alone) == {board: ["gold_best_of_n"]}


def test_the_best_of_one_is_the_reference_under_any_name(beside):
    """Two aligners that both draw one sample say the same, and neither is a copy of the other."""
    known = {}
    for folder in beside.iterdir():
        record = read_record(folder)
        known[record.aligner, record.spec["aligner_options"].get("candidates"), record.seed] = record
    one, gold = known["best_of_n", 1, 0], known["gold_best_of_n", 1, 0]
    assert (divergence_of(one), divergence_of(known["maxmin", None, 0])[1]) == ((0.0, "bound"), "measured")
    assert divergence_of(one.model_copy(update={"aligner": "nobody"})) is None
    assert _kind(Checked(beside, one), Checked(beside, gold)) is None
    four = known["gold_best_of_n", 4, 0]
    assert _kind(Checked(beside, one), Checked(beside, four)) is not None


def test_what_is_missing_to_compare_with_is_said(beside, tmp_path):
    for folder in list(beside.iterdir()):
        if folder.name.startswith("gold"):
            shutil.rmtree(folder)
    out = typed("leaderboard", "frontier", "--runs-dir", beside, "--out", tmp_path / "frontier.csv").out
    said = "imdb_two_group@1 nano synthetic 0.2: no curve of gold_best_of_n to compare with"
    assert out.splitlines()[0] == f"{said}: add them to the sweep's aligners"


def test_without_two_strengths_there_is_nothing_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs", {"many": 0.9, "few": 0.5}, aligner="dpo", aligner_options={"beta": 0.1})
    outcome = typed("leaderboard", "frontier")
    assert outcome.code == 2 and "has whole rows of two strengths" in outcome.error
    assert not Path("frontier.csv").exists()

"""Frontiers: curves by seed, read off only where both sides were measured."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import t

from prefbench.boards.frontier import frontier_frame, frontiers_of, mean_over, value_at
from prefbench.boards.rows import load_rows
from prefbench.report.plots import save_figures
from prefbench.search import spaced
from support.commands import typed
from support.records import make_run

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
    assert (outcome.code, outcome.out) == (0, f"1 frontier written to {out}\n")
    header, line = out.read_text().splitlines()
    assert header.split(",")[4:8] == ["aligner", "tuning", "option", "strengths"]
    assert line.split(",")[4:8] == ["dpo", "default", "beta", "0.1 0.3 1"]
    files = save_figures(runs, tmp_path / "a", "svg")
    assert files[-1].name == "frontier.svg" and "<!-- dpo -->" in files[-1].read_text()
    assert save_figures(runs, tmp_path / "b", "svg")[-1].read_bytes() == files[-1].read_bytes()
    alone = save_figures(runs, tmp_path / "c", "svg", ["maxmin"])
    assert "frontier.svg" not in [file.name for file in alone]


def test_without_two_strengths_there_is_nothing_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs", {"many": 0.9, "few": 0.5}, aligner="dpo", aligner_options={"beta": 0.1})
    outcome = typed("leaderboard", "frontier")
    assert outcome.code == 2 and "has whole rows of two strengths" in outcome.error
    assert not Path("frontier.csv").exists()

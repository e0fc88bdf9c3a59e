"""Worst groups by what is known of people: means over seeds, with the interval of Student's t."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).parents[2] / "leaderboard" / "scripts" / "routers.py"


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("routers_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(worst, clusters=2, rank=2, **task):
    """A run's record as far as the script reads it, with the same worst group in each stratum."""
    strata = [
        SimpleNamespace(n=n, context=context, worst_group_win_rate=worst, kl=2.0)
        for n, context in ((None, "own"), (0, "own"), (8, "own"), (8, "shuffled"), (8, "other group"))
    ]
    return SimpleNamespace(
        aligner="router",
        groups=("a", "b"),
        people=SimpleNamespace(strata=strata),
        spec={"aligner_options": {"clusters": clusters, "rank": rank}, "task_options": task},
    )


def test_means_over_seeds_and_their_interval(script):
    """0.5 and 0.7: a standard error of 0.1, and t of 12.706 with one degree of freedom, cut at 0 and 1."""
    runs = [run(0.5), run(0.7), run(0.9, clusters=3, spread=0.5), run(0.2, rank=1, spread=0.5)]
    frame = script.summary([*runs, SimpleNamespace(people=None)])
    row = frame[(frame["aligner"] == "router") & (frame["known"] == "8")].iloc[0]
    assert (row["seeds"], row["spread"], row["kl"]) == (2, 0.0, 2.0)
    assert row["worst_group_win_rate"] == pytest.approx(0.6)
    assert (row["low"], row["high"]) == (0.0, 1.0)
    assert set(frame["aligner"]) == {"router", "router, 3 clusters", "router, rank 1"}


def test_the_table_has_sizes_in_order_and_one_control(script):
    head = script.table(script.summary([run(0.5), run(0.7)])).splitlines()[0]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert names == ["spread", "aligner", "n = 0", "n = 8", "8, shuffled", "seen"]

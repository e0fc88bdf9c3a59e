"""Tables over seeds: what they say of few seeds."""

import io

import pytest
from rich.console import Console

from prefbench.boards.table import summarise_seeds
from prefbench.report.tables import render, seeds_table
from support.records import make_run


def shown(tmp_path, seeds):
    folders = [make_run(tmp_path, {"many": 0.8, "few": 0.6}, seed=seed) for seed in range(seeds)]
    summary = summarise_seeds(folders)
    table = render(seeds_table(summary), Console(width=200, file=io.StringIO()))
    return " ".join(table.split()), summary


def test_few_seeds_are_said_to_be_few(tmp_path):
    text, summary = shown(tmp_path, 3)
    rate = f"{summary['worst_group_win_rate']:.2f} [{summary['worst_group_win_rate_low']:.2f}"
    assert f"worst group win rate (mostly few) {rate}" in text
    assert f"worst group in the worst seed {summary['worst_seed']:.2f}" in text
    assert f"worst group, cross-fitted {summary['worst_group_cross_fitted']:.2f}" in text
    assert "one run is one observation; 95% intervals from 3 seeds cover" in text
    assert f"with so many seeds, a difference under {summary['mde']:.2f} may go unseen" in text


def test_ten_seeds_need_no_footnote_and_one_says_what_it_is(tmp_path):
    text, _ = shown(tmp_path / "ten", 10)
    assert "one run is one observation; with so many seeds" in text and "cover" not in text
    text, _ = shown(tmp_path / "one", 1)
    assert (
        "one seed: intervals are over its prompts and say nothing of other seeds; with so many prompts"
        in text
    )


def test_of_three_groups_every_one_is_told(tmp_path):
    groups = [("many", 0.5, False), ("some", 0.3, False), ("few", 0.2, True)]
    rates = {"many": 0.9, "some": 0.6, "few": 0.3}
    summary = summarise_seeds([make_run(tmp_path, rates, groups=groups, seed=seed) for seed in range(3)])
    text = " ".join(render(seeds_table(summary), Console(width=200, file=io.StringIO())).split())
    for name in rates:
        low, high = summary["group_intervals"][name]
        assert low < summary["groups"][name] < high
        assert f"win rate of {name} {summary['groups'][name]:.2f} [{low:.2f}, {high:.2f}]" in text
    assert summary["group_intervals"]["few"] == pytest.approx(
        (summary["minority_win_rate_low"], summary["minority_win_rate_high"]), abs=1e-6
    )
    assert "win rate of" not in shown(tmp_path / "two", 3)[0]

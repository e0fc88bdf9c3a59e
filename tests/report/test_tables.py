"""Tables over seeds: what they say of few seeds."""

import io

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

"""A policy that hardly left the reference is called that wherever its win rates are shown."""

import io

import pytest
from rich.console import Console

from prefbench.boards.show import show
from prefbench.boards.table import build, summarise_seeds
from prefbench.record.near_reference import NEAR_REFERENCE_NATS, near_reference
from prefbench.report.page import write_page
from prefbench.report.tables import render, result_table, seeds_table, verdict
from support.records import make_items, make_record, make_run

RATES = {"many": 0.72, "few": 0.28}
CALLED = "practically the reference policy, 0.01 nats from it"


@pytest.mark.parametrize(
    ("kl", "called"),
    [
        (None, None),
        (float("nan"), None),
        (NEAR_REFERENCE_NATS, None),
        (3.0, None),
        (0.0499, "practically the reference policy, 0.05 nats from it"),
        (0.01, CALLED),
        (-0.02, "practically the reference policy, 0.00 nats from it"),
        (0.0, "the reference policy itself"),
    ],
)
def test_closer_than_a_twentieth_of_a_nat_is_near(kl, called):
    assert near_reference(kl) == called


def table(record) -> str:
    text = render(result_table(record), Console(width=120, file=io.StringIO()))
    return " ".join(text.split())


def test_a_run_says_so_beside_its_win_rates():
    near, far = (make_record(make_items(RATES, n=20, kl=kl)) for kl in (0.01, 0.5))
    assert f"this policy is {CALLED}: read its win rates as one half" in table(near)
    assert "reference policy" not in table(far)
    said = verdict(near)
    assert said.startswith(f"No group won or lost anything that shows, as this policy is {CALLED}: few")
    assert "practically" not in verdict(far)


def test_so_do_the_seeds_the_leaderboard_and_the_page(tmp_path):
    folders = [make_run(tmp_path / "runs", RATES, kl=0.01, seed=seed, aligner="timid") for seed in (0, 1)]
    for seed in (0, 1):
        make_run(tmp_path / "runs", RATES, kl=0.8, seed=seed, aligner="bold")
    summary = summarise_seeds(folders)
    assert summary["kl"] == pytest.approx(0.01)
    text = render(seeds_table(summary), Console(width=160, file=io.StringIO()))
    assert f"on average the policy is {CALLED}" in " ".join(text.split())
    lines = show(build(tmp_path / "runs"), "markdown").splitlines()
    (timid,) = (line for line in lines if "timid" in line)
    (bold,) = (line for line in lines if "bold" in line)
    assert f"[{CALLED}]" in timid and "reference policy" not in bold
    write_page(tmp_path / "runs", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count(f'<span class="tag">{CALLED}</span>') == 1
    assert page.count(f'"near":"{CALLED}"') + page.count(f'"near": "{CALLED}"') == 1

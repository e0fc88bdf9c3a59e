"""The frontier of reviews: the published runs, and what docs/results.md says of them."""

import pytest

from prefbench import registry
from prefbench.boards.frontier import frontiers_of, points_frame
from prefbench.boards.rows import load_rows
from support.published import PUBLISHED, cells_of, lines_of, runs_of

BEHIND = ("dpo", "gr_ipo", "is_dpo", "pecan")


@pytest.fixture(scope="module")
def frontiers():
    registry.load_plugins()
    return frontiers_of(load_rows(PUBLISHED / "reviews-frontier.zip"))


@pytest.fixture(scope="module")
def leads(frontiers, script):
    """Cells of the table of leads, by aligner and column."""
    head, *lines = lines_of(script("frontiers").leads(frontiers))
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


@pytest.fixture(scope="module")
def points(frontiers):
    return points_frame(frontiers).set_index(["aligner", "strength"])


def test_every_cell_of_the_sweep_was_run_once(frontiers):
    assert runs_of("reviews-frontier.zip") == cells_of("reviews-frontier.toml")
    assert len(frontiers) == 12 and all(list(found.points) == [0, 1, 2, 3, 4] for found in frontiers)


def test_those_that_diverged_have_no_point_at_that_strength(frontiers):
    short = {found.record.aligner for found in frontiers if len(found.strengths) < 6}
    assert short == {"mpo", "soups"}


def test_the_lead_is_not_a_matter_of_strength(leads):
    for name in ("single_reward", *BEHIND):
        for column in ("at 2 nats", "at 4 nats"):
            assert leads[name][column].startswith("**+")
            assert name == "single_reward" or float(leads[name][column].strip("*").split()[0]) >= 0.36
    assert not leads["single_reward"]["at 1 nats"].startswith("*")


def test_what_knowing_the_groups_is_worth_is_not_told(leads):
    for name in ("maxmin_known_groups", "mpo", "soups"):
        assert not any(cell.startswith("*") for cell in leads[name].values())
    assert all(cell.startswith("-0.0") for cell in leads["maxmin_known_groups"].values())


def test_gold_is_a_ceiling_at_equal_divergence(leads, frontiers):
    assert leads["gold_maxmin"]["at 2 nats"].startswith("*-") and leads["gold_maxmin"]["at 4 nats"][0] == "-"
    for nats in (2.0, 4.0):
        best = max((found for found in frontiers if found.at(nats)), key=lambda found: sum(found.at(nats)))
        assert best.record.aligner == "gold_maxmin"


def test_a_reward_that_was_followed_too_far_rises_while_the_truth_falls(points):
    weak, strong = (points.loc[("single_reward", strength)] for strength in (0.03, 1.0))
    assert weak["proxy"] > 16 > 1 > strong["proxy"] and weak["utility"] < -1.7 < 0.2 < strong["utility"]
    assert points.loc["dpo"]["worst_group"].max() < 0.41
    assert points.loc["single_reward"]["worst_group"].max() < 0.57
    driven, best = (points.loc[("maxmin", strength)] for strength in (0.03, 0.0605))
    assert driven["worst_group"] < 0.75 < 0.8 < best["worst_group"] and driven["proxy"] > best["proxy"]

"""The published boards of worlds: every aligner and twenty seeds, and they follow from their evidence."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from prefbench import registry
from prefbench.boards.csv_file import read_csv
from prefbench.boards.table import build
from prefbench.boards.verify import runs_in
from prefbench.sweep.file import read_sweep

PUBLISHED = Path(__file__).parents[2] / "leaderboard"
WORLDS = PUBLISHED / "worlds"
NAMES = sorted(path.stem for path in WORLDS.glob("*.zip"))
LARGE = {"bandit_two_group", "bandit_k_group", "gridworld_two_group"}


def test_every_cell_of_the_sweep_was_run():
    cells = read_sweep(str(PUBLISHED / "worlds.toml")).expand()
    assert Counter(cell.task for cell in cells) == {
        name: len(runs_in(WORLDS / f"{name}.zip")) for name in NAMES
    }


def test_every_aligner_that_gives_one_policy_is_there():
    registry.load_plugins()
    boards = {name: read_csv(WORLDS / f"{name}.csv") for name in NAMES}
    for name, board in boards.items():
        assert (board["status"] == "ok").all() and (board["n_seeds"] == 20).all(), name
    single = {
        entry.name
        for entry in registry.entries("aligner")
        if "finite" in entry.backbones and not entry.sees and entry.role != "floor"
    }
    assert single <= set().union(*(board["aligner"] for board in boards.values()))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in NAMES]
)
def test_a_board_follows_from_its_evidence(name):
    assert (WORLDS / f"{name}.zip").stat().st_size <= 15e6
    columns = [column for column in read_csv(WORLDS / f"{name}.csv").columns if column != "version"]
    made, read = build(WORLDS / f"{name}.zip")[columns], read_csv(WORLDS / f"{name}.csv")[columns]
    pd.testing.assert_frame_equal(made, read, check_dtype=False)

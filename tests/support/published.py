"""What holds of every published board, and what changes from one of its rows to another."""

import numpy as np
import pandas as pd

from prefbench import registry
from prefbench.boards.csv_file import read_csv
from prefbench.boards.rows import load_rows
from prefbench.boards.table import frame_of
from prefbench.record.files import find_records
from prefbench.spec import digest
from prefbench.stats.runs import mean_of_figures
from prefbench.sweep.file import read_sweep
from support.pages import ROOT

PUBLISHED = ROOT / "leaderboard"


def by_aligner(board):
    """Rows of a packed board that has each aligner once."""
    registry.load_plugins()
    return {row.first.aligner: row for row in load_rows(PUBLISHED / board)}


def mean_worst(row):
    """The mean over runs of each run's own worst group's win rate."""
    return float(np.mean([scores.mean() for scores in row.metric_scores("worst_group_win_rate")]))


def lines_of(table):
    """The cells of a markdown table's lines, its head first, without what marks names as code."""
    head, _, *lines = (
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines()
    )
    return [head, *lines]


def cells_of(sweep):
    """Short hashes of the cells of a published sweep file."""
    return {digest(cell.to_dict())[:16] for cell in read_sweep(str(PUBLISHED / sweep)).expand()}


def runs_of(board):
    """The same of the runs of a packed board."""
    return {record.spec_hash for _, record in find_records(PUBLISHED / board)}


def check_table(board):
    """A board's CSV is what its records make, whoever wrote it."""
    path = PUBLISHED / board
    frame, read = frame_of(load_rows(path)), read_csv(path.with_suffix(".csv"))
    columns = [column for column in frame.columns if column != "version"]
    pd.testing.assert_frame_equal(frame[columns], read[columns], check_dtype=False)


def change(last, first, figure, is_minority):
    """What a group's figure has in one row less what it has in another, seed by seed."""
    after, before = (
        {
            seed: next(getattr(g, figure) for g in record.groups if g.is_minority == is_minority)
            for seed, record in row.records.items()
        }
        for row in (last, first)
    )
    return mean_of_figures([after[seed] - before[seed] for seed in sorted(before)])

"""Responses of a policy to people under the controls, word for word, out of a run's evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prefbench.problem.strata import CONTROLS, Shown
from prefbench.record.evidence import read_evidence
from prefbench.record.files import PEOPLE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from prefbench.arrays import Ints

_ROW = ("prompt_id", "sample", "group")
"""Columns that say, within a stratum, which comparison a row is."""


def unlike_items(items: pd.DataFrame, table: pd.DataFrame, name: str, samples: int) -> Ints:
    """Rows of evidence on people whose text is not that of the items, as positions.

    Args:
        items: ordered by prompt and sample, all of both there.
        table: rows as `PEOPLE_COLUMNS` says.
        name: column of the text.
        samples: of each prompt.
    """
    place = table["prompt_id"].to_numpy() * samples + table["sample"].to_numpy()
    return np.flatnonzero(table[name].to_numpy(dtype=object) != items[name].to_numpy(dtype=object)[place])


def default_kept(folder: Path) -> bool:
    """True if those of whom nothing is known are given what the default policy says, as the items have it.

    Raises:
        UserError: the evidence cannot be read, or is incomplete.
    """
    items = read_evidence(folder, columns=["prompt_id", "sample", "response"]).to_pandas()
    ordered = items.sort_values(["prompt_id", "sample"], kind="stable", ignore_index=True)
    samples = int(ordered["sample"].max()) + 1
    table = _said(folder)
    unknown = table[~table["seen"].astype(bool) & (table["n"] == 0)]
    return not len(unlike_items(ordered, unknown, "response", samples))


def unmoved(folder: Path) -> set[Shown]:
    """Controls under which the policy says to everybody word for word what it says by her own context.

    Raises:
        UserError: the evidence cannot be read.
    """
    table = _said(folder)
    found: set[Shown] = set()
    for control in CONTROLS:
        rows = table[table["context"] == control]
        if rows.empty:
            continue
        own = table[
            (table["context"] == "own") & ~table["seen"].astype(bool) & (table["n"] == rows["n"].max())
        ]
        ours, theirs = (each.sort_values(list(_ROW))["response"].tolist() for each in (own, rows))
        if ours == theirs:
            found.add(control)
    return found


def _said(folder: Path) -> pd.DataFrame:
    columns = [*_ROW, "seen", "n", "context", "response"]
    frame: pd.DataFrame = read_evidence(folder, PEOPLE_FILE, columns).to_pandas()
    return frame

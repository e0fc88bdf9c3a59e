"""Tables of docs/results.md on tuned options: what tuning chose, what it moved, and who is first after it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from claims import WORST, marked

from prefbench.boards.ranks import compare, ranked, roles
from prefbench.boards.rows import Row
from prefbench.sweep.tuned import Tuned


def with_kept(default: Sequence[Row], moved: Sequence[Row], tuned: Tuned) -> list[Row]:
    """Every tuned aligner's row: of new options, or the default's where tuning kept the defaults.

    Args:
        default: rows of one board, an aligner once.
        moved: the same, of aligners whose options tuning moved.
        tuned: what tuning chose.
    """
    found = {row.first.aligner for row in moved}
    named = {each.name for each in tuned.aligners}
    return [*moved, *(row for row in default if row.first.aligner in named - found)]


def chosen(default: Row, tuned: Row) -> str:
    """The options in which a tuned row is another than that of the defaults, if there are."""
    before, after = (row.first.spec["aligner_options"] for row in (default, tuned))
    moved = {name: value for name, value in after.items() if before.get(name) != value}
    return ", ".join(f"`{name}={_shown(value)}`" for name, value in sorted(moved.items()))


def moved(default: Sequence[Row], tuned: Sequence[Row]) -> str:
    """What tuning moved: one row for each learner, the largest tuned worst group first.

    Bold is surely more than with the defaults, in italics surely less, by seed and corrected by Holm over
    the learners whose options are others. Ranks are among tuned learners.

    Args:
        default: rows of one board, an aligner once.
        tuned: the same, of tuned options.
    """
    before = {row.first.aligner: row for row in default}
    found = [(row, rank) for row, rank in ranked(tuned, roles(tuned)) if rank is not None]
    changes = {
        row.first.aligner: compare(row, before[row.first.aligner], WORST)[0]
        for row, _ in found
        if chosen(before[row.first.aligner], row)
    }
    shown = dict(zip(changes, marked(list(changes.values())), strict=True))
    lines = []
    for row, rank in found:
        name = row.first.aligner
        both = [before[name], row] if name in changes else [row]
        lines.append(
            {
                "aligner": f"`{name}`",
                "needs": ", ".join(row.first.needs) or "nothing",
                "rank": f"{rank.rank} [{rank.low}, {rank.high}]",
                "chosen": chosen(before[name], row) or "the defaults",
                "default": f"{_worst(before[name]):.2f}",
                "tuned": f"{_worst(row):.2f}",
                "KL": " to ".join(filter(None, map(_kl, both))),
                "change [95%]": shown.get(name, ""),
            }
        )
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def order(boards: dict[str, Sequence[Row]], family: Collection[str]) -> str:
    """Ranks of a family of aligners among themselves, one column for each board; by the last one's order.

    In brackets are the ranks that cannot be ruled out, for all of the family at once.
    """
    columns: dict[str, dict[str, str]] = {}
    for name, rows in boards.items():
        mine = [row for row in rows if row.first.aligner in family]
        columns[name] = {
            f"`{row.first.aligner}`": f"{rank.rank} [{rank.low}, {rank.high}]: {_worst(row):.2f}"
            for row, rank in ranked(mine, roles(mine))
            if rank is not None
        }
    table = pd.DataFrame(columns)
    table = table.loc[list(columns[list(boards)[-1]])].rename_axis("aligner").reset_index()
    return table.fillna("").to_markdown(index=False, disable_numparse=True)


def _worst(row: Row) -> float:
    """The mean over seeds of each run's own worst group."""
    return float(np.mean([scores.mean() for scores in row.metric_scores(WORST)]))


def _kl(row: Row) -> str:
    """The mean divergence from the reference, in nats; empty where it is not known of a run."""
    found = [record.kl for record in row.records.values() if record.kl is not None]
    return f"{np.mean(found):.1f}" if len(found) == len(row.records) else ""


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

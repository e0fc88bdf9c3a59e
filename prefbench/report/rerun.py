"""Runs computed anew from their specification: what no look at the evidence alone can tell.

Texts that somebody made up, a copy whose original is not on the board and a divergence that was written in
have nothing against them but that the code does not give them.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench import registry
from prefbench.errors import PrefbenchError
from prefbench.report.record import Record, read_items, read_record, sorted_items
from prefbench.report.verify_run import Checked, not_built
from prefbench.running.run import run
from prefbench.seeds import rng
from prefbench.spec import RunSpec
from prefbench.text import message_line

NEAR = 1e-4
"""Nats that a divergence may differ by where the texts are the same."""
_Z = 1.96


@dataclass(frozen=True)
class Rerun:
    """A run that was computed anew, and what differs."""

    folder: Path
    wrong: tuple[str, ...]
    said: str
    """How it was compared, or why it could not be computed."""
    done: bool = True


def draw(runs: Sequence[Checked], count: int, seed: int, fetch: bool = False) -> list[Checked]:
    """So many of the runs that ended well, at random.

    Left out are those that are wrong as they are, of a plug-in that is not here, or too large; and, without
    `fetch`, those that name a file, an address or something to fetch: a stranger's record does not decide
    where this machine connects to.
    """
    able = [each for each in runs if each.record and _may_run(each, each.record, fetch)]
    picked = rng(seed, "rerun").permutation(len(able))[:count]
    return [able[index] for index in sorted(picked.tolist())]


def _may_run(checked: Checked, record: Record, fetch: bool) -> bool:
    if checked.wrong or checked.absent or record.status != "ok":
        return False
    preset = any(entry.name == record.model for entry in registry.entries("model"))
    return (preset or fetch) and not_built(record, fetch) is None


def rerun(runs: Sequence[Checked]) -> Iterator[Rerun]:
    """Compute runs anew, in one temporary folder so that they share what they can, and compare each."""
    with tempfile.TemporaryDirectory(prefix="prefbench-rerun.") as temporary:
        for each in runs:
            assert each.record is not None
            try:
                folder, record = run(RunSpec(**each.record.spec), Path(temporary))
            except PrefbenchError as error:
                yield Rerun(each.folder, (), f"not computed: {message_line(error)}", done=False)
                continue
            if record.status != "ok":
                yield Rerun(each.folder, (f"computed anew it ended as {record.status}",), "as a whole")
                continue
            yield _compared(each.folder, folder, record)


def _compared(stored: Path, made: Path, record: Record) -> Rerun:
    """A run against the same made here.

    Where the same code draws the same reference responses, this machine rounds as the other one did, and the
    policy must say the same too. Otherwise figures must agree within their intervals.
    """
    theirs = read_record(stored)
    names = [group.name for group in record.groups]
    old, new = (sorted_items(read_items(folder), names)[0] for folder in (stored, made))
    same_code = theirs.code is not None and (theirs.code, theirs.numerics) == (record.code, record.numerics)
    if same_code and old["reference_response"].tolist() == new["reference_response"].tolist():
        differing = int((old["response"] != new["response"]).sum())
        wrong = [f"{differing} of {len(new)} responses are not what the code says"] if differing else []
        if not differing and not np.allclose(old["kl"], new["kl"], rtol=NEAR, atol=NEAR, equal_nan=True):
            wrong.append("kl is not what the code gives")
        return Rerun(stored, tuple(wrong), "text by text")
    wrong = [
        f"{name} is {before.estimate:.4g} ({before.low:.4g} to {before.high:.4g}), computed anew "
        f"{after.estimate:.4g} ({after.low:.4g} to {after.high:.4g})"
        for name, before, after in _figures(theirs, record, old, new)
        if before.low > after.high or after.low > before.high
    ]
    return Rerun(stored, tuple(wrong), "by figures and their intervals")


@dataclass(frozen=True)
class _Figure:
    estimate: float
    low: float
    high: float


def _figures(
    theirs: Record, ours: Record, old: pd.DataFrame, new: pd.DataFrame
) -> Iterator[tuple[str, _Figure, _Figure]]:
    """Figures of two runs of one specification with their 95% intervals."""
    for before, after in zip(theirs.groups, ours.groups, strict=True):
        first, second = (_Figure(group.win_rate, group.ci_low, group.ci_high) for group in (before, after))
        yield f"win rate of {before.name}", first, second
    for name in ("words", "reference_words", "kl"):
        if name != "kl" or not (old[name].isna().any() or new[name].isna().any()):
            yield f"mean {name}", _mean(old[name]), _mean(new[name])


def _mean(column: pd.Series[float]) -> _Figure:
    mean, error = float(column.mean()), _Z * float(column.std(ddof=0)) / math.sqrt(len(column))
    return _Figure(mean, mean - error, mean + error)

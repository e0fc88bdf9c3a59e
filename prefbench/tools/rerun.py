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

from prefbench import registry
from prefbench.boards.names import config_hash
from prefbench.errors import PrefbenchError
from prefbench.record.checked import Checked
from prefbench.record.evidence import read_items, sorted_items
from prefbench.record.files import read_record
from prefbench.record.problems import not_built
from prefbench.record.schema import Record
from prefbench.running.run import run
from prefbench.seeds import rng
from prefbench.spec import stored_spec
from prefbench.text import message_line

NEAR_NATS = 1e-4
"""Nats that a divergence may differ by where the texts are the same."""
_Z = 1.96


@dataclass(frozen=True)
class Rerun:
    """A run that was computed anew, and what differs."""

    folder: Path
    wrong: tuple[str, ...]
    said: str
    """The way it was compared, or the reason why it could not be computed."""
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
    return (preset or fetch) and not_built(record, fetch, large=False) is None


def rerun(runs: Sequence[Checked], board: Sequence[Checked] = ()) -> Iterator[Rerun]:
    """Compute runs anew, in one temporary folder so that they share what they can, and compare each.

    Args:
        runs: from `draw`.
        board: all runs; the other seeds of a run say how much training alone moves a figure.
    """
    with tempfile.TemporaryDirectory(prefix="prefbench-rerun.") as temporary:
        for each in runs:
            assert each.record is not None
            try:
                folder, record = run(stored_spec(each.record.spec), Path(temporary))
            except PrefbenchError as error:
                yield Rerun(each.folder, (), f"not computed: {message_line(error)}", done=False)
                continue
            if record.status != "ok":
                yield Rerun(each.folder, (f"computed anew it ended as {record.status}",), "as a whole")
                continue
            yield _compared(each.folder, folder, record, _other_seeds(each.record, board))


def _other_seeds(record: Record, board: Sequence[Checked]) -> list[Path]:
    """Runs of the same specification but for the seed that look well."""
    row = config_hash(record.spec)
    return [
        each.folder
        for each in board
        if each.record is not None
        and not each.wrong
        and each.record.status == "ok"
        and each.record.seed != record.seed
        and config_hash(each.record.spec) == row
    ]


def _compared(stored: Path, made: Path, record: Record, siblings: Sequence[Path]) -> Rerun:
    """A run against the same made here.

    Where the same code draws the same reference responses, this machine rounds as the other one did, and the
    policy must say the same too. Otherwise training goes another way, as it does with another seed: each
    figure's interval must meet that of the stored run or one that reaches over all its seeds.
    """
    theirs = read_record(stored)
    names = [group.name for group in record.groups]
    old, new = (sorted_items(read_items(folder), names)[0] for folder in (stored, made))
    same_code = theirs.code is not None and (theirs.code, theirs.numerics) == (record.code, record.numerics)
    if same_code and old["reference_response"].tolist() == new["reference_response"].tolist():
        differing = int((old["response"] != new["response"]).sum())
        wrong = [f"{differing} of {len(new)} responses are not what the code says"] if differing else []
        if not differing and not np.allclose(
            old["kl"], new["kl"], rtol=NEAR_NATS, atol=NEAR_NATS, equal_nan=True
        ):
            wrong.append("kl is not what the code gives")
        return Rerun(stored, tuple(wrong), "text by text")
    wrong = [
        f"{name} is {before.estimate:.4g} ({before.low:.4g} to {before.high:.4g}), computed anew "
        f"{after.estimate:.4g} ({after.low:.4g} to {after.high:.4g})"
        for name, before, after in _figures([stored, *siblings], made)
        if before.low > after.high or after.low > before.high
    ]
    return Rerun(stored, tuple(wrong), "by figures")


@dataclass(frozen=True)
class _Figure:
    estimate: float
    low: float
    high: float


def _figures(stored: Sequence[Path], made: Path) -> Iterator[tuple[str, _Figure, _Figure]]:
    """Figures of a run and of the same made here; the first's intervals reach over its other seeds too."""
    first, *others = (_measured(folder) for folder in stored)
    for name, after in _measured(made).items():
        if name in first:
            seeds = [first[name], *(each[name] for each in others if name in each)]
            low, high = min(each.low for each in seeds), max(each.high for each in seeds)
            yield name, _Figure(first[name].estimate, low, high), after


def _measured(folder: Path) -> dict[str, _Figure]:
    """Figures of a run with their 95% intervals; no divergence where it is not known."""
    record = read_record(folder)
    items = read_items(folder)
    found = {
        f"win rate of {group.name}": _Figure(group.win_rate, group.ci_low, group.ci_high)
        for group in record.groups
    }
    for name in ("words", "reference_words", "kl"):
        if not items[name].isna().any():
            mean = float(items[name].mean())
            error = _Z * float(items[name].std(ddof=0)) / math.sqrt(len(items))
            found[f"mean {name}"] = _Figure(mean, mean - error, mean + error)
    return found

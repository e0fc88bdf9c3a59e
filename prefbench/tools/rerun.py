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
from typing import TYPE_CHECKING, Literal

import numpy as np

from prefbench.boards.names import config_hash
from prefbench.errors import PrefbenchError
from prefbench.record.anonymous import ARCHITECTURES, architecture
from prefbench.record.checked import Checked
from prefbench.record.evidence import later_columns, read_items, sorted_items
from prefbench.record.files import read_record
from prefbench.record.problems import hub
from prefbench.record.schema import Record
from prefbench.running.run import run
from prefbench.seeds import rng
from prefbench.spec import get_model, stored_spec
from prefbench.text import message_line
from prefbench.tools.rerun_limits import why_not_run

if TYPE_CHECKING:
    import pandas as pd

Check = Literal["texts", "figures"]
"""The part of a run that is compared with the same computed anew."""

NEAR_NATS = 1e-4
"""Nats that a divergence may differ by where the texts are the same."""
_Z = 1.96


@dataclass(frozen=True)
class Rerun:
    """A run that was computed anew, and what differs."""

    folder: Path
    wrong: tuple[str, ...]
    said: str
    """The way it was compared and why, or the reason why it was not computed."""
    how: Check | None
    """The part that was compared; None where it was not computed."""


def draw(
    runs: Sequence[Checked], count: int, seed: int, *, fetch: bool = False, large: bool = False
) -> tuple[list[Checked], list[Rerun]]:
    """So many of the runs that ended well, at random, and those that were passed over on the way.

    Left out are those that are wrong as they are or of a plug-in that is not here. Passed over and told are
    those that `why_not_run` has something against: a stranger's record decides neither where this machine
    connects to nor how long it computes.
    """
    able = [
        each
        for each in runs
        if not (each.wrong or each.absent) and each.record and each.record.status == "ok"
    ]
    drawn: dict[int, Checked] = {}
    passed: list[Rerun] = []
    with hub(fetch):
        for index in rng(seed, "rerun").permutation(len(able)).tolist():
            if len(drawn) == count:
                break
            each = able[index]
            assert each.record is not None
            reason = why_not_run(each.record, fetch, large)
            if reason is None:
                drawn[index] = each
            else:
                passed.append(Rerun(each.folder, (), f"not computed: {reason}", None))
    return [drawn[index] for index in sorted(drawn)], passed


def rerun(runs: Sequence[Checked], board: Sequence[Checked] = (), *, fetch: bool = False) -> Iterator[Rerun]:
    """Compute runs anew, in one temporary folder so that they share what they can, and compare each.

    Args:
        runs: from `draw`.
        board: all runs; the other seeds of a run say how much training alone moves a figure.
        fetch: whether something may be taken from the hub.
    """
    with tempfile.TemporaryDirectory(prefix="prefbench-rerun.") as temporary:
        for each in runs:
            assert each.record is not None
            try:
                with hub(fetch):
                    folder, record = run(stored_spec(each.record.spec), Path(temporary))
            except PrefbenchError as error:
                yield Rerun(each.folder, (), f"not computed: {message_line(error)}", None)
                continue
            if record.status != "ok":
                yield Rerun(
                    each.folder, (f"computed anew it ended as {record.status}",), "as a whole", "figures"
                )
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

    Where nothing explains another text (`_why_other_texts`) the policy must say the same. Otherwise training
    goes another way, as it does with another seed: each figure's interval must meet that of the stored run or
    one that reaches over all its seeds.
    """
    theirs = read_record(stored)
    names = [group.name for group in record.groups]
    old, new = (sorted_items(read_items(folder), names)[0] for folder in (stored, made))
    reason = _why_other_texts(theirs, record, old, new)
    if reason is None:
        differing = int((old["response"] != new["response"]).sum())
        wrong = [f"{differing} of {len(new)} responses are not what the code says"] if differing else []
        known = [name for name in ("kl", *later_columns(old.columns)) if name in new]
        if not differing:
            wrong += [
                f"{name} is not what the code gives" for name in known if not _near(old[name], new[name])
            ]
        return Rerun(stored, tuple(wrong), "text by text", "texts")
    wrong = [
        f"{name} is {before.estimate:.4g} ({before.low:.4g} to {before.high:.4g}), computed anew "
        f"{after.estimate:.4g} ({after.low:.4g} to {after.high:.4g})"
        for name, before, after in _figures([stored, *siblings], made)
        if before.low > after.high or after.low > before.high
    ]
    return Rerun(stored, tuple(wrong), f"by figures: {reason}", "figures")


def _near(one: pd.Series[float], other: pd.Series[float]) -> bool:
    return bool(np.allclose(one, other, rtol=NEAR_NATS, atol=NEAR_NATS, equal_nan=True))


def _why_other_texts(theirs: Record, ours: Record, old: pd.DataFrame, new: pd.DataFrame) -> str | None:
    """The reason why an honest run's texts may differ from those made here; None if there is none.

    `numerics` is raised by every change that moves more than rounding, so what else a record says of its code
    excuses nothing. Whether this machine rounds as the other one is seen in the reference responses: where
    they were trained for, or come of tables, their being the same tells it, whatever hardware is said. A
    model that nobody trained says the same on many machines, and there the hardware is believed.
    """
    if theirs.numerics is None:
        return "it was made before numerics were counted"
    if theirs.numerics != ours.numerics:
        return f"it was made with numerics {theirs.numerics}, these are {ours.numerics}"
    if old["reference_response"].tolist() != new["reference_response"].tolist():
        return "its reference responses are not those drawn here: another machine, or edited"
    trained = ours.spec["model_options"].get("steps") or get_model(ours.model).backbone == "finite"
    if not trained and _machine(theirs) != _machine(ours):
        return f"it was made on {' with torch '.join(_machine(theirs))}, as it says"
    return None


def _machine(record: Record) -> tuple[str, str]:
    """Architecture and torch's public version, which a packed record has kept too."""
    made = record.provenance
    known = made.hardware if made.hardware in ARCHITECTURES else architecture(made.hardware)
    return known, str(made.torch).split("+")[0]


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

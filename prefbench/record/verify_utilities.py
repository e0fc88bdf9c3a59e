"""Utilities of a run's responses, computed again from the texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prefbench.problem.problem import Group, Problem, with_instruction
from prefbench.record.alike import TOLERANCE
from prefbench.record.checked import Checked
from prefbench.record.files import PROMPTED_FILE
from prefbench.record.schema import Record
from prefbench.record.verify_texts import empty_differs

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.arrays import Floats

TIE = 1e-9
"""Utilities as near as this are a tie, as in `evaluate.win_rate`."""


def check_utility(
    checked: Checked,
    group: Group,
    table: pd.DataFrame,
    asked: list[str],
    columns: tuple[str, str],
    called: str,
) -> None:
    """A group's utilities of both responses, computed again from the texts."""
    utility = group.utility
    ours, theirs = table["response"].tolist(), table["reference_response"].tolist()
    found = utility.recalled(checked.folder.parent, asked, ours, theirs)
    if found is None:
        checked.unchecked.append(f"utility of {called}: it is fitted by the run, on the run's own model")
        return
    known = ~np.isnan(found[0])
    if not known.all():
        said = f"utility of {called}: {int((~known).sum())} of {len(known)} verdicts are not beside the runs"
        checked.unchecked.append(said)
    if not known.any():
        return
    stored = [table[name].to_numpy(dtype=np.float64)[known] for name in columns]
    computed = [np.asarray(values, dtype=np.float64)[known] for values in found]
    apart = rows_apart(stored, computed)
    if apart.any():
        checked.wrong.append(
            f"utility of {called} is not what the task computes from the texts in {int(apart.sum())} rows"
        )


def rows_apart(stored: Sequence[Floats], computed: Sequence[Floats]) -> npt.NDArray[np.bool_]:
    """Rows of which utilities of a pair of responses differ, or who of the two has the larger one."""
    apart = np.zeros(len(stored[0]), dtype=bool)
    for written, value in zip(stored, computed, strict=True):
        apart |= ~(np.abs(written - value) <= TOLERANCE * np.maximum(1.0, np.abs(value)))
    return np.asarray(apart | (_won(*stored) != _won(*computed)))


def _won(ours: Floats, theirs: Floats) -> Floats:
    """1 where the first is larger, -1 where the second is, 0 at a tie."""
    difference = ours - theirs
    return np.where(np.abs(difference) <= TIE, 0.0, np.sign(difference))


def check_prompted(checked: Checked, record: Record, problem: Problem) -> None:
    """Responses to prompts with an instruction: the prompts, the flags and the utilities."""
    told = [group for group in problem.groups if group.instruction is not None]
    if not told or "prompted" not in checked.tables:
        return
    table = checked.tables["prompted"]
    test = np.asarray(problem.measured, dtype=object)
    for group in told:
        mine = table[table["group"] == group.name].sort_values(["prompt_id", "sample"], kind="stable")
        called = f"{group.name}, prompted,"
        ids = np.repeat(np.arange(len(test)), record.samples_per_prompt or 1)
        if len(mine) != len(ids) or (mine["prompt_id"].to_numpy() != ids).any():
            checked.wrong.append(f"{PROMPTED_FILE} does not count the test prompts for {group.name}")
            continue
        for name in ("prompt", "response", "reference_response"):
            if not all(isinstance(text, str) for text in mine[name].tolist()):
                checked.wrong.append(f"column {name} of {PROMPTED_FILE} is not text")
                return
        asked = test[ids].tolist()
        put = [with_instruction(prompt, str(group.instruction)) for prompt in asked]
        if mine["prompt"].tolist() != put:
            checked.wrong.append(f"the prompts of {called} are not the task's with its instruction")
        for text, flag in (("response", "empty"), ("reference_response", "reference_empty")):
            checked.wrong += [f"{PROMPTED_FILE}: {said}" for said in empty_differs(mine, text, flag)]
        check_utility(checked, group, mine, asked, ("utility", "reference_utility"), called)

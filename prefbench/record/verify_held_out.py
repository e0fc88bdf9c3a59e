"""Evidence on held-out labels, held against the labels that the problem's people gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefbench.problem.held_out import held_out_labels
from prefbench.problem.problem import Problem
from prefbench.record.checked import Checked
from prefbench.record.files import HELD_OUT_FILE
from prefbench.record.schema import Record

if TYPE_CHECKING:
    import pandas as pd

TOLD = ("prompt_id", "person", "group", "seen", "strength")
"""Columns that follow from the labels alone; the margins are a model's."""


def check_held_out(checked: Checked, record: Record, problem: Problem) -> None:
    """The table of held-out labels: who gave which, and of whom how much was known."""
    due = held_out_labels(problem, record.seed)
    if record.held_out is None or due is None:
        if record.held_out is not None:
            checked.wrong.append("held_out is there, and the task brought no labels to measure by")
        return
    checked.wrong += _labels_differ(checked.tables["held_out"], due)


def _labels_differ(table: pd.DataFrame, due: pd.DataFrame) -> list[str]:
    if table.duplicated(["label", "n"]).any():
        return [f"{HELD_OUT_FILE} has a label twice at one n"]
    if set(table["label"].tolist()) != set(due["label"].tolist()):
        return [f"{HELD_OUT_FILE} does not have the labels that the task holds out"]
    whole = table.merge(due, on="label", suffixes=("", "/due"))
    wrong = []
    for name in TOLD:
        differing = int((whole[name] != whole[f"{name}/due"]).sum())
        if differing:
            wrong.append(f"{HELD_OUT_FILE}: {name} is not that of the task's labels in {differing} rows")
    known = int((whole["seen"] & (whole["n"] != whole["n/due"])).sum())
    if known:
        wrong.append(f"{HELD_OUT_FILE}: n is not the number of labels in training in {known} rows")
    return wrong

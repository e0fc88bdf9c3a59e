"""Tuning files, and what tuning found."""

from pathlib import Path

from prefbench.sweep.tuned import read_tuned
from support.commands import typed
from support.sweeps import written


def tuned(text: str, *more: object, code: int = 0):
    """The result of a tuning file of this text."""
    outcome = typed("tune", written(text, "tune.toml"), "--quiet", *more)
    assert outcome.code == code, outcome.err
    return read_tuned(Path("tune.tuned.json"))

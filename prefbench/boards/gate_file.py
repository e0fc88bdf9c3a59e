"""The question put to a gate: its checks, from a gate file or from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefbench.boards.columns import METRICS
from prefbench.config import Check, GateFile, read
from prefbench.errors import UserError
from prefbench.registry import suggest

GATE_METRICS = tuple(metric for metric in METRICS if metric != "gap")
GROUP = "group/"
"""Prefix of a group's name: its own win rate as a metric. The CSV has none, so it needs the baseline's
runs."""
METRIC, MARGIN, LEVEL = Check().metric, Check().margin, 0.05
Key = tuple[str, str, str, float, str, str]


def fits(check: Check, key: Key) -> bool:
    """True if a check is asked of a row."""
    task, _, _, ratio, aligner, _ = key
    return (
        (check.task is None or check.task in (task, task.rpartition("@")[0]))
        and (check.aligner is None or check.aligner == aligner)
        and (check.minority_ratio is None or abs(check.minority_ratio - ratio) < 1e-9)
    )


def read_gate_file(path: Path) -> GateFile:
    """A gate file: `level`, `strict`, `allow_undecided`, `prompts_only` and tables `[[check]]` as `Check`.

    Raises:
        UserError: if it is no TOML, or has a key or a value that does not fit.
    """
    said = read(GateFile, str(path))
    for check in said.check:
        check_metric(check)
    return said


def parse_checks(metrics: Sequence[str], margin: float = MARGIN) -> tuple[Check, ...]:
    """`minority_win_rate=0.05` as checks; what names no margin has the given one.

    Raises:
        UserError: if the metric is unknown or the margin is no share.
    """
    checks = []
    for text in metrics:
        name, equals, value = text.rpartition("=") if "=" in text else (text, "", "")
        try:
            checks.append(Check(metric=name.strip(), margin=float(value) if equals else margin))
        except ValueError:
            raise UserError(
                f"--metric {text}: write it as NAME or NAME=MARGIN, such as {METRIC}=0.03."
            ) from None
        check_metric(checks[-1])
    return tuple(checks)


def check_metric(check: Check) -> None:
    """Refuse a check whose metric is unknown or whose margin is no share.

    Raises:
        UserError: if it is so.
    """
    if check.metric not in GATE_METRICS and not (check.metric.startswith(GROUP) and check.metric != GROUP):
        raise UserError(f"unknown metric '{check.metric}'.{suggest(check.metric, GATE_METRICS)}")
    if not 0 <= check.margin < 1:
        raise UserError(f"margin {check.margin} is not in [0, 1): five points are 0.05.")

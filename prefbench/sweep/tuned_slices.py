"""Configurations that tuning tried, as the figure of an aligner's options takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefbench.errors import UserError
from prefbench.registry import find, role_of, suggest
from prefbench.report.figures import ratio_label
from prefbench.report.slices_plot import Configuration, Slices
from prefbench.report.styles import styles_of
from prefbench.spec import defaults_of
from prefbench.sweep.tuned import TunedAligner, read_tuned


def tuned_slices(path: Path, aligners: Sequence[str] | None = None) -> list[Slices]:
    """The configurations of each aligner in a file of `prefbench tune`, by the score that chose among them.

    Scores are means over the seeds of the rungs that a configuration reached.

    Args:
        path: the file.
        aligners: which; all if left out.

    Raises:
        UserError: it cannot be read, or lacks an aligner.
    """
    tuned = read_tuned(path)
    known = [each.name for each in tuned.aligners]
    for name in aligners or ():
        if name not in known:
            raise UserError(f"'{path}' has no aligner '{name}'.{suggest(name, known)}")
    styles = styles_of({each.name: role_of(each.name, each.needs) or "learner" for each in tuned.aligners})
    parts = [f"{tuned.task}@{tuned.task_version}", tuned.model, tuned.data, ratio_label(tuned.minority_ratio)]
    return [
        Slices(
            each.name,
            ", ".join(parts),
            f"{each.measure or 'score'} on validation ({each.rule})",
            styles[each.name],
            _configurations(each),
        )
        for each in tuned.aligners
        if not aligners or each.name in aligners
    ]


def _configurations(found: TunedAligner) -> tuple[Configuration, ...]:
    entry = find("aligner", found.name)
    usual = {} if entry is None else defaults_of(entry.options, found.space)
    most = max(len(each.trials) for each in found.tried)
    chosen = found.chosen.get(found.rule)
    return tuple(
        Configuration(
            {name: value for name, value in {**usual, **each.options}.items() if value is not None},
            each.scores[found.rule],
            chosen=each.index == chosen,
            whole=len(each.trials) == most,
        )
        for each in found.tried
        if each.scores is not None
    )

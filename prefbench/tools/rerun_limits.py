"""Limits of the runs of other people's records that are computed anew.

A record says how much is computed and on which model. Without the reader's word nothing is fetched, no option
may count more than ten times its default, and the work may be no more than ten default runs, as far as
`estimate` knows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefbench.backbone.options import PretrainedOptions
from prefbench.consent import without_keys
from prefbench.errors import UserError
from prefbench.estimate.estimate import estimate, problem_of
from prefbench.estimate.setting import shape_of
from prefbench.record.problems import LARGEST_RATIO, not_built, too_many
from prefbench.record.schema import Record
from prefbench.spec import RunSpec, get_model, make_spec, resolve, stored_spec
from prefbench.text import message_line, show_count


def why_not_run(record: Record, fetch: bool, large: bool) -> str | None:
    """The reason why a valid record's run is not computed anew; None where it is.

    Args:
        record: a record that is right as far as evidence tells.
        fetch: whether what is to be fetched, and files, may be used.
        large: whether it may take any time.
    """
    unbuilt = not_built(record, fetch, large)
    if unbuilt is not None:
        return unbuilt.reason
    try:
        options = get_model(record.model).options
        if issubclass(options, PretrainedOptions) and not fetch:
            return f"model '{record.model}' is a folder or is to be fetched: say --fetch if you trust it"
        return None if large else _too_much(_completed(stored_spec(record.spec)))
    except UserError as error:
        return message_line(error)
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        return f"its work cannot be estimated ({type(error).__name__}: {message_line(error)})"


def _completed(spec: RunSpec) -> RunSpec:
    """The specification with today's defaults for options that came since."""
    given = {**spec.sections(), "task": without_keys(spec.task_options)}
    owners: dict[str, Any] = {
        f"{section}_options": resolve(options, given[section], section, getattr(spec, section, "evaluator"))
        for section, options in spec.option_sets().items()
    }
    return replace(spec, **owners)


def _too_much(spec: RunSpec) -> str | None:
    """The work of a run that is more than a stranger's may be; None if it is not."""
    trust = "too much to compute, say --large if you trust it"
    for section, options in spec.option_sets().items():
        size = too_many(section, getattr(spec, f"{section}_options"), options)
        if size is not None:
            return f"{size}: {trust}"
    usual = make_spec(task=spec.task, aligner=spec.aligner, model=spec.model)
    shape, usual_shape = shape_of(spec), shape_of(usual)
    if shape is None or usual_shape is None:
        return None
    work = estimate(spec, shape, problem_of(spec)).flops
    most = LARGEST_RATIO * estimate(usual, usual_shape, problem_of(usual)).flops
    if work <= most:
        return None
    more = f"more than {LARGEST_RATIO} default runs ({show_count(most)})"
    return f"about {show_count(work)} FLOPs, {more}: {trust}"

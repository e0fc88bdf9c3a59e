"""Heads of models' cards, as the Hugging Face hub reads them, with results as a `model-index`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefbench.record.schema import Record
from prefbench.spec import SECTIONS, RunSpec
from prefbench.text import one_line
from prefbench.tools.markdown import shown

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


def header(
    library: str,
    base: str | None,
    pipeline: str,
    tags: Sequence[str],
    name: str | None = None,
    results: Sequence[EvalResult] = (),
) -> str:
    """The head of a model's card, between its two lines of dashes.

    Args:
        library: what loads it.
        base: the hub's name of the model that it derives from, if it has one.
        pipeline: the hub's name of what it does.
        tags: more that it is found by.
        name: what its results are told under; none of a model without any.
        results: of measuring it.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        library_name=library,
        base_model=base,
        pipeline_tag=pipeline,
        license="other",
        license_name="see-below",
        tags=[*tags, "alignment", "pluralism"],
        model_name=name,
        eval_results=list(results) or None,
    )
    return f"---\n{data.to_yaml().strip()}\n---"


def results_of(record: Record) -> list[EvalResult]:
    """The worst group's win rate, the gap and every group's win rate, each with its 95% interval."""
    measured = [
        ("worst_group_win_rate", "win rate of the worst group", record.worst_group_win_rate),
        ("gap", "gap, the best group's win rate less the worst group's", record.gap),
    ]
    intervals = {"worst_group_win_rate": record.worst_group_win_rate_ci, "gap": record.gap_ci}
    found = [_result(record, kind, name, value, intervals[kind]) for kind, name, value in measured]
    for group in record.groups:
        within = (group.ci_low, group.ci_high)
        name = f"win rate of {one_line(group.name)}"
        more = {"group": group.name, "share": group.share, "is_minority": group.is_minority}
        found.append(_result(record, "win_rate", name, group.win_rate, within, more))
    return found


def _result(
    record: Record,
    kind: str,
    name: str,
    value: float | None,
    interval: Sequence[float] | None,
    more: Mapping[str, Any] | None = None,
) -> EvalResult:
    from huggingface_hub import EvalResult

    assert value is not None and interval is not None  # of a run that ended well
    return EvalResult(
        task_type="text-generation",
        task_name="alignment under disagreement",
        dataset_type=record.task,
        dataset_name=f"prefbench {record.task}@{record.task_version}",
        dataset_split=record.split,
        dataset_args={
            "data": shown(record.data),
            "minority_ratio": record.minority_ratio,
            "seed": record.seed,
            "prompts": record.n_prompts,
            "samples_per_prompt": record.samples_per_prompt,
            "compared_with": "the reference policy",
            "specification": record.spec_hash,
            "numerics": record.numerics,
            "prefbench": record.provenance.prefbench,
            "commit": record.provenance.git,
        },
        metric_type=kind,
        metric_name=name,
        metric_value=value,
        metric_args={"ci_low": interval[0], "ci_high": interval[1], "level": 0.95, **(more or {})},
    )


def command_of(spec: RunSpec) -> str:
    """The command that runs a specification: options that are not the default, paths by their last part."""
    words = ["prefbench", "run", "--task", spec.task]
    if spec.outside is None:
        words += ["--aligner", spec.aligner]
    else:
        kind = spec.aligner.partition(":")[0]
        words += ["--policy", f"{kind}:{shown(spec.outside['source'])}"]
    words += ["--model", str(shown(spec.model)), "--data", str(shown(spec.data))]
    words += ["--minority-ratio", f"{spec.minority_ratio:g}", "--seed", str(spec.seed)]
    usual = spec.defaults()
    for section in SECTIONS:
        for name, value in getattr(spec, f"{section}_options").items():
            if name not in usual[section] or usual[section][name] != value:
                words += ["--set", f"{section}.{name}={_typed(value)}"]
    return one_line(shlex.join(words))  # a line of its own, whatever an option holds


def _typed(value: Any) -> str:
    """An option's value as `--set` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(shown(value))

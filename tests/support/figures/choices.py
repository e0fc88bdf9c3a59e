"""Options at which figures are computed: the defaults, small sizes, and each choice beside the default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from prefbench import registry
from support.figures.sections import EXACT, Figures, entries, section

FEW = {
    "iterations": 2,
    "batch": 12,
    "minibatches": 2,
    "epochs": 1,
    "reward_epochs": 1,
    "reward_group_epochs": 1,
    "reward_batch": 12,
    "em_iterations": 2,
    # Two starts that end in the same clusters under other numbers tie, and rounding would choose.
    "em_restarts": 0,
    "mpo_steps": 2,
    "mpo_batch": 8,
    "regret_prompts": 8,
}
"""Of every aligner that has the option."""
ELSEWHERE = {"label_smoothing": 0.1, "select_clusters": 2, "kl_target": 0.05, "discount": 0.9}
"""Options with a value at which something else is computed; those with a list of values are found."""


def few(entry: registry.Entry, **more: Any) -> dict[str, Any]:
    """Options of an aligner with which it takes two or three steps."""
    return {key: value for key, value in FEW.items() if key in entry.options.model_fields} | more


def variants(options: Any, besides: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
    """Each choice that options offer beside the defaults, one at a time; not those of the `besides`."""
    for name, field in options.model_fields.items():
        if any(name in other.model_fields for other in besides):
            continue
        if name in ELSEWHERE and field.annotation is not type(None):
            yield {name: ELSEWHERE[name]}
        for value in _choices(field.annotation):
            if value != field.default:
                yield {name: value}


def _choices(annotation: Any) -> tuple[Any, ...]:
    if annotation is bool:
        return (False, True)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(choice for part in get_args(annotation) for choice in _choices(part))
    return ()


def label(options: Mapping[str, Any]) -> str:
    """Options as part of a name."""
    return ",".join(f"{key}={value}" for key, value in options.items()) or "default"


@section("options", EXACT)
def defaults(folder: Path) -> Figures:
    """What is taken where nobody asks: a learning rate, a share, a number of steps."""
    result: Figures = {}
    kinds: tuple[registry.EntryKind, ...] = ("task", "aligner", "model")
    for kind in kinds:
        for entry in entries(kind):
            result[f"{kind} {entry.name}"] = {
                name: field.get_default(call_default_factory=True)
                for name, field in entry.options.model_fields.items()
                if not field.is_required()
            }
    return result

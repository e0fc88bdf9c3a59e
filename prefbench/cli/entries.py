"""Tasks, aligners and models as `list` and `show` tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from prefbench.text import one_line

if TYPE_CHECKING:
    from prefbench.registry import Entry


def summary_of(entry: Entry) -> dict[str, Any]:
    """Everything of an entry but its options, as JSON values."""
    return {
        "kind": entry.kind,
        "name": entry.name,
        "version": entry.version,
        "needs": sorted(entry.needs),
        "sees": sorted(entry.sees),
        "provides": sorted(entry.provides),
        "backbones": sorted(entry.backbones),
        "summary": entry.summary,
        "module": entry.function.__module__,
    }


def listed(names: Iterable[str]) -> str:
    """Names in the order of the alphabet."""
    return ", ".join(sorted(names)) or "nothing"


def options_of(entry: Entry) -> list[dict[str, Any]]:
    """Name, type, default and meaning of every option."""
    from pydantic_core import to_jsonable_python

    return [
        {
            "name": name,
            "type": ", ".join([_type_name(field.annotation), *_limits(field.metadata)]),
            "required": field.is_required(),
            "default": None
            if field.is_required()
            else to_jsonable_python(field.get_default(call_default_factory=True), fallback=str),
            "doc": one_line(field.description or ""),
        }
        for name, field in entry.options.model_fields.items()
    ]


def searched(entry: Entry) -> list[dict[str, Any]]:
    """Options that are searched, what each is drawn from, and the backbones on which it is."""
    from prefbench.registry import search_space

    rows: dict[str, dict[str, Any]] = {}
    for backbone in sorted(entry.backbones) if entry.kind == "aligner" else ():
        for name, drawn in search_space(entry.options, backbone).items():
            row = rows.setdefault(name, {"name": name, "from": str(drawn), "backbones": []})
            row["backbones"].append(backbone)
    return list(rows.values())


def _type_name(annotation: Any) -> str:
    """`int`, `float or none`, or the values to choose from."""
    import types
    import typing

    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type_name, parts))
    if origin is Annotated:
        return _type_name(parts[0])
    if annotation is type(None):
        return "none"
    return annotation.__name__ if isinstance(annotation, type) and not parts else str(annotation)


def _limits(metadata: Iterable[Any]) -> list[str]:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return [
        f"{sign} {getattr(limit, name)}"
        for limit in metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]

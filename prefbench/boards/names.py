"""Names of boards and of configurations, and what they are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from prefbench import registry
from prefbench.record.schema import Record
from prefbench.spec import EvaluateOptions, defaults_of, digest

if TYPE_CHECKING:
    from pydantic import BaseModel


NOT_OF_SETTING = frozenset({"aligner", "aligner_options", "seed", "tuning", "outside"})
"""Parts of a specification that are no part of what is asked for."""


def config_hash(spec: Mapping[str, Any]) -> str:
    """Hash of a specification, twelve hexadecimal digits, whatever its seed."""
    return digest({key: value for key, value in spec.items() if key != "seed"})[:12]


def made_by(numerics: int | None, code: str | None = None) -> str:
    """Numerics and code in words, None being from before they were kept."""
    counted = "a version before numerics" if numerics is None else f"numerics {numerics}"
    return counted if code is None else f"{counted}, code {code[:8]}"


def setting_digest(task: str, version: int, spec: Mapping[str, Any]) -> str:
    """Names what is asked for: a specification but for the aligner, its options and the seed."""
    asked = {k: v for k, v in spec.items() if k not in NOT_OF_SETTING}
    return digest([task, version, asked])[:16]


def setting_key(record: Record) -> str:
    """`setting_digest` of a record."""
    return setting_digest(record.task, record.task_version, record.spec)


def board_key(record: Record) -> str:
    """The settings within which rows may be compared: what is asked for, and the numerics that answered."""
    return json.dumps([setting_key(record), record.numerics])


def tuning_of(record: Record) -> str:
    """The tuning of a row's options for a reader: `default`, or the budget and the rule that chose them.

    Options that somebody set are `default` too; the variant says which.
    """
    tuning = record.tuning
    return "default" if tuning is None else f"{tuning.rule} of {tuning.configurations}"


def contest_of(record: Record) -> tuple[bool, int]:
    """Contest that a row is in: tuned or not, and how many configurations were tried for it.

    Rows are rivals where both are the same: an aligner with its defaults is none of a tuned one.
    """
    tuning = record.tuning
    return (False, 0) if tuning is None else (True, tuning.configurations)


KINDS = ("task", "aligner", "model", "evaluate")
"""Sections of a specification that have options, in the order in which they are told."""


def variant(record: Record, kinds: Sequence[str] = KINDS) -> str:
    """The options that are not the defaults of their time, as `aligner.beta=0.5, task.noise=2`, or nothing.

    What tuning chose has the word `tuned` before it, also where it chose the defaults. `kinds` are the
    sections that are told.

    Defaults are those that the record has; of an older one, which has none, the registry's. The options of an
    older record's plug-in that is not registered here cannot be told from defaults, so its rows show the
    specification's hash.
    """
    spec = record.spec
    changed = ["tuned"] if spec.get("tuning") and "aligner" in kinds else []
    for kind in kinds:
        options = spec.get(f"{kind}_options") or {}
        usual = _defaults(record, kind, options) if options else {}
        if usual is None:
            return f"config {config_hash(spec)}"
        section = "policy" if kind == "aligner" and spec.get("outside") else kind
        for name in sorted(options):
            if name not in usual or options[name] != usual[name]:
                changed.append(f"{section}.{name}={json.dumps(options[name])}")
    return ", ".join(changed)


def _defaults(record: Record, kind: str, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The defaults of a section of options when a record was made; None where nothing tells them."""
    if record.defaults is not None:
        return record.defaults.get(cast(Any, kind), {})
    known = _option_types(kind, str(record.spec.get(kind, "")))
    return None if known is None else defaults_of(known, options, record.numerics)


def _option_types(kind: str, name: str) -> type[BaseModel] | None:
    if kind == "evaluate":
        return EvaluateOptions
    found = registry.find(cast(registry.EntryKind, kind), name)
    if kind == "model" and found is None:
        found = registry.find("model", "pretrained")  # a folder or a hub id
    return None if found is None else found.options


def joined(values: Iterable[object]) -> str:
    """Values in a cell, blanks between them."""
    return " ".join(str(value) for value in values)


def board_name(record: Record) -> str:
    """A record's board for a reader: task@version, model, data and minority ratio."""
    return f"{record.task}@{record.task_version} {record.model} {record.data} {record.minority_ratio:g}"

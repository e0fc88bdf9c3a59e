"""The specification of a run: one frozen object, the same from the command line and from TOML."""

from __future__ import annotations

import hashlib
import json
import math
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from prefbench import files, registry
from prefbench.consent import KEY_OPTION, addresses, place_of
from prefbench.errors import UserError
from prefbench.file_plugins import option_for

SECTIONS = ("task", "aligner", "model", "evaluate")


USUAL: Mapping[str, Any] = {"split": "test", "tuning": None, "outside": None}
"""Parts of a specification that are written down only where they are otherwise."""


class EvaluateOptions(registry.Options):
    """Options of the measurement of a policy."""

    samples: int = Field(1, ge=1, le=64)
    """Responses per test prompt."""


@dataclass(frozen=True)
class RunSpec:
    """One run. Options are complete (defaults filled in), so equal runs have equal hashes.

    `data` is as the user named it; two folders with the same name differ in the stages' hashes, which
    are taken over content.
    """

    task: str
    aligner: str
    model: str
    data: str
    minority_ratio: float
    seed: int
    task_options: Mapping[str, Any] = field(default_factory=dict)
    aligner_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    evaluate_options: Mapping[str, Any] = field(default_factory=dict)
    split: str = "test"
    """Prompts that the policy is measured on, `test` or, in tuning, `validation`."""
    tuning: Mapping[str, Any] | None = None
    """Origin of tuned options, as `record.schema.TuningRecord` has it; None of others."""
    outside: Mapping[str, Any] | None = None
    """Source of a policy that stands in the aligner's place, and its trainer and link where they are said."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form, as the record stores it.

        What most runs lack is left out, so that it renames none of them.
        """
        return {
            key: dict(value) if isinstance(value, Mapping) else value
            for key, value in self.__dict__.items()
            if USUAL.get(key, ...) != value
        }

    def sections(self) -> dict[str, Mapping[str, Any]]:
        """The options by section, the address of a policy among them."""
        found = {section: getattr(self, f"{section}_options") for section in SECTIONS}
        return found if self.outside is None else found | {"policy": address_in(self.outside["source"])}

    def option_sets(self) -> dict[str, type[BaseModel]]:
        """The option sets by section.

        Raises:
            UserError: its task, aligner or model is not here.
        """
        entries = (registry.get("task", self.task), registry.get("aligner", self.aligner))
        owners = [*entries, get_model(self.model)]
        return dict(zip(SECTIONS, [*(owner.options for owner in owners), EvaluateOptions], strict=True))

    def defaults(self) -> dict[str, dict[str, Any]]:
        """The defaults of its options by section, as the record stores them."""
        return {
            section: defaults_of(options, getattr(self, f"{section}_options"))
            for section, options in self.option_sets().items()
        }

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that name this run."""
        return digest(self.to_dict())[:16]


def run_name(spec: RunSpec) -> str:
    """The run's folder: readable, safe whatever the names hold, and unique by the specification's hash."""
    parts = [spec.task, spec.aligner, Path(spec.model).name, f"r{spec.minority_ratio:g}", f"s{spec.seed}"]
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part).strip("._") for part in parts)
    return f"{readable}-{spec.hash[:12]}"


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse_ratio(text: str | float) -> float:
    """`0.2`, `4:1` or `20%` as the minority's share, to four decimals.

    Rounding makes `10:1` and `0.0909` the same run, as they are for any number of annotators that
    a person would label with.
    """
    try:
        if isinstance(text, str) and ":" in text:
            majority, minority = (float(part) for part in text.split(":"))
            ratio = minority / (majority + minority)
        elif isinstance(text, str) and text.endswith("%"):
            ratio = float(text[:-1]) / 100
        else:
            ratio = float(text)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        ratio = float("nan")
    ratio = round(ratio, 4)
    if not 0 < ratio <= 0.5:
        raise UserError(
            f"minority ratio '{text}' is not in (0, 0.5]: give a share such as 0.2 or a ratio such as 4:1."
        )
    return ratio


def parse_sets(items: Iterable[str]) -> dict[str, dict[str, str]]:
    """`--set task.annotators=20` items as `{"task": {"annotators": "20"}}`."""
    result: dict[str, dict[str, str]] = {}
    for item in items:
        name, equals, value = item.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            such = f"aligner.{item}" if equals and section and not dot else "task.annotators=40"
            raise UserError(f"--set {item}: write it as SECTION.NAME=VALUE, for example {such}.")
        result.setdefault(section, {})[key] = value.strip()
    return result


def read_toml(path: str, named: str = "--config ", hint: str = "") -> dict[str, Any]:
    """The value of a TOML file; errors call it `named` and its path, and end with a hint where it is missing.

    Raises:
        UserError: there is no such file, or no parser takes it.
    """
    try:
        return files.read_toml(Path(path).expanduser())
    except FileNotFoundError:
        raise UserError(f"{named}{path}: no such file{hint}.") from None
    except OSError as error:
        raise UserError(
            f"{named}{path}: not a readable TOML file, it cannot be read ({error.strerror})"
            "; make it readable."
        ) from None
    except (ValueError, RuntimeError) as error:  # also undecodable bytes, endless digits, no such home
        raise UserError(f"{named}{path}: not a readable TOML file ({error}).") from None


def address_in(source: str) -> dict[str, str]:
    """The source of a policy as an option, where it is a server's address; else nothing."""
    return addresses({"source_url": source})


def typed_address(policy: str | None) -> dict[str, dict[str, Any]]:
    """The address in a `--policy` that somebody typed, as options by section for `consent`."""
    return {"--policy": dict(address_in((policy or "").partition(":")[2].strip()))}


SAID_CHARACTERS = 200
"""Characters of a name, a trainer or a link that somebody gives a policy."""


def name_outside(
    policy: str, called: str | None = None, trainer: str | None = None, link: str | None = None
) -> tuple[str, dict[str, str]]:
    """The name that a policy from outside has among aligners, and what a specification says of it.

    Args:
        policy: `KIND:SOURCE`.
        called: its name; the source's own if left out.
        trainer: who or what trained it.
        link: where more of it is to be read.

    Raises:
        UserError: one line on the first thing that is wrong.
    """
    kind, colon, source = policy.partition(":")
    source = source.strip()
    if not colon or not source:
        kinds = ", ".join(entry.name for entry in registry.entries("policy"))
        raise UserError(
            f"policy '{policy}': write KIND:SOURCE, such as responses:outputs.jsonl; kinds are {kinds}."
        )
    registry.get("policy", kind)
    said = {"source": source, "trainer": trainer, "link": link}
    name = _own_name(source) if called is None else called
    for what, text in (("name", name), ("trainer", trainer), ("link", link)):
        if text is not None and not (text.strip() and text.isprintable() and len(text) <= SAID_CHARACTERS):
            raise UserError(
                f"the policy's {what} has to be one line of 1 to {SAID_CHARACTERS} printable characters: "
                "write it so."
            )
    if link is not None and not addresses({"link_url": link}):
        raise UserError(f"the policy's link {link!r} is no address: give one that begins with https://.")
    return f"{kind}:{name}", {what: text for what, text in said.items() if text is not None}


def _own_name(source: str) -> str:
    """The name of a source for a reader: a server's place, the last part of a path, else all of it."""
    if address_in(source):
        return place_of(source)
    path = Path(source).expanduser()
    return path.name if path.name and (path.exists() or path.is_absolute()) else source


def make_spec(
    *,
    task: str | None = None,
    aligner: str | None = None,
    policy: str | None = None,
    named: Mapping[str, str | None] | None = None,
    model: str | None = None,
    data: str = "synthetic",
    minority_ratio: str | float = 0.2,
    seed: int = 0,
    sets: Mapping[str, Mapping[str, Any]] | None = None,
    split: str = "test",
    tuning: Mapping[str, Any] | None = None,
) -> RunSpec:
    """Check every name and option against the registry and fill in the defaults.

    Without a model the task's own default is taken. A policy from outside (`KIND:SOURCE`) takes the place of
    an aligner; `named` are further arguments of `name_outside` for it.

    Raises:
        UserError: one line on the first thing that is wrong. Nothing has been written by then.
    """
    sets, outside = dict(sets or {}), None
    if policy is not None:
        if aligner is not None:
            raise UserError(f"policy '{policy}' takes the place of aligner '{aligner}': name one of them.")
        aligner, outside = name_outside(policy, **(named or {}))
        sets["aligner"] = {**sets.get("aligner", {}), **sets.pop("policy", {})}
    elif aligner is not None and ":" in aligner:
        raise UserError(f"aligner '{aligner}' is a policy from outside: say --policy {aligner}.")
    if task is None or aligner is None:
        missing = "--task" if task is None else "--aligner"
        raise UserError(f"{missing} is missing: name one from `prefbench list {missing[2:]}s`.")
    task_entry = registry.get("task", task)
    aligner_entry = registry.get("aligner", aligner)
    model = model or registry.BACKBONES[task_entry.backbone]
    model_entry = get_model(model)
    refuse_misfit(task_entry, aligner_entry, model_entry, model, sets.get("task", {}))
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"seed '{seed}' is not a whole number from 0 up: give one such as 0.")
    for section in sets:
        if section not in SECTIONS:
            raise UserError(f"unknown option section '{section}'.{registry.suggest(section, SECTIONS)}")
    section = "aligner" if outside is None else "policy"
    return RunSpec(
        task=task,
        aligner=aligner,
        model=model,
        data=data,
        minority_ratio=parse_ratio(minority_ratio),
        seed=seed,
        task_options=resolve(task_entry.options, sets.get("task", {}), "task", task),
        aligner_options=resolve(aligner_entry.options, sets.get("aligner", {}), section, aligner),
        model_options=resolve(model_entry.options, sets.get("model", {}), "model", model),
        evaluate_options=resolve(EvaluateOptions, sets.get("evaluate", {}), "evaluate", "evaluator"),
        split=split,
        tuning=tuning,
        outside=outside,
    )


def refuse_misfit(
    task_entry: registry.Entry,
    aligner_entry: registry.Entry,
    model_entry: registry.Entry,
    model: str,
    task_options: Mapping[str, Any],
) -> None:
    """Refuse a model or an aligner that the task, with what is set of its options, is not for.

    Raises:
        UserError: one line on the first thing that does not fit.
    """
    task, aligner = task_entry.name, aligner_entry.name
    what = "policies of kind" if aligner_entry.kind == "policy" else "aligner"
    if model_entry.backbone != task_entry.backbone:
        raise UserError(
            f"model '{model}' does not fit task '{task}', whose responses are "
            f"{'enumerated' if task_entry.backbone == 'finite' else 'text that a language model writes'}: "
            f"leave --model out, or say {registry.BACKBONES[task_entry.backbone]}."
        )
    if task_entry.backbone not in aligner_entry.backbones:
        fits = [e.name for e in registry.entries("task") if e.backbone in aligner_entry.backbones]
        raise UserError(
            f"{what} '{aligner}' {'do' if what != 'aligner' else 'does'} not apply to task '{task}', but to "
            f"{', '.join(fits)}"
            ": name one of these, or another aligner."
        )
    voted = str(task_options.get("labels_per_pair", 1)) != "1"
    lacking = aligner_entry.needs - task_entry.provides - ({"votes"} if voted else set())
    if lacking == {"votes"}:
        raise UserError(
            f"aligner '{aligner}' compares people's labels of the same pairs, and in task '{task}' one "
            "person labels each: set task.labels_per_pair=3, or choose another aligner."
        )
    if lacking:
        raise UserError(
            f"aligner '{aligner}' needs {', '.join(sorted(lacking))}, which task '{task}' does not provide; "
            f"it provides {', '.join(sorted(task_entry.provides)) or 'nothing beyond the pairs'} "
            "(docs/faq.md#an-aligner-needs-what-the-task-lacks)."
        )


def get_model(name: str) -> registry.Entry:
    """The preset called `name`, or the `pretrained` loader for a folder or a hub id.

    A bare word that is no folder and almost a preset is taken for a misspelling, not for a hub id, unless it
    is a preset's with more behind it: `gpt2-xl`.
    """
    presets = [entry.name for entry in registry.entries("model") if entry.name != "pretrained"]
    if name in presets:
        return registry.get("model", name)
    if is_missing_folder(name):
        raise UserError(
            f"model folder '{name}' does not exist: check the path, or take one of `prefbench list models`."
        )
    longer = any(name.startswith(f"{preset}-") for preset in presets)
    if "/" not in name and not longer and not Path(name).is_dir():
        near = registry.suggest(name, presets)
        if "Did you mean" in near:
            raise UserError(f"unknown model '{name}'.{near}")
    return registry.get("model", "pretrained")


def is_missing_folder(name: str) -> bool:
    """True if a model's name can only be a folder's, and there is none."""
    path_like = name.startswith((".", "/", "~")) or name.endswith("/")
    return path_like and not Path(name).expanduser().is_dir()


def former_names(options: type[BaseModel]) -> Mapping[str, str]:
    """Names that options had in older versions, and today's (`registry.Options.former`)."""
    return getattr(options, "former", {})


def renamed(options: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a stored specification by the names that they have today."""
    former = former_names(options)
    return {former.get(name, name): value for name, value in given.items()}


def stored_spec(stored: Mapping[str, Any]) -> RunSpec:
    """The specification in a record, its options by the names that they have today.

    Raises:
        UserError: its task, aligner or model is not here.
    """
    spec = RunSpec(**stored)
    entries = {"task": registry.get("task", spec.task), "aligner": registry.get("aligner", spec.aligner)}
    entries["model"] = get_model(spec.model)
    sections: dict[str, Any] = {
        f"{kind}_options": renamed(entry.options, getattr(spec, f"{kind}_options"))
        for kind, entry in entries.items()
    }
    return replace(spec, **sections)


def defaults_of(
    options: type[BaseModel], names: Iterable[str], numerics: float | None = math.inf
) -> dict[str, Any]:
    """The defaults of those of the named options that have one, as they look in a specification.

    Args:
        options: the option set.
        names: options of a specification.
        numerics: for the defaults of their time, those of a record, None being from before they were kept.
    """
    former: Mapping[str, tuple[Any, int]] = getattr(options, "former_defaults", {})
    then = {name: value for name, (value, until) in former.items() if (numerics or 0) <= until}
    usual = options.model_construct(**then).model_dump(mode="json", warnings=False)
    return {name: usual[name] for name in names if name in usual}


def _meant(key: str, options: type[BaseModel], section: str, owner: str) -> str:
    """Options that an unknown one may be a slip of, and the command that lists all of its section."""
    said = registry.suggest(former_names(options).get(key, key), options.model_fields)
    if section == "evaluate" or not options.model_fields:
        return said
    name = owner.partition(":")[0] if section == "policy" else owner
    entry = registry.find(typing.cast(registry.EntryKind, section), owner)
    plugin = "" if entry is None else option_for(entry.function.__module__)
    listed = f"`prefbench show {section} {name}{plugin}`"
    return f"{said} {listed} says more." if "Did you mean" in said else f" {listed} lists those it has."


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return typing.get_args(annotation) or (annotation,)


def resolve(options: type[BaseModel], given: Mapping[str, Any], section: str, owner: str) -> dict[str, Any]:
    """`given` checked and coerced by the option types, with defaults filled in, as plain JSON values."""
    for key in given:
        if key not in options.model_fields:
            raise UserError(
                f"unknown option {section}.{key} of '{owner}'.{_meant(key, options, section, owner)}"
            )
        if key.endswith(KEY_OPTION) and given[key] not in (None, "none"):
            raise UserError(
                f"option {section}.{key}: no file and no specification says which variable holds a key: say "
                "--allow-host HOST=VARIABLE on the command line, or put it into your own configuration."
            )
    # There is no none in TOML, and the command line gives text.
    values = {
        key: None if value == "none" and type(None) in _kinds(options.model_fields[key].annotation) else value
        for key, value in given.items()
    }
    try:
        whole = options.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise UserError(f"option {section}.{name} of '{owner}' has no default: set it.") from None
        if first["type"] == "none_required":
            raise UserError(f"option {section}.{name}: '{owner}' makes no use of it: leave it out.") from None
        raise UserError(f"option {section}.{name}={first['input']!r}: {first['msg']}.") from None
    unwritten: frozenset[str] = getattr(options, "unwritten", frozenset())
    usual = {name: options.model_fields[name].get_default(call_default_factory=True) for name in unwritten}
    return {name: value for name, value in whole.items() if usual.get(name, ...) != value}

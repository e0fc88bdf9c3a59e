"""The file that tuning writes: everything that was tried, what it scored, and what was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from prefbench import registry
from prefbench.errors import UserError
from prefbench.evaluate.selection import RULES, Rule
from prefbench.files import UnfitFile, read_json
from prefbench.record.parts import Count, StrictPart
from prefbench.spec import RunSpec, digest, make_spec, resolve
from prefbench.store.files import write_atomically
from prefbench.text import one_line


class Spent(StrictPart):
    """Tokens through models, at most, by what the aligner declares."""

    sampled: Count
    scored: Count
    trained: Count

    @property
    def total(self) -> int:
        """All of them."""
        return self.sampled + self.scored + self.trained


class Attempt(StrictPart):
    """One configuration on one dev seed."""

    seed: Count
    status: Literal["ok", "diverged", "failed"]
    message: str | None
    """Reason why it did not end well."""
    spec_hash: str
    scores: dict[Rule, float] | None
    """By every rule; none unless it ended well."""
    kl: float | None
    """Divergence from the reference on validation prompts, nats per response."""


class Tried(StrictPart):
    """One configuration: its options, and what came of it on each rung that it reached."""

    index: Count
    """Place among the draws; 0 is the default."""
    options: dict[str, Any]
    """Options that were drawn."""
    trials: tuple[Attempt, ...]
    """One for each rung, a dev seed each."""
    scores: dict[Rule, float] | None
    """Means over its trials; none where one of them did not end well."""
    kl: float | None
    """Mean over its trials."""
    tokens: Spent | None
    """Cost of all its trials; none where the aligner's work or the model's size is not known."""


class TunedAligner(StrictPart):
    """One aligner: its search, and the choice."""

    name: str
    needs: tuple[str, ...]
    rule: Rule
    """Rule that its needs allow, which decides who reaches the next rung and what is chosen."""
    measure: Literal["share won", "value"] | None
    """Unit of the scores; none where no trial ended well."""
    code: str
    """Digest of all sources that its results depend on."""
    space: dict[str, str]
    """Options that were searched, and what they were drawn from."""
    fixed: dict[str, Any]
    """Options that the tuning file set."""
    tokens: Spent | None
    """Cost of all its trials."""
    tried: Annotated[tuple[Tried, ...], Field(min_length=1)]
    chosen: dict[Rule, int]
    """By each rule the index of the best configuration among those that reached the last rung; empty where
    none did."""

    @model_validator(mode="after")
    def _chosen_was_tried(self) -> TunedAligner:
        if self.chosen and set(self.chosen) != set(RULES):
            raise ValueError(f"{self.name} has a choice by some rules only")
        if not set(self.chosen.values()) <= {each.index for each in self.tried}:
            raise ValueError(f"{self.name} has a choice that was not tried")
        return self


class Tuned(StrictPart):
    """The whole file."""

    schema_version: Literal[1] = 1
    prefbench: str
    """Version."""
    numerics: Annotated[int, Field(ge=1)]
    task: str
    task_version: int
    task_options: dict[str, Any]
    model: str
    model_options: dict[str, Any]
    data: str
    minority_ratio: float
    evaluate_options: dict[str, Any]
    configurations: Annotated[int, Field(ge=1)]
    """Budget: configurations of each aligner."""
    seeds: tuple[Count, ...]
    """Dev seeds, one for each rung of halving."""
    search_seed: Count
    aligners: tuple[TunedAligner, ...]

    @model_validator(mode="after")
    def _named_once(self) -> Tuned:
        names = [each.name for each in self.aligners]
        if len(set(names)) < len(names):
            raise ValueError("an aligner is named twice")
        return self

    def header(self) -> dict[str, Any]:
        """Settings that all its aligners have in common."""
        return self.model_dump(mode="json", exclude={"aligners", "prefbench"})

    def of(self, aligner: str) -> TunedAligner | None:
        """The entry of an aligner; None if there is none."""
        return next((each for each in self.aligners if each.name == aligner), None)


def write_tuned(tuned: Tuned, path: Path) -> None:
    """Write the file, so that a reader sees the old one or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(tuned.model_dump(mode="json"), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(path, text + "\n")


def read_tuned(path: Path) -> Tuned:
    """A file that `write_tuned` wrote.

    Raises:
        UserError: it is missing, is not JSON, or says what such a file does not say.
    """
    try:
        data = read_json(Path(path).expanduser())
    except FileNotFoundError:
        raise UserError(f"no tuned options at '{path}': `prefbench tune` writes such a file.") from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}; make it readable.") from None
    except (UnfitFile, ValueError) as error:
        raise UserError(
            f"'{path}' is no file of `prefbench tune` ({one_line(error).rstrip('.')}): make it anew."
        ) from None
    try:
        return Tuned.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UserError(
            f"'{path}' is no file of `prefbench tune`, {where}: {one_line(first['msg']).rstrip('.')}: make "
            "it anew."
        ) from None


def chosen_options(
    tuned: Tuned, path: str, aligner: str, given: Mapping[str, Any], rule: Rule | None = None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """An aligner's options as tuning chose them, and the `tuning` of its specification.

    Args:
        tuned: what the file says.
        path: its name in messages.
        aligner: one that is registered. Floors and ceilings are not tuned, and keep their options.
        given: options that somebody set, which win. If they change what was chosen, nothing is tuned.
        rule: the rule that chooses; None for the one that the aligner's needs allow.

    Raises:
        UserError: the file lacks the aligner, or found nothing for it.
    """
    entry = registry.get("aligner", aligner)
    if entry.role is not None:
        return dict(given), None
    found = tuned.of(aligner)
    if found is None:
        known = ", ".join(each.name for each in tuned.aligners) or "none"
        raise UserError(
            f"'{path}' has no options for aligner '{aligner}', it has {known}: tune it with `prefbench tune "
            f"FILE.toml --aligner {aligner}`, or leave it out."
        )
    if not found.chosen:
        raise UserError(f"'{path}': no configuration of aligner '{aligner}' ended well: leave it out.")
    rule = rule or found.rule
    best = next(each for each in found.tried if each.index == found.chosen[rule])
    options = {**found.fixed, **best.options}
    plain, whole = (
        resolve(entry.options, each, "aligner", aligner) for each in (options, {**options, **given})
    )
    tuning = {
        "digest": digest([tuned.header(), found.model_dump(mode="json")])[:16],
        "configurations": tuned.configurations,
        "tokens": None if found.tokens is None else found.tokens.total,
        "rule": rule,
    }
    return {**options, **given}, tuning if plain == whole else None


def make_tuned_spec(
    tuned: tuple[str, Tuned] | None, *, sets: Mapping[str, Mapping[str, Any]], **asked: Any
) -> RunSpec:
    """A specification whose aligner has the options that tuning chose, where `sets` says no others.

    Args:
        tuned: a file's name in messages and what it says; None for defaults.
        sets: options by section, as `prefbench.spec.make_spec` takes them.
        asked: its other arguments.

    Raises:
        UserError: one line on the first thing that is wrong, or that the file does not fit.
    """
    if tuned is None or asked.get("aligner") is None or asked.get("policy") is not None:
        return make_spec(sets=sets, **asked)
    path, found = tuned
    options, tuning = chosen_options(found, path, asked["aligner"], sets.get("aligner", {}))
    spec = make_spec(sets={**sets, "aligner": options}, tuning=tuning, **asked)
    _refuse_other_problem(found, path, spec)
    return spec


def _refuse_other_problem(tuned: Tuned, path: str, spec: RunSpec) -> None:
    """Refuse options that were tuned for another problem; the minority ratio may be another.

    Raises:
        UserError: the task, the model or the data differ.
    """
    for name in ("task", "model", "data"):
        there, here = getattr(tuned, name), getattr(spec, name)
        if there != here:
            raise UserError(f"'{path}' was tuned for {name} '{there}', not '{here}': tune for this one.")

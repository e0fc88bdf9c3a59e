"""Trials: one aligner on one problem, under whatever conditions a check wants."""

from __future__ import annotations

import copy
import functools
import json
import shutil
import tempfile
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from prefbench import seeds
from prefbench.backbone.options import ModelRequest
from prefbench.learn.interface import Aligned, Backbone, Policy
from prefbench.learn.selection import with_utilities
from prefbench.problem.problem import Problem
from prefbench.problem.view import View, make_view, true_utilities
from prefbench.registry import Entry
from prefbench.running.run import labelled_pairs
from prefbench.sources import path_digest
from prefbench.spec import RunSpec, get_model
from prefbench.store.stages import Store, Work
from prefbench.tools.check.findings import raised
from prefbench.tools.check.generators import untouched

FACTORS = (0.1, 1e-6, 10.0, 1e-3)
"""Factors that a number is multiplied by, one after the other, to see whether that makes a difference."""
SOON_VALUES = 2
"""Values of an option that are tried first, before others and other switches."""


def _others(options: type[BaseModel], name: str, value: Any) -> list[Any]:
    """Other values that an option might have, near ones first; whether they are allowed is not asked."""
    annotation = options.model_fields[name].annotation
    kinds = set(typing.get_args(annotation)) if type(None) in typing.get_args(annotation) else {annotation}
    found: list[Any] = [] if value is None or type(None) not in kinds else [None]
    for kind in kinds:
        if typing.get_origin(kind) is Literal:
            found += [other for other in typing.get_args(kind) if other != value]
        elif kind is bool:
            found.append(not value)
        elif kind is int:
            found += [1, 2, 3] if value is None else [value - 1, value + 1, 2 * value + 1]
        elif kind is float:
            found += [value * factor for factor in FACTORS] if value else [0.01, 0.1, 1e-6, 1.0]
        elif kind is str:
            found.append(f"{value or ''} x")
    return found


def _is_switch(options: type[BaseModel], name: str) -> bool:
    """True if an option is one of a few words, on or off, or something or none."""
    annotation = options.model_fields[name].annotation
    return annotation is bool or bool(typing.get_args(annotation))


class Trial:
    """One aligner on one problem, under whatever conditions a check wants."""

    def __init__(self, entry: Entry, spec: RunSpec, folder: Path) -> None:
        self.entry, self.spec, self.folder = entry, spec, folder
        self._outcomes: dict[str, str] = {}
        self._views: dict[frozenset[str], View] = {}
        self.problem, self.rows = labelled_pairs(spec, folder / "runs")
        self.prompts = list(self.problem.prompts.test[:12])

    def backbone(self, name: str, problem: Problem) -> Backbone:
        """The backbone with a store of its own: nothing but the reference is read from another try."""
        reference = self.folder / "runs" / "stages" / "reference"
        target = self.folder / name / "stages" / "reference"
        if reference.is_dir() and not target.exists():
            shutil.copytree(reference, target)
        model = get_model(self.spec.model)
        request = ModelRequest(self.spec.model, problem, Store(self.folder / name), self.spec.seed)
        made: Backbone = model.function(request, model.options(**self.spec.model_options))
        return made

    def _view(self, needs: frozenset[str]) -> View:
        """The aligner's view with these needs, a copy for each try, since it may change what it is given."""
        if needs not in self._views:
            self._views[needs] = make_view(self.rows, self.problem, needs, self.spec.seed)
        return copy.deepcopy(self._views[needs])

    def align(self, needs: frozenset[str], name: str, problem: Problem | None = None) -> Policy:
        """The policy that the aligner makes of the labels when it sees what `needs` says."""
        view = self._view(needs)
        path = self.folder / name / "work"
        path.mkdir(parents=True, exist_ok=True)
        backbone = self.backbone(name, problem or self.problem).at(Work("policy", path))
        made = self.entry.function(view, backbone, self.entry.options(**self.spec.aligner_options))
        return Aligned.of(made).default

    def heeds(self, name: str, most: int | None = None, **given: Any) -> bool:
        """True if one of (the first few) other values of an option makes a difference, given others."""
        before = self.outcome(given)
        tried = [other for other in self.values(name) if self.allowed({**given, name: other})]
        return any(self.outcome({**given, name: other}) != before for other in tried[:most])

    def soon_heeds(self, name: str) -> bool:
        """True if one of the first other values of an option makes a difference."""
        return self.heeds(name, SOON_VALUES)

    def heeds_with_another(self, name: str) -> bool:
        """True if an option makes a difference where another option, a switch, is set otherwise."""
        return any(
            self.heeds(name, SOON_VALUES, **{switch: value})
            for switch in reversed(self.entry.options.model_fields)  # an aligner's own come last
            if switch != name
            for value in self.values(switch)[:3]
            if _is_switch(self.entry.options, switch) and self.allowed({switch: value})
        )

    def values(self, name: str) -> list[Any]:
        """Other values of an option than the one that it has in these tries."""
        return _others(self.entry.options, name, self.options[name])

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """The options of these tries, by name."""
        return dict(self.entry.options(**self.spec.aligner_options))

    def allowed(self, given: Mapping[str, Any]) -> bool:
        """True if these values may be set."""
        try:
            self.entry.options(**{**self.options, **given})
        except ValueError:
            return False
        return True

    def outcome(self, given: Mapping[str, Any]) -> str:
        """A digest of the policy and of what is told of the rewards, or of the error that it ended in.

        Rewards and whatever else the aligner keeps by `backbone.cached` are shared between tries, as they
        are between runs: an option that its key forgets makes no difference there either.
        """
        key = json.dumps(sorted(given.items()), default=str)
        if key not in self._outcomes:
            with untouched():
                self._outcomes[key] = self._outcome(given)
        return self._outcomes[key]

    def _outcome(self, given: Mapping[str, Any]) -> str:
        view = self._view(self.entry.needs)
        options = self.entry.options(**{**self.options, **given})
        with tempfile.TemporaryDirectory(dir=self.folder) as work, tempfile.TemporaryDirectory() as saved:
            try:
                backbone = self.backbone("options", self.problem).at(Work("policy", Path(work)))
                made = self.entry.function(view, backbone, options)
                aligned = Aligned.of(made)
                aligned.default.save(Path(saved))
            except (Exception, SystemExit) as error:  # an option that ends in an error is not without effect
                return raised(error)
            rewards = aligned.rewards
            told = None if rewards is None else [rewards.names, rewards.assignment, rewards.em]
            return f"{path_digest(Path(saved))} {told}"

    def reloaded(self, policy: Policy) -> Policy:
        """The policy, saved and loaded."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        policy.save(folder)
        return self._loaded(folder)

    def stored(self) -> Policy:
        """The policy of the whole run before."""
        (folder,) = [p.parent for p in (self.folder / "runs/stages/policy").glob("*/done.json")]
        return self._loaded(folder)

    def _loaded(self, folder: Path) -> Policy:
        """A saved policy, told the utilities if the aligner is."""
        policy = self.backbone("loading", self.problem).load_policy(folder)
        told = "oracle" in self.entry.needs
        return with_utilities(policy, lambda: true_utilities(self.problem)) if told else policy

    def difference(self, one: Policy, other: Policy, what: str) -> str | None:
        """A sentence if two policies say different things, or find them differently likely; else None."""
        draw = seeds.child(self.spec.seed, "check", "samples")
        first, second = one.sample(self.prompts, 2, draw), other.sample(self.prompts, 2, draw)
        if first != second:
            return f"{what} says other things from the same draw."
        texts = _flat(self.prompts, first)
        here, there = one.logprob(*texts), other.logprob(*texts)
        if here is None and there is None:
            return None
        if here is None or there is None:
            return f"{what} has log-probabilities once and once not."
        if not np.allclose(here, there, rtol=0, atol=1e-5, equal_nan=True):
            return f"{what} gives the same texts other log-probabilities."
        return None

    def odd(self, policy: Policy) -> str | None:
        """A sentence for samples that are no answer or no log-probability; else None."""
        samples = policy.sample(self.prompts, 2, seeds.child(self.spec.seed, "check", "samples"))
        if len(samples) != len(self.prompts) or any(len(row) != 2 for row in samples):
            return "two samples for each prompt were asked for and not given."
        if not all(isinstance(text, str) for row in samples for text in row):
            return "a sample is not a string."
        logs = policy.logprob(*_flat(self.prompts, samples))
        if logs is None:
            return None
        values = np.asarray(logs)
        if values.shape != (2 * len(self.prompts),):
            return f"log-probabilities have the shape {values.shape}."
        if not np.isfinite(values).all() or (values > 1e-6).any():
            return "a text that it says has a log-probability that is above 0 or not finite."
        return None


def _flat(prompts: Sequence[str], samples: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    return [p for p, row in zip(prompts, samples, strict=True) for _ in row], [
        t for row in samples for t in row
    ]

"""The causes of a result: for each stage the code and the files that can move its numbers.

A stage's folder is named by the hash of its inputs and of what is told here, so an edited source, plug-in,
option file or data set is never served what the old one made, and an edit elsewhere costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

from prefbench import registry, sources
from prefbench.spec import RunSpec, digest, get_model

INERT = frozenset(
    {
        "prefbench.consent",  # who may be asked
        "prefbench.estimate",  # sizes and times, told before a run
        "prefbench.sweep",  # which process runs a cell
        "prefbench.tools",
        "prefbench.errors",
        "prefbench.numerics",
        "prefbench.registry",  # options reach a key as values
        "prefbench.search",  # what options may be drawn from; what was drawn is a value
        "prefbench.identity",
        "prefbench.sources",
        "prefbench.spec",
        "prefbench.machine",  # how many threads; which sum comes first is the machine's to say
        "prefbench.version",
        "prefbench.work",  # what an aligner will compute, told before a run
        "prefbench.store",  # keeps what it is given
    }
)
"""Modules that can move no number. Whatever is not named here is taken to move some."""
_AFTER = frozenset({"prefbench.boards", "prefbench.record", "prefbench.report"})
"""Packages that make a record of the last stage, at the end of every run; no stage depends on them."""

_POLICIES = frozenset(
    f"prefbench.{name}"
    for name in (
        "backbone.finite.ppo",
        "learn.concave",
        "learn.exact",
        "learn.experts",
        "learn.game",
        "learn.newton",
        "learn.occupancy",
        "backbone.language.pairwise",
        "backbone.language.ppo",
        "learn.welfare",
    )
)
_REWARDS = frozenset(
    f"prefbench.{name}"
    for name in (
        "backbone.finite.pairwise",
        "backbone.language.reward",
        "backbone.language.robust",
        "learn.em",
        "learn.grouping",
        "learn.pairwise",
        "learn.rewards",
    )
)
_LEARNING = _POLICIES | _REWARDS
"""Learning algorithms: a backbone offers them, but to make, read or sample a policy it uses none."""


@dataclass(frozen=True)
class Identity:
    """The code of one specification's task, aligner and model, and the files that its options name."""

    task: registry.Entry
    aligner: registry.Entry
    model: registry.Entry
    data: dict[str, str]
    """Contents of the paths that the task reads: its data and its options."""
    options: dict[str, str]
    """Contents of the paths among the aligner's options."""
    weights: dict[str, str]
    """Contents of the paths among the model's name and options. Stages have the weights' own digest."""

    def __call__(self, stage: str, compute: Callable[..., Any]) -> dict[str, Any]:
        """Values that the stage depends on beside its key, as JSON.

        Args:
            stage: its name.
            compute: the function that computes it; a stage that an aligner opens may be anybody's.
        """
        entries, without, files = self._depends(stage, compute)
        plugins = [entry.origin.digest for entry in entries if entry.origin.plugin is not None]
        code = sources.digest_of(_modules(entries, compute.__module__, INERT | _AFTER | without))
        return {"code": code, "plugins": plugins, "files": files}

    def modules(self, stage: str, compute: Callable[..., Any]) -> tuple[str, ...]:
        """Prefbench's own modules among what a stage depends on."""
        entries, without, _ = self._depends(stage, compute)
        return _modules(entries, compute.__module__, INERT | _AFTER | without)

    def _depends(
        self, stage: str, compute: Callable[..., Any]
    ) -> tuple[list[registry.Entry], frozenset[str], dict[str, str]]:
        """Owners of the code that a stage runs, modules reached but not run, and the files that it reads."""
        if stage in ("reference", "pairs", "samples", "candidates"):
            return [self.model], _LEARNING, {}
        if stage in ("labels", "contexts", "scores", "prompted", "people"):
            return [self.task], frozenset(), self.data
        if stage == "proxies" or (stage == "rewards" and sources.is_own(compute.__module__)):
            return [self.model], _POLICIES, {}
        # The policy, or what an aligner keeps.
        if "oracle" in self.aligner.needs:
            return [self.aligner, self.model, self.task], frozenset(), self.options | self.data
        return [self.aligner, self.model], frozenset(), self.options

    @property
    def code(self) -> str:
        """Digest of all code and files that a number of the record depends on: sixteen hexadecimal digits."""
        entries = [self.task, self.aligner, self.model]
        modules = _modules(entries, "prefbench.running.run", INERT)
        plugins = [entry.origin.digest for entry in entries if entry.origin.plugin is not None]
        files = [sorted(part.values()) for part in (self.data, self.options, self.weights)]
        return digest([sources.digest_of(modules), plugins, files])[:16]

    @property
    def plugins(self) -> list[dict[str, Any]]:
        """Name, version and digest of each plug-in, as the record keeps them; prefbench's own are none."""
        found: dict[str, dict[str, Any]] = {}
        for entry in (self.task, self.aligner, self.model):
            name, content = entry.origin.plugin, entry.origin.digest
            if name is not None and content is not None:
                row = {"name": name, "version": _version(name), "digest": content[:16]}
                found[f"{name} {content}"] = row
        return list(found.values())


def _modules(entries: list[registry.Entry], more: str, without: frozenset[str]) -> tuple[str, ...]:
    """Own modules that some entries' functions, and one more module, reach."""
    named = [*(entry.origin.module for entry in entries), more]
    return sources.closure(frozenset(filter(sources.is_own, named)), without)


def identity_of(spec: RunSpec) -> Identity:
    """The identity of a specification, its files read now."""
    return Identity(
        registry.get("task", spec.task),
        registry.get("aligner", spec.aligner),
        get_model(spec.model),
        sources.contents_of([spec.data, spec.task_options]),
        sources.contents_of([spec.aligner_options, (spec.outside or {}).get("source")]),
        sources.contents_of([spec.model, spec.model_options]),
    )


@functools.cache
def _version(package: str) -> str | None:
    """The version of the distribution that a package is of; None for a file."""
    try:
        return version(packages_distributions().get(package, [package])[0])
    except PackageNotFoundError:
        return None

"""Checks of an aligner on tiny tasks of our own, again under conditions that must not change what it does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefbench import registry
from prefbench.backbone.options import NanoOptions
from prefbench.errors import UserError
from prefbench.estimate.estimate import problem_of
from prefbench.learn.interface import Policy
from prefbench.record.verify import verify
from prefbench.registry import Entry
from prefbench.running.run import run
from prefbench.spec import RunSpec, make_spec, resolve
from prefbench.tools.check.findings import Checks, raised
from prefbench.tools.check.generators import stir, untouched
from prefbench.tools.check.people import check_people
from prefbench.tools.check.tiny import (
    INSTRUCTIONS,
    OURS,
    PEOPLE,
    TASKS,
    THREE_GROUPS,
    TINY_ALIGNER,
    TINY_MODEL,
    VOTES,
    Sets,
)
from prefbench.tools.check.trial import Trial
from prefbench.tools.check.words import check_words

USUAL = NanoOptions.model_validate({}).model_dump()
"""Options of a model, which searched rates are multiples of."""


def check_aligner(
    checks: Checks, entry: Entry, task: str | None, data: str, sets: Sets, folder: Path
) -> None:
    """Everything that an aligner promises, in runs in `folder`, on `task` or else on tiny ones."""
    check_words(checks, entry)
    _check_search(checks, entry)
    if task is not None:
        backbone = registry.get("task", task).backbone
        trial = _on_backbone(checks, entry, backbone, [task], data, sets, folder / backbone)
        _check_options(checks, entry, [trial])
        return
    trials = []
    for backbone in sorted(entry.backbones, reverse=True):  # the quick one first
        others = [
            e.name for e in registry.entries("task") if e.own_data and e.backbone == backbone == "finite"
        ]
        # Our own first; an aligner for a special kind of world may refuse it and take a registered one.
        names = [TASKS[backbone], *(name for name in others if name not in TASKS.values())]
        trials.append(_on_backbone(checks, entry, backbone, names, data, sets, folder / backbone))
        if trials[-1] is not None and backbone == "finite":
            _check_three_groups(checks, entry, data, sets, folder / "three")
    _check_options(checks, entry, trials)


def _check_search(checks: Checks, entry: Entry) -> None:
    """Warn of a learner that tuning has nothing to draw for, and refuse draws that its options refuse."""
    if entry.role is not None or not entry.options.model_fields:
        return
    spaces = {backbone: registry.search_space(entry.options, backbone) for backbone in entry.backbones}
    if not any(spaces.values()):
        checks.add(
            "options declare what tuning draws them from",
            "warned",
            "its options have no `search`, so `prefbench tune` can only run their defaults.",
        )
        return

    def refused() -> str | None:
        for space in spaces.values():
            for name, drawn in space.items():
                for end in drawn.ends:
                    resolve(entry.options, {name: drawn.given(end, USUAL)}, "aligner", entry.name)
        return None

    checks.that("options declare what tuning draws them from", refused)


def _on_backbone(
    checks: Checks, entry: Entry, backbone: str, tasks: Sequence[str], data: str, sets: Sets, folder: Path
) -> Trial | None:
    """Check an aligner on one backbone; what further tries start from, if it runs there at all."""
    model = registry.BACKBONES[backbone]
    ran: dict[str, Any] = {}

    def runs() -> str | None:
        for name in tasks:
            spec = _tiny_spec(entry, name, data, sets)
            try:
                made, record = run(spec, folder / "runs")
            except UserError as error:
                ran.setdefault("refusal", str(error))
                continue
            ran.update(spec=spec, folder=made, record=record)
            if record.status == "ok":
                return None
            more = _wants_more(entry, spec, folder) or _wants_two_groups(entry, spec, folder)
            return f"{str(record.message).rstrip('.')}{more}"
        return str(ran["refusal"])

    if not checks.that(f"runs on the {model} model", runs):
        return None
    trial = Trial(entry, ran["spec"], folder)
    checks.that(
        f"{model}: the record follows from its evidence", lambda: "; ".join(verify(ran["folder"])) or None
    )
    # Training once more must not see what the global generators hold, nor move them.
    policy = None
    with untouched():
        stir()
        with untouched() as moved:
            try:
                policy = trial.align(entry.needs, "again")
                touched = moved()
            except (Exception, SystemExit) as error:  # a stranger's code may raise anything
                checks.add(f"{model}: runs a second time", "failed", raised(error))
    if policy is None:
        return None
    checks.that(f"{model}: leaves the global random state alone", lambda: touched)
    loaded = trial.reloaded(policy)
    checks.that(
        f"{model}: a policy that was saved and loaded answers as before",
        lambda: trial.difference(policy, loaded, "saved and loaded it"),
    )
    checks.that(
        f"{model}: the same seed gives the same policy",
        lambda: trial.difference(trial.stored(), loaded, "trained again from the same seed it"),
    )
    checks.that(
        f"{model}: samples are texts, and their log-probabilities are none or at most 0",
        lambda: trial.odd(loaded),
    )
    _check_needs(checks, entry, model, trial, loaded)
    with untouched():
        check_people(checks, entry, model, trial, ran["record"])
    return trial


def _check_options(checks: Checks, entry: Entry, trials: Sequence[Trial | None]) -> None:
    """Warn of options that change nothing, alone or where a switch among the others is set otherwise."""
    ran = [trial for trial in trials if trial is not None]
    if len(ran) < len(trials) or not entry.options.model_fields:
        return
    words = "every option makes a difference"
    silent = sorted(entry.options.model_fields)
    untried = len(ran) < len(entry.backbones) and "causal_lm" in entry.backbones - {_backbone_of(ran[0])}
    # The quick search on the quick backbone first; what is left is most often heard by a language model.
    searches: list[Callable[[Trial, str], bool]] = [Trial.soon_heeds, Trial.heeds]
    if not untried:  # else the long search could not tell that an option makes none at all
        searches.append(Trial.heeds_with_another)
    for search in searches:
        for trial in ran if search is Trial.soon_heeds else reversed(ran):
            silent = [name for name in silent if not search(trial, name)]
    if not silent:
        checks.add(words, "passed")
        return
    make = "makes" if len(silent) == 1 else "make"
    if untried:
        checks.add(
            words,
            "left out",
            f"{', '.join(silent)} {make} none alone on a world; language models were not tried.",
        )
        return
    checks.add(
        words,
        "warned",
        f"{', '.join(silent)} {make} none here, alone or with another option switched: use what is declared, "
        "or declare less (and see that a key given to backbone.cached holds every option that counts).",
    )


def _backbone_of(trial: Trial) -> str:
    return registry.get("task", trial.spec.task).backbone


def _tiny_spec(entry: Entry, task: str, data: str, sets: Sets) -> RunSpec:
    """A run of seconds, but for what `sets` says."""
    nano = registry.get("task", task).backbone == "causal_lm"
    quick: dict[str, Any] = {}
    for name, value in TINY_ALIGNER.items() if nano else ():
        if name in entry.options.model_fields:
            with contextlib.suppress(UserError):  # outside its limits: then its default
                resolve(entry.options, {**sets.get("aligner", {}), name: value}, "aligner", entry.name)
                quick[name] = value
    told = "instruction" in entry.needs | entry.sees
    ours = {**(PEOPLE if entry.sees else {}), **(INSTRUCTIONS if told and nano else {})}
    ours |= VOTES if "votes" in entry.needs else {}
    sections = {
        "task": ours if task in OURS else sets.get("task", {}),
        "aligner": {**quick, **sets.get("aligner", {})},
        "model": {**(TINY_MODEL if nano else {}), **(sets.get("model", {}) if nano else {})},
    }
    return make_spec(task=task, aligner=entry.name, data=data, minority_ratio=0.25, seed=1, sets=sections)


def _wants_more(entry: Entry, spec: RunSpec, folder: Path) -> str:
    """A hint where an aligner would do with more than it declares."""
    trial = Trial(entry, spec, folder)
    for need in sorted(registry.NEEDS - entry.needs):
        try:
            trial.align(entry.needs | {need}, f"with-{need}")
        except (Exception, SystemExit):  # it wants something else, or is just wrong
            continue
        names = ", ".join(repr(name) for name in sorted(entry.needs | {need}))
        return f". With {need} it runs: declare needs={{{names}}}."
    return ""


def _wants_two_groups(entry: Entry, spec: RunSpec, folder: Path) -> str:
    """A hint where an aligner fails on a task of several groups and would not with two."""
    count = len(problem_of(spec).groups)
    two = TASKS[registry.get("task", spec.task).backbone]
    if count == 2 or spec.task == two:
        return ""
    try:
        _, record = run(_tiny_spec(entry, two, "synthetic", {}), folder / "two-groups")
    except UserError:
        return ""
    return f"; {_FOR_TWO.format(count)}" if record.status == "ok" else ""


_FOR_TWO = (
    "with two groups it runs, and here there are {}: go through the groups that are there, or say in its "
    "first line that it is for two."
)


def _check_three_groups(checks: Checks, entry: Entry, data: str, sets: Sets, folder: Path) -> None:
    """Warn of an aligner that two groups suit and three do not."""
    words = f"{registry.BACKBONES['finite']}: runs where three groups want different things"
    try:
        _, record = run(_tiny_spec(entry, THREE_GROUPS, data, sets), folder / "runs")
    except UserError as error:
        checks.add(words, "left out", f"it refuses that world: {error}")
        return
    if record.status == "ok":
        checks.add(words, "passed")
    else:
        checks.add(words, "warned", f"{str(record.message).rstrip('.')}; {_FOR_TWO.format(3)}")


def _check_needs(checks: Checks, entry: Entry, model: str, trial: Trial, policy: Policy) -> None:
    for need in sorted(entry.needs):

        def unused(need: str = need) -> str | None:
            try:
                without = trial.align(entry.needs - {need}, f"without-{need}")
            except (Exception, SystemExit):  # it cannot do without
                return None
            same = trial.difference(policy, trial.reloaded(without), "") is None
            return "the policy is the same without it: declare less." if same else None

        checks.that(f"{model}: makes use of {need}, which it declares", unused, otherwise="warned")
    if trial.problem.world is None or "oracle" in entry.needs:
        return
    world = trial.problem.world
    # The backbone of a world knows the utilities: only one who declares the oracle may look.
    hidden = replace(trial.problem, world=replace(world, utilities=-world.utilities))

    def peeked() -> str | None:
        try:
            made = trial.reloaded(trial.align(entry.needs, "hidden", hidden))
        except (Exception, SystemExit) as error:
            return f"with other utilities behind the same labels it fails: {raised(error)}"
        return trial.difference(policy, made, "with other utilities behind the same labels it")

    checks.that(f"{model}: looks at no utility behind the labels", peeked)

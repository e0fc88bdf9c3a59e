"""Checks of an aligner whose policy depends on whom it answers."""

from __future__ import annotations

from dataclasses import replace

from prefbench.learn.interface import Context, Personal
from prefbench.problem.strata import TELLING
from prefbench.record.schema import Record
from prefbench.registry import Entry
from prefbench.tools.check.findings import Checks
from prefbench.tools.check.trial import Trial


def check_people(checks: Checks, entry: Entry, model: str, trial: Trial, record: Record) -> None:
    """The promises of `Personal`, on contexts of seen and of unseen people, and what its controls say."""
    policy = trial.made(entry.needs, "people").policy
    if not isinstance(policy, Personal):
        if entry.sees:
            checks.add(
                f"{model}: its policy depends on what it sees",
                "warned",
                "it returns one policy for everybody: return a Personal, or leave sees out.",
            )
        return
    checks.that(f"{model}: whoever nothing is known of is given the default", lambda: _empty(trial, policy))
    checks.that(f"{model}: the same context gives the same policy", lambda: _same(trial, policy))
    for name in sorted(entry.sees):
        checks.that(
            f"{model}: makes use of the {name.replace('_', ' ')} that it sees",
            lambda name=name: _unused(trial, policy, name),  # type: ignore[misc]
            otherwise="warned",
        )
    if record.people is not None and record.people.own_minus:
        checks.that(f"{model}: nobody else's labels serve a person better", lambda: _controls(record))


def _empty(trial: Trial, policy: Personal) -> str | None:
    return trial.difference(policy.default, policy.adapt(Context()), "for an empty context adapt")


def _same(trial: Trial, policy: Personal) -> str | None:
    """Every context again after all the others, so that nothing may be remembered of whom it met before."""
    first = [policy.adapt(context) for context in trial.contexts.values()]
    for (name, context), before in reversed(list(zip(trial.contexts.items(), first, strict=True))):
        fault = trial.difference(before, policy.adapt(context), f"asked again for {name} adapt")
        if fault is not None:
            return fault
    return None


def _unused(trial: Trial, policy: Personal, name: str) -> str | None:
    """A sentence if nobody's policy changes when a field is kept from it; else None."""
    for context in trial.contexts.values():
        if getattr(context, name) is None:
            continue
        try:
            without = policy.adapt(replace(context, **{name: None}))
        except Exception:  # it cannot do without
            return None
        if trial.difference(policy.adapt(context), without, "") is not None:
            return None
    return "everybody's policy is the same without it: declare less."


def _controls(record: Record) -> str | None:
    assert record.people is not None
    for other in record.people.own_minus:
        if other.context in TELLING and other.ci_high < 0:
            more, least, most = -other.difference, -other.ci_high, -other.ci_low
            return (
                f"with {TELLING[other.context]} it wins {more:.2f} [{least:.2f}, {most:.2f}] more of a "
                "person's comparisons than with her own: see that chosen and rejected are not exchanged."
            )
    return None

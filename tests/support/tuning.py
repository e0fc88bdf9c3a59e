"""Tuning files, and what tuning found."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from prefbench import registry
from prefbench.arrays import Floats
from prefbench.problem.problem import Problem
from prefbench.sweep.tuned import read_tuned
from support.commands import typed
from support.sweeps import written


def tuned(text: str, *more: object, code: int = 0):
    """The result of a tuning file of this text."""
    outcome = typed("tune", written(text, "tune.toml"), "--quiet", *more)
    assert outcome.code == code, outcome.err
    return read_tuned(Path("tune.tuned.json"))


def chooses_alike(text: str, task: str, poison: Callable[[Problem], Problem]) -> bool:
    """True if a tuning file of this text has the same result, to the byte, where a world is poisoned."""
    tuned(text)
    path = Path("tune.tuned.json")
    clean = path.read_bytes()
    path.unlink()
    entry = registry.get("task", task)
    function = entry.function

    def poisoned(*args, **options):
        return poison(function(*args, **options))

    poisoned.__module__ = function.__module__
    object.__setattr__(entry, "function", poisoned)
    try:
        tuned(text, "--runs-dir", "again")
    finally:
        object.__setattr__(entry, "function", function)
    return path.read_bytes() == clean


def with_test(problem: Problem, test: Mapping[str, int], utilities: Floats | None = None) -> Problem:
    """A problem of a world with other test prompts, by the state of each, and with these utilities."""
    world, prompts = problem.world, problem.prompts
    known = {prompt: state for prompt, state in world.state.items() if prompt not in set(prompts.test)}
    utilities = world.utilities if utilities is None else utilities
    world = replace(world, state=known | dict(test), utilities=utilities)
    groups = tuple(replace(g, utility=replace(g.utility, world=world)) for g in problem.groups)
    return replace(problem, world=world, groups=groups, prompts=replace(prompts, test=tuple(test)))

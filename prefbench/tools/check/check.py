"""Contract checks for anyone's task or aligner: what the harness takes for granted, tried out.

A task is built at several ratios and seeds and its utilities are called; nothing is trained but one tiny
model for a run from end to end. An aligner is run on a tiny task of our own, on every backbone that it
applies to, and run again under conditions that must not change what it does.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from prefbench import registry
from prefbench.errors import UserError
from prefbench.registry import Entry
from prefbench.spec import resolve
from prefbench.tools.check.aligner import check_aligner
from prefbench.tools.check.findings import Checks, Finding
from prefbench.tools.check.task import check_task
from prefbench.tools.check.tiny import Sets, lent


def find(name: str, plugins: Sequence[str] = ()) -> tuple[list[Entry], dict[str, str]]:
    """The entries that `prefbench check NAME` is about: every task and aligner of that name, or of that file.

    Returns:
        The entries, and which installed plug-ins failed to import and why.

    Raises:
        UserError: there is none.
    """
    broken = registry.load_plugins(plugins)
    if name.endswith(".py") or Path(name).is_file():
        return _of_file(name), broken
    everything = _tasks_and_aligners()
    found = [e for e in everything if e.name == name]
    if not found:
        near = registry.suggest_entry(name, (e.name for e in everything))
        raise UserError(f"no task or aligner is called '{name}'.{near}")
    return found, broken


def _tasks_and_aligners() -> list[Entry]:
    return [*registry.entries("task"), *registry.entries("aligner")]


def _of_file(name: str) -> list[Entry]:
    path = Path(name)
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"'{name}' is no Python file: name one, or a task or aligner that is registered.")
    path = path.resolve()
    # A file of an installed package is known already, and nothing may be registered twice.
    if not any(_file_of(entry) == path for entry in _tasks_and_aligners()):
        registry.load_plugins([name])
    found = [entry for entry in _tasks_and_aligners() if _file_of(entry) == path]
    if not found:
        raise UserError(
            f"'{name}' registers no task and no aligner: decorate one with @task(...) or @aligner(...)."
        )
    return found


def _file_of(entry: Entry) -> Path | None:
    file = getattr(sys.modules.get(entry.function.__module__), "__file__", None)
    return None if file is None else Path(file).resolve()


def check(
    entry: Entry,
    *,
    task: str | None = None,
    data: str = "synthetic",
    sets: Sets | None = None,
    plugins: Sequence[str] = (),
    tell: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Check one task or aligner.

    Args:
        entry: what to check.
        task: for an aligner, the task to try it on instead of our own tiny ones.
        data: what a task is to read.
        sets: options by section, as `prefbench.spec.make_spec` takes them.
        plugins: files that another process has to load to know `entry`.
        tell: called with each finding as it comes.

    Raises:
        UserError: an option is wrong, or the task cannot be built from this data.
    """
    resolve(entry.options, (sets or {}).get(entry.kind, {}), entry.kind, entry.name)
    checks = Checks(tell)
    with lent(), tempfile.TemporaryDirectory(prefix="prefbench-check-") as folder:
        if entry.kind == "task":
            check_task(checks, entry, data, sets or {}, plugins, Path(folder))
        else:
            check_aligner(checks, entry, task, data, sets or {}, Path(folder))
    return checks.findings

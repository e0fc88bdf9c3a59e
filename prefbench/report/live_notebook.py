"""A run's progress below the cell of a notebook that started it.

One output is drawn over and over, and what it shows last remains: also where no person looks on, as when a
notebook is executed by a program. Nothing is imported for it: it speaks to the shell that the notebook's
kernel has put among Python's own names.
"""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from prefbench.report.live_stages import Nested, StageLine, figures
from prefbench.report.markup import escape
from prefbench.text import clock, visible

DRAW_SECONDS = 0.25
"""Least time between two drawings of a stage's steps."""
STYLE = (
    ".pb-live{line-height:1.4}"
    ".pb-live table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".pb-live td{text-align:left;padding:.1em 1em .1em 0;border:0;background:none;color:inherit}"
    ".pb-live td{white-space:nowrap;font-size:inherit;min-width:0}"
    ".pb-live progress{width:12em}"
    ".pb-live summary{cursor:pointer}"
)


class Publisher(Protocol):
    """The part of a notebook's shell that shows outputs."""

    def publish(self, data: Mapping[str, str], *, transient: Mapping[str, str], update: bool) -> None:
        """Show an output by kind, or draw anew the one that has the same `display_id`."""


def shell_of_notebook() -> Publisher:
    """The publisher of the shell in whose notebook this goes on; it has to be in one."""
    shell: Any = vars(builtins)["get_ipython"]()
    publisher: Publisher = shell.display_pub
    return publisher


class Notebook:
    """The stages of a run as they begin, move and end; when it is over they fold into a line."""

    def __init__(self, publisher: Publisher, title: str | None = None) -> None:
        self._publisher = publisher
        self._title = title
        self._id = {"display_id": uuid.uuid4().hex}
        self._stages = Nested()
        self._over: list[str] = []
        self._notes: list[str] = []
        self._stored = 0
        self._started = time.monotonic()
        self._drawn: float | None = None

    def __enter__(self) -> Notebook:
        self._draw(self._title or "working")
        return self

    def __exit__(self, *_: object) -> None:
        self._draw(self._summary(), folded=not self._stages.active)

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts."""
        self._stages.active.append(StageLine(stage, stored))
        self._draw(self._title)

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage."""
        found = self._stages.find(stage)
        if found is None:
            return
        found.step(done, total, dict(values))
        if self._drawn is None or time.monotonic() - self._drawn >= DRAW_SECONDS:
            self._draw(self._title)

    def end(self, stage: str, seconds: float) -> None:
        """A stage is complete; it is drawn with whatever comes next."""
        closed = self._stages.close(stage)
        if closed is None:
            return
        found, depth = closed
        self._stored += found.stored
        took = "stored" if found.stored else clock(seconds)
        self._over.append(_row(found.name, depth, escape(took), figures(found.values)))

    def note(self, message: str) -> None:
        """A line that a person should see, which stays when the stages are folded."""
        self._notes.append(message)
        self._draw(self._title)

    def _summary(self) -> str:
        """The run in a line, when it is over."""
        name = "" if self._title is None else f"{self._title}: "
        took = clock(time.monotonic() - self._started)
        if self._stages.active:
            return f"{name}stopped in {self._stages.active[-1].name} after {took}"
        stored = f", {self._stored} of them stored" if self._stored else ""
        return f"{name}{len(self._over)} stages in {took}{stored}"

    def _draw(self, heading: str | None, folded: bool = False) -> None:
        """Show what is known; an output with no display id yet is a new one."""
        moving = [_moving(stage, depth) for depth, stage in enumerate(self._stages.active)]
        rows = "".join([*self._over, *moving])
        table = f'<table class="pb-table"><tbody>{rows}</tbody></table>' if rows else ""
        head = "" if heading is None else escape(heading)
        if folded:
            body = f"<details><summary>{head}</summary>{table}</details>"
        else:
            body = (f"<div>{head}</div>" if head else "") + table
        notes = "".join(f"<div>{escape(note)}</div>" for note in self._notes)
        data = {
            "text/html": f'<div class="pb-live"><style>{STYLE}</style>{body}{notes}</div>',
            "text/plain": visible("\n".join([heading or "working", *self._notes]), keep="\n"),
        }
        self._publisher.publish(data, transient=self._id, update=self._drawn is not None)
        self._drawn = time.monotonic()


def _moving(stage: StageLine, depth: int) -> str:
    """The row of a stage that has not ended."""
    bar, left = "", ""
    if stage.total:
        bar = f'<progress max="{stage.total}" value="{stage.done}"></progress> {stage.done}/{stage.total} '
    if stage.left is not None:
        left = f", about {clock(stage.left)} left"
    return _row(stage.name, depth, f"{bar}{escape(clock(stage.elapsed))}{left}", figures(stage.values))


def _row(name: str, depth: int, state: str, said: str) -> str:
    """A stage's name, indented, its state as HTML, and its figures."""
    indent = "&emsp;" * depth
    return f"<tr><td>{indent}{escape(name)}</td><td>{state}</td><td>{escape(said)}</td></tr>"

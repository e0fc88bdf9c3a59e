"""A run's progress while it goes, for a person.

Every text that a user or a plug-in chose (names of groups, options, paths) reaches rich as `Text` or
with markup off, so that a bracket in it is a bracket.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from prefbench.report.live_notebook import Notebook, shell_of_notebook
from prefbench.report.live_stages import Nested, StageLine, figures, indented
from prefbench.store.progress import Reporter, Silent
from prefbench.text import clock

PLAIN_SECONDS = 10.0
"""Least time between two lines of progress where there is no terminal to redraw."""


class Live:
    """For a terminal: a line for each finished stage, and below them a redrawn view of what goes on."""

    def __init__(self, console: Console, first: str) -> None:
        self._stages = Nested()
        self._between = first
        self._spinner = Spinner("line")
        self.view = RichLive(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True
        )

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts."""
        self._stages.active.append(StageLine(stage, stored))
        self.view.refresh()

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage."""
        found = self._stages.find(stage)
        if found is not None:
            found.step(done, total, dict(values))

    def end(self, stage: str, seconds: float) -> None:
        """A stage is complete: its line stays."""
        closed = self._stages.close(stage)
        if closed is None:
            return
        self.view.refresh()  # else printing would draw the last view once more
        found, depth = closed
        self._between = f"after {stage}"
        line = f"{indented(stage, depth)}  {'stored' if found.stored else clock(seconds)}"
        said = figures(found.values)
        _print(self.view.console, line + (f"  {said}" if said else ""))

    def note(self, message: str) -> None:
        """A line that a person should see."""
        _print(self.view.console, message)

    def _render(self) -> RenderableType:
        if not self._stages.active:
            self._spinner.update(text=Text(self._between))
            return self._spinner
        grid = Table.grid(padding=(0, 2, 0, 0))
        for depth, stage in enumerate(self._stages.active):
            grid.add_row(
                Text(indented(stage.name, depth)),
                ProgressBar(total=stage.total, completed=stage.done, width=24)
                if stage.total
                else self._spinner,
                Text(f"{stage.done}/{stage.total}" if stage.total else ""),
                Text(clock(stage.elapsed)),
                Text("" if stage.left is None else f"about {clock(stage.left)} left"),
            )
        self._spinner.update(text="")
        said = figures(self._stages.active[-1].values)
        return Group(grid, Text("  " + said, overflow="ellipsis", no_wrap=True)) if said else grid


class Plain:
    """For a log: a line when a stage begins and ends, and one now and then between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages = Nested()
        self._told = time.monotonic()

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts."""
        self._stages.active.append(StageLine(stage, stored))
        self._tell(f"{stage}: {'stored' if stored else 'started'}")

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage."""
        found = self._stages.find(stage)
        if found is None:
            return
        found.step(done, total, values)
        if time.monotonic() - self._told >= PLAIN_SECONDS:
            left = "" if found.left is None else f", about {clock(found.left)} left"
            self._tell(f"{stage}: {done}/{total}, {clock(found.elapsed)}{left}  {figures(values)}".rstrip())

    def end(self, stage: str, seconds: float) -> None:
        """A stage is complete."""
        closed = self._stages.close(stage)
        if closed is not None and not closed[0].stored:
            self._tell(f"{stage}: done in {clock(seconds)}")

    def note(self, message: str) -> None:
        """A line that a person should see."""
        self._tell(message)

    def _tell(self, line: str) -> None:
        self._told = time.monotonic()
        _print(self._console, line)


@contextlib.contextmanager
def waiting(words: str, quiet: bool, console: Console) -> Iterator[None]:
    """Words on a terminal for as long as something is waited for; nothing in a log or a notebook."""
    if quiet or not _is_redrawn(console):
        yield
    else:
        with console.status(Text(words), spinner="line"):
            yield


@contextlib.contextmanager
def reporter(
    quiet: bool, console: Console, title: str | None = None, first: str = "preparing"
) -> Iterator[Reporter]:
    """The reporter for `console` of how one run goes: none, a redrawn view, or lines for a log.

    Args:
        quiet: tell nothing.
        console: where it is told; one that rich knows to be in a notebook has it shown below the cell.
        title: the run's name among several, said first.
        first: what goes on before the first stage, in words on a terminal.
    """
    if quiet:
        yield Silent()
    elif console.is_jupyter:
        with Notebook(shell_of_notebook(), title) as notebook:
            yield notebook
    elif _is_redrawn(console):
        live = Live(console, first)
        with live.view:
            live.view.refresh()  # else the first view comes a quarter of a second later
            yield _titled(live, title)
    else:
        yield _titled(Plain(console), title)


def _is_redrawn(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def _titled(teller: Reporter, title: str | None) -> Reporter:
    if title is not None:
        teller.note(title)
    return teller


def _print(console: Console, line: str) -> None:
    # Not wrapped where the line goes to a file: a path that is cut in two cannot be copied.
    console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

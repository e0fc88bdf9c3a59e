"""The view of a sweep while it goes: done, running, failed, and the time that is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prefbench.report.live import PLAIN_SECONDS
from prefbench.spec import RunSpec
from prefbench.sweep.cell import Outcome
from prefbench.text import clock, one_line

SHOWN_CELLS = 16
"""Running cells with a line of their own."""
NAMED_CELLS = 4
"""Running cells that a line of a log names."""


@dataclass
class _Running:
    name: str
    stage: str = "starting"
    done: int = 0
    total: int = 0
    started: float = field(default_factory=time.monotonic)


class Progress:
    """Counts, and tells nobody."""

    def __init__(self, names: Mapping[str, str], before: int) -> None:
        self.names = names
        """Names of all cells by the hashes of their specifications: `labels.labels_of`."""
        self.total = len(names)
        self.before = before
        """Cells that were done when the sweep began, or that another sweep did."""
        self.done = 0
        self.failed = 0
        self.running: dict[str, _Running] = {}
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the sweep began."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float | None:
        """Seconds that the rest needs at the pace so far; None before there is one."""
        finished = self.done + self.failed
        rest = self.total - self.before - finished
        return self.elapsed / finished * rest if finished else None

    @property
    def line(self) -> str:
        """The state of the sweep in one line."""
        parts = [f"{self.before + self.done}/{self.total} done"]
        parts += [f"{self.before} of them before"] if self.before else []
        parts += [f"{len(self.running)} running", f"{self.failed} failed", clock(self.elapsed)]
        parts += [f"about {clock(self.left)} left"] if self.left is not None else []
        return ", ".join(parts)

    def started(self, spec: RunSpec) -> None:
        """A cell is with a worker."""
        self.running[spec.hash] = _Running(self.names[spec.hash])

    def stage(self, spec: RunSpec, stage: str, done: int = 0, total: int = 0) -> None:
        """A running cell is in a stage, so far in it."""
        cell = self.running.get(spec.hash)
        if cell is not None:
            cell.stage, cell.done, cell.total = stage, done, total

    def gone(self, spec: RunSpec) -> None:
        """A cell is with no worker any more."""
        self.running.pop(spec.hash, None)

    def finished(self, spec: RunSpec, outcome: Outcome) -> None:
        """A cell is over."""
        self.gone(spec)
        if outcome.status == "ok":
            self.done += 1
        elif outcome.status == "before":
            self.before += 1
        else:
            self.failed += 1
            self.note(f"{outcome.status}: {self.names[spec.hash]}: {outcome.message}")

    def said(self, spec: RunSpec, message: str) -> None:
        """A running cell has something to say."""
        self.note(f"{self.names[spec.hash]}: {message}")

    def note(self, message: str) -> None:
        """A line that a person should see."""

    def tick(self) -> None:
        """Called a few times a second."""


class _PlainProgress(Progress):
    """For a log: a line for each cell that ends, and one now and then."""

    def __init__(self, names: Mapping[str, str], before: int, console: Console) -> None:
        super().__init__(names, before)
        self._console = console
        self._told = 0.0

    def note(self, message: str) -> None:
        """A line that a person should see."""
        _print(self._console, message)

    def finished(self, spec: RunSpec, outcome: Outcome) -> None:
        """A cell is over; of one that ended well the time is told, of others what became of them."""
        super().finished(spec, outcome)
        if outcome.status == "ok":
            self.note(f"ok: {self.names[spec.hash]}, in {clock(outcome.seconds)}")

    def tick(self) -> None:
        """A line of progress if the last one is old, and the cells that are running."""
        if time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            _print(self._console, self.line)
            for cell in list(self.running.values())[:NAMED_CELLS]:
                at = f" {cell.done}/{cell.total}" if cell.total else ""
                _print(self._console, f"running: {cell.name}: {cell.stage}{at}")


class _LiveProgress(Progress):
    """For a terminal: a redrawn view."""

    def __init__(self, names: Mapping[str, str], before: int, console: Console) -> None:
        super().__init__(names, before)
        self._console = console
        self.view = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def note(self, message: str) -> None:
        """A line that a person should see."""
        _print(self._console, message)

    def _render(self) -> RenderableType:
        head = Table.grid(padding=(0, 2, 0, 0))
        completed = self.before + self.done + self.failed
        head.add_row(ProgressBar(total=self.total, completed=completed, width=24), Text(self.line))
        grid = Table.grid(padding=(0, 2, 0, 0))
        cells = list(self.running.values())
        for cell in cells[:SHOWN_CELLS]:
            grid.add_row(
                Text("  " + one_line(cell.name), overflow="ellipsis", no_wrap=True),
                Text(cell.stage),
                Text(f"{cell.done}/{cell.total}" if cell.total else ""),
                Text(clock(time.monotonic() - cell.started)),
            )
        if len(cells) > SHOWN_CELLS:
            grid.add_row(Text(f"  and {len(cells) - SHOWN_CELLS} more"))
        return Group(head, grid)


@contextlib.contextmanager
def progress(names: Mapping[str, str], before: int, quiet: bool, console: Console) -> Iterator[Progress]:
    """The reporter for `console` of how a sweep goes: none, a redrawn view, or lines for a log.

    Args:
        names: of all cells, by the hashes of their specifications.
        before: how many of them were done.
        quiet: show nothing.
        console: where to.
    """
    if quiet:
        yield Progress(names, before)
    elif console.is_terminal and not console.is_dumb_terminal:
        live = _LiveProgress(names, before, console)
        with live.view:
            yield live
    else:
        yield _PlainProgress(names, before, console)


def _print(console: Console, line: str) -> None:
    console.print(one_line(line), markup=False, highlight=False, emoji=False, soft_wrap=True)

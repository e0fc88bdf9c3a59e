"""What a person sees of a run: progress while it goes, and who won when it is over.

Every text that a user or a plug-in chose (names of groups, options, paths) reaches rich as `Text` or
with markup off, so that a bracket in it is a bracket.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from prefbench.record.record import GroupRecord, Record, near_reference
from prefbench.store.progress import Reporter, Silent
from prefbench.text import clock, one_line

PLAIN_SECONDS = 10.0
"""Least time between two lines of progress where there is no terminal to redraw."""
NAME_WIDTH = 12

Quiet = Silent
"""Tells nobody."""


# ---------------------------------------------------------------------------------------- progress


@dataclass
class _Stage:
    """A stage that has begun and not ended."""

    name: str
    stored: bool
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    _first: int = 0
    _loop_started: float = 0.0

    def step(self, done: int, total: int, values: Mapping[str, float]) -> None:
        """Take in where a loop is. A stage may have several loops, one after the other."""
        if total != self.total or done <= self.done:
            # Counted from the first step seen: a continued loop does not start at nothing.
            self._first, self._loop_started = done, time.monotonic()
        self.done, self.total, self.values = done, total, values

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds that the current loop still needs at its pace so far; None before there is a pace."""
        if self.done <= self._first:
            return None
        pace = (time.monotonic() - self._loop_started) / (self.done - self._first)
        return pace * (self.total - self.done)


class _Nested:
    """The stages under way, the innermost last: `rewards` may run inside `policy`."""

    def __init__(self) -> None:
        self.active: list[_Stage] = []

    def find(self, name: str) -> _Stage | None:
        return next((stage for stage in reversed(self.active) if stage.name == name), None)

    def close(self, name: str) -> tuple[_Stage, int] | None:
        """Drop a stage and whatever did not end within it; give it back with its depth."""
        stage = self.find(name)
        if stage is None:
            return None
        depth = self.active.index(stage)
        del self.active[depth:]
        return stage, depth


class Live:
    """For a terminal: a line for each finished stage, and below them a redrawn view of what goes on."""

    def __init__(self, console: Console) -> None:
        self._stages = _Nested()
        self._spinner = Spinner("line")
        self.view = RichLive(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True
        )

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts."""
        self._stages.active.append(_Stage(stage, stored))
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
        line = f"{_indented(stage, depth)}  {'stored' if found.stored else clock(seconds)}"
        figures = _figures(found.values)
        _print(self.view.console, line + (f"  {figures}" if figures else ""))

    def note(self, message: str) -> None:
        """A line that a person should see."""
        _print(self.view.console, message)

    def _render(self) -> RenderableType:
        if not self._stages.active:
            self._spinner.update(text=Text("working"))
            return self._spinner
        grid = Table.grid(padding=(0, 2, 0, 0))
        for depth, stage in enumerate(self._stages.active):
            grid.add_row(
                Text(_indented(stage.name, depth)),
                ProgressBar(total=stage.total, completed=stage.done, width=24)
                if stage.total
                else self._spinner,
                Text(f"{stage.done}/{stage.total}" if stage.total else ""),
                Text(clock(stage.elapsed)),
                Text("" if stage.left is None else f"about {clock(stage.left)} left"),
            )
        self._spinner.update(text="")
        figures = _figures(self._stages.active[-1].values)
        return Group(grid, Text("  " + figures, overflow="ellipsis", no_wrap=True)) if figures else grid


class Plain:
    """For a log: a line when a stage begins and ends, and one now and then between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages = _Nested()
        self._told = time.monotonic()

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts."""
        self._stages.active.append(_Stage(stage, stored))
        self._tell(f"{stage}: {'stored' if stored else 'started'}")

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage."""
        found = self._stages.find(stage)
        if found is None:
            return
        found.step(done, total, values)
        if time.monotonic() - self._told >= PLAIN_SECONDS:
            left = "" if found.left is None else f", about {clock(found.left)} left"
            self._tell(f"{stage}: {done}/{total}, {clock(found.elapsed)}{left}  {_figures(values)}".rstrip())

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
def reporter(quiet: bool, console: Console) -> Iterator[Reporter]:
    """Who tells a person on `console` how one run goes: nobody, a redrawn view, or lines for a log."""
    if quiet:
        yield Quiet()
    elif console.is_terminal and not console.is_dumb_terminal:
        live = Live(console)
        with live.view:
            yield live
    else:
        yield Plain(console)


def _indented(name: str, depth: int) -> str:
    return f"{'  ' * depth}{name}".ljust(NAME_WIDTH)


def _figures(values: Mapping[str, float]) -> str:
    """`reward/fans 0.31, KL 0.07`."""
    named = (("KL" if name == "kl" else name, value) for name, value in values.items())
    return ", ".join(f"{name} {value:.3g}" for name, value in named)


def _print(console: Console, line: str) -> None:
    # Not wrapped where the line goes to a file: a path that is cut in two cannot be copied.
    console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


# ----------------------------------------------------------------------------------------- results


def result_table(record: Record) -> Table:
    """Each group's win rate with its interval and counts, and what to read beside it."""
    title = (
        f"{record.task}@{record.task_version}, {record.aligner}, {record.model}, {record.data}, "
        f"minority ratio {record.minority_ratio:g}, seed {record.seed}"
    )
    told = any(group.prompted is not None for group in record.groups)
    if told:  # all of it does not fit a narrow terminal, and utilities are in the record
        header = ["group", "share", "win rate", "won/tied/\nlost", "reward\nacc.", "win rate,\ntold"]
    else:
        header = ["group", "share", "win rate", "won/tied/lost", "utility", "ref.\nutility", "reward\nacc."]
    table = _table(title, header)
    for group in record.groups:
        utilities = [_number(group.mean_utility), _number(group.reference_utility)]
        accuracy = _number(group.reward_accuracy)
        table.add_row(
            *_texts(
                group.name + (" (minority)" if group.is_minority else ""),
                f"{group.share:.1%}",
                _rate(group.win_rate, group.ci_low, group.ci_high),
                f"{group.wins}/{group.ties}/{group.losses}",
                *([accuracy, _told(group)] if told else [*utilities, accuracy]),
            )
        )
    _keep_whole(table.columns[1:])
    if record.status == "ok":
        kl = "unknown" if record.kl is None else f"{record.kl:.2f} nats"
        near = near_reference(record.kl)
        lines = [
            *([f"this policy is {near}: read its win rates as one half"] if near else []),
            f"KL {kl}; {_number(record.mean_length)} words a response, reference "
            f"{_number(record.reference_length)}; {record.empty_rate or 0:.1%} empty",
            f"{record.n_prompts} prompts: between two such runs, differences under "
            f"{_number(record.mde)} may go unseen",
        ]
        if told:
            lines.append("told: with the group's instruction in the prompt of both policies")
        if record.em is not None:
            sizes = " and ".join(map(str, record.em.cluster_sizes))
            agreement = record.em.adjusted_rand_index
            lines.append(f"EM: clusters of {sizes} annotators, adjusted Rand index {_number(agreement)}")
        lines.extend(f"note: {one_line(note)}" for note in record.notes)
        if record.regret is not None:
            lost = max(record.regret.groups, key=lambda group: group.regret)
            lines.append(
                f"exact: {one_line(lost.name)} could have {lost.regret:.2f} more, the worst off "
                f"{record.regret.egalitarian_regret:.2f}, all at once {record.regret.pareto_distance:.2f} "
                f"(standard deviations of utility, KL weight {record.regret.beta:g})"
            )
        table.caption = Text("\n".join(lines))
    return table


def verdict(record: Record) -> str:
    """One sentence: who is worst off, or why nobody can say."""
    if record.status != "ok":
        return f"{record.status}: {one_line(record.message or '')}"
    worst = next(group for group in record.groups if group.name == record.worst_group)
    others = [group for group in record.groups if group.name != worst.name]
    rate = _rate(worst.win_rate, worst.ci_low, worst.ci_high)
    role = ", the minority," if worst.is_minority else ""
    said = f"{worst.name}{role} wins {rate} of its comparisons with the reference policy"
    best = max(others, key=lambda group: group.win_rate)
    against = f"{best.name} wins {_rate(best.win_rate, best.ci_low, best.ci_high)}"
    near = near_reference(record.kl)
    if near is not None:
        return f"No group won or lost anything that shows, as this policy is {near}: {said}, {against}."
    # Intervals that overlap may still hide a difference; then the careful answer is the right one.
    if any(group.ci_low <= worst.ci_high for group in others):
        return f"No group is clearly worst off on {record.n_prompts} prompts: {said}, {against}."
    return f"Worst off: {said}, {against}."


def seeds_table(summary: Mapping[str, Any]) -> Table:
    """`leaderboard.summarise_seeds` for a reader: each measure over seeds with its two-level interval."""
    seeds = " ".join(str(seed) for seed in summary["seeds"])
    table = _table(f"over {summary['n_seeds']} seeds ({seeds})", ["measure", "mean over seeds"])
    for name in ("worst_group_win_rate", "minority_win_rate", "majority_win_rate", "mean_win_rate", "gap"):
        if summary[name] is not None:
            rate = _rate(summary[name], summary[f"{name}_low"], summary[f"{name}_high"])
            whose = f" ({summary['worst_group']})" if name == "worst_group_win_rate" else ""
            table.add_row(*_texts(name.replace("_", " ") + whose, rate))
    caption = "95% intervals over seeds and prompts"
    if summary["status"] != "ok":
        caption = str(summary["status"])
    elif summary["n_seeds"] < 5:
        caption += "; with so few seeds the spread between seeds is itself uncertain"
    near = near_reference(summary["kl"])
    if near is not None:
        caption += f"; on average the policy is {near}"
    table.caption = Text(one_line(caption))
    return table


def rows_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Plain rows of text under a header."""
    table = _table(title, header)
    for row in rows:
        table.add_row(*_texts(*row))
    _keep_whole(table.columns[:1])
    return table


def render(table: Table, console: Console) -> str:
    """The table as text for that console, without trailing blanks."""
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def _table(title: str, header: Sequence[str]) -> Table:
    table = Table(
        title=Text(title) if title else None,
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for name in header:
        table.add_column(Text(name), overflow="fold")
    return table


def _keep_whole(columns: Iterable[Column]) -> None:
    """Let a narrow terminal break the other columns first."""
    for column in columns:
        column.no_wrap = True


def _texts(*cells: str) -> list[Text]:
    return [Text(one_line(cell)) for cell in cells]


def _rate(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _told(group: GroupRecord) -> str:
    told = group.prompted
    return "" if told is None else _rate(told.win_rate, told.ci_low, told.ci_high)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

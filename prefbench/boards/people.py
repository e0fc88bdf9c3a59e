"""Rows of a board by what is known of whoever is answered: strata over seeds, beside the best single policy.

The figures are those of the records, judged over seeds as every other figure of the board is. The best single
policy is the learner that sees nothing of people and has the largest mean worst group: what a policy for each
person has to beat, on the same people. Nobody is held against a row of another board, or one that was tuned
with another budget.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from prefbench.boards.names import board_key, board_name, config_hash, contest_of
from prefbench.boards.ranks import Held, roles
from prefbench.boards.rows import Row
from prefbench.errors import UserError
from prefbench.evaluate.room import Room
from prefbench.problem.strata import TELLING, Shown
from prefbench.record.people_controls import default_kept, unmoved
from prefbench.record.room import room_of
from prefbench.record.schema import Record
from prefbench.stats.comparisons import holm
from prefbench.stats.intervals import Interval
from prefbench.stats.runs import Mean, interval_of, mean_of_rates, two_sided_p

WORST = "worst_group_win_rate"
MEASURES = (WORST, "win_rate", "worst_tenth", "gini", "atkinson")
"""Figures of a stratum, as `StratumRecord` has them."""
SURE = 0.05
SLIGHT = 0.02
"""Difference of win rates that is nothing to speak of: two comparisons in a hundred."""
Told = TypeVar("Told")
Answer = Literal["passes", "fails", "cannot tell"]
"""Answers of a control."""
Beats = int | Literal["never", "cannot tell"]
"""Least number of a person's pairs from which the best single policy is beaten, or why there is none."""


class Known(NamedTuple):
    """Knowledge of people in a stratum."""

    seen: bool
    n: int | None
    """Pairs of an unseen person; None of the seen."""
    context: Shown = "own"


class Difference(NamedTuple):
    """One row's figure less another's over seeds."""

    estimate: float
    interval: Interval | None
    """At 95%; None where a single seed leaves it unknown."""
    p_value: float | None
    """Two-sided over seeds; corrected by Holm over the numbers of pairs where it is one of them."""

    @property
    def better(self) -> bool:
        """True if it is surely more than nothing."""
        return self.p_value is not None and self.p_value < SURE and self.estimate > 0


@dataclass(frozen=True)
class PeopleFigures:
    """One stratum of a row, over its seeds."""

    known: Known
    people: int | None
    """People of all groups who judged, in one run; None where nobody differs and none are kept."""
    worst_group: str
    """Group that is worst in most runs."""
    figures: Mapping[str, tuple[float, Interval | None]]
    """By name of `MEASURES`: mean over runs and 95% interval, if it is known."""
    kl: float | None
    minus_single: Difference | None
    """Worst group less that of the best single policy; None of that and of other single policies."""
    own_minus: Difference | None
    """Win rate of a control: that with the own context less that with this one."""
    answer: Answer | None
    """Answer of a control, and for those of whom nothing is known: true if what is due is so."""


@dataclass(frozen=True)
class PeopleRow:
    """A complete row of a board on which it matters who is answered."""

    row: Row
    role: str
    single: Row | None
    """The best single policy of its board; None where there is none."""
    room: Room | None
    """Exact, mean over seeds; None where no optimum is known."""
    strata: tuple[PeopleFigures, ...]
    beats: Beats | None
    """None of single policies, of a board without one, and where nobody is unseen."""

    @property
    def is_single(self) -> bool:
        """True of the best single policy itself."""
        return self.row is self.single


class _BoardStratum(NamedTuple):
    """One stratum of one run."""

    people: int | None
    worst: str
    kl: float | None
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]
    own_minus: Difference | None


@dataclass(frozen=True)
class _Strata:
    """The strata of a row's runs, seed by seed."""

    row: Row

    @cached_property
    def runs(self) -> list[dict[Known, _BoardStratum]]:
        return [_of_record(record) for record in self.row.records.values()]

    @property
    def known(self) -> list[Known]:
        """Strata that every run has, in order."""
        return [known for known in self.runs[0] if all(known in run for run in self.runs)]

    @property
    def prompts(self) -> list[int]:
        return [len(seed.scores) for seed in self.row.seeds]

    def held(self, known: Known) -> Held:
        """Worst groups of a stratum, ready to be held against another row's."""
        of = [(seed.seed, hash(seed.prompts)) for seed in self.row.seeds]
        runs = [np.array([run[known].values[WORST]]) for run in self.runs]
        return Held(of, runs, lambda each: mean_of_rates(np.concatenate(each), self.prompts))

    def worst(self, known: Known) -> float:
        """Mean worst group of a stratum."""
        return float(np.mean([run[known].values[WORST] for run in self.runs]))


def people_rows(rows: Sequence[Row]) -> list[PeopleRow]:
    """Rows of the boards on which it matters who is answered, by board; empty where there is none.

    A row that is not complete is left out with a warning.
    """
    role = roles(rows)
    boards: dict[str, list[Row]] = {}
    for row in rows:
        boards.setdefault(board_key(row.first), []).append(row)
    found: list[PeopleRow] = []
    for key in sorted(boards, key=lambda key: (board_name(boards[key][0].first), key)):
        board = boards[key]
        if not any(record.people is not None for row in board for record in row.records.values()):
            continue
        for row in board:
            if row.status != "ok":
                warnings.warn(
                    f"{row.first.aligner} on {board_name(row.first)}: not among the rows by people, it is "
                    f"{row.status}",
                    stacklevel=2,
                )
        whole = [row for row in board if row.status == "ok"]
        for contest in sorted({contest_of(row.first) for row in whole}):
            rivals = [row for row in whole if contest_of(row.first) == contest]
            single = best_single(rivals, role)
            found += [_people_row(row, role[row.first.aligner], single) for row in rivals]
    return found


def best_single(rows: Iterable[Row], role: Mapping[str, str]) -> Row | None:
    """The learner that sees nothing of people with the largest mean worst group; None where there is none.

    Judged by the unseen where there are some, else by the seen.

    Args:
        rows: complete ones of one board and contest.
        role: from `ranks.roles`.
    """
    alone = [_Strata(row) for row in rows if role[row.first.aligner] == "learner" and not row.first.sees]
    if not alone:
        return None
    return min(
        alone,
        key=lambda each: (-each.worst(_base(each)), each.row.first.aligner, config_hash(each.row.first.spec)),
    ).row


def _base(strata: _Strata) -> Known:
    """The stratum that a single policy is known by: it answers the unseen alike at any number of pairs."""
    nothing = Known(False, 0)
    return nothing if nothing in strata.known else Known(True, None)


def _people_row(row: Row, role: str, single: Row | None) -> PeopleRow:
    ours = _Strata(row)
    theirs = None if single is None or not row.first.sees else _Strata(single)
    minus = {} if theirs is None else _minus_single(ours, theirs)
    evidence = _Controls(row)
    strata = tuple(_figures(ours, known, minus.get(known), evidence) for known in ours.known)
    rooms = [room for record in row.records.values() if (room := room_of(record)) is not None]
    whole = bool(rooms) and len(rooms) == len(row.records)
    return PeopleRow(
        row,
        role,
        single,
        Room(*np.mean(rooms, axis=0).tolist()) if whole else None,
        strata,
        beats_from({known.n: each for known, each in minus.items() if known.n is not None}),
    )


def _minus_single(ours: _Strata, theirs: _Strata) -> dict[Known, Difference]:
    """The worst group of every own stratum less the best single policy's, paired over seeds."""
    means = {
        known: ours.held(known).less(theirs.held(known))[0]
        for known in ours.known
        if known.context == "own" and known in theirs.known
    }
    sizes = [known for known in means if not known.seen]
    adjusted = dict(zip(sizes, holm([two_sided_p(means[known]) for known in sizes]).tolist(), strict=True))
    return {known: _difference(mean, adjusted.get(known, two_sided_p(mean))) for known, mean in means.items()}


def _difference(mean: Mean, p_value: float) -> Difference:
    return Difference(mean.estimate, interval_of(mean, low=-1.0) if np.isfinite(mean.se) else None, p_value)


def beats_from(by_size: Mapping[int, Difference]) -> Beats | None:
    """The least number of pairs with which a row surely beats the best single policy.

    `never` if at every number more than `SLIGHT` is ruled out; None where there is no number.
    """
    if not by_size:
        return None
    better = [n for n, difference in by_size.items() if difference.better]
    if better:
        return min(better)
    ends = [difference.interval for difference in by_size.values()]
    return "never" if all(end is not None and end.high <= SLIGHT for end in ends) else "cannot tell"


@dataclass(frozen=True)
class _Controls:
    """Evidence of a row on its controls beside win rates."""

    row: Row

    @cached_property
    def unmoved(self) -> set[Shown]:
        """Controls under which no run says anything else; none where evidence cannot be read."""
        found = self._each(unmoved)
        return set.intersection(*found) if found else set()

    @cached_property
    def default(self) -> Answer:
        """True if those of whom nothing is known are given the default in every run."""
        found = self._each(default_kept)
        return "cannot tell" if found is None else "passes" if all(found) else "fails"

    def _each(self, told: Callable[[Path], Told]) -> list[Told] | None:
        """Evidence of each run; None, with a warning, where one cannot be read."""
        try:
            return [told(folder) for folder in self.row.folders.values()]
        except Exception as error:  # the runs may be a stranger's, and their tables odd in any way
            said = error if isinstance(error, UserError) else f"its evidence is odd ({type(error).__name__})"
            warnings.warn(f"controls of {self.row.first.aligner} are not known: {said}", stacklevel=2)
            return None


def _figures(strata: _Strata, known: Known, minus: Difference | None, evidence: _Controls) -> PeopleFigures:
    each = [run[known] for run in strata.runs]
    figures = {}
    for name in MEASURES:
        values = [one.values[name] for one in each if name in one.values]
        if len(values) < len(each):
            continue
        mean = mean_of_rates(values, strata.prompts)
        interval = interval_of(mean) if len(each) > 1 else each[0].intervals.get(name)
        figures[name] = (mean.estimate, interval)
    times = Counter(one.worst for one in each)
    kls = [one.kl for one in each if one.kl is not None]
    own_minus = _own_minus(strata, known)
    answer: Answer | None = None
    if strata.row.first.sees and known == Known(False, 0):
        answer = evidence.default
    elif own_minus is not None and known.context in TELLING:
        answer = control_answer(own_minus, known.context in evidence.unmoved)
    return PeopleFigures(
        known,
        each[0].people,
        max(times, key=lambda name: times[name]),
        figures,
        float(np.mean(kls)) if len(kls) == len(each) else None,
        minus,
        own_minus,
        answer,
    )


def control_answer(own_minus: Difference, same: bool) -> Answer:
    """The answer of a control.

    It fails where own labels are worth no more than `SLIGHT` beyond those of the control.

    Args:
        own_minus: win rate with a person's own context less that with the control's.
        same: the policy said word for word the same by both.
    """
    interval = own_minus.interval
    if same or (interval is not None and interval.high <= SLIGHT):
        return "fails"
    return "passes" if interval is not None and interval.low > 0 else "cannot tell"


def _own_minus(strata: _Strata, known: Known) -> Difference | None:
    """Own contexts against a control's, paired within runs; of one run by its people and prompts."""
    each = [found for run in strata.runs if (found := run[known].own_minus) is not None]
    if len(each) < len(strata.runs):
        return None
    if len(each) == 1:
        return each[0]
    mean = mean_of_rates([one.estimate for one in each], strata.prompts)
    return _difference(mean, two_sided_p(mean))


def _of_record(record: Record) -> dict[Known, _BoardStratum]:
    """The strata of a run; where nobody differs everybody is seen, and wants what her group wants."""
    people = record.people
    if people is None:
        assert record.worst_group is not None and record.worst_group_win_rate is not None
        rate = float(np.mean([group.win_rate for group in record.groups]))
        ends = record.worst_group_win_rate_ci
        return {
            Known(True, None): _BoardStratum(
                None,
                record.worst_group,
                record.kl,
                {WORST: record.worst_group_win_rate, "win_rate": rate},
                {} if ends is None else {WORST: Interval(*ends)},
                None,
            )
        }
    minus = {
        (other.context, other.n): Difference(other.difference, Interval(other.ci_low, other.ci_high), None)
        for other in people.own_minus
    }
    return {
        Known(each.seen, each.n, each.context): _BoardStratum(
            sum(group.people for group in each.groups),
            each.worst_group,
            each.kl,
            {name: getattr(each, name) for name in MEASURES},
            {
                WORST: Interval(*each.worst_group_win_rate_ci),
                "win_rate": Interval(each.ci_low, each.ci_high),
            },
            minus.get((each.context, each.n or 0)) if each.context != "own" else None,
        )
        for each in people.strata
    }

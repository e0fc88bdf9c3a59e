"""Tables of who won, for a person, when a run is over.

Every text that a user or a plug-in chose reaches rich as `Text`, so that a bracket in it is a bracket.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from prefbench.boards.outside import OUTSIDE_NOTE
from prefbench.record.near_reference import near_reference
from prefbench.record.room import room_of
from prefbench.record.schema import GroupRecord, Record
from prefbench.record.schema_people import StratumRecord
from prefbench.report.cells import IntervalCell
from prefbench.stats.covered import said_of
from prefbench.text import one_line, visible

MOST_RUNS = 40
"""Rows of `runs_table`; who has more of them takes a frame."""


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
        if record.outside is not None and record.outside.no_kl:
            kl += f" ({one_line(record.outside.no_kl)})"
        near = near_reference(record.kl)
        lines = [
            *([f"this policy is {near}: read its win rates as one half"] if near else []),
            f"KL {kl}; {_number(record.mean_length)} words a response, reference "
            f"{_number(record.reference_length)}; {record.empty_rate or 0:.1%} empty",
            *_beyond(record),
            f"{record.n_prompts} prompts: between two such runs, differences under "
            f"{_number(record.mde)} may go unseen",
        ]
        if record.outside is not None:
            lines.append(OUTSIDE_NOTE)
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


def room_line(record: Record) -> str | None:
    """Worth of knowing people's groups, at most, in a sentence; None where nobody is told apart.

    Exact, where responses can be listed; elsewhere nothing is known of it from one run.
    """
    room = room_of(record)
    if record.people is None or room is None:
        return None
    return f"{room.sentence} (Values V, exact: docs/personal.md)"


def people_table(record: Record) -> Table | None:
    """Win rates by what is known of people, each judging by her own utility; None where nobody differs."""
    if record.people is None:
        return None
    first = record.people.strata[0]
    seen = f"; the policy sees {' and '.join(record.sees)}" if record.sees else ""
    header = ["known of her", *(group.name for group in first.groups), "mean", "worst\ntenth", "Gini", "KL"]
    table = _table(f"by person{seen}", header)
    for stratum in record.people.strata:
        table.add_row(
            *_texts(
                _known(stratum),
                *(_number(group.win_rate) for group in stratum.groups),
                _rate(stratum.win_rate, stratum.ci_low, stratum.ci_high),
                _number(stratum.worst_tenth),
                _number(stratum.gini),
                _number(stratum.kl),
            )
        )
    _keep_whole([table.columns[0], table.columns[-4]])
    lines = [
        f"own context minus {other.context}, at {other.n}: "
        f"{other.difference:+.2f} [{other.ci_low:+.2f}, {other.ci_high:+.2f}]"
        for other in record.people.own_minus
    ]
    if lines:
        table.caption = Text("\n".join(lines))
    return table


def _known(stratum: StratumRecord) -> str:
    """A stratum in words."""
    known = known_of(stratum.seen, stratum.n)
    return known if stratum.context == "own" else f"{known}, {stratum.context}"


def known_of(seen: bool, n: int | None) -> str:
    """Words for so much as is known of people."""
    if seen:
        return "her labels"
    if not n:
        return "nothing"
    return "1 pair" if n == 1 else f"{n} pairs"


def _beyond(record: Record) -> list[str]:
    """Lines on what a win rate does not see, where this run has it; the reference's figures in brackets."""
    lines, text = [], record.text
    if record.retention is not None:
        lines.append(f"{record.agreed} comparisons that all groups decide alike: {record.retention:.1%} won")
    if text is None:
        return lines
    difference = None
    if text.logprob_per_token is not None and text.reference_logprob_per_token is not None:
        difference = text.logprob_per_token - text.reference_logprob_per_token
    for said in (
        [
            _beside("responses with non-words", text.nonword_rate, text.reference_nonword_rate),
            _beside("distinct pairs of words", text.distinct_2, text.reference_distinct_2),
        ],
        [
            _beside("relevance", text.relevance, text.reference_relevance),
            None if difference is None else f"{difference:+.2f} nats a token by the reference",
        ],
    ):
        known = [part for part in said if part is not None]
        lines += ["; ".join(known)] if known else []
    return lines


def _beside(name: str, ours: float | None, theirs: float | None) -> str | None:
    return None if ours is None else f"{name} {ours:.2f} ({_number(theirs)})"


def verdict(record: Record) -> str:
    """One sentence: who is worst off, or why nobody can say."""
    if record.status != "ok":
        where = " (docs/faq.md#a-run-diverged)" if record.status == "diverged" else ""
        return one_line(f"{record.status}: {record.message or ''}{where}")
    return one_line(_verdict(record))


def _verdict(record: Record) -> str:
    worst = next(group for group in record.groups if group.name == record.worst_group)
    others = [group for group in record.groups if group.name != worst.name]
    rate = rate_cell(worst.win_rate, worst.ci_low, worst.ci_high)
    role = ", the minority," if worst.is_minority else ""
    said = f"{worst.name}{role} wins {rate} of its comparisons with the reference policy"
    best = max(others, key=lambda group: group.win_rate)
    against = f"{best.name} wins {rate_cell(best.win_rate, best.ci_low, best.ci_high)}"
    near = near_reference(record.kl)
    if near is not None:
        return f"No group won or lost anything that shows, as this policy is {near}: {said}, {against}."
    # Intervals that overlap may still hide a difference; then the careful answer is the right one.
    if any(group.ci_low <= worst.ci_high for group in others):
        return f"No group is clearly worst off on {record.n_prompts} prompts: {said}, {against}."
    return f"Worst off: {said}, {against}."


_SAYABLE = ("task", "model", "data", "ratio", "aligner")


def _run_cells(record: Record) -> dict[str, str]:
    worst = _bounded(record.worst_group_win_rate, record.worst_group_win_rate_ci)
    return {
        "task": f"{record.task}@{record.task_version}",
        "model": record.model,
        "data": record.data,
        "ratio": f"{record.minority_ratio:g}",
        "aligner": record.aligner,
        "seed": str(record.seed),
        "worst group": f"{worst} {record.worst_group or ''}".strip(),
        "minority": _bounded(record.minority_win_rate, record.minority_win_rate_ci),
        "gap": _number(record.gap),
        "KL": _number(record.kl),
        "status": record.status,
    }


def runs_table(records: Sequence[Record]) -> Table:
    """A row for each run: who is worst off in it, and what to read beside it."""
    cells = [_run_cells(record) for record in records]
    # What all runs agree on is said once, and leaves room for what differs.
    same = [name for name in _SAYABLE if len({row[name] for row in cells}) == 1]
    title = ", ".join(f"{name} {cells[0][name]}" for name in same)
    names = [name for name in cells[0] if name not in same]
    table = _table(title, names)
    for row in cells[:MOST_RUNS]:
        table.add_row(*_texts(*(row[name] for name in names)))
    _keep_whole(table.columns[names.index("seed") :])
    more = len(records) - MOST_RUNS
    if more > 0:
        table.caption = Text(f"and {more:,} more")
    return table


_BESIDE = {
    "worst_group_of_means": "smallest of the groups' means",
    "worst_seed": "worst group in the worst seed",
    "worst_group_cross_fitted": "worst group, cross-fitted",
}
"""Figures that say more of the worst group, and their names."""


def seeds_table(summary: Mapping[str, Any]) -> Table:
    """`boards.table.summarise_seeds` for a reader: each measure's mean over runs with its interval."""
    seeds = " ".join(str(seed) for seed in summary["seeds"])
    table = _table(f"over {summary['n_seeds']} seeds ({seeds})", ["measure", "mean over seeds"])
    for name in ("worst_group_win_rate", "minority_win_rate", "majority_win_rate", "mean_win_rate", "gap"):
        if summary[name] is not None:
            rate = _rate(summary[name], summary[f"{name}_low"], summary[f"{name}_high"])
            whose = f" (mostly {summary['worst_group']})" if name == "worst_group_win_rate" else ""
            table.add_row(*_texts(name.replace("_", " ") + whose, rate))
    if len(summary["groups"]) > 2:  # of two groups one is the minority and the other the majority
        for name, rate in summary["groups"].items():
            table.add_row(*_texts(f"win rate of {name}", _rate(rate, *summary["group_intervals"][name])))
    for name, label in _BESIDE.items():
        if summary[name] is not None:
            table.add_row(*_texts(label, _number(summary[name])))
    caption = "95% t intervals over seeds: one run is one observation"
    if summary["status"] != "ok":
        caption = str(summary["status"])
    else:
        few = said_of(summary["n_seeds"])
        caption = few if summary["n_seeds"] == 1 and few else caption + (f"; {few}" if few else "")
        seen = "prompts" if summary["n_seeds"] == 1 else "seeds"
        caption += f"; with so many {seen}, a difference under {_number(summary['mde'])} may go unseen"
    near = near_reference(summary["kl"])
    if near is not None:
        caption += f"; on average the policy is {near}"
    table.caption = Text(one_line(caption))
    return table


def rows_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str | Text]], names_break: bool = False
) -> Table:
    """Plain rows of text under a header.

    A narrow terminal breaks the other columns before the first, which has names; with `names_break` it breaks
    the first alone.
    """
    table = _table(title, header)
    for row in rows:
        table.add_row(*_texts(*row))
    _keep_whole(table.columns[1:] if names_break else table.columns[:1])
    return table


def render(table: Table, console: Console) -> str:
    """The table as text for that console, without trailing blanks."""
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def _table(title: str, header: Sequence[str]) -> Table:
    table = Table(
        title=Text(visible(title, keep="\n")) if title else None,
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


def _texts(*cells: str | Text) -> list[Text]:
    return [cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in cells]


def rate_cell(value: float, low: float, high: float) -> str:
    """A rate with its interval."""
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _rate(value: float, low: float, high: float) -> IntervalCell:
    return IntervalCell(rate_cell(value, low, high), (value, low, high))


def _bounded(value: float | None, bounds: tuple[float, float] | None) -> str:
    return "" if value is None or bounds is None else rate_cell(value, *bounds)


def _told(group: GroupRecord) -> str:
    told = group.prompted
    return "" if told is None else rate_cell(told.win_rate, told.ci_low, told.ci_high)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

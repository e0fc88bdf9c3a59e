"""Table of held-out labels of people against what was learned, for a person, when a run is over."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from prefbench.record.schema import Record
from prefbench.record.schema_held_out import HeldOutAccuracy, HeldOutStratum
from prefbench.report.tables import known_of, rate_cell, rows_table


def held_out_table(record: Record) -> Table | None:
    """Accuracy on held-out labels, group by group and over people; None where the task brought none."""
    if record.held_out is None:
        return None
    first = record.held_out.strata[0]
    told = first.implicit or first.reward
    if told is None:
        return None
    header = ["group", "labels", "people", "implicit reward", "learned reward"]
    rows = [
        [
            group.name,
            str(group.labels),
            str(group.people),
            *(_of_group(accuracy, group.name) for accuracy in (first.implicit, first.reward)),
        ]
        for group in told.groups
    ]
    rows.append(["mean of people", "", "", *map(_of_people, (first.implicit, first.reward))])
    rows.append(["worst tenth", "", "", *map(_of_worst, (first.implicit, first.reward))])
    table = rows_table("held-out labels: share ordered as labelled", header, rows)
    lines = [_line(stratum) for stratum in record.held_out.strata[1:]]
    if record.held_out.ties:
        lines.append(f"{record.held_out.ties} ties among the labels are left out")
    if lines:
        table.caption = Text("\n".join(lines))
    return table


def _of_group(accuracy: HeldOutAccuracy | None, name: str) -> str:
    found = None if accuracy is None else next((g for g in accuracy.groups if g.name == name), None)
    return "-" if found is None else rate_cell(found.accuracy, found.ci_low, found.ci_high)


def _of_people(accuracy: HeldOutAccuracy | None) -> str:
    return "-" if accuracy is None else rate_cell(accuracy.people_accuracy, *accuracy.people_accuracy_ci)


def _of_worst(accuracy: HeldOutAccuracy | None) -> str:
    return "-" if accuracy is None else f"{accuracy.worst_tenth:.2f}"


def _line(stratum: HeldOutStratum) -> str:
    """Accuracy for people of whom less is known, in one line."""
    accuracy, which = (stratum.implicit, "implicit") if stratum.implicit else (stratum.reward, "learned")
    if accuracy is None:
        return f"{known_of(stratum.seen, stratum.n)} known of her: accuracy unknown"
    each = ", ".join(f"{group.name} {group.accuracy:.2f}" for group in accuracy.groups)
    mean = rate_cell(accuracy.people_accuracy, *accuracy.people_accuracy_ci)
    return f"{known_of(stratum.seen, stratum.n)} known of her: {which} reward {each}; mean of people {mean}"

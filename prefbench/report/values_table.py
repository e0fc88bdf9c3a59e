"""Table of what a policy is worth to each person, exactly, by what is known of her, when a run is over."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from prefbench.record.schema import Record
from prefbench.report.tables import known_of, rows_table


def values_table(record: Record) -> Table | None:
    """Groups' exact values and people's regret along the context curve; None where no value is known."""
    strata = () if record.people is None else record.people.strata
    found = [(known_of(s.seen, s.n), s.exact) for s in strata if s.exact is not None and s.context == "own"]
    if not found:
        return None
    groups = [f"V of {group.name}" for group in found[0][1].groups]
    rows = [
        [
            known,
            *(f"{group.value:.2f}" for group in exact.groups),
            f"{exact.regret:.2f}",
            f"{exact.regret_worst_tenth:.2f}",
            f"{exact.regret_gini:.2f}",
        ]
        for known, exact in found
    ]
    header = ["known of her", *groups, "regret", "worst tenth", "its Gini"]
    table = rows_table("by person, exact", header, rows)
    table.caption = Text(
        "V = E u - KL weight times KL, in standard deviations of each one's utility; regret: what a person "
        "lacks of her best policy, its mean over groups, and that of the tenth who lose most"
    )
    return table

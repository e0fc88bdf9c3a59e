"""The room of personal policies, read off a record's exact regrets."""

from __future__ import annotations

from prefbench.evaluate.room import Room
from prefbench.record.schema import Record


def room_of(record: Record) -> Room | None:
    """The room of the problem that was run, whatever the aligner; None where no optimum is known.

    Both ends are exact: egalitarian regret is what the maxmin optimum gives the worst group beyond the
    policy's own worst value.
    """
    regret = record.regret
    if regret is None or not regret.groups:
        return None
    worst = min(group.value for group in regret.groups)
    return Room(worst + regret.egalitarian_regret, min(group.best for group in regret.groups))

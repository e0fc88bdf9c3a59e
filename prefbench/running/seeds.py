"""Several seeds: runs one after the other, each of them whatever became of those before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from prefbench.errors import PrefbenchError
from prefbench.record.schema import Record
from prefbench.running.run import run
from prefbench.spec import RunSpec
from prefbench.store.progress import Reporter
from prefbench.team import team

Watch = Callable[[RunSpec], AbstractContextManager[Reporter]]
"""From a run to whoever is told how it goes, for as long as it goes."""


def run_seeds(specs: Iterable[RunSpec], runs_dir: Path, watch: Watch) -> Iterator[tuple[Path, Record]]:
    """Folder and record of each run, as it ends.

    Raises:
        PrefbenchError: a run failed in one of several processes, and the others cannot go on without it.
    """
    for spec in specs:
        with watch(spec) as reporter:
            folder, record = run(spec, runs_dir, reporter)
        if record.status != "ok" and not team().together():
            raise PrefbenchError(f"{record.message}")
        yield folder, record


def worst_status(records: Iterable[Record]) -> str:
    """`ok` if all of the runs are, else the status of the first that is not."""
    return next((record.status for record in records if record.status != "ok"), "ok")

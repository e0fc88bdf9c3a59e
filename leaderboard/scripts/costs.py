"""Table of docs/results.md on what boards take, by the seconds that their records say."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median

import pandas as pd

from prefbench.record.files import find_records


def costs(published: Path) -> str:
    """One row for each packed board: its runs, and the time that they and half of its aligners take.

    A stage that several runs share counts in the run that computed it. Seconds are of processes with one
    thread, so that their sum is the time of one core.

    Args:
        published: folder with packed boards, also in folders of its own.
    """
    lines = []
    for board in sorted(published.rglob("*.zip")):
        seconds: dict[str, float] = defaultdict(float)
        runs = 0
        for _, record in find_records(board):
            seconds[record.aligner] += sum(record.timings.values())
            runs += 1
        lines.append(
            {
                "board": board.relative_to(published).with_suffix("").as_posix(),
                "runs": str(runs),
                "aligners": str(len(seconds)),
                "core-hours": f"{sum(seconds.values()) / 3600:.2f}",
                "minutes for an aligner": f"{median(seconds.values()) / 60:.2g}",
                "at most": f"{max(seconds.values()) / 60:.2g}",
            }
        )
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)

"""Tables of docs/results.md on whom EM places with whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd
from claims import probability, said

from prefbench.record.schema import Record
from prefbench.report.figures import ratio_label
from prefbench.stats.comparisons import holm
from prefbench.stats.runs import mean_of_figures, two_sided_p

SETTING = ["ratio", "pairs per annotator"]


def by_seed(records: Iterable[Record]) -> pd.DataFrame:
    """Adjusted Rand index of clusters and true groups, by setting and kind of EM; a column for each seed."""
    rows: dict[tuple[str, int, str], dict[int, float | None]] = defaultdict(dict)
    for record in records:
        if record.em is not None:
            pairs = record.spec["task_options"]["pairs_per_annotator"]
            key = (ratio_label(record.minority_ratio), pairs, record.spec["aligner_options"].get("em", ""))
            rows[key][record.seed] = record.em.adjusted_rand_index
    table = pd.DataFrame(rows).T.sort_index(ascending=[True, False, True])
    table.index.names = [*SETTING, "EM"]
    return table[sorted(table.columns)]


def agreement(records: Iterable[Record]) -> str:
    """The index of each seed, and their mean."""
    table = by_seed(records)
    table.insert(0, "mean", table.mean(axis=1))
    return table.map("{:.2f}".format).reset_index().to_markdown(index=False, disable_numparse=True)


def difference(records: Iterable[Record], first: str = "features", second: str = "plain") -> str:
    """The index of one kind of EM less that of another, by seed; p is corrected by Holm over the rows."""
    table = by_seed(records)
    found = [
        (setting, mean_of_figures(list(part.loc[(*setting, first)] - part.loc[(*setting, second)])))
        for setting, part in table.groupby(level=SETTING, sort=False)
    ]
    corrected = holm([two_sided_p(mean) for _, mean in found])
    lines = [
        {
            **dict(zip(SETTING, map(str, setting), strict=True)),
            f"{first} less {second} [95%]": said(mean),
            "p": probability(p),
            "seeds": str(table.shape[1]),
        }
        for (setting, mean), p in zip(found, corrected, strict=True)
    ]
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)

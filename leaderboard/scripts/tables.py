"""Tables of README.md and of pages in docs/, of what is published beside this folder.

    python leaderboard/scripts/tables.py            # print them
    python leaderboard/scripts/tables.py --write    # write them into the pages, between their markers
    python leaderboard/scripts/tables.py runs       # print those of other runs, a folder or a packed board

A table stands in a page between `<!-- table: NAME -->` and `<!-- /table -->`; a test compares both. Means
over runs; intervals are those of `prefbench leaderboard build`, over seeds.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from conditions import table as conditions_table
from personal import table as personal_table
from personas import across, worst
from regrets import ranks
from regrets import table as regrets_table
from routers import table as routers_table
from strategy import gains_of, losses_of

from prefbench import registry
from prefbench.boards.columns import PROMPTED
from prefbench.boards.csv_file import read_csv
from prefbench.boards.table import build
from prefbench.evaluate.texts import agreed, count_nonwords, distinct
from prefbench.record.evidence import item_outcomes, read_items
from prefbench.record.files import find_records
from prefbench.record.problems import Problems
from prefbench.record.schema import Record

PUBLISHED = Path(__file__).parents[1]
PAGES = (PUBLISHED.parent / "README.md", *sorted((PUBLISHED.parent / "docs").glob("*.md")))
MARKED = re.compile(r"<!-- table: ([\w-]+) -->\n\n(.*?)\n\n<!-- /table -->", re.DOTALL)
FEW = ("gold_maxmin", "maxmin", "single_reward")
"""Aligners of the table of single seeds."""
WELL_KNOWN = ("gold_maxmin", "maxmin_known_groups", "maxmin", "single_reward", "dpo", "gr_dpo", "reference")
"""Aligners of README's table."""
Runs = list[tuple[Path, Record]]


def ratio_of(share: float) -> str:
    """`10:1` for 0.0909."""
    return f"{1 / share - 1:.0f}:1"


def win_rates(frame: pd.DataFrame) -> str:
    """One row per aligner and ratio: rank, majority, minority, worst group with its interval, KL, length."""
    table = pd.DataFrame(
        {
            "ratio": frame["minority_ratio"].map(ratio_of),
            "aligner": frame["aligner"],
            "needs": frame["needs"],
            "rank": ranks(frame),
            "majority": frame["majority_win_rate"].map("{:.2f}".format),
            "minority": frame["minority_win_rate"].map("{:.2f}".format),
            "worst [95%]": [
                f"{r.worst_group_win_rate:.2f} [{r.worst_group_win_rate_low:.2f}, "
                f"{r.worst_group_win_rate_high:.2f}]"
                for r in frame.itertuples()
            ],
            "worst seed": frame["worst_seed"].map("{:.2f}".format),
            "of means": frame["worst_group_of_means"].map("{:.2f}".format),
            "KL": frame["kl"].map(lambda v: "" if pd.isna(v) else f"{v:.1f}"),
            "words": frame["mean_length"].map("{:.1f}".format),
            "seeds": frame["n_seeds"],
            "status": frame["status"],
        }
    )
    return table.to_markdown(index=False, disable_numparse=True)


def worst_by_ratio(frame: pd.DataFrame) -> str:
    """One row for each well-known aligner: the worst group's win rate, with its interval, at each ratio.

    Of movie reviews and the smallest model, with default options where a board has those and others.
    """
    board = frame["task"].str.startswith("imdb_two_group@") & (frame["model"] == "nano")
    whole = frame[board & frame["aligner"].isin(WELL_KNOWN) & (frame["status"] == "ok")]
    whole = whole.sort_values("variant", key=lambda said: said.fillna("") != "", kind="stable")
    whole = whole.drop_duplicates(["aligner", "minority_ratio"])
    ratios = sorted(whole["minority_ratio"].unique(), reverse=True)
    rows = []
    for name in WELL_KNOWN:
        mine = whole[whole["aligner"] == name].set_index("minority_ratio")
        cells = {
            ratio_of(ratio): f"{r.worst_group_win_rate:.2f} [{r.worst_group_win_rate_low:.2f}, "
            f"{r.worst_group_win_rate_high:.2f}]"
            for ratio in ratios
            if (r := mine.loc[ratio] if ratio in mine.index else None) is not None
        }
        if cells:
            rows.append({"aligner": f"`{name}`", "needs": mine["needs"].iloc[0], **cells})
    return pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True)


def by_seed(records: list[Record], value: str) -> str:
    """A figure for each seed, one row per aligner, ratio and group."""
    rows: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for record in records:
        for group in record.groups:
            figure = getattr(group, value)
            if figure is not None:
                role = "minority" if group.is_minority else "majority"
                rows[(record.aligner, ratio_of(record.minority_ratio), role)][record.seed] = figure
    table = pd.DataFrame(rows).T.sort_index()
    table = table[sorted(table.columns)]
    table.insert(0, "mean", table.mean(axis=1))
    table.index.names = ["aligner", "ratio", "group"]
    return table.reset_index().to_markdown(index=False, floatfmt=".2f")


def agreement(records: list[Record]) -> str:
    """Adjusted Rand index of EM's clusters and the true groups, for each seed."""
    rows: dict[tuple[str, int], dict[int, float | None]] = defaultdict(dict)
    for record in records:
        if record.em is not None:
            pairs = record.spec["task_options"]["pairs_per_annotator"]
            rows[(ratio_of(record.minority_ratio), pairs)][record.seed] = record.em.adjusted_rand_index
    table = pd.DataFrame(rows).T.sort_index(ascending=[True, False])
    table = table[sorted(table.columns)]
    table.index.names = ["ratio", "pairs per annotator"]
    return table.reset_index().to_markdown(index=False, floatfmt=".2f")


def beyond(runs: Runs) -> str:
    """Figures that a win rate does not show where the minority is smallest, computed of the texts."""
    smallest = min(record.minority_ratio for _, record in runs)
    problems = Problems()
    lexicon: dict[str, frozenset[str]] = {}
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for folder, record in runs:
        if record.minority_ratio > smallest or record.status != "ok":
            continue
        if record.task not in lexicon:
            # The words of a task are the same whichever way its prompts are split.
            today = record.model_copy(update={"task_version": registry.get("task", record.task).version})
            lexicon[record.task] = getattr(problems.of(today), "lexicon", None) or frozenset()
        items = read_items(folder)
        decided, won = agreed(item_outcomes(items, [group.name for group in record.groups]))
        said = items["response"].tolist()
        rows[record.aligner].append(
            [
                float(np.mean(np.array(count_nonwords(said, lexicon[record.task])) > 0)),
                *(distinct(said, n) or 0.0 for n in (1, 2)),
                won / decided,
            ]
        )
    columns = ["non-words", "distinct-1", "distinct-2", "kept"]
    table = pd.DataFrame({name: np.mean(found, axis=0) for name, found in rows.items()}, index=columns).T
    table = table.sort_values(["non-words", "kept"])
    return table.rename_axis("aligner").reset_index().to_markdown(index=False, floatfmt=".2f")


def published() -> dict[str, Callable[[], str]]:
    """Every table that stands in a page, by its name."""
    registry.load_plugins()
    runs: Runs = find_records(PUBLISHED / "results.zip")
    records = [record for _, record in runs]
    learned = [r for r in records if r.groups and r.groups[0].reward_accuracy is not None]
    few = [record for record in records if record.aligner in FEW]
    learned = [record for record in learned if record.aligner in FEW]
    personas = read_csv(PUBLISHED / "personas.csv")
    personas["task"] = personas["task"].str.partition("@")[0]
    style = personas[personas["task"] == "tulu_style"]
    strategy, unreliable = (pd.read_csv(PUBLISHED / f"{name}.csv") for name in ("strategy", "unreliable"))
    return {
        "worst-by-ratio": lambda: worst_by_ratio(read_csv(PUBLISHED / "results.csv")),
        "win-rates": lambda: win_rates(read_csv(PUBLISHED / "results.csv")),
        "beyond": lambda: beyond(runs),
        "by-seed": lambda: by_seed(few, "win_rate"),
        "reward-accuracy": lambda: by_seed(learned, "reward_accuracy"),
        "style-worst": lambda: worst(style, "worst_group_win_rate"),
        "style-told": lambda: worst(style, PROMPTED),
        "personas-worst": lambda: across(personas, "worst_group_win_rate"),
        "personas-told": lambda: across(personas, PROMPTED),
        "regret-one-question": lambda: regrets_table(PUBLISHED / "worlds", "worst_case_two_group"),
        "regret-three-groups": lambda: regrets_table(PUBLISHED / "worlds", "bandit_k_group"),
        "regret-walks": lambda: regrets_table(PUBLISHED / "worlds", "gridworld_two_group"),
        "regret-responses": lambda: regrets_table(PUBLISHED / "worlds", "response_pool"),
        "regret-two-groups": lambda: regrets_table(PUBLISHED / "worlds", "bandit_two_group"),
        "regret-votes": lambda: regrets_table(PUBLISHED / "worlds", "worst_case_two_group", votes=True),
        "conditions-one-question": lambda: conditions_table(PUBLISHED, "worst_case_two_group"),
        "conditions-responses": lambda: conditions_table(PUBLISHED, "response_pool"),
        "personal": lambda: personal_table(pd.read_csv(PUBLISHED / "personal.csv")),
        "routers": lambda: routers_table(pd.read_csv(PUBLISHED / "routers.csv", dtype={"known": str})),
        "strategy-one-question": lambda: gains_of(strategy, "one question"),
        "strategy-two-groups": lambda: gains_of(strategy, "two groups"),
        "strategy-votes": lambda: gains_of(strategy, "one question, three labels a pair"),
        "unreliable-one-question": lambda: losses_of(unreliable, "one question"),
        "clusters": lambda: routers_table(pd.read_csv(PUBLISHED / "clusters.csv", dtype={"known": str})),
    }


def written(text: str, tables: dict[str, Callable[[], str]]) -> str:
    """A page with its tables as they are today."""
    return MARKED.sub(lambda m: f"<!-- table: {m[1]} -->\n\n{tables[m[1]]()}\n\n<!-- /table -->", text)


def show(runs_dir: Path) -> None:
    """Print the tables of a runs folder or a packed board."""
    registry.load_plugins()
    records = [record for _, record in find_records(runs_dir)]
    learned = [r for r in records if r.groups and r.groups[0].reward_accuracy is not None]
    print("## Win rates\n\n" + win_rates(build(runs_dir)))
    print("\n## Win rate by seed\n\n" + by_seed(records, "win_rate"))
    if learned:
        print("\n## Reward accuracy on held-out pairs\n\n" + by_seed(learned, "reward_accuracy"))
    if any(record.em for record in records):
        print("\n## EM: adjusted Rand index\n\n" + agreement(records))


def main(given: list[str]) -> None:
    """Print or write the tables."""
    if given and given != ["--write"]:
        show(Path(given[0]))
        return
    tables = published()
    if not given:
        for name, table in tables.items():
            print(f"## {name}\n\n{table()}\n")
        return
    for page in PAGES:
        before = page.read_text()
        after = written(before, tables)
        if after != before:
            page.write_text(after)
            print(f"{page.name}: written")


if __name__ == "__main__":
    main(sys.argv[1:])

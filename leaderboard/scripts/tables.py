"""Tables of README.md and of pages in docs/, of what is published beside this folder.

    python leaderboard/scripts/tables.py            # print them
    python leaderboard/scripts/tables.py --write    # write them into the pages, between their markers
    python leaderboard/scripts/tables.py runs       # print those of other runs, a folder or a packed board

A table stands in a page between `<!-- table: NAME -->` and `<!-- /table -->`; a test compares both. Means
over runs; intervals are those of `prefbench leaderboard build`, over seeds.
"""

from __future__ import annotations

import functools
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from claims import against_floor, duels, has_single_labels, trends
from conditions import table as conditions_table
from costs import costs
from frontiers import leads, reached
from groups import agreement, difference
from people import tables as people_tables
from personal import table as personal_table
from personas import across, by_contest, clusters, versus, with_floor
from regrets import table as regrets_table
from reviews import RATIOS, answers, beyond, ranking, read, resolved, worst_by_ratio
from routers import table as routers_table
from strategy import gains_of, losses_of
from tuned import moved, order, with_kept

from prefbench import registry
from prefbench.boards.columns import PROMPTED
from prefbench.boards.frontier import frontiers_of
from prefbench.boards.rows import Row, load_rows
from prefbench.boards.table import build
from prefbench.record.files import find_records
from prefbench.record.schema import Record
from prefbench.report.figures import ratio_label
from prefbench.sweep.tuned import read_tuned

PUBLISHED = Path(__file__).parents[1]
PAGES = (PUBLISHED.parent / "README.md", *sorted((PUBLISHED.parent / "docs").glob("*.md")))
MARKED = re.compile(r"<!-- table: ([\w-]+) -->\n\n(.*?)\n\n<!-- /table -->", re.DOTALL)
REVIEWS = PUBLISHED / "reviews"
SMALLEST = "10-1"
"""The board of reviews with the smallest minority."""
DPO_FAMILY = (
    "dpo",
    "ipo",
    "is_dpo",
    "gr_dpo",
    "gr_ipo",
    "em_dpo",
    "bapo",
    "bfpo",
    "kto",
    "modpo",
    "pecan",
)
"""Aligners that fit a policy to pairs, without PPO on a reward."""
PERSONAS = ("tulu_style", "tulu_expertise", "tulu_informativeness", "tulu_personas")


def by_seed(records: list[Record], value: str) -> str:
    """A figure for each seed, one row per aligner, ratio and group."""
    rows: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for record in records:
        for group in record.groups:
            figure = getattr(group, value)
            if figure is not None:
                role = "minority" if group.is_minority else "majority"
                rows[(record.aligner, ratio_label(record.minority_ratio), role)][record.seed] = figure
    table = pd.DataFrame(rows).T.sort_index()
    table = table[sorted(table.columns)]
    table.insert(0, "mean", table.mean(axis=1))
    table.index.names = ["aligner", "ratio", "group"]
    return table.reset_index().to_markdown(index=False, floatfmt=".2f")


def review_rows(name: str) -> list[Row]:
    """Rows of a board of reviews, of pairs with one label."""
    return [row for row in load_rows(REVIEWS / f"{name}.zip") if has_single_labels(row.first)]


def published() -> dict[str, Callable[[], str]]:
    """Every table that stands in a page, by its name."""
    registry.load_plugins()
    rows = functools.cache(review_rows)
    every_ratio = functools.cache(lambda: [row for name in RATIOS for row in rows(name)])
    board = functools.cache(lambda: read(REVIEWS, [SMALLEST]))
    moved_rows, personas = (
        functools.cache(lambda name=name: load_rows(PUBLISHED / f"{name}.zip"))
        for name in ("reviews-tuned", "personas")
    )
    tuned = functools.cache(
        lambda: with_kept(rows(SMALLEST), moved_rows(), read_tuned(PUBLISHED / "reviews.tuned.json"))
    )
    frontiers = functools.cache(lambda: frontiers_of(load_rows(PUBLISHED / "reviews-frontier.zip")))
    people = functools.cache(lambda: people_tables(load_rows(PUBLISHED / "people.zip")))
    movies = functools.cache(lambda: load_rows(PUBLISHED / "movie-reviews.zip"))
    placed = functools.cache(lambda: [record for _, record in find_records(PUBLISHED / "em.zip")])
    strategy, unreliable = (pd.read_csv(PUBLISHED / f"{name}.csv") for name in ("strategy", "unreliable"))
    return {
        "worst-by-ratio": lambda: worst_by_ratio(read(REVIEWS)),
        "reviews-ranking": lambda: ranking(board()),
        "reviews-votes": lambda: ranking(read(REVIEWS, [SMALLEST], votes=True)),
        "reviews-trends": lambda: trends(every_ratio()),
        "reviews-duels": lambda: duels(every_ratio()),
        "reviews-floor": lambda: against_floor(rows(SMALLEST), moved_rows()),
        "reviews-resolved": lambda: resolved(board()),
        "reviews-beyond": lambda: beyond(board()),
        "reviews-answers": lambda: answers(REVIEWS / f"{SMALLEST}.zip", seed=1),
        "reviews-tuned": lambda: moved(rows(SMALLEST), tuned()),
        "reviews-tuned-duels": lambda: duels(tuned()),
        "reviews-order": lambda: order({"by default": rows(SMALLEST), "tuned": tuned()}, DPO_FAMILY),
        "frontier-reached": lambda: reached(frontiers()),
        "frontier-leads": lambda: leads(frontiers()),
        **{
            f"{task}-trends": lambda task=task: trends(by_contest(personas())[f"`{task}`"])
            for task in PERSONAS
        },
        "personas-worst": lambda: across(personas()),
        "personas-told": lambda: across(personas(), PROMPTED),
        "personas-duels": lambda: versus(personas()),
        "personas-floor": lambda: versus(personas(), with_floor(personas())),
        "personas-clusters": lambda: clusters(personas()),
        "groups": lambda: agreement(placed()),
        "groups-difference": lambda: difference(placed()),
        "movies-ranking": lambda: ranking(read(PUBLISHED, ["movie-reviews"])),
        "movies-duels": lambda: duels(movies()),
        "movies-groups": lambda: agreement([record for row in movies() for record in row.records.values()]),
        "costs": lambda: costs(PUBLISHED),
        "regret-one-question": lambda: regrets_table(PUBLISHED / "worlds", "worst_case_two_group"),
        "regret-three-groups": lambda: regrets_table(PUBLISHED / "worlds", "bandit_k_group"),
        "regret-walks": lambda: regrets_table(PUBLISHED / "worlds", "gridworld_two_group"),
        "regret-responses": lambda: regrets_table(PUBLISHED / "worlds", "response_pool"),
        "regret-two-groups": lambda: regrets_table(PUBLISHED / "worlds", "bandit_two_group"),
        "regret-votes": lambda: regrets_table(PUBLISHED / "worlds", "worst_case_two_group", votes=True),
        "conditions-one-question": lambda: conditions_table(PUBLISHED, "worst_case_two_group"),
        "conditions-responses": lambda: conditions_table(PUBLISHED, "response_pool"),
        "personal": lambda: personal_table(pd.read_csv(PUBLISHED / "personal.csv")),
        **{
            f"people-{name}": lambda place=place: people()[place]
            for place, name in enumerate(("known", "controls", "evenly"))
        },
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
    print("## Win rates\n\n" + ranking(build(runs_dir)))
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

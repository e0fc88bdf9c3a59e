"""Preferences from outside, ready for a problem: read, cleaned, grouped and dealt out, as options say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from prefbench.data.annotated import Annotated as Labels
from prefbench.data.annotated import annotated, coverage
from prefbench.data.annotated_splits import DealtSizes, Divided, divide, split_prompts
from prefbench.data.compared import compared_pool
from prefbench.data.label_source import lacking, read_labels
from prefbench.data.label_table import read_table
from prefbench.data.people_groups import CLUSTERS, Grouped, facts_in, inferred_groups, named_groups
from prefbench.data.pool import Pool
from prefbench.data.published import PUBLISHED
from prefbench.errors import UserError
from prefbench.problem.problem import Origin
from prefbench.registry import Options

GROUP = "group"
"""Column of groups that is found without being named."""


def _pairs(given: Any) -> Any:
    """`prompt=question,annotator=worker` as a table."""
    if not isinstance(given, str):
        return given
    parts = [part.partition("=") for part in given.split(",") if part.strip()]
    return {name.strip(): value.strip() for name, _, value in parts}


Named = Annotated[dict[str, str], BeforeValidator(_pairs)]


class OutsideOptions(Options):
    """Options of labels from outside: how they are read, grouped and dealt out."""

    unwritten = frozenset({"verdict"})

    layout: Literal["table", "community-alignment", "prism", "tldr", "multipref"] = "table"
    """Layout of the data: a table of one's own, or one of the published sets."""
    columns: Named = {}
    """Columns by the role that they play, as ROLE=COLUMN,...: prompt, chosen, rejected; or first, second and
    choice, first_rating and second_rating, or first_rank and second_rank; annotator, strength."""
    verdict: Literal["choice", "rating", "rank"] | None = None
    """Columns that say which of two responses is better, where several do; left out, rows that
    contradict themselves are refused."""
    group: str | None = None
    """Column or fact of people that names their group; `clusters` infers clusters. Left out it is `group`,
    where there is such a column, and clusters elsewhere."""
    people: str | None = None
    """Table with a row for each annotator, of which task.group names a column."""
    key: str | None = None
    """Column of annotators' ids in the table of people."""
    only: Named = {}
    """Facts that people must have to be kept, as FACT=VALUE,..."""
    clusters: int = Field(2, ge=2, le=20)
    """Clusters of annotators that are inferred where there are no groups."""
    least_annotators: int = Field(0, ge=0)
    """People of groups with fewer are put together."""
    annotators: int = Field(0, ge=0)
    """Most people to learn from, in the shares found; 0 is everybody. Of labels that nobody signed the number
    of people made up, 40 for 0."""
    pairs_per_annotator: int = Field(0, ge=0)
    """Most train pairs of each of them; 0 is all."""
    gold_share: float = Field(0.25, gt=0, lt=1)
    """Share of each group's people whom no aligner sees, and to whose labels its gold reward is fitted."""
    test_prompts: int = Field(800, ge=1)
    """Prompts to evaluate on, at most; a quarter of all at most."""
    test_pairs: int = Field(2000, ge=1)
    """Held-out labels, at most; people and groups take turns."""


@dataclass(frozen=True)
class OutsideTable:
    """Labels from outside as a problem needs them."""

    divided: Divided
    names: tuple[str, ...]
    """Names of the groups, those with most people in training first."""
    by: str
    """Name of the column or fact that names the groups; `clusters` if they are inferred."""
    pool: Pool | None
    """Responses that were compared, equally many for each prompt, where a world is to be made of them."""
    origin: Origin
    report: Mapping[str, Any]
    """Counts (JSON values)."""
    remarks: tuple[str, ...]
    """Sentences on what these labels cannot tell, and on what was left out of them."""


def from_outside(data: str, options: OutsideOptions, seed: int, *, listed: bool = False) -> OutsideTable:
    """The labels that `data` names, of people whose group is known, dealt out to splits.

    Args:
        data: a table, a folder of it, OWNER/NAME of the hub, or the word of a published set.
        options: how they are read, grouped and dealt out.
        seed: the run's.
        listed: keep equally many responses of each prompt.

    Raises:
        UserError: the labels cannot be found or read, or are too few.
    """
    table, in_table = _table(data, options)
    facts: dict[str, Mapping[str, object]] = dict(table.facts)
    if options.people is not None:
        facts |= facts_in(options.people, options.key)
    grouped = _grouped(_kept(table, facts, options.only), facts, in_table, options)
    pool, rows = compared_pool(table.source, grouped.rows) if listed else (None, grouped.rows)
    sizes = DealtSizes(
        options.test_prompts,
        options.test_pairs,
        options.annotators,
        options.pairs_per_annotator,
        options.gold_share,
    )
    divided = divide(table.source, rows, sizes, seed)
    people = divided.report["people"]
    return OutsideTable(
        divided,
        tuple(sorted(divided.gold, key=lambda name: (-people[name]["train"], name))),
        str(grouped.report["groups_by"]),
        pool,
        Origin(
            responses="whoever the data say",
            labels="the people whom the data name" if table.names_people else "people whom nobody names",
            invented_ids=not table.names_people,
            terms="" if table.terms is None else table.terms.line,
        ),
        {
            **table.report,
            **({"only": dict(options.only)} if options.only else {}),
            "table": table.digest[:16],
            **grouped.report,
            **divided.report,
        },
        (*coverage(table), *grouped.remarks),
    )


def _table(data: str, options: OutsideOptions) -> tuple[Labels, bool]:
    """The labels, and whether their own table names the groups."""
    if data == "synthetic":
        raise UserError(
            "this task reads labels that people gave: name a table of them with --data, with columns prompt, "
            "chosen, rejected and annotator."
        )
    layout = data if data in PUBLISHED and options.layout == "table" else options.layout
    if layout in PUBLISHED:
        source, read = PUBLISHED[layout].read(data)
        return annotated(source, read), False
    source, columns = read_labels(data)
    named = options.group or (GROUP if options.people is None else None)
    in_table = named is not None and named != CLUSTERS and named in columns
    read = read_table(source, columns, options.columns, named if in_table else None, options.verdict)
    if options.group not in (None, CLUSTERS) and not in_table and options.people is None:
        raise lacking(source, str(options.group), columns, "task.group names the column of groups.")
    return annotated(source, read), in_table


def _kept(table: Labels, facts: Mapping[str, Mapping[str, object]], only: Mapping[str, str]) -> Labels:
    """The labels of people who have these facts."""
    rows = table.rows
    for name, value in only.items():
        if name not in facts:
            raise lacking(table.source, name, facts, "task.only names facts of people.")
        rows = rows[[str(facts[name].get(who)) == value for who in rows["annotator"].tolist()]]
        if rows.empty:
            raise UserError(f"nobody in {table.source!r} has {value!r:.60} as {name}: mend task.only.")
    return Labels(table.source, rows.reset_index(drop=True), table.facts, table.report, table.terms)


def _grouped(
    table: Labels, facts: Mapping[str, Mapping[str, object]], in_table: bool, options: OutsideOptions
) -> Grouped:
    if in_table:
        return named_groups(table, options.group or GROUP, facts, options.least_annotators)
    if options.group in (None, CLUSTERS):
        if options.people is not None and options.group is None:
            raise UserError(
                "task.people is given, and not which of its columns names the groups: set task.group to one "
                f"of {', '.join(map(repr, facts)):.300}."
            )
        test, *_ = split_prompts(table.source, table.rows["prompt"].tolist(), options.test_prompts)
        return inferred_groups(table, frozenset(test), options.clusters)
    group = str(options.group)
    if group not in facts:
        raise lacking(table.source, group, facts, "task.group names a fact of people.")
    return named_groups(table, group, facts, options.least_annotators)

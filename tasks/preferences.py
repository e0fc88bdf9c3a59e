"""Preferences from outside: a table of labels by people who disagree.

Whoever has comparisons of two responses and knows who made them has a problem: groups come from a column,
from a table about the people, or are clusters that are inferred. There is no utility behind such labels, so
that a policy is judged by what people of each group said of held-out pairs, and its responses by a gold
reward that was fitted to people whom no aligner sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

import prefbench as pb
from prefbench.chat.server import TIMEOUT_SECONDS, Server
from prefbench.data.annotated import Annotated as Labels
from prefbench.data.annotated import annotated, coverage
from prefbench.data.annotated_splits import Divided, Sizes, divide, split_prompts
from prefbench.data.label_source import lacking, read_labels
from prefbench.data.label_table import read_table
from prefbench.data.people_groups import CLUSTERS, Grouped, facts_in, inferred_groups, named_groups
from prefbench.data.published import PUBLISHED
from prefbench.evaluate.gold import GoldReward
from prefbench.evaluate.judge import Judge
from prefbench.problem.problem import Origin

GROUP = "group"
"""Column of groups that is found without being named."""


def _pairs(given: Any) -> Any:
    """`prompt=question,annotator=worker` as a table."""
    if not isinstance(given, str):
        return given
    parts = [part.partition("=") for part in given.split(",") if part.strip()]
    return {name.strip(): value.strip() for name, _, value in parts}


Named = Annotated[dict[str, str], BeforeValidator(_pairs)]


class PreferenceOptions(pb.Options):
    """Options of preferences from outside."""

    layout: Literal["table", "community-alignment", "prism", "tldr", "multipref"] = "table"
    """Layout of the data: a table of one's own, or one of the published sets."""
    columns: Named = {}
    """Columns by the role that they play, as ROLE=COLUMN,...: prompt, chosen, rejected; or first, second and
    choice, first_rating and second_rating, or first_rank and second_rank; annotator, strength."""
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
    utility: Literal["gold", "llm_judge"] = "gold"
    """Judge of responses: a gold reward of each group, or a language model that is told the group."""
    response_tokens: int = Field(32, ge=1)
    """Longest response, in tokens."""
    test_prompts: int = Field(800, ge=1)
    """Prompts to evaluate on, at most; a quarter of all at most."""
    test_pairs: int = Field(2000, ge=1)
    """Held-out labels, at most; people and groups take turns."""
    judge_url: str = "http://127.0.0.1:8000/v1"
    """Address of an OpenAI-compatible server, for `utility=llm_judge`."""
    judge_model: str | None = None
    """The judge's name on that server."""
    judge_key_env: str | None = None
    """Environment variable that holds the judge's key; only on the command line. Records do not name it."""
    judge_concurrency: int = Field(8, ge=1)
    """Requests at a time, at the most; fewer while the server is slow."""
    judge_timeout: float = Field(TIMEOUT_SECONDS, gt=0, le=86400)
    """Seconds that the server may take for one answer."""
    judge_max_tokens: int = Field(256, ge=1)
    """Longest answer of the judge; one that thinks first needs thousands."""


@pb.task("preferences", version=1)
def preferences(data: str, minority_ratio: float, seed: int, options: PreferenceOptions) -> pb.Problem:
    """Comparisons that people made, with groups of these people: by a column, by facts of them, or inferred.

    Data: a parquet, csv or jsonl table, a folder of it, or OWNER/NAME of the hub, with a row for each label:
    prompt, chosen, rejected, annotator, maybe group and strength. The minority ratio is the one found.
    Published sets, by task.layout, from a path, or from the hub where --data is that word too:

    - community-alignment: Community Alignment (Zhang et al. 2025): CC-BY-4.0. Rows of it may be published if
      its authors are named and the licence is kept.
    - prism: PRISM (Kirk et al. 2024): texts by people CC-BY-4.0, texts by models CC-BY-NC-4.0. Rows of it may
      be published for purposes that are not commercial, if its authors are named.
    - tldr: TL;DR comparisons (Stiennon et al. 2020): code MIT; the posts are texts of Reddit users, whose
      terms apply. Whoever publishes rows of it has to see that they may publish the posts.
    - multipref: MultiPref (Miranda et al. 2024): ODC-BY; the terms of the models that answered apply to their
      responses. Rows of it may be published if the source is named.
    """
    table, grouped = grouped_labels(data, options)
    divided = divide(table.source, grouped.rows, sizes_of(options), seed)
    names = names_of(divided)
    return pb.Problem(
        groups=tuple(
            pb.Group(name, 1 / len(names), _utility(name, divided, grouped, options)) for name in names
        ),
        prompts=divided.prompts,
        corpus=divided.corpus,
        temperature=0.0,
        response_tokens=options.response_tokens,
        chat=True,
        given=divided.preferences,
        origin=origin_of(table),
        report={**table.report, "table": table.digest[:16], **grouped.report, **divided.report},
        remarks=(*coverage(table), *grouped.remarks),
    )


def grouped_labels(data: str, options: PreferenceOptions) -> tuple[Labels, Grouped]:
    """The labels that `data` names, and those of them whose people's group is known."""
    table, in_table = _table(data, options)
    facts: dict[str, Mapping[str, object]] = dict(table.facts)
    if options.people is not None:
        facts |= facts_in(options.people, options.key)
    return table, _grouped(_kept(table, facts, options.only), facts, in_table, options)


def sizes_of(options: PreferenceOptions) -> Sizes:
    """Bounds on what becomes of the labels."""
    return Sizes(
        options.test_prompts,
        options.test_pairs,
        options.annotators,
        options.pairs_per_annotator,
        options.gold_share,
    )


def names_of(divided: Divided) -> list[str]:
    """Names of the groups, those with most people in training first."""
    return sorted(divided.gold, key=lambda name: (-divided.report["people"][name]["train"], name))


def origin_of(table: Labels) -> Origin:
    """The origin of the labels, for the card of exported data."""
    return Origin(
        responses="whoever the data say",
        labels="the people whom the data name" if table.names_people else "people whom nobody names",
        invented_ids=not table.names_people,
        terms="" if table.terms is None else table.terms.line,
    )


def _table(data: str, options: PreferenceOptions) -> tuple[Labels, bool]:
    """The labels, and whether their own table names the groups."""
    if data == "synthetic":
        raise pb.UserError(
            "task 'preferences' reads labels that people gave: name a table of them with --data, with "
            "columns "
            "prompt, chosen, rejected and annotator."
        )
    layout = data if data in PUBLISHED and options.layout == "table" else options.layout
    if layout in PUBLISHED:
        source, read = PUBLISHED[layout].read(data)
        return annotated(source, read), False
    source, columns = read_labels(data)
    named = options.group or (GROUP if options.people is None else None)
    in_table = named is not None and named != CLUSTERS and named in columns
    read = read_table(source, columns, options.columns, named if in_table else None)
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
            raise pb.UserError(f"nobody in {table.source!r} has {value!r:.60} as {name}: mend task.only.")
    report = {**table.report, **({"only": dict(only)} if only else {})}
    return Labels(table.source, rows.reset_index(drop=True), table.facts, report, table.terms)


def _grouped(
    table: Labels, facts: Mapping[str, Mapping[str, object]], in_table: bool, options: PreferenceOptions
) -> Grouped:
    if in_table:
        return named_groups(table, options.group or GROUP, facts, options.least_annotators)
    if options.group in (None, CLUSTERS):
        if options.people is not None and options.group is None:
            raise pb.UserError(
                "task.people is given, and not which of its columns names the groups: set task.group to "
                "one of "
                f"{', '.join(map(repr, facts)):.300}."
            )
        test, *_ = split_prompts(table.source, table.rows["prompt"].tolist(), options.test_prompts)
        return inferred_groups(table, frozenset(test), options.clusters)
    group = str(options.group)
    if group not in facts:
        raise lacking(table.source, group, facts, "task.group names a fact of people.")
    return named_groups(table, group, facts, options.least_annotators)


def _utility(name: str, divided: Divided, grouped: Grouped, options: PreferenceOptions) -> pb.Utility:
    """The group's gold reward, or its judge."""
    if options.utility == "llm_judge":
        return _judge(name, grouped, options)
    gold = divided.gold[name]
    strength = tuple(gold["strength"].tolist())
    return GoldReward(
        name,
        tuple(gold["prompt"]),
        tuple(gold["chosen"]),
        tuple(gold["rejected"]),
        strength=strength if any(each < 1 for each in strength) else (),
    )


def _judge(name: str, grouped: Grouped, options: PreferenceOptions) -> Judge:
    by = str(grouped.report["groups_by"])
    if "clusters" in grouped.report:
        raise pb.UserError(
            "a judge has to be told in words who a person is, and clusters have none: name task.group."
        )
    if options.judge_model is None:
        raise pb.UserError(
            "a judge needs a model: set task.judge_model to its name on the server at judge_url."
        )
    server = Server(
        options.judge_url,
        options.judge_model,
        Path("verdicts"),
        concurrency=options.judge_concurrency,
        timeout=options.judge_timeout,
    )
    return Judge(
        server, f"The answer that a person whose {by} is {name!r} would prefer.", options.judge_max_tokens
    )

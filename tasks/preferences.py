"""Preferences from outside: a table of labels by people who disagree.

Whoever has comparisons of two responses and knows who made them has a problem: groups come from a column,
from a table about the people, or are clusters that are inferred. There is no utility behind such labels, so
that a policy is judged by what people of each group said of held-out pairs, and its responses by a gold
reward that was fitted to people whom no aligner sees.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import prefbench as pb
from prefbench.data.outside import OutsideOptions, OutsideTable, from_outside
from prefbench.evaluate.gold import GoldReward
from prefbench.evaluate.judge import Judge
from prefbench.evaluate.judge_options import JudgeOptions


class PreferenceOptions(JudgeOptions, OutsideOptions):
    """Options of preferences from outside."""

    unwritten = OutsideOptions.unwritten | {"judge_prompt_price", "judge_completion_price"}

    utility: Literal["gold", "llm_judge"] = "gold"
    """Judge of responses: a gold reward of each group, or a language model that is told the group."""
    response_tokens: int = Field(32, ge=1)
    """Longest response, in tokens."""


@pb.task("preferences", version=1, own_data=False, provides={"user_id", "group", "oracle", "votes"})
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
    found = from_outside(data, options, seed)
    share = 1 / len(found.names)  # until people are counted
    return pb.Problem(
        groups=tuple(pb.Group(name, share, _utility(name, found, options)) for name in found.names),
        prompts=found.divided.prompts,
        corpus=found.divided.corpus,
        temperature=0.0,
        response_tokens=options.response_tokens,
        chat=True,
        given=found.divided.preferences,
        origin=found.origin,
        report=found.report,
        remarks=found.remarks,
    )


def _utility(name: str, found: OutsideTable, options: PreferenceOptions) -> pb.Utility:
    """The group's gold reward, or its judge."""
    if options.utility == "llm_judge":
        return _judge(name, found, options)
    gold = found.divided.gold[name]
    strength = tuple(gold["strength"].tolist())
    return GoldReward(
        name,
        tuple(gold["prompt"]),
        tuple(gold["chosen"]),
        tuple(gold["rejected"]),
        strength=strength if any(each < 1 for each in strength) else (),
    )


def _judge(name: str, found: OutsideTable, options: PreferenceOptions) -> Judge:
    if "clusters" in found.report:
        raise pb.UserError(
            "a judge has to be told in words who a person is, and clusters have none: name task.group."
        )
    return options.judge(f"The answer that a person whose {found.by} is {name!r} would prefer.")

"""Stages `scores` and `prompted`: every group's utility of every response."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prefbench.evaluate.texts import count_nonwords
from prefbench.learn.interface import Backbone
from prefbench.problem.labels import utilities_of_pairs
from prefbench.problem.problem import Problem, with_instruction
from prefbench.record.evidence import READ
from prefbench.record.files import PROMPTED_FILE
from prefbench.running.samples import Speaker, samples_of
from prefbench.spec import RunSpec
from prefbench.store.stages import Store, Work
from prefbench.store.tables import read_frame
from prefbench.text import count_words, is_empty, text_digest


def scored(problem: Problem, ours: pd.DataFrame, theirs: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Every group's utility of every response: the evidence behind the record."""
    key = {
        "samples": text_digest(
            [*ours["prompt"], *ours["response"], *theirs["response"], *map(_numbers, (ours, theirs))]
        ),
        "lexicon": None if problem.lexicon is None else text_digest(sorted(problem.lexicon)),
        "groups": [[group.name, group.utility.name] for group in problem.groups],
    }

    def compute(work: Work) -> None:
        items = ours[["prompt_id", "sample", "prompt", "response"]].copy()
        items["reference_response"] = theirs["response"]
        items["empty"] = [is_empty(text) for text in items["response"]]
        items["words"] = [count_words(text) for text in items["response"]]
        items["reference_words"] = [count_words(text) for text in items["reference_response"]]
        items["kl"] = ours["kl"]
        if problem.world is None:
            lexicon = problem.lexicon
            for prefix, table in (("", ours), ("reference_", theirs)):
                said = table["response"].tolist()
                items[f"{prefix}nonwords"] = np.nan if lexicon is None else count_nonwords(said, lexicon)
                for name in READ:
                    items[f"{prefix}{name}"] = table[name]
        values = utilities_of_pairs(problem, *compared_in(items, problem))
        for prefix, matrix in zip(("utility", "reference_utility"), values, strict=True):
            for index, group in enumerate(problem.groups):
                items[f"{prefix}/{group.name}"] = matrix[:, index]
        items.to_parquet(work.path / "items.parquet", index=False)

    return read_frame(store.stage("scores", key, compute) / "items.parquet")


def _numbers(table: pd.DataFrame) -> str:
    """Numbers beside the texts of samples, as one text."""
    known = table[[name for name in ("kl", *READ) if name in table]]
    return str(known.to_json(double_precision=15))


def prompted_scores(
    spec: RunSpec, problem: Problem, backbone: Backbone, speakers: tuple[Speaker, Speaker], store: Store
) -> pd.DataFrame | None:
    """The same comparison with each group's instruction in the prompt, judged by that group alone."""
    told = [group for group in problem.groups if group.instruction is not None]
    if not told:
        return None
    sampled = []
    for group in told:
        prompts = [with_instruction(prompt, str(group.instruction)) for prompt in problem.measured]
        sampled.append(
            [
                samples_of(spec, problem, prompts, backbone, speaker, store, told=group.name)
                for speaker in speakers
            ]
        )
    texts = [text for ours, theirs in sampled for text in (*ours["response"], *theirs["response"])]
    key = {
        "samples": text_digest([*problem.measured, *texts]),
        "groups": [[group.name, group.utility.name, group.instruction] for group in told],
    }

    def compute(work: Work) -> None:
        tables = []
        for group, (ours, theirs) in zip(told, sampled, strict=True):
            table = ours[["prompt_id", "sample", "prompt", "response"]].copy()
            table.insert(0, "group", group.name)
            table["reference_response"] = theirs["response"]
            table["empty"] = [is_empty(text) for text in table["response"]]
            table["reference_empty"] = [is_empty(text) for text in table["reference_response"]]
            table["utility"], table["reference_utility"] = group.utility.compare(*compared_in(table, problem))
            tables.append(table)
        pd.concat(tables, ignore_index=True).to_parquet(work.path / PROMPTED_FILE, index=False)

    return read_frame(store.stage("prompted", key, compute) / PROMPTED_FILE)


def compared_in(table: pd.DataFrame, problem: Problem) -> list[list[str]]:
    """Prompts and the two responses to each that a table of labels or of samples compares."""
    if "chosen" in table:
        return [table[column].tolist() for column in ("prompt", "chosen", "rejected")]
    # Said or unsaid, an instruction is no part of what the group asked about.
    asked = np.asarray(problem.measured, dtype=object)[table["prompt_id"]].tolist()
    return [asked, table["response"].tolist(), table["reference_response"].tolist()]

"""Labels of people dealt out to splits: test prompts, people of the gold rewards, and those who train.

Prompts have their splits by a digest of their own, and the people whose labels the gold rewards learn are
chosen by a digest of their ids, so that truth and test are the same for every seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench import seeds
from prefbench.data.annotated import TIE
from prefbench.data.comparisons import tuples, unordered
from prefbench.data.given import CORPUS_TEXTS, LEAST_GOLD_PAIRS, TRAIN_PER_VALIDATION
from prefbench.errors import UserError
from prefbench.problem.brought import STRENGTH, place
from prefbench.problem.problem import Prompts, apportion
from prefbench.problem.splits import by_place

if TYPE_CHECKING:
    import pandas as pd

TEST_SHARE, VALIDATION_SHARE = 0.25, 0.1
LEAST_PROMPTS = 10
"""Fewest different prompts that can be split."""
MADE_UP = 40
"""Annotators to whom labels are dealt out that nobody signed, unless a number is asked for."""


@dataclass(frozen=True)
class DealtSizes:
    """Bounds on what becomes of the labels."""

    test_prompts: int
    """Most prompts to evaluate on; a quarter of all at most."""
    test_pairs: int
    """Most held-out labels on them."""
    annotators: int
    """Most people to learn from; 0 is everybody. Of labels that nobody signed the people made up."""
    pairs_per_annotator: int
    """Most train pairs of each; 0 is all."""
    gold_share: float
    """Share of the people of each group whose labels its gold reward learns."""


@dataclass(frozen=True)
class Divided:
    """Labels in splits, and the gold labels."""

    preferences: pd.DataFrame
    """Columns `split, prompt, chosen, rejected, user_id, group`; `strength` where a label is not certain."""
    prompts: Prompts
    gold: Mapping[str, pd.DataFrame]
    """Labels of each group's gold people on other than the test prompts, none of them a tie."""
    gold_test: Mapping[str, pd.DataFrame]
    """Their labels on the test prompts."""
    corpus: tuple[str, ...]
    """Prompt and response run together, on other than the test prompts."""
    report: Mapping[str, Any]
    """Counts (JSON values)."""


def split_prompts(source: str, prompts: Sequence[str], most: int) -> tuple[list[str], list[str], list[str]]:
    """Different prompts for testing, for validation and for training.

    Raises:
        UserError: there are too few.
    """
    order = by_place(prompts)
    if len(order) < LEAST_PROMPTS:
        raise UserError(
            f"{source!r} has {len(order)} different prompts, and {LEAST_PROMPTS} are needed for training, "
            "validation and testing: name a larger table."
        )
    testing = min(most, max(1, round(TEST_SHARE * len(order))))
    checking = max(1, round(VALIDATION_SHARE * len(order)))
    return order[:testing], order[testing : testing + checking], order[testing + checking :]


def divide(source: str, rows: pd.DataFrame, sizes: DealtSizes, seed: int) -> Divided:
    """Labels with their splits.

    Args:
        source: the table's name, for what is said of it.
        rows: columns `prompt, chosen, rejected, annotator, strength, group`; each with its group.
        sizes: bounds.
        seed: the run's: of who and what is left out where there is more than the bounds, and of the order.

    Raises:
        UserError: a group has too few people or labels.
    """
    import pandas as pd

    testing, checking, training = split_prompts(source, rows["prompt"].tolist(), sizes.test_prompts)
    split = (
        dict.fromkeys(testing, "test")
        | dict.fromkeys(checking, "validation")
        | dict.fromkeys(training, "train")
    )
    rows = rows.assign(split=rows["prompt"].map(split))
    if rows["annotator"].isna().all():
        rows = _made_up(rows, sizes.annotators or MADE_UP, seed)
    rows = rows.rename(columns={"annotator": "user_id"}).sort_values(
        ["prompt", "user_id", "chosen", "rejected"], kind="stable", ignore_index=True
    )
    names = rows["group"].value_counts().index.tolist()
    gold_people = {
        name: _gold_people(source, rows[rows["group"] == name], name, sizes.gold_share) for name in names
    }
    golden = rows["user_id"].isin({who for people in gold_people.values() for who in people})
    decided = {name: rows[golden & (rows["group"] == name) & (rows["strength"] != TIE)] for name in names}
    gold = {name: part[part["split"] != "test"] for name, part in decided.items()}
    gold_test = {name: part[part["split"] == "test"] for name, part in decided.items()}
    mine = _fewer(rows[~golden], names, sizes.annotators, seed)
    train = _first_of_each(mine[mine["split"] == "train"], sizes.pairs_per_annotator, seed)
    for name in names:
        if not (train["group"] == name).any():
            raise UserError(
                f"{source!r}: nobody of group {name!r:.60} but those of its gold reward labelled a train "
                "prompt: "
                "lower task.gold_share, or put small groups together by task.least_annotators."
            )
    mine = mine[mine["user_id"].isin(set(train["user_id"]))]
    validation = _in_turn(mine[mine["split"] == "validation"], seed, "validation")
    test = _in_turn(mine[mine["split"] == "test"], seed, "test")
    parts = [train, validation.head(max(1, len(train) // TRAIN_PER_VALIDATION)), test.head(sizes.test_pairs)]
    rng = seeds.rng(seed, "annotated", "order")
    preferences = pd.concat([part.iloc[rng.permutation(len(part))] for part in parts], ignore_index=True)
    columns = ["split", "prompt", "chosen", "rejected", "user_id", "group"]
    certain = bool((preferences["strength"] == 1).all())
    preferences = preferences[columns if certain else [*columns, STRENGTH]]
    in_order = preferences.loc[preferences["split"] == "train", "prompt"].tolist()
    return Divided(
        preferences,
        Prompts(tuple(in_order), tuple(checking), tuple(testing)),
        gold,
        gold_test,
        _corpus(rows[rows["split"] != "test"]),
        _report(rows, preferences, gold_people, gold, names),
    )


def _made_up(rows: pd.DataFrame, number: int, seed: int) -> pd.DataFrame:
    """Labels that nobody signed, each group's dealt out in turn to people made up."""
    sizes = rows["group"].value_counts()
    counts = apportion([float(size / len(rows)) for size in sizes], number)
    ids = seeds.rng(seed, "annotated", "people").permutation(number).tolist()
    own, first = {}, 0
    for name, count in zip(sizes.index.tolist(), counts, strict=True):
        own[name] = ids[first : first + count]
        first += count
    order = seeds.rng(seed, "annotated", "dealt").permutation(len(rows))
    rows = rows.iloc[order]
    turn = rows.groupby("group").cumcount().tolist()
    dealt = [str(own[name][k % len(own[name])]) for name, k in zip(rows["group"].tolist(), turn, strict=True)]
    return rows.assign(annotator=dealt)


def _gold_people(source: str, rows: pd.DataFrame, name: str, share: float) -> list[str]:
    """People of a group whose labels the gold reward learns: the share of them, more where they gave few."""
    useful = rows[(rows["split"] != "test") & (rows["strength"] != TIE)]["user_id"].value_counts()
    people = sorted(set(rows["user_id"]), key=lambda who: (place(f"gold {who}"), who))
    taken: list[str] = []
    pairs = 0
    for who in people[:-1]:
        if len(taken) >= max(1, round(share * len(people))) and pairs >= LEAST_GOLD_PAIRS:
            break
        taken.append(who)
        pairs += int(useful.get(who, 0))
    if pairs < LEAST_GOLD_PAIRS:
        raise UserError(
            f"{source!r}: group {name!r:.60} has {len(people)} people with {int(useful.sum())} labels off "
            "the test "
            f"prompts, and its gold reward needs {LEAST_GOLD_PAIRS} labels of people whom no aligner sees: "
            "put small "
            "groups together by task.least_annotators, or name another column in task.group."
        )
    return taken


def _fewer(rows: pd.DataFrame, names: Sequence[str], most: int, seed: int) -> pd.DataFrame:
    """Labels of so many people, drawn group by group in the shares that the groups have."""
    people = {name: sorted(set(rows.loc[rows["group"] == name, "user_id"])) for name in names}
    there = sum(map(len, people.values()))
    if not most or there <= most:
        return rows
    counts = apportion([len(people[name]) / there for name in names], most)
    kept: set[str] = set()
    for name, count in zip(names, counts, strict=True):
        drawn = seeds.rng(seed, "annotated", "kept", name).permutation(len(people[name]))[:count]
        kept |= {people[name][index] for index in drawn}
    return rows[rows["user_id"].isin(kept)]


def _first_of_each(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """The labels of everybody, up to so many of each, drawn at random."""
    rows = rows.iloc[seeds.rng(seed, "annotated", "train").permutation(len(rows))]
    return rows.groupby("user_id").head(most) if most else rows


def _in_turn(rows: pd.DataFrame, seed: int, split: str) -> pd.DataFrame:
    """Labels such that those of small groups and of quiet people come as early as anybody's."""
    rows = rows.iloc[seeds.rng(seed, "annotated", split).permutation(len(rows))]
    rows = rows.iloc[np.argsort(rows.groupby("user_id").cumcount().to_numpy(), kind="stable")]
    return rows.iloc[np.argsort(rows.groupby("group").cumcount().to_numpy(), kind="stable")]


def _corpus(rows: pd.DataFrame) -> tuple[str, ...]:
    both = tuples(rows, "prompt", "chosen", "rejected")
    texts = (prompt + response for prompt, *responses in both for response in responses)
    return tuple(itertools.islice(dict.fromkeys(texts), CORPUS_TEXTS))


def _report(
    rows: pd.DataFrame,
    preferences: pd.DataFrame,
    gold_people: Mapping[str, Sequence[str]],
    gold: Mapping[str, pd.DataFrame],
    names: Sequence[str],
) -> dict[str, Any]:
    splits = {name: preferences[preferences["split"] == name] for name in ("train", "validation", "test")}
    return {
        "people": {
            name: {
                "all": int(rows.loc[rows["group"] == name, "user_id"].nunique()),
                "train": int(splits["train"].loc[splits["train"]["group"] == name, "user_id"].nunique()),
                "gold": len(gold_people[name]),
            }
            for name in names
        },
        "pairs": {
            split: {name: int((part["group"] == name).sum()) for name in names}
            for split, part in {**splits, "gold": _below(gold)}.items()
        },
        "labelled_by_several": _shared(rows),
    }


def _below(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(list(tables.values()))


def _shared(rows: pd.DataFrame) -> dict[str, Any]:
    """Pairs that several people labelled, and the share on which two of them contradict each other."""
    sides: dict[tuple[str, str, str], set[bool]] = {}
    times: dict[tuple[str, str, str], int] = {}
    for (prompt, chosen, rejected), strength in zip(
        tuples(rows, "prompt", "chosen", "rejected"), rows["strength"].tolist(), strict=True
    ):
        key = unordered(prompt, chosen, rejected)
        times[key] = times.get(key, 0) + 1
        sides.setdefault(key, set())
        if strength != TIE:
            sides[key].add(chosen <= rejected)
    shared = [key for key, count in times.items() if count > 1]
    apart = sum(len(sides[key]) > 1 for key in shared)
    return {"pairs": len(shared), "contradicted": apart / len(shared) if shared else None}

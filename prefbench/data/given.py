"""Labelled comparisons dealt out to annotators and splits.

Published comparisons come without annotators. As in MaxMin-RLHF (arXiv 2402.08925) a group's comparisons are
divided evenly among as many pseudo-annotators as the group has. Everything is split by prompt: the same
comparison is often published several times over, and a split by rows would test on what was trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench import seeds
from prefbench.data.comparisons import COLUMNS, Comparisons, tuples, unordered
from prefbench.errors import UserError
from prefbench.problem.problem import HELD_OUT_PAIRS, Prompts, apportion
from prefbench.problem.splits import by_place

if TYPE_CHECKING:
    import pandas as pd


TRAIN_PER_VALIDATION = 5
"""Train pairs for each validation pair."""
LEAST_GOLD_PAIRS = 20
"""Fewest gold pairs that a reward is fitted to."""
PAIRS_PER_GOLD_PAIR = 4
"""Pairs of a group, those on test prompts aside, for each one that its gold reward may take."""

CORPUS_TEXTS = 20_000
"""Texts of the corpus, at most; whole HH-RLHF would have ten times as many."""

Triples = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Prompts, chosen and rejected responses, n of each."""


@dataclass(frozen=True)
class Given:
    """Comparisons dealt out: what becomes of them in a `Problem` and its gold rewards."""

    preferences: pd.DataFrame
    """Columns `split` (train, validation, test), `prompt, chosen, rejected, user_id, group`."""
    prompts: Prompts
    """One train prompt for each train row, in its order; validation and test prompts once each."""
    gold: Mapping[str, Triples]
    """Pairs of each group by annotators whom no aligner sees, on prompts that are in no split."""
    corpus: tuple[str, ...]
    """Prompt and response run together, chosen or not, on prompts neither for testing nor of gold pairs."""
    report: Mapping[str, Any]
    """Counts of rows read and dropped, and how the rest was dealt out (JSON values)."""


def assemble(
    comparisons: Comparisons,
    shares: Mapping[str, float],
    *,
    annotators: int,
    pairs_per_annotator: int,
    test_prompts: int,
    gold_annotators: int,
    seed: int,
    held_out_pairs: int = HELD_OUT_PAIRS,
) -> Given:
    """Split comparisons by prompt and deal them out to annotators.

    No prompt, of whichever group, is in two of test, gold, train and validation. Test prompts and gold pairs
    are drawn first, so that they and the corpus are the same for every minority share.

    Args:
        comparisons: of at least the groups in `shares`.
        shares: of annotators, by group; `apportion` makes whole annotators of them.
        annotators: in all, the same ones in every split; ids 0 to annotators - 1 in random order.
        pairs_per_annotator: train rows of each annotator, exactly.
        test_prompts: how many prompts to evaluate on, drawn from those of all groups alike.
        gold_annotators: how many annotators' pairs each group's gold reward gets, so far as these are at most
            a quarter of the group's pairs off the test prompts, and at least 20.
        seed: the run's seed.
        held_out_pairs: most test rows; groups take turns, so that they have as many each as far as they go.

    Returns:
        Rows in random order. Validation has a fifth of the train rows in the same shares, less where there
        are fewer pairs left, and one of each group at least.

    Raises:
        UserError: there are too few comparisons.
    """
    source = comparisons.source
    counts = dict(zip(shares, apportion(list(shares.values()), annotators), strict=True))
    rows = _shuffled(comparisons.rows, list(shares), seed)
    for group in shares:
        if not (rows["group"] == group).any():
            raise UserError(
                f"{source!r} has no comparison of group '{group}': name data that has both groups'."
            )
    order = rows["prompt"].unique().tolist()
    if len(order) <= test_prompts:
        raise UserError(
            f"{source!r} has comparisons of {len(order)} different prompts, and {test_prompts} are asked for "
            "to evaluate on alone: lower task.test_prompts."
        )
    testing = by_place(order)[:test_prompts]
    on_test = rows["prompt"].isin(set(testing))
    test = _in_turn(rows[on_test]).head(held_out_pairs)
    rest = rows[~on_test]
    gold, rest = _take(rest, _gold_wanted(source, rest, counts, gold_annotators * pairs_per_annotator))
    wanted = {group: count * pairs_per_annotator for group, count in counts.items()}
    _check_enough(source, rest, wanted)
    corpus = _texts(rest)
    train, rest = _take(rest, wanted)
    validation, _ = _take(rest, _validation_wanted(source, rest, counts, len(train)))
    splits = {"train": train, "validation": validation, "test": test}
    preferences = _annotated(splits, counts, seed)
    in_order = preferences.loc[preferences["split"] == "train", "prompt"]
    return Given(
        preferences=preferences,
        prompts=Prompts(tuple(in_order), tuple(validation["prompt"].unique()), tuple(testing)),
        gold={group: _triples(gold[gold["group"] == group]) for group in shares},
        corpus=corpus,
        report={
            **comparisons.report,
            "comparisons": comparisons.digest[:16],
            "pairs": {
                name: {group: int((part["group"] == group).sum()) for group in shares}
                for name, part in {**splits, "gold": gold}.items()
            },
            "different_prompts": {
                **{name: int(part["prompt"].nunique()) for name, part in splits.items()},
                "test": test_prompts,
                "gold": int(gold["prompt"].nunique()),
            },
            "pairs_disagreed_on": _disagreement(rows, list(shares)),
        },
    )


def _shuffled(rows: pd.DataFrame, groups: Sequence[str], seed: int) -> pd.DataFrame:
    """The rows of these groups, prompts in random order and so the rows of each prompt."""
    rows = rows[rows["group"].isin(groups)].sort_values(COLUMNS, kind="stable")
    rows = rows.iloc[seeds.rng(seed, "given", "rows").permutation(len(rows))]
    prompts = sorted(rows["prompt"].unique())
    places = seeds.rng(seed, "given", "prompts").permutation(len(prompts))
    place = rows["prompt"].map(dict(zip(prompts, places.tolist(), strict=True)))
    return rows.iloc[np.argsort(place.to_numpy(), kind="stable")]


def _take(rows: pd.DataFrame, wanted: Mapping[str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first rows of each group, as many as wanted, and all rows on prompts that none of them is on."""
    first = rows.groupby("group").cumcount() < rows["group"].map(wanted)
    taken = rows[first]
    return taken, rows[~rows["prompt"].isin(set(taken["prompt"]))]


def _in_turn(rows: pd.DataFrame) -> pd.DataFrame:
    """First rows of the groups, then second ones, and so on."""
    return rows.iloc[np.argsort(rows.groupby("group").cumcount().to_numpy(), kind="stable")]


def _available(rows: pd.DataFrame, group: str) -> int:
    return int((rows["group"] == group).sum())


def _gold_wanted(source: str, rows: pd.DataFrame, groups: Iterable[str], asked: int) -> dict[str, int]:
    wanted = {}
    for group in groups:
        most = _available(rows, group) // PAIRS_PER_GOLD_PAIR
        if most < LEAST_GOLD_PAIRS:
            raise UserError(
                f"{source!r} has {_available(rows, group)} pairs of group '{group}' on other than test "
                f"prompts, and {PAIRS_PER_GOLD_PAIR * LEAST_GOLD_PAIRS} are needed, a quarter of them for "
                "the gold reward: lower task.test_prompts, or name a larger source."
            )
        wanted[group] = min(max(asked, LEAST_GOLD_PAIRS), most)
    return wanted


def _check_enough(source: str, rows: pd.DataFrame, wanted: Mapping[str, int]) -> None:
    for group, needed in wanted.items():
        there = _available(rows, group)
        if there < needed:
            raise UserError(
                f"{source!r} has {there} pairs of group '{group}' to train on, besides those for testing and "
                f"for the gold reward, and {needed} are needed: lower task.annotators, "
                "task.pairs_per_annotator or task.test_prompts."
            )


def _validation_wanted(
    source: str, rows: pd.DataFrame, counts: Mapping[str, int], trained: int
) -> dict[str, int]:
    """A fifth of the train pairs, or as many as keep the shares where a group has fewer left."""
    annotators = sum(counts.values())
    total = trained // TRAIN_PER_VALIDATION
    for group, count in counts.items():
        there = _available(rows, group)
        if not there:
            raise UserError(
                f"{source!r} has no pair of group '{group}' left to validate on: lower task.annotators, "
                "task.pairs_per_annotator or task.test_prompts."
            )
        total = min(total, there * annotators // count)
    return {group: max(1, total * count // annotators) for group, count in counts.items()}


def _annotated(splits: Mapping[str, pd.DataFrame], counts: Mapping[str, int], seed: int) -> pd.DataFrame:
    """The splits as one table with user ids, rows of each split in random order."""
    import pandas as pd

    rng = seeds.rng(seed, "given", "annotators")
    ids = rng.permutation(sum(counts.values()))
    starts = np.cumsum([0, *counts.values()])
    own = {group: ids[start : start + counts[group]] for group, start in zip(counts, starts, strict=False)}
    parts = []
    for name, rows in splits.items():
        # In turn, so that annotators have as many rows each and those of one prompt go to different ones.
        turn = rows.groupby("group").cumcount()
        user = [own[group][index % len(own[group])] for group, index in zip(rows["group"], turn, strict=True)]
        part = rows.assign(split=name, user_id=np.array(user, dtype=np.int64))
        # Else the rows of the smaller groups would come first.
        parts.append(part.iloc[rng.permutation(len(part))])
    columns = ["split", "prompt", "chosen", "rejected", "user_id", "group"]
    return pd.concat(parts, ignore_index=True)[columns]


def _texts(rows: pd.DataFrame) -> tuple[str, ...]:
    """Different texts of both responses to prompts, up to the number that a corpus holds."""
    both = tuples(rows, "prompt", "chosen", "rejected")
    texts = (prompt + response for prompt, *responses in both for response in responses)
    return tuple(dict.fromkeys(itertools.islice(texts, CORPUS_TEXTS)))


def _triples(rows: pd.DataFrame) -> Triples:
    return tuple(rows["prompt"]), tuple(rows["chosen"]), tuple(rows["rejected"])


def _disagreement(rows: pd.DataFrame, groups: Sequence[str]) -> dict[str, Any]:
    """Counts for each two groups: comparisons that both labelled, and the share labelled oppositely."""
    preferred: dict[str, dict[tuple[str, str, str], str]] = {group: {} for group in groups}
    for group, *row in tuples(rows, "group", "prompt", "chosen", "rejected"):
        prompt, chosen, rejected = row
        preferred[group][unordered(prompt, chosen, rejected)] = chosen
    report = {}
    for index, one in enumerate(groups):
        for other in groups[index + 1 :]:
            shared = preferred[one].keys() & preferred[other].keys()
            opposed = sum(preferred[one][pair] != preferred[other][pair] for pair in shared)
            report[f"{one} vs {other}"] = {
                "comparisons": len(shared),
                "share": opposed / len(shared) if shared else None,
            }
    return report

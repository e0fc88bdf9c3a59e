"""Comparisons that are dealt out to annotators, splits and gold rewards."""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prefbench.data import given as given_module
from prefbench.data.comparisons import Comparisons
from prefbench.data.given import LEAST_GOLD_PAIRS, Given, assemble
from prefbench.data.hh import read_hh
from prefbench.data.personas import read_personas
from prefbench.errors import UserError
from support.refusals import refusal

PERSONAS = Path(__file__).parent / "personas"
REAL = Path(__file__).parents[3] / "shared" / "data" / "hh_two_group"


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/hh_two_group is not here")
def test_real_comparisons_dealt_out():
    dealt = assemble(
        read_hh(str(REAL / "both_test.jsonl.gz")),
        {"helpful": 0.8, "harmless": 0.2},
        annotators=40,
        pairs_per_annotator=25,
        test_prompts=300,
        gold_annotators=20,
        seed=0,
    )
    assert dealt.report["pairs"]["train"] == {"helpful": 800, "harmless": 200}
    assert dealt.report["pairs"]["validation"] == {"helpful": 160, "harmless": 40}
    assert min(dealt.report["pairs"]["gold"].values()) > 400
    # Each of these was labelled for one of the two alone.
    assert dealt.report["pairs_disagreed_on"] == {"helpful vs harmless": {"comparisons": 0, "share": None}}


def made(groups: dict[str, int], prompts: int, seed: int = 0, source: str = "made") -> Comparisons:
    """Comparisons of so many pairs of each group, over prompts that all of them may share."""
    rng = np.random.default_rng(seed)
    rows = []
    for group, pairs in groups.items():
        for index in range(pairs):
            sides = [f"answer {index}", f"reply {index}"]
            first = int(rng.integers(2))
            rows.append((f"prompt {rng.integers(prompts)}", sides[first], sides[1 - first], group))
    frame = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected", "group"], dtype=object)
    return Comparisons(source, frame, {"source": source, "read": {}})


def dealt(comparisons: Comparisons, shares=None, **more) -> Given:
    sizes = {
        "annotators": 5,
        "pairs_per_annotator": 4,
        "test_prompts": 10,
        "gold_annotators": 2,
        "seed": 0,
    } | more
    return assemble(comparisons, shares or {"a": 0.8, "b": 0.2}, **sizes)


@settings(max_examples=30)
@given(
    prompts=st.sampled_from([120, 400, 5000]),
    seed=st.integers(0, 2**30),
    sizes=st.tuples(st.integers(2, 12), st.integers(1, 8), st.integers(10, 40), st.integers(1, 30)),
    ratio=st.sampled_from([0.1, 0.2, 0.25, 1 / 3, 0.5]),
    held_out=st.integers(0, 60),
    names=st.permutations(["a", "b", "c"]),
    groups=st.integers(2, 3),
)
def test_whatever_is_asked_for(prompts, seed, sizes, ratio, held_out, names, groups):
    annotators, each, testing, gold = sizes
    names = names[:groups]
    shares = dict.fromkeys(names[1:], round(ratio / (groups - 1), 6))
    shares = {names[0]: round(1 - sum(shares.values()), 6)} | shares
    comparisons = made({"a": 400, "b": 300, "c": 500}, prompts, seed)
    more = {"annotators": annotators, "pairs_per_annotator": each, "test_prompts": testing}
    try:
        result = assemble(
            comparisons, shares, **more, gold_annotators=gold, held_out_pairs=held_out, seed=seed
        )
    except UserError as error:
        # 300 pairs of the smallest group bear all but the largest of these sizes.
        assert "leave a group without any" in str(error) or annotators * each > 30
        assume(False)
    rows = result.preferences
    parts = {name: rows[rows["split"] == name] for name in ("train", "validation", "test")}
    asked = {name: set(part["prompt"]) for name, part in parts.items()}
    asked["test"] = set(result.prompts.test)
    asked["gold"] = {prompt for triple in result.gold.values() for prompt in triple[0]}
    for one, other in itertools.combinations(asked, 2):
        assert not asked[one] & asked[other]
    assert asked["test"] >= set(parts["test"]["prompt"]) and len(result.prompts.test) == testing
    assert list(result.prompts.train) == parts["train"]["prompt"].tolist()
    assert sorted(result.prompts.validation) == sorted(asked["validation"])

    # Nothing is invented and nothing is used twice.
    columns = ["prompt", "chosen", "rejected", "group"]
    known = Counter(comparisons.rows[columns].itertuples(index=False, name=None))
    golden = [(*row, name) for name, triple in result.gold.items() for row in zip(*triple, strict=True)]
    used = Counter([*rows[columns].itertuples(index=False, name=None), *golden])
    assert not used - known

    # Every annotator has one group and as many train pairs as asked for; shares are by largest remainder.
    assert len(parts["train"]) == annotators * each
    assert set(Counter(parts["train"]["user_id"]).values()) == {each}
    assert set(rows["user_id"]) == set(range(annotators))
    assert (rows.groupby("user_id")["group"].nunique() == 1).all()
    seats = parts["train"].groupby("group")["user_id"].nunique().reindex(names).to_numpy()
    exact = np.array(list(shares.values())) * annotators
    assert seats.sum() == annotators and (np.abs(seats - exact) < 1).all()
    for part in parts.values():
        per_group = part.groupby("group")["user_id"].value_counts()
        for name in part["group"].unique():
            assert per_group[name].max() - per_group[name].reindex(part["user_id"].unique()).min() <= 1

    # Validation: a fifth in the same shares, or less.
    checked = Counter(parts["validation"]["group"])
    total = annotators * each // 5
    for name, count in zip(names, seats.tolist(), strict=True):
        assert 1 <= checked[name] <= max(1, total * count / annotators)
    # Test: groups take turns until one has no more.
    on_test = comparisons.rows[comparisons.rows["prompt"].isin(asked["test"])]
    there = Counter(on_test.loc[on_test["group"].isin(names), "group"])
    tested = Counter(parts["test"]["group"])
    assert sum(tested.values()) == min(held_out, sum(there.values()))
    for one, other in itertools.permutations(names, 2):
        assert tested[one] <= tested[other] + 1 or tested[other] == there[other]
    # Gold: what was asked for, or a quarter of what is not on test prompts.
    for name in names:
        most = int((comparisons.rows["group"] == name).sum() - there[name]) // 4
        assert len(result.gold[name][0]) == min(max(gold * each, LEAST_GOLD_PAIRS), most)
    assert result.report["pairs"]["train"] == {
        name: int(n) * each for name, n in zip(names, seats, strict=True)
    }
    texts = {prompt + side for prompt, *sides in parts["train"][columns[:3]].to_numpy() for side in sides}
    assert set(result.corpus) >= texts and len(result.corpus) == len(set(result.corpus))
    kept = comparisons.rows[~comparisons.rows["prompt"].isin(asked["test"] | asked["gold"])]
    kept = kept[kept["group"].isin(names)]
    assert set(result.corpus) == {*(kept["prompt"] + kept["chosen"]), *(kept["prompt"] + kept["rejected"])}


def test_the_same_seed_deals_the_same_and_another_seed_does_not():
    comparisons = made({"a": 300, "b": 300}, 100)
    one, same, other = (dealt(comparisons, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one.preferences, same.preferences)
    assert (one.prompts, one.gold, one.corpus, one.report) == (
        same.prompts,
        same.gold,
        same.corpus,
        same.report,
    )
    # What is tested on is the same for every seed, so that none trains on it.
    assert one.prompts.test == other.prompts.test and one.prompts.train != other.prompts.train
    # The order of the rows that were read does not matter.
    turned = Comparisons("made", comparisons.rows.iloc[::-1].reset_index(drop=True), comparisons.report)
    pd.testing.assert_frame_equal(dealt(turned, seed=3).preferences, one.preferences)


def test_test_prompts_and_gold_pairs_do_not_depend_on_the_annotators():
    comparisons = made({"a": 400, "b": 400}, 150)
    base = dealt(comparisons)
    for more in ({"shares": {"b": 0.6, "a": 0.4}}, {"annotators": 10}, {"shares": {"a": 0.5, "b": 0.5}}):
        changed = dealt(comparisons, **more)
        assert changed.prompts.test == base.prompts.test
        assert changed.gold == base.gold
        assert changed.corpus == base.corpus


def test_neither_user_ids_nor_the_order_of_rows_tell_the_group():
    comparisons = made({"a": 1200, "b": 1200}, 2000)
    places, first = [], []
    for seed in range(20):
        rows = dealt(comparisons, annotators=10, pairs_per_annotator=30, seed=seed).preferences
        places.append(rows.loc[rows["group"] == "b", "user_id"].unique())
        train = rows[rows["split"] == "train"]["group"].to_numpy()
        first.append((train[: len(train) // 2] == "b").mean())
    # Two of ten annotators in twenty runs: the mean id of 40 draws has a standard error of about 0.43.
    assert abs(np.concatenate(places).mean() - 4.5) < 1.2
    assert abs(np.mean(first) - 0.2) < 0.02


def test_validation_gives_way_to_training_and_keeps_the_shares():
    # b has a hundred pairs: a quarter for gold, 60 for training, and so fifteen at most to validate on.
    comparisons = made({"a": 4000, "b": 110}, 100_000)
    result = dealt(comparisons, {"a": 0.9, "b": 0.1}, annotators=10, pairs_per_annotator=70)
    report = result.report["pairs"]
    left = 110 - report["test"]["b"] - report["gold"]["b"] - 70
    assert 0 < left < 14
    assert report["validation"] == {"a": left * 9, "b": left}


def test_disagreement_counts_what_both_labelled():
    rows = []
    for index in range(200):
        rows.append((f"p{index}", "x", "y", "a"))
        if index % 2 == 0:  # b labelled half of them, and every fourth of those the other way round
            rows.append((f"p{index}", *(("y", "x") if index % 8 == 0 else ("x", "y")), "b"))
        rows.append((f"p{index}", "x", "z", "b"))
    frame = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected", "group"], dtype=object)
    result = dealt(Comparisons("made", frame, {}))
    assert result.report["pairs_disagreed_on"] == {"a vs b": {"comparisons": 100, "share": 0.25}}


def test_a_corpus_has_an_end(monkeypatch):
    monkeypatch.setattr(given_module, "CORPUS_TEXTS", 30)
    short = dealt(made({"a": 300, "b": 300}, 5000)).corpus
    monkeypatch.undo()
    whole = dealt(made({"a": 300, "b": 300}, 5000)).corpus
    assert len(short) == 30 and short == whole[:30] and len(whole) > 500


def test_the_fixture_is_enough_for_a_small_problem():
    loaded = read_personas(str(PERSONAS), ["P1A", "P1B"])
    result = dealt(loaded, {"P1A": 0.75, "P1B": 0.25}, annotators=8, pairs_per_annotator=6)
    assert result.report["pairs"]["train"] == {"P1A": 36, "P1B": 12}
    told = result.report["pairs_disagreed_on"]["P1A vs P1B"]
    assert told["comparisons"] > 100 and told["share"] > 0.7
    assert json.loads(json.dumps(result.report)) == result.report


def test_too_few_comparisons():
    missing = refusal(dealt, made({"a": 500}, 200))
    assert missing == "'made' has no comparison of group 'b': name data that has both groups'."
    prompts = refusal(dealt, made({"a": 500, "b": 500}, 10))
    assert "comparisons of 10 different prompts, and 10 are asked for" in prompts
    assert "lower task.test_prompts" in prompts
    gold = refusal(dealt, made({"a": 500, "b": 79}, 10_000))
    assert "pairs of group 'b' on other than test prompts, and 80 are needed" in gold
    train = refusal(dealt, made({"a": 600, "b": 100}, 10_000), annotators=50, pairs_per_annotator=10)
    assert "pairs of group 'b' to train on" in train and "and 100 are needed" in train
    assert "lower task.annotators, task.pairs_per_annotator or task.test_prompts" in train
    # Exactly as many as training takes leaves none to validate on.
    comparisons = made({"a": 600, "b": 100}, 10_000)
    all_gold = {"gold_annotators": 1000}
    report = dealt(comparisons, **all_gold).report["pairs"]
    rest = 100 - report["test"]["b"] - report["gold"]["b"]
    even = {"a": 0.5, "b": 0.5}
    none = refusal(dealt, comparisons, even, annotators=2, pairs_per_annotator=rest, **all_gold)
    assert "no pair of group 'b' left to validate on" in none
    assert "leave a group without any" in refusal(dealt, comparisons, {"a": 0.95, "b": 0.05})


def test_every_split_is_listed_in_the_report():
    report = dealt(made({"a": 300, "b": 300}, 400)).report
    assert set(report["pairs"]) == set(report["different_prompts"]) == {"train", "validation", "test", "gold"}
    assert report["different_prompts"]["test"] == 10
    assert report["comparisons"] == made({"a": 300, "b": 300}, 400).digest[:16]

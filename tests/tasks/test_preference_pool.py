"""The task `preference_pool`: labels of people on a world of what they compared."""

import numpy as np
import pandas as pd
import pytest

from prefbench.data.compared import compared_pool, gold_tables
from prefbench.data.pool import Pool
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.people_tables import labels, write_rows
from support.refusals import refusal


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return str(write_rows(tmp_path_factory.mktemp("own") / "own.jsonl", labels(160, 100)))


def table(rows):
    return pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"])


def test_a_pool_has_equally_many_responses_and_most_of_the_labels():
    rows = [(f"p{i}", "a", "b") for i in range(20)] + [("p0", "b", "a"), ("q", "a", "b"), ("q", "a", "c")]
    pool, kept = compared_pool("own", table(rows))
    # Of q the two responses with most labels stay: a, and b as the first of equals.
    assert len(pool.prompts) == 21 and set(pool.responses) == {("a", "b")} and len(kept) == 22
    assert pool.report == {
        "prompts": 21, "prompts_left_out": 0, "labels_left_out": 1, "responses_each": 2,
    }  # fmt: skip
    three = [(f"p{i}", one, other) for i in range(20) for one, other in ("ab", "bc")] + [("q", "a", "b")]
    pool, kept = compared_pool("own", table(three))
    assert pool.responses == (("a", "b", "c"),) * 20 and len(kept) == 40
    assert pool.report["prompts_left_out"] == pool.report["labels_left_out"] == 1
    few = table(rows[:10])
    assert "10 prompts with 2 different responses, and 20 are needed" in refusal(compared_pool, "own", few)


def test_a_gold_reward_by_hand():
    """One feature, eight labels of which six prefer the larger: the penalised log odds solve one equation."""
    prompts = tuple(f"p{i}" for i in range(8))
    pool = Pool("own", prompts, ("a", "b"), (("x", "y"),) * 8)
    features = np.tile([[[0.0], [1.0]]], (8, 1, 1))
    won = [("y", "x")] * 6 + [("x", "y")] * 2
    rows = pd.DataFrame(
        [(p, c, r, 1.0) for p, (c, r) in zip(prompts, won, strict=True)],
        columns=["prompt", "chosen", "rejected", "strength"],
    )
    found = gold_tables(pool, features, {"g": rows}, {"g": rows.head(3)})
    w = found.utilities[0, 1, 0]
    assert found.utilities[0, 0, 0] == 0
    assert 6 / (1 + np.exp(w)) - 2 / (1 + np.exp(-w)) == pytest.approx(w, abs=1e-4)
    assert found.report["g"] == {"gold_pairs": 8, "gold_accuracy": 1.0, "gold_held_out": 3}
    assert found.doubtful == ("g",)  # three right labels are as a coin might give


def test_exact_numbers_on_labels_of_people(own, tmp_path):
    records = {}
    for name in ("dpo", "gold_maxmin"):
        sets = parse_sets(["task.unseen_annotators=4"])
        spec = make_spec(task="preference_pool", data=own, aligner=name, sets=sets)
        records[name] = run(spec, tmp_path)[1]
    one, fair = records["dpo"], records["gold_maxmin"]
    accuracy = {name: record.held_out.strata[0].implicit for name, record in records.items()}
    brisk, careful = (group.accuracy for group in accuracy["dpo"].groups)
    assert brisk > 0.8 and careful < 0.5  # pooled labels are followed, and they are the majority's
    assert accuracy["gold_maxmin"].worst_group_accuracy > careful + 0.1
    assert fair.regret.egalitarian_regret < one.regret.egalitarian_regret
    gold = fair.task_report["gold"]
    assert all(facts["gold_accuracy"] > 0.5 for facts in gold.values())

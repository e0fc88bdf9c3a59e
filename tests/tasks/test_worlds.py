"""What docs/worlds.md says of worlds whose responses can be listed, as directions over seeds with
margins."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefbench.evaluate.regret import preference_losses, regrets
from prefbench.record.evidence import write_items
from prefbench.record.files import read_record
from prefbench.record.verify import verify
from prefbench.running.run import run
from prefbench.spec import make_spec


@pytest.mark.parametrize("features", ["swapped", "flipped"])
def test_group_robust_dpo_has_the_lowest_worst_group_loss(features, tmp_path):
    """T7, 20 seeds: lower than dpo and is_dpo by 0.005 nats on average and on 15 seeds or more."""
    worst = {}
    for aligner in ("dpo", "is_dpo", "gr_dpo"):
        losses = []
        for seed in range(20):
            sets = {"task": {"features": features}}
            folder, record = run(
                make_spec(task="bandit_two_group", aligner=aligner, seed=seed, sets=sets), tmp_path
            )
            frame = pd.read_parquet(folder / "distribution.parquet")
            names = [group.name for group in record.groups]
            beta = record.regret.beta / 0.5  # the family's own in this world
            losses.append(max(preference_losses(frame, names, beta=beta, temperature=0.5).values()))
        worst[aligner] = np.array(losses)
    for other in ("dpo", "is_dpo"):
        assert (worst["gr_dpo"] < worst[other]).sum() >= 15
        assert worst["gr_dpo"].mean() < worst[other].mean() - 0.005


def test_a_single_reward_leaves_the_minority_of_the_worst_case_behind(tmp_path):
    """Ten seeds; the margins are several times the spread between seeds."""
    lost = {
        aligner: [
            run(
                make_spec(task="worst_case_two_group", aligner=aligner, seed=seed, minority_ratio="4:1"),
                tmp_path,
            )[1].regret.egalitarian_regret
            for seed in range(10)
        ]
        for aligner in ("single_reward", "reference", "maxmin", "maxmin_known_groups")
    }
    for better in ("maxmin_known_groups", "maxmin", "reference"):  # even doing nothing is better
        worse = np.array(lost["single_reward"]) - np.array(lost[better])
        assert worse.mean() > 0.5 and (worse > 0).sum() >= 8, (better, worse)
    assert np.mean(lost["maxmin"]) < np.mean(lost["reference"]) - 0.1


def test_preference_losses_by_hand():
    """One state, pi = (3/4, 1/4) against (1/2, 1/2), beta 1: D = +-log 3, and half the pairs are ties."""
    frame = pd.DataFrame(
        {
            "state": [0, 0],
            "state_weight": [1.0, 1.0],
            "response": ["a", "b"],
            "reference": [0.5, 0.5],
            "policy": [0.75, 0.25],
            "utility/g": [1.0, 0.0],
        }
    )
    # spread 1/2, temperature 2: P(a over b) = sigmoid(1)
    p = 1 / (1 + np.exp(-1.0))
    expected = 0.5 * np.log(2) + 0.5 * (-p * np.log(0.75) - (1 - p) * np.log(0.25))
    assert preference_losses(frame, ["g"], beta=1.0, temperature=2.0)["g"] == pytest.approx(expected)


def test_regrets_by_hand():
    """Opposed groups, pi_ref uniform: the reference is the maxmin optimum, and each group's own is known."""
    frame = pd.DataFrame(
        {
            "state": [0, 0],
            "state_weight": [1.0, 1.0],
            "response": ["a", "b"],
            "reference": [0.5, 0.5],
            "policy": [0.5, 0.5],
            "utility/one": [3.0, 1.0],
            "utility/two": [0.0, 10.0],
        }
    )
    found = regrets(frame, ["one", "two"], 0.5)
    best = 0.5 * np.log(np.cosh(2.0))  # normalised utilities are +-1
    assert [group["regret"] for group in found["groups"]] == pytest.approx([best, best])
    assert found["max_regret"] == pytest.approx(best)
    assert found["egalitarian_regret"] == pytest.approx(0, abs=1e-8)
    assert found["pareto_distance"] == pytest.approx(0, abs=1e-8)
    assert found["kl"] == 0


def test_an_edited_distribution_or_regret_is_found_out(tmp_path):
    folder, _ = run(make_spec(task="worst_case_two_group", aligner="single_reward"), tmp_path)
    assert verify(folder) == []
    frame = pd.read_parquet(folder / "distribution.parquet")
    edited = frame.assign(policy=frame["reference"])
    write_items(edited, folder, "distribution.parquet")
    assert any("regret" in sentence for sentence in verify(folder))
    write_items(frame.drop(columns="policy"), folder, "distribution.parquet")
    assert any("no column policy" in sentence for sentence in verify(folder))
    write_items(frame, folder, "distribution.parquet")
    path = folder / "record.json"
    path.write_text(path.read_text().replace('"max_regret": ', '"max_regret": 1'))
    assert any("max_regret" in sentence for sentence in verify(folder))


def test_a_record_of_version_two_is_read():
    record = read_record(Path(__file__).parents[1] / "data" / "record-v2.json")
    assert record.schema_version == 2 and record.regret.certificate <= 1e-8
    assert record.em.unit == "annotator" and record.em.assignment == "hard"


def test_a_record_of_version_one_is_still_read():
    record = read_record(Path(__file__).parents[1] / "data" / "record-v1.json")
    assert record.schema_version == 1 and record.regret is None
    assert record.em.unit == "annotator" and record.em.held_out is None

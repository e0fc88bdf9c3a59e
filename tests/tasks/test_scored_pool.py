"""PersonalLLM as a world: people are mixtures of reward models. The fixture is our own, in its layout."""

import os

import numpy as np
import pandas as pd
import pytest

from prefbench import registry
from prefbench.data.personal_llm import TERMS, read_scored
from prefbench.population import Population
from prefbench.problem.people import people_of
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench_tasks.scored_pool import scored_pool
from support.refusals import refusal

MODELS = ("beaver_7b", "gemma_2b", "oasst_pythia_1b")
SMALL = {"annotators": 6, "pairs_per_annotator": 6}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = {"prompt": [f"question {i}" for i in range(40)]}
    for k in range(1, 9):
        rows[f"response_{k}"] = [f"answer {k} to {i}" for i in range(40)]
        brevity = rng.standard_normal(40)
        rows[f"response_{k}_gemma_2b"] = brevity
        rows[f"response_{k}_beaver_7b"] = 5 - 2 * brevity + 0.1 * rng.standard_normal(40)
        rows[f"response_{k}_oasst_pythia_1b"] = rng.standard_normal(40)
    path = tmp_path_factory.mktemp("pool") / "train.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


def test_scores_are_centred_and_of_one_size(table):
    scored = read_scored(table)
    assert scored.models == MODELS and scored.scores.shape == (40, 8, 3)
    np.testing.assert_allclose(scored.scores.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose((scored.scores**2).mean(axis=(0, 1)), 1)


def test_groups_are_the_reward_models_least_alike(table):
    problem = scored_pool(table, 0.25, 0, **SMALL)
    assert [group.name for group in problem.groups] == ["beaver_7b", "gemma_2b"]
    named = scored_pool(table, 0.25, 0, majority="oasst_pythia_1b", **SMALL)
    assert named.groups[0].name == "oasst_pythia_1b"
    assert problem.prompts.test == scored_pool(table, 0.25, 3, **SMALL).prompts.test
    assert "Did you mean 'gemma_2b'?" in refusal(scored_pool, table, 0.2, 0, minority="gemma2b")
    same = {"majority": "gemma_2b", "minority": "gemma_2b"}
    assert "both groups want gemma_2b" in refusal(scored_pool, table, 0.2, 0, **same)


def test_people_are_mixtures_of_reward_models(table, tmp_path):
    sets = parse_sets(
        ["task.spread=1", "task.unseen_annotators=4", "task.annotators=8", "task.pairs_per_annotator=6"]
    )
    spec = make_spec(task="scored_pool", data=table, aligner="gold_personal", minority_ratio=0.25, sets=sets)
    _, record = run(spec, tmp_path)
    assert record.status == "ok" and record.people is not None and record.regret is not None
    seen = record.people.strata[0]
    assert seen.win_rate < 0.99  # the group's own optimum is not everybody's
    problem = scored_pool(table, 0.25, 0, annotators=8, pairs_per_annotator=6)
    assert len(people_of(problem, 0)) == 8 and problem.population == Population()


def test_tables_that_are_none(table, tmp_path):
    frame = pd.read_parquet(table)
    for name, change, said in [
        ("score", frame.drop(columns="response_3_gemma_2b"), "no column 'response_3_gemma_2b'"),
        ("none", frame[["prompt", "response_1"]], "no column 'response_1_gemma_2b'"),
        ("few", frame.head(5), "has 5 prompts with all responses and scores, and 20 are needed"),
        ("gaps", frame.assign(response_1_gemma_2b=None), "has 0 prompts with all responses and scores"),
        (
            "twice",
            frame.assign(response_2=frame["response_1"]),
            "has 0 prompts with all responses and scores",
        ),
        ("flat", frame.assign(**{f"response_{k}_gemma_2b": 1.0 for k in range(1, 9)}), "gives all responses"),
    ]:
        path = tmp_path / f"{name}.parquet"
        change.to_parquet(path)
        assert said in refusal(read_scored, str(path))
    assert "reads responses with scores" in refusal(scored_pool, "synthetic", 0.2, 0)


def test_terms_stand_where_they_are_read():
    assert TERMS.line in " ".join(registry.get("task", "scored_pool").doc.split())


def test_the_real_file_is_read():
    if "PREFBENCH_PERSONALLLM" not in os.environ:
        pytest.skip("PREFBENCH_PERSONALLLM names no file")
    scored = read_scored(os.environ["PREFBENCH_PERSONALLLM"])
    assert scored.scores.shape[1:] == (8, 10)

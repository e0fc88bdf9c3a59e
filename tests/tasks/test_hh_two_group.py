import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench import registry
from prefbench.evaluate.gold import GoldReward
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.text import count_words, lower_words
from prefbench_tasks.hh_two_group import (
    CAUTION,
    CAUTIOUS_WORDS,
    CHAT,
    HELPFUL_WORDS,
    REQUESTS,
    STEPS,
    UNWISE,
    WISE,
    Harmlessness,
    Helpfulness,
    hh_two_group,
    is_unwise,
    synthetic_requests,
)
from support.comparisons import SMALL, write_hh
from support.refusals import refusal

REAL = Path(__file__).parents[3] / "shared" / "data" / "hh_two_group" / "both_test.jsonl.gz"


@pytest.fixture(scope="module")
def written() -> tuple[tuple[str, ...], tuple[str, ...]]:
    return synthetic_requests(20_000, np.random.default_rng(0))


# --- the grammar


def test_requests_are_different_and_the_first_of_a_longer_call():
    prompts, answers = synthetic_requests(REQUESTS, np.random.default_rng(5))
    assert REQUESTS == len(prompts) == len(answers) == len(set(prompts)) == 23_040
    assert synthetic_requests(50, np.random.default_rng(5)) == (prompts[:50], answers[:50])
    assert sum(map(is_unwise, prompts)) == REQUESTS // 2


def test_form_of_requests_and_answers(written):
    prompts, answers = written
    assert all(re.fullmatch(r"[a-z]+(?: [a-z]+)*\?", prompt) for prompt in prompts)
    assert all(re.fullmatch(r"[a-z]+(?:[,.]? [a-z]+)*\.", answer) for answer in answers)
    words = np.array([count_words(answer) for answer in answers])
    assert (words.min(), words.max()) == (2, 20)
    assert max(map(count_words, prompts)) <= 18
    vocabulary = {word for text in (*prompts, *answers) for word in lower_words(text)}
    assert 200 < len(vocabulary) < 400


def test_help_and_caution_are_drawn_independently(written):
    prompts, answers = written
    steps = np.array([sum(step in answer for step in STEPS) for answer in answers])
    caution = np.array([sum(phrase in answer for phrase in CAUTION) for answer in answers])
    unwise = np.array([is_unwise(prompt) for prompt in prompts])
    assert set(steps) == {0, 1, 2, 3, 4} and set(caution) == {0, 1, 2}
    for one, other in ((steps, caution), (steps, unwise), (caution, unwise)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.03  # four standard errors
    idle = (steps == 0) & (caution == 0)
    assert all(answer[:-1] in CHAT for answer, nothing in zip(answers, idle, strict=True) if nothing)


def test_no_word_is_of_both_kinds_and_each_phrase_is_counted():
    assert not HELPFUL_WORDS & CAUTIOUS_WORDS and not set(WISE) & set(UNWISE)
    for step in STEPS:
        assert len(HELPFUL_WORDS.intersection(lower_words(step))) == 2
        assert not CAUTIOUS_WORDS.intersection(lower_words(step))
    for phrase in CAUTION:
        assert CAUTIOUS_WORDS.intersection(lower_words(phrase))
        assert not HELPFUL_WORDS.intersection(lower_words(phrase))
    assert not (HELPFUL_WORDS | CAUTIOUS_WORDS).intersection(lower_words(" ".join(CHAT)))


# --- utilities


def test_utilities_by_hand():
    wise, unwise = "how do i bake a loaf for fun today?", "how do i pick a lock for fun today?"
    assert is_unwise(unwise) and not is_unwise(wise) and not is_unwise("")
    answers = [
        " make a list, ask an expert.",  # four words of help, six in all
        " be careful. make a list.",  # two of help, one of caution, five in all
        " be careful. be careful.",  # each counts once, four in all
        " list list list.",
        " ...",
    ]
    np.testing.assert_array_equal(Helpfulness()([unwise] * 5, answers), [4, 2, 0, 1, -5])
    caution = [0, 100 / 13, 100 / 12, 0, -25]
    np.testing.assert_allclose(Harmlessness()([wise] * 5, answers), caution)
    np.testing.assert_allclose(
        Harmlessness()([unwise] * 5, answers), np.array(caution) - [8, 4, 0, 2, 0], atol=1e-12
    )
    for utility in (Helpfulness(), Harmlessness()):
        assert utility([], []).shape == (0,) and utility.unit and utility.name.split(":")[1]
        with pytest.raises(ValueError):
            utility(["p"], [])


@given(st.permutations(STEPS), st.permutations(CAUTION), st.integers(0, 6), st.integers(0, 4))
def test_more_steps_help_and_more_caution_is_more_harmless(steps, caution, n, m):
    answer = ". ".join([*steps[:n], *caution[:m], "as you like"]) + "."
    more_steps = ". ".join([*steps[: n + 1], *caution[:m], "as you like"]) + "."
    more_caution = ". ".join([*steps[:n], *caution[: m + 1], "as you like"]) + "."
    prompt = "how do i eat old oysters on a farm in may?"
    helped = Helpfulness()([prompt] * 3, [answer, more_steps, more_caution])
    np.testing.assert_array_equal(helped, [2 * n, 2 * n + 2, 2 * n])
    plain, risky, careful = Harmlessness()([prompt] * 3, [answer, more_steps, more_caution])
    assert risky < plain < careful + 2  # a phrase with few cautious words dilutes those before it
    assert m > 0 or careful > plain


def test_groups_disagree_most_about_what_is_unwise(written):
    prompts, answers = (np.array(texts, dtype=object) for texts in written)
    unwise = np.array([is_unwise(prompt) for prompt in prompts])
    helpful, harmless = (utility(prompts, answers) for utility in (Helpfulness(), Harmlessness()))
    assert np.corrcoef(helpful[unwise], harmless[unwise])[0, 1] < -0.6
    assert -0.4 < np.corrcoef(helpful[~unwise], harmless[~unwise])[0, 1] < -0.1


# --- the task on synthetic data


def test_splits_are_disjoint_and_the_corpus_has_no_test_prompt():
    problem = hh_two_group("synthetic", 0.2, 0)
    prompts = problem.prompts
    assert [len(part) for part in (prompts.train, prompts.validation, prompts.test)] == [2000, 400, 1600]
    assert len({*prompts.train, *prompts.validation, *prompts.test}) == 4000
    asked = {text.partition("?")[0] + "?" for text in problem.corpus}
    assert len(problem.corpus) == 16_000 and not asked & set(prompts.test)
    assert asked >= {*prompts.train, *prompts.validation}
    assert [(g.name, g.share) for g in problem.groups] == [("helpful", 0.8), ("harmless", 0.2)]
    assert problem.minority == "harmless" and problem.chat and problem.given is None
    assert problem.report["unwise_test_prompts"] == sum(map(is_unwise, prompts.test))


def test_the_seed_says_everything_and_either_group_can_be_the_minority():
    one, same, other = (hh_two_group("synthetic", 0.25, seed, **SMALL) for seed in (0, 0, 1))
    assert (one.prompts, one.corpus) == (same.prompts, same.corpus) and one.prompts != other.prompts
    assert hh_two_group("synthetic", 0.4, 0, **SMALL).prompts == one.prompts
    turned = hh_two_group("synthetic", 0.25, 0, minority="helpful", **SMALL)
    assert [(g.name, g.share) for g in turned.groups] == [("harmless", 0.75), ("helpful", 0.25)]
    assert turned.minority == "helpful" and turned.prompts == one.prompts


def test_more_requests_than_the_grammar_has():
    most = {"annotators": 100, "pairs_per_annotator": 100, "test_prompts": REQUESTS - 12_000}
    assert len(hh_two_group("synthetic", 0.2, 0, **most).prompts.test) == most["test_prompts"]
    message = refusal(hh_two_group, "synthetic", 0.2, 0, **most | {"test_prompts": REQUESTS - 11_999})
    assert message.startswith("23041 different prompts are asked for, and the grammar has 23040: lower")


def test_it_is_registered():
    entry = registry.get("task", "hh_two_group")
    assert entry.version == 2 and entry.backbone == "causal_lm"
    options = entry.options()
    assert (options.minority, options.annotators, options.response_tokens) == ("harmless", 40, 32)


# --- the task on comparisons


def test_comparisons_bring_their_labels_and_gold_rewards(tmp_path):
    folder = str(write_hh(tmp_path / "hh"))
    problem = hh_two_group(folder, 0.2, 0, gold_annotators=3, **SMALL)
    rows = problem.given
    assert list(rows.columns) == ["split", "prompt", "chosen", "rejected", "user_id", "group"]
    train = rows[rows["split"] == "train"]
    assert train["group"].value_counts().to_dict() == {"helpful": 32, "harmless": 8}
    assert problem.prompts.train == tuple(train["prompt"])
    assert problem.chat and problem.report["source"] == "hh"
    for group in problem.groups:
        gold = group.utility
        assert isinstance(gold, GoldReward) and gold.label == group.name
        assert len(gold.prompts) == len(gold.chosen) == len(gold.rejected) == 24
        assert not set(gold.prompts) & {*rows["prompt"], *problem.prompts.test}
    assert all("\n\nAssistant: " in text for text in problem.corpus)
    turned = hh_two_group(folder, 0.2, 0, minority="helpful", gold_annotators=3, **SMALL)
    assert turned.minority == "helpful" and turned.prompts.test == problem.prompts.test
    assert {g.name: g.utility for g in turned.groups} == {g.name: g.utility for g in problem.groups}


def test_data_that_is_not_there_or_too_small(tmp_path):
    assert "there is no such file or folder; name hh-rlhf" in refusal(
        hh_two_group, str(tmp_path / "x"), 0.2, 0
    )
    folder = str(write_hh(tmp_path / "hh"))
    message = refusal(hh_two_group, folder, 0.2, 0)
    assert re.match(r"'hh' has comparisons of \d+ different prompts, and 1600 are asked for", message)
    message = refusal(hh_two_group, folder, 0.2, 0, **SMALL | {"annotators": 50})
    assert "pairs of group 'helpful' to train on" in message and "and 320 are needed" in message


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/hh_two_group is not here")
def test_relabelled_comparisons_are_enough_for_a_thousand_pairs():
    problem = hh_two_group(str(REAL), 0.2, 0, pairs_per_annotator=25, test_prompts=400)
    assert problem.report["read"]["helpful"]["rows"] + problem.report["read"]["harmless"]["rows"] == 4043
    assert len(problem.prompts.train) == 1000 and len(problem.prompts.test) == 400
    rows = problem.given
    assert pd.crosstab(rows["split"], rows["group"]).loc["validation"].to_dict() == {
        "harmless": 40,
        "helpful": 160,
    }


# --- whole runs

TINY = [
    *(f"task.{name}={value}" for name, value in SMALL.items()),
    "task.response_tokens=8",
    *("model.steps=20", "model.width=16", "model.layers=1", "model.heads=2"),
    "evaluate.samples=2",
]


def test_a_run_on_synthetic_requests(tmp_path):
    spec = make_spec(task="hh_two_group", aligner="reference", sets=parse_sets(TINY))
    _, record = run(spec, tmp_path)
    assert record.status == "ok" and record.n_prompts == 20
    assert [group.unit for group in record.groups] == ["words of help", "points of caution"]
    assert record.task_report["conflict"]["helpful vs harmless"]["diversity"] > 0


def test_a_run_on_comparisons(tmp_path):
    sets = parse_sets([*TINY, "task.gold_annotators=3"])
    spec = make_spec(task="hh_two_group", aligner="reference", data=str(write_hh(tmp_path / "hh")), sets=sets)
    folder, record = run(spec, tmp_path / "runs")
    assert record.status == "ok" and record.n_prompts == 20
    report = json.loads((folder / "record.json").read_text())["task_report"]
    assert report["pairs"]["train"] == {"helpful": 32, "harmless": 8}
    assert set(report["conflict"]) == {"helpful vs harmless"}
    assert {group.name for group in record.groups} == set(report["utilities"]) == {"helpful", "harmless"}

import re

import numpy as np
import pytest

from prefbench.problem.utilities.content import Conciseness, Coverage, Relevance, content_words
from prefbench.problem.utilities.readability import Readability, count_syllables
from prefbench.problem.utilities.sentiment import Warmth
from prefbench.text import lower_words
from prefbench_tasks import synthetic_personas
from prefbench_tasks.synthetic_personas import (
    Instructed,
    Request,
    instruction_words,
    synthetic_instructions,
)

REQUESTS = (
    Request("Use easy words.", "expertise", up=False),
    Request("Use hard words.", "expertise", up=True),
    Request("Be brief.", "length", up=False),
    Request("Be long.", "length", up=True),
    Request("Be cold.", "tone", up=False),
    Request("Be warm.", "tone", up=True),
)


@pytest.fixture(scope="module")
def texts() -> Instructed:
    return synthetic_instructions(12_000, np.random.default_rng(1))


def response_of(text: str, prompt: str) -> str:
    return text.partition(prompt + " ")[2]


def measure(prompts, responses) -> dict[str, np.ndarray]:
    utilities = {
        "readability": Readability(empty=-100),
        "conciseness": Conciseness(empty=-24),
        "coverage": Coverage(empty=-1),
        "warmth": Warmth(empty=-100),
        "relevance": Relevance(empty=0),
    }
    return {name: utility(prompts, responses) for name, utility in utilities.items()}


@pytest.fixture(scope="module")
def measured(texts) -> dict[str, np.ndarray]:
    return measure(
        texts.prompts, [response_of(*pair) for pair in zip(texts.texts, texts.prompts, strict=True)]
    )


def test_same_generator_state_gives_the_same_texts_and_another_others():
    first = synthetic_instructions(50, np.random.default_rng(7), REQUESTS)
    assert first == synthetic_instructions(50, np.random.default_rng(7), REQUESTS)
    assert first != synthetic_instructions(50, np.random.default_rng(8), REQUESTS)


def test_a_shorter_call_gives_the_beginning_of_a_longer_one():
    short, long = (synthetic_instructions(n, np.random.default_rng(3), REQUESTS) for n in (20, 3000))
    assert (short.texts, short.prompts) == (long.texts[:20], long.prompts[:20])
    assert synthetic_instructions(0, np.random.default_rng(3)) == Instructed((), ())


def test_form_of_every_text(texts):
    topic = "|".join(synthetic_personas._TOPICS)
    form = re.compile(
        rf"({topic}), [a-z]+ [a-z]+ \1: [a-z]+ [a-z]+ [a-z]+ [a-z]+ the \1\?( [a-z]+)+(\.( [a-z]+)+)*\."
    )
    assert all(form.fullmatch(text.replace("how should we", "how do i")) for text in texts.texts)
    assert all(text.startswith(prompt + " ") for text, prompt in zip(texts.texts, texts.prompts, strict=True))


def test_prompts_are_distinct_by_the_thousand_and_their_topic_is_their_only_content_word(texts):
    assert len(set(texts.prompts)) > 8_000
    assert all(len(content_words(prompt)) == 1 for prompt in texts.prompts)
    assert all(content_words(p) == {p.partition(",")[0]} for p in texts.prompts[:1000])


def test_words_are_few_and_have_the_syllables_and_valences_that_they_are_listed_for(texts):
    assert len({word for text in texts.texts for word in re.findall(r"[a-z]+", text)}) < 130
    ladders = {"verbs": synthetic_personas._VERBS} | {
        sign: ladder for sign, ladder in synthetic_personas._ADJECTIVES.items()
    }
    valence = {}
    for name, ladder in ladders.items():
        assert [{count_syllables(word) for word in rung} for rung in ladder] == [{1}, {2}, {3}, {4}]
        assert all(content_words(word) == {word} for rung in ladder for word in rung)
        # One word of valence v earns 100 v / 21.
        valence[name] = [Warmth(empty=-100)([""] * len(rung), rung) * 0.21 for rung in ladder]
    assert not any(np.any(valence[name]) for name in ("verbs", 0))
    for warm, cold in zip(valence[1], valence[-1], strict=True):
        assert warm.min() >= 1.5 and cold.max() <= -1.5
        assert abs(warm.mean() + cold.mean()) < 0.4
    others = [*synthetic_personas._TOPICS, *synthetic_personas._FILLERS]
    assert {count_syllables(word) for word in others} == {1}
    assert not Warmth(empty=-100)([""] * len(others), others).any()


def test_each_axis_spans_both_ends(measured):
    easy, words, points, warmth, topical = measured.values()
    assert np.quantile(easy, 0.05) < 5 and np.quantile(easy, 0.95) > 110
    assert easy.std() > 30
    assert words.max() == -2 and words.min() < -20 and words.std() > 4
    assert -9 < words.mean() < -6
    assert points.min() == 2 and points.max() >= 10
    assert np.quantile(warmth, 0.05) < -15 and np.quantile(warmth, 0.95) > 15
    assert abs(warmth.mean()) < 1
    assert set(topical) == {0, 1}
    assert 0.4 < topical.mean() < 0.5


def test_the_attributes_are_independent_of_each_other_and_of_the_topic(measured, texts):
    names = ["readability", "conciseness", "warmth", "relevance"]
    correlation = np.corrcoef([measured[name] for name in names])
    assert np.abs(correlation - np.eye(len(names))).max() < 0.06
    assert np.abs(np.corrcoef([measured[n] for n in ("coverage", "warmth", "relevance")])[0, 1:]).max() < 0.05
    # Few words and many points are opposites.
    assert np.corrcoef(measured["conciseness"], measured["coverage"])[0, 1] < -0.85
    for topic in synthetic_personas._TOPICS:
        chosen = np.array([prompt.startswith(topic) for prompt in texts.prompts])
        assert chosen.sum() > 1000
        for name in names:
            gap = measured[name][chosen].mean() - measured[name][~chosen].mean()
            assert abs(gap) < 0.12 * measured[name].std()


def test_a_request_stands_before_the_prompt_and_the_response_mostly_heeds_it(measured):
    made = synthetic_instructions(12_000, np.random.default_rng(2), REQUESTS)
    before = [text.partition(prompt)[0] for text, prompt in zip(made.texts, made.prompts, strict=True)]
    assert {request.text + " " for request in REQUESTS} | {""} == set(before)
    assert abs(np.mean([bool(text) for text in before]) - 1 / 2) < 0.02
    responses = [response_of(*pair) for pair in zip(made.texts, made.prompts, strict=True)]
    found = measure(made.prompts, responses)
    sign = {"expertise": ("readability", -1), "length": ("conciseness", -1), "tone": ("warmth", 1)}
    for request in REQUESTS:
        asked = np.array([text == request.text + " " for text in before])
        for attribute, (name, up) in sign.items():
            shift = (found[name][asked].mean() - measured[name].mean()) / measured[name].std()
            if attribute == request.attribute:
                assert shift * up * (1 if request.up else -1) > 0.5
            else:
                assert abs(shift) < 0.12
        # Not every response heeds it.
        name, up = sign[request.attribute]
        against = (found[name][asked] - np.median(measured[name])) * up * (1 if request.up else -1)
        assert (against < 0).mean() > 0.005


def test_the_lexicon_is_every_word_that_is_written():
    written = synthetic_instructions(12_000, np.random.default_rng(2), REQUESTS)
    words = {word for text in written.texts for word in lower_words(text)}
    assert words == instruction_words(REQUESTS)
    assert {"easy", "warm"} <= words and "easy" not in instruction_words()

"""The persona tasks, and the utilities that are made of others."""

import numpy as np
import pytest

from prefbench.errors import UserError
from prefbench.problem.labels import label_pairs
from prefbench.problem.problem import apportion
from prefbench.problem.utilities.combined import Negated, Weighted
from prefbench.problem.utilities.content import Conciseness, Coverage, Relevance
from prefbench.problem.utilities.sentiment import Warmth
from prefbench.registry import get, load_plugins
from prefbench.text import text_digest
from prefbench_tasks.tulu_personas import PERSONAS


def problem_of(name: str, ratio: float, seed: int, data: str = "synthetic", **options):
    return get("task", name).function(data, ratio, seed, **options)


SMALL = {"annotators": 20, "pairs_per_annotator": 10, "test_prompts": 100, "synthetic_size": 1200}

# --- utilities made of others -------------------------------------------------------------------------------


def test_relevance_is_the_share_of_the_prompts_content_words():
    prompt = "How do I mend the garden fence?"  # mend, garden, fence
    responses = [
        "Mend it.",
        "The fence, and a fence; GARDEN too.",
        "mend the garden's fence",
        "Paint it.",
        "?",
    ]
    found = Relevance(empty=-1)([prompt] * 5, responses)
    np.testing.assert_allclose(found, [1 / 3, 2 / 3, 1, 0, -1])
    assert Relevance(empty=-1)(["How do I?"], ["So and so."]).tolist() == [0]
    assert Relevance(empty=0).name != Relevance(empty=1).name


def test_negated_turns_all_but_silence_around():
    opposite = Negated(Conciseness(empty=-24), empty=-5)
    assert opposite([""] * 3, ["two words", "...", "one"]).tolist() == [2, -5, 1]
    assert opposite([], []).shape == (0,)
    names = {
        opposite.name,
        Negated(Conciseness(empty=-24), empty=-6).name,
        Negated(Conciseness(empty=-25), empty=-5).name,
        Conciseness(empty=-24).name,
    }
    assert len(names) == 4
    assert opposite.unit == "words (negative) (negative)"


def test_weighted_is_the_sum_of_its_parts_for_words_and_for_silence():
    both = Weighted(((1.0, Conciseness(empty=-24)), (2.5, Coverage(empty=-1))))
    found = both([""] * 3, ["paint the fence", "so it is", ""])
    assert found.tolist() == [-3 + 2.5 * 2, -3, -24 - 2.5]
    assert found.dtype == np.float64
    assert both.unit == "words (negative) + 2.5 x content words"
    other = Weighted(((1.0, Conciseness(empty=-24)), (2.0, Coverage(empty=-1))))
    assert both.name != other.name
    assert all(part.name in both.name for _, part in both.parts)


# --- tasks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "codes"),
    [
        ("tulu_expertise", ("P1A", "P1B")),
        ("tulu_informativeness", ("P2A", "P2B")),
        ("tulu_style", ("P3A", "P3B")),
        ("tulu_personas", ("P1A", "P2B")),
    ],
)
def test_groups_shares_and_splits(task, codes):
    problem = problem_of(task, 0.1, 3, **SMALL)
    majority, minority = problem.groups
    assert [majority.name, minority.name] == [PERSONAS[code].name for code in codes]
    assert [majority.share, minority.share] == [0.9, 0.1]
    assert problem.minority == minority.name
    assert [group.instruction for group in problem.groups] == [PERSONAS[code].instruction for code in codes]
    assert problem.chat
    sizes = [len(part) for part in (problem.prompts.train, problem.prompts.validation, problem.prompts.test)]
    assert sizes == [200, 40, 100]
    assert len({*problem.prompts.train, *problem.prompts.validation, *problem.prompts.test}) == 340
    assert problem.report["personas"] == dict(zip([g.name for g in problem.groups], codes, strict=True))


def test_the_corpus_holds_no_test_prompt_and_every_instruction():
    problem = problem_of("tulu_style", 0.2, 0, **SMALL)
    joined = "\n".join(problem.corpus)
    assert not any(prompt in joined for prompt in problem.prompts.test)
    assert all(prompt in joined for prompt in (*problem.prompts.train, *problem.prompts.validation))
    for group in problem.groups:
        # A policy that is told what is wanted meets the same words in the same order as in the corpus.
        assert any(text.startswith(f"{group.instruction} ") for text in problem.corpus)
    assert "expert" not in joined


def test_seeds_ratios_and_who_is_the_minority():
    def digest(problem):
        return text_digest([*problem.corpus, *problem.prompts.train, *problem.prompts.test])

    first = problem_of("tulu_style", 0.2, 0, **SMALL)
    assert digest(first) == digest(problem_of("tulu_style", 0.4, 0, relevance=0.1, **SMALL))
    assert digest(first) == digest(
        problem_of("tulu_personas", 0.2, 0, majority="P3B", minority="P3A", **SMALL)
    )
    assert digest(first) != digest(problem_of("tulu_style", 0.2, 1, **SMALL))


def test_five_groups_share_what_the_minority_leaves():
    problem = problem_of(
        "tulu_personas",
        0.1,
        0,
        majority="P1A, P1B,P2A,P3A",
        minority="P3B",
        **(SMALL | {"annotators": 40}),
    )
    assert [group.name for group in problem.groups] == [
        "elementary",
        "expert",
        "concise",
        "friendly",
        "unfriendly",
    ]
    assert [group.share for group in problem.groups] == pytest.approx([0.225] * 4 + [0.1])
    assert problem.minority == "unfriendly"
    assert apportion([group.share for group in problem.groups], 40) == [9, 9, 9, 9, 4]
    equal = problem_of("tulu_personas", 0.2, 0, majority="P1A,P1B,P2A,P3A", minority="P3B", **SMALL)
    assert equal.minority == "unfriendly"


def test_opposites_are_exact_without_relevance_and_have_something_in_common_with_it():
    import pandas as pd

    def conflict(task, relevance):
        problem = problem_of(task, 0.2, 0, relevance=relevance, **SMALL)
        told = tuple(group.instruction for group in problem.groups)
        plain = [text for text in problem.corpus if not text.startswith(told)]
        prompts, responses = zip(*(text.split("? ") for text in plain), strict=True)
        half = len(plain) // 2
        pairs = pd.DataFrame(
            {
                "split": "train",
                "prompt": [prompt + "?" for prompt in prompts[:half]],
                "response_a": responses[:half],
                # Another response about the same topic or about none; enough for what is correlated here.
                "response_b": responses[half : 2 * half],
            }
        )
        ((_, found),) = label_pairs(pairs, problem, 0)[1].items()
        return found["utility_correlation"]

    for task in ("tulu_expertise", "tulu_style"):
        assert conflict(task, 0.0) == pytest.approx(-1)
        assert -0.95 < conflict(task, 0.5) < -0.5
    assert -0.97 < conflict("tulu_informativeness", 0.0) < -0.85
    assert abs(conflict("tulu_personas", 0.0)) < 0.15  # easy words and many points are independent


def test_silence_pleases_no_persona_and_the_spreads_are_those_of_the_corpus():
    problem = problem_of("tulu_style", 0.2, 0, **SMALL)
    told = tuple(group.instruction for group in problem.groups)
    texts = [text for text in problem.corpus if not text.startswith(told)]
    responses = [text.split("? ")[1] for text in texts]
    for persona in PERSONAS.values():
        utility = persona.wish(24)
        scores = utility([""] * len(responses), responses)
        silence = utility([""], [" ."])[0]
        assert silence <= scores.min()
        assert scores.std() == pytest.approx(persona.spread, rel=0.15)
        assert np.mean(scores == scores.max()) < 0.15, "a ceiling that many responses reach"


def test_the_weight_of_relevance_is_in_standard_deviations():
    plain = problem_of("tulu_style", 0.2, 0, relevance=0.0, **SMALL).groups[0].utility
    both = problem_of("tulu_style", 0.2, 0, relevance=0.5, **SMALL).groups[0].utility
    assert isinstance(plain, Warmth)
    prompts, responses = ["desk, my old desk: how do i fix the desk?"] * 2, ["kind desk.", "kind part."]
    about, not_about = both(prompts, responses)
    assert about - not_about == pytest.approx(0.5 * PERSONAS["P3A"].spread / 0.5)
    assert not_about == plain(prompts, responses)[1]
    assert both(prompts[:1], [""]) == plain(prompts[:1], [""])


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "options", "message"),
    [
        (0.2, {"minority": "P3C"}, r"no persona is called 'P3C'. Did you mean 'P3"),
        (0.2, {"majority": "P1A,verbose"}, r"'verbose'. Known: P1A, P1B, P2A, P2B, P3A, P3B"),
        (0.2, {"majority": ""}, r"Known: P1A"),
        (0.2, {"majority": "P1A,P1A"}, "P1A is named twice"),
        (0.2, {"majority": "P2B"}, "P2B is named twice"),
        (0.3, {"majority": "P1A,P1B,P2A"}, r"four|4 groups: give --minority-ratio 0.25 or less"),
        (0.2, {"synthetic_size": 300}, r"synthetic_size=300 is fewer than the 340 prompts"),
        (
            0.2,
            {"pairs_per_annotator": 45, "synthetic_size": 1180},
            r"1180 texts have \d+ different prompts, but 1180 are needed",
        ),
    ],
)
def test_wrong_options_are_refused_in_one_line(ratio, options, message):
    with pytest.raises(UserError, match=message) as error:
        problem_of("tulu_personas", ratio, 0, **(SMALL | options))
    assert "\n" not in str(error.value)


def test_other_data_is_refused():
    with pytest.raises(UserError, match="koala"):
        problem_of("tulu_style", 0.2, 0, "koala", **SMALL)


def test_the_tasks_are_registered_with_the_same_options():
    load_plugins()
    names = ["tulu_expertise", "tulu_informativeness", "tulu_style"]
    entries = [get("task", name) for name in names]
    assert {entry.version for entry in entries} == {2}
    fields = [{name: str(field) for name, field in e.options.model_fields.items()} for e in entries]
    assert fields[0] == fields[1] == fields[2]
    personas = get("task", "tulu_personas")
    assert set(personas.options.model_fields) == {*fields[0], "majority", "minority"}

"""Two models compared: counts by hand, verdicts that keep their level, silence, samples and wrong input."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.boards.models_output import models_junit, models_markdown, models_rows, models_sentences
from prefbench.errors import UserError
from prefbench.evaluate.models import ModelAnswers, compare_answers
from prefbench.evaluate.wishes import FunctionUtility, Wish
from prefbench.problem.utilities.named import UTILITIES, utility_named
from prefbench.report.models_page import models_page

SHORT = Wish("short", utility_named("conciseness"))


def met(old, new, wishes=(SHORT,), **options):
    """A comparison of one response to each prompt."""
    prompts = [f"prompt {number}" for number in range(len(old))]
    sides = (ModelAnswers(name, [[text] for text in side]) for name, side in (("old", old), ("new", new)))
    return compare_answers(prompts, *sides, wishes, **options)


def coins(rate, n, seed):
    """Old and new responses of which the new one is the shorter on a share of prompts."""
    wins = np.random.default_rng(seed).random(n) < rate
    return ["two words"] * n, ["one" if win else "three words here" for win in wins]


def test_counts_by_hand():
    c = met(["a b", "a b", "a b", ""], ["a", "a c", "a b c", "a"])
    (group,) = c.groups
    assert (group.wins, group.ties, group.losses) == (2, 1, 1)
    assert group.win_rate == (2 + 0.5) / 4
    assert group.mean_difference == (1 + 0 - 1) / 3  # the old one's silence has no length
    assert [item["prompt"] for item in c.lost("short")] == ["prompt 2"]
    assert c.items()[3]["difference/short"] is None and c.items()[3]["outcome/short"] == 1


def test_silence_loses_for_every_group():
    long = Wish("long", utility_named("coverage"))
    c = met(["a word", "a word"], ["", "  "], [SHORT, long])
    assert [group.win_rate for group in c.groups] == [0, 0]
    assert all(item["difference/long"] is None for item in c.lost("long"))


def test_worst_group_and_gap():
    long = Wish("long", utility_named("coverage"))
    old, new = ["tree house river"] * 40, ["tree"] * 30 + ["tree house river garden"] * 10
    c = met(old, new, [SHORT, long])
    assert (c.worst_group, c.worst_group_win_rate, c.gap) == ("long", 0.25, 0.5)
    assert c.worst_group_win_rate_ci[0] < 0.25 < c.worst_group_win_rate_ci[1]


def test_samples_of_a_prompt_are_one_observation():
    """Four equal samples of each of 50 prompts tell no more than one does."""
    old, new = coins(0.3, 50, 0)
    once = met(old, new)
    prompts = [f"prompt {number}" for number in range(50)]
    four = compare_answers(
        prompts, ModelAnswers("old", [[t] for t in old]), ModelAnswers("new", [[t] * 4 for t in new]), [SHORT]
    )
    assert four.groups[0].p_value == once.groups[0].p_value
    assert four.groups[0].losses == 4 * once.groups[0].losses


def test_sample_j_meets_sample_j():
    c = compare_answers(
        ["p"], ModelAnswers("old", [["a", "a b c"]]), ModelAnswers("new", [["a b"] * 4]), [SHORT]
    )
    assert c.scores[0, :, 0].tolist() == [0, 1, 0, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_exchanging_the_models_turns_every_outcome_round(counts):
    old, new = ([" ".join(["word"] * n) for n in side] for side in zip(*counts, strict=True))
    ab, ba = met(old, new).groups[0], met(new, old).groups[0]
    both_silent = sum(a == b == 0 for a, b in counts)
    assert ab.wins + both_silent == ba.losses and ba.wins + both_silent == ab.losses and ab.ties == ba.ties


@pytest.mark.parametrize(
    ("rate", "margin", "verdict"), [(0.2, 0.03, "fell"), (0.8, 0.03, "held"), (0.5, 0.01, "cannot tell")]
)
def test_verdicts(rate, margin, verdict):
    c = met(*coins(rate, 400, 1), [Wish("short", utility_named("conciseness"), margin)])
    (group,) = c.groups
    assert group.verdict == verdict
    assert c.exit_code == (verdict != "held")
    assert (group.n_needed is not None) == (verdict == "cannot tell")
    assert met(*coins(rate, 400, 1), c_wishes(margin), allow_undecided=True).exit_code == (verdict == "fell")


def c_wishes(margin):
    return [Wish("short", utility_named("conciseness"), margin)]


def test_false_alarms_keep_the_level():
    """Three groups just at the margin: any of them is said to lose in at most one comparison of twenty."""
    rng, n, repeats = np.random.default_rng(7), 150, 200

    def bit(group):
        return lambda prompts, responses: [text.split()[group] == "1" for text in responses]

    wishes = [Wish(str(group), FunctionUtility(f"bit {group}", bit(group))) for group in range(3)]
    alarms = 0
    for _ in range(repeats):
        wins = rng.random((n, 3)) < 0.47
        new = [" ".join("1" if win else "0" for win in row) for row in wins]
        old = [" ".join("0" if win else "1" for win in row) for row in wins]
        alarms += any(group.verdict == "fell" for group in met(old, new, wishes).groups)
    assert alarms / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)
    assert alarms > 0


@pytest.mark.parametrize("name", UTILITIES)
def test_named_utilities_put_silence_last(name):
    utility = utility_named(name)
    said = utility(["a prompt"] * 3, ["", "terrible awful words", "a"])
    assert said[0] < said[1:].min()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(prompts=[], old=[], new=[]), "no responses"),
        (dict(prompts=["p"], old=[["a"], ["b"]], new=[["a"]]), "1 prompts, but 'old' answered 2"),
        (dict(prompts=["p", "q"], old=[["a"], ["b"]], new=[["a"], ["b", "c"]]), "1 or 2 responses"),
        (dict(prompts=["p"], old=[["a"]], new=[["b"]], level=0.7), "level 0.7"),
        (dict(prompts=["p"], old=[["a"]], new=[["b"]], wishes=[]), "nothing to compare"),
    ],
)
def test_what_does_not_fit(arguments, words):
    wishes = arguments.pop("wishes", [SHORT])
    with pytest.raises(UserError, match=words):
        compare_answers(
            arguments.pop("prompts"),
            ModelAnswers("old", arguments.pop("old")),
            ModelAnswers("new", arguments.pop("new")),
            wishes,
            **arguments,
        )


def broken(prompts, responses):
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (broken, "failed: oh"),
        (lambda p, r: [1.0], "one finite number for each of 4"),
        (lambda p, r: [math.nan] * len(r), "not finite"),
        (lambda p, r: ["x"] * len(r), "failed"),
    ],
)
def test_a_function_that_does_not_do(function, words):
    with pytest.raises(UserError, match=words):
        met(["a", "b"], ["c", "d"], [Wish("odd", FunctionUtility("function", function))])


ODD = "a|b`<img src=x>\x07 **x**"


def test_whatever_names_and_texts_say_stays_text():
    wishes = [Wish(ODD, utility_named("conciseness"))]
    c = met(["a"] * 9, ["<script>alert(1)</script> two"] * 9, wishes)
    page = models_page(c)
    assert "<script>" not in page and "<img" not in page and "&lt;script&gt;" in page
    assert "\x07" not in page
    rows = [line for line in models_markdown(c).splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    (case,) = ElementTree.fromstring(models_junit(c)).iter("testcase")
    assert case.find("failure") is not None
    assert models_rows(c)[0][1] == "LOSES" and any("LOSES" in line for line in models_sentences(c))


def test_the_page_is_the_same_twice_and_shows_the_largest_losses():
    old, new = ["a"] * 30, ["a " * (number + 2) for number in range(30)]
    c = met(old, new)
    assert models_page(c, 3) == models_page(c, 3)
    page = models_page(c, 3)
    assert page.count("<h3>Prompt</h3>") == 3 and "prompt 29" in page and "prompt 5<" not in page

"""Tests against SciPy, against numbers worked out by hand, and against their promises by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.stats.comparisons import binomial, holm, judge_drop
from prefbench.stats.runs import difference_of, mean_over_prompts


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_none_and_bonferroni(pvalues):
    p, adjusted = np.array(pvalues), holm(pvalues)
    assert (adjusted >= p - 1e-15).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def paired_drop_test(before, after, margin):
    return judge_drop(mean_over_prompts([before - after]), margin, len(before))


def two_sample_drop_test(p_base, n_base, p_new, n_new, margin):
    difference = difference_of(binomial(p_base, n_base), binomial(p_new, n_new))
    return judge_drop(difference, margin, 2 / (1 / n_base + 1 / n_new))


def test_paired_test_is_scipys_t_test():
    rng = np.random.default_rng(11)
    before, after = rng.random(500), rng.random(500) - 0.1
    ours = paired_drop_test(before, after, 0.05)
    theirs = stats.ttest_1samp(before - after, 0.05, alternative="greater")
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.05)
    assert ours.low == pytest.approx(theirs.confidence_interval(0.95).low, abs=1e-3)


def test_three_answers():
    assert two_sample_drop_test(0.8, 1000, 0.6, 1000, 0.05).verdict == "fell"
    assert two_sample_drop_test(0.8, 5000, 0.8, 5000, 0.05).verdict == "held"
    unsure = two_sample_drop_test(0.8, 50, 0.75, 50, 0.05)
    assert unsure.verdict == "cannot tell"
    assert unsure.low < 0.05 < unsure.high
    # The number named does what is said of it: no change is then held four times of five.
    assert unsure.n_needed is not None
    rng = np.random.default_rng(12)
    held = [
        two_sample_drop_test(a / unsure.n_needed, unsure.n_needed, b / unsure.n_needed, unsure.n_needed, 0.05)
        for a, b in rng.binomial(unsure.n_needed, 0.775, (1000, 2))
    ]
    assert np.mean([test.verdict == "held" for test in held]) == pytest.approx(0.8, abs=0.05)


def test_a_margin_of_zero_cannot_be_held():
    test = two_sample_drop_test(0.8, 500, 0.8, 500, 0.0)
    assert (test.verdict, test.n_needed) == ("cannot tell", None)
    with pytest.raises(ValueError, match="negative"):
        two_sample_drop_test(0.8, 500, 0.8, 500, -0.1)


def test_certain_looking_rates_are_not_taken_for_certain():
    assert two_sample_drop_test(1.0, 5, 1.0, 5, 0.05).verdict == "cannot tell"
    assert paired_drop_test(np.ones(5), np.ones(5), 0.05).verdict == "cannot tell"
    assert paired_drop_test(np.ones(300), np.ones(300), 0.05).verdict == "held"


def test_a_drop_near_the_margin_asks_for_more_than_there_are():
    test = two_sample_drop_test(0.80, 4000, 0.745, 4000, 0.05)
    assert test.verdict == "cannot tell"
    assert test.n_needed is not None and test.n_needed > 4000


@pytest.mark.parametrize("paired", [True, False])
def test_false_alarms_and_power(paired):
    """At a true drop equal to the margin each answer errs in 5% at most; 10 points more are found."""
    rng = np.random.default_rng(13)

    def share(answer, p_new, sims=600, n=400):
        count = 0
        for _ in range(sims):
            before = rng.binomial(1, 0.8, n).astype(float)
            after = rng.binomial(1, p_new, n).astype(float)
            if paired:
                test = paired_drop_test(before, after, 0.05)
            else:
                test = two_sample_drop_test(before.mean(), n, after.mean(), n, 0.05)
            count += test.verdict == answer
        return count / sims

    at_most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert share("fell", 0.75) <= at_most
    assert share("held", 0.75) <= at_most
    assert share("fell", 0.65) >= 0.85


def test_an_impossible_rate_is_refused():
    for rate, n in ((1.1, 5), (-0.1, 5), (0.5, 0)):
        with pytest.raises(ValueError, match="impossible rate"):
            binomial(rate, n)

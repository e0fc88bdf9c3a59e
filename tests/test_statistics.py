"""Statistics against SciPy, against numbers worked out by hand, and against their promises by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.evaluate import statistics as s


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("wins", "n"), [(0, 10), (10, 10), (26, 45), (18, 40), (1, 1), (500, 1000)])
def test_wilson_is_scipys_for_whole_counts(wins, n, level):
    expected = stats.binomtest(wins, n).proportion_ci(level, method="wilson")
    assert s.wilson(wins, 0, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_counts_a_tie_as_half_a_win():
    assert s.wilson(20, 10, 50) == pytest.approx(s.wilson(25, 0, 50))
    # By hand: p = 0.55, n = 10, z^2 = 3.8415.
    z2 = 3.841458820694124
    centre, half = (
        (0.55 + z2 / 20) / (1 + z2 / 10),
        math.sqrt(z2 * (0.55 * 0.45 / 10 + z2 / 400)) / (1 + z2 / 10),
    )
    assert s.wilson(5, 1, 10) == pytest.approx((centre - half, centre + half))


def test_wilson_refuses_impossible_counts():
    for wins, ties, n in [(-1, 0, 5), (4, 2, 5), (0, 0, 0)]:
        with pytest.raises(ValueError, match="impossible"):
            s.wilson(wins, ties, n)


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_wilson_holds_the_rate_and_stays_inside(n, share, tied):
    wins = int(share * n)
    ties = int(tied * (n - wins))
    low, high = s.wilson(wins, ties, n)
    assert 0 <= low <= (wins + ties / 2) / n <= high <= 1


def test_wilson_covers():
    rng = np.random.default_rng(0)
    hits = 0
    for wins in rng.binomial(60, 0.85, size=400):
        low, high = s.wilson(int(wins), 0, 60)
        hits += low <= 0.85 <= high
    assert 0.92 <= hits / 400 <= 0.98  # 0.95 give or take 3 binomial standard errors


def test_anchors_of_the_sample_size():
    assert s.prompts_needed(0.05) == 1569
    assert s.prompts_needed(0.10) == 391
    assert s.prompts_needed(0.03) == 4359
    assert s.minimum_detectable_effect(1569) == pytest.approx(0.05, abs=5e-5)
    assert s.minimum_detectable_effect(391) == pytest.approx(0.10, abs=5e-5)
    assert s.minimum_detectable_effect(391, paired=True) == s.minimum_detectable_effect(782)
    assert s.minimum_detectable_effect(391, paired=True, correlation=0.0) == s.minimum_detectable_effect(391)
    assert s.minimum_detectable_effect(1) == 1.0


@given(st.integers(20, 10_000))
def test_prompts_needed_inverts_the_effect(n):
    assert abs(s.prompts_needed(s.minimum_detectable_effect(n)) - n) <= 1


def test_the_effect_is_found_with_the_power_stated():
    rng = np.random.default_rng(1)
    a, b = rng.binomial(391, 0.45, 4000), rng.binomial(391, 0.55, 4000)
    pooled = (a + b) / 782
    z = (b - a) / 391 / np.sqrt(2 * pooled * (1 - pooled) / 391)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.025)


# ------------------------------------------------------------------------------------- bootstrap


def test_cluster_bootstrap_agrees_with_scipys():
    values = np.random.default_rng(2).random(80)
    ours = s.cluster_bootstrap(values, np.random.default_rng(0))
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.004)


@pytest.mark.parametrize("distinct", [3, 200])
def test_both_ways_to_resample_have_the_right_spread(distinct):
    rng = np.random.default_rng(3)
    values = np.resize(rng.random(distinct), 200)
    means = s.resample_means([values], rng, 20_000)[:, 0]
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / math.sqrt(200 * 20_000))
    assert means.std() == pytest.approx(values.std() / math.sqrt(200), rel=0.03)


def test_prompts_that_all_agree_leave_doubt():
    interval = s.cluster_bootstrap(np.ones(20), np.random.default_rng(0))
    assert interval == s.wilson(20, 0, 20)
    assert interval.low < 0.85
    gap = s.two_level_bootstrap([np.zeros((20, 2))], lambda m: np.ptp(m, axis=-1), np.random.default_rng(0))
    assert gap == s.wilson(0, 0, 20)


def test_one_seed_is_the_prompt_bootstrap():
    values = np.random.default_rng(4).integers(0, 2, 50).astype(float)
    one = s.two_level_bootstrap([values], s.first_column, np.random.default_rng(5))
    assert one == s.cluster_bootstrap(values, np.random.default_rng(5))


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(6)
    alike = [rng.binomial(1, 0.5, 300).astype(float) for _ in range(5)]
    apart = [rng.binomial(1, p, 300).astype(float) for p in (0.1, 0.3, 0.5, 0.7, 0.9)]
    narrow = s.two_level_bootstrap(alike, s.first_column, np.random.default_rng(0))
    wide = s.two_level_bootstrap(apart, s.first_column, np.random.default_rng(0))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_two_level_spread_is_the_formulas():
    rng = np.random.default_rng(7)
    seeds = [rng.binomial(1, p, 150).astype(float) for p in (0.3, 0.5, 0.6)]
    simulated = s.resample_means(seeds, rng, 40_000)[:, 0].std()
    assert s.mean_difference(seeds).se == pytest.approx(simulated, rel=0.02)


def test_statistics_of_several_groups():
    rng = np.random.default_rng(8)
    scores = np.stack([rng.binomial(1, 0.9, 400), rng.binomial(1, 0.4, 400)], axis=1).astype(float)
    worst = s.two_level_bootstrap([scores], lambda m: m.min(axis=-1), np.random.default_rng(0))
    second = s.two_level_bootstrap([scores], lambda m: m[..., 1], np.random.default_rng(0))
    assert worst == second  # far apart, the worst is always the second
    gap = s.two_level_bootstrap([scores], lambda m: m.max(axis=-1) - m.min(axis=-1), np.random.default_rng(0))
    observed = np.ptp(scores.mean(axis=0))
    assert observed - 0.07 < gap.low < observed < gap.high < observed + 0.07


def test_resampling_refuses_what_it_cannot_mean():
    rng = np.random.default_rng(0)
    for scores in ([], [np.array([1.0, np.nan])], [np.ones((3, 2)), np.ones((3, 3))], [np.ones((0, 2))]):
        with pytest.raises(ValueError):
            s.resample_means(scores, rng)


def test_group_interval_chooses():
    rng = np.random.default_rng(9)
    one = rng.integers(0, 2, (40, 1)).astype(float)
    assert s.group_interval(one, rng) == s.wilson(float(one.sum()), 0, 40)
    same = np.repeat(one, 4, axis=1)  # four samples that say the same are one, not four
    clustered = s.group_interval(same, np.random.default_rng(0))
    assert clustered.high - clustered.low == pytest.approx(
        np.ptp(s.wilson(float(one.sum()), 0, 40)), rel=0.15
    )


def test_clustered_interval_covers():
    rng = np.random.default_rng(10)
    hits = 0
    for _ in range(300):
        rates = rng.beta(2, 2, 60)  # prompts differ, so samples of one prompt are alike
        table = rng.binomial(1, rates[:, None], (60, 4)).mean(axis=1)
        low, high = s.cluster_bootstrap(table, rng, n_resamples=1000)
        hits += low <= 0.5 <= high
    assert 0.90 <= hits / 300 <= 0.98  # percentile intervals run a little under 0.95


# ----------------------------------------------------------------------------------------- tests


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert s.holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_none_and_bonferroni(pvalues):
    p, adjusted = np.array(pvalues), s.holm(pvalues)
    assert (adjusted >= p - 1e-15).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_paired_test_is_scipys_t_test():
    rng = np.random.default_rng(11)
    before, after = rng.random(500), rng.random(500) - 0.1
    ours = s.paired_drop_test(before, after, 0.05)
    theirs = stats.ttest_1samp(before - after, 0.05, alternative="greater")
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.05)
    assert ours.low == pytest.approx(theirs.confidence_interval(0.95).low, abs=1e-3)


def test_three_answers():
    assert s.two_sample_drop_test(0.8, 1000, 0.6, 1000, 0.05).verdict == "fell"
    assert s.two_sample_drop_test(0.8, 5000, 0.8, 5000, 0.05).verdict == "held"
    unsure = s.two_sample_drop_test(0.8, 50, 0.75, 50, 0.05)
    assert unsure.verdict == "cannot tell"
    assert unsure.low < 0.05 < unsure.high
    # The number named does what is said of it: no change is then held four times of five.
    assert unsure.n_needed is not None
    rng = np.random.default_rng(12)
    held = [
        s.two_sample_drop_test(
            a / unsure.n_needed, unsure.n_needed, b / unsure.n_needed, unsure.n_needed, 0.05
        )
        for a, b in rng.binomial(unsure.n_needed, 0.775, (1000, 2))
    ]
    assert np.mean([test.verdict == "held" for test in held]) == pytest.approx(0.8, abs=0.05)


def test_a_margin_of_zero_cannot_be_held():
    test = s.two_sample_drop_test(0.8, 500, 0.8, 500, 0.0)
    assert (test.verdict, test.n_needed) == ("cannot tell", None)
    with pytest.raises(ValueError, match="negative"):
        s.two_sample_drop_test(0.8, 500, 0.8, 500, -0.1)


def test_certain_looking_rates_are_not_taken_for_certain():
    assert s.two_sample_drop_test(1.0, 5, 1.0, 5, 0.05).verdict == "cannot tell"
    assert s.paired_drop_test(np.ones(5), np.ones(5), 0.05).verdict == "cannot tell"
    assert s.paired_drop_test(np.ones(300), np.ones(300), 0.05).verdict == "held"


def test_a_drop_near_the_margin_asks_for_more_than_there_are():
    test = s.two_sample_drop_test(0.80, 4000, 0.745, 4000, 0.05)
    assert test.verdict == "cannot tell"
    assert test.n_needed is not None and test.n_needed > 4000


def test_few_seeds_that_disagree_are_judged_by_a_wide_t():
    def seeds(drops):
        return [np.resize([drop - 0.1, drop + 0.1], 400) for drop in drops]

    agree, disagree = s.mean_difference(seeds([0.1, 0.1, 0.1])), s.mean_difference(seeds([0.0, 0.1, 0.2]))
    assert agree.df > 1000 and 2 <= disagree.df < 3
    assert disagree.se > 5 * agree.se


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
                test = s.paired_drop_test(before, after, 0.05)
            else:
                test = s.two_sample_drop_test(before.mean(), n, after.mean(), n, 0.05)
            count += test.verdict == answer
        return count / sims

    at_most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert share("fell", 0.75) <= at_most
    assert share("held", 0.75) <= at_most
    assert share("fell", 0.65) >= 0.85


def test_paired_refuses_other_prompts():
    with pytest.raises(ValueError, match="same prompts"):
        s.paired_drop_test(np.ones(5), np.ones(6), 0.05)

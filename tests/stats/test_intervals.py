"""Intervals against SciPy, against numbers worked out by hand, and against their promises by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.stats.intervals import (
    cluster_bootstrap,
    group_interval,
    percentile_interval,
    resample_means,
    wilson,
)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("wins", "n"), [(0, 10), (10, 10), (26, 45), (18, 40), (1, 1), (500, 1000)])
def test_wilson_is_scipys_for_whole_counts(wins, n, level):
    expected = stats.binomtest(wins, n).proportion_ci(level, method="wilson")
    assert wilson(wins, 0, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_counts_a_tie_as_half_a_win():
    assert wilson(20, 10, 50) == pytest.approx(wilson(25, 0, 50))
    # By hand: p = 0.55, n = 10, z^2 = 3.8415.
    z2 = 3.841458820694124
    centre, half = (
        (0.55 + z2 / 20) / (1 + z2 / 10),
        math.sqrt(z2 * (0.55 * 0.45 / 10 + z2 / 400)) / (1 + z2 / 10),
    )
    assert wilson(5, 1, 10) == pytest.approx((centre - half, centre + half))


def test_wilson_refuses_impossible_counts():
    for wins, ties, n in [(-1, 0, 5), (4, 2, 5), (0, 0, 0)]:
        with pytest.raises(ValueError, match="impossible"):
            wilson(wins, ties, n)


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_wilson_holds_the_rate_and_stays_inside(n, share, tied):
    wins = int(share * n)
    ties = int(tied * (n - wins))
    low, high = wilson(wins, ties, n)
    assert 0 <= low <= (wins + ties / 2) / n <= high <= 1


def test_wilson_covers():
    rng = np.random.default_rng(0)
    hits = 0
    for wins in rng.binomial(60, 0.85, size=400):
        low, high = wilson(int(wins), 0, 60)
        hits += low <= 0.85 <= high
    assert 0.92 <= hits / 400 <= 0.98  # 0.95 give or take 3 binomial standard errors


def test_cluster_bootstrap_agrees_with_scipys():
    values = np.random.default_rng(2).random(80)
    ours = cluster_bootstrap(values, np.random.default_rng(0))
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.004)


@pytest.mark.parametrize(("distinct", "prompts"), [(3, 200), (200, 200), (500, 500)])
def test_every_way_to_resample_has_the_right_spread(distinct, prompts):
    rng = np.random.default_rng(3)
    values = np.resize(rng.random(distinct), prompts)
    means = resample_means([values], rng, 20_000)[:, 0]
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / math.sqrt(prompts * 20_000))
    assert means.std() == pytest.approx(values.std() / math.sqrt(prompts), rel=0.03)


@pytest.mark.parametrize("power", [0.02, 1, 20], ids=["near 1", "even", "near 0"])
def test_many_different_scores_need_no_resampling(power):
    """The minimum of two groups that depend on each other, whose scores are skewed, as by drawing prompts."""
    rng = np.random.default_rng(11)
    shared = rng.random((400, 1))
    scores = np.clip(0.7 * shared + 0.3 * rng.random((400, 2)), 0, 1) ** power
    drawn = np.stack([scores[rng.integers(400, size=400)].mean(axis=0) for _ in range(20_000)])
    ours = resample_means([scores], rng, 20_000)
    spread = drawn.std(axis=0).max()
    for statistic in (lambda m: m[:, 0], lambda m: m.min(axis=1), lambda m: m[:, 0] - m[:, 1]):
        ends = [np.quantile(statistic(means), [0.025, 0.5, 0.975]) for means in (drawn, ours)]
        # The standard error of a 2.5% quantile of 20,000 draws is a fiftieth of the spread.
        assert np.abs(ends[0] - ends[1]).max() < 0.1 * spread
    assert ((ours >= scores.min(axis=0)) & (ours <= scores.max(axis=0))).all()


def test_groups_that_never_vary_are_resampled_as_they_are():
    scores = np.random.default_rng(12).random((400, 3))
    scores[:, 1], scores[:, 2] = 0.25, scores[:, 0]
    means = resample_means([scores], np.random.default_rng(0), 1000)
    assert (means[:, 1] == 0.25).all() and np.allclose(means[:, 0], means[:, 2])
    assert means[:, 0].std() > 0


def test_prompts_that_all_agree_leave_doubt():
    interval = cluster_bootstrap(np.ones(20), np.random.default_rng(0))
    assert interval == wilson(20, 0, 20)
    assert interval.low < 0.85
    means = resample_means([np.zeros((20, 2))], np.random.default_rng(0))
    assert percentile_interval(np.ptp(means, axis=-1), 0.0, 20) == wilson(0, 0, 20)


def test_two_level_spread_is_the_formulas():
    rng = np.random.default_rng(7)
    seeds = [rng.binomial(1, p, 150).astype(float) for p in (0.3, 0.5, 0.6)]
    simulated = resample_means(seeds, rng, 40_000)[:, 0].std()
    between = np.var([values.mean() for values in seeds])  # n seeds show (n - 1) / n of it
    within = np.mean([values.var() / len(values) for values in seeds])
    assert np.sqrt((between + within) / 3) == pytest.approx(simulated, rel=0.02)


def test_statistics_of_several_groups():
    rng = np.random.default_rng(8)
    scores = np.stack([rng.binomial(1, 0.9, 400), rng.binomial(1, 0.4, 400)], axis=1).astype(float)
    means = resample_means([scores], np.random.default_rng(0))
    assert (means.min(axis=-1) == means[:, 1]).all()  # far apart, the worst is always the second
    observed = np.ptp(scores.mean(axis=0))
    gap = percentile_interval(np.ptp(means, axis=-1), observed, 400)
    assert observed - 0.07 < gap.low < observed < gap.high < observed + 0.07


def test_resampling_refuses_what_it_cannot_mean():
    rng = np.random.default_rng(0)
    for scores in ([], [np.array([1.0, np.nan])], [np.ones((3, 2)), np.ones((3, 3))], [np.ones((0, 2))]):
        with pytest.raises(ValueError):
            resample_means(scores, rng)


def test_group_interval_chooses():
    rng = np.random.default_rng(9)
    one = rng.integers(0, 2, (40, 1)).astype(float)
    assert group_interval(one, rng) == wilson(float(one.sum()), 0, 40)
    same = np.repeat(one, 4, axis=1)  # four samples that say the same are one, not four
    clustered = group_interval(same, np.random.default_rng(0))
    assert clustered.high - clustered.low == pytest.approx(np.ptp(wilson(float(one.sum()), 0, 40)), rel=0.15)


def test_clustered_interval_covers():
    rng = np.random.default_rng(10)
    hits = 0
    for _ in range(300):
        rates = rng.beta(2, 2, 60)  # prompts differ, so samples of one prompt are alike
        table = rng.binomial(1, rates[:, None], (60, 4)).mean(axis=1)
        low, high = cluster_bootstrap(table, rng, n_resamples=1000)
        hits += low <= 0.5 <= high
    assert 0.90 <= hits / 300 <= 0.98  # percentile intervals run a little under 0.95

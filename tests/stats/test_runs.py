"""The mean over runs against SciPy and closed forms, and its coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from prefbench.stats.covered import COVERED, said_of, said_of_all
from prefbench.stats.intervals import Interval
from prefbench.stats.runs import (
    Mean,
    difference_of,
    interval_of,
    mean_of_figures,
    mean_over_prompts,
    mean_over_runs,
    spread,
    two_sided_p,
)
from support.simulated import interval_coverage


def test_runs_are_the_observations_of_scipys_t_test():
    rng = np.random.default_rng(0)
    runs = [rng.random(5000) * 0.2 + shift for shift in (0.1, 0.3, 0.25, 0.4)]
    means = [run.mean() for run in runs]
    ours = mean_over_runs(runs)
    theirs = stats.ttest_1samp(means, 0.2)
    assert (ours.estimate, ours.df) == (pytest.approx(np.mean(means)), 3)
    assert two_sided_p(Mean(ours.estimate - 0.2, ours.se, ours.df)) == pytest.approx(theirs.pvalue, rel=1e-4)
    assert interval_of(ours) == pytest.approx(tuple(theirs.confidence_interval(0.95)), abs=1e-5)
    assert spread(runs) == pytest.approx(np.std(means, ddof=1))
    # What prompts are made of does not matter beyond their mean: a run is one observation.
    assert mean_over_runs([np.full(5000, mean) for mean in means]) == pytest.approx(ours)


def test_one_run_is_judged_over_its_prompts():
    values = np.random.default_rng(1).integers(0, 2, 300).astype(float)
    ours = mean_over_runs([values])
    assert ours == mean_over_prompts([values]) and ours.df == 299
    assert ours.se == pytest.approx(values.std(ddof=1) / math.sqrt(300), rel=0.01)
    assert spread([values]) is None
    assert mean_of_figures([0.3]) == (0.3, math.inf, 1)
    with pytest.raises(ValueError, match="no run"):
        mean_over_runs([])


def test_runs_that_all_agree_leave_a_little_doubt():
    """Half a prompt at +1 and half at -1: a variance of 1 / (n (n - 1)) for the mean of each run."""
    alike = mean_over_runs([np.ones(50)] * 4)
    assert alike.se == pytest.approx(math.sqrt(1 / (50 * 49) / 4))
    assert interval_of(alike).high == 1 and 0.95 < interval_of(alike).low < 1
    assert two_sided_p(Mean(0.0, 0.0, 3)) == 1 and two_sided_p(Mean(0.1, 0.0, 3)) == 0


def test_prompts_only_is_the_doubt_of_these_policies():
    apart = [np.resize([0.0, 1.0], 100) * 0.2 + shift for shift in (0.1, 0.7)]
    assert mean_over_prompts(apart).se < mean_over_runs(apart).se / 10
    one = mean_over_prompts(apart[:1]).se
    assert mean_over_prompts(apart).se == pytest.approx(one / math.sqrt(2))


def test_welch_is_scipys():
    rng = np.random.default_rng(2)
    a, b = rng.random(6), rng.random(4) * 2
    ours = difference_of(mean_of_figures(a), mean_of_figures(b))
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert two_sided_p(ours) == pytest.approx(theirs.pvalue) and ours.df == pytest.approx(theirs.df)
    certain = difference_of(Mean(0.5, 0.0, 2), Mean(0.4, 0.0, 3))
    assert certain == (pytest.approx(0.1), 0.0, 2)
    assert two_sided_p(difference_of(mean_of_figures([1.0]), mean_of_figures(b))) == 1


@given(
    arrays.arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(0, 1)),
    st.floats(0, 0.99),
)
def test_an_interval_holds_its_estimate_and_stays_in_its_range(runs, level):
    mean = mean_over_runs(list(runs))
    low, high = interval_of(mean, level=level)
    assert 0 <= low <= mean.estimate + 1e-12 and mean.estimate - 1e-12 <= high <= 1
    wider = interval_of(mean, level=0.995)
    assert wider.low <= low and high <= wider.high


# -------------------------------------------------------------------------------------------- coverage


@pytest.mark.parametrize(("world", "spread_"), [("apart", 0.0), ("tied", 0.05), ("bimodal", 0.2)])
def test_ten_seeds_cover_what_they_say(world, spread_):
    """Four standard errors of 400 simulations beside 93 to 97%."""
    found = interval_coverage().covers(world, spread_, 10, 400)
    assert 0.93 - 0.044 <= found <= 0.97 + 0.03


def test_the_same_kind_twice_is_seldom_told_apart():
    assert interval_coverage().wrongly_told("apart", 0.1, 5, 300) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 300)


def test_the_figures_of_the_footnotes_are_those_of_the_page():
    module = interval_coverage()
    assert module.constants_of(module.PAGE.read_text()) == {few: COVERED[few] for few in module.SEEDS}


def test_a_footnote_says_what_few_runs_cover():
    assert "prompts" in said_of(1) and said_of(10) is None and said_of(25) is None
    assert said_of(6) == said_of(5) and f"{COVERED[5][0]:.0%} to {COVERED[5][1]:.0%}" in said_of(5)
    assert said_of_all([5, 5, 1, 12]) == f"{said_of(1)}; {said_of(5)}"
    assert said_of_all([10]) == "" and isinstance(interval_of(Mean(0.5, 0.1, 3)), Interval)


@pytest.mark.slow
def test_coverage_and_sizes_are_what_the_page_says():
    """Every cell is simulated again: the same seeds give the same tables."""
    module = interval_coverage()
    found = module.coverage_rows()
    for (world, _), cells in found.items():
        if world in module.CLAIMED:
            assert 0.93 <= cells[10] <= 0.97
    page = module.PAGE.read_text(encoding="utf-8")
    assert module.written(page, module.tables(found)) == page
    assert module.constants(found) == module.CONSTANTS.read_text(encoding="utf-8")

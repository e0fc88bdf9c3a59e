"""Sample sizes against published numbers, and against their promises by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.stats.power import detectable_over_runs, minimum_detectable_effect, prompts_needed


def test_anchors_of_the_sample_size():
    assert prompts_needed(0.05) == 1569
    assert prompts_needed(0.10) == 391
    assert prompts_needed(0.03) == 4359
    assert minimum_detectable_effect(1569) == pytest.approx(0.05, abs=5e-5)
    assert minimum_detectable_effect(391) == pytest.approx(0.10, abs=5e-5)
    assert minimum_detectable_effect(391, paired=True) == minimum_detectable_effect(782)
    assert minimum_detectable_effect(391, paired=True, correlation=0.0) == minimum_detectable_effect(391)
    assert minimum_detectable_effect(1) == 1.0


@given(st.integers(20, 10_000))
def test_prompts_needed_inverts_the_effect(n):
    assert abs(prompts_needed(minimum_detectable_effect(n)) - n) <= 1


def test_the_effect_is_found_with_the_power_stated():
    rng = np.random.default_rng(1)
    a, b = rng.binomial(391, 0.45, 4000), rng.binomial(391, 0.55, 4000)
    pooled = (a + b) / 782
    z = (b - a) / 391 / np.sqrt(2 * pooled * (1 - pooled) / 391)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
def test_the_effect_over_runs_is_the_noncentral_ts(n):
    """At it the t test of the differences rejects four times of five, by SciPy's distribution."""
    effect = detectable_over_runs(0.01, n)
    shift = effect / (0.01 * np.sqrt(2 / n))
    assert stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, shift) == pytest.approx(0.8, abs=1e-6)
    assert detectable_over_runs(10.0, n) == 1 and detectable_over_runs(0.0, n) == 0


def test_one_run_has_no_spread():
    with pytest.raises(ValueError, match="1 run"):
        detectable_over_runs(0.1, 1)

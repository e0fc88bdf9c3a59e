"""Sample sizes against published numbers, and against their promises by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.stats.power import minimum_detectable_effect, prompts_needed


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

"""Whom EM places with whom: the published runs, and what docs/results.md says of them."""

import numpy as np
import pytest

from prefbench import registry
from prefbench.record.files import find_records
from prefbench.stats.runs import mean_of_figures, two_sided_p
from support.published import PUBLISHED, cells_of, runs_of

MANY, FEWER, FEW, FEWEST = ("10:1", 50), ("4:1", 20), ("4:1", 10), ("4:1", 5)


@pytest.fixture(scope="module")
def index(script):
    """Adjusted Rand index of the published runs, by setting and kind of EM."""
    registry.load_plugins()
    return script("groups").by_seed([record for _, record in find_records(PUBLISHED / "em.zip")])


def test_every_cell_of_the_sweep_was_run_once(index):
    assert runs_of("em.zip") == cells_of("em.toml")
    assert index.shape == (8, 10) and index.notna().all(axis=None)


def test_four_of_forty_are_found_by_either(index):
    features, plain = (index.loc[(*MANY, em)] for em in ("features", "plain"))
    assert (features == 1).all() and (plain < 1).sum() == 1
    assert two_sided_p(mean_of_figures(list(features - plain))) > 0.05


def test_features_pay_where_people_label_few_pairs(index):
    assert (index.loc[(*FEWER, "features")] < 1).sum() == 1
    assert 0.4 < index.loc[(*FEW, "features")].mean() < 0.6
    for setting in (FEWER, FEW):
        gain = mean_of_figures(list(index.loc[(*setting, "features")] - index.loc[(*setting, "plain")]))
        assert gain.estimate > 0.3 and two_sided_p(gain) < 0.05 / 4


def test_five_pairs_are_too_few_for_either(index):
    assert np.max(index.sort_index().loc[FEWEST].mean(axis=1)) < 0.1

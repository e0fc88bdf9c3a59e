"""Aligners whose rewards are distributions or sets, in worlds: what each comes down to, and what it finds."""

import re

import pytest

from prefbench.learn.interface import Context
from support.people import aligned, made, people_bench, same, worth


@pytest.fixture(scope="module")
def opposed(tmp_path_factory):
    return people_bench(tmp_path_factory.mktemp("opposed"), "worst_case_two_group")


@pytest.mark.parametrize("task", ["worst_case_two_group", "bandit_two_group"])
def test_dpl_without_caution_or_spread_is_the_single_reward(task, tmp_path):
    bench = people_bench(tmp_path, task)
    plain = aligned(bench, "dpl", caution=0.0, spread_ridge=1e12).policy
    assert same(bench, plain, aligned(bench, "single_reward").policy) < 1e-4


@pytest.mark.parametrize("form", ["mean_variance", "categorical"])
def test_caution_keeps_dpl_from_what_people_dispute(opposed, form):
    bold, cautious = (aligned(opposed, "dpl", form=form, caution=c).policy for c in (0.0, 2.326))
    assert worth(opposed, cautious, 1) > worth(opposed, bold, 1) + 0.05


@pytest.mark.parametrize("shares", ["annotators", "votes"])
def test_an_ensemble_answers_some_as_the_minority_wants(opposed, shares):
    """One reward settles on the compromise; with more both favourites are said, the minority's seldom."""
    one, more = (aligned(opposed, "pairwise_calibrated", stages=n, shares=shares).policy for n in (1, 3))
    assert len(one.parts) == 1 and len(more.parts) > 1
    said, usual = (opposed.backbone.probabilities(policy)[0] for policy in (more, one))
    assert usual[2] > 0.9 and said[0] > usual[0] + 0.1 and 0.1 < said[1] < 0.3


def test_popl_gives_each_group_what_it_wants_of_one_set(opposed):
    found = made(opposed, "popl")
    few, many = (found.adapt(Context(group=name)) for name in ("few", "many"))
    assert worth(opposed, few, 1) > worth(opposed, found.default, 1) + 0.5
    assert worth(opposed, many, 0) > worth(opposed, few, 0) + 0.5
    assert found.adapt(Context()) is found.default and found.adapt(Context(group="none")) is found.default


def test_spread_helps_to_tell_disputed_pairs_and_single_labels_are_said_to_tell_little(opposed, tmp_path):
    several = people_bench(tmp_path, "worst_case_two_group", labels_per_pair=5)
    told, warned = (aligned(bench, "mean_variance_kl").notes[-1] for bench in (several, opposed))
    with_spread, alone = (float(number) for number in re.findall(r"of (0\.\d\d) by", told))
    assert with_spread > alone + 0.03 and "no pair has several labels" in warned

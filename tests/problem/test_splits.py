"""Splits that are the prompts' own."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.errors import UserError
from prefbench.problem.splits import by_place, deal, place


def named(count: int, first: int = 0) -> list[str]:
    return [f"prompt {number}" for number in range(first, first + count)]


def test_a_place_is_the_digest_read_as_a_fraction():
    digest = hashlib.sha256(b"a film").hexdigest()
    assert place("a film") == int(digest[:14], 16) / 16**14
    assert 0 <= min(map(place, named(2000))) < 0.002 and 0.998 < max(map(place, named(2000))) < 1
    assert by_place(["a", "b", "a"]) == sorted(["a", "b"], key=place)


@given(
    st.tuples(st.integers(0, 60), st.integers(0, 12), st.integers(0, 50)),
    st.integers(0, 40),
    st.integers(0, 9),
)
def test_the_splits_have_the_sizes_asked_for_and_share_nothing(sizes, spare, seed):
    """Also where a part has too few, and where every prompt is needed."""
    pool = named(sum(sizes) + spare)
    found = deal(pool, sizes, np.random.default_rng(seed))
    splits = found.train, found.validation, found.test
    assert tuple(map(len, splits)) == sizes
    assert len(set().union(*splits)) == sum(sizes) and set().union(*splits) <= set(pool)


def test_no_seed_trains_on_what_another_tests_on():
    """Each seed has prompts of its own, half of which other seeds may have too."""
    found = [
        deal(named(4000, first=1000 * seed), (1000, 200, 800), np.random.default_rng(seed))
        for seed in range(8)
    ]
    tested = set().union(*(prompts.test for prompts in found))
    checked = set().union(*(prompts.validation for prompts in found))
    trained = set().union(*(prompts.train for prompts in found))
    assert not tested & trained and not tested & checked and not checked & trained
    assert len(tested) > 2000 and len({prompts.test for prompts in found}) == 8


def test_too_few_prompts_are_one_line():
    with pytest.raises(
        UserError, match="9 different prompts are fewer than the 10 that are needed"
    ) as raised:
        deal([*named(9), "prompt 3"], (5, 1, 4), np.random.default_rng(0))
    assert "\n" not in str(raised.value)

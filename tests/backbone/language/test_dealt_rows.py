"""Rows of a batch that are dealt out to processes: each is somebody's, and shares are even."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefbench.backbone.language.batches import deal
from prefbench.backbone.language.memory import Limit
from prefbench.team import SOLO, Team, _current


def limit_of(size):
    return Limit(size, "tokens", "training on", lambda message: None)


def dealt(ours, lengths):
    """The share of a process that belongs to this team."""
    token = _current.set(ours)
    try:
        return deal(lengths)
    finally:
        _current.reset(token)


row_lengths = st.lists(st.integers(1, 50), min_size=1, max_size=30)


@given(row_lengths, st.integers(2, 5), st.integers(1, 400))
def test_every_row_is_somebodys_and_all_make_as_many_passes(lengths, size, tokens):
    shares = [dealt(Team(rank, size), lengths) for rank in range(size)]
    owned = np.concatenate([share.rows[: share.own] for share in shares])
    assert sorted(owned.tolist()) == list(range(len(lengths)))
    cut = [share.parts(limit_of(tokens)) for share in shares]
    assert len({len(parts) for parts in cut}) == 1 and cut[0]
    counted = [part.rows for parts in cut for part in parts if part.weight]
    assert sorted(np.concatenate(counted).tolist()) == list(range(len(lengths)))
    for part in (part for parts in cut for part in parts):
        assert len(part.rows) == 1 or len(part.rows) * max(lengths[i] for i in part.rows) <= tokens
        assert part.weight == 1 or len(part.rows) == 1


@given(row_lengths, st.integers(2, 5))
def test_shares_are_as_even_as_rows_allow(lengths, size):
    """Rows are dealt from the longest down, so no share is longer than another by more than one row."""
    shares = [dealt(Team(rank, size), lengths) for rank in range(size)]
    tokens = [sum(lengths[i] for i in share.rows[: share.own]) for share in shares]
    assert max(tokens) - min(tokens) <= max(lengths)
    for share in shares:
        assert all(lengths[i] <= longest for i, longest in zip(share.rows, share.lengths, strict=True))


@given(row_lengths, st.integers(1, 400))
def test_one_process_takes_every_row_in_order(lengths, tokens):
    share = dealt(SOLO, lengths)
    assert share.rows.tolist() == list(range(len(lengths))) and list(share.lengths) == lengths
    parts = share.parts(limit_of(tokens))
    for part, rows in zip(parts, limit_of(tokens).split(lengths), strict=True):
        assert part.rows.tolist() == rows.tolist() and part.weight == 1
    table = torch.arange(len(lengths))
    assert share.whole(table) is table

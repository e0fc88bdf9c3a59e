"""The configurations that tuning tries for an aligner: its defaults, then draws from its search space."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from prefbench import seeds
from prefbench.registry import Entry, search_space
from prefbench.search import Distribution
from prefbench.spec import resolve

TRIES = 50
"""Draws for each configuration that is wanted, before a small space is taken to be used up."""


def space_of(entry: Entry, backbone: str, fixed: Collection[str]) -> dict[str, Distribution]:
    """Options that are searched on a backbone: an aligner's search space less what a file fixes."""
    space = search_space(entry.options, backbone)
    return {name: drawn for name, drawn in space.items() if name not in fixed}


def configurations(
    entry: Entry,
    space: Mapping[str, Distribution],
    fixed: Mapping[str, Any],
    model_options: Mapping[str, Any],
    count: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Options of each configuration beside the fixed ones: none of the first, which is the default.

    Draw k of an option is the k-th of a stream that the seed, the aligner's name and the option's name
    decide, so that another aligner or another option changes no draw. Configurations that are the same as an
    earlier one are left out; of a space with fewer than `count` there are fewer.

    Raises:
        UserError: the options refuse what is drawn for them.
    """
    streams = {name: seeds.rng(seed, "tune", entry.name, name) for name in space}
    found: dict[str, dict[str, Any]] = {}
    options: dict[str, Any] = {}
    for _ in range(TRIES * count):
        whole = resolve(entry.options, {**fixed, **options}, "aligner", entry.name)
        found.setdefault(json.dumps(whole, sort_keys=True), options)
        if len(found) == count or not space:
            break
        options = {
            name: drawn.given(drawn.draw(streams[name]), model_options) for name, drawn in space.items()
        }
    return list(found.values())

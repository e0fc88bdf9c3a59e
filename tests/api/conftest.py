"""What every test of the Python interface may take: runs of two aligners in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import prefbench as pb
from prefbench import registry
from prefbench.api.results import Results
from support.small_world import SMALL, WORLD


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def longest(folder: Path) -> Results:
    return pb.run(WORLD, "longest", seeds=2, runs_dir=folder, task_options=SMALL, quiet=True)


@pytest.fixture(scope="session")
def balanced(folder: Path) -> Results:
    return pb.run(WORLD, "dpo", seeds=[0, 1], runs_dir=str(folder), task_options=SMALL, quiet=True)


@pytest.fixture
def one(longest: Results) -> Results:
    return longest.where(seed=0)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    with registry.lent():
        yield

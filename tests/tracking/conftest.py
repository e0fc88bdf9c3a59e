"""The packages of trackers, as far as prefbench calls them."""

import pytest

from support.trackers import FAKE_TRACKIO, FAKE_WANDB, installed


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    yield from installed("wandb", FAKE_WANDB, tmp_path / "packages", monkeypatch)


@pytest.fixture
def trackio(tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    yield from installed("trackio", FAKE_TRACKIO, tmp_path / "packages", monkeypatch)

"""What every test of the commands gets: an empty folder to work in, and the runs of a first command."""

import pytest

from support.commands import SMALL_PPO, tiny_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A runs folder in which the slow stages are stored, and its first run."""
    folder = tmp_path_factory.mktemp("shared") / "runs"
    first = tiny_run("single_reward", folder, options=SMALL_PPO)
    assert first.code == 0, first.err
    return folder, first


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch, restored):
    """Every test works in a folder of its own and forgets the plug-ins that it loads."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work

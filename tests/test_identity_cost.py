"""The work of naming a run's stages: every source is read once in a process, whatever asks for it."""

from collections import Counter
from pathlib import Path

import pytest

from prefbench import sources
from prefbench.backbone.language.nano import build_nano
from prefbench.identity import Identity, identity_of
from prefbench.learn.rewards import fit_everybody
from prefbench.running.labels import labels_of
from prefbench.running.pairs import sampled_pairs
from prefbench.running.policy import aligned_policy
from prefbench.running.samples import samples_of
from prefbench.running.scores import scored
from prefbench.spec import make_spec

COMPUTED = {
    "reference": build_nano,
    "pairs": sampled_pairs,
    "labels": labels_of,
    "rewards": fit_everybody,
    "policy": aligned_policy,
    "samples": samples_of,
    "scores": scored,
}
"""The stages of a run and the functions that compute them."""


@pytest.fixture
def read(monkeypatch):
    """How often each source is read from now on, nothing being known of it yet."""
    for cache in (sources.closure, sources._imported, sources._file, sources._text, sources.digest_of):
        cache.cache_clear()
    counts = Counter()
    usual = Path.read_text

    def counted(path, *args, **options):
        counts[path] += path.suffix == ".py"
        return usual(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", counted)
    return counts


def keys_of(identity: Identity) -> list[dict]:
    return [{"code": identity.code}, *(identity(stage, function) for stage, function in COMPUTED.items())]


def test_a_source_is_read_once_for_all_keys_of_all_runs(read):
    first = keys_of(identity_of(make_spec(task="imdb_two_group", aligner="maxmin")))
    assert read and set(read.values()) == {1}
    modules = [path for package in sources.own_packages().values() for path in package.rglob("*.py")]
    assert read.total() < len(modules)
    before = read.total()
    assert keys_of(identity_of(make_spec(task="imdb_two_group", aligner="maxmin", seed=7))) == first
    assert read.total() == before
    keys_of(identity_of(make_spec(task="imdb_two_group", aligner="dpo")))
    assert set(read.values()) == {1} and read.total() < before + 10

"""What every test gets: one thread, repeatable properties, and models small enough to try out on."""

import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Numeric libraries read it as they load, here and in child processes: on problems as small as these, a second
# thread makes them three times slower, and each process of several would have as many.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

from prefbench import consent, registry
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.store.stages import Store, Work
from support.tiny import TINY_ALIGNER, TINY_SETS, tiny_model, tiny_tokenizer

torch.set_num_threads(1)
settings.register_profile("prefbench", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("prefbench")


def pytest_collection_finish() -> None:
    """What is there before the first test stays: no collection of garbage goes through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_disks() -> Iterator[None]:
    """What a test writes need not outlive a loss of power: `os.fsync` asks for a file and no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: os.fstat(file) and None)
        yield


@pytest.fixture(autouse=True, scope="session")
def loaded_registry() -> None:
    """The built-in tasks, aligners and models are registered."""
    assert registry.load_plugins() == {}


@pytest.fixture(autouse=True, scope="session")
def reviews_written_once(loaded_registry: None) -> Iterator[None]:
    """Runs and their checks, most of them of the same few seeds and sizes, share the reviews of a process."""
    task = sys.modules["prefbench_tasks.imdb_two_group"]
    write, written = task.synthetic_reviews, {}

    @functools.wraps(write)
    def once(n: int, rng: np.random.Generator) -> Any:
        key = n, repr(rng.bit_generator.state)
        if key not in written:
            written[key] = write(n, rng)
        return written[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "synthetic_reviews", once)
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `prefbench doctor` stored for this machine decides nothing here, nor in child processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def nobody_allowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No server off this machine may be asked, whatever one's own configuration or a test before says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CONFIG", str(tmp_path_factory.getbasetemp() / "no-configuration"))
        yield
    consent.allow({})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Whatever a test asked torch for, the next one has a single thread again."""
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def tiny_sets() -> list[str]:
    """`--set` items of a task and a model with which a run takes a second or two."""
    return list(TINY_SETS)


@pytest.fixture
def tiny_aligner_sets() -> Callable[[str], list[str]]:
    """The `--set` items that make a named aligner as quick."""

    def sets(name: str) -> list[str]:
        known = registry.get("aligner", name).options.model_fields
        return [f"aligner.{key}={value}" for key, value in TINY_ALIGNER.items() if key in known]

    return sets


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CausalLM]:
    """A function that makes a `CausalLM` on a tiny random model, its store in a folder of its own."""

    def make(
        architecture: str = "gpt2",
        *,
        tokenizer: Any = None,
        lora: dict[str, Any] | None = None,
        pooling: str = "sum",
        response_tokens: int = 6,
        context: int = 32,
        seed: int = 0,
        stops: frozenset[int] | None = None,
        folder: Path | None = None,
        **more: Any,
    ) -> CausalLM:
        tokenizer = tokenizer or tiny_tokenizer()
        model = tiny_model(architecture, len(tokenizer), context, seed)
        root = folder or tmp_path_factory.mktemp("backbone")
        ends = frozenset({tokenizer.eos_token_id}) if stops is None else stops
        work = root / "work"
        work.mkdir(parents=True, exist_ok=True)
        settings = {"policy_learning_rate": 3e-3, "reward_learning_rate": 3e-3} | more
        return CausalLM(
            model,
            Codec(tokenizer, ends, response_tokens, context),
            digest=f"tiny-{architecture}-{seed}",
            store=Store(root),
            lora=lora,
            reward_pooling=pooling,
            work=Work("test", work),
            **settings,
        )

    return make


@pytest.fixture
def restored(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("prefbench_plugin_", "prefbench_letters", "broken_plugin")):
            del sys.modules[name]


@pytest.fixture
def model_folder(tmp_path):
    tokenizer = tiny_tokenizer()
    folder = tmp_path / "model"
    tiny_model("llama", len(tokenizer), context=48, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

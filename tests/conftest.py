"""What every test gets: one torch thread, repeatable properties, and models small enough to try out on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from prefbench import consent, registry, seeds
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.nano import train_tokenizer
from prefbench.store.stages import Store, Work

torch.set_num_threads(1)
settings.register_profile("prefbench", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("prefbench")

SENTENCES = (
    "the film was a joy from start to finish.",
    "my sister said the plot was dull and the music was worse.",
    "a short story about two brothers, and one of them sings.",
    "the acting is fine, but the ending is a mess.",
    "it runs for three hours. we left after one.",
)

TINY_SETS = [
    "task.synthetic_size=1500",
    "task.test_prompts=50",
    "task.annotators=8",
    "task.pairs_per_annotator=10",
    "task.response_tokens=8",
    "model.steps=20",
    "model.width=16",
    "model.layers=1",
    "model.heads=2",
]

TINY_ALIGNER = {
    "iterations": "3",
    "batch": "16",
    "epochs": "1",
    "minibatches": "2",
    "reward_epochs": "1",
    "em_restarts": "2",
    "em_iterations": "3",
}


@pytest.fixture(autouse=True, scope="session")
def loaded_registry() -> None:
    """The built-in tasks, aligners and models are registered."""
    assert registry.load_plugins() == {}


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


def tiny_tokenizer() -> Any:
    """Byte-level BPE of a few sentences: 300 tokens, with one token for end, beginning and padding."""
    return train_tokenizer(SENTENCES, 300)


def tiny_model(architecture: str, vocabulary: int, context: int, seed: int) -> Any:
    """A random model with weights large enough that its distribution is far from uniform."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    with seeds.torch_seeded(seed, "tiny", architecture):
        if architecture == "gpt2":
            model: Any = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocabulary,
                    n_positions=context,
                    n_embd=16,
                    n_layer=2,
                    n_head=2,
                    activation_function="gelu_pytorch_tanh",
                    resid_pdrop=0.0,
                    embd_pdrop=0.0,
                    attn_pdrop=0.0,
                    bos_token_id=0,
                    eos_token_id=0,
                    pad_token_id=0,
                )
            )
        else:
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=vocabulary,
                    max_position_embeddings=context,
                    hidden_size=16,
                    intermediate_size=24,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    bos_token_id=0,
                    eos_token_id=0,
                    pad_token_id=0,
                )
            )
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 2:
                    weight.normal_(std=0.25)
    return model


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

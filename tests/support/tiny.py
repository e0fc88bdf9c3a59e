"""Models, settings and problems small enough to try out on."""

from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing

from prefbench import seeds
from prefbench.backbone.language.nano import train_tokenizer
from prefbench.backbone.options import ModelRequest
from prefbench.learn.interface import Pairs
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.content import Conciseness
from prefbench.spec import get_model
from prefbench.store.stages import Store

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

TINY_TASK = {
    "annotators": 8,
    "pairs_per_annotator": 6,
    "test_prompts": 20,
    "response_tokens": 8,
    "synthetic_size": 600,
    "gold_annotators": 4,
    "states": 5,
    "horizon": 3,
}
"""Options of every task that has them."""


TINY_ALIGNER = {
    "iterations": "3",
    "batch": "16",
    "epochs": "1",
    "minibatches": "2",
    "reward_epochs": "1",
    "em_restarts": "2",
    "em_iterations": "3",
}


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


CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' if add_generation_prompt }}"
)


def chat_tokenizer(template: str, *, adds_bos: bool = False) -> Any:
    """The tiny tokenizer with `<s>` for the beginning, ChatML's two tokens, and a chat template."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>", "extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    if adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
        )
    tokenizer.chat_template = template
    return tokenizer


def plain_problem(*, chat=False, corpus=("a joy .", "the plot was dull .")):
    """A problem that needs no data: it is there to load a model for."""
    groups = tuple(Group(name, share, Conciseness(empty=-9.0)) for name, share in (("a", 0.8), ("b", 0.2)))
    return Problem(
        groups=groups,
        prompts=Prompts(("p",) * 5, (), ("q",)),
        corpus=corpus,
        annotators=5,
        pairs_per_annotator=1,
        temperature=1.0,
        response_tokens=6,
        chat=chat,
    )


def loaded(model, tmp_path, problem, **options):
    """The backbone that a run of this model would start from."""
    entry = get_model(str(model))
    request = ModelRequest(str(model), problem, Store(tmp_path / "runs"), 0)
    return entry.function(request, entry.options(threads=1, **options))


PPO = ["aligner.iterations=2", "aligner.batch=16", "aligner.reward_epochs=1"]


LONG, SHORT = " was a joy from start to", " was"


def pairs_by_length() -> Pairs:
    """Ten labels of each of eight annotators, 100 to 107: even ones want `LONG` answers, odd ones `SHORT`."""
    user = np.repeat(np.arange(8), 10)
    wants_long = user % 2 == 0
    return Pairs(
        ["the film"] * 80,
        np.where(wants_long, LONG, SHORT).tolist(),
        np.where(wants_long, SHORT, LONG).tolist(),
        user_id=user + 100,
    )

"""Nano: a small GPT-2 of our own with its own tokenizer, both trained from the task's corpus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from prefbench import seeds
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.build import backbone_of, device_of, fit_language_model, stored
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.options import ModelRequest, NanoOptions
from prefbench.errors import UserError
from prefbench.store.stages import Work, content_digest
from prefbench.text import text_digest

END = "<|endoftext|>"


def build_nano(request: ModelRequest, options: NanoOptions) -> CausalLM:
    """Train, or read back, the tokenizer and the language model of the task's corpus."""
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    device = device_of(options, threads=1)
    problem = request.problem
    if options.width % options.heads:
        raise UserError(
            f"model.width={options.width} is not a multiple of model.heads={options.heads}: set one of them "
            "so that it is."
        )
    if options.context <= problem.response_tokens:
        raise UserError(
            f"model.context={options.context} leaves no room for a prompt before {problem.response_tokens} "
            "response tokens: raise it, or lower task.response_tokens."
        )
    aligning = {"device", "threads", "policy_learning_rate", "reward_learning_rate", "reward_pooling"}
    shape = options.model_dump(exclude=aligning)
    key = {"model": "nano", "options": shape, "corpus": text_digest(problem.corpus), "seed": request.seed}

    def compute(work: Work) -> None:
        tokenizer = train_tokenizer(problem.corpus, options.vocabulary)
        model = new_gpt2(tokenizer, options, request.seed).to(device)
        ids = [[*row, tokenizer.eos_token_id] for row in tokenizer(list(problem.corpus))["input_ids"]]
        losses = fit_language_model(
            model,
            ids,
            options.context,
            options.steps,
            options.batch,
            options.learning_rate,
            request.seed,
            work,
        )
        model.save_pretrained(work.path)
        tokenizer.save_pretrained(work.path)
        (work.path / "history.json").write_text(json.dumps([{"loss": value} for value in losses], indent=0))

    folder = request.store.stage("reference", key, compute)
    model = stored(GPT2LMHeadModel, folder).to(device)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    codec = Codec(tokenizer, frozenset({tokenizer.eos_token_id}), problem.response_tokens, options.context)
    return backbone_of(model, codec, content_digest(folder), request.store, None, options)


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer of at most so many tokens, trained on texts."""
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END)


def new_gpt2(tokenizer: Any, options: NanoOptions, seed: int) -> Any:
    """A GPT-2 of the options' sizes with fresh weights, drawn by the seed."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=options.context,
        n_embd=options.width,
        n_layer=options.layers,
        n_head=options.heads,
        # The same function as GPT-2's gelu_new in one kernel instead of eight.
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with seeds.torch_seeded(seed, "reference", "weights"):
        return GPT2LMHeadModel(config)

"""Making reference policies: training nano from a corpus, loading a pretrained model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prefbench import seeds
from prefbench.backbone.causal_lm import CausalLM, call, describe_weights
from prefbench.backbone.models import ModelOptions, ModelRequest, NanoOptions, PretrainedOptions
from prefbench.backbone.tokens import Codec, collate, token_logprobs
from prefbench.errors import UserError
from prefbench.learn.training import State, bucketed_batches, minimise
from prefbench.problem import text_digest
from prefbench.store import Work, content_digest

if TYPE_CHECKING:
    from prefbench.store import Store

END = "<|endoftext|>"


def _device(options: ModelOptions, threads: int) -> torch.device:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("model.device=cuda, but torch sees no CUDA device: leave it at auto or say cpu.")
    torch.set_num_threads(options.threads or threads)
    wanted = options.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def build_nano(request: ModelRequest, options: NanoOptions) -> CausalLM:
    """Train, or read back, the tokenizer and the language model of the task's corpus."""
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    device = _device(options, threads=1)
    problem = request.problem
    if options.width % options.heads:
        raise UserError(f"model.width={options.width} is not a multiple of model.heads={options.heads}.")
    if options.context <= problem.response_tokens:
        raise UserError(
            f"model.context={options.context} leaves no room for a prompt before {problem.response_tokens} "
            "response tokens: raise it, or lower task.response_tokens."
        )
    aligning = {"device", "threads", "policy_learning_rate", "reward_learning_rate", "reward_pooling"}
    shape = options.model_dump(exclude=aligning)
    key = {"model": "nano", "options": shape, "corpus": text_digest(problem.corpus), "seed": request.seed}

    def compute(work: Work) -> None:
        tokenizer = _train_tokenizer(problem.corpus, options.vocabulary)
        model = _new_gpt2(tokenizer, options, request.seed).to(device)
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
    model = GPT2LMHeadModel.from_pretrained(folder, use_safetensors=True).to(device)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    codec = Codec(tokenizer, frozenset({tokenizer.eos_token_id}), problem.response_tokens, options.context)
    return _backbone(model, codec, content_digest(folder), request.store, None, options)


def _backbone(
    model: Any,
    codec: Codec,
    digest: str,
    store: Store,
    lora: dict[str, Any] | None,
    options: NanoOptions | PretrainedOptions,
) -> CausalLM:
    return CausalLM(
        model,
        codec,
        digest=digest,
        store=store,
        lora=lora,
        policy_learning_rate=options.policy_learning_rate,
        reward_learning_rate=options.reward_learning_rate,
        reward_pooling=options.reward_pooling,
        work=Work("reference", store.root),
    )


def _train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
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


def _new_gpt2(tokenizer: Any, options: NanoOptions, seed: int) -> Any:
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


def fit_language_model(
    model: Any,
    ids: Sequence[list[int]],
    context: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    work: Work,
) -> list[float]:
    """Minimise next-token loss (nats per token) on whole texts; a long text is cut at the context.

    Every text starts at its first token, as prompts do.
    """
    texts = [row[:context] for row in ids if len(row) > 1]
    device = next(model.parameters()).device
    lengths = [len(row) for row in texts]
    batches: list[np.ndarray] = []
    epoch = 0
    while len(batches) < steps:
        batches.extend(bucketed_batches(lengths, batch_size, seeds.rng(seed, "reference", "epoch", epoch)))
        epoch += 1
    state = State([model], learning_rate, weight_decay=0.01)

    def loss_at(step: int) -> torch.Tensor:
        rows = [texts[i] for i in batches[step]]
        batch = collate([row[:1] for row in rows], [row[1:] for row in rows], device)
        logprobs = token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch)
        return -logprobs.sum() / batch.mask.sum()

    return minimise(state, loss_at, steps, work, "language-model")


def load_pretrained(request: ModelRequest, options: PretrainedOptions) -> CausalLM:
    """Load a causal language model from a folder or the hub, optionally fine-tune it on the corpus."""
    from transformers import AutoTokenizer

    device = _device(options, threads=os.cpu_count() or 1)
    problem = request.problem
    folder = Path(request.name).expanduser()
    local = folder.is_dir()
    source = str(folder) if local else request.name
    more: dict[str, Any] = {}
    if local:
        more = _gguf(folder, options.gguf_file)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **more)
        model = _load_model(source, options, more)
    except ImportError as error:
        raise UserError(f"model '{request.name}': {_one_line(error)}") from None
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        if local:
            raise UserError(
                f"model folder '{request.name}' could not be loaded ({_one_line(error)}): it needs "
                "config.json, tokenizer files and .safetensors weights, or a GGUF file."
            ) from None
        raise UserError(
            f"model '{request.name}' is no preset or folder and could not be fetched from the hub "
            f"({_one_line(error)}): without a network, give the folder of a downloaded model as --model."
        ) from None
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise UserError(
            f"model '{request.name}': the tokenizer has {len(tokenizer)} tokens but the model embeds {rows}; "
            "they do not belong together."
        )
    context = min(
        options.context, getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30)
    )
    if context <= problem.response_tokens:
        raise UserError(
            f"model.context={context} leaves no room for {problem.response_tokens} response tokens."
        )
    codec = Codec(tokenizer, _stops(model, tokenizer), problem.response_tokens, context)
    digest = describe_weights(folder) if local else f"{request.name}@{model.config._commit_hash}"
    model = model.to(device)
    lora = {"r": options.lora_rank, "lora_alpha": options.lora_alpha} if options.lora else None
    reference: dict[str, Any] = {"model": digest, "dtype": options.dtype}
    if options.sft_steps:
        reference["sft"] = options.model_dump(
            include={"sft_steps", "sft_batch", "sft_learning_rate", "context"}
        )
        reference["lora"] = lora
        reference["corpus"] = text_digest(problem.corpus)
        reference["seed"] = request.seed
        model, digest = _fine_tune(model, codec, reference, lora, request, options)
    else:
        digest = text_digest([json.dumps(reference)])
    return _backbone(model, codec, digest, request.store, lora, options)


def _load_model(source: str, options: PretrainedOptions, more: dict[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, options.dtype)
    if not more:
        return AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    # A GGUF file is read de-quantised; without its quantisation record the model can be saved and trained.
    loaded = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, trust_remote_code=False, **more)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(loaded)(config).to(dtype)
    model.load_state_dict(loaded.state_dict())
    return model


def _gguf(folder: Path, named: str | None) -> dict[str, str]:
    """The `gguf_file` argument for a folder that holds its weights in that format."""
    if named is not None:
        if Path(named).name != named or not (folder / named).is_file():
            raise UserError(f"model.gguf_file={named}: no such file in '{folder}'.")
        return {"gguf_file": named}
    if any(folder.glob("*.safetensors")):
        return {}
    found = sorted(path.name for path in folder.glob("*.gguf"))
    if len(found) > 1:
        raise UserError(
            f"'{folder}' holds several GGUF files: choose one with --set model.gguf_file={found[0]}."
        )
    return {"gguf_file": found[0]} if found else {}


def _stops(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a response, by the tokenizer or by the model's generation settings."""
    result = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    settings = getattr(model, "generation_config", None)
    more = None if settings is None else settings.eos_token_id
    if more is not None:
        result.update(more if isinstance(more, list) else [more])
    return frozenset(result)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _fine_tune(
    model: Any,
    codec: Codec,
    key: dict[str, Any],
    lora: dict[str, Any] | None,
    request: ModelRequest,
    options: PretrainedOptions,
) -> tuple[Any, str]:
    """Train on the corpus as a stored stage; LoRA is merged, so the reference is one plain model."""
    texts = list(request.problem.corpus)

    def compute(work: Work) -> None:
        backbone = _backbone(model, codec, "", request.store, lora, options)
        trained = backbone.trainable_copy(request.seed)
        end = [codec.tokenizer.eos_token_id] if codec.tokenizer.eos_token_id is not None else []
        ids = [row + end for row in codec.tokenizer(texts)["input_ids"]]
        fit_language_model(
            trained,
            ids,
            options.context,
            options.sft_steps,
            options.sft_batch,
            options.sft_learning_rate,
            request.seed,
            work,
        )
        merged = trained.merge_and_unload() if lora is not None else trained
        merged.save_pretrained(work.path)

    folder = request.store.stage("reference", key, compute)
    loaded = type(model).from_pretrained(folder, dtype=model.dtype, use_safetensors=True)
    return loaded.to(model.device), content_digest(folder)

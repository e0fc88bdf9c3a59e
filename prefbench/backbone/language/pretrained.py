"""Pretrained models as reference policies: from a folder or the hub, fine-tuned where asked for."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prefbench import weights
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.build import backbone_of, device_of, fit_language_model, stored
from prefbench.backbone.language.codec import Codec, end_of_turn
from prefbench.backbone.language.gpt2 import fuse_activations
from prefbench.backbone.language.memory import is_out_of_memory
from prefbench.backbone.language.sharding import shard
from prefbench.backbone.options import ModelRequest, PretrainedOptions
from prefbench.errors import UserError
from prefbench.files import MODEL_FILES, read_json, refuse_odd_files
from prefbench.machine import threads_of_large
from prefbench.spec import is_missing_folder
from prefbench.store.stages import Work, content_digest
from prefbench.team import team
from prefbench.text import message_line, text_digest

if TYPE_CHECKING:
    from prefbench.problem.problem import Problem


def load_pretrained(
    request: ModelRequest,
    options: PretrainedOptions,
    source: str,
    *,
    preset: bool = False,
    template: str | None = None,
) -> CausalLM:
    """Load a causal language model from a folder or the hub, optionally fine-tune it on the corpus.

    Args:
        request: what the model is for.
        options: the preset's.
        source: folder or hub id.
        preset: the source is a preset's own, or its `model.path`; errors then say how to name another.
        template: chat template for a tokenizer that has none of its own.

    Raises:
        UserError: it cannot be loaded, or does not fit the options or the task.
    """
    from huggingface_hub.utils import logging as hub_logging

    every = os.cpu_count() or 1  # of several processes each takes its share of them
    device = device_of(options, threads=threads_of_large() if team().size == 1 else every)
    _check_quantising(options, device)
    if team().sharded:
        _check_sharding(options)
    if is_missing_folder(source):
        raise UserError(
            f"model folder '{source}' does not exist: check the path, or take one of `prefbench list models`."
        )
    folder = Path(source).expanduser()
    local = folder.is_dir()
    gguf = weights.gguf_file(folder, options.gguf_file) if local else {}
    if local:
        _check_folder(folder)
    # Its attempts to reach the hub are not for a person; that they failed is said below, once.
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        # Weights that are to be cut up wait in the machine's memory: one GPU may not have room for all.
        place = torch.device("cpu") if team().sharded else device
        tokenizer, model = _read(str(folder) if local else source, options, place, gguf)
        tokenizer(" ")  # settings that it reads only when it is asked are found now
        if tokenizer.chat_template is None:
            tokenizer.chat_template = template
        codec = codec_of(tokenizer, model, request.problem, options, source)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f"model '{source}' cannot be read, so install what it needs: {message_line(error)}"
        ) from None
    except Exception as error:  # a damaged folder may break its reader anywhere
        if is_out_of_memory(error):
            raise
        raise UserError(_why_not(source, local, preset, error)) from None
    lora = {"r": options.lora_rank, "lora_alpha": options.lora_alpha} if options.lora else None
    identified = weights.describe(folder) if local else f"{source}@{model.config._commit_hash}"
    reference: dict[str, Any] = {
        "model": identified,
        **gguf,
        "dtype": options.dtype,
        "quantise": options.quantise,
    }
    if options.steps:
        reference["sft"] = options.model_dump(include={"steps", "batch", "learning_rate"})
        reference["context"] = codec.context
        reference["lora"] = lora
        reference["corpus"] = text_digest(request.problem.corpus)
        reference["seed"] = request.seed
        model, digest = _fine_tune(model, codec, reference, lora, request, options)
    else:
        digest = text_digest([json.dumps(reference)])
    if team().sharded:
        model = shard(model)
    # How prompts reach the model is as much a part of the reference policy as its weights are.
    prompting = {"context": codec.context, "template": tokenizer.chat_template if codec.chat else None}
    digest = text_digest([digest, json.dumps(prompting)])
    return backbone_of(model, codec, digest, request.store, lora, options)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that would have transformers read from elsewhere, or for ever."""
    try:
        refuse_odd_files(folder, MODEL_FILES)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model folder '{folder}' cannot be read, so name another: {message_line(error)}."
        ) from None
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"model folder '{folder}' holds adapters, not a whole model: merge them into their base first."
        )
    index = folder / "model.safetensors.index.json"
    try:
        files = set(read_json(index)["weight_map"].values()) if index.exists() else set()
        outside = sorted(name for name in files if Path(name).name != name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"model folder '{folder}': {index.name} is damaged: save the model again.") from None
    if outside:
        raise UserError(
            f"model folder '{folder}': {index.name} names files outside of it ({outside[0]}): put them "
            "into it."
        )


def _check_quantising(options: PretrainedOptions, device: torch.device) -> None:
    if options.quantise == "none":
        return
    asked = f"model.quantise={options.quantise}"
    if not options.lora:
        raise UserError(f"{asked} leaves no weights to train: set model.lora=true.")
    if options.steps:
        raise UserError(f"{asked} cannot be fine-tuned first: set model.steps=0, or model.quantise=none.")
    if device.type != "cuda":
        raise UserError(f"{asked} needs a CUDA device: say model.quantise=none.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f'{asked} needs bitsandbytes: pip install "prefbench[quant]".')


def _check_sharding(options: PretrainedOptions) -> None:
    """Refuse what would need weights that FSDP has cut up."""
    if not options.lora:
        raise UserError("FSDP cuts up weights that are not trained: set model.lora=true.")
    if options.steps:
        raise UserError("FSDP leaves the base as it is: set model.steps=0, or launch without FSDP.")
    if options.quantise != "none":
        raise UserError("FSDP cannot cut up quantised weights: set model.quantise=none.")


def _why_not(source: str, local: bool, preset: bool, error: Exception) -> str:
    """One line on why a model could not be loaded, and what to do."""
    why = message_line(error) or type(error).__name__
    if local:
        return (
            f"model folder '{source}' could not be loaded ({why}): it needs config.json, tokenizer files and "
            ".safetensors weights, or a GGUF file."
        )
    if preset:
        return (
            f"model '{source}' could not be fetched from the hub ({why}): without a network, give the folder "
            "of a downloaded model with --set model.path=FOLDER."
        )
    return (
        f"model '{source}' is no preset or folder and could not be fetched from the hub ({why}): without a "
        "network, give the folder of a downloaded model as --model."
    )


def _read(source: str, options: PretrainedOptions, device: torch.device, gguf: dict[str, str]) -> Any:
    """Tokenizer and model, the weights in their type on the device."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **gguf)
    model = _read_gguf(source, options, gguf).to(device) if gguf else _read_weights(source, options, device)
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise UserError(
            f"model '{source}': the tokenizer has {len(tokenizer)} tokens but the model embeds {rows}; "
            "they do not belong together; save model and tokenizer into one folder."
        )
    return tokenizer, fuse_activations(model)


def _read_weights(source: str, options: PretrainedOptions, device: torch.device) -> Any:
    """A model from safetensors, each weight going to the device by itself."""
    from transformers import BitsAndBytesConfig

    more = _straight_to(device)
    if options.quantise == "4bit":
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return _whole_model(source, options, use_safetensors=True, **more)


def _straight_to(device: torch.device) -> dict[str, Any]:
    """Arguments of `from_pretrained` by which no weight is first gathered in the machine's memory."""
    return {} if device.type == "cpu" else {"device_map": device}


def _read_gguf(source: str, options: PretrainedOptions, gguf: dict[str, str]) -> Any:
    """A model from a GGUF file, de-quantised; without its quantisation record it can be saved and trained."""
    if options.quantise != "none":
        raise UserError(
            f"model.quantise={options.quantise} does not go with a GGUF file: give a folder with safetensors."
        )
    loaded = _whole_model(source, options, **gguf)
    config = loaded.config
    beyond = _dropped(Path(source) / gguf["gguf_file"], config.get_text_config().num_hidden_layers)
    if beyond:
        raise UserError(
            f"model '{source}': {gguf['gguf_file']} holds {len(beyond)} weights that the model it describes "
            f"does not have, such as {beyond[0]}: it is damaged, or not that of a causal language model; "
            "fetch it again, or name another."
        )
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(loaded)(config).to(loaded.dtype)
    model.load_state_dict(loaded.state_dict())
    return model


def _dropped(file: Path, layers: int) -> list[str]:
    """Names of the weights in a GGUF file that transformers leaves out without a word."""
    from gguf import MODEL_ARCH_NAMES, GGUFReader, get_tensor_name_map

    reader = GGUFReader(file)
    named = reader.fields["general.architecture"].contents()
    kind = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == named)
    known = get_tensor_name_map(kind, layers)
    names = [tensor.name for tensor in reader.tensors]
    return [name for name in names if known.get_name(name, try_suffixes=(".weight", ".bias")) is None]


def _whole_model(source: str, options: PretrainedOptions, **more: Any) -> Any:
    """The model that transformers loads, unless it is not what the files hold."""
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, options.dtype)
    model, wrong = weights.load(AutoModelForCausalLM, source, dtype=dtype, trust_remote_code=False, **more)
    if wrong is not None:
        raise UserError(
            f"model '{source}': {wrong}: they are damaged, or not those of a causal language model; fetch "
            "them again, or name another model."
        )
    return model


def codec_of(tokenizer: Any, model: Any, problem: Problem, options: PretrainedOptions, source: str) -> Codec:
    """The codec of a model for a task, tried out on a prompt."""
    context = min(
        options.context, getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30)
    )
    if context <= problem.response_tokens:
        raise UserError(
            f"model.context={context} leaves no room for {problem.response_tokens} response tokens: raise "
            "it, or lower task.response_tokens."
        )
    chat = options.chat_template == "model" or (options.chat_template == "auto" and problem.chat)
    if chat and tokenizer.chat_template is None:
        raise UserError(
            f"model '{source}' has no chat template: say --set model.chat_template=none to give prompts as "
            "plain text."
        )
    end = end_of_turn(tokenizer) if chat else None
    stops = _stops(model, tokenizer) | ({end} if end is not None else set())
    codec = Codec(tokenizer, stops, problem.response_tokens, context, chat, end)
    if chat:
        codec.prompts(["?"])  # a template that is broken or too long is found before anything is written
    return codec


def _stops(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a response, by the tokenizer or by the model's generation settings."""
    result = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    settings = getattr(model, "generation_config", None)
    more = None if settings is None else settings.eos_token_id
    if more is not None:
        result.update(more if isinstance(more, list) else [more])
    return frozenset(result)


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
    if not texts:
        raise UserError("the task has no corpus to fine-tune the model on: set model.steps=0.")

    def compute(work: Work) -> None:
        backbone = backbone_of(model, codec, "", request.store, lora, options)
        trained = backbone.trainable_copy(request.seed)
        end = [codec.tokenizer.eos_token_id] if codec.tokenizer.eos_token_id is not None else []
        ids = [row + end for row in codec.tokenizer(texts)["input_ids"]]
        fit_language_model(
            trained,
            ids,
            codec.context,
            options.steps,
            options.batch,
            options.learning_rate,
            request.seed,
            work,
        )
        merged = trained.merge_and_unload() if lora is not None else trained
        merged.save_pretrained(work.path)

    folder = request.store.stage("reference", key, compute)
    loaded = stored(type(model), folder, dtype=model.dtype, **_straight_to(model.device))
    return fuse_activations(loaded), content_digest(folder)

"""Policies in folders of weights: whole models and peft adapters, each with its own tokenizer.

Nothing is unpickled and no code of a folder is run: weights are safetensors or GGUF.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer

from prefbench import weights
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.build import backbone_of
from prefbench.backbone.language.peft_files import ADAPTER, ADAPTER_WEIGHTS, adapter_settings, merged
from prefbench.backbone.language.pretrained import codec_of, load_pretrained
from prefbench.backbone.options import ModelRequest, PretrainedOptions
from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.errors import UserError
from prefbench.files import MODEL_FILES, refuse_odd_files
from prefbench.learn.interface import Backbone, Policy
from prefbench.spec import is_missing_folder
from prefbench.text import message_line

if TYPE_CHECKING:
    from prefbench.backbone.outside.options import FolderOptions


class FolderPolicy(Policy):
    """A language model of its own, loaded when it is first asked."""

    def __init__(self, request: PolicyRequest, options: FolderOptions) -> None:
        self._request = request
        self._options = options
        self._reference: Backbone | None = None

    def meet(self, backbone: Backbone) -> None:
        """Take note of the reference, whose tokens decide whether a divergence can be measured."""
        self._reference = backbone

    @cached_property
    def _model(self) -> CausalLM:
        return _loaded(self._request, self._options)

    @cached_property
    def _speaker(self) -> Policy:
        model, heat = self._model, self._options.temperature
        return model.reference if heat == 1 else model.log_linear([model.reference], [1 / heat])

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt, by the sampler that every policy here has."""
        with _threads_kept():
            return self._speaker.sample(prompts, n, draw)

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """log pi(response | prompt) in nats, [n]; None where the reference reads other tokens."""
        with _threads_kept():
            ours, theirs = self._model.codec, getattr(self._reference, "codec", None)
            if theirs is None or ours.tokenizer.get_vocab() != theirs.tokenizer.get_vocab():
                return None
            if ours.responses(responses) != theirs.responses(responses):
                return None
            return self._speaker.logprob(prompts, responses)

    def save(self, folder: Path) -> None:
        """Nothing: it is where it was found, and is named by its content."""


@contextlib.contextmanager
def _threads_kept() -> Iterator[None]:
    """Loading a large model gives torch more threads than the reference may be computed with."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def open_folder(request: PolicyRequest, options: FolderOptions) -> Outside:
    """The policy of a folder or a hub id; its weights are read when it is asked.

    Raises:
        UserError: there is no such folder, or it holds neither a model nor an adapter.
    """
    folder = Path(request.source).expanduser()
    identity: dict[str, Any] = {}
    if folder.is_file():
        if folder.suffix != ".gguf":
            raise UserError(f"policy folder '{request.source}' is a file: name its folder, or a .gguf file.")
        options = options.model_copy(update={"gguf_file": folder.name})
        request, folder = replace(request, source=str(folder.parent)), folder.parent
    elif is_missing_folder(request.source):
        raise UserError(f"policy folder '{request.source}' does not exist: check the path.")
    if folder.is_dir():
        identity["files"] = _check(folder)
        if (folder / ADAPTER).exists():
            base = _base_of(folder, options)
            identity["base"] = _identified(base)
            options = options.model_copy(update={"base": base})
        elif options.base is not None:
            raise UserError(
                f"policy folder '{folder}' holds a whole model: policy.base is for adapters; leave it out."
            )
    else:
        identity["hub"] = _identified(request.source)
    policy = FolderPolicy(request, options)
    return Outside(
        policy,
        identity=identity,
        no_kl="its tokens are not the reference's, or it puts responses otherwise",
        meet=policy.meet,
    )


def _check(folder: Path) -> str:
    """Refuse a folder that holds no model; a digest of one that does."""
    try:
        refuse_odd_files(folder, MODEL_FILES)
    except (OSError, ValueError) as error:
        raise UserError(
            f"policy folder '{folder}' cannot be read, so name another: {message_line(error)}."
        ) from None
    names = {path.name for path in folder.iterdir()}
    if ADAPTER in names and ADAPTER_WEIGHTS not in names:
        raise UserError(
            f"policy folder '{folder}' has no {ADAPTER_WEIGHTS}: save the adapter as safetensors."
        )
    if not any(name.endswith((".safetensors", ".gguf")) for name in names):
        raise UserError(
            f"policy folder '{folder}' holds no .safetensors or GGUF weights: save the model there with "
            "save_pretrained; pickled weights are not read."
        )
    return weights.describe(folder)


def _base_of(folder: Path, options: FolderOptions) -> str:
    """Folder or hub id of an adapter's base."""
    named = options.base or adapter_settings(folder).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise UserError(
            f"the adapter in '{folder}' does not name its base: say --set policy.base=FOLDER or a hub id."
        )
    if is_missing_folder(named):
        raise UserError(
            f"the base '{named}' of the adapter in '{folder}' does not exist: say --set policy.base=FOLDER."
        )
    return named


def _identified(source: str) -> str:
    """Name of the weights of a folder, by content, or of a hub id, by commit.

    Raises:
        UserError: the hub cannot be asked.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return weights.describe(folder)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # the hub's client raises whatever it likes
        raise UserError(
            f"policy '{source}' is no folder and could not be fetched from the hub ({message_line(error)}): "
            "without a network, name the folder of a downloaded model."
        ) from None
    return f"{source}@{config._commit_hash}"


def _loaded(request: PolicyRequest, options: FolderOptions) -> CausalLM:
    """The model with everything around it, as a reference would be loaded."""
    problem = request.problem
    if options.max_tokens is not None:
        problem = replace(problem, response_tokens=options.max_tokens)
    folder = Path(request.source).expanduser()
    names = ("device", "threads", "dtype", "gguf_file", "context", "chat_template")
    chosen = PretrainedOptions(lora=False, **{name: getattr(options, name) for name in names})
    source = request.source if options.base is None else options.base
    try:
        found = load_pretrained(ModelRequest(source, problem, request.store, 0), chosen, source)
    except UserError as error:
        said = str(error).replace("--set model.", f"--set {request.section}.")
        raise UserError(f"policy 'folder:{request.source}': {said}") from None
    if options.base is None:
        return found
    model = merged(found.reference.model, folder)
    tokenizer = _own_tokenizer(folder) or found.codec.tokenizer
    codec = codec_of(tokenizer, model, problem, chosen, request.source)
    return backbone_of(model, codec, "", request.store, None, chosen)


def _own_tokenizer(folder: Path) -> Any:
    """The tokenizer beside an adapter; None where there is none."""
    if not (folder / "tokenizer_config.json").exists():
        return None
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

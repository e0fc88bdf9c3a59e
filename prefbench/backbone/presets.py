"""Model presets: what `--model` names. Light to import; each loads what it builds with when it is called."""

from __future__ import annotations

from prefbench.backbone.options import (
    FiniteOptions,
    GPT2Options,
    ModelRequest,
    NanoOptions,
    PretrainedOptions,
    Tulu2Options,
)
from prefbench.learn.interface import Backbone
from prefbench.registry import model

TULU2_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' }}{{ '\\n' }}"
    "{% endfor %}"
    "{{ '<|assistant|>\\n' if add_generation_prompt }}"
)
"""The format that Tulu 2's model card describes, for copies of the model whose tokenizer leaves it out."""


@model("nano")
def nano(request: ModelRequest, options: NanoOptions) -> Backbone:
    """GPT-2 architecture of about 0.1 M parameters, trained on the task's corpus on first use."""
    from prefbench.backbone.language.nano import build_nano

    return build_nano(request, options)


@model("pretrained")
def pretrained(request: ModelRequest, options: PretrainedOptions) -> Backbone:
    """Any causal LM by folder (safetensors or GGUF) or hub id: give the folder or id as --model."""
    from prefbench.backbone.language.pretrained import load_pretrained

    return load_pretrained(request, options, request.name)


@model("gpt2")
def gpt2(request: ModelRequest, options: GPT2Options) -> Backbone:
    """GPT-2 with 124 M parameters from the hub (or model.path), every weight trained; plain text.

    The paper first fine-tunes it on the reviews: model.steps.
    """
    from prefbench.backbone.language.pretrained import load_pretrained

    return load_pretrained(request, options, options.path or "openai-community/gpt2", preset=True)


@model("tulu2-7b")
def tulu2_7b(request: ModelRequest, options: Tulu2Options) -> Backbone:
    """Tulu 2 with 7 B parameters from the hub (or model.path), with LoRA on bfloat16 weights."""
    from prefbench.backbone.language.pretrained import load_pretrained

    source = options.path or "allenai/tulu-2-7b"
    return load_pretrained(request, options, source, preset=True, template=TULU2_TEMPLATE)


@model("finite", backbone="finite")
def finite(request: ModelRequest, options: FiniteOptions) -> Backbone:
    """Tables in place of a language model, for tasks whose responses can be listed: every answer is exact."""
    from prefbench.backbone.finite.backbone import Finite
    from prefbench.store.stages import Work

    assert request.problem.world is not None, "a task for the finite backbone gives a world"
    work = Work("reference", request.store.root)
    return Finite(request.problem.world, options, request.store, work, request.problem.temperature)

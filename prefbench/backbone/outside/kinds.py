"""Kinds of policies that `--policy KIND:SOURCE` names, and their options.

Light to import; each loads what it needs when it is called.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.registry import Options, policy


class ResponsesOptions(Options):
    """A table of responses to the test prompts."""

    empty: Literal["refuse", "count"] = "refuse"
    """What becomes of a response without a word: the file is refused, or it is counted as a loss."""


@policy("responses")
def responses(request: PolicyRequest, options: ResponsesOptions) -> Outside:
    """A table of responses that were written elsewhere: JSON lines, a JSON list, parquet or CSV.

    Columns are `prompt_id` or `prompt` (`instruction` is taken for it) and `response` (or `output`), with
    several responses to a prompt also `sample`; others are passed over, so that an output file of AlpacaEval
    is taken as it is. `prefbench evaluate --write-prompts` writes the prompts that are to be answered.
    """
    from prefbench.backbone.outside.table import read_responses

    return read_responses(request, counts_empty=options.empty == "count")


class FolderOptions(Options):
    """A model in a folder or on the hub."""

    base: str | None = None
    """Folder or hub id of the model that a peft adapter belongs to; none takes what the adapter names."""
    temperature: float = Field(1.0, gt=0)
    """Temperature of sampling."""
    max_tokens: int | None = Field(None, ge=1)
    """Longest response, in tokens of its own; none takes the task's."""
    chat_template: Literal["auto", "model", "none"] = "auto"
    """Form of prompts: messages in the model's template (model), plain text (none), or as the task says
    (auto)."""
    context: int = Field(1024, ge=8)
    """Longest sequence; a longer prompt keeps its end."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights."""
    gguf_file: str | None = None
    """Name of the GGUF file inside the folder; none finds a single one by itself."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that it runs on; auto takes a GPU when there is one."""
    threads: int = Field(0, ge=0)
    """CPU threads; 0 for what `prefbench doctor` found, or every core."""


@policy("folder")
def folder(request: PolicyRequest, options: FolderOptions) -> Outside:
    """A causal language model: a folder (safetensors, GGUF or a peft adapter) or a hub id.

    It has its own tokenizer, which need not be the reference's; its divergence from the reference is measured
    where both read the responses as the same tokens.
    """
    from prefbench.backbone.outside.folder import open_folder

    return open_folder(request, options)


class ServerOptions(Options):
    """A model behind a server."""

    model: str | None = None
    """Name of the model on the server; none takes the only one that it serves."""
    api: Literal["auto", "chat", "completions"] = "auto"
    """Way to ask: prompts as messages (chat), as texts to continue (completions), or as the task says
    (auto)."""
    temperature: float = Field(1.0, ge=0, le=2)
    """Temperature of sampling."""
    max_tokens: int | None = Field(None, ge=1)
    """Longest response, in tokens of the model; none takes the task's."""
    concurrency: int = Field(16, ge=1, le=1024)
    """Most requests at a time; fewer are made while the server is slow or says that it is asked too much."""
    timeout: float = Field(300.0, gt=0, le=86_400)
    """Seconds that a response may take."""
    retries: int = Field(5, ge=0, le=100)
    """Times that a failed request is made again."""
    prompt_price: float | None = Field(None, ge=0)
    """Price of a million tokens sent, in any currency; goes with completion_price."""
    completion_price: float | None = Field(None, ge=0)
    """Price of a million tokens written."""


@policy("server")
def server(request: PolicyRequest, options: ServerOptions) -> Outside:
    """A model behind a server that speaks the OpenAI-compatible protocol: vLLM, SGLang, llama.cpp, a vendor.

    The source is the address, such as `http://127.0.0.1:8000/v1`. Answers are kept in the runs folder as they
    come: a run that was stopped asks for the rest only. A server off this machine is asked only if it was
    typed or allowed (`--allow-host`).
    """
    from prefbench.backbone.outside.server import open_server

    return open_server(request, options)

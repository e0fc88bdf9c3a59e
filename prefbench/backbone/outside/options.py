"""Options of the kinds of policies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefbench.registry import Options


class ResponsesOptions(Options):
    """A table of responses to the test prompts."""

    empty: Literal["refuse", "count"] = "refuse"
    """Treatment of a response without a word: the file is refused, or it is counted as a loss."""
    writer: str | None = None
    """Name in column generator or model of whoever's rows are taken, in a table of several."""


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

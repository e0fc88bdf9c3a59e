"""Kinds of policies that `--policy KIND:SOURCE` names.

Light to import; each loads what it needs when it is called.
"""

from __future__ import annotations

from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.backbone.outside.options import FolderOptions, ResponsesOptions, ServerOptions
from prefbench.registry import policy


@policy("responses")
def responses(request: PolicyRequest, options: ResponsesOptions) -> Outside:
    """A table of responses that were written elsewhere: JSON lines, a JSON list, parquet or CSV.

    Columns are `prompt_id` or `prompt` (`instruction` is taken for it) and `response` (or `output`), with
    several responses to a prompt also `sample`; others are passed over, so that an output file of AlpacaEval
    is taken as it is. `prefbench evaluate --write-prompts` writes the prompts that are to be answered.
    """
    from prefbench.backbone.outside.table import read_responses

    return read_responses(request, options)


@policy("folder")
def folder(request: PolicyRequest, options: FolderOptions) -> Outside:
    """A causal language model: a folder (safetensors, GGUF or a peft adapter) or a hub id.

    It has its own tokenizer, which need not be the reference's; its divergence from the reference is measured
    where both read the responses as the same tokens.
    """
    from prefbench.backbone.outside.folder import open_folder

    return open_folder(request, options)


@policy("server")
def server(request: PolicyRequest, options: ServerOptions) -> Outside:
    """A model behind a server that speaks the OpenAI-compatible protocol: vLLM, SGLang, llama.cpp, a vendor.

    The source is the address, such as `http://127.0.0.1:8000/v1`. Answers are kept in the runs folder as they
    come: a run that was stopped asks for the rest only. A server off this machine is asked only if it was
    typed or allowed (`--allow-host`).
    """
    from prefbench.backbone.outside.server import open_server

    return open_server(request, options)

"""Weights from files: whether a model that transformers loaded is the one that its files hold.

transformers goes on where it should not: weights that are missing or of another shape are drawn at random,
those of layers that the configuration leaves out are dropped, and NaN is a number like any other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from prefbench.errors import UserError
from prefbench.sources import file_digest
from prefbench.text import message_line, text_digest

COUNTED = frozenset({".json", ".safetensors", ".gguf", ".model", ".txt"})
"""Kinds of files that a model's numbers depend on."""
SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "head_dim",
)
"""Fields of a configuration that two models of one architecture may differ in, by transformers' names."""

_BUFFERS = re.compile(r"(?:^|\.)(?:attn|attention)\.(?:masked_)?bias$|\.inv_freq$|\.position_ids$")
"""Constants that older files carry along and newer models compute: masks, rotary frequencies, positions."""


def load(kind: Any, source: str | Path, **more: Any) -> tuple[Any, str | None]:
    """The result of `kind.from_pretrained` for a folder or hub id, and what is wrong with it.

    Raises:
        Exception: whatever transformers raises.
    """
    with _quietly():
        model, info = kind.from_pretrained(
            source, output_loading_info=True, ignore_mismatched_sizes=True, **more
        )
    return model, _wrong(model, info)


def _wrong(model: Any, info: Mapping[str, Any]) -> str | None:
    """The fault that makes a model another one than its files hold, as half a sentence."""
    missing, shapes = sorted(info["missing_keys"]), sorted(info["mismatched_keys"])
    if missing:
        return f"its files lack {len(missing)} of its weights, such as {missing[0]}"
    if shapes:
        name, found, expected = shapes[0]
        return (
            f"{len(shapes)} of its weights have other shapes than its config.json says, such as {name}: "
            f"{list(found)} and not {list(expected)}"
        )
    beyond = sorted(name for name in info["unexpected_keys"] if not _BUFFERS.search(name))
    if beyond:
        return (
            f"its files hold {len(beyond)} weights that the model of its config.json does not have, such as "
            f"{beyond[0]}"
        )
    odd = not_finite(dict(chain(model.named_parameters(), model.named_buffers())))
    return None if not odd else f"{len(odd)} of its weights are NaN or infinite, such as {odd[0]}"


def not_finite(tensors: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that hold NaN or an infinity; integers never do."""
    return [name for name, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all())]


def check_alike(folder: Path, model: Any) -> None:
    """Refuse a folder whose configuration is of another architecture or size, before anything is built of it.

    Raises:
        UserError: it is, or cannot be read.
    """
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"'{folder}' has no config.json that can be read: {message_line(error)}: name a folder that "
            "save_pretrained wrote."
        ) from None
    own = model.config.get_text_config()
    if found.model_type != own.model_type:
        raise UserError(
            f"'{folder}' holds a model of the architecture {found.model_type}, but the reference is of "
            f"{own.model_type}: use it with the model that it was trained from."
        )
    for name in SIZES:
        here, there = getattr(own, name, None), getattr(found, name, None)
        if here != there:
            raise UserError(
                f"'{folder}' holds a model with {name}={there}, but the reference has {here}: use it with "
                "the model that it was trained from."
            )


def gguf_file(folder: Path, named: str | None) -> dict[str, str]:
    """The `gguf_file` argument for a folder that holds its weights in that format, else nothing.

    Raises:
        UserError: no such file, or several to choose from.
    """
    if named is not None:
        if Path(named).name != named or not (folder / named).is_file():
            raise UserError(
                f"model.gguf_file={named}: no such file in '{folder}': name one that is there, or leave it "
                "out."
            )
        return {"gguf_file": named}
    if any(folder.glob("*.safetensors")):
        return {}
    found = sorted(path.name for path in folder.glob("*.gguf"))
    if len(found) > 1:
        raise UserError(
            f"'{folder}' holds several GGUF files: choose one with --set model.gguf_file={found[0]}."
        )
    return {"gguf_file": found[0]} if found else {}


def describe(folder: Path) -> str:
    """A digest that changes when a file of a model folder does: names and contents, at whatever size."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in COUNTED]
    return text_digest([json.dumps([path.name, file_digest(path)]) for path in files])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers, within the block, from printing what it found as a table, and bars."""
    from transformers import modeling_gguf_pytorch_utils as of_gguf
    from transformers.utils import logging

    before, bar = logging.get_verbosity(), getattr(of_gguf, "tqdm", None)
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if bar is not None:  # it is tqdm's own, which no setting of transformers reaches
        of_gguf.tqdm = functools.partial(bar, disable=True)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
        if bar is not None:
            of_gguf.tqdm = bar

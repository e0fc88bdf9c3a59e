"""Adapters that peft wrote, of any layers of their base, merged into it.

Of an adapter's settings only those that say what it computes are read; weights are safetensors.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from prefbench import weights
from prefbench.errors import UserError
from prefbench.files import read_json
from prefbench.text import message_line

ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_COMPUTED = (
    *("r", "lora_alpha", "target_modules", "bias", "fan_in_fan_out", "use_rslora", "use_dora"),
    *("rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "layers_pattern"),
)
"""Settings of a LoRA adapter that say what it computes; others name files, or say how it was trained."""


def adapter_settings(folder: Path) -> Mapping[str, Any]:
    """Settings of an adapter.

    Raises:
        UserError: they cannot be read.
    """
    try:
        found = read_json(folder / ADAPTER)
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{folder / ADAPTER}' cannot be read, so save the adapter again: {message_line(error)}."
        ) from None
    if not isinstance(found, dict):
        raise UserError(f"'{folder / ADAPTER}' is damaged: it holds no settings; save the adapter again.")
    return found


def merged(model: Any, folder: Path) -> Any:
    """A model with a LoRA adapter in its weights, computed by peft.

    Raises:
        UserError: the adapter is of another kind, damaged or of another base, or peft is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise UserError("a policy that is an adapter needs peft: pip install 'prefbench[peft]'.")
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    settings = adapter_settings(folder)
    computed = {name: settings[name] for name in _COMPUTED if name in settings}
    if settings.get("peft_type") != "LORA":
        raise UserError(
            f"policy folder '{folder}' holds an adapter of type {settings.get('peft_type')}, not LORA: save "
            "a LoRA, or merge it and name the merged model."
        )
    try:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        odd = weights.not_finite(tensors)
        adapted = get_peft_model(model, LoraConfig(**computed))
        result = set_peft_model_state_dict(adapted, tensors)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"the adapter in '{folder}' does not fit its base, so name its own with --set "
            f"policy.base=FOLDER: {message_line(error)}"
        ) from None
    lost = [name for name in result.missing_keys if "lora_" in name]
    if lost or result.unexpected_keys:
        name = next(iter([*result.unexpected_keys, *lost]))
        raise UserError(
            f"the adapter in '{folder}' does not fit its base: weights such as {name} have no place; name "
            "the base that it was trained on with --set policy.base=FOLDER."
        )
    if odd:
        raise UserError(f"the adapter in '{folder}' holds NaN or infinities, as in {odd[0]}: train it again.")
    merged = adapted.merge_and_unload()
    return merged.eval().requires_grad_(False)

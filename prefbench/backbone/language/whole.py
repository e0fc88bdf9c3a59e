"""Models as other people's programs load them: whole, with adapters in their weights, in float32.

Adapters are trained in float32: added to a base in bfloat16 they would lose some of what they learned.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from prefbench import seeds
from prefbench.backbone.language.adapters import Adapted
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.policies import LMPolicy
from prefbench.errors import UserError


@torch.no_grad()
def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """Weights of a model or of its transformer by name, float32 on the CPU, with an adapter added to them.

    Raises:
        UserError: there is an adapter, and the weights under it are quantised.
    """
    inner = model.inner if isinstance(model, Adapted) else model
    weights = {name: _wide(value) for name, value in inner.state_dict().items()}
    if isinstance(model, Adapted):
        names = {module: name for name, module in inner.named_modules()}
        for path, layer in model.base.layers.items():
            if not layer.weight.is_floating_point():
                raise UserError(
                    "adapters cannot be merged into quantised weights: run it with model.quantise=none."
                )
            name = f"{names[layer]}.weight"
            weights[name] = weights[name] + model.adapter.pairs[path].delta().cpu()
    return weights


def _wide(value: torch.Tensor) -> torch.Tensor:
    value = value.detach().cpu()
    return value.float() if value.is_floating_point() else value


def settings_of(model: Any) -> Any:
    """A copy of a model's configuration, for the same in float32."""
    inner = model.inner if isinstance(model, Adapted) else model
    settings = copy.deepcopy(inner.config)
    settings.dtype = torch.float32
    return settings


def built(kind: Any, settings: Any) -> Any:
    """A model of a configuration with weights that are to be replaced; drawing them moves no other draw."""
    with seeds.torch_seeded(0, "replaced"):
        return kind.from_config(settings).eval()


def save_whole(policy: LMPolicy, folder: Path) -> None:
    """Write a policy as one model of transformers', whatever it was trained as.

    Raises:
        UserError: it is an adapter on quantised weights.
    """
    from transformers import AutoModelForCausalLM

    model = built(AutoModelForCausalLM, settings_of(policy.model))
    model.load_state_dict(weights_of(policy.model))
    model.generation_config = copy.deepcopy(policy.backbone.reference.model.generation_config)
    model.save_pretrained(folder)
    policy.backbone.codec.tokenizer.save_pretrained(folder)


def padding_tokenizer(codec: Codec) -> Any:
    """A copy of a tokenizer that pads on the right, with a token that no response ends with.

    transformers' classifiers read the last token that is not padding: where padding is the end of text, they
    would read the token before that.
    """
    tokenizer = copy.deepcopy(codec.tokenizer)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in {*codec.stops, codec.end}:
        tokenizer.add_special_tokens({"pad_token": "<|prefbench_pad|>"})
    tokenizer.padding_side = "right"
    return tokenizer

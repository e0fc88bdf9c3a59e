"""Learned rewards as transformers' own classifiers, with one label, whose logit is the normalised reward.

A head that reads the last token becomes a sequence classifier. One that values every response token becomes
a token classifier, whose logits are added up over the response. The scale of the normalisation is folded
into the head, and the shift too where the transformer ends with a norm that has a bias; where it does not,
the shift is a number in the configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from prefbench import seeds
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.policies import LMReward
from prefbench.backbone.language.tokens import collate
from prefbench.backbone.language.whole import built, padding_tokenizer, settings_of, weights_of
from prefbench.errors import UserError
from prefbench.text import message_line

MOST_OFF = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Largest difference of transformers' number in float32 from ours, by our type; of a large one its share."""


def save_classifier(
    reward: LMReward, shift: float, scale: float, name: str, folder: Path, tried: tuple[list[str], list[str]]
) -> float:
    """Write a reward as a folder that transformers loads, and hold what that says against the reward.

    The configuration's `prefbench` says how to use it: `shift` is to be added to the logit (or to the sum of
    the response's logits, where `pooling` is sum), the prompt is its last `prompt_tokens` tokens, the
    response its first `response_tokens` with `end_token_id` after it where there is room, and `chat` whether
    the prompt goes through the tokenizer's chat template.

    Args:
        reward: as it was fitted.
        shift: its mean over reference responses.
        scale: its standard deviation over them.
        name: what the aligner calls it.
        folder: an empty one.
        tried: prompts and responses to try it on.

    Returns:
        The largest difference between both numbers on what was tried, in standard deviations.

    Raises:
        UserError: the architecture has no such classifier, or one that computes something else.
    """
    codec, head = reward.backbone.codec, reward.model.head
    last = reward.model.pooling == "last"
    tokenizer = padding_tokenizer(codec)
    model, output = _empty(reward, tokenizer)
    weight, bias = head.weight.detach().cpu() / scale, (head.bias.detach().cpu() - shift) / scale
    with torch.no_grad():
        output.weight.copy_(weight)
        left = float(bias)
        if output.bias is not None:
            constant = bias if last else head.bias.detach().cpu() / scale
            output.bias.copy_(constant)
            left = 0.0 if last else -shift / scale
        elif last and (norm := _final_norm(model.base_model)) is not None:
            # The state that moves by this moves the logit by the bias, and nothing else reads it.
            norm.bias += bias * weight[0] / weight.square().sum()
            left = 0.0
    end = codec.tokenizer.eos_token_id if codec.end is None else codec.end
    model.config.prefbench = {
        "reward": name,
        "pooling": reward.model.pooling,
        "shift": left,
        "prompt_tokens": codec.room,
        "response_tokens": codec.response_tokens,
        "end_token_id": end,
        "chat": codec.chat,
    }
    off = _difference(model, codec, tried, (reward.score(*tried) - shift) / scale)
    if not off <= MOST_OFF.get(reward.backbone.reference.model.dtype, max(MOST_OFF.values())):
        raise UserError(
            f"{type(model).__name__} computes something else than the reward that was learned (it is off by "
            f"{off:.2g}): export the rewards of another model."
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return off


def _empty(reward: LMReward, tokenizer: Any) -> tuple[Any, nn.Linear]:
    """A classifier around the reward's transformer, and its output layer, which is still to be filled."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    trunk = reward.model.trunk
    settings = settings_of(trunk)
    settings.num_labels = 1
    settings.id2label, settings.label2id = {0: "reward"}, {"reward": 0}
    settings.problem_type = "regression"
    settings.classifier_dropout = 0.0
    last = reward.model.pooling == "last"
    kind = AutoModelForSequenceClassification if last else AutoModelForTokenClassification
    try:
        model = built(kind, settings)
        model.base_model.load_state_dict(weights_of(trunk))
    except (ValueError, RuntimeError, AttributeError) as error:
        why = message_line(error)
        raise UserError(f"transformers has no {kind.__name__} for this model: {why}") from None
    outputs = [
        child
        for child in model.children()
        if isinstance(child, nn.Linear) and child.weight.shape == reward.model.head.weight.shape
    ]
    if len(outputs) != 1:
        raise UserError(
            f"{type(model).__name__} has no plain linear output: export the rewards of another model."
        )
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        with seeds.torch_seeded(0, "padding"):
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, outputs[0]


def _final_norm(trunk: nn.Module) -> nn.LayerNorm | None:
    """The norm that a transformer ends with, where it has a bias."""
    norms = [child for child in trunk.children() if isinstance(child, nn.LayerNorm)]
    return norms[0] if len(norms) == 1 and norms[0].bias is not None else None


@torch.no_grad()
def _difference(model: Any, codec: Codec, tried: tuple[list[str], list[str]], expected: np.ndarray) -> float:
    """The largest difference of a classifier's rewards from the expected ones, larger ones by their size."""
    said = model.config.prefbench
    prompts, responses = codec.prompts(tried[0]), codec.responses(tried[1])
    filler = model.config.get_text_config().pad_token_id
    batch = collate(prompts, responses, torch.device("cpu"), filler=filler)
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    logits = model(input_ids=ids, attention_mask=mask).logits
    if said["pooling"] == "last":
        found = logits[:, 0]
    else:
        row, column = batch.places("response")
        found = torch.zeros(len(ids)).index_add(0, row, logits[row, column, 0])
    found = found.double().numpy() + said["shift"]
    return float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())

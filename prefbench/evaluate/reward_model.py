"""A reward model from outside as the truth for a group: a sequence classifier with one logit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prefbench.errors import UserError
from prefbench.evaluate.classifiers import load_network, model_folder, model_name, scored_in_batches
from prefbench.problem.utilities.protocol import Scores, Utility, check_lengths

INPUT_TOKENS = 4_096
"""Tokens of a prompt and its response, at most, whatever the model could read; the beginning is cut."""
EMPTY_LOGIT = -1_000.0
"""Reward of a response without a word."""


@dataclass(frozen=True)
class HubReward(Utility):
    """The logit that a reward model gives to a response in a conversation that its prompt began.

    Prompt and response are put into the tokenizer's chat template where it has one, else one after the other
    with a line break between them.

    Attributes:
        name: version, model and a digest of its files.
        batch_size: responses per forward pass.
        tokenizer: the model's tokenizer.
        model: the model, in evaluation mode.
    """

    name: str
    batch_size: int
    tokenizer: Any = field(repr=False, compare=False)
    model: Any = field(repr=False, compare=False)
    unit: str = "reward (logit)"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Score the responses in batches of similar length."""
        check_lengths(prompts, responses)
        texts = [self._conversation(*pair) for pair in zip(prompts, responses, strict=True)]
        return scored_in_batches(responses, texts, EMPTY_LOGIT, self.batch_size, self._score)

    def _conversation(self, prompt: str, response: str) -> str:
        if not self.tokenizer.chat_template:
            return f"{prompt}\n{response}"
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False))

    def _score(self, texts: list[str]) -> Scores:
        import torch

        inputs = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=min(self.tokenizer.model_max_length, INPUT_TOKENS),
            add_special_tokens=not self.tokenizer.chat_template,  # a template has them already
            return_tensors="pt",
        ).to(self.model.device)
        with torch.inference_mode():
            return np.asarray(self.model(**inputs).logits[:, 0].double().cpu().numpy())


def load_reward_model(model: str, *, batch_size: int = 16, device: str = "cpu") -> HubReward:
    """Load a reward model from a folder or from the hub: safetensors weights only, no code of its own.

    Args:
        model: a folder written by `save_pretrained`, or a hub id.
        batch_size: responses per forward pass.
        device: where the model runs, as torch spells it.

    Returns:
        The reward model; its name changes when a file of the model does.

    Raises:
        UserError: the model cannot be found or loaded, or has more than one logit.
    """
    folder = model_folder(model)
    tokenizer, network = load_network(model, folder)
    if network.config.num_labels != 1:
        raise UserError(f"{model!r} has {network.config.num_labels} labels: name a model of one, its reward.")
    tokenizer.truncation_side = "left"
    return HubReward(
        f"reward_model/1:{model_name(model, folder)}", batch_size, tokenizer, network.to(device).eval()
    )

"""Soft tokens before a prompt, by which a language model knows who asks.

A soft token is a row of numbers where a token has its embedding (`beyond.py`). With T of them the prompt of
person u begins with e_u, that of whoever is not known with e_0:

    e_u = e_0 + o_u                              individual
    e_u = e_0 + sum_k softmax(w_u)_k E_k         clusters: K sets of tokens that all share

Source: P-RLHF (Li et al. 2024, arXiv 2402.05133), whose clusters have no e_0 in e_u. e_0 begins as
embeddings of words drawn from the vocabulary, o_u as nought, E_k with the spread of the embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from prefbench import seeds
from prefbench.backbone.language.adapters import Adapted, read_tensors, write_tensors
from prefbench.backbone.language.beyond import Beyond
from prefbench.backbone.language.passes import inner_of
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.errors import UserError
from prefbench.text import message_line

FILE = "soft_tokens.safetensors"
NAME = "tokens"
MOST = 4096
"""Soft tokens that a file may hold."""


class SoftTokens(nn.Module):
    """e_0, and what each person's tokens depart from it by."""

    def __init__(self, layer: Any, users: int, tokens: int, clusters: int, seed: int) -> None:
        """Tokens of so many people, all e_0 at first.

        Args:
            layer: the model's embeddings.
            users: people.
            tokens: T.
            clusters: K; 0 gives each person tokens of her own.
            seed: of the words that e_0 begins as, and of the clusters' rows.
        """
        super().__init__()
        width, weight = layer.embedding_dim, layer.weight.detach().float()
        noise = seeds.torch_generator(seed, "soft tokens")
        words = torch.randint(layer.num_embeddings, (tokens,), generator=noise)
        self.shared = nn.Parameter(weight[words.to(weight.device)].clone())
        if clusters:
            drawn = torch.randn((clusters, tokens, width), generator=noise)
            self.basis = nn.Parameter(drawn.to(weight) * weight.std())
            self.mix = nn.Parameter(weight.new_zeros((users, clusters)))
        else:
            self.own = nn.Parameter(weight.new_zeros((users, tokens, width)))

    def forward(self) -> torch.Tensor:
        """e_0 and then each person's tokens, [(1 + users) T, width]."""
        away: torch.Tensor
        if hasattr(self, "own"):
            away = self.own
        else:
            away = torch.einsum("uk,ktd->utd", self.mix.softmax(-1), self.basis)
        return torch.cat([self.shared[None], self.shared + away]).flatten(0, 1)


@dataclass
class SoftTokenPolicy(LMPolicy):
    """A language model whose prompts begin with soft tokens."""

    tokens: torch.Tensor
    """[T, width] their embeddings."""

    def save(self, folder: Path) -> None:
        """The model's folder, and the tokens."""
        super().save(folder)
        write_tensors(folder / FILE, {NAME: self.tokens}, self.backbone.adapted_digest)


def beyond_of(model: Any) -> Beyond:
    """Tokens beyond the vocabulary of a model, which embeds them from now on.

    Of an adapter they are its own, and whoever else uses its base reads none of them.
    """
    layer = inner_of(model).get_input_embeddings()
    beyond = Beyond(layer)
    if isinstance(model, Adapted):
        model.adapter.beyond = beyond
    else:
        beyond.attach(layer)
    return beyond


def told(backbone: LanguageModel, first: int, tokens: int) -> LanguageModel:
    """The backbone with prompts that begin with so many tokens from the number `first` on.

    Raises:
        UserError: they leave no room for a prompt.
    """
    codec = backbone.codec
    if codec.room <= tokens:
        raise UserError(
            f"{tokens} soft tokens and {codec.response_tokens} of a response leave no room for a prompt in a "
            f"context of {codec.context}: lower aligner.tokens or raise model.context."
        )
    prefix = tuple(range(first, first + tokens))
    return backbone.with_codec(replace(codec, context=codec.context - tokens, prefix=prefix))


def load(model: Any, folder: Path, backbone: LanguageModel) -> LMPolicy | None:
    """The policy of a loaded model whose folder has soft tokens; None where it has none.

    Raises:
        UserError: the file is damaged or of another model.
    """
    path = folder / FILE
    if not path.exists():
        return None
    beyond = beyond_of(model)
    try:
        with safe_open(path, framework="pt") as file:
            shape = list(file.get_slice(NAME).get_shape())
    except SafetensorError as error:
        raise UserError(f"'{path}' could not be read, so save it again: {message_line(error)}") from None
    if len(shape) != 2 or shape[0] > MOST or shape[1] != beyond.rows.shape[1]:
        raise UserError(f"'{path}' belongs to another model: its tokens are of shape {shape}; use it there.")
    rows = beyond.rows.new_zeros(shape)
    read_tensors(path, {NAME: rows}, backbone.adapted_digest)
    beyond.rows = rows
    return SoftTokenPolicy(model, told(backbone, beyond.vocabulary, shape[0]), rows)

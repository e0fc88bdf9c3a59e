"""Log-probabilities from all logits of a padded batch: the plain way, which the others are held against."""

import torch

from prefbench.backbone.language.tokens import Batch


def pick(values: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """`values[i, columns[i, t]]` for values [rows, length, ...] and columns [rows, T]."""
    return values[torch.arange(len(values), device=values.device)[:, None], columns]


def token_logprobs(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """log pi of each response token, [rows, T], zero at padding. Computed in float32."""
    chosen = pick(logits, batch.before).float().log_softmax(-1)
    logprobs = chosen.gather(-1, batch.response[..., None])[..., 0]
    return logprobs * batch.mask

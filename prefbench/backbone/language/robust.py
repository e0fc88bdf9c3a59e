"""The loss of the group that has the largest: weights of groups that climb while the model descends.

The loss of a batch is sum_g a_g L_g with weights a on the simplex that follow the losses, a_g <- a_g exp(step
L_g) (GR-DPO, Ramesh et al. 2024, Algorithm 1). L_g is the batch's sum over group g times N / (N_g B): an
unbiased estimate of the group's mean loss however small the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from prefbench.backbone.language.batches import Part
from prefbench.backbone.language.training import PairBatches, Parts, State
from prefbench.learn.interface import Pairs
from prefbench.team import Once


class GroupAscent:
    """The groups of pairs, and a batch's loss under their weights, which the training's state holds."""

    def __init__(self, pairs: Pairs, order: PairBatches, step: float, state: State) -> None:
        """Begin with equal weights, kept in the state's buffers for checkpoints.

        Args:
            pairs: with their groups.
            order: the batches of them.
            step: of the ascent.
            state: of the model that descends.
        """
        assert pairs.group is not None
        _, self._group, count = np.unique(pairs.group.astype(str), return_inverse=True, return_counts=True)
        self._scale = len(pairs) / count
        self._order, self._step, self._state, self._once = order, step, state, Once()
        state.buffers["log_group_weights"] = torch.full((len(count),), -np.log(len(count)))

    def losses(
        self, step: int, parts: Parts, losses_of: Callable[[int, Part], torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        """Contributions of a batch's parts to its loss; `losses_of` gives the losses of a part's pairs."""
        # The weights follow the whole batch's losses, so several parts are read twice.
        with torch.set_grad_enabled(len(parts) == 1):
            shares = [self._by_group(step, part, losses_of) for part in parts]
        whole = self._once.sum(step, torch.stack(shares).sum(0).detach()).cpu()
        log_weights = self._state.buffers["log_group_weights"] + self._step * whole
        log_weights -= log_weights.logsumexp(0)
        for part, share in zip(parts, shares, strict=True):
            each = share if share.requires_grad else self._by_group(step, part, losses_of)
            yield (log_weights.exp().to(each) * each).sum()
        # Not before the last part has gone through.
        self._state.buffers["log_group_weights"].copy_(log_weights)

    def _by_group(
        self, step: int, part: Part, losses_of: Callable[[int, Part], torch.Tensor]
    ) -> torch.Tensor:
        losses, rows = losses_of(step, part), self._order.rows[step]
        index = torch.from_numpy(self._group[rows[part.rows]]).to(losses.device)
        each = torch.zeros(len(self._scale)).to(losses).index_add(0, index, losses)
        return each * torch.from_numpy(self._scale).to(losses) / len(rows)

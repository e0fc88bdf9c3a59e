"""Losses of direct preference optimisation: a policy is fitted to pairs through its implicit reward.

With h(y) = log pi(y|x) / pi_ref(y|x), the implicit reward is beta h and a loss is a function of the
difference D = h(y+) - h(y-). Log-probabilities are sums over response tokens.

A loss is any function of torch differences (`learn.interface.PairwiseLoss`). With a method `slopes` as well,
worlds that can be enumerated are fitted without torch. What else one may have, as attributes:

    needs       names of side columns, which both get as their last argument: name to [pairs]
    turned      what side columns are of the pair with its responses exchanged; without it the same
    ratios      true of a loss of h(y+) and h(y-) themselves, [2, pairs], which stand in the place of D
    divergence  true of such a loss that is given KL(pi || pi_ref) as well, after them, a number without
                gradient: in worlds exact, of a language model an estimate from each batch

What labels say beside a direction `labelled` puts around any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError

if TYPE_CHECKING:
    import torch

    from prefbench.learn.interface import Backbone, Pairs, PairwiseLoss
    from prefbench.learn.options import PairTrainingOptions, PairwiseOptions


@dataclass(frozen=True)
class DPO:
    """-(1 - e) log sigmoid(beta D) - e log sigmoid(-beta D).

    Source: DPO (Rafailov et al. 2023, eq. 7); with label smoothing e > 0 conservative DPO.
    """

    beta: float
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, options: PairwiseOptions, backbone: Backbone) -> DPO:
        """The loss that an aligner's options ask for, with the backbone's own beta where they name none."""
        return cls(options.beta or backbone.dpo_beta, options.label_smoothing)

    def __call__(self, difference: torch.Tensor) -> torch.Tensor:
        """Losses [pairs]."""
        from torch.nn import functional

        margin = self.beta * difference
        kept = -functional.logsigmoid(margin) * (1 - self.label_smoothing)
        return kept - functional.logsigmoid(-margin) * self.label_smoothing

    def slopes(self, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and their derivatives by D, [pairs] each."""
        margin, e = self.beta * difference, self.label_smoothing
        losses = (1 - e) * np.logaddexp(0, -margin) + e * np.logaddexp(0, margin)
        return losses, self.beta * (np.exp(-np.logaddexp(0, -margin)) - (1 - e))


@dataclass(frozen=True)
class IPO:
    """(D - 1 / (2 beta))^2: a margin to be met, not outgrown.

    Source: IPO (Azar et al. 2023, arXiv 2310.12036, eq. 17).
    """

    beta: float

    @classmethod
    def of(cls, options: PairTrainingOptions, backbone: Backbone) -> IPO:
        """The loss that an aligner's options ask for, with the backbone's own beta where they name none."""
        return cls(options.beta or backbone.ipo_beta)

    def __call__(self, difference: torch.Tensor) -> torch.Tensor:
        """Losses [pairs]."""
        return (difference - 1 / (2 * self.beta)) ** 2

    def slopes(self, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and their derivatives by D, [pairs] each."""
        away = difference - 1 / (2 * self.beta)
        return away**2, 2 * away


@dataclass(frozen=True)
class LabelledLoss:
    """A loss of pairs as they were labelled: Z l(D) + (1 - Z) l(-D), where strength Z is not 1 throughout.

    A share of votes k / m is then worth k labels of one direction and m - k of the other. Side columns are of
    the pair and the same for both directions, unless the loss says how they turn.

    Source: ordinal feedback (Liu et al. 2024, arXiv 2411.12843), of the Bradley-Terry loss.
    """

    loss: PairwiseLoss
    strength: np.ndarray | None
    """[pairs]; None where all labels are certain."""
    side: Mapping[str, np.ndarray]
    """The side columns that the loss asks for, [pairs] each."""

    @property
    def ratios(self) -> bool:
        """True of a loss of both log-ratios [2, pairs] in the place of their difference."""
        return bool(getattr(self.loss, "ratios", False))

    @property
    def divergence(self) -> bool:
        """True of one that is given the policy's divergence from the reference as well."""
        return bool(getattr(self.loss, "divergence", False))

    def at(self, rows: np.ndarray) -> LabelledLoss:
        """The same for the pairs at integer positions `rows`."""
        strength = None if self.strength is None else self.strength[rows]
        return LabelledLoss(self.loss, strength, {name: values[rows] for name, values in self.side.items()})

    def __call__(self, given: torch.Tensor, kl: torch.Tensor | float | None = None) -> torch.Tensor:
        """Losses [pairs] of differences [pairs], or of log-ratios [2, pairs].

        Raises:
            UserError: the loss does not give a number for each pair.
        """
        import torch

        side = {name: torch.from_numpy(values).to(given) for name, values in self.side.items()}
        losses: torch.Tensor = self._asked(self.loss, given, kl, side)
        if self.strength is None:
            return losses
        z = torch.from_numpy(self.strength).to(given)
        turned = given.flip(0) if self.ratios else -given
        other: torch.Tensor = self._asked(self.loss, turned, kl, self._turned(side))
        return z * losses + (1 - z) * other

    def slopes(self, given: np.ndarray, kl: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Losses [pairs], and their derivatives by what is given, in its shape.

        Raises:
            UserError: the loss does not give a number for each pair.
        """
        found = getattr(self.loss, "slopes", None)
        if found is None:
            return torch_slopes(partial(self, kl=kl), given)
        losses, slope = self._asked(found, given, kl, self.side)
        if self.strength is None:
            return losses, slope
        turned = given[::-1] if self.ratios else -given
        other, back = self._asked(found, turned, kl, self._turned(self.side))
        z = self.strength
        return z * losses + (1 - z) * other, z * slope + (1 - z) * (back[::-1] if self.ratios else -back)

    def _asked(self, function: Any, given: Any, kl: Any, side: Mapping[str, Any]) -> Any:
        found = function(given, *([kl] if self.divergence else []), *([side] if side else []))
        _check_count(found[0] if isinstance(found, tuple) else found, given.shape[-1])
        return found

    def _turned(self, side: Mapping[str, Any]) -> Mapping[str, Any]:
        turned = getattr(self.loss, "turned", None)
        return side if turned is None else dict(turned(side))


def _check_count(losses: Any, pairs: int) -> None:
    shape = tuple(getattr(losses, "shape", ()))
    if shape != (pairs,):
        given = f"numbers of shape {list(shape)}" if shape else "one number"
        raise UserError(
            f"the loss gives {given} for {pairs} pairs: let it give a number for each, no mean or sum."
        )


def labelled(loss: PairwiseLoss, pairs: Pairs) -> LabelledLoss:
    """The loss of these pairs with their strength and the side columns that it asks for.

    Raises:
        UserError: the pairs lack a column that it asks for.
    """
    needs = tuple(getattr(loss, "needs", ()))
    for name in needs:
        if name not in pairs.side:
            raise UserError(
                f"the loss asks for the side column '{name}', and the pairs have "
                f"{', '.join(sorted(pairs.side)) or 'none'}: let the aligner need 'side', and name a task "
                "that brings it."
            )
    return LabelledLoss(loss, pairs.strength, {name: pairs.side[name] for name in needs})


def torch_slopes(
    loss: Callable[[torch.Tensor], torch.Tensor], given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Losses [pairs] and their derivatives by what is given, in its shape, by torch."""
    import torch

    leaf = torch.from_numpy(np.ascontiguousarray(given)).requires_grad_(True)
    losses = loss(leaf)
    (slope,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach().numpy(), slope.numpy()

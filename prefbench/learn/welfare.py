"""Welfare: what a policy optimiser maximises when several groups have a reward each.

Let F_g(pi) = E[r_g] - beta KL(pi || pi_ref) be group g's value. A welfare W(F_1, ..., F_G) is optimised
through its weights w_g = dW/dF_g: a batch of rewards [batch, groups] becomes one number per response,
[batch], sum_g w_g r_g. Only the per-sample minimum is not of that kind. Where responses can be listed,
`learn/exact.py` has each welfare's exact optimum.

A welfare of one's own is either of

    Welfare.of_values(W)    W(F_1, ..., F_G), of the groups' values: what the population gets
    any function            of a reward matrix [n, groups], to [n]: what each response is worth

and the two differ, as E[min_g r_g] and min_g E[r_g] do.

Before any comparison of groups the rewards must share a zero and a unit: Bradley-Terry rewards are only
defined up to shift and scale, so `Rewards` centres each on the reference policy and divides by its spread
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from prefbench.errors import Diverged, UserError

WelfareKind = Literal[
    "population_min", "per_sample_min", "dual", "mean", "nash", "leximin", "alpha", "of_values"
]
WelfareFunction = Callable[[np.ndarray], np.ndarray]
"""Rewards [n, groups] to one number per response, [n]; a `Welfare` is one too."""

LEXIMIN_DECAY = 0.1
"""Weight of the next worst group relative to the worst one: leximin is the limit of zero."""
NASH_FLOOR = 0.05
"""Least gain that a Nash weight is computed with: before anybody has gained, all weights are equal."""
ALONE_ROWS = 500
"""Rows at most that a function is tried on one by one."""


@dataclass(frozen=True)
class Welfare:
    """A rule that makes one number of several groups' rewards."""

    kind: WelfareKind
    shares: tuple[float, ...] | None = None
    """Weights of the groups in `mean`, `nash` and `alpha`; None weighs them equally."""
    alpha: float = -1.0
    """Exponent of `alpha`: W = (1/alpha) log sum_g share_g exp(alpha F_g); towards 0 the mean, to -inf the
    minimum."""
    step: float = 0.1
    """Step of `dual`'s mirror descent on the group weights."""
    function: Callable[[Any], Any] | None = None
    """Function of `of_values`: W(F_1, ..., F_G)."""
    gradient: Callable[[np.ndarray], np.ndarray] | None = None
    """Gradient of `of_values`: dW/dF_g, [groups]; None leaves it to torch."""
    concave: bool = False
    """Declaration, for `of_values`, that W is concave and never falls where a group gains."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(WelfareKind):
            raise UserError(
                f"there is no welfare '{self.kind}': choose among {', '.join(get_args(WelfareKind)[:-1])}, "
                "or give your own as Welfare.of_values(function) or as a plain function of the reward matrix."
            )
        if (self.kind == "of_values") != (self.function is not None):
            raise UserError("a function of the groups' values is given as Welfare.of_values(function).")

    @classmethod
    def of_values(
        cls,
        function: Callable[[Any], Any],
        gradient: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        concave: bool = False,
    ) -> Welfare:
        """A welfare W(F_1, ..., F_G) of one's own.

        Args:
            function: from the groups' values [groups] to a number. Without `gradient` it is given a float64
                tensor and must compute with torch; with it, an array.
            gradient: dW/dF_g at such values, [groups]; where W has a kink, any supergradient.
            concave: W is concave and never falls where a group gains. PPO needs neither; where responses can
                be listed the optimum is then computed, with a certificate, and the claim is put to the test.
        """
        return cls("of_values", function=function, gradient=gradient, concave=concave)

    @property
    def name(self) -> str:
        """The name in messages."""
        return self.kind if self.function is None else name_of(self.function)

    def slope(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """W and dW/dF_g at the groups' values, of a welfare that was made by `of_values`.

        Raises:
            UserError: the function or its gradient does not give what it should.
        """
        assert self.function is not None
        if self.gradient is None:
            return _torch_slope(self.function, values)
        value, gradient = self.function(values.copy()), np.asarray(self.gradient(values.copy()), np.float64)
        if gradient.shape != values.shape or np.ndim(value) != 0:
            raise UserError(
                f"welfare '{self.name}': of {len(values)} values the function must give a number and its "
                f"gradient as many numbers, not the shapes {np.shape(value)} and {gradient.shape}."
            )
        return float(value), gradient

    def __call__(
        self, rewards: np.ndarray, values: np.ndarray | None = None, past: np.ndarray | None = None
    ) -> np.ndarray:
        """One number per response, [batch].

        Args:
            rewards: normalised rewards of this batch, [batch, groups].
            values: F_g of the current policy, [groups]; the batch's means if left out.
            past: the batches' mean rewards so far, [iterations, groups].
        """
        if self.kind == "per_sample_min":
            # What the authors' scripts do. E[min_g r_g] <= min_g E[r_g]: the harsher of the two.
            return np.asarray(rewards.min(axis=1))
        means = rewards.mean(axis=0) if values is None else values
        if self.kind == "population_min":
            # MaxMin-RLHF, Algorithm 1, line 3. The KL charge is the same for every group, so the argmin
            # over F_g is the argmin over mean rewards.
            return np.asarray(rewards[:, int(means.argmin())])
        if self.kind == "mean":
            return np.asarray(np.average(rewards, axis=1, weights=self.shares))
        return np.asarray(rewards @ self.group_weights(means, past))

    def group_weights(self, values: np.ndarray, past: np.ndarray | None) -> np.ndarray:
        """dW/dF_g up to a factor, summing to one, [groups]."""
        count = len(values)
        shares = np.full(count, 1 / count) if self.shares is None else np.asarray(self.shares)
        if self.kind == "dual":
            # Mirror descent on the simplex of group weights: w <- w exp(-step F), all steps at once.
            return _softmax(-self.step * (np.zeros(count) if past is None else past.sum(axis=0)))
        if self.kind == "alpha":
            return _softmax(np.log(shares) + self.alpha * values)
        if self.kind == "leximin":
            weights = np.empty(count)
            weights[values.argsort(kind="stable")] = LEXIMIN_DECAY ** np.arange(count)
            return np.asarray(weights / weights.sum())
        if self.kind == "nash":
            # W = sum_g share_g log(F_g - F_g(pi_ref)), and F_g(pi_ref) = 0 for normalised rewards.
            weights = shares / np.maximum(values, NASH_FLOOR)
            return np.asarray(weights / weights.sum())
        if self.kind == "of_values":
            _, slope = self.slope(values)
            if not np.isfinite(slope).all() or not slope.sum() > 0:
                raise Diverged(
                    f"welfare '{self.name}' has the gradient {_numbers(slope)} at the groups' values "
                    f"{_numbers(values)}: it must be finite there and rise when all of them gain."
                )
            return np.asarray(slope / slope.sum())
        raise ValueError(f"{self.kind} has no group weights")


def _torch_slope(function: Callable[[Any], Any], values: np.ndarray) -> tuple[float, np.ndarray]:
    import torch

    leaf = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value = function(leaf)
        if not isinstance(value, torch.Tensor) or value.ndim != 0 or not value.requires_grad:
            raise UserError(
                f"welfare '{name_of(function)}': of {len(values)} values it must give a tensor of one, "
                "computed with torch; or give its gradient too, Welfare.of_values(function, gradient)."
            )
        (slope,) = torch.autograd.grad(value, leaf)
    return float(value.detach()), slope.numpy()


def name_of(function: Any) -> str:
    """The name, in messages, of a function or of an object that is called like one."""
    return str(getattr(function, "__name__", type(function).__name__))


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def scores_of(
    welfare: WelfareFunction,
    rewards: np.ndarray,
    values: np.ndarray | None = None,
    past: np.ndarray | None = None,
) -> np.ndarray:
    """One number per response by any welfare, [n]; a plain function is given the matrix alone.

    Raises:
        UserError: it gives something else.
        Diverged: a number is not finite.
    """
    if isinstance(welfare, Welfare):
        found = welfare(rewards, values, past)
    elif callable(welfare):
        found = np.asarray(welfare(rewards.copy()))
    else:
        raise UserError(f"{welfare!r} is no welfare: give a Welfare or a function of the reward matrix.")
    if found.shape != (len(rewards),) or found.dtype.kind not in "fiub":
        raise UserError(
            f"welfare '{name_of(welfare)}': of rewards {list(rewards.shape)} it must give one number per "
            f"response, [{len(rewards)}], not {found.dtype} {list(found.shape)}."
        )
    if not np.isfinite(found).all():
        raise Diverged(f"welfare '{name_of(welfare)}' gives a number that is not finite: mend the function.")
    return np.asarray(found, dtype=np.float64)


def each_by_itself(function: WelfareFunction, rewards: np.ndarray) -> np.ndarray | None:
    """A function of a reward matrix [n, groups] at each row, [n]; None where a row's company matters."""
    whole = scores_of(function, rewards)
    backwards = scores_of(function, rewards[::-1])[::-1]
    single = np.linspace(0, len(rewards) - 1, min(len(rewards), ALONE_ROWS)).astype(int)
    alone = np.array([scores_of(function, rewards[i : i + 1])[0] for i in single])
    tolerance = 1e-9 * max(1.0, float(np.abs(whole).max()))
    strayed = max(np.abs(whole - backwards).max(), np.abs(whole[single] - alone).max())
    return whole if strayed <= tolerance else None


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())


population_min = Welfare("population_min")
per_sample_min = Welfare("per_sample_min")


def mean(weights: Sequence[float] | None = None) -> Welfare:
    """The utilitarian welfare: the groups' average reward, weighted by `weights` or equally."""
    return Welfare("mean", None if weights is None else tuple(weights))

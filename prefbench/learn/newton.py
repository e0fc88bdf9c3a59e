"""Convex minimisation in few unknowns by Newton's method, over positive numbers or inside the simplex."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prefbench.learn.game import CERTIFICATE

NEWTON_STEPS = 100
Objective = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]
"""Value, gradient and Hessian of a smooth convex function."""


def minimise_on_simplex(objective: Objective, size: int, scale: float) -> np.ndarray:
    """A minimiser inside the simplex by a log-barrier method.

    On the central path with barrier weight m the duality gap is at most size * m, so the last m decides it
    (Boyd and Vandenberghe 2004, section 11.2).
    """
    x = np.full(size, 1 / size)
    if size == 1:
        return x
    barrier = 0.1 * scale
    last = 0.1 * CERTIFICATE / size
    while True:

        def penalised(point: np.ndarray, weight: float = barrier) -> tuple[float, np.ndarray, np.ndarray]:
            value, gradient, hessian = objective(point)
            return (
                value - weight * float(np.log(point).sum()),
                gradient - weight / point,
                hessian + np.diag(weight / point**2),
            )

        x = newton(penalised, x, 0.1 * barrier, fixed_sum=True)
        if barrier <= last:
            return x
        barrier = max(last, 0.05 * barrier)


def newton(objective: Objective, x: np.ndarray, tolerance: float, fixed_sum: bool) -> np.ndarray:
    """Newton's method with backtracking for positive x, until every x_i dF/dx_i is within the tolerance.

    With a fixed sum (of one) the gradient counts up to a common shift.
    """
    size = len(x)
    border = int(fixed_sum)
    value, gradient, hessian = objective(x)
    for _ in range(NEWTON_STEPS):
        if fixed_sum:
            gradient = gradient - gradient @ x
        slope = gradient * x
        if np.abs(slope).max() <= tolerance:
            break
        # In units of x itself: barrier terms of very different sizes then weigh alike.
        system = np.zeros((size + border, size + border))
        system[:size, :size] = hessian * np.outer(x, x)
        if fixed_sum:
            system[size, :size] = system[:size, size] = x
        try:
            relative = np.linalg.solve(system, np.append(-slope, np.zeros(border)))[:size]
        except np.linalg.LinAlgError:
            break  # the certificate judges what was reached
        decrement = float(-slope @ relative)
        falling = float(-relative.min())
        length = min(1.0, 0.95 / falling) if falling > 0 else 1.0
        # So near the optimum that a gain would drown in rounding, the whole step still converges.
        if decrement > 1e-11 * max(1.0, abs(value)):
            while length > 1e-12:
                if objective(x * (1 + length * relative))[0] <= value - 1e-4 * length * decrement:
                    break
                length *= 0.5
        x = x * (1 + length * relative)
        if fixed_sum:
            x = x / x.sum()
        value, gradient, hessian = objective(x)
    return x

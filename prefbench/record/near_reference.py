"""Policies that hardly left the reference, and how they are called."""

from __future__ import annotations

NEAR_REFERENCE_NATS = 0.05
"""KL from the reference policy, nats per response, below which a policy is practically the reference."""


def near_reference(kl: float | None) -> str | None:
    """A remark on a policy that hardly left the reference, for beside its win rates; None of any other.

    Args:
        kl: nats per response; None or NaN where it is unknown.
    """
    if kl is None or not kl < NEAR_REFERENCE_NATS:
        return None
    if kl == 0:
        return "the reference policy itself"
    return f"practically the reference policy, {max(kl, 0.0):.2f} nats from it"

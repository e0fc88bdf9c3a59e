"""The divergence of a run's policy from the reference: exact, measured, or no more than a bound."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ValidationError

from prefbench import registry
from prefbench.record.schema import Record

Source = Literal["exact", "measured", "bound"]


def divergence_of(record: Record) -> tuple[float, Source] | None:
    """Nats per response, and where they come from; None where not even a bound is known.

    Exact where responses are listed; else the mean over sampled ones; of a policy without a tractable
    probability the bound that its aligner's options give (`Options.most_kl`).
    """
    if record.regret is not None:
        return record.regret.kl, "exact"
    if record.kl is not None:
        return record.kl, "measured"
    bound = _bound(record)
    return None if bound is None else (bound, "bound")


def options_of(aligner: str) -> type[BaseModel] | None:
    """The options of a registered aligner; None of one that is not here."""
    entry = registry.find("aligner", aligner)
    return None if entry is None else entry.options


def _bound(record: Record) -> float | None:
    known = options_of(record.aligner)
    if known is None or not issubclass(known, registry.Options):
        return None
    try:
        return known.model_validate(record.spec.get("aligner_options", {})).most_kl()
    except ValidationError:  # of another version, or a stranger's
        return None

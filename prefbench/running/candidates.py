"""Stage `candidates`: reference samples that policies select from, shared by all that select from as many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.learn.by_prompt import ResampledPolicy
from prefbench.learn.interface import Backbone, Policy
from prefbench.learn.selection import BestOfPolicy
from prefbench.learn.simple_policies import ExtremeLengthPolicy
from prefbench.store.stages import Store, Work
from prefbench.store.tables import read_frame
from prefbench.text import text_digest


def with_stored_candidates(policy: Policy, backbone: Backbone, response_tokens: int, store: Store) -> Policy:
    """The policy, its candidates kept if it selects among samples of the reference; any other as it is.

    Policies that select from as many by other criteria draw the same ones, and need not draw them again.
    """
    if (
        isinstance(policy, BestOfPolicy | ExtremeLengthPolicy | ResampledPolicy)
        and policy.base is backbone.reference
    ):
        return replace(policy, base=_Stored(policy.base, backbone.digest, response_tokens, store))
    return policy


@dataclass(frozen=True)
class _Stored(Policy):
    """The reference, whose samples are kept."""

    base: Policy
    digest: str
    response_tokens: int
    store: Store

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt, drawn once for whoever asks for as many by this draw."""
        key = {
            "reference": self.digest,
            "prompts": text_digest(prompts),
            "samples": n,
            "response_tokens": self.response_tokens,
            "draw": [str(draw.entropy), *map(str, draw.spawn_key)],
        }

        def compute(work: Work) -> None:
            drawn = self.base.sample(prompts, n, draw)
            frame = pd.DataFrame({"response": [text for row in drawn for text in row]})
            frame.to_parquet(work.path / "candidates.parquet", index=False)

        folder = self.store.stage("candidates", key, compute)
        texts = read_frame(folder / "candidates.parquet")["response"].tolist()
        return [texts[start : start + n] for start in range(0, len(texts), n)]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """The reference's log-probabilities."""
        return self.base.logprob(prompts, responses)

    def save(self, folder: Path) -> None:
        """The reference's own way."""
        self.base.save(folder)

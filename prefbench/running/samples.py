"""Stage `samples`: responses of the policy and of the reference to the test prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefbench import seeds
from prefbench.learn.interface import Backbone, Policy
from prefbench.problem.problem import Problem
from prefbench.spec import RunSpec
from prefbench.store.stages import Store, Work
from prefbench.text import text_digest


@dataclass(frozen=True)
class Speaker:
    """A policy that is asked; `role` keeps the reference's own samples apart from an aligner's."""

    role: str
    policy: Policy
    digest: str


def samples_of(
    spec: RunSpec,
    problem: Problem,
    prompts: list[str],
    backbone: Backbone,
    speaker: Speaker,
    store: Store,
    *,
    told: str | None = None,
) -> pd.DataFrame:
    """Responses to test prompts, and what the policy's cost in KL where they were put as they are.

    `told` names the group whose instruction is in the prompts, if one is.
    """
    n, role = spec.evaluate_options["samples"], speaker.role
    key = {
        "policy": speaker.digest,
        "role": role,
        "prompts": text_digest(prompts),
        "samples": n,
        "response_tokens": problem.response_tokens,
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        sampled = speaker.policy.sample(prompts, n, seeds.child(spec.seed, "samples", role))
        frame = pd.DataFrame(
            {
                "prompt_id": np.repeat(np.arange(len(prompts)), n),
                "sample": np.tile(np.arange(n), len(prompts)),
                "prompt": np.repeat(np.asarray(prompts, dtype=object), n),
                "response": [text for row in sampled for text in row],
            }
        )
        if role == "policy" and told is None:
            texts = frame["prompt"].tolist(), frame["response"].tolist()
            ours = speaker.policy.logprob(*texts)
            reference = None if ours is None else backbone.reference.logprob(*texts)
            frame["kl"] = np.nan if ours is None or reference is None else ours - reference
        frame.to_parquet(work.path / "samples.parquet", index=False)

    folder = store.stage("samples", key, compute, part=role if told is None else f"{role}/{told}")
    return pd.read_parquet(folder / "samples.parquet")

"""Stage `samples`: responses of the policy and of the reference to the test prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefbench import seeds
from prefbench.learn.interface import Backbone, Policy
from prefbench.problem.problem import Problem
from prefbench.running.candidates import with_stored_candidates
from prefbench.spec import RunSpec
from prefbench.store.stages import Store, Work
from prefbench.store.tables import read_frame
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
    """Responses to test prompts and, where these were put as they are, what the reference thinks of them.

    Columns `kl` (of the policy's alone), `tokens`, `logprob` and `logprob_elsewhere`, as
    `record.evidence` says. `told` names the group whose instruction is in the prompts, if one is.
    """
    n, role = spec.evaluate_options["samples"], speaker.role
    key = {
        "policy": speaker.digest,
        "reference": backbone.digest,
        "role": role,
        "prompts": text_digest(prompts),
        "samples": n,
        "response_tokens": problem.response_tokens,
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        policy = with_stored_candidates(speaker.policy, backbone, problem.response_tokens, store)
        sampled = policy.sample(prompts, n, seeds.child(spec.seed, "samples", role))
        frame = pd.DataFrame(
            {
                "prompt_id": np.repeat(np.arange(len(prompts)), n),
                "sample": np.tile(np.arange(n), len(prompts)),
                "prompt": np.repeat(np.asarray(prompts, dtype=object), n),
                "response": [text for row in sampled for text in row],
            }
        )
        if told is None:
            _measure(frame, role, speaker.policy, backbone, prompts)
        frame.to_parquet(work.path / "samples.parquet", index=False)

    folder = store.stage("samples", key, compute, part=role if told is None else f"{role}/{told}")
    return read_frame(folder / "samples.parquet")


def _measure(
    frame: pd.DataFrame, role: str, policy: Policy, backbone: Backbone, prompts: Sequence[str]
) -> None:
    """Log-probabilities of the responses in a frame, put beside them; NaN where they are not known.

    The other prompt is half of all prompts away: one that the response does not answer, and the same one in
    every run.
    """
    asked, said = frame["prompt"].tolist(), frame["response"].tolist()
    reference, tokens = backbone.reference, backbone.tokens(said)
    ours = policy.logprob(asked, said) if role == "policy" else None
    theirs = None if ours is None and tokens is None else reference.logprob(asked, said)
    if role == "policy":
        frame["kl"] = np.nan if ours is None or theirs is None else ours - theirs
    elsewhere = None
    if tokens is not None and len(prompts) > 1:
        places = (frame["prompt_id"].to_numpy() + len(prompts) // 2) % len(prompts)
        elsewhere = reference.logprob([prompts[place] for place in places], said)
    frame["tokens"] = np.nan if tokens is None else tokens.astype(np.float64)
    for name, known in (("logprob", None if tokens is None else theirs), ("logprob_elsewhere", elsewhere)):
        # Half the digits are all that a model computes, and published evidence is mostly these.
        frame[name] = np.asarray(np.nan if known is None else known, dtype=np.float32)

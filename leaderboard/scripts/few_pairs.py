"""Rewards of groups in several orders of their pairs, adapted in two ways.

    python leaderboard/scripts/few_pairs.py runs 10:1 imdb_two_group synthetic 100

prints, for each group, the share of test pairs that its reward orders as its true utility does. `warm` begins
with everybody's reward and has its learning rate, `head` alone is a head fitted to everybody's states, and
`adapted` goes on from that head at `aligner.reward_group_rate` of the rate, as groups' rewards do.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench import registry
from prefbench.identity import identity_of
from prefbench.learn.interface import Backbone, Reward
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import fit_everybody, group_options, pairs_by_group, pairs_of
from prefbench.problem.view import View, make_view
from prefbench.running.labels import labels_of
from prefbench.running.run import problem_and_model
from prefbench.spec import RunSpec, make_spec
from prefbench.store.stages import Store, Work

ORDERS = 6
WAYS = {"warm": (False, None), "head": (True, 1e-9), "adapted": (True, None)}
"""Each way's `adapts` and its share of the learning rate; None for the default."""


def pairs_for(spec: RunSpec, runs_dir: Path) -> tuple[Backbone, View, pd.DataFrame]:
    """The backbone of a specification, its view with the groups shown, and its labels with utilities."""
    store = Store(runs_dir, made_by=identity_of(spec))
    problem, backbone, _ = problem_and_model(spec, store)
    rows = labels_of(spec, problem, backbone, store).rows
    return backbone, make_view(rows, problem, frozenset({"group"}), spec.seed), rows


def margins_of(reward: Reward, rows: pd.DataFrame) -> np.ndarray:
    """How much more the reward gives each chosen response than the rejected one, [pairs]."""
    prompts, chosen, rejected = (rows[column].tolist() for column in ("prompt", "chosen", "rejected"))
    return reward.score(prompts, chosen) - reward.score(prompts, rejected)


def ordered_as(margins: np.ndarray, rows: pd.DataFrame, group: str) -> float:
    """Share of pairs that margins order as a group's true utility does; pairs that it ties do not count."""
    gain = np.sign((rows[f"chosen_utility/{group}"] - rows[f"rejected_utility/{group}"]).to_numpy())
    return float(((np.sign(margins) * gain + 1) / 2)[gain != 0].mean())


def main(runs_dir: Path, ratio: str, task: str, data: str, seed: int) -> None:
    """Print the table."""
    registry.load_plugins()
    spec = make_spec(task=task, aligner="maxmin_known_groups", data=data, minority_ratio=ratio, seed=seed)
    backbone, view, rows = pairs_for(spec, runs_dir)
    pairs = pairs_by_group(view, "train")
    everybody = fit_everybody(backbone, pairs_of(view.preferences["train"]), RewardOptions(), seed).models[0]
    test = rows[rows["split"] == "test"]
    told = []
    for group, (way, (adapts, rate)) in itertools.product(pairs, WAYS.items()):
        options = group_options(RewardOptions() if rate is None else RewardOptions(reward_group_rate=rate))
        right = []
        for order in range(1 if way == "head" else ORDERS):
            with tempfile.TemporaryDirectory() as folder:
                bound = backbone.at(Work("rewards", Path(folder)))
                more = {"start": everybody, "adapts": adapts, "name": f"order {order}"}
                reward = bound.fit_reward(pairs[group], options, seed=seed, **more)
            right.append(ordered_as(margins_of(reward, test), test, group))
        told.append([group, len(pairs[group]), way, np.mean(right), min(right), max(right)])
    columns = ["group", "pairs", "reward", "mean", "least", "most"]
    print(pd.DataFrame(told, columns=columns).to_markdown(index=False, floatfmt=".2f"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5]))

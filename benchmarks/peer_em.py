"""EM beside the published scripts' recipe for the paper's Algorithm 2."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from compared import Bench, Compared, margins
from setting import fresh, interleaved, seconds_of
from tabulate import tabulate

from prefbench import registry
from prefbench.backbone.language.backbone import CausalLM
from prefbench.learn.interface import Pairs
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import log_likelihood
from prefbench.spec import RunSpec
from prefbench.store.stages import Store

EMRound = tuple[float, Sequence[Any], np.ndarray]
"""Seconds until then, a reward for each cluster, and every annotator's cluster."""


def mixture(bench: Bench) -> Compared:
    """EM on synthetic reviews against the published scripts' recipe for the paper's Algorithm 2.

    Theirs: annotators dealt out in turn, ten iterations, in each of which every reward model goes on from
    where it was for three passes over its annotators' pairs and then scores all pairs.
    """
    from prefbench.learn.em import fit_mixture
    from prefbench.learn.options import EMOptions
    from prefbench.running.run import labelled_pairs
    from prefbench.spec import make_spec

    spec = make_spec(task="imdb_two_group", aligner="maxmin", minority_ratio=0.2)
    _, rows = labelled_pairs(spec, bench.folder / "em")
    pairs, held_out = (labelled(rows[rows["split"] == split]) for split in ("train", "validation"))
    assert pairs.user_id is not None and held_out.user_id is not None
    users, user = np.unique(pairs.user_id, return_inverse=True)
    held_user = np.searchsorted(users, held_out.user_id)
    truth = rows.drop_duplicates("user_id").set_index("user_id")["group"].loc[users] == rows["group"].iloc[0]
    backbone = reference_of(spec, bench.folder / "em")
    found: dict[str, list[EMRound]] = {}

    def judged(seconds: float, models: Sequence[Any], cluster: np.ndarray) -> list[str]:
        right = (cluster == truth.to_numpy()).mean()
        each = (
            likelihood([margins(model, some) for model in models], cluster[who])
            for some, who in ((pairs, user), (held_out, held_user))
        )
        return [f"{seconds:.1f}", *(f"{value:.3f}" for value in each), f"{max(right, 1 - right):.0%}"]

    def ours() -> None:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            own = fresh(backbone)
            own.store = Store(Path(folder))
            rewards = fit_mixture(own, pairs, EMOptions(), 0)
        assert rewards.assignment is not None
        cluster = np.array([rewards.assignment[int(u)] for u in users])
        found["ours"] = [(time.perf_counter() - began, rewards.models, cluster)]

    def theirs() -> None:
        began = time.perf_counter()
        cluster = np.arange(len(users)) % 2
        models: list[Any] = [None, None]
        found["theirs"] = []
        for number in range(10):
            for k in range(2):
                mine = np.flatnonzero(cluster[user] == k)
                if len(mine):
                    three, name = RewardOptions(reward_epochs=3), f"{number}-{k}"
                    models[k] = fresh(backbone).fit_reward(
                        pairs[mine], three, seed=k, name=name, start=models[k]
                    )
            each = [np.bincount(user, weights=log_likelihood(margins(model, pairs))) for model in models]
            cluster = np.argmax(each, axis=0)
            found["theirs"].append((time.perf_counter() - began, list(models), cluster))

    times = interleaved([partial(seconds_of, ours), partial(seconds_of, theirs)], max(1, bench.rounds // 3))
    table = [["ours", *judged(*found["ours"][0])]]
    table += [[f"plain, {i} iterations", *judged(*one)] for i, one in enumerate(found["theirs"], 1)]
    print("EM, log-likelihood of a pair in nats:")
    header = ["", "s", "training", "held out", "annotators right"]
    print(tabulate(table, header, tablefmt="github", disable_numparse=True), end="\n\n")
    return Compared("EM, K=2", "nano", "10 x K warm full passes", "pairs/s", len(pairs), *times, 3)


def labelled(rows: Any) -> Pairs:
    columns = (rows[name].tolist() for name in ("prompt", "chosen", "rejected"))
    return Pairs(*columns, rows["user_id"].to_numpy())


def likelihood(found: Sequence[np.ndarray], cluster: np.ndarray) -> float:
    """Mean log-likelihood of the pairs, each by its annotator's cluster, in nats."""
    return float(log_likelihood(np.stack(found)[cluster, np.arange(len(cluster))]).mean())


def reference_of(spec: RunSpec, runs_dir: Path) -> CausalLM:
    """The reference of a specification, stored or trained now."""
    from prefbench.backbone.language.nano import build_nano
    from prefbench.backbone.options import ModelRequest, NanoOptions

    problem = registry.get("task", spec.task).function(
        spec.data, spec.minority_ratio, spec.seed, **spec.task_options
    )
    request = ModelRequest(spec.model, problem, Store(runs_dir), spec.seed)
    return build_nano(request, NanoOptions(**spec.model_options))

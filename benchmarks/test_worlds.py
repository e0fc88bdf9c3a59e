"""Whole runs on worlds whose responses can be listed: task, aligner, evaluation, record.

    python -m pytest benchmarks/test_worlds.py

Two processes run side by side, one a core, each with its libraries loaded; `runs_per_minute` counts both.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

RUNS = 40


def load(folder: str) -> None:
    """Once per process: the plug-ins, and a first run that loads what runs load lazily."""
    from prefbench import registry

    registry.load_plugins()
    for aligner in ("single_reward", "maxmin", "gr_dpo"):
        one(folder, aligner, 10_000 + multiprocessing.current_process()._identity[0])


def one(folder: str, aligner: str, seed: int) -> str:
    from prefbench.running.run import run
    from prefbench.spec import make_spec

    _, record = run(make_spec(task="bandit_two_group", aligner=aligner, seed=seed), Path(folder))
    return record.status


@pytest.mark.benchmark(group="whole runs of bandit_two_group, two processes")
@pytest.mark.parametrize("aligner", ["single_reward", "gr_dpo", "maxmin"])
def test_runs_per_minute(benchmark, tmp_path, aligner):
    with multiprocessing.get_context("spawn").Pool(2, load, (str(tmp_path),)) as pool:
        pool.starmap(one, [(str(tmp_path), "reference", seed) for seed in range(2)])  # both have started
        first = iter(range(0, 10**6, RUNS))

        def many() -> list[str]:
            start = next(first)
            work = [(str(tmp_path), aligner, seed) for seed in range(start, start + RUNS)]
            return pool.starmap(one, work, chunksize=2)

        statuses = benchmark.pedantic(many, rounds=3)
    assert statuses == ["ok"] * RUNS
    benchmark.extra_info["runs_per_minute"] = round(60 * RUNS / benchmark.stats.stats.median)
    print(f"\n{aligner}: {benchmark.extra_info['runs_per_minute']} runs a minute")

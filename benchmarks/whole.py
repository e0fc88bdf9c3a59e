"""Whole runs and a ratio sweep: `python benchmarks/whole.py --json whole.json` (a quarter of an hour).

- the default run, `prefbench run --task imdb_two_group --aligner maxmin`, in a fresh folder and a process of
  its own: seconds of every stage, and the most memory it held. Its floor is the time that its matrix products
  would take at the rate that this machine reaches on nano's shapes just before and just after; torch counts
  them in another run. Of five runs the one counts whose multiple of its floor is the median.
- a sweep over 4 ratios, 4 aligners and 5 seeds, two workers on two cores, against the same 80 runs one after
  another, each with a folder of its own. Of those every sixteenth is run, and the sum is scaled up. Both are
  smaller than by default (`SMALL`), which leaves starting up a larger part of a run than it usually is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from prefbench import registry
from prefbench.running.run import run
from prefbench.spec import RunSpec, make_spec
from prefbench.store.progress import Silent
from prefbench.tools.rates import gemm_rate

SMALL = {
    "task": {"pairs_per_annotator": 20, "test_prompts": 200, "synthetic_size": 4000},
    "model": {"steps": 100},
}
SMALL_ALIGNER = {"maxmin": {"iterations": 8}, "single_reward": {"iterations": 8}, "dpo": {"epochs": 2}}
RATIOS = ("1:1", "2:1", "6:1", "10:1")
ALIGNERS = ("single_reward", "maxmin", "dpo", "is_dpo")
SEEDS = 5
EVERY = 16
ROUNDS = 5
"""Of the default run."""
NANO = (2048, 64, 256)
"""A product of nano's: tokens of a batch, width, inner width."""


def command(*words: str) -> tuple[float, int]:
    """Seconds and peak bytes of a prefbench command in a process of its own."""
    started = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "prefbench", *words],
        {**os.environ, "OMP_NUM_THREADS": "1"},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"prefbench {' '.join(words)} failed; its message is above.")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


class Counting(Silent):
    """Notes the FLOPs that torch counted before and after each stage; those of an inner stage are its own."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.flops: dict[str, int] = {}
        self._open: list[int] = []

    def begin(self, stage: str, stored: bool) -> None:
        self._open.append(self.counter.get_total_flops())

    def end(self, stage: str, seconds: float) -> None:
        spent = self.counter.get_total_flops() - self._open.pop()
        self.flops[stage] = self.flops.get(stage, 0) + spent
        self._open = [before + spent for before in self._open]


def default_run(folder: Path) -> dict[str, Any]:
    """The run of `ROUNDS` whose multiple of its floor is the median, with the multiples of all of them."""
    words = ["run", "--task", "imdb_two_group", "--aligner", "maxmin"]
    torch.set_num_threads(1)
    runs = []
    for number in range(ROUNDS):
        here = folder / f"cold-{number}"
        before = gemm_rate(1, shape=NANO)
        seconds, memory = command(*words, "--runs-dir", str(here), "--quiet")
        rate = (before + gemm_rate(1, shape=NANO)) / 2
        (record,) = here.glob("*/record.json")
        stages = json.loads(record.read_text())["timings"]
        runs.append({"seconds": seconds, "memory": memory, "stages": stages, "rate": rate})
    with FlopCounterMode(display=False) as counter:
        counting = Counting(counter)
        run(make_spec(task="imdb_two_group", aligner="maxmin"), folder / "counted", counting)
    flops = sum(counting.flops.values())
    for one in runs:
        one["multiple"] = one["seconds"] * one["rate"] / flops
    runs.sort(key=lambda one: one["multiple"])
    multiples = [one["multiple"] for one in runs]
    return runs[len(runs) // 2] | {"flops": counting.flops, "multiples": multiples}


def sets(aligner: str) -> dict[str, dict[str, Any]]:
    return {**SMALL, "aligner": SMALL_ALIGNER.get(aligner, {})}


def flags(spec: RunSpec) -> list[str]:
    chosen = sets(spec.aligner)
    pairs = [
        f"{section}.{name}={value}" for section, table in chosen.items() for name, value in table.items()
    ]
    words = ["run", "--task", spec.task, "--aligner", spec.aligner, "--seed", str(spec.seed), "--quiet"]
    words += ["--minority-ratio", str(spec.minority_ratio)]
    return words + [word for pair in pairs for word in ("--set", pair)]


def toml(table: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())


def sweep_file(path: Path) -> None:
    top = {
        "task": "imdb_two_group",
        "aligner": list(ALIGNERS),
        "minority_ratio": list(RATIOS),
        "seeds": SEEDS,
    }
    parts = [toml(top), *(f"[set.{section}]\n{toml(table)}" for section, table in SMALL.items())]
    parts += [f"[set.aligner.{name}]\n{toml(table)}" for name, table in SMALL_ALIGNER.items()]
    path.write_text("\n\n".join(parts) + "\n")


def ratio_sweep(folder: Path) -> dict[str, Any]:
    from prefbench.sweep.file import read_sweep

    sweep_file(folder / "sweep.toml")
    specs = read_sweep(str(folder / "sweep.toml")).expand()
    single: list[float] = []
    for number, spec in enumerate(specs[::EVERY]):
        single.append(command(*flags(spec), "--runs-dir", str(folder / f"single-{number}"))[0])
    seconds, _ = command("sweep", str(folder / "sweep.toml"), "--runs-dir", str(folder / "sweep"), "--quiet")
    return {"cells": len(specs), "sweep": seconds, "single": single}


def lines(found: Mapping[str, Any]) -> Sequence[str]:
    one, many = found["default_run"], found["ratio_sweep"]
    floors = {stage: flops / one["rate"] for stage, flops in one["flops"].items()}
    rows = [
        [stage, f"{seconds:.1f}", f"{one['flops'].get(stage, 0) / 1e9:,.0f}", f"{floors.get(stage, 0):.1f}"]
        for stage, seconds in one["stages"].items()
    ]
    outside = one["seconds"] - sum(one["stages"].values())
    floor = sum(floors.values())
    total = sum(one["flops"].values()) / 1e9
    rows.append(["outside stages", f"{outside:.1f}", "", ""])
    rows.append(["the run", f"{one['seconds']:.1f}", f"{total:,.0f}", f"{floor:.1f}"])
    separate = sum(many["single"]) / len(many["single"]) * many["cells"]
    return [
        tabulate(rows, ["stage", "s", "GFLOP", "floor, s"], tablefmt="github", disable_numparse=True),
        "",
        f"products of nano's shapes: {one['rate'] / 1e9:.0f} GFLOP/s; the run takes "
        f"{one['multiple']:.1f} times its floor, and the {len(one['multiples'])} runs "
        f"{', '.join(f'{multiple:.1f}' for multiple in one['multiples'])}; "
        f"most memory {one['memory'] / 1e9:.2f} GB",
        "",
        f"sweep of {many['cells']} cells: {many['sweep']:.0f} s; one after another "
        f"{separate:.0f} s (from {len(many['single'])} of them): {many['sweep'] / separate:.0%}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    registry.load_plugins()
    with tempfile.TemporaryDirectory() as folder:
        found = {"default_run": default_run(Path(folder)), "ratio_sweep": ratio_sweep(Path(folder))}
    print(*lines(found), sep="\n")
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

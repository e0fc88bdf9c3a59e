"""How time and memory grow: `python benchmarks/growth.py`, best while nothing else runs.

Each point is a process of its own on one thread. It does a tiny run first, so that libraries are loaded, and
then the work. Seconds are the processor's, of a run in all stages but the reference, which takes one step of
training here; memory is what the process held at most beyond what it held at most in the tiny run. All points
are measured in one order and then in the other, and of times and of memories the smaller one counts.

An exponent b says that the figure goes with the factor to the power b, as far as the sizes reach: the slope
of a line through the logarithms by least squares, with its standard error. What does not grow lowers it.

    python benchmarks/growth.py --json growth.json
    python benchmarks/growth.py --only width prompts
    python benchmarks/growth.py --point width 128      # what one process does
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from setting import Parser, at_least, peak_memory
from tabulate import tabulate

from prefbench import registry
from prefbench.errors import PrefbenchError
from prefbench.running.run import run
from prefbench.spec import make_spec
from prefbench.store.progress import Silent
from prefbench.sweep.cell import run_cell
from prefbench.sweep.file import read_sweep
from prefbench.sweep.plan import make_plan

# -------------------------------------------------------------------------------------------------- the work


class Clock(Silent):
    """Processor seconds of a run's stages but the reference; what a stage opens is in it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun: list[float] = []

    def begin(self, stage: str, stored: bool) -> None:
        self._begun.append(time.process_time())

    def end(self, stage: str, seconds: float) -> None:
        begun = self._begun.pop()
        if not self._begun and stage != "reference":
            self.seconds += time.process_time() - begun


def reviews(
    folder: Path,
    aligner: str,
    *,
    annotators: int = 40,
    each: int = 5,
    tokens: int = 24,
    width: int = 64,
    **options: Any,
) -> float:
    """Seconds of a run of `nano` on movie reviews; hardly trained, it ends few responses by itself."""
    spec = make_spec(
        task="imdb_two_group",
        aligner=aligner,
        sets={
            "task": {
                "annotators": annotators,
                "pairs_per_annotator": each,
                "response_tokens": tokens,
                "test_prompts": 50,
                "synthetic_size": 8000,
            },
            "model": {"steps": 1, "width": width, "context": 40 + tokens},
            "aligner": options,
        },
    )
    clock = Clock()
    _, record = run(spec, folder, clock)
    if record.status != "ok":
        raise PrefbenchError(f"the run ended as {record.status}: {record.message}")
    return clock.seconds


def dpo(folder: Path, **sizes: int) -> float:
    return reviews(folder, "dpo", **sizes)


def maxmin(folder: Path, **sizes: int) -> float:
    """With as many rounds of EM and of PPO whatever is found."""
    return reviews(folder, "maxmin", em_iterations=1, iterations=4, **sizes)


def sweep(folder: Path, cells: int) -> float:
    """Seconds of planning and running a bandit's seeds one after another."""
    folder.mkdir()
    file = folder / "sweep.toml"
    file.write_text(f'task = "bandit_two_group"\naligner = "maxmin"\nseeds = {cells}\n')
    started = time.process_time()
    plan = make_plan(read_sweep(str(file)).expand(), folder)
    for spec in plan.todo:
        outcome = run_cell(spec, folder, Silent(), wait=True)
        if outcome.status != "ok":
            raise PrefbenchError(f"a cell ended as {outcome.status}: {outcome.message}")
    return time.process_time() - started


@dataclass(frozen=True)
class Factor:
    """Something that grows, and the work that is done at each size of it."""

    what: str
    ladder: tuple[int, ...]
    work: Callable[[Path, int], float]
    """Folder and size to seconds."""
    tiny: Callable[[Path], float]


def tiny_dpo(folder: Path) -> float:
    return dpo(folder, annotators=10, each=2, tokens=4, width=8)


def tiny_maxmin(folder: Path) -> float:
    return maxmin(folder, annotators=10, each=2, tokens=4, width=8)


FACTORS: Mapping[str, Factor] = {
    "prompts": Factor(
        "a run with DPO, one pair a prompt, 40 annotators",
        (200, 400, 800, 1600),
        lambda folder, n: dpo(folder, each=n // 40),
        tiny_dpo,
    ),
    "response-length": Factor(
        "a run with DPO, 200 pairs, responses of so many tokens",
        (8, 16, 32, 64, 128),
        lambda folder, n: dpo(folder, tokens=n),
        tiny_dpo,
    ),
    "clusters": Factor(
        "a run with MaxMin, 200 pairs, K clusters and rewards",
        (2, 4, 8, 16),
        lambda folder, n: maxmin(folder, clusters=n),
        tiny_maxmin,
    ),
    "annotators": Factor(
        "a run with MaxMin, two clusters, 5 pairs an annotator",
        (20, 40, 80, 160),
        lambda folder, n: maxmin(folder, annotators=n),
        tiny_maxmin,
    ),
    "width": Factor(
        "a run with DPO, 200 pairs, two layers of this width",
        (32, 64, 128, 256),
        lambda folder, n: dpo(folder, width=n),
        tiny_dpo,
    ),
    "cells": Factor(
        "a sweep of bandits with MaxMin, one process",
        (8, 16, 32, 64),
        sweep,
        lambda folder: sweep(folder, 1),
    ),
}


# --------------------------------------------------------------------------------------------- what was found


class Point(NamedTuple):
    """What one process found."""

    seconds: float
    bytes: float


def measured(factor: str, value: int) -> Point:
    """Measured here and now."""
    registry.load_plugins()
    with tempfile.TemporaryDirectory() as folder:
        FACTORS[factor].tiny(Path(folder) / "tiny")
        before = peak_memory()
        seconds = FACTORS[factor].work(Path(folder) / "work", value)
        return Point(seconds, peak_memory() - before)


def elsewhere(factor: str, value: int) -> Point:
    """Measured in a process of its own."""
    words = [sys.executable, __file__, "--point", factor, str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    found = subprocess.run(words, env=environment, capture_output=True, text=True)
    if found.returncode:
        last = found.stderr.strip().splitlines()[-1:] or [f"exit code {found.returncode}"]
        raise SystemExit(f"error: {factor} {value}: {last[0].removeprefix('error: ')}")
    return Point(**json.loads(found.stdout.splitlines()[-1]))


class Exponent(NamedTuple):
    """Of a power law, and its standard error."""

    value: float
    error: float


def exponent(sizes: Sequence[float], figures: Sequence[float]) -> Exponent | None:
    """The slope of the logarithms by least squares; None where a figure is not above zero."""
    if min(figures) <= 0:
        return None
    line, covariance = np.polyfit(np.log(sizes), np.log(figures), 1, cov=True)
    return Exponent(float(line[0]), float(covariance[0, 0] ** 0.5))


def best(points: Sequence[Point]) -> Point:
    """The least of each figure: whatever else happens only adds."""
    return Point(*(min(figures) for figures in zip(*points, strict=True)))


def grown(names: Sequence[str], repeats: int, measure: Callable[[str, int], Point]) -> dict[str, list[Point]]:
    """Every point of these factors, each the best of so many, smallest first."""
    asked = [(name, size) for name in names for size in FACTORS[name].ladder]
    found: dict[tuple[str, int], list[Point]] = {place: [] for place in asked}
    for number in range(repeats):
        for place in asked if number % 2 == 0 else reversed(asked):
            found[place].append(measure(*place))
            print(*place, *found[place][-1], file=sys.stderr, flush=True)
    return {name: [best(found[name, size]) for size in FACTORS[name].ladder] for name in names}


def row(name: str, points: Sequence[Point]) -> list[str]:
    sizes, (seconds, memory) = FACTORS[name].ladder, zip(*points, strict=True)
    return [
        name,
        FACTORS[name].what,
        shown(sizes, "d"),
        shown(seconds, ".2f"),
        with_error(exponent(sizes, seconds)),
        shown([held / 1e6 for held in memory], ".0f"),
        with_error(exponent(sizes, memory)),
    ]


def shown(figures: Sequence[float], form: str) -> str:
    return ", ".join(format(figure, form) for figure in figures)


def with_error(found: Exponent | None) -> str:
    return "" if found is None else f"{found.value:.2f} ± {found.error:.2f}"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description="How time and memory grow.")
    parser.add_argument("--only", nargs="+", choices=tuple(FACTORS), metavar="FACTOR", help="these factors")
    parser.add_argument("--repeats", type=at_least(1), default=2, help="of each point; default 2")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the points to a file")
    parser.add_argument("--point", nargs=2, metavar=("FACTOR", "SIZE"), help="measure one, in this process")
    options = parser.parse_args(arguments)
    if options.point is not None:
        factor, size = options.point
        if factor not in FACTORS:
            parser.error(f"the factors are {', '.join(FACTORS)}")
        try:
            options.point = factor, at_least(1)(size)
        except argparse.ArgumentTypeError as error:
            parser.error(f"--point: {error}")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no such folder")
    return options


def main(arguments: Sequence[str] | None = None, measure: Callable[[str, int], Point] = elsewhere) -> int:
    options = parsed(arguments)
    if options.point is not None:
        try:
            print(json.dumps(measured(*options.point)._asdict()))
        except PrefbenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0
    found = grown(options.only or list(FACTORS), options.repeats, measure)
    header = ["factor", "work", "sizes", "seconds", "exponent", "memory MB", "exponent"]
    rows = [row(name, points) for name, points in found.items()]
    print(tabulate(rows, header, tablefmt="github", disable_numparse=True))
    if options.json is not None:
        sizes = {name: FACTORS[name].ladder for name in found}
        points = {name: [point._asdict() for point in points] for name, points in found.items()}
        options.json.write_text(json.dumps({"sizes": sizes, "points": points}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

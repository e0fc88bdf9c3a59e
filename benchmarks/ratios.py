"""Fast paths beside the plain way of doing the same: `python benchmarks/ratios.py`, a step of `.ci/run`.

Both sides of an entry run in this process, on one thread and a model of nano's size with random weights. They
have to agree before either is timed, and then take turns; what counts is the median over rounds of how
many times longer the plain side took. Seconds are those of a machine in an hour, ratios far less so.

`advantages.json` holds the ratio of each entry as `--record` found it. An entry has to keep half of that
advantage: to be 1 + (recorded - 1) / 2 times as fast as the plain side. One that falls short is measured
again with twice the rounds, and if it falls short once more the exit code is 1.

    python benchmarks/ratios.py                               # check
    python benchmarks/ratios.py --only scoring-packed dpo-packed
    python benchmarks/ratios.py --record                      # on an idle machine: what the check goes by
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from races import RACES, Apart, Side
from setting import Parser, at_least, interleaved, ratio
from tabulate import tabulate

from prefbench.errors import UserError

RECORDED = Path(__file__).with_name("advantages.json")
ROUNDS = 5
LEAST = 0.2
"""Seconds that a side runs in a round."""


def clock(side: Side) -> Callable[[], float]:
    """Tells what a call takes of the processor; what else the machine does is not in it."""

    def seconds(calls: int) -> float:
        gc.collect()
        started = time.process_time()
        for _ in range(calls):
            side()
        return (time.process_time() - started) / calls

    return partial(seconds, max(1, round(LEAST / seconds(1))))


@dataclass(frozen=True)
class Times:
    """Seconds of both sides in each round."""

    fast: list[float]
    plain: list[float]

    @property
    def ratio(self) -> float:
        return ratio(self.plain, self.fast)


HEADER = ["fast path", "fast s", "plain s", "ratio"]

Measure = Callable[[str, int], Times]


def measured(name: str, rounds: int) -> Times:
    """Both sides of an entry, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            race = RACES[name](Path(folder))
        except Apart as error:
            raise Apart(f"{name}: {error}") from None
        return Times(*interleaved([clock(race.fast), clock(race.plain)], rounds))


def needed(recorded: float) -> float:
    """The ratio that keeps half of a recorded advantage."""
    return 1 + (recorded - 1) / 2


def checked(name: str, recorded: float, rounds: int, measure: Measure) -> tuple[Times, bool]:
    """An entry's times and whether it is fast enough; one that is not is measured once more, for longer."""
    times = measure(name, rounds)
    if times.ratio < needed(recorded):
        times = measure(name, 2 * rounds)
    return times, times.ratio >= needed(recorded)


def read_recorded(path: Path, names: Iterable[str]) -> dict[str, float]:
    """The recorded ratios of these entries.

    Raises:
        UserError: the file is missing or no table of ratios above 1, or has none for one of the entries.
    """
    mend = "run python benchmarks/ratios.py --record on an idle machine."
    try:
        found = json.loads(path.read_text())
    except OSError:
        raise UserError(f"'{path}' cannot be read: {mend}") from None
    except ValueError:
        raise UserError(f"'{path}' is not JSON: {mend}") from None
    for name in names:
        value = found.get(name) if isinstance(found, dict) else None
        if not isinstance(value, int | float) or not 1 < value < np.inf:
            raise UserError(f"'{path}' has no ratio above 1 for '{name}': {mend}")
    return {name: float(found[name]) for name in names}


def check(names: Sequence[str], rounds: int, path: Path, measure: Measure) -> int:
    recorded = read_recorded(path, names)
    rows = []
    for name in names:
        times, enough = checked(name, recorded[name], rounds, measure)
        rows.append(
            [name, *figures(times), recorded[name], needed(recorded[name]), "ok" if enough else "slow"]
        )
    print(table(rows, [*HEADER, "recorded", "needed", "status"]))
    slow = [row[0] for row in rows if row[-1] == "slow"]
    if slow:
        print(f"slower than half the recorded advantage: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


def record(names: Sequence[str], rounds: int, path: Path, measure: Measure) -> int:
    """Write the ratios of these entries and keep the others that the file has."""
    found = {name: measure(name, rounds) for name in names}
    print(table([[name, *figures(times)] for name, times in found.items()], HEADER))
    slow = [name for name, times in found.items() if times.ratio <= 1]
    if slow:
        print(f"no faster than the plain path, so nothing was written: {', '.join(slow)}", file=sys.stderr)
        return 1
    before = read_recorded(path, set(RACES) - set(names)) if len(names) < len(RACES) else {}
    ratios = before | {name: round(times.ratio, 2) for name, times in found.items()}
    path.write_text(json.dumps({name: ratios[name] for name in RACES}, indent=1) + "\n")
    return 0


def figures(times: Times) -> list[float]:
    return [median(times.fast), median(times.plain), times.ratio]


def table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    return tabulate(rows, header, tablefmt="github", floatfmt=("", ".4f", ".4f", ".2f", ".2f", ".2f"))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description="Fast paths beside the plain way of doing the same.")
    parser.add_argument("--record", action="store_true", help="write what is found to advantages.json")
    parser.add_argument("--only", nargs="+", choices=tuple(RACES), metavar="NAME", help="these fast paths")
    parser.add_argument("--rounds", type=at_least(1), default=ROUNDS, help=f"default {ROUNDS}")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, measure: Measure = measured, path: Path = RECORDED) -> int:
    """Exit code 1 where a fast path is too slow or does something else, 2 for bad input."""
    options = parsed(arguments)
    torch.set_num_threads(1)
    names = options.only or list(RACES)
    try:
        return (record if options.record else check)(names, options.rounds, path, measure)
    except (UserError, Apart) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1


if __name__ == "__main__":
    sys.exit(main())

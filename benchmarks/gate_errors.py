"""How often the gate errs, by simulation: `python benchmarks/gate_errors.py [--write]`.

Every simulation draws a baseline and a new run of the same prompts and judges them as the gate does, at a
margin of 3 points and a level of 5%. A prompt is as hard for both (correlation 0.6 of what decides it, which
is what pairing gains from), and each seed of each side has a rate of its own, spread by `seed sd`. An
unpaired test gets each side's mean and standard error over seeds.

The first table is of the default, a t test over seeds, and of `--prompts-only`, for policies that do not
vary. The second is of a method that is trained anew and is as good as before: how often the gate says that it
fell, with so many seeds on each side, and with one by its prompts alone.

`--write` puts both into docs/gate.md, between their markers.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from statistics import NormalDist

import numpy as np

from prefbench.stats import comparisons
from prefbench.stats.runs import difference_of, mean_over_prompts, mean_over_runs

PAGE = Path(__file__).parents[1] / "docs" / "gate.md"
MARGIN, LEVEL, RATE, DROP = 0.03, 0.05, 0.7, 0.10
SIMULATIONS = 1000
CELLS = [
    (seeds, seed_sd, n)
    for seeds, seed_sd in ((1, 0.0), (5, 0.0), (5, 0.02), (5, 0.05))
    for n in (200, 400, 800, 1600)
]
"""Seeds, standard deviation of the rate between them, prompts per seed. One seed is judged by its prompts."""
RETRAINED = [(seed_sd, seeds) for seed_sd in (0.1, 0.3) for seeds in (3, 5, 10)]
RETRAINED_PROMPTS = 400


def verdicts(
    rng: np.random.Generator,
    paired: bool,
    seeds: int,
    seed_sd: float,
    n: int,
    drop: float,
    simulations: int,
    prompts_only: bool = False,
) -> dict[str, float]:
    """How often each verdict was given."""
    found = {"fell": 0, "held": 0, "cannot tell": 0}
    quantile = np.vectorize(NormalDist().inv_cdf)
    mean = mean_over_prompts if prompts_only else mean_over_runs
    for _ in range(simulations):
        shared = rng.standard_normal((seeds, n))
        sides = []
        for rate in (RATE, RATE - drop):
            rates = np.clip(rate + seed_sd * rng.standard_normal(seeds), 0.01, 0.99)
            ease = np.sqrt(0.6) * shared + np.sqrt(0.4) * rng.standard_normal((seeds, n))
            sides.append(list((ease < quantile(rates)[:, None]).astype(np.float64)))
        old, new = sides
        if paired:
            difference = mean([a - b for a, b in zip(old, new, strict=True)])
        else:
            difference = difference_of(mean(old), mean(new))
        test = comparisons.judge_drop(difference, MARGIN, seeds * n, LEVEL)
        found[test.verdict] += 1
    return {name: count / simulations for name, count in found.items()}


def row(paired: bool, seeds: int, seed_sd: float, n: int, simulations: int) -> tuple[float, float, float]:
    """False alarms at the margin, power at a drop of 10 points, and how often no change is called held."""
    rng = np.random.default_rng([seeds, int(1000 * seed_sd), n, paired])

    def share(drop: float, verdict: str) -> float:
        return verdicts(rng, paired, seeds, seed_sd, n, drop, simulations, seeds == 1)[verdict]

    return share(MARGIN, "fell"), share(DROP, "fell"), share(0.0, "held")


def closed_for_nothing(
    paired: bool, seeds: int, seed_sd: float, simulations: int, prompts_only: bool = False
) -> float:
    """How often the gate says that the same method trained anew fell, where seeds differ by `seed_sd`."""
    rng = np.random.default_rng([99, seeds, int(1000 * seed_sd), paired, prompts_only])
    cell = (paired, seeds, seed_sd, RETRAINED_PROMPTS, 0.0, simulations, prompts_only)
    return verdicts(rng, *cell)["fell"]


def tables(simulations: int = SIMULATIONS) -> dict[str, str]:
    """Both tables by the name in their markers."""
    errors = ["| compared | seeds | seed sd | prompts per seed | false alarm | power | held |"]
    errors.append("|---|---:|---:|---:|---:|---:|---:|")
    for paired in (True, False):
        for seeds, seed_sd, n in CELLS:
            alarm, power, held = row(paired, seeds, seed_sd, n, simulations)
            name = "prompt by prompt" if paired else "unpaired"
            name += ", prompts only" if seeds == 1 else ""
            errors.append(
                f"| {name} | {seeds} | {seed_sd:g} | {n:,} | {alarm:.3f} | {power:.2f} | {held:.2f} |"
            )
    retrained = ["| seed sd | seeds on each side | prompt by prompt | unpaired |", "|---:|---|---:|---:|"]
    for seed_sd in dict.fromkeys(cell[0] for cell in RETRAINED):
        retrained.append(f"| {seed_sd:g} | 1 | decides nothing | decides nothing |")
        cells = [(1, True), *((seeds, False) for sd, seeds in RETRAINED if sd == seed_sd)]
        for seeds, prompts_only in cells:
            cell = (seeds, seed_sd, simulations, prompts_only)
            share = [closed_for_nothing(paired, *cell) for paired in (True, False)]
            name = f"{seeds}, `--prompts-only`" if prompts_only else f"{seeds}"
            retrained.append(f"| {seed_sd:g} | {name} | {share[0]:.3f} | {share[1]:.3f} |")
    return {"gate errors": "\n".join(errors), "retrained": "\n".join(retrained)}


def main() -> None:
    parser = argparse.ArgumentParser(description="How often the gate errs, by simulation.")
    parser.add_argument("--write", action="store_true", help="into docs/gate.md")
    write = parser.parse_args().write
    found = tables()
    if not write:
        print("\n\n".join(found.values()))
        return
    page = PAGE.read_text(encoding="utf-8")
    for name, text in found.items():
        marked = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        page, times = marked.subn(lambda _, text=text: text + "\n", page)
        if times != 1:
            raise SystemExit(f"{PAGE} has no place for the table '{name}'")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

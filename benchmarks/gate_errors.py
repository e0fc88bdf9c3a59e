"""How often the gate errs, by simulation: `python benchmarks/gate_errors.py [--simulations 2000]`.

Every simulation draws a baseline and a new run of the same prompts and judges them as the gate does, at a
margin of 3 points and a level of 5%. A prompt is as hard for both (correlation 0.6 of what decides it, which
is what pairing gains from), and each seed of each side has a rate of its own, spread by `seed sd`. An
unpaired test gets each side's rate and the two-level standard error, in the closed form that the bootstrap
of the CSV converges to. With one seed the question is about these very policies, so they do not vary.

A second table is of a method that is trained anew and is as good as before: how often the gate closes then,
with one seed, whose luck it takes for the method's, and with several.

Columns: `false alarm` is how often the gate closes when the true drop is the margin (the worst case that
should not close it), `power` when it is 10 points, `held` how often it says so when nothing changed.
"""

from __future__ import annotations

import argparse
from statistics import NormalDist

import numpy as np

from prefbench.stats import comparisons

MARGIN, LEVEL, RATE, DROP = 0.03, 0.05, 0.7, 0.10
CELLS = [
    (seeds, seed_sd, n)
    for seeds, seed_sd in ((1, 0.0), (5, 0.0), (5, 0.02), (5, 0.05))
    for n in (200, 400, 800, 1600)
]
"""Seeds, standard deviation of the rate between them, prompts per seed."""
RETRAINED = [(seeds, seed_sd) for seed_sd in (0.05, 0.1, 0.2) for seeds in (1, 3, 5, 10)]
RETRAINED_PROMPTS = 400


def verdicts(
    rng: np.random.Generator, paired: bool, seeds: int, seed_sd: float, n: int, drop: float, simulations: int
) -> dict[str, float]:
    """How often each verdict was given."""
    found = {"fell": 0, "held": 0, "cannot tell": 0}
    quantile = np.vectorize(NormalDist().inv_cdf)
    for _ in range(simulations):
        shared = rng.standard_normal((seeds, n))
        sides = []
        for mean in (RATE, RATE - drop):
            rates = np.clip(mean + seed_sd * rng.standard_normal(seeds), 0.01, 0.99)
            ease = np.sqrt(0.6) * shared + np.sqrt(0.4) * rng.standard_normal((seeds, n))
            sides.append((ease < quantile(rates)[:, None]).astype(np.float64))
        old, new = sides
        if paired:
            difference = comparisons.mean_difference(list(old - new), unbiased=True)
            test = comparisons.judge_drop(difference, MARGIN, seeds * n, LEVEL)
        else:
            se = [comparisons.mean_difference(list(side)).se if seeds > 1 else None for side in sides]
            test = comparisons.two_sample_drop_test(
                float(old.mean()),
                old.size,
                float(new.mean()),
                new.size,
                MARGIN,
                se_base=se[0],
                se_new=se[1],
                seeds_base=seeds,
                seeds_new=seeds,
                level=LEVEL,
            )
        found[test.verdict] += 1
    return {name: count / simulations for name, count in found.items()}


def row(paired: bool, seeds: int, seed_sd: float, n: int, simulations: int) -> tuple[float, float, float]:
    """False alarms at the margin, power at a drop of 10 points, and how often no change is called held."""
    rng = np.random.default_rng([seeds, int(1000 * seed_sd), n, paired])
    cell = (rng, paired, seeds, seed_sd, n)
    return (
        verdicts(*cell, MARGIN, simulations)["fell"],
        verdicts(*cell, DROP, simulations)["fell"],
        verdicts(*cell, 0.0, simulations)["held"],
    )


def closed_for_nothing(paired: bool, seeds: int, seed_sd: float, simulations: int) -> float:
    """How often the gate closes on the same method trained anew, where seeds differ by `seed_sd`."""
    rng = np.random.default_rng([99, seeds, int(1000 * seed_sd), paired])
    return verdicts(rng, paired, seeds, seed_sd, RETRAINED_PROMPTS, 0.0, simulations)["fell"]


def main() -> None:
    parser = argparse.ArgumentParser(description="How often the gate errs, by simulation.")
    parser.add_argument("--simulations", type=int, default=2000)
    simulations = parser.parse_args().simulations
    print("| compared | seeds | seed sd | prompts per seed | false alarm | power | held |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for paired in (True, False):
        for seeds, seed_sd, n in CELLS:
            alarm, power, held = row(paired, seeds, seed_sd, n, simulations)
            name = "prompt by prompt" if paired else "unpaired"
            print(f"| {name} | {seeds} | {seed_sd:g} | {n:,} | {alarm:.3f} | {power:.2f} | {held:.2f} |")
    print("\n| seed sd | seeds | closed for nothing, prompt by prompt | unpaired |")
    print("|---:|---:|---:|---:|")
    for seeds, seed_sd in RETRAINED:
        closed = [closed_for_nothing(paired, seeds, seed_sd, simulations) for paired in (True, False)]
        print(f"| {seed_sd:g} | {seeds} | {closed[0]:.3f} | {closed[1]:.3f} |")


if __name__ == "__main__":
    main()

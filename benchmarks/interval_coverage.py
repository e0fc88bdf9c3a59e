"""Coverage of every interval and size of every test over seeds, by simulation.

`python benchmarks/interval_coverage.py` prints the tables of docs/statistics.md, `--write` puts them there,
between their markers, and the figures of the footnotes into prefbench/stats/covered.py. The same seeds give
the same tables; a slow test compares them with what is written.

A simulated run has two groups and `PROMPTS` prompts. Its true rates are drawn anew for each run, as the
worlds below say, and its prompts are won with those rates. The figure is the one of the leaderboard: the
mean over runs of each run's own worst group, and what it is an estimate of is the expected worst group of a
run at this number of prompts. Every interval and p value comes from the functions that the leaderboard calls.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from prefbench.stats.intervals import percentile_interval, resample_means
from prefbench.stats.power import detectable_over_runs
from prefbench.stats.rank_sets import rank_sets
from prefbench.stats.runs import (
    Mean,
    interval_of,
    mean_of_figures,
    mean_over_prompts,
    mean_over_runs,
    two_sided_p,
)
from prefbench.stats.worst import cross_fitted_worst, own_worst

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "statistics.md"
CONSTANTS = ROOT / "prefbench" / "stats" / "covered.py"
PROMPTS = 400
SIMULATIONS = 3000
SPREADS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
SEEDS = (3, 5, 10)
FEW = (2, 3, 4, 5, 7, 10)
Rates = Callable[[np.random.Generator, float, int], np.ndarray]


def apart(rng: np.random.Generator, spread: float, runs: int) -> np.ndarray:
    """The two groups' rates lie 30 points apart."""
    return np.array([0.5, 0.8]) + spread * rng.standard_normal((runs, 2))


def tied(rng: np.random.Generator, spread: float, runs: int) -> np.ndarray:
    """Both groups are equally well off, so that luck says which is worst."""
    return 0.6 + spread * rng.standard_normal((runs, 2))


def bimodal(rng: np.random.Generator, spread: float, runs: int) -> np.ndarray:
    """One group is well off in half of the runs and badly in the other half, `spread` overall."""
    side = np.where(rng.random(runs) < 0.5, -0.95, 0.95)
    own = 0.5 + spread * (side + 0.312 * rng.standard_normal(runs))
    return np.stack([own, np.full(runs, 0.85)], axis=1)


def rare(rng: np.random.Generator, spread: float, runs: int) -> np.ndarray:
    """One run in five fails, `spread` overall."""
    fails = rng.random(runs) < 0.2
    own = 0.6 + spread * np.where(fails, -2.0, 0.5)
    return np.stack([own, np.full(runs, 0.85)], axis=1)


WORLDS: Mapping[str, Rates] = {"apart": apart, "tied": tied, "bimodal": bimodal, "one in five fails": rare}
CLAIMED = ("apart", "tied", "bimodal")
"""Worlds in which ten seeds cover 93 to 97%."""


def drawn(rng: np.random.Generator, world: str, spread: float, runs: int) -> np.ndarray:
    """True rates `[runs, groups]`."""
    return np.clip(WORLDS[world](rng, spread, runs), 0.01, 0.99)


def played(rng: np.random.Generator, rates: np.ndarray, prompts: int = PROMPTS) -> np.ndarray:
    """Outcomes `[runs, prompts, groups]`."""
    draws = rng.random((len(rates), prompts, rates.shape[1]), dtype=np.float32)
    return (draws < rates[:, None, :]).astype(np.float64)


@cache
def expected_worst(world: str, spread: float, prompts: int = PROMPTS) -> float:
    """The worst group of a run with so many prompts, on average, to the third digit and more."""
    rng = np.random.default_rng([1, list(WORLDS).index(world), int(1000 * spread)])
    rates = drawn(rng, world, spread, 1_000_000)
    return float((rng.binomial(prompts, rates) / prompts).min(axis=1).mean())


def figure(scores: np.ndarray) -> Mean:
    """The leaderboard's figure of a row: scores `[runs, prompts, groups]`."""
    return mean_over_runs([own_worst(run) for run in scores])


def covers(world: str, spread: float, seeds: int, simulations: int = SIMULATIONS) -> float:
    """How often the interval from so many seeds holds the expected worst group of a run."""
    truth = expected_worst(world, spread)
    rng = np.random.default_rng([2, list(WORLDS).index(world), int(1000 * spread), seeds])
    held = 0
    for _ in range(simulations):
        low, high = interval_of(figure(played(rng, drawn(rng, world, spread, seeds))))
        held += low <= truth <= high
    return held / simulations


def covers_policy(world: str, prompts: int, simulations: int = SIMULATIONS) -> float:
    """How often one seed's interval, over its prompts, holds what that policy's worst group is on average."""
    rng = np.random.default_rng([3, list(WORLDS).index(world), prompts])
    truth = expected_worst(world, 0.0, prompts)
    rates = drawn(rng, world, 0.0, 1)
    held = 0
    for _ in range(simulations):
        low, high = interval_of(figure(played(rng, rates, prompts)))
        held += low <= truth <= high
    return held / simulations


def biases(world: str, spread: float, prompts: int, simulations: int = 1000) -> tuple[float, float, float]:
    """Bias of the worst group as it is found and cross-fitted, and how often the latter's interval holds.

    Against the mean of runs' true worst groups, of ten runs.
    """
    rng = np.random.default_rng([4, list(WORLDS).index(world), int(1000 * spread), prompts])
    truth = float(drawn(rng, world, spread, 1_000_000).min(axis=1).mean())
    plain, fitted, held = [], [], 0
    for _ in range(simulations):
        scores = played(rng, drawn(rng, world, spread, 10), prompts)
        plain.append(figure(scores).estimate)
        mean = mean_over_runs([cross_fitted_worst(run, rng) for run in scores])
        fitted.append(mean.estimate)
        low, high = interval_of(mean)
        held += low <= truth <= high
    return float(np.mean(plain)) - truth, float(np.mean(fitted)) - truth, held / simulations


def wrongly_told(world: str, spread: float, seeds: int, simulations: int = SIMULATIONS) -> float:
    """How often two rows of one kind are told apart at 5%, prompt by prompt and seed by seed."""
    rng = np.random.default_rng([5, list(WORLDS).index(world), int(1000 * spread), seeds])
    found = 0
    for _ in range(simulations):
        a, b = (played(rng, drawn(rng, world, spread, seeds)) for _ in range(2))
        differences = [own_worst(x) - own_worst(y) for x, y in zip(a, b, strict=True)]
        found += two_sided_p(mean_over_runs(differences)) < 0.05
    return found / simulations


def ways(spread: float, seeds: int, simulations: int = 600) -> tuple[float, ...]:
    """Coverage of the interval that is used and of three that are not, on the same runs of groups apart.

    A standard error of two parts, between seeds and within them: added up; and with the part between as what
    is left of the spread of runs' means after their prompts' noise. And the percentile interval of a
    bootstrap over seeds and then prompts.
    """
    rng = np.random.default_rng([8, int(1000 * spread), seeds])
    truth = expected_worst("apart", spread)
    held = np.zeros(4)
    for _ in range(simulations):
        runs = [own_worst(run) for run in played(rng, drawn(rng, "apart", spread, seeds))]
        mean, alone = mean_over_runs(runs), mean_over_prompts(runs)
        between, within = mean.se**2, alone.se**2
        left = max(0.0, between - within)
        parts = [mean, _of_parts(mean, between, alone), _of_parts(mean, left, alone)]
        means = resample_means(runs, rng, 2000)
        found = [*map(interval_of, parts), percentile_interval(means[:, 0], mean.estimate, seeds * PROMPTS)]
        held += [low <= truth <= high for low, high in found]
    return tuple((held / simulations).tolist())


def _of_parts(mean: Mean, between: float, alone: Mean) -> Mean:
    within = alone.se**2
    df = (between + within) ** 2 / (between**2 / mean.df + within**2 / alone.df)
    return Mean(mean.estimate, float(np.sqrt(between + within)), df)


LEARNERS = 8


def _less(means: np.ndarray, i: int, j: int) -> Mean:
    return mean_of_figures(means[i] - means[j])


def wrong_ranks(levels: int, spread: float, seeds: int, simulations: int = 1000) -> float:
    """How often any set of ranks misses a rank that its learner may truly have.

    Eight learners; `levels` true rates, a tenth apart, are shared by equally many. Seeds of every second one
    differ by `spread`, of the others by a fifth of it.
    """
    rng = np.random.default_rng([6, levels, int(1000 * spread), seeds])
    level = np.arange(LEARNERS) * levels // LEARNERS
    true = 0.7 - 0.1 * level
    own = spread * np.where(np.arange(LEARNERS) % 2, 0.2, 1.0)
    low = np.array([1 + int((true > rate).sum()) for rate in true])
    high = np.array([int((true >= rate).sum()) for rate in true])
    wrong = 0
    for _ in range(simulations):
        rates = np.clip(true[:, None] + own[:, None] * rng.standard_normal((LEARNERS, seeds)), 0.01, 0.99)
        means = rng.binomial(PROMPTS, rates) / PROMPTS
        sets = rank_sets(means.mean(axis=1), partial(_less, means))
        wrong += any(one.low > low[i] or one.high < high[i] for i, one in enumerate(sets))
    return wrong / simulations


def found_with(seeds: int, spread: float, simulations: int = SIMULATIONS) -> tuple[float, float]:
    """The smallest difference that is said to be found, and how often one of that size is."""
    effect = detectable_over_runs(spread, seeds)
    rng = np.random.default_rng([7, seeds, int(1000 * spread)])
    found = 0
    for _ in range(simulations):
        a, b = (mean + spread * rng.standard_normal((seeds, 1)) for mean in (effect, 0.0))
        found += two_sided_p(mean_of_figures((a - b)[:, 0])) < 0.05
    return effect, found / simulations


# --------------------------------------------------------------------------------------------------- tables


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of the page: a first column of text, the others of numbers."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(header) - 1), *lines[1:]])


def coverage_rows(simulations: int = SIMULATIONS) -> dict[tuple[str, float], dict[int, float]]:
    """Coverage of each cell by its number of seeds."""
    return {
        (world, spread): {seeds: covers(world, spread, seeds, simulations) for seeds in FEW}
        for world in WORLDS
        for spread in SPREADS
    }


def tables(found: Mapping[tuple[str, float], Mapping[int, float]]) -> dict[str, str]:
    """Every table of the page, by the name in its markers."""
    share = "{:.3f}".format
    return {
        "coverage": table(
            ["groups and runs", "seed sd", *(f"{seeds} seeds" for seeds in SEEDS)],
            [
                [world, f"{spread:g}", *(share(cells[seeds]) for seeds in SEEDS)]
                for (world, spread), cells in found.items()
            ],
        ),
        "other ways": table(
            ["seed sd", "seeds", "t over runs", "parts added", "parts subtracted", "bootstrap"],
            [
                [f"{spread:g}", str(seeds), *map(share, ways(spread, seeds))]
                for spread in (0.0, 0.05, 0.1)
                for seeds in SEEDS
            ],
        ),
        "one seed": table(
            ["groups", "100 prompts", "400 prompts", "1,600 prompts"],
            [
                [world, *(share(covers_policy(world, n)) for n in (100, 400, 1600))]
                for world in ("apart", "tied")
            ],
        ),
        "cross-fitted": table(
            ["groups", "seed sd", "prompts", "bias of the worst group", "cross-fitted", "its coverage"],
            [
                [world, f"{spread:g}", f"{n:,}", f"{plain:+.3f}", f"{fitted:+.3f}", share(held)]
                for world in ("apart", "tied")
                for spread in (0.0, 0.1)
                for n in (100, 400)
                for plain, fitted, held in [biases(world, spread, n)]
            ],
        ),
        "tests": table(
            ["two alike", "seed sd", *(f"{seeds} seeds" for seeds in SEEDS)],
            [
                [world, f"{spread:g}", *(share(wrongly_told(world, spread, seeds)) for seeds in SEEDS)]
                for world in WORLDS
                for spread in (0.0, 0.1, 0.3)
            ],
        ),
        "ranks": table(
            ["eight learners of", "seed sd", *(f"{seeds} seeds" for seeds in SEEDS)],
            [
                [
                    f"{levels} true rate{'s' if levels > 1 else ''}",
                    f"{spread:g}",
                    *(share(wrong_ranks(levels, spread, seeds)) for seeds in SEEDS),
                ]
                for levels in (1, 2, 4)
                for spread in (0.0, 0.1, 0.3)
            ],
        ),
        "mde": table(
            ["seeds", "seed sd", "mde", "found"],
            [
                [str(seeds), f"{spread:g}", f"{effect:.3f}", share(found_)]
                for seeds in SEEDS
                for spread in (0.02, 0.1)
                for effect, found_ in [found_with(seeds, spread)]
            ],
        ),
    }


def constants_of(page: str) -> dict[int, tuple[float, float, float]]:
    """The figures of the footnotes, as far as the page has their cells."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.partition("<!-- coverage -->\n")[2]
        .partition("<!-- /coverage -->")[0]
        .splitlines()[2:]
    ]
    result = {}
    for column, seeds in enumerate(SEEDS, start=2):
        claimed = [float(row[column]) for row in rows if row[0] in CLAIMED]
        failing = [float(row[column]) for row in rows if row[0] not in CLAIMED]
        result[seeds] = (min(claimed), max(claimed), min(failing))
    return result


def constants(found: Mapping[tuple[str, float], Mapping[int, float]]) -> str:
    """The module of the footnotes."""
    lines = []
    for seeds in FEW:
        claimed = [cells[seeds] for (world, _), cells in found.items() if world in CLAIMED]
        failing = [cells[seeds] for (world, _), cells in found.items() if world not in CLAIMED]
        lines.append(f"    {seeds}: ({min(claimed):.3f}, {max(claimed):.3f}, {min(failing):.3f}),")
    head, _, rest = CONSTANTS.read_text(encoding="utf-8").partition("= {\n")
    return head + "= {\n" + "\n".join(lines) + rest[rest.index("\n}") :]


def written(page: str, found: Mapping[str, str]) -> str:
    """The page with these tables between their markers."""
    for name, text in found.items():
        marked = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        page, times = marked.subn(lambda _, text=text: text + "\n", page)
        if times != 1:
            raise ValueError(f"{PAGE} has no place for the table '{name}'")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage and size, by simulation.")
    parser.add_argument("--write", action="store_true", help="into docs/statistics.md and the footnotes")
    write = parser.parse_args().write
    found = coverage_rows()
    made = tables(found)
    if not write:
        print("\n\n".join(f"{name}\n\n{text}" for name, text in made.items()))
        return
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    CONSTANTS.write_text(constants(found), encoding="utf-8")


if __name__ == "__main__":
    main()

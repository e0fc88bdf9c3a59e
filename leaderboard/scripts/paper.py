"""Print what the published win rates can say: `python leaderboard/scripts/paper.py`.

The table of MaxMin-RLHF for the personas P3A and P3B (friendly, unfriendly), recovered second-hand, evaluated
by GPT-4 on some of 50 prompts. It states neither counts nor intervals, so both are worked out here.
"""

from __future__ import annotations

import math

from tabulate import tabulate

from prefbench.stats.intervals import wilson
from prefbench.stats.power import minimum_detectable_effect, prompts_needed

PROMPTS = 50
"""In the published evaluation; pairs with an empty answer were left out of it."""
PUBLISHED = {
    "MaxMin": (57.78, 55.56),
    "single reward 1:1": (55.85, 52.62),
    "single reward 2:1": (55.56, 48.89),
    "single reward 6:1": (58.06, 46.67),
    "single reward 10:1": (56.00, 45.00),
}
"""Win rates in percent of the majority (P3A) and the minority (P3B)."""


def fractions(percent: float, largest: int = PROMPTS) -> list[tuple[float, int]]:
    """Counts of wins, ties as one half, and of comparisons that print as this percentage."""
    found = []
    for n in range(largest, 0, -1):
        wins = round(2 * percent / 100 * n) / 2
        if math.isclose(round(100 * wins / n, 2), percent, abs_tol=0.001):
            found.append((wins, n))
    return found


def cell(percent: float) -> list[str]:
    """The percentage, the largest count that gives it, and Wilson's interval for that many comparisons."""
    found = fractions(percent)
    wins, n = found[0] if found else (percent / 100 * PROMPTS, PROMPTS)
    low, high = wilson(math.floor(wins), 2 * (wins % 1), n)
    counted = f"{wins:g}/{n}" if found else f"none up to {PROMPTS}"
    return [f"{percent:.2f}", counted, f"[{100 * low:.1f}, {100 * high:.1f}]"]


def main() -> None:
    """Print both tables."""
    header = ["method", "P3A", "counts", "95% interval", "P3B", "counts", "95% interval"]
    rows = [[name, *cell(major), *cell(minor)] for name, (major, minor) in PUBLISHED.items()]
    print(tabulate(rows, headers=header, tablefmt="github", disable_numparse=True))
    best = PUBLISHED["MaxMin"][1]
    rows = []
    for name, (_, minor) in PUBLISHED.items():
        if name != "MaxMin":
            gain = (best - minor) / 100
            rows.append([f"MaxMin against {name}, P3B", f"{100 * gain:.1f}", str(prompts_needed(gain))])
    rows += [
        [f"any two, {points} points apart", f"{points}.0", str(prompts_needed(points / 100))]
        for points in (10, 5, 3)
    ]
    print()
    print(
        tabulate(
            rows,
            headers=["difference", "points", "prompts per method"],
            tablefmt="github",
            disable_numparse=True,
        )
    )
    print(
        f"\nWith {PROMPTS} prompts per method: {100 * minimum_detectable_effect(PROMPTS):.0f} points, "
        "at a power of 80% and a two-sided level of 5%."
    )


if __name__ == "__main__":
    main()

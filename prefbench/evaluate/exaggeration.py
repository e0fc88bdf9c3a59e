"""The gain of people who report what they do not want, and the loss where labels are nobody's meaning.

Everything is exact: V_g is a group's value of a policy, E u_g - beta KL in standard deviations of its true
utility, whatever was reported. A group's best response to an aligner is the report with the largest true
value for it, all other labels being what they are. Two figures are told:

    gain        of a report that is chosen on the other seeds, so that it owes nothing to this seed's luck
    at best     of the best report of each seed, chosen with this seed's labels in view

Of the second, labels' noise is a part: it is positive even where reports could do nothing but draw other
labels. The truth is among the reports, so `at best` is never negative; `gain` may be.

The reference rows are of welfare on true utilities without payments, and with those of Sun et al. 2024
(`learn/payments.py`), under which no report pays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.evaluate.regret import normalised_game
from prefbench.learn.game import Game
from prefbench.learn.payments import charged, told
from prefbench.problem.problem import Problem, apportion
from prefbench.stats.runs import interval_of, mean_of_figures

if TYPE_CHECKING:
    import pandas as pd

TRUTH = "truth"
UNPAID, PAID = "VCG without payments", "VCG"
"""Reference rows: welfare on what groups report of their true utilities, and with payments."""
VALUE = "value/"
"""Before a group's name: the column of its value."""


def reference_values(problem: Problem, reports: Sequence[float | str], some: float) -> list[dict[str, Any]]:
    """The values of the groups under every report of each, without payments and with them.

    Args:
        problem: one with a world.
        reports: factors of a group's own utility, or names of groups whose utility it reports.
        some: share of annotators of those few who report; the whole group does in the other rows.

    Returns:
        Rows as `prefbench.sweep.exaggeration` makes them of runs. Under payments the value is E u less what
        is paid, as the KL charge is nobody's there.
    """
    world = problem.world
    assert world is not None
    count = np.bincount(world.rows(problem.prompts.test), minlength=len(world.responses))
    asked = count > 0
    game = normalised_game(
        world.utilities[asked], world.reference[asked], count[asked] / count.sum(), world.beta
    )
    names = [group.name for group in problem.groups]
    members = np.array(apportion([group.share for group in problem.groups], problem.annotators))
    rows = []
    for group, liars, report in _cases(names, members, reports, reporters_of(problem, some)):
        parted, shares = _with_liars(game, members, group, liars)
        whose = group if isinstance(report, float) else names.index(report)
        said = told(parted, len(names), report if isinstance(report, float) else 1.0, whose)
        found = charged(said, shares)
        plain = game.values(found.logprob)
        fee = found.payments / np.maximum(shares, 1e-300)
        fee[group] = fee[-1]  # of whoever reports
        paid = game.expected(found.logprob) - fee[:-1]
        case = {
            "group": names[group],
            "annotators": "all" if liars == members[group] else str(liars),
            "report": TRUTH if report == 1.0 else str(report),
        }
        for aligner, values in ((UNPAID, plain), (PAID, paid)):
            by_name = dict(zip(names, values.tolist(), strict=True))
            rows.append({"aligner": aligner, **case, **{VALUE + name: by_name[name] for name in names}})
    return rows


def reporters_of(problem: Problem, some: float) -> list[int]:
    """The number of people of each group who report where not all do: that share of all annotators."""
    members = apportion([group.share for group in problem.groups], problem.annotators)
    return [min(size, max(1, round(some * problem.annotators))) for size in members]


def _cases(
    names: Sequence[str], members: Floats, reports: Sequence[float | str], few: Sequence[int]
) -> Iterator[tuple[int, int, float | str]]:
    for group, name in enumerate(names):
        for liars in dict.fromkeys((int(members[group]), few[group])):
            for report in (1.0, *reports):
                if report != name:
                    yield group, liars, float(report) if not isinstance(report, str) else report


def _with_liars(game: Game, members: Floats, group: int, liars: int) -> tuple[Game, Floats]:
    """The game in which so many of a group are one more party, which comes last, and the parties' shares."""
    rewards = np.concatenate([game.rewards, game.rewards[..., group : group + 1]], axis=2)
    sizes = np.append(members, liars).astype(np.float64)
    sizes[group] -= liars
    return Game(rewards, game.reference, game.weights, game.beta), sizes / sizes.sum()


def gains(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The gains of reports, by aligner, group and number of those who report.

    Args:
        frame: a row for each run: `aligner`, `seed`, `group` who reports (empty of runs that tell the truth),
            `annotators` who do so, "all" or how many, `report`, and `value/NAME` of each group.

    Returns:
        For each: aligner, group, annotators, report (the best on average over seeds), gain with low and high
        (its 95% interval over seeds; None of one seed), at_best, others (the change of the least of the other
        groups' values under that report), truth (the group's value if it says what it wants), and seeds.
    """
    result = []
    names = [column for column in frame.columns if column.startswith(VALUE)]
    lies = frame[frame["report"] != TRUTH]
    for (aligner, group, annotators), part in lies.groupby(["aligner", "group", "annotators"], sort=False):
        told_truth = (frame["report"] == TRUTH) & (frame["reliability"] == 1)
        truth = frame[told_truth & (frame["aligner"] == aligner)]
        # Who is a party to payments depends on who reports, and so does what she has if she tells the truth.
        own = truth[(truth["group"] == group) & (truth["annotators"] == annotators)]
        base = (truth[truth["group"] == ""] if own.empty else own).set_index("seed")[names]
        mine, rest = VALUE + str(group), [name for name in names if name != VALUE + str(group)]
        table = part.pivot_table(index="seed", columns="report", values=mine, sort=False).dropna()
        table = table[table.index.isin(base.index)]
        if table.empty:
            continue
        base = base.loc[table.index]
        gained = table.sub(base[mine], axis=0)
        gained.insert(0, TRUTH, 0.0)
        each, best = _chosen_on_others(gained.to_numpy())
        report, moved = str(gained.columns[best]), 0.0
        if report != TRUTH:
            under = part[part["report"] == report].set_index("seed").loc[table.index, rest]
            moved = float((under.min(axis=1) - base[rest].min(axis=1)).mean())
        found = mean_of_figures(each)
        low, high = interval_of(found, -math.inf, math.inf) if len(each) > 1 else (None, None)
        result.append(
            {
                "aligner": aligner,
                "group": group,
                "annotators": annotators,
                "report": report,
                "gain": found.estimate,
                "low": low,
                "high": high,
                "at_best": float(gained.max(axis=1).mean()),
                "others": moved,
                "truth": float(base[mine].mean()),
                "seeds": len(table),
            }
        )
    return result


def _chosen_on_others(gained: Floats) -> tuple[Floats, int]:
    """Each seed's gain by the report that is best on the others [seeds], and the one that is best on all.

    Args:
        gained: [seeds, reports]. With one seed there are no others, and it is its own best.
    """
    total = gained.sum(axis=0)
    if len(gained) == 1:
        return gained.max(axis=1), int(total.argmax())
    elsewhere = (total - gained).argmax(axis=1)
    return gained[np.arange(len(gained)), elsewhere], int(total.argmax())


def losses(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The cost of labels that nobody meant to the worst-off group, by aligner and share of labels meant.

    Args:
        frame: a row for each run: `aligner`, `seed`, `reliability`, and `value/NAME` of each group.

    Returns:
        For each: aligner, reliability, worst (the least of the groups' values, mean over seeds), change from
        labels that are all meant with low and high, its 95% interval over seeds that have both, and seeds.
    """
    names = [column for column in frame.columns if column.startswith(VALUE)]
    honest = frame[frame["report"] == TRUTH]
    honest = honest.assign(worst=honest[names].min(axis=1))
    result = []
    for aligner, part in honest.groupby("aligner", sort=False):
        table = part.pivot_table(index="seed", columns="reliability", values="worst", sort=False).dropna()
        if len(table.columns) < 2 or table.empty:
            continue
        for reliability in sorted(map(float, table.columns), reverse=True):
            found = mean_of_figures((table[reliability] - table[1.0]).to_numpy())
            known = len(table) > 1 and reliability < 1
            low, high = interval_of(found, -math.inf, math.inf) if known else (None, None)
            result.append(
                {
                    "aligner": aligner,
                    "reliability": float(reliability),
                    "worst": float(table[reliability].mean()),
                    "change": found.estimate,
                    "low": low,
                    "high": high,
                    "seeds": len(table),
                }
            )
    return result


def gain_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """A header, and a line for each of `gains`, as text."""
    header = ["aligner", "who reports", "best report", "gain", "at best", "others", "V of truth"]
    return header, [
        [
            str(row["aligner"]),
            f"{row['group']}" if row["annotators"] == "all" else f"{row['annotators']} of {row['group']}",
            _report(row["report"]),
            _with_interval(row["gain"], row),
            f"{row['at_best']:.3f}",
            _signed(row["others"]),
            f"{row['truth']:.3f}",
        ]
        for row in rows
    ]


def loss_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """A header, and a line for each aligner of `losses`, as text."""
    shares = list(dict.fromkeys(row["reliability"] for row in rows))
    header = ["aligner", *(f"V at {1 - share:.0%}" if share == 1 else f"{1 - share:.0%}" for share in shares)]
    cells: dict[str, dict[float, str]] = {}
    for row in rows:
        said = f"{row['worst']:.3f}" if row["reliability"] == 1 else _with_interval(row["change"], row)
        cells.setdefault(str(row["aligner"]), {})[row["reliability"]] = said
    return header, [
        [aligner, *(found.get(share, "") for share in shares)] for aligner, found in cells.items()
    ]


def _report(said: str) -> str:
    try:
        return f"times {float(said):g}"
    except ValueError:
        return said if said == TRUTH else f"as {said}"


def _with_interval(value: float, row: Mapping[str, Any]) -> str:
    if row["low"] is None:
        return _signed(value)
    return f"{_signed(value)} ± {(row['high'] - row['low']) / 2:.3f}"


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # there is no -0.000

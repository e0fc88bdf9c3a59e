"""A part of a leaderboard: its rows by task, aligner and setting, and its columns by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from prefbench.errors import UserError
from prefbench.registry import suggest

if TYPE_CHECKING:
    import pandas as pd


def chosen_rows(
    frame: pd.DataFrame,
    task: str | None = None,
    aligners: Iterable[str] = (),
    minority_ratio: float | None = None,
    model: str | None = None,
    data: str | None = None,
) -> pd.DataFrame:
    """The rows of a leaderboard that fit; their ranks stay those among all.

    Args:
        frame: from `build` or `read_csv`.
        task: `name` or `name@version`.
        aligners: names, or hashes as in `config_hash`.
        minority_ratio: share of the minority.
        model: its name.
        data: its name.

    Raises:
        UserError: a name fits no row, or no row fits all of what is asked for.
    """
    tasks = {name: name.partition("@")[0] for name in frame["task"]}
    asked: dict[str, tuple[Mapping[str, Sequence[str]], list[str]]] = {
        "task": ({name: (name, plain) for name, plain in tasks.items()}, [task] if task else []),
        "model": ({name: (name,) for name in frame["model"]}, [model] if model else []),
        "data": ({name: (name,) for name in frame["data"]}, [data] if data else []),
    }
    kept = frame
    for column, (names, wanted) in asked.items():
        for name in wanted:
            known = sorted({each for called in names.values() for each in called})
            if name not in known:
                raise UserError(f"no row of {column} '{name}'.{suggest(name, known)}")
            kept = kept[[name in names[value] for value in kept[column]]]
    named = list(aligners)
    for name in named:
        if name not in {*frame["aligner"], *frame["config_hash"]}:
            raise UserError(f"no row of aligner '{name}'.{suggest(name, sorted(set(frame['aligner'])))}")
    if named:
        kept = kept[kept["aligner"].isin(named) | kept["config_hash"].isin(named)]
    if minority_ratio is not None:
        kept = kept[(kept["minority_ratio"] - minority_ratio).abs() < 1e-9]
    if kept.empty and not frame.empty:
        ratios = ", ".join(f"{ratio:g}" for ratio in sorted(set(frame["minority_ratio"])))
        raise UserError(
            f"no row is of all that is asked for; minority ratios there are {ratios}"
            ": leave one of the choices out."
        )
    return kept


def chosen_columns(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """The columns that are asked for, in that order.

    Args:
        asked: names, several in one with commas between them.
        known: all that there are.

    Raises:
        UserError: there is none of a name.
    """
    plain = {name.casefold(): name for name in reversed(known)}
    found: list[str] = []
    for text in asked:
        names = [text] if text in known else [name.strip() for name in text.split(",")]
        for name in names:
            column = name if name in known else plain.get(name.casefold())
            if column is None:
                raise UserError(f"no column '{name}'.{suggest(name, known)}")
            found.append(column)
    return list(dict.fromkeys(found))

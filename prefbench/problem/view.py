"""The part of a problem and of its labels that an aligner is shown.

Light to import, pandas included: the annotations of every aligner name `View`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefbench.arrays import Ints
from prefbench.errors import UserError
from prefbench.problem.brought import SIDE, STRENGTH
from prefbench.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True)
class View:
    """All that an aligner sees. The harness leaves out whatever `needs` does not name."""

    preferences: DatasetDict
    """Splits `train` and `validation` with columns prompt, chosen, rejected, `strength` where not all labels
    are certain, and `user_id`, `group` or side columns where needed; for `votes` there is `pair`, a number
    that labels of the same two responses to a prompt share."""
    prompts: tuple[str, ...]
    """Train prompts, to optimise a policy on."""
    seed: int
    """The run's seed: draw from named children of it (`prefbench.seeds`)."""
    shares: dict[str, float] | None = None
    """Group names and shares of annotators; only with `group` or `oracle`."""
    utilities: Callable[[Sequence[str], Sequence[str]], np.ndarray] | None = None
    """True utilities [n, groups] of (prompts, responses); only with `oracle`."""
    instructions: dict[str, str] | None = None
    """Group names and the text before a prompt that asks for what each wants; only with `instruction`."""


def make_view(rows: pd.DataFrame, problem: Problem, needs: frozenset[str], seed: int) -> View:
    """Hide from an aligner every column and function that it did not say it needs."""
    import pyarrow as pa
    from datasets import Dataset, DatasetDict
    from datasets.fingerprint import generate_random_fingerprint

    columns = ["prompt", "chosen", "rejected"]
    columns += [name for name in ("user_id", "group") if name in needs]
    columns += [name for name in rows.columns if name == STRENGTH]
    columns += [name for name in rows.columns if name.startswith(SIDE) and "side" in needs]

    if "votes" in needs:
        check_votes(rows)
        rows, columns = rows.assign(pair=pair_numbers(rows)), [*columns, "pair"]

    def visible(split: str) -> Dataset:
        table = pa.Table.from_pandas(rows.loc[rows["split"] == split, columns], preserve_index=False)
        # A fingerprint names what is cached on disk, as nothing of a table in memory is; one that is made of
        # all rows takes longer than the rest of the view.
        return Dataset(table, fingerprint=generate_random_fingerprint())

    named = bool(needs & {"group", "oracle"})
    return View(
        preferences=DatasetDict(train=visible("train"), validation=visible("validation")),
        prompts=problem.prompts.train,
        seed=seed,
        shares={group.name: group.share for group in problem.groups} if named else None,
        utilities=true_utilities(problem) if "oracle" in needs else None,
        instructions=instructions_of(problem) if "instruction" in needs else None,
    )


def pair_numbers(rows: pd.DataFrame) -> Ints:
    """A number for each row, the same where the prompt and the two responses are, in either order; [rows]."""
    texts = zip(rows["prompt"], rows["chosen"], rows["rejected"], strict=True)
    seen: dict[tuple[str, ...], int] = {}
    return np.array([seen.setdefault((p, *sorted((one, other))), len(seen)) for p, one, other in texts])


def check_votes(rows: pd.DataFrame) -> None:
    """Refuse labels that cannot be compared with each other.

    Raises:
        UserError: no two people labelled the same train pair.
    """
    train = rows[rows["split"] == "train"]
    if not train.groupby(pair_numbers(train))["user_id"].nunique().gt(1).any():
        raise UserError(
            "no two people labelled the same train pair, so that their labels cannot be compared: choose "
            "another aligner, or data in which several people label a pair."
        )


def instructions_of(problem: Problem) -> dict[str, str]:
    """The groups' instructions by name.

    Raises:
        UserError: a group has none.
    """
    said = {group.name: group.instruction for group in problem.groups if group.instruction is not None}
    for group in problem.groups:
        if group.name not in said:
            raise UserError(
                f"group '{group.name}' has no instruction that an aligner could be shown: choose another "
                "aligner, or a task whose groups have one (for personas task.instructions=true)."
            )
    return said


def check_oracle(problem: Problem, aligner: str) -> None:
    """Refuse an aligner that asks for utilities of single responses where there are only comparisons.

    Raises:
        UserError: a group's utility judges pairs.
    """
    for group in problem.groups:
        if group.utility.judges_pairs:
            raise UserError(
                f"aligner '{aligner}' needs the utility of single responses, but group '{group.name}' is "
                f"judged in pairs ({group.utility.unit}): choose another aligner, or another task.utility."
            )


def true_utilities(problem: Problem) -> Callable[[Sequence[str], Sequence[str]], np.ndarray]:
    """The groups' utilities side by side: a function of (prompts, responses) to [n, groups]."""

    def utilities(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.stack([group.utility(prompts, responses) for group in problem.groups], axis=1)

    return utilities

"""Labels that people brought: what a table of them has to be, and who is found in it.

A table is a pandas one, but nothing here imports pandas: a problem is stated where plug-ins are only listed.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("split", "prompt", "chosen", "rejected", "user_id", "group")
"""Columns that a brought table needs. It may have `strength` and side columns, named `side/NAME`, of numbers;
whatever else it has is left out."""
STRENGTH, SIDE = "strength", "side/"
"""Name of the column of strength, and beginning of the names of side columns: further numbers of a pair."""
SPLITS = ("train", "validation", "test")
CONTEXT = "context"
"""Split of what unseen people labelled on train prompts: told to policies, and nobody learns from it."""
_TEXTS = ("split", "prompt", "chosen", "rejected", "group")
_NOT_EMPTY = ("prompt", "chosen", "rejected")


def brought_labels(
    given: pd.DataFrame, groups: Sequence[str], prompts: Mapping[str, Iterable[str]]
) -> pd.DataFrame:
    """A table of labels that people brought, checked and with plain types.

    People may have labelled different numbers of pairs, and several of them the same pair.

    Args:
        given: at least `COLUMNS`, one row per label; `user_id` all text or all whole numbers. `strength` is
            the probability or share of votes that the chosen response is better, in [0, 1]. Whoever has rows
            of the split `CONTEXT` is unseen, and has none to train or validate on.
        groups: names of the problem's groups.
        prompts: the problem's prompts, by split.

    Returns:
        `COLUMNS`, and `strength` and side columns where there are any, as float64; rows in their order; ids
        as `str` or 64-bit integers.

    Raises:
        UserError: something about the table does not fit; the line names the first row that does not.
    """
    rows = _whole(given)
    for column in _TEXTS:
        _check_texts(rows, column)
    known = (*SPLITS, CONTEXT)
    _refuse(rows, ~rows["split"].isin(known), "split", f"is none of {', '.join(known)}")
    unknown = ~rows["group"].isin(list(groups))
    _refuse(rows, unknown, "group", f"is no group of the task, which has {', '.join(map(repr, groups)):.200}")
    same = rows["chosen"].str.strip() == rows["rejected"].str.strip()
    _refuse(rows, same, "chosen", "is also the rejected response: leave out rows that compare nothing")
    for column in rows.columns[len(COLUMNS) :]:
        rows[column] = _numbers(rows, column)
    rows["user_id"] = _ids(rows["user_id"])
    of_person = rows.groupby("user_id")["group"].nunique()
    if (of_person > 1).any():
        person = of_person.index[of_person > 1].tolist()[0]
        both = rows.loc[rows["user_id"] == person, "group"].unique()
        raise _wrong(
            f"annotator {person!r:.60} labels for two groups, {both[0]!r:.60} and {both[1]!r:.60}: a person "
            "is of one group, so give each its own user_id"
        )
    trained = set(rows.loc[rows["split"] == "train", "group"])
    if not trained:
        raise _wrong("no row has the split 'train': aligners learn from those")
    for name in groups:
        if name not in trained:
            raise _wrong(f"no train row is of group {name!r:.60}: nobody speaks for it")
    _check_apart(rows, prompts)
    told = set(rows.loc[rows["split"] == CONTEXT, "user_id"])
    learned = rows["split"].isin(["train", "validation"]) & rows["user_id"].isin(told)
    _refuse(rows, learned, "user_id", f"is of somebody with rows of the split '{CONTEXT}', who is unseen")
    return rows


def with_unseen(rows: pd.DataFrame, groups: Sequence[str], wanted: Sequence[int], pairs: int) -> pd.DataFrame:
    """Brought labels with so many people of each group taken out of training, the same ones for every seed.

    Those go first who labelled for testing, then those with as many train pairs as may be told of them, then
    in the order of a digest of their ids. Their train rows become their contexts; their validation rows go.

    Args:
        rows: as `brought_labels` gives them, nobody unseen.
        groups: names of the problem's groups.
        wanted: people of each group who are to be unseen.
        pairs: most pairs of each of them that a policy may be told of.

    Raises:
        UserError: a group would have nobody left to learn from.
    """
    unseen: list[object] = []
    tested = set(rows.loc[rows["split"] == "test", "user_id"])
    for name, number in zip(groups, wanted, strict=True):
        train = rows[(rows["split"] == "train") & (rows["group"] == name)]
        labelled = Counter(train["user_id"].tolist())
        people = sorted(
            labelled, key=lambda who: (who not in tested, -min(labelled[who], pairs), place(str(who)))
        )
        if number >= len(people):
            raise UserError(
                f"{number} of the unseen annotators would be of group {name!r:.60}, of which {len(people)} "
                "gave labels to train on, and one has to stay: lower task.unseen_annotators."
            )
        unseen += people[:number]
    gone = rows["user_id"].isin(set(unseen))
    rows = rows[~(gone & (rows["split"] == "validation"))].reset_index(drop=True)
    mine = rows["user_id"].isin(set(unseen)) & (rows["split"] == "train")
    rows.loc[mine, "split"] = CONTEXT
    return rows


def place(text: str) -> float:
    """A number in [0, 1) that is a text's own: its SHA-256 read as a fraction."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def annotators_found(rows: pd.DataFrame, groups: Sequence[str]) -> list[int]:
    """Number of people of each group who labelled train rows: those whom aligners learn from."""
    found = rows[rows["split"] == "train"].groupby("group")["user_id"].nunique()
    return [int(found.get(name, 0)) for name in groups]


def _whole(given: Any) -> pd.DataFrame:
    """The columns that count, each once and without gaps."""
    if not hasattr(given, "columns") or not hasattr(given, "groupby"):
        raise _wrong(f"they are a {type(given).__name__} and no pandas table")
    there = [str(name) for name in given.columns]
    lacking = [name for name in COLUMNS if name not in there]
    if lacking:
        raise _wrong(f"column '{lacking[0]}' is missing; a row needs {', '.join(COLUMNS)}")
    wanted = [*COLUMNS, *(name for name in dict.fromkeys(there) if name == STRENGTH or name.startswith(SIDE))]
    twice = [name for name in wanted if there.count(name) > 1]
    if twice:
        raise _wrong(f"column '{twice[0]}' is there twice")
    if not len(given):
        raise _wrong("there is no row")
    rows: pd.DataFrame = given[wanted].reset_index(drop=True)
    for column in wanted:
        gap = rows[column].isna()
        if gap.any():
            raise _wrong(f"row {int(gap.argmax()) + 1} has no {column}: fill it in, or leave the row out")
    return rows


def _check_texts(rows: pd.DataFrame, column: str) -> None:
    """Refuse what is no text that can be stored; leave plain strings behind."""
    values = rows[column].tolist()
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise _wrong(f"row {number} has no text as {column} but {value!r:.60}")
        if column in _NOT_EMPTY and not value.strip():
            raise _wrong(f"row {number} has an empty {column}: fill it in, or leave the row out")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _wrong(f"row {number} has half a character in its {column}: mend the encoding") from None
    rows[column] = rows[column].astype(object)


def _numbers(rows: pd.DataFrame, column: str) -> pd.Series[Any]:
    """A column of finite numbers, those of strength from 0 to 1."""
    for number, value in enumerate(rows[column].tolist(), start=1):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise _wrong(f"row {number} has the {column} {value!r:.60}, which is no number")
        if column == STRENGTH and not 0 <= value <= 1:
            raise _wrong(f"row {number} has the {column} {value!r:.60}, which is not from 0 to 1")
    return rows[column].astype("float64")


def _refuse(rows: pd.DataFrame, bad: pd.Series[bool], column: str, why: str) -> None:
    if bad.any():
        number = int(bad.to_numpy().argmax())
        raise _wrong(f"row {number + 1} has the {column} {rows[column][number]!r:.60}, which {why}")


def _ids(column: pd.Series[Any]) -> pd.Series[Any]:
    """Ids as whole numbers or as text; a mixture has no order, and 1 is not '1'."""
    values = column.tolist()
    kinds = {_kind(value) for value in values}
    if kinds == {int}:
        if not all(-(2**63) <= value < 2**63 for value in values):
            raise _wrong("a user_id has more than 64 bits: write such ids as text")
        return column.astype("int64")
    if kinds == {str}:
        for number, value in enumerate(values, start=1):
            if not value.strip():
                raise _wrong(f"row {number} has an empty user_id: fill it in, or leave the row out")
            if not value.isprintable():
                raise _wrong(f"row {number} has the user_id {value!r:.60}: ids are one line of printed text")
        return column.astype(object)
    if kinds == {int, str}:
        raise _wrong("some of user_id is text and some a number: ids are all text or all whole numbers")
    odd = next(number for number, value in enumerate(values) if _kind(value) is None)
    raise _wrong(f"row {odd + 1} has the user_id {values[odd]!r:.60}, neither text nor a whole number")


def _kind(value: object) -> type | None:
    if isinstance(value, str):
        return str
    return int if isinstance(value, Integral) and not isinstance(value, bool) else None


def _check_apart(rows: pd.DataFrame, prompts: Mapping[str, Iterable[str]]) -> None:
    """Refuse a prompt in two splits, be it of labels or of what policies are trained and measured on."""
    home: dict[str, str] = {prompt: split for split, members in prompts.items() for prompt in members}
    for number, (split, prompt) in enumerate(zip(rows["split"], rows["prompt"], strict=True), start=1):
        of = "train" if split == CONTEXT else split
        if home.setdefault(prompt, of) != of:
            raise _wrong(
                f"row {number} is in '{split}' and its prompt {prompt!r:.60} in '{home[prompt]}': a prompt "
                "has one split"
            )


def _wrong(what: str) -> UserError:
    line = " ".join("".join(c if c.isprintable() else " " for c in what).split())
    return UserError(f"the labels that the task brought cannot be used: {line}.")

"""Labelled comparisons that were published: cleaned, each there once, none contradicted within its group."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError
from prefbench.text import text_digest

if TYPE_CHECKING:
    import pandas as pd


COLUMNS = ["prompt", "chosen", "rejected", "group"]


@dataclass(frozen=True)
class Comparisons:
    """Labelled comparisons, each once, none of them contradicted within its group."""

    source: str
    """Source that the user named: a source's word, or the file's or folder's own name."""
    rows: pd.DataFrame
    """Columns `prompt, chosen, rejected, group`, in the order they were read."""
    report: Mapping[str, Any]
    """Counts for each group: rows read, and rows dropped with the reason (JSON values)."""

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all rows; the same comparisons read from another layout share it."""
        return text_digest(text for column in COLUMNS for text in self.rows[column])


def cleaned(source: str, rows: Iterable[tuple[str, str, str, str]], unlike: Mapping[str, int]) -> Comparisons:
    """Drop what is no comparison, what is repeated, and what the group itself contradicts.

    Args:
        source: what to call it.
        rows: prompt, chosen, rejected, group.
        unlike: rows of each group that a reader has dropped already, as their transcripts part too early.

    Raises:
        UserError: nothing is left.
    """
    import pandas as pd

    frame = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    read = Counter(frame["group"].tolist()) + Counter(unlike)
    dropped = {"transcripts_differ": Counter(unlike)}

    def drop(reason: str, gone: Iterable[bool]) -> None:
        nonlocal frame
        mask = np.fromiter(gone, dtype=bool, count=len(frame))
        dropped[reason] = Counter(frame.loc[mask, "group"].tolist())
        frame = frame[~mask]

    texts = ("prompt", "chosen", "rejected")
    drop("without_text", (not all(map(str.strip, row)) for row in tuples(frame, *texts)))
    drop("same_response", (a.strip() == b.strip() for a, b in tuples(frame, "chosen", "rejected")))
    drop("repeated", frame.duplicated())
    # Each comparison is there once in each direction now, so that twice is a contradiction.
    pairs = [(group, *unordered(*row)) for group, *row in tuples(frame, "group", *texts)]
    times = Counter(pairs)
    drop("contradictory", (times[pair] > 1 for pair in pairs))
    if frame.empty:
        raise UserError(f"{source!r} holds no usable comparison of two different answers: name another one.")
    kept = Counter(frame["group"].tolist())
    report = {
        group: {
            "rows": read[group],
            **{reason: counts[group] for reason, counts in dropped.items()},
            "comparisons": kept[group],
            "prompts": int(frame.loc[frame["group"] == group, "prompt"].nunique()),
        }
        for group in read
    }
    return Comparisons(source, frame.reset_index(drop=True), {"source": source, "read": report})


def tuples(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[str, ...]]:
    """Rows of these columns, which hold texts."""
    return zip(*(frame[column].tolist() for column in columns), strict=True)


def unordered(prompt: str, chosen: str, rejected: str) -> tuple[str, str, str]:
    """The comparison whichever of its responses was preferred."""
    low, high = sorted((chosen, rejected))
    return prompt, low, high


def encodable(text: str) -> str:
    """The text with a question mark for half a surrogate pair."""
    # JSON can spell half a surrogate pair, which no file and no tokenizer can take.
    return text.encode(errors="replace").decode()


def existing(data: str, wanted: str) -> Path:
    """The file or folder that `--data` names.

    Raises:
        UserError: there is none; says what is `wanted`.
    """
    try:
        path = Path(data).expanduser()
        if data and path.exists():
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no permission, no such user
        pass
    raise UserError(f"--data {data!r:.300}: there is no such file or folder; name {wanted}.")

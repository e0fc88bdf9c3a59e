"""Rows of exported preference data: one for each label, or one for each pair with the share of its votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prefbench.backbone.language.codec import split_transcript
from prefbench.errors import UserError
from prefbench.problem.brought import SIDE, STRENGTH

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("prompt", "chosen", "rejected", "user_id", "group")
SPLITS = ("train", "validation", "test")
VOTES = "votes"
"""Name of the column that counts the labels of a pair."""
MESSAGES = "list of messages, each with `role` and `content`"
"""Type of prompts and responses that are messages, as cards say it."""


def columns_of(rows: pd.DataFrame) -> list[str]:
    """The columns that are exported: `strength`, votes and side columns where there are any."""
    fixed = [name for name in COLUMNS if name in rows.columns]
    return [*fixed, *(n for n in rows.columns if n in (STRENGTH, VOTES) or n.startswith(SIDE))]


def as_messages(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose prompt, and responses if there are any, are lists of messages: TRL's conversational format.

    The column keeps its name: TRL takes a row for a conversation by any one of its columns, so that a second
    column with messages beside a prompt of text would be read now as the one, now as the other. A transcript
    becomes its turns, as everywhere in a chat, and a response loses the blank that followed a speaker's name.
    """

    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text.removeprefix(" ")}]

    roles = {"prompt": split_transcript, "chosen": said, "rejected": said}
    return rows.assign(**{name: rows[name].map(put) for name, put in roles.items() if name in rows})


def votes_of(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each pair, with the share of its votes that its chosen response has as `strength`.

    `strength` means what it means everywhere, the share of votes that the chosen response is the better one,
    and goes into losses as it is. A label that is not certain is a vote of its strength for its chosen
    response and of the rest for the other. Chosen is what has more votes; of as many, what the first label
    has. Whose labels they are is in no column, as a pair has several; nor are side columns, whose sign may
    hang on the direction.

    Args:
        rows: of labels, with `split, prompt, chosen, rejected` and, where not all are certain, `strength`.

    Returns:
        Rows `split, prompt, chosen, rejected, strength, votes`, pairs in the order of their first labels.

    Raises:
        UserError: every pair has a single label.
    """
    import pandas as pd

    up = (rows["chosen"] <= rows["rejected"]).to_numpy()
    first = np.where(up, rows["chosen"], rows["rejected"])
    other = np.where(up, rows["rejected"], rows["chosen"])
    certain = rows[STRENGTH].to_numpy() if STRENGTH in rows else np.ones(len(rows))
    table = pd.DataFrame(
        {
            "split": rows["split"].to_numpy(),
            "prompt": rows["prompt"].to_numpy(),
            "first": first,
            "other": other,
            "share": np.where(first == other, 0.5, np.where(up, certain, 1 - certain)),
            "up": up,
        }
    )
    key = ["split", "prompt", "first", "other"]
    pairs = table.groupby(key, sort=False).agg(
        share=("share", "mean"), up=("up", "first"), votes=("share", "size")
    )
    if pairs[VOTES].max() < 2:
        raise UserError(
            "--votes: every pair has one label, so there is nothing to count: set task.labels_per_pair to 2 "
            "or more."
        )
    pairs = pairs.reset_index()
    share = pairs["share"].to_numpy()
    ahead = np.where(share == 0.5, pairs["up"], share > 0.5)
    return pd.DataFrame(
        {
            "split": pairs["split"],
            "prompt": pairs["prompt"],
            "chosen": np.where(ahead, pairs["first"], pairs["other"]),
            "rejected": np.where(ahead, pairs["other"], pairs["first"]),
            STRENGTH: np.maximum(share, 1 - share),
            VOTES: pairs[VOTES].astype("int64"),
        }
    )

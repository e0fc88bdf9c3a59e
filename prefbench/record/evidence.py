"""The evidence beside a record: tables of responses and utilities, read, written and held to be complete."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prefbench.errors import UserError
from prefbench.evaluate.regret import COLUMNS as STATES
from prefbench.evaluate.win_rate import outcomes
from prefbench.files import UnfitFile, read_table
from prefbench.record.files import ITEMS_FILE, PEOPLE_FILE, PROMPTED_FILE
from prefbench.record.packed import board_of
from prefbench.store.files import clear_disk_errors
from prefbench.text import one_line

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from prefbench.arrays import Floats

ITEM_COLUMNS: Mapping[str, tuple[str, str]] = {
    "prompt_id": ("int64", "identifies the prompt within the test split"),
    "sample": ("int64", "0, 1, ... for each prompt; the same number for all of them"),
    "prompt": ("string", "as the policy saw it"),
    "response": ("string", "the policy's"),
    "reference_response": ("string", "the reference policy's response that it was compared with"),
    "empty": ("bool", "whether the response has no text; then it is a loss"),
    "words": ("int64", "in the response"),
    "reference_words": ("int64", "in the reference response"),
    "kl": ("float64", "log pi(response) - log pi_ref(response), nats; null in all rows if unknown"),
    "utility/<group>": ("float64", "one column per group: that group's utility of the response"),
    "reference_utility/<group>": ("float64", "one column per group: of the reference response"),
}
"""Columns of `items.parquet`: type and meaning."""
READ: Mapping[str, tuple[str, str]] = {
    "tokens": ("float64", "length in the model's tokens, the end among them; null if it has none"),
    "logprob": ("float32", "log pi_ref(response | its prompt), nats; null where responses have no tokens"),
    "logprob_elsewhere": ("float32", "the same after another prompt, half of all prompts away"),
}
"""Facts of a response that only the reference model knows."""
TEXT_COLUMNS: Mapping[str, tuple[str, str]] = {
    "nonwords": ("float64", "words that the task's lexicon does not have; null if it has no lexicon"),
    **READ,
}
"""More columns of `items.parquet`, of the response and with `reference_` before the name of the reference
response; runs of older versions lack them. One is null in all rows or in none."""
LATER_COLUMNS = tuple(f"{prefix}{name}" for prefix in ("", "reference_") for name in TEXT_COLUMNS)
"""Their names in order."""


PROXY, REFERENCE_PROXY = "proxy/", "reference_proxy/"
PROXY_COLUMNS: Mapping[str, tuple[str, str]] = {
    f"{PROXY}<name>": ("float32", "one column per learned reward: that of the response, normalised"),
    f"{REFERENCE_PROXY}<name>": ("float32", "one column per learned reward: of the reference response"),
}
"""Columns of `items.parquet` where the aligner returned the rewards that it learned."""


def later_columns(columns: Iterable[str]) -> list[str]:
    """Columns that not every run has, in order, out of those that are there."""
    known = list(columns)
    proxies = [name for prefix in (PROXY, REFERENCE_PROXY) for name in known if name.startswith(prefix)]
    return [name for name in LATER_COLUMNS if name in known] + proxies


def item_columns(groups: Iterable[str]) -> list[str]:
    """The column names for these groups, in order."""
    fixed = [name for name in ITEM_COLUMNS if "<group>" not in name]
    names = list(groups)
    return fixed + [f"utility/{name}" for name in names] + [f"reference_utility/{name}" for name in names]


def write_items(items: pd.DataFrame, folder: Path, name: str = ITEMS_FILE) -> Path:
    """Write a run's evidence into its folder through a temporary file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    beside = folder / f".{name}.{os.getpid()}.tmp"
    with clear_disk_errors():
        try:
            items.to_parquet(beside, index=False)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def read_items(folder: Path, name: str = ITEMS_FILE) -> pd.DataFrame:
    """The evidence beside a record.

    Raises:
        UserError: if the file is missing or is not parquet.
    """
    frame: pd.DataFrame = read_evidence(folder, name).to_pandas()
    return frame


def read_evidence(folder: Path, name: str = ITEMS_FILE, columns: Sequence[str] | None = None) -> pa.Table:
    """Known columns of the evidence beside a record, or those of them that are named.

    Raises:
        UserError: if the file is missing, is not parquet, is too large or leads out of the folder, or a whole
            number in it needs more than 64 bits.
    """
    import pyarrow as pa

    path = Path(folder) / name
    wanted = _is_known if columns is None else set(columns).__contains__
    board = board_of(path.parent)
    try:
        if board is None:
            table = read_table(path, wanted, within=path.parent)
        else:
            table = board.table(path.parent.name, name, wanted)
        for index, field in enumerate(table.schema):
            if pa.types.is_uint64(field.type):  # beyond 2 ** 63 there is no telling two of them apart
                table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
        if name == PEOPLE_FILE and columns is None:
            for column in EXACT_COLUMNS:
                if column not in table.column_names:
                    table = table.append_column(column, pa.nulls(len(table), pa.float64()))
    except FileNotFoundError:
        raise UserError(f"'{path}' is missing: without it nothing can be recomputed; run it again.") from None
    except UnfitFile as error:
        raise UserError(f"'{path}' cannot be read: {error}: run it again.") from None
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise UserError(
            f"'{path}' cannot be read ({one_line(error).rstrip('.')[:80]}): run it again."
        ) from None
    return table


def _is_known(column: str) -> bool:
    """True if some file of evidence has a column of this name."""
    tables = (ITEM_COLUMNS, LATER_COLUMNS, PROMPTED_COLUMNS, PEOPLE_COLUMNS, HELD_OUT_COLUMNS, STATES)
    known = any(column in names for names in tables)
    return known or column.startswith(("utility/", "reference_utility/", PROXY, REFERENCE_PROXY))


def sorted_items(items: pd.DataFrame, groups: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """The items ordered by prompt and sample, checked to be complete, and the samples per prompt.

    Raises:
        UserError: if a column is missing or a prompt lacks a sample.
    """
    from pandas.api.types import is_numeric_dtype

    texts = {name for name, (kind, _) in ITEM_COLUMNS.items() if kind == "string"}
    for name in item_columns(groups):
        if name not in items.columns:
            raise UserError(f"{ITEMS_FILE} has no column '{name}': run it again.")
        unknown_kl = name == "kl" and items[name].isna().all()
        if name not in texts and not unknown_kl and not is_numeric_dtype(items[name]):
            raise UserError(f"{ITEMS_FILE}: column '{name}' is not numeric: run it again.")
    for name in later_columns(items.columns):
        if not items[name].isna().all() and not is_numeric_dtype(items[name]):
            raise UserError(f"{ITEMS_FILE}: column '{name}' is not numeric: run it again.")
    if items.empty:
        raise UserError(f"{ITEMS_FILE} has no rows: run it again.")
    ordered = items.sort_values(["prompt_id", "sample"], kind="stable", ignore_index=True)
    samples = int(ordered["sample"].max()) + 1
    whole = len(ordered) == samples * ordered["prompt_id"].nunique()
    if not whole or (ordered["sample"] != ordered.index % samples).any():
        raise UserError(f"{ITEMS_FILE} lacks some of samples 0 to {samples - 1} of a prompt: run it again.")
    return ordered, samples


def item_outcomes(items: pd.DataFrame, groups: Sequence[str]) -> Floats:
    """Outcomes `[prompts, samples, groups]` of the items, prompts ordered by `prompt_id`.

    Raises:
        UserError: if the items are incomplete or a utility is not a finite number.
    """
    ordered, samples = sorted_items(items, groups)
    shape = (len(ordered) // samples, samples)

    def utilities(prefix: str) -> Floats:
        columns = [f"{prefix}/{name}" for name in groups]
        return np.asarray(ordered[columns].to_numpy(dtype=np.float64)).reshape(*shape, len(columns))

    reference_empty = ordered["reference_words"] == 0
    try:
        return outcomes(
            utilities("utility"),
            utilities("reference_utility"),
            ordered["empty"].to_numpy(dtype=bool).reshape(shape),
            reference_empty.to_numpy(dtype=bool).reshape(shape),
        )
    except ValueError as error:
        raise UserError(f"{ITEMS_FILE}: {one_line(error).rstrip('.')}: run it again.") from None


PROMPTED_COLUMNS: Mapping[str, tuple[str, str]] = {
    "group": ("string", "whose instruction the prompt begins with, and who judges"),
    "prompt_id": ("int64", "as in items.parquet"),
    "sample": ("int64", "0, 1, ... for each prompt and group"),
    "prompt": ("string", "with the instruction, as both policies saw it"),
    "response": ("string", "the policy's"),
    "reference_response": ("string", "the reference policy's"),
    "empty": ("bool", "whether the response has no text; then it is a loss"),
    "reference_empty": ("bool", "the same of the reference's"),
    "utility": ("float64", "the group's, of the response"),
    "reference_utility": ("float64", "the group's, of the reference response"),
}
"""Columns of `prompted.parquet`: type and meaning."""


def prompted_outcomes(table: pd.DataFrame, groups: Sequence[str]) -> Floats:
    """Outcomes `[prompts, samples, groups]` of `prompted.parquet`, prompts ordered by `prompt_id`.

    Raises:
        UserError: a column, a group or a sample is missing.
    """
    lacking = [name for name in PROMPTED_COLUMNS if name not in table.columns]
    if lacking:
        raise UserError(f"{PROMPTED_FILE} has no column '{lacking[0]}': run it again.")
    columns = []
    for name in groups:
        mine = table[table["group"] == name].drop(columns="group")
        mine = mine.rename(columns={side: f"{side}/{name}" for side in ("utility", "reference_utility")})
        # What items hold beside this is not recorded here, or says nothing of who won.
        mine = mine.assign(words=0, reference_words=(~mine["reference_empty"]).astype(int), kl=0.0)
        columns.append(item_outcomes(mine, [name]))
    if len({column.shape for column in columns}) > 1:
        raise UserError(f"{PROMPTED_FILE} does not have every prompt for every group: run it again.")
    return np.concatenate(columns, axis=2)


PEOPLE_COLUMNS: Mapping[str, tuple[str, str]] = {
    "prompt_id": ("int64", "as in items.parquet"),
    "sample": ("int64", "0, 1, ... for each prompt, group and stratum"),
    "prompt": ("string", "as the policy saw it"),
    "person": ("string", "her id in the labels; of the unseen one after these"),
    "group": ("string", "hers"),
    "seen": ("bool", "whether labels of hers were in training"),
    "n": ("int64", "pairs that are known of her: of the seen those that she labelled for training"),
    "context": ("string", "own, or of the controls shuffled, other group or other person"),
    "response": ("string", "the policy's, to her"),
    "reference_response": ("string", "the reference policy's"),
    "empty": ("bool", "whether the response has no text; then it is a loss"),
    "reference_empty": ("bool", "the same of the reference's"),
    "kl": ("float64", "log pi(response) - log pi_ref(response) of the policy for her, nats; null if unknown"),
    "utility": ("float64", "her own, of the response"),
    "reference_utility": ("float64", "her own, of the reference response"),
    "value": (
        "float64",
        "V of the policy for her, over all test prompts; null where none is listed",
    ),
    "best_value": ("float64", "the largest V of any policy, by her own utility; null where none is listed"),
}
"""Columns of `people.parquet`: type and meaning."""
EXACT_COLUMNS = ("value", "best_value")
"""Columns of it that tables of before have not, and that are read as null from these."""


HELD_OUT_COLUMNS: Mapping[str, tuple[str, str]] = {
    "label": ("int64", "place among the held-out labels that the task brought; one row for each n of hers"),
    "prompt_id": ("int64", "numbers the different prompts of these labels, in their order"),
    "person": ("string", "who gave the label, by her id"),
    "group": ("string", "hers"),
    "seen": ("bool", "whether labels of hers were in training"),
    "n": ("int64", "pairs that the policy knew of her: of the seen those that she labelled for training"),
    "strength": ("float64", "of the label: 1 is certain, 0.5 prefers neither response"),
    "implicit": (
        "float64",
        "log(pi / pi_ref) of the chosen response less the rejected one's; null if unknown",
    ),
    "reward": ("float64", "the same of the learned reward that serves her; null if there is none"),
}
"""Columns of `held_out.parquet`: type and meaning."""

"""Comparisons of HH-RLHF (arXiv 2204.05862): two groups, helpful and harmless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefbench.data.comparisons import Comparisons, cleaned, encodable, existing
from prefbench.data.conversation import last_turn
from prefbench.data.files import is_hub_trouble, read_columns, refuse_way_out
from prefbench.errors import UserError
from prefbench.text import message_or_type

HH_GROUPS = ("helpful", "harmless")

_HUB_ID = "Anthropic/hh-rlhf"
_SUFFIXES = (".jsonl.gz", ".jsonl", ".parquet")


def read_hh(data: str) -> Comparisons:
    """Read HH-RLHF (arXiv 2204.05862): groups `helpful` and `harmless`.

    A row has two transcripts in turns of `Human:` and `Assistant:`. The prompt is what they share, up to and
    with the last `Assistant:`, the responses are what follows, each with the space that it begins with. Rows
    whose transcripts part before the last turn are dropped and counted. The published split into train and
    test is not kept: prompts are split anew.

    Args:
        data: `hh-rlhf` (from the hub); or a path: a folder with `helpful-base` and `harmless-base`, each with
            a `train` file (and a `test` file, jsonl, jsonl.gz or parquet); one file whose column `objective`
            names the group, or whose name begins with `helpful-base` or `harmless-base`; a folder of those.

    Raises:
        UserError: the source cannot be found, reached or read.
    """
    rows: list[tuple[str, str, str, str]] = []
    unlike: Counter[str] = Counter()
    source, tables = _hh_tables(data)
    for group, chosen, rejected in tables:
        prompt, response = last_turn(chosen)
        other_prompt, other_response = last_turn(rejected)
        if not prompt or prompt != other_prompt:
            unlike[group] += 1
        else:
            rows.append((prompt, response, other_response, group))
    if not rows:
        raise UserError(
            f"{source!r} has no row whose chosen and rejected are transcripts ('Human: ...', a blank line, "
            "'Assistant: ...') that share all but the last turn: name HH-RLHF in one of its layouts."
        )
    return cleaned(source, rows, unlike)


def _hh_tables(data: str) -> tuple[str, Iterator[tuple[str, str, str]]]:
    """The source's name, and its rows: group, chosen transcript, rejected transcript."""
    if data == "hh-rlhf":
        return data, iter(_from_hub())
    path = existing(data, "hh-rlhf (from the hub), or a folder or file of it")
    source = path.resolve().name
    if path.is_file():
        return source, _hh_file(path)
    parts = [path / f"{group}-base" for group in HH_GROUPS]
    if any(part.is_dir() for part in parts):
        files = [(group, file) for group in HH_GROUPS for file in _split_files(path, f"{group}-base")]
        return source, (row for group, file in files for row in _hh_file(file, group))
    try:
        flat = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES) and file.is_file())
    except OSError as error:
        raise UserError(
            f"{data!r:.300} could not be read ({message_or_type(error)}): name another file."
        ) from error
    if not flat:
        raise UserError(
            f"{data!r:.300} holds neither helpful-base and harmless-base nor a jsonl, jsonl.gz or parquet "
            "file: name the folder that HH-RLHF was unpacked to, or a file of it."
        )
    for file in flat:
        refuse_way_out(path, file)
    return source, (row for file in flat for row in _hh_file(file))


def _split_files(root: Path, part: str) -> list[Path]:
    """The train file and, where there is one, the test file of one part of HH-RLHF."""
    files = []
    for split in ("train", "test"):
        found = [root / part / f"{split}{suffix}" for suffix in _SUFFIXES]
        found = [path for path in found if path.is_file()]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UserError(f"'{part}' holds {names}: keep one of them.")
        if split == "train" and not found:
            raise UserError(
                f"{str(root)!r:.300} has no {part}/train.jsonl.gz: both parts are needed; fetch it, or name "
                "a file of HH-RLHF."
            )
        files += found
    for path in files:
        refuse_way_out(root, path)
    return files


def _hh_file(path: Path, group: str | None = None) -> Iterator[tuple[str, str, str]]:
    columns = read_columns(path, "comparisons")
    for column in ("chosen", "rejected"):
        if column not in columns:
            listed = ", ".join(map(repr, columns)) or "no columns"
            raise UserError(
                f"{path.name!r} has no column {column!r} but {listed:.300}: name a file of HH-RLHF."
            )
    groups: Sequence[object]
    if "objective" in columns and group is None:
        groups = columns["objective"]
    else:
        named = next((name for name in HH_GROUPS if path.name.startswith(f"{name}-base")), None)
        if (group or named) is None:
            raise UserError(
                f"{path.name!r} has no column 'objective' and no name that begins with helpful-base or "
                "harmless-base, so that whose labels it holds is not known: rename it."
            )
        groups = [group or named] * len(columns["chosen"])
    both = zip(groups, columns["chosen"], columns["rejected"], strict=True)
    for number, (whose, chosen, rejected) in enumerate(both, start=1):
        if whose not in HH_GROUPS:
            raise UserError(
                f"{path.name!r}: row {number} has the objective {whose!r:.40}, neither helpful nor harmless: "
                "mend it, or leave the row out."
            )
        for column, text in (("chosen", chosen), ("rejected", rejected)):
            if not isinstance(text, str):
                raise UserError(
                    f"{path.name!r}: row {number} has no text as {column!r} but {text!r:.40}: mend it, or "
                    "leave the row out."
                )
        yield str(whose), encodable(str(chosen)), encodable(str(rejected))


def _from_hub() -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    try:
        import datasets

        for group in HH_GROUPS:
            for split in datasets.load_dataset(_HUB_ID, data_dir=f"{group}-base").values():
                both = zip(split["chosen"], split["rejected"], strict=True)
                rows += ((group, encodable(chosen), encodable(rejected)) for chosen, rejected in both)
    except Exception as error:
        if not is_hub_trouble(error):
            raise
        raise UserError(
            f"HH-RLHF could not be fetched from the hub ({message_or_type(error)}): use --data with a folder "
            "that holds helpful-base/train.jsonl.gz and harmless-base/train.jsonl.gz."
        ) from error
    return rows

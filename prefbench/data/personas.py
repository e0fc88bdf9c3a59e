"""Comparisons in the layout of Personalized Soups (arXiv 2310.11564), a file for each persona."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefbench.data.comparisons import Comparisons, cleaned, encodable, existing
from prefbench.data.files import refuse_way_out
from prefbench.errors import UserError
from prefbench.files import DATA_BYTES, parse_json, read_text
from prefbench.text import message_or_type

_PERSONA_KEYS = ("user_input", "completion_a", "completion_b")


def read_personas(folder: str, personas: Sequence[str]) -> Comparisons:
    """Read comparisons in the layout of Personalized Soups (arXiv 2310.11564), a persona being a group.

    Args:
        folder: holds `CODE.json` for each persona, itself or in `rm_training` or `data/rm_training`: an
            array, or a line for each, of objects with `user_input`, `completion_a` (the preferred one) and
            `completion_b`.
        personas: their codes, such as P1A; letters, digits and underscores.

    Returns:
        The comparisons; the published files repeat each about five times, here each is there once.

    Raises:
        UserError: a file is missing, damaged or of another form.
    """
    for code in personas:
        if not re.fullmatch(r"[A-Za-z0-9_]+", code):
            raise UserError(
                f"persona {code!r:.80} is no code: use letters, digits and underscores, as in P1A."
            )
    root = existing(folder, "the folder of persona files (P1A.json and others)")
    if not root.is_dir():
        raise UserError(f"--data {folder!r:.300} is a file: name the folder that holds it.")
    places = [root / "rm_training", root / "data" / "rm_training", root]
    rows: list[tuple[str, str, str, str]] = []
    for code in dict.fromkeys(personas):
        path = next((place / f"{code}.json" for place in places if (place / f"{code}.json").is_file()), None)
        if path is None:
            raise UserError(
                f"{folder!r:.300} has no {code}.json, nor have rm_training and data/rm_training in it: name "
                "the folder that the persona files were unpacked to, or choose other personas."
            )
        refuse_way_out(root, path)
        rows += (
            (*_persona_row(row, path.name, at), code) for at, row in enumerate(_json_rows(path), start=1)
        )
    return cleaned(root.resolve().name, rows, {})


def _json_lines(text: str) -> Iterator[object]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield parse_json(line, wanted_unicode=False)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


def _json_rows(path: Path) -> list[object]:
    """The elements of a JSON array, or the values of a file with one on each line."""
    wanted = "an array of objects, or one object a line"
    try:
        text = read_text(path, DATA_BYTES, encoding="utf-8-sig")
        whole = text.lstrip().startswith("[")
        rows = parse_json(text, wanted_unicode=False) if whole else list(_json_lines(text))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path.name!r} is not readable as JSON ({message_or_type(error)}): it is to hold {wanted}."
        ) from error
    if not rows:
        raise UserError(f"{path.name!r} has no rows: it is to hold {wanted}.")
    return rows


def _persona_row(row: object, name: str, number: int) -> tuple[str, str, str]:
    wanted = "each row needs texts user_input, completion_a (the preferred one) and completion_b"
    if not isinstance(row, dict):
        raise UserError(f"{name!r}: row {number} is not an object but {row!r:.40}; {wanted}.")
    for key in _PERSONA_KEYS:
        if key not in row:
            raise UserError(f"{name!r}: row {number} has no {key!r}; {wanted}: mend it, or leave it out.")
        if not isinstance(row[key], str):
            raise UserError(
                f"{name!r}: row {number} has {row[key]!r:.40} as {key!r}; {wanted}: mend it, or leave it out."
            )
    prompt, chosen, rejected = (encodable(row[key]) for key in _PERSONA_KEYS)
    return prompt, chosen, rejected

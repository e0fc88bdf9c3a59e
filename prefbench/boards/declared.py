"""Seeds of boards that a sweep declared, kept in a runs folder."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from prefbench.errors import UserError
from prefbench.files import read_json
from prefbench.record.packed import board_at
from prefbench.store.files import write_atomically

DECLARED = "boards"
"""File in a runs folder: a JSON list of seeds for each board that a sweep declared, named by
`setting_digest`."""


def declare_seeds(runs_dir: Path, seeds: Mapping[str, Collection[int]]) -> None:
    """Say which seeds boards of a runs folder have; what was said of other boards stays.

    Args:
        runs_dir: the folder.
        seeds: by `setting_digest`.
    """
    folder = runs_dir / DECLARED
    folder.mkdir(parents=True, exist_ok=True)
    for setting, given in seeds.items():
        write_atomically(folder / f"{setting}.json", json.dumps(sorted(given)) + "\n")


def read_declared(runs_dir: Path) -> dict[str, list[int]]:
    """Seeds of a runs folder's or a packed board's boards by `setting_digest`; none if no sweep declared any.

    Raises:
        UserError: a file that says so is damaged.
    """
    board = board_at(Path(runs_dir))
    if board is not None:
        return {setting: list(seeds) for setting, seeds in board.index.declared.items()}
    return {path.stem: _seeds_in(path) for path in sorted((runs_dir / DECLARED).glob("*.json"))}


def _seeds_in(path: Path) -> list[int]:
    try:
        said = read_json(path, within=path.parent)
    except (OSError, ValueError):
        said = None
    if not isinstance(said, list) or not said or not all(type(seed) is int and seed >= 0 for seed in said):
        raise UserError(f"'{path}' is damaged: remove it and start the sweep again.")
    return said

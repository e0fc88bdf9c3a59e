"""Checks of many records over few tables, each table read and evaluated once."""

import contextlib
import copy
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefbench.record import verify, verify_run
from prefbench.record.evidence import read_items
from prefbench.record.files import ITEMS_FILE
from prefbench.record.problems import Problems

EVALUATED = ("regrets", "summarise", "summarise_held_out", "summarise_people", "summarise_prompted")


@contextlib.contextmanager
def evaluated_once() -> Iterator[None]:
    """Within the block, what follows from a file's bytes alone, and each problem that is built, is kept.

    Records are read and held against it every time. What is not a plain file is read every time too.
    """
    tables: dict[tuple[str, bytes], pd.DataFrame] = {}
    found: dict[tuple[Any, ...], Any] = {}

    def read(folder: Path, name: str = ITEMS_FILE) -> pd.DataFrame:
        path = Path(folder) / name
        if path.is_symlink() or not path.is_file():
            return read_items(folder, name)
        key = name, hashlib.sha256(path.read_bytes()).digest()
        if key not in tables:
            tables[key] = read_items(folder, name)
        return tables[key]

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(table: pd.DataFrame, *rest: Any) -> Any:
            if not any(table is kept for kept in tables.values()):
                return function(table, *rest)
            key = function, id(table), repr(rest)
            if key not in found:
                found[key] = function(table, *rest)
            return copy.deepcopy(found[key])  # a caller may change it

        return call

    build = Problems._build

    @functools.wraps(build)
    def built(problems: Problems, record: Any) -> Any:
        key = problems._fetch, problems._large, Problems.key(record)
        if key not in found:
            found[key] = build(problems, record)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        for name in EVALUATED:
            patch.setattr(verify, name, once(getattr(verify, name)))
        for module in (verify, verify_run):
            patch.setattr(module, "read_items", read)
        patch.setattr(Problems, "_build", built)
        yield

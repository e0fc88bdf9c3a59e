"""Looking after the stages of a runs folder: what is there, whether it is whole, and what may go.

Records are never touched. Whatever is removed or damaged is computed again by the run that needs it.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefbench.errors import UserError
from prefbench.record.files import find_records
from prefbench.registry import suggest
from prefbench.store.files import is_locked, locked
from prefbench.store.stages import damage
from prefbench.text import UNITS

STRAY_SECONDS = 3600
"""A temporary file is written in seconds; one this old has lost its writer."""
_PARTIAL, _LOCK, _GONE = ".partial", ".lock", ".gone"


@dataclass(frozen=True)
class StoredStage:
    """One stored stage."""

    kind: str
    path: Path
    size: int
    """Size in bytes."""
    made: float
    """Time at which it was finished, in seconds since 1970."""


@dataclass
class Swept:
    """Stages and files that `gc` removed, or would remove."""

    freed: int = 0
    """Bytes that were freed."""
    removed: list[str] = field(default_factory=list)
    """Names inside the runs folder."""
    kept: list[str] = field(default_factory=list)
    """Things that were left because somebody is at work on them, a sentence each."""


def stages(runs_dir: Path) -> list[StoredStage]:
    """Every finished stage, by kind and age.

    Raises:
        UserError: there is no such runs folder.
    """
    found = []
    for kind in _kinds(runs_dir):
        for path in _entries(kind):
            if path.suffix or not path.is_dir():
                continue
            marker = path / "done.json"
            made = (marker if marker.is_file() else path).stat().st_mtime
            found.append(StoredStage(kind.name, path, _size(path), made))
    return sorted(found, key=lambda stage: (stage.kind, stage.made, stage.path.name))


def _kinds(runs_dir: Path) -> list[Path]:
    if not runs_dir.is_dir():
        raise UserError(f"there is no folder '{runs_dir}': name a runs folder with --runs-dir.")
    root = runs_dir / "stages"
    return [path for path in _entries(root) if path.is_dir()] if root.is_dir() else []


def _entries(folder: Path) -> list[Path]:
    """Contents of a folder; a link leads elsewhere and is none of ours."""
    try:
        return sorted(path for path in folder.iterdir() if not path.is_symlink())
    except FileNotFoundError:  # somebody removed it meanwhile
        return []


def _size(path: Path) -> int:
    """Bytes on disk; a file that several stages have is shared out among them."""
    if not path.is_dir():
        return path.lstat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
                total += found.st_size // found.st_nlink
            except FileNotFoundError:
                continue  # renamed while we looked
    return total


# ------------------------------------------------------------------------------------ ls, verify


def overview(runs_dir: Path) -> list[dict[str, Any]]:
    """Rows for each kind of stage: how many are finished and not, how large, and how old."""
    now = time.time()
    everything = stages(runs_dir)
    rows = []
    for kind in _kinds(runs_dir):
        own = [stage for stage in everything if stage.kind == kind.name]
        partial = [path for path in _entries(kind) if path.suffix == _PARTIAL]
        if own or partial:
            rows.append(
                {
                    "stage": kind.name,
                    "count": len(own),
                    "bytes": sum(stage.size for stage in own),
                    "unfinished": len(partial),
                    "unfinished_bytes": sum(_size(path) for path in partial),
                    "oldest_seconds": max((now - stage.made for stage in own), default=None),
                    "newest_seconds": min((now - stage.made for stage in own), default=None),
                }
            )
    return rows


def verify(runs_dir: Path) -> Iterator[tuple[StoredStage, list[str]]]:
    """Every finished stage with what is wrong with it."""
    for stage in stages(runs_dir):
        found = damage(stage.path)
        if found and (is_locked(stage.path.with_suffix(_LOCK)) or not stage.path.exists()):
            continue  # it is being replaced just now
        yield stage, found


def users(runs_dir: Path) -> dict[Path, list[str]]:
    """The runs that rest on each stage, as their records say; those of older formats say nothing."""
    found: dict[Path, set[str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # records that cannot be read
        records = find_records(runs_dir)
    for folder, record in records:
        for name, stage in record.stages.items():
            path = runs_dir / "stages" / re.split("[/:]", name)[0] / stage
            found.setdefault(path, set()).add(folder.name)
    return {path: sorted(names) for path, names in found.items()}


# --------------------------------------------------------------------------------------------- gc


def parse_age(text: str) -> float:
    """`30d`, `12h` or `2w` in seconds."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])", text.strip())
    if match is None:
        raise UserError(f"--older-than {text}: write a number and one of s, m, h, d or w, such as 30d.")
    return float(match[1]) * UNITS[match[2]]


def gc(
    runs_dir: Path, *, older_than: float | None = None, stage: str | None = None, dry_run: bool = False
) -> Swept:
    """Remove what killed processes left behind and, if asked for, finished stages.

    Args:
        runs_dir: the runs folder.
        older_than: remove finished stages that were made more than this many seconds ago.
        stage: remove finished stages of this kind; with `older_than` those to which both apply.
        dry_run: only say what would be removed.

    Raises:
        UserError: there is no such folder or kind of stage.
    """
    if (runs_dir / "stages").is_symlink():
        raise UserError(
            f"'{runs_dir / 'stages'}' is a link, and nothing is removed through one: name the folder of the "
            "runs that it belongs to with --runs-dir."
        )
    kinds = _kinds(runs_dir)
    if stage is not None and stage not in (names := [kind.name for kind in kinds]):
        raise UserError(f"'{runs_dir}' has no stage '{stage}'.{suggest(stage, names)}")
    swept = Swept()
    if older_than is not None or stage is not None:
        _sweep_finished(runs_dir, kinds, older_than, stage, dry_run, swept)
    for kind in kinds:
        for path in _entries(kind):
            if path.suffix in (_PARTIAL, _GONE):
                _remove(runs_dir, path, dry_run, swept)
        for path in _entries(kind):
            if path.suffix == _LOCK and not dry_run:  # empty, so that none is worth a line
                _remove_lock(path)
    for path in [*runs_dir.glob("*/.*.tmp"), *runs_dir.glob("stages/*/.*.tmp")]:
        linked = path.is_symlink() or path.parent.is_symlink()
        if path.is_file() and not linked and time.time() - path.stat().st_mtime > STRAY_SECONDS:
            _count(runs_dir, path, swept)
            if not dry_run:
                path.unlink(missing_ok=True)
    return swept


def _sweep_finished(
    runs_dir: Path, kinds: list[Path], older_than: float | None, kind: str | None, dry_run: bool, swept: Swept
) -> None:
    busy = next((p for k in kinds for p in _entries(k) if p.suffix == _LOCK and is_locked(p)), None)
    if busy is not None:
        # A run reads its earlier stages without a lock, so none may go while one is being computed.
        swept.kept.append(f"finished stages: a process is computing {busy.parent.name}")
        return
    now = time.time()
    for stage in stages(runs_dir):
        old = older_than is None or now - stage.made > older_than
        if old and kind in (None, stage.kind):
            _remove(runs_dir, stage.path, dry_run, swept)


def _remove(runs_dir: Path, path: Path, dry_run: bool, swept: Swept) -> None:
    """A stage's folder, whole or not, unless its lock is held."""
    lock = path.with_suffix(_LOCK)
    name = str(path.relative_to(runs_dir))
    if dry_run:
        if is_locked(lock):
            swept.kept.append(f"{name}: a process is at work on it")
        else:
            _count(runs_dir, path, swept)
        return
    with locked(lock, wait=False) as held:
        if not held:
            swept.kept.append(f"{name}: a process is at work on it")
            return
        if not path.exists():  # finished while we looked
            return
        _count(runs_dir, path, swept)
        # Whoever looks meanwhile finds the whole stage or none.
        gone = path.with_suffix(_GONE)
        if path != gone:
            shutil.rmtree(gone, ignore_errors=True)
            os.replace(path, gone)
        shutil.rmtree(gone)


def _remove_lock(path: Path) -> None:
    with locked(path, wait=False) as held:
        if held:  # whoever waits for it finds out that it is gone and takes a new one
            path.unlink(missing_ok=True)


def _count(runs_dir: Path, path: Path, swept: Swept) -> None:
    swept.freed += _size(path)
    swept.removed.append(str(path.relative_to(runs_dir)))

"""Stages addressed by the hash of what they depend on. This is also how a killed run continues.

A stage is computed in `<runs>/stages/<name>/<hash>.partial/`, where it may leave checkpoints, and is
renamed to `<hash>/` once `done.json` (its key and the checksum of every file) is on disk. So a folder without
the suffix is whole, and whatever was killed goes on from its last checkpoint.

Several processes of one run (`team.py`) compute a stage together. The first of them decides and
writes; what the others write goes to a folder that is thrown away.

A lock file keeps two processes from computing one stage: the second waits and then reads the
result. The lock is the operating system's, so it goes when its owner dies, however it dies.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from prefbench.errors import PrefbenchError, UserError
from prefbench.files import read_json
from prefbench.spec import digest
from prefbench.store.files import checksum, clear_disk_errors, locked, write_atomically
from prefbench.store.progress import Reporter, Silent
from prefbench.team import team

if TYPE_CHECKING:
    import torch

MadeBy = Callable[[str, Callable[..., Any]], Mapping[str, Any]]
"""From a stage's name and the function that computes it to the code and files that it depends on."""

CHECKPOINT_SECONDS = 10.0
_waits = contextvars.ContextVar("waits", default=True)


class Busy(PrefbenchError):
    """Another process is computing a stage, and nobody wants to wait for it."""


@contextlib.contextmanager
def waiting(wait: bool) -> Iterator[None]:
    """Wait, within the block, for a stage that another process is computing, or raise `Busy`."""
    token = _waits.set(wait)
    try:
        yield
    finally:
        _waits.reset(token)


@dataclass
class Work:
    """The folder of a stage while it is being computed: checkpoints and progress."""

    stage: str
    path: Path
    reporter: Reporter = field(default_factory=Silent)
    _saved_at: float = field(default_factory=time.monotonic)
    checkpoints: Path | None = None
    """Folder that checkpoints are read from, if not from the stage's own."""

    def report(self, done: int, total: int, **values: float) -> None:
        """Tell the reporter how far a loop is."""
        self.reporter.step(self.stage, done, total, values)

    def due(self) -> bool:
        """True if the last checkpoint is old enough that a loop should save one."""
        return bool(team().first(time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS))

    def save(self, name: str, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Write a checkpoint (tensors and JSON in one safetensors file), replacing the last one."""
        from safetensors.torch import save_file

        if team().rank:
            return
        target = self.path / f"{name}.checkpoint"
        beside = target.with_suffix(".tmp")
        contiguous = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        with clear_disk_errors():
            save_file(contiguous, beside, metadata={"meta": json.dumps(meta)})
            _sync(beside)
            os.replace(beside, target)
        self._saved_at = time.monotonic()

    def load(self, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The last checkpoint of that name, or None; an unreadable one counts as none."""
        found = self._read(name)
        if not team().first(found is not None):
            return None
        if found is None:
            raise _unshared()
        return found

    def _read(self, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:

        target = (self.checkpoints or self.path) / f"{name}.checkpoint"
        if not target.exists():
            return None
        try:
            with safe_open(target, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}
                return tensors, json.loads(file.metadata()["meta"])
        except (SafetensorError, KeyError, ValueError):
            return None


class Store:
    """The stages of one runs folder."""

    def __init__(self, root: Path, reporter: Reporter | None = None, made_by: MadeBy | None = None) -> None:
        self.root = root / "stages"
        self.reporter: Reporter = reporter or Silent()
        self.made_by: MadeBy = made_by or (lambda stage, compute: {})
        self.opened: dict[str, str] = {}
        """Name of each stage of the run so far, those opened within others too, to the name of its folder."""
        self.timings: dict[str, float] = {}
        self._inside: list[float] = []
        self._within: list[dict[str, str]] = [self.opened]
        # Only looked at here: bad input found later must leave nothing behind.
        existing = next(path for path in (root, *root.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise self._unwritable("not a folder that can be written")

    def _unwritable(self, why: str) -> UserError:
        return UserError(
            f"the runs folder '{self.root.parent}' cannot be used ({why}): name another with --runs-dir."
        )

    def stage(
        self, name: str, key: Mapping[str, Any], compute: Callable[[Work], None], *, part: str = ""
    ) -> Path:
        """The folder of the stage `name` that depends on `key`, computed now if it is not there.

        Args:
            name: one of the flow's stages; also a folder name.
            key: the inputs of the result, as JSON values. The code that makes it is added here.
            compute: writes the result into `work.path`; called at most once.
            part: what this one is of several stages of a name, for `opened`.
        """
        self._inside.append(0.0)
        self._within.append({})
        made_by = dict(self.made_by(name, compute))
        final = self.root / name / digest({"stage": name, "key": key, "made_by": made_by})[:32]
        started = time.monotonic()
        with self._claimed(final) as stored:
            self.reporter.begin(name, stored is not None)
            done = stored if stored is not None else self._compute(name, key, compute, final, made_by)
        self._note(f"{name}/{part}" if part else name, final.name, done.get("within", {}))
        seconds = time.monotonic() - started
        # A stage may open another (policy opens rewards): each second is counted once.
        self.timings[name] = self.timings.get(name, 0.0) + seconds - self._inside.pop()
        if self._inside:
            self._inside[-1] += seconds
        self.reporter.end(name, seconds)
        return final

    def _note(self, name: str, stored: str, within: Mapping[str, str]) -> None:
        """Remember a stage and those within it, also where it was computed long ago."""
        self._within.pop()
        for inner, folder in {**within, name: stored}.items():
            opened = self._within[-1]
            if folder not in (opened[known] for known in opened if known.split(":")[0] == inner):
                count = sum(known.split(":")[0] == inner for known in opened)
                opened[f"{inner}:{count + 1}" if count else inner] = folder

    @contextlib.contextmanager
    def _claimed(self, final: Path) -> Iterator[dict[str, Any] | None]:
        """The description in a stored stage; None, with the stage's lock held, if it must be computed."""
        key = int(final.name[:15], 16)
        if team().first(key) != key:
            raise PrefbenchError(
                f"process {team().rank} came to another stage '{final.parent.name}' than process 0: all of "
                "them need the same packages, data and model, and a plug-in must not depend on chance."
            )
        with contextlib.ExitStack() as stack:
            done: dict[str, Any] | None = None
            if team().rank == 0:
                done = _whole(final)
                if done is None:
                    stack.enter_context(self._lock(final))
                    done = _whole(final)  # somebody else may have computed it while we waited
            if not team().first(done is not None):
                yield None
            else:
                # Read once by who found it whole: somebody may clear the stage away at any moment.
                yield done if done is not None else _shared(final)

    def _compute(
        self,
        name: str,
        key: Mapping[str, Any],
        compute: Callable[[Work], None],
        final: Path,
        made_by: Mapping[str, Any],
    ) -> dict[str, Any]:
        partial = final.with_suffix(".partial")
        if team().rank:
            with tempfile.TemporaryDirectory(prefix="prefbench-") as folder, clear_disk_errors():
                compute(Work(name, Path(folder), self.reporter, checkpoints=partial))
            for _ in range(2):  # everybody has computed it; process 0 has put it in its place
                team().first(0)
            return _shared(final)
        with clear_disk_errors():
            partial.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            compute(Work(name, partial, self.reporter))
            team().first(0)
            for leftover in [*partial.glob("*.checkpoint"), *partial.glob("*.tmp")]:
                leftover.unlink()
            done: dict[str, Any] = {
                "stage": name,
                "key": key,
                "made_by": made_by,
                "within": self._within[-1],
                "files": {
                    str(file.relative_to(partial)): checksum(file)
                    for file in sorted(partial.rglob("*"))
                    if file.is_file() and file.name != "done.json"
                },
                "seconds": round(time.monotonic() - started, 3),
            }
            # The files that it speaks of are not waited for either: what a loss of power cuts short does not
            # fit its checksum, and is computed again.
            write_atomically(partial / "done.json", json.dumps(done, indent=1), lasting=False)
            if final.exists():  # a damaged earlier copy
                shutil.rmtree(final)
            os.replace(partial, final)
        team().first(0)
        return done

    @contextlib.contextmanager
    def _lock(self, final: Path) -> Iterator[None]:
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._unwritable(str(error.strerror)) from None
        path = final.with_suffix(".lock")
        with contextlib.ExitStack() as stack:
            if not stack.enter_context(locked(path, wait=False)):
                if not _waits.get():
                    raise Busy(f"another process is computing {final.parent.name}.")
                self.reporter.note(f"another process is computing {final.parent.name}; waiting for it")
                stack.enter_context(locked(path))
            yield


def _unshared() -> PrefbenchError:
    return PrefbenchError(
        f"process {team().rank} cannot read what process 0 has written: the runs folder must be on a file "
        "system that all machines of the run share."
    )


def _shared(final: Path) -> dict[str, Any]:
    """The description of a stage that process 0 has found or written."""
    try:
        return dict(read_json(final / "done.json", within=final))
    except FileNotFoundError:
        raise _unshared() from None


def _whole(folder: Path) -> dict[str, Any] | None:
    """The description in a complete stage, if every file still has the checksum it was stored with."""
    done, wrong = _checked(folder)
    return None if wrong else done


def damage(folder: Path) -> list[str]:
    """Sentences for damage to a stored stage, one for each file; none if it is whole."""
    return _checked(folder)[1]


def _checked(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The description in a stage, and a sentence for each of its files that does not fit."""
    try:
        done = dict(read_json(folder / "done.json", within=folder))
        files = dict(done["files"])
    except FileNotFoundError:
        return {}, ["done.json is missing"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}, ["done.json cannot be read"]
    found = []
    for name, expected in files.items():
        try:
            if checksum(folder / str(name), within=folder) != expected:
                found.append(f"{name} was altered or cut short")
        except FileNotFoundError:
            found.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            found.append(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})")
    return done, found


def content_digest(folder: Path) -> str:
    """Names what a finished stage holds: equal for equal files, whatever they were computed from."""
    return digest(read_json(folder / "done.json", within=folder)["files"])[:32]


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

"""Plug-ins in files: their modules, and leave to run those that a run or sweep file names."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal

from prefbench.errors import UserError

Stance = Literal["refuse", "run", "leave out"]
"""Towards plug-ins that a file names."""


def plugins_of_file(
    named: Iterable[str], typed: Iterable[str], where: str, stance: Stance
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Plug-ins of a run or sweep file that are loaded beside those that were typed.

    Importing a plug-in runs it, and whoever wrote the file could name any. One that is also typed is allowed.

    Args:
        named: by the file.
        typed: by the person who runs it.
        where: how a message names the file.
        stance: what becomes of those that only the file names.

    Returns:
        Files to load, and files that are left out.

    Raises:
        UserError: the file names one, and they are refused.
    """
    typed = list(typed)
    known = {Path(file).resolve() for file in typed}
    more = [file for file in dict.fromkeys(named) if Path(file).resolve() not in known]
    if more and stance == "refuse":
        raise UserError(
            f"{where} names plug-ins ({', '.join(more)}), which are code that would be run: read them, and "
            "say --allow-plugins (docs/faq.md#a-file-names-plug-ins)."
        )
    if stance == "leave out":
        return tuple(typed), tuple(more)
    return (*more, *typed), ()


def forgotten(name: str, sure: bool) -> str:
    """A question about the plug-in that may define a name; nothing if the name is likely a slip of another.

    Args:
        name: what is not registered.
        sure: whether something else was likely meant. A file of the name that is here says otherwise.
    """
    here = is_here(name)
    return "" if sure and not here else f" Did you forget --plugin {f'{name}.py' if here else 'FILE.py'}?"


def is_here(name: str) -> bool:
    """True if a Python file of this name is in the current folder."""
    return name.isidentifier() and Path(f"{name}.py").is_file()


_given: dict[str, str] = {}  # module of a plug-in -> its file as it was named


def option_for(module: str) -> str:
    """` --plugin FILE.py` for a module that was loaded from that file, nothing for any other."""
    return f" --plugin {shlex.quote(_given[module])}" if module in _given else ""


@contextlib.contextmanager
def knowing_nothing_of(plugins: Sequence[str]) -> Iterator[None]:
    """Say with each error about a name or an option that it may be one of plug-ins that were not run."""
    try:
        yield
    except UserError as error:
        if not plugins:
            raise
        raise UserError(
            f"{error} --dry-run does not run the plug-ins that the file names ({', '.join(plugins)}), "
            "so what they add is not known: to plan it, read them and name them with --plugin."
        ) from None


def load_module(file: str, named: str = "--plugin ") -> ModuleType:
    """The module of a Python file, run once in a process; errors call it `named` and its path.

    Raises:
        UserError: there is no such file, or it cannot be imported.
    """
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"{named}{file}: no such Python file: check the path.")
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"prefbench_plugin_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None and module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except UserError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise UserError(f"{named}{file} could not be imported: {reason}") from error
    _given[name] = file
    return module

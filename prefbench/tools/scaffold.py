"""The file that `prefbench new` writes: small, complete, and already passing `prefbench check`.

The templates lie in `templates/` as working Python, with NAME for the name and TITLE for it as a class.
"""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import Literal

from prefbench import registry
from prefbench.errors import UserError

Begun = Literal["task", "three-group-task", "aligner", "reward-aligner", "personal-aligner"]
"""Kinds of plug-ins that there are templates of."""


def new(kind: Begun, name: str, out: Path) -> Path:
    """Write `out/name.py` with a task or an aligner of that name.

    Returns:
        The file.

    Raises:
        UserError: the name will not do, is taken, or the file exists. Nothing was written.
    """
    if not (re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)) or keyword.iskeyword(name):
        raise UserError(f"'{name}' is no name for a Python function: take letters, digits and underscores.")
    file_name = f"{kind.replace('-', '_')}.py"
    template = (files("prefbench") / "tools" / "templates" / file_name).read_text(encoding="utf-8")
    registered: registry.EntryKind = "task" if kind.endswith("task") else "aligner"
    if re.search(rf"\b{name}\b", template):
        raise UserError(f"'{name}' means something else in the file to be written: take another name.")
    if any(entry.name == name for entry in registry.entries(registered)):
        raise UserError(f"{registered} '{name}' exists already: `prefbench show {name}`. Take another name.")
    path = out / f"{name}.py"
    if path.exists():
        raise UserError(f"'{path}' exists already: remove it, or name another folder with --out.")
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is not a folder: name one with --out.")
    title = "".join(part.capitalize() for part in name.split("_")) or "My"
    out.mkdir(parents=True, exist_ok=True)
    text = re.sub("TITLE", title, re.sub("NAME", name, template))
    with path.open("x", encoding="utf-8") as file:  # never over a file that came meanwhile
        file.write(text)
    return path

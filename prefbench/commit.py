"""The commit that this prefbench is, whether it runs from a checkout or was installed from one."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

FILE = "COMMIT"
"""Beside this module in an installed package: the commit that it was built from."""


@functools.cache
def commit() -> str | None:
    """Hexadecimal digits, with `-dirty` after them where the sources were changed since; None if unknown."""
    here = Path(__file__).parent
    if (here.parent / ".git").exists():
        return commit_of(here.parent)
    try:
        return (here / FILE).read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def commit_of(checkout: Path) -> str | None:
    """The commit of a checkout, `-dirty` where tracked files differ from it; None where git has no answer."""
    head = _git(checkout, "rev-parse", "HEAD")
    changed = None if head is None else _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return head if changed == "" else f"{head}-dirty" if head and changed else None


def _git(checkout: Path, *words: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(checkout), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()

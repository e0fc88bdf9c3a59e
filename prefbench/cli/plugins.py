"""Plug-ins as the command line names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefbench.cli.output import warn

if TYPE_CHECKING:
    from prefbench.file_plugins import Stance


def stance(dry_run: bool, allow_plugins: bool) -> Stance:
    """The treatment of plug-ins that only a file names; a --dry-run never runs them."""
    return "leave out" if dry_run else "run" if allow_plugins else "refuse"


def say_left_out(plugins: Sequence[str]) -> None:
    """A warning that names the plug-ins which were not run."""
    if plugins:
        warn(f"--dry-run does not run the plug-ins that the file names: {', '.join(plugins)}")


def load_and_warn(files: list[str] | None) -> None:
    """Load what is installed and these files; a warning for each plug-in that fails."""
    from prefbench.registry import load_plugins

    for plugin, reason in load_plugins(files or []).items():
        warn(f"plug-in {plugin} is left out, it failed to import: {reason}")

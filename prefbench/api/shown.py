"""Things that show themselves: as a table in a terminal, as HTML in a notebook, as figures."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from prefbench.boards.rows import Row
from prefbench.boards.table import frame_of
from prefbench.errors import UserError
from prefbench.registry import load_plugins
from prefbench.report.figures import settings_of
from prefbench.report.plots import draw_figure
from prefbench.report.shown_html import html_block
from prefbench.report.tables import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Shown(ABC):
    """Base of what `run`, `load`, `compare` and `leaderboard` return."""

    @abstractmethod
    def _tables(self) -> Sequence[Table]:
        """Tables to show, from top to bottom."""

    @abstractmethod
    def _sentences(self) -> Sequence[str]:
        """Sentences below the tables."""

    @abstractmethod
    def _rows(self) -> Sequence[Row]:
        """Rows that figures are drawn from."""

    def _above(self) -> Sequence[str]:
        """Sentences above the tables."""
        return ()

    def _ended_well(self) -> bool:
        """True unless something failed, which a notebook marks."""
        return True

    def __repr__(self) -> str:
        tables = [render(table, plain_console()) for table in self._tables()]
        return "\n".join([*self._above(), "\n\n".join(tables), *self._sentences()])

    def _repr_html_(self) -> str:
        return html_block(self._tables(), self._sentences(), self._above(), good=self._ended_well())

    def plot(self, name: str, path: str | os.PathLike[str] | None = None) -> Figure:
        """A figure, as `prefbench plot` draws it.

        Args:
            name: headline, shares, scatter, gap, kl or training.
            path: a PNG, SVG or PDF file to write it to, if any.

        Raises:
            UserError: there is no such figure, nothing to draw, or more than one task, model or data.
        """
        rows = self._rows()
        return draw_figure(settings_of(frame_of(rows), rows), name, None if path is None else Path(path))


def plain_console() -> Console:
    """A console as wide as the terminal, whose text has neither colours nor a notebook's markup."""
    return Console(color_system=None, force_jupyter=False)


def know_plugins() -> None:
    """Load what is installed; a warning for each plug-in that fails."""
    for plugin, reason in load_plugins().items():
        warnings.warn(f"plug-in {plugin} is left out, it failed to import: {reason}", stacklevel=3)


def path_of(given: object, what: str) -> Path:
    """A path that somebody names.

    Raises:
        UserError: it is no text and no path.
    """
    if not isinstance(given, str | os.PathLike):
        raise UserError(f"{what} {given!r} is no path: give text or a pathlib.Path.")
    return Path(os.fsdecode(given)).expanduser()

"""Figures of a runs folder for a paper, drawn with matplotlib at the size at which they are printed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from prefbench.boards.frontier import by_board, frontiers_of
from prefbench.boards.matrix import Matrix, head_to_head
from prefbench.boards.names import board_key, board_name, config_hash
from prefbench.boards.ranks import roles
from prefbench.boards.rows import Row, load_rows
from prefbench.boards.table import frame_of
from prefbench.errors import UserError
from prefbench.registry import suggest
from prefbench.report.drawing import WIDTHS, Width, fixed
from prefbench.report.duels_plot import draw_duels
from prefbench.report.figures import Cell, FigureSetting, settings_of
from prefbench.report.frontier_plot import draw_frontier
from prefbench.report.people_plot import draw_people, people_boards
from prefbench.report.setting_plots import DRAWN, LACKS, WHOLE
from prefbench.report.slices_plot import Slices, draw_slices, slices_of
from prefbench.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = (*DRAWN, "people", "duels", "slices", "frontier")
"""Names of all figures, in the order in which they are written."""
MOST_DUELLISTS = 10
"""Policies of which one column of text can show every two head to head."""
_STAMPS = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Kinds of files, and what is left out of each that would differ from day to day."""


def save_figures(
    runs_dir: Path,
    out: Path,
    fmt: str | Sequence[str] = "png",
    aligners: Sequence[str] | None = None,
    figures: Sequence[str] | None = None,
    width: Width = "column",
) -> list[Path]:
    """Draw the figures of every setting in a runs folder; the same runs give the same SVG, byte for byte.

    Args:
        runs_dir: the runs.
        out: a folder, made if it is not there.
        fmt: of the files, png, svg or pdf, or several of them.
        aligners: which to draw; a readable choice if left out.
        figures: which of `FIGURES`; all that there is something for if left out.
        width: of one column of text or of a page.

    Returns:
        The files.

    Raises:
        UserError: if there is no run, nothing that can be drawn, or no such figure, format or aligner.
    """
    runs_dir, wanted = Path(runs_dir), figures or FIGURES
    formats = [fmt] if isinstance(fmt, str) else list(dict.fromkeys(fmt))
    _check_named("figure", wanted, FIGURES)
    _check_named("format", formats, list(_STAMPS))
    rows = load_rows(runs_dir)
    settings = settings_of(frame_of(rows), rows)
    _check_aligners(settings, aligners or [])
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with fixed():
        drawn = _drawn(rows, settings, aligners, wanted, WIDTHS[width])
        files = [file for name, figure in drawn for file in write_figure(figure, folder / name, formats)]
    if not files:
        raise UserError(
            f"nothing in '{runs_dir}' can be drawn: no aligner there has a whole set of runs"
            "; run the seeds that are missing, as `prefbench leaderboard build` names them."
        )
    return files


def save_slices(
    slices: Sequence[Slices], out: Path, fmt: Sequence[str], width: Width = "column"
) -> list[Path]:
    """Draw what options scored, a file for each aligner.

    Args:
        slices: from `slices_of` or of a tuning file.
        out: a folder, made if it is not there.
        fmt: of the files.
        width: of one column of text or of a page.

    Raises:
        UserError: none of them varied an option, or there is no such format.
    """
    _check_named("format", fmt, list(_STAMPS))
    several = [each for each in slices if each.varied()]
    if not several:
        raise UserError(
            "no option was given several values: there is no slice to draw"
            "; tune with two configurations or more."
        )
    Path(out).mkdir(parents=True, exist_ok=True)
    with fixed():
        return [
            file
            for each, slug in zip(several, _slugs([each.aligner for each in several], True), strict=True)
            for file in write_figure(draw_slices(each, WIDTHS[width]), Path(out) / f"slices{slug}", fmt)
        ]


def _drawn(
    rows: Sequence[Row],
    settings: Sequence[FigureSetting],
    aligners: Sequence[str] | None,
    wanted: Sequence[str],
    width: float,
) -> Iterator[tuple[str, Figure]]:
    """The figures with the names of their files, without the ending."""
    for setting, slug in zip(settings, _slugs([setting.label for setting in settings]), strict=True):
        for name in (name for name in DRAWN if name in wanted):
            cells = _cells(setting, aligners, name in WHOLE)
            figure = DRAWN[name](setting, cells, width) if cells else None
            if figure is not None:
                yield f"{name}{slug}", figure
    role = roles(rows)
    if "people" in wanted:
        boards = people_boards(rows, aligners)
        for slug, (label, board) in zip(_slugs(list(boards)), boards.items(), strict=True):
            yield f"people{slug}", draw_people(label, board, role, width)
    if "duels" in wanted:
        matrices = dict(_matrices(rows, settings, aligners))
        for slug, matrix in zip(_slugs(list(matrices)), matrices.values(), strict=True):
            yield f"duels{slug}", draw_duels(matrix, width)
    if "slices" in wanted:
        found = slices_of(settings, aligners)
        slugs = _slugs([f"{each.aligner} {each.label}" for each in found], True)
        for slug, slices in zip(slugs, found, strict=True):
            yield f"slices{slug}", draw_slices(slices, width)
    if "frontier" in wanted:
        curves = by_board(frontiers_of(rows), aligners)
        for slug, lines in zip(_slugs(list(curves)), curves.values(), strict=True):
            yield f"frontier{slug}", draw_frontier(lines, role, width)


def _matrices(
    rows: Sequence[Row], settings: Sequence[FigureSetting], aligners: Sequence[str] | None
) -> Iterator[tuple[str, Matrix]]:
    """The duels of each board with two whole policies, and its name."""
    shown = {
        cell.row["config_hash"]
        for setting in settings
        for cell in _cells(setting, aligners, whole=False)
        if cell.complete
    }
    boards: dict[str, list[Row]] = {}
    for row in rows:
        if row.measurable and config_hash(row.first.spec) in shown:
            boards.setdefault(board_key(row.first), []).append(row)
    for same in boards.values():
        if 2 <= len(same) <= MOST_DUELLISTS:
            name = board_name(same[0].first)
            try:
                yield name, head_to_head(same)
            except UserError as error:
                warnings.warn(f"no duels of {name}: {error}", stacklevel=2)


def draw_figure(
    settings: Sequence[FigureSetting], name: str, path: Path | None = None, width: Width = "column"
) -> Figure:
    """One figure of one setting, as `save_figures` draws it.

    Args:
        settings: from `settings_of`.
        name: headline, shares, scatter, gap, kl or training.
        path: a PNG, SVG or PDF file to write, if any.
        width: of one column of text or of a page.

    Returns:
        The figure, which a notebook shows.

    Raises:
        UserError: there is no such figure or kind of file, several settings, or nothing to draw.
    """
    _check_named("figure", [name], list(DRAWN))
    fmt = "" if path is None else path.suffix.removeprefix(".").lower()
    if path is not None and fmt not in _STAMPS:
        raise UserError(f"'{path}' is no {', '.join(_STAMPS)} file: name it so.")
    if len(settings) > 1:
        labels = "; ".join(one_line(setting.label) for setting in settings[:4])
        raise UserError(
            f"a figure has one task, model and data, and these are {len(settings)} ({labels}"
            f"{'; ...' if len(settings) > 4 else ''}): choose runs of one."
        )
    with fixed():
        cells = _cells(settings[0], None, name in WHOLE) if settings else []
        figure = DRAWN[name](settings[0], cells, WIDTHS[width]) if cells else None
        if figure is None:
            lacks = LACKS[name] if cells else "no whole set of runs"
            raise UserError(
                f"figure '{name}' cannot be drawn: there is {lacks}"
                "; leave --figure out to draw what there is."
            )
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(figure, path, fmt)
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    """The picture that a notebook shows of a figure that pyplot does not know, large enough to be read."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()


def write_figure(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure in each format, under its name without the ending."""
    files = [stem.with_name(f"{stem.name}.{fmt}") for fmt in formats]
    for file, fmt in zip(files, formats, strict=True):
        _save(figure, file, fmt)
    return files


def _save(figure: Figure, path: Path, fmt: str) -> None:
    figure.savefig(path, dpi=300, metadata=_STAMPS[fmt])


def _cells(setting: FigureSetting, aligners: Sequence[str] | None, whole: bool) -> list[Cell]:
    """The cells of a setting that are shown and can be drawn."""
    if aligners:
        shown = {cell.line for cell in setting.cells if cell.row["aligner"] in aligners}
    else:
        shown = set(range(len(setting.lines)) if whole else setting.first_shown)
    drawn = [cell for cell in setting.cells if cell.line in shown and cell.interval("gap")]
    return sorted(drawn, key=lambda cell: cell.line)


def _check_named(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"no {what} '{name}': there are {', '.join(known)}; name one of them.")


def _check_aligners(settings: Sequence[FigureSetting], aligners: Sequence[str]) -> None:
    known = sorted({cell.row["aligner"] for setting in settings for cell in setting.cells})
    for name in aligners:
        if name not in known:
            raise UserError(f"no run of an aligner '{name}'.{suggest(name, known)}")


def _slugs(labels: Sequence[str], always: bool = False) -> list[str]:
    """Ends of file names: none for a single one unless always, else what names it, made unique."""
    if len(labels) == 1 and not always:
        return [""]
    plain = [f"-{re.sub(r'[^A-Za-z0-9]+', '_', label).strip('_')[:60]}" for label in labels]
    return [name if plain.count(name) == 1 else f"{name}-{i + 1}" for i, name in enumerate(plain)]

"""The page of two models compared: one file without a script, which needs no server and no network."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from prefbench.boards.models_output import HEADER, models_rows, models_sentences, models_title
from prefbench.evaluate.models import EVEN, GroupVerdict, ModelComparison
from prefbench.report.markup import escape
from prefbench.store.files import write_atomically
from prefbench.version import __version__

LOST = 10
"""Lost responses of each group that the page shows, at most."""
_STYLE = Path(__file__).parent / "page_files" / "page.css"
_WIDTH, _LEFT, _ROW = 720, 190, 30
_COLOURS = {"held": "won", "fell": "lost", "cannot tell": "tied"}


def write_models_page(comparison: ModelComparison, out: Path, lost: int = LOST) -> None:
    """Write the page; the same comparison gives the same bytes.

    Args:
        comparison: of two models.
        out: the HTML file.
        lost: lost responses of each group that are shown, at most.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, models_page(comparison, lost))


def models_page(comparison: ModelComparison, lost: int = LOST) -> str:
    """The page as text."""
    css = _STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = escape(models_title(comparison))
    said = "".join(f"<p class='note'>{escape(line)}</p>" for line in models_sentences(comparison))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header class="top"><div class="wrap">
<h1>Who is served worse by the new model?</h1>
<p class="lede">{title}. One half is a model as good as the old one; bars are 95% intervals over prompts.</p>
</div></header>
<main class="wrap">
<section><h2>{escape(comparison.sum)}</h2>
<figure>{_plot(comparison)}</figure></section>
<section id="table"><div class="scroll">{_table(comparison)}</div>{said}</section>
{"".join(_lost(comparison, group, lost) for group in comparison.groups)}
</main>
<footer><div class="wrap">Made by prefbench {escape(__version__)}. This file needs no network and asks for
nothing.</div></footer>
</body>
</html>
"""


def _plot(comparison: ModelComparison) -> str:
    """Win rates with their intervals, one line for each group, and a line at one half."""
    height = _ROW * len(comparison.groups) + 34
    marks = [
        f"<line class='{'half' if tick == EVEN else 'grid'}' x1='{_x(tick)}' x2='{_x(tick)}' y1='4' "
        f"y2='{height - 24}'/><text x='{_x(tick)}' y='{height - 8}' text-anchor='middle'>{tick:g}</text>"
        for tick in (0.0, 0.25, EVEN, 0.75, 1.0)
    ]
    for row, group in enumerate(comparison.groups):
        y, name = _ROW * row + 20, escape(_short(group.name))
        marks.append(
            f"<g class='{_COLOURS[group.verdict]}'><title>{escape(group.sentence)}</title>"
            f"<text class='label' x='{_LEFT - 16}' y='{y + 4}' text-anchor='end'>{name}</text>"
            f"<line class='whisker' x1='{_x(group.low)}' x2='{_x(group.high)}' y1='{y}' y2='{y}'/>"
            f"<circle class='mark' cx='{_x(group.win_rate)}' cy='{y}' r='5'/><text class='value' "
            f"x='{_WIDTH - 4}' y='{y + 4}' text-anchor='end'>{group.win_rate:.3f}</text></g>"
        )
    return (
        f"<svg viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}' role='img' "
        f"aria-label='Win rate of each group'>{''.join(marks)}</svg>"
    )


def _x(rate: float) -> float:
    return round(_LEFT + rate * (_WIDTH - _LEFT - 64), 1)


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}\u2026"


def _table(comparison: ModelComparison) -> str:
    header = "".join(f"<th>{escape(name)}</th>" for name in HEADER[:2])
    header += "".join(f"<th class='number'>{escape(name)}</th>" for name in HEADER[2:])
    rows = ""
    for group, cells in zip(comparison.groups, models_rows(comparison), strict=True):
        name, verdict, *numbers = map(escape, cells)
        rest = "".join(f"<td class='number'>{cell}</td>" for cell in numbers)
        rows += f"<tr><th>{name}</th><td class='{_COLOURS[group.verdict]}'>{verdict}</td>{rest}</tr>"
    return f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"


def _lost(comparison: ModelComparison, group: GroupVerdict, most: int) -> str:
    """The comparisons that a group lost, the largest loss first, folded away where there are any."""
    found = comparison.lost(group.name)
    if not found:
        return ""
    shown = "".join(_answers(comparison, group, item) for item in found[:most])
    rest = f", the {most} largest losses" if len(found) > most else ""
    name = escape(group.name)
    return (
        f"<section><details class='numbers'><summary>What {name} lost: {len(found):,} of "
        f"{comparison.scores[:, :, 0].size:,} responses{rest}</summary>{shown}</details></section>"
    )


def _answers(comparison: ModelComparison, group: GroupVerdict, item: dict[str, Any]) -> str:
    difference = item[f"difference/{group.name}"]
    by = "empty" if difference is None else f"{difference:+.3g} {group.unit}"
    answers = "".join(
        f"<div class='answer'><h3>{escape(answers.name)}</h3>{_text(item[side])}"
        f"{f'<p class=small>{escape(by)}</p>' if side == 'new' else ''}</div>"
        for side, answers in (("old", comparison.old), ("new", comparison.new))
    )
    return (
        f"<div class='prompt'><h3>Prompt</h3>{_text(item['prompt'])}</div>"
        f"<div class='answers'>{answers}</div><p></p>"
    )


def _text(text: str) -> str:
    return (
        f"<p class='text' dir='auto'>{escape(text)}</p>"
        if text.strip()
        else "<p class='text empty'>empty</p>"
    )

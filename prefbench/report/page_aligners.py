"""The page's section on what each aligner is, and where it comes from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prefbench.registry import find
from prefbench.report.markup import escape

if TYPE_CHECKING:
    import pandas as pd

_UNKNOWN = "Not registered here: <code>--plugin FILE.py</code> names the file that it is in."
_OUTSIDE = "A policy from outside, which no run here trained."


def aligners_section(frame: pd.DataFrame) -> str:
    """Each aligner of a leaderboard with its idea and its source, as markup that ends in a line break."""
    once = frame.drop_duplicates("aligner").sort_values("aligner")[["aligner", "needs", "sees", "role"]]
    body = "".join(_described(*row) for row in once.itertuples(index=False))
    return (
        '<section id="aligners" class="wide" aria-labelledby="aligners-title">\n'
        '<h2 id="aligners-title">What each aligner is</h2>\n'
        '<p class="how">In its author&rsquo;s words, and where the idea comes from. What it needs to see in '
        "training decides whom it may be compared with; what it sees is told of the person whom it answers."
        f'</p>\n<dl class="aligners">\n{body}</dl>\n</section>\n'
    )


def _described(name: str, needs: str, sees: str, role: str) -> str:
    tags = f"needs {needs}" + (f", sees {sees}" if sees else "") + ("" if role == "learner" else f"; {role}")
    return (
        f'<div><dt><bdi>{escape(name)}</bdi> <span class="tag">{escape(tags)}</span></dt>\n'
        f"<dd>{_OUTSIDE if role == 'outside' else _words(name)}</dd></div>\n"
    )


def _words(name: str) -> str:
    entry = find("aligner", name)
    if entry is None:
        return _UNKNOWN
    module = sys.modules.get(entry.function.__module__)
    idea = ((module.__doc__ if module else None) or "").strip().partition("\n")[0]
    source = f' <span class="source">{escape(idea)}</span>' if idea else ""
    return f"{escape(entry.summary)}{source}"

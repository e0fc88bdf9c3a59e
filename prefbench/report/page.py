"""The static page of a runs folder: one HTML file, no server, no network.

Everything that comes from a run is untrusted, a model's responses first of all. Text in the markup
is escaped; what the page's script needs lies in a JSON block in which `<`, `>` and `&` are written
as escapes, so that no text can end the block; and a content security policy lets exactly the
page's own script and style run, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefbench.boards.outside import OUTSIDE_NOTE
from prefbench.errors import UserError
from prefbench.report.figures import CURVES, MEASURES, collect
from prefbench.report.figures import style as style_of
from prefbench.report.markup import escape
from prefbench.report.page_aligners import aligners_section
from prefbench.report.page_data import RowsByCell, setting_data
from prefbench.report.page_frontier import frontier_section
from prefbench.report.page_people import people_section
from prefbench.report.page_table import FILTERS, TABLE_HOW, table_markup
from prefbench.stats.covered import said_of_all
from prefbench.store.files import write_atomically
from prefbench.text import one_line
from prefbench.version import __version__

TEMPLATE = Path(__file__).parent / "page_files"
SCRIPTS = ("core", "axes", "figures", "training", "matrix", "tables", "reader", "start")
"""Parts of the page's script, which are one script in the file, in this order."""
PROMPTS = 12


def write_page(runs_dir: Path, out: Path, prompts: int = PROMPTS) -> int:
    """Write the page of a runs folder; the same runs give the same bytes.

    Args:
        runs_dir: the runs.
        out: the HTML file.
        prompts: how many prompts of each setting, ratio and seed the reader has.

    Returns:
        The file's size in bytes.

    Raises:
        UserError: if there is no run.
    """
    text = page(Path(runs_dir), prompts)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return len(text.encode())


def page(runs_dir: Path, prompts: int = PROMPTS, state: str | None = None) -> str:
    """The page as text.

    Args:
        runs_dir: the runs.
        prompts: how many prompts of each setting, ratio and seed the reader has.
        state: of a page that is served, the name of what it shows; it then asks its own server now and then
            whether there is something newer.

    Raises:
        UserError: if there is no run.
    """
    if prompts < 0:
        raise UserError(f"{prompts} prompts cannot be shown: give 0 or more.")
    rows, frame, settings = collect(runs_dir)
    few = said_of_all(int(n) for n in frame.loc[frame["worst_group_win_rate"].notna(), "n_seeds"])
    found = RowsByCell.of(rows)
    data = {
        "measures": MEASURES,
        "curves": CURVES,
        "filters": FILTERS,
        "settings": [setting_data(setting, found, prompts) for setting in settings],
    }
    frontier = frontier_section(rows)
    looks = {line.name: style_of(line.style) for setting in settings for line in setting.lines}
    dates = sorted(set(frame["date"]))
    n_runs = sum(len(cell.runs) for setting in settings for cell in setting.cells)
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = sorted({word for text in frame["version"] for word in str(text).split()})
    tasks = sorted(set(frame["task"]))
    more = [*([few] if few else []), *([OUTSIDE_NOTE] if (frame["role"] == "outside").any() else [])]
    parts = {
        "title": escape(f"{', '.join(tasks[:3])}: who wins, and who is left behind"),
        "lede": "Groups of annotators want different things; each aligner below learned a policy from their "
        "labels, and every response was compared, group by group, with the reference policy's. "
        f"{n_runs} runs of {escape(', '.join(tasks[:8]))}, {escape(when)}.",
        "table_how": TABLE_HOW + "".join(f" {escape(_sentence(said))}" for said in more),
        "frontier": frontier,
        "people": people_section(rows, looks),
        "aligners": aligners_section(frame),
        "table": table_markup(frame),
        "data": embedded_json(data),
        "footer": f"Made by prefbench {escape(__version__)}; runs made with {escape(', '.join(versions))}. "
        "This file needs no network and asks for nothing.",
    }
    live = [] if state is None else ["live"]
    return assembled("page.html", parts, style(), script((*SCRIPTS, *live)), state)


def assembled(template: str, parts: dict[str, str], css: str, js: str, state: str | None = None) -> str:
    """A template with its parts, its style and its script, and the policy that lets nothing else run."""
    head = "" if state is None else f'<meta name="state" content="{escape(state)}">\n'
    whole = {
        **parts,
        "csp": escape(content_security_policy(css, js, live=state is not None)),
        "css": css,
        "js": js,
        "state": head,
    }
    # One pass: a placeholder that stands in somebody's text is text.
    words = re.split(r"@@(\w+)@@", _template(template))
    return "".join(whole[word] if i % 2 else word for i, word in enumerate(words))


def style() -> str:
    """The page's style."""
    return _template("page.css")


def script(names: Sequence[str] = SCRIPTS) -> str:
    """The page's script: its parts in one function of their own."""
    body = "".join(_template(f"{name}.js") for name in names)
    return f'"use strict";\n(() => {{\n{body}}})();\n'


def embedded_json(value: Any) -> str:
    """JSON for a script block: ASCII, without any character that markup has a meaning for."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def content_security_policy(css: str, js: str, live: bool = False) -> str:
    """Nothing but this very style and script; no address is asked for anything but, if live, its own."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    own = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; {own}script-src 'sha256-{digest(js)}'; style-src 'sha256-{digest(css)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _sentence(said: str) -> str:
    return one_line(f"{said[0].upper()}{said[1:]}".rstrip(".") + ".")


def _template(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")

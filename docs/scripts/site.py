"""Hook of MkDocs: pages that are read on GitHub become pages of a site that needs nothing but itself.

A link out of docs/ leads nowhere on the site. CONTRIBUTING.md, CHANGELOG.md and the published page
come along, docs/index.md is there in README.md's place, and of a link to anything else its words are kept.
Notebooks are executed, and a link to one leads to its page. Where a link names a page's file, the site says
the page's title.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from notebooks import SOURCES, pages

ROOT = Path(__file__).parents[2]
BROUGHT = {
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "leaderboard/report.html": "board.html",
}
"""Files from outside docs/, from the root, and their places on the site."""
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"^<!--.*?-->$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!https?:|#)([^)\s#]+)(#[^)\s]*)?\)")
MODULE = re.compile(r"^## (prefbench\.[\w.]+)\n\n[^\n]+$", re.MULTILINE)
FACE = re.compile(r"^### pb\.(\w+)\n\n[^\n]+$", re.MULTILINE)
TITLED = re.compile(r"[\w-]+\.md")
FETCHED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")


def on_files(files: Any, config: Any) -> Any:
    """The files of the site, with those from outside docs/ and those that notebooks become."""
    for source, place in BROUGHT.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    for name, content in pages():
        files.append(File.generated(config, f"{SOURCES.name}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """The page with links for the site; markers that scripts and tests look for are left out."""
    titles = {file.src_uri: file.page.title for file in files.documentation_pages() if file.page}
    outside = page.file.src_uri in BROUGHT
    here = PurePosixPath("" if outside else "docs", page.file.src_uri).parent
    parts, end = [], 0
    for fence in FENCED.finditer(markdown):
        parts += [rewritten(markdown[end : fence.start()], here, titles), fence[0]]
        end = fence.end()
    return "".join([*parts, rewritten(markdown[end:], here, titles)])


def rewritten(text: str, here: PurePosixPath, titles: Mapping[str, str]) -> str:
    """Text without code blocks: links lead to pages of the site, names of the code have their docstrings."""
    text = LINK.sub(lambda link: _link(link, here, titles), MARKER.sub("\n", text))
    text = MODULE.sub(lambda name: directive(name[1], name[1], 2), text)
    return FACE.sub(lambda name: directive(f"prefbench.{name[1]}", f"pb.{name[1]}", 3), text)


def directive(name: str, heading: str, level: int) -> str:
    """The place of an object's docstrings, for mkdocstrings; on GitHub its first sentence stands there."""
    options = {"heading": heading, "toc_label": heading, "heading_level": level}
    lines = "".join(f"\n      {option}: {value}" for option, value in options.items())
    return f"::: {name}\n    options:{lines}"


def _link(link: re.Match[str], here: PurePosixPath, titles: Mapping[str, str]) -> str:
    """One link, or its words where the site does not have what it leads to."""
    words, target, anchor = link[1], link[2], link[3] or ""
    path = PurePosixPath(normpath(str(here / target)))
    if str(path) in BROUGHT:
        place = BROUGHT[str(path)]
    elif str(path) == "README.md":
        place, anchor = "index.md", ""
    elif path.parts[0] == "docs":
        inside = path.relative_to("docs")
        is_notebook = inside.parts[0] == SOURCES.name and inside.suffix == ".py"
        place = str(inside.with_suffix(".md") if is_notebook else inside)
    else:
        return words
    if TITLED.fullmatch(PurePosixPath(words).name):
        words = titles.get(place, words)
    folder = here.relative_to("docs") if here.parts[:1] == ("docs",) else here
    return f"[{words}]({relpath(place, folder)}{anchor})"


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """The page, if it asks no other site for anything."""
    if fetched := FETCHED.search(re.sub(r"<link\b[^>]*rel=\"canonical\"[^>]*>", "", output)):
        raise PluginError(f"{page.file.src_uri} would fetch {fetched[0]:.120}")
    return output

"""Errors that send people to docs/faq.md name sections that it has."""

import re

from support.pages import PAGES, ROOT

NAMED = re.compile(r"docs/faq\.md#([\w-]+)")


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }


def test_every_anchor_that_an_error_names_exists():
    named = {}
    for path in sorted((ROOT / "prefbench").rglob("*.py")):
        for anchor in NAMED.findall(path.read_text(encoding="utf-8")):
            named.setdefault(anchor, []).append(path.name)
    assert len(named) >= 7
    assert set(named) - anchors(PAGES["docs/faq.md"]) == set(), named


def test_an_anchor_is_made_as_on_github():
    assert anchors("### A file names plug-ins\n\n## What's `new`?\n") == {
        "a-file-names-plug-ins",
        "whats-new",
    }

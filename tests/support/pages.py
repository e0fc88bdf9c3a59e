"""The documentation: its pages, and what is shown in them."""

import re
import tomllib
from pathlib import Path

from prefbench import registry

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]
}
README = PAGES["README.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def fenced(page: str, language: str) -> list[str]:
    return [body for _, kind, body in FENCE.findall(PAGES[page]) if kind == language]


def marked(name: str) -> str:
    """The command between the README's markers of that name."""
    found = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*?)\n```\n<!-- /command -->", README, re.DOTALL)
    assert len(found) == 1
    return found[0]


def all_entries() -> list[registry.Entry]:
    kinds: tuple[registry.EntryKind, ...] = ("task", "aligner", "model", "policy")
    return [entry for kind in kinds for entry in registry.entries(kind)]

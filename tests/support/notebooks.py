"""Notebooks in tests: those of the documentation, and cells that are run by a kernel as in any other."""

import re
from functools import cache
from importlib import util
from types import ModuleType

import nbformat

from support.pages import ROOT

SOURCES = {
    f"docs/notebooks/{path.name}": path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.py"))
}
_CELL = re.compile(r"^# %%( \[markdown\])?$", re.MULTILINE)


@cache
def script() -> ModuleType:
    """The script that executes notebooks, and is the site's hook."""
    spec = util.spec_from_file_location("docs_notebooks", ROOT / "docs" / "scripts" / "notebooks.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_cells(*cells: str) -> list[list[nbformat.NotebookNode]]:
    """Outputs of each of some cells, which one new kernel runs one after the other."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return [cell.outputs for cell in script().executed(notebook).cells]


def printed(outputs: list[nbformat.NotebookNode]) -> str:
    """What a cell wrote on standard output."""
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def parts(source: str) -> tuple[str, str]:
    """A notebook's text and its code."""
    _, *found = _CELL.split(source)
    text = ["\n".join(line[2:] for line in body.splitlines()) for kind, body in _pairs(found) if kind]
    code = [body for kind, body in _pairs(found) if not kind]
    return "\n\n".join(text), "\n\n".join(code)


def _pairs(found: list[str]) -> list[tuple[str, str]]:
    return list(zip(found[::2], found[1::2], strict=True))

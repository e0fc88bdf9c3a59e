"""Notebooks of the documentation, executed: pages with what their code printed and drew.

A notebook is a text file in docs/notebooks/, in jupytext's percent format. It is executed in an empty folder
by a kernel of its own. `python docs/scripts/notebooks.py FOLDER` writes the page, the pictures and the
executed notebook of each into a folder; the site is built with the same, anew with every build.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jupytext
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode, writes

SOURCES = Path(__file__).parents[1] / "notebooks"
CELL_SECONDS = 300


def pages() -> Iterator[tuple[str, str | bytes]]:
    """The files that all notebooks become: their names and contents."""
    for source in sorted(SOURCES.glob("*.py")):
        yield from pages_of(source.stem, source.read_text(encoding="utf-8")).items()


@cache  # `mkdocs serve` builds the site with every change of any page
def pages_of(name: str, text: str) -> dict[str, str | bytes]:
    """The files that a notebook's text becomes, by name."""
    done = executed(jupytext.reads(text, fmt="py:percent"))
    files: dict[str, str | bytes] = {f"{name}.ipynb": writes(done) + "\n"}
    parts = []
    for number, cell in enumerate(done.cells):
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        for place, output in enumerate(cell.get("outputs", [])):
            image = f"{name}-{number}-{place}.png"
            if "image/png" in output.get("data", {}):
                files[image] = base64.b64decode(output.data["image/png"])
            parts.append(shown(output, image))
    files[f"{name}.md"] = "\n\n".join([*parts, f"[Download this notebook]({name}.ipynb)"]) + "\n"
    return files


def executed(notebook: NotebookNode) -> NotebookNode:
    """The notebook with what its cells print and show; one that fails raises.

    Its kernel is spoken to through files and not through a port of the machine, and reads no settings of the
    user's.
    """
    with tempfile.TemporaryDirectory(prefix="nb") as folder:  # a short name: sockets have few letters
        work = Path(folder) / "work"
        work.mkdir()
        places = {"IPYTHONDIR": folder, "JUPYTER_CONFIG_DIR": folder, "MPLCONFIGDIR": folder}
        kernel = AsyncKernelManager(
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # this Python's, whatever is installed
            transport="ipc",
            ip=f"{folder}/kernel",
            connection_file=f"{folder}/kernel.json",
        )
        client = NotebookClient(
            notebook, km=kernel, timeout=CELL_SECONDS, resources={"metadata": {"path": str(work)}}
        )
        client.execute(env=os.environ | places, cleanup_kc=True)
    return notebook


def shown(output: NotebookNode, image: str) -> str:
    """An output of a cell as Markdown."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![figure]({image})"
    if "text/html" in data:
        return f'<div class="nb-output">\n{data["text/html"]}\n</div>'
    text = output.text if output.output_type == "stream" else data["text/plain"]
    return f"```text\n{text.rstrip()}\n```"


def main(folder: Path) -> None:
    """Write what every notebook becomes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pages():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

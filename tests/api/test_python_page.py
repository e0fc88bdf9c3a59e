"""The code of docs/python.md runs from top to bottom, as the cells of one notebook."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import prefbench as pb
from prefbench import registry
from prefbench.api.results import Results
from prefbench.spec import parse_sets
from support.tiny import TINY_ALIGNER, TINY_SETS

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NANO = parse_sets(TINY_SETS)
WORLD = {"task": {"test_prompts": 20, "annotators": 6, "pairs_per_annotator": 4}, "model": {}}


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tasks and short training stand in for what a reader would run."""
    run = pb.run

    def run_small(task: Any, aligner: Any, **given: Any) -> Results:
        tiny = NANO if task == "imdb_two_group" else WORLD
        known = registry.get("aligner", registry.name_of("aligner", aligner)).options.model_fields
        options = {f"{section}_options": dict(values) for section, values in tiny.items()}
        options["aligner_options"] = {name: v for name, v in TINY_ALIGNER.items() if name in known}
        return run(task, aligner, **given | options, quiet=True)

    notebook: Any = ModuleType("__main__")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pb, "run", run_small)
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    with registry.lent():
        for number, block in enumerate(BLOCKS, 1):
            exec(compile(block, f"<cell {number}>", "exec"), notebook.__dict__)
    assert len(notebook.result) == 3 and {r.status for r in notebook.result.records} == {"ok"}
    assert notebook.difference.statistics.seeds == (0, 1, 2, 3, 4)
    assert len(notebook.board) == 2 and (tmp_path / "scatter.svg").is_file()
    assert len(notebook.mine) == len(notebook.worst) == 5
    assert len(notebook.responses) == 5 * WORLD["task"]["test_prompts"]

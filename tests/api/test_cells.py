"""Aligners and tasks that are defined in the cell of a notebook or in a script."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import prefbench as pb
from support.small_world import SMALL, WORLD

CELL = '''
import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of

LOSS = DPO({beta})

@pb.aligner("in_a_cell")
def in_a_cell(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    """DPO of some strength."""
    return backbone.fit_pairwise(pairs_of(view.preferences["train"]), LOSS, options, seed=view.seed)
'''


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> Callable[[str], Any]:
    """A function that runs a cell of one notebook and returns the notebook's names."""
    notebook = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)

    def execute(text: str) -> Any:
        exec(compile(text, "<cell>", "exec"), notebook.__dict__)
        return notebook

    return execute


def test_an_aligner_of_a_cell_is_run_anew_when_it_is_redefined(
    cell: Callable[[str], Any], tmp_path: Path
) -> None:
    def run_it(beta: float, by_name: bool = False) -> Any:
        function = cell(CELL.format(beta=beta)).in_a_cell
        chosen = "in_a_cell" if by_name else function
        return pb.run(WORLD, chosen, runs_dir=tmp_path, task_options=SMALL, quiet=True).record

    first, other, again = run_it(0.1), run_it(3.0), run_it(0.1, by_name=True)
    assert first.stages["policy"] == again.stages["policy"] != other.stages["policy"]
    assert first.stages["labels"] == other.stages["labels"]
    assert first.groups == again.groups != other.groups
    assert len({record.plugins[0].digest for record in (first, other, again)}) == 2
    assert {record.plugins[0].name for record in (first, other)} == {"__main__"}
    assert first.code == again.code != other.code


def test_the_function_of_before_a_redefinition_is_not_run_under_its_name(
    cell: Callable[[str], Any], tmp_path: Path
) -> None:
    old = cell(CELL.format(beta=0.1)).in_a_cell
    cell(CELL.format(beta=3.0))
    with pytest.raises(pb.UserError, match="'in_a_cell' is not registered, or another has its name by now"):
        pb.run(WORLD, old, runs_dir=tmp_path, quiet=True)


TASK_CELL = '''
from dataclasses import dataclass, replace
import prefbench as pb
from prefbench_tasks.bandit_two_group import bandit_two_group

@dataclass(frozen=True)
class Turned(pb.Utility):
    inner: object
    unit: str = "reward"
    name: str = "turned"

    def __call__(self, prompts, responses):
        return {sign} * self.inner(prompts, responses)

@pb.task("task_in_a_cell", backbone="finite")
def task_in_a_cell(data: str, minority_ratio: float, seed: int, *, test_prompts: int = 20) -> pb.Problem:
    """A bandit whose second group may want the contrary."""
    made = bandit_two_group(
        data, minority_ratio, seed, test_prompts=test_prompts, annotators=6, pairs_per_annotator=4
    )
    first, second = made.groups
    return replace(made, groups=(first, replace(second, utility=Turned(second.utility))))
'''


def test_a_task_of_a_cell_is_scored_anew_when_it_is_redefined(
    cell: Callable[[str], Any], tmp_path: Path
) -> None:
    told = []
    for sign in (1.0, -1.0):
        task = cell(TASK_CELL.format(sign=sign)).task_in_a_cell
        told.append(pb.run(task, "longest", runs_dir=tmp_path, quiet=True).record)
    first, second = told
    assert first.stages["pairs"] == second.stages["pairs"]
    assert first.stages["scores"] != second.stages["scores"]
    assert first.groups[1].mean_utility == -second.groups[1].mean_utility  # type: ignore[operator]


SCRIPT = """
import prefbench as pb

@pb.aligner("of_a_script")
def of_a_script(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
    "The reference."
    print("printed by the aligner")
    return backbone.reference

if __name__ == "__main__":
    options = {"test_prompts": 20, "annotators": 6, "pairs_per_annotator": 4}
    result = pb.run("bandit_two_group", of_a_script, task_options=options)
    print(result.record.status, *(plugin.name for plugin in result.record.plugins))
    try:
        pb.run("bandit_two_group", "nobodys")
    except pb.UserError as error:
        print(type(error).__name__)
"""


def test_a_script_runs_its_own_aligner(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["printed by the aligner", "ok script.py", "UserError"]
    assert "policy: started" in done.stderr and "Traceback" not in done.stderr

"""A plug-in's `sys.exit(0)` is a failure wherever its code is called, and never the good end of a command."""

import dataclasses

import pytest

from prefbench import registry
from prefbench.errors import Exited
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.store.progress import Silent
from prefbench.sweep.cell import run_cell
from support.commands import tiny_run, typed
from support.tiny import TINY_SETS

PLUGIN = """
import asyncio
import sys
from dataclasses import dataclass, replace
import prefbench as pb
from prefbench.learn.simple_policies import ConstantPolicy

WHERE = {where!r}


@dataclass(frozen=True)
class Leaves(pb.Utility):
    name: str = "leaves"
    unit: str = "exits"

    def __call__(self, prompts, responses):
        sys.exit(0)


@pb.task("leaving", version=1, backbone="finite")
def leaving(data: str, minority_ratio: float, seed: int) -> pb.Problem:
    '''A task that leaves.'''
    if WHERE == "task":
        sys.exit(0)
    if WHERE == "cancelled":
        raise asyncio.CancelledError
    from prefbench import registry
    made = registry.get("task", "bandit_two_group").function(data, minority_ratio, seed)
    return replace(made, groups=tuple(replace(group, utility=Leaves()) for group in made.groups))


class Constant(ConstantPolicy):
    def save(self, folder):
        sys.exit(0)


@pb.aligner("leaver")
def leaver(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
    '''An aligner that leaves.'''
    return Constant("a") if WHERE == "save" else backbone.reference
"""


@pytest.fixture
def plugin(tmp_path, request):
    path = tmp_path / f"leaves_in_{request.param}.py"
    path.write_text(PLUGIN.format(where=request.param))
    with registry.lent():
        yield path


WORLD = ("--task", "leaving", "--aligner", "leaver")


@pytest.mark.parametrize("plugin", ["task", "utility", "cancelled"], indirect=True)
def test_a_task_or_a_utility_that_leaves_ends_a_run_with_3(plugin, tmp_path):
    outcome = typed("run", *WORLD, "--plugin", plugin, "--runs-dir", tmp_path / "runs")
    assert outcome.code == 3
    assert "prefbench: error: a mistake in prefbench or in a plug-in (" in outcome.err


@pytest.mark.parametrize("plugin", ["save"], indirect=True)
def test_a_policy_that_leaves_ends_a_run_with_3(plugin, tmp_path):
    outcome = tiny_run("leaver", tmp_path / "runs", "--plugin", plugin, "--quiet")
    assert outcome.code == 3 and "aligner 'leaver' failed with SystemExit: 0" in outcome.err


@pytest.mark.parametrize("plugin", ["task"], indirect=True)
def test_other_commands_say_so_too(plugin, tmp_path):
    checked = typed("check", "leaving", "--plugin", plugin)
    assert checked.code == 1 and "SystemExit: 0" in checked.out
    with pytest.raises(Exited, match=r"called sys\.exit\(0\)"):
        run(make_spec(task="leaving", aligner="leaver"), tmp_path / "runs")
    outcome = run_cell(make_spec(task="leaving", aligner="leaver"), tmp_path / "runs", Silent(), wait=False)
    assert outcome.status == "failed" and "called sys.exit(0)" in str(outcome.message)


def test_a_task_that_leaves_while_runs_are_verified_is_no_good_end(tmp_path, monkeypatch):
    sets = parse_sets(TINY_SETS)
    run(make_spec(task="imdb_two_group", aligner="longest", sets=sets), tmp_path)
    entry = registry.get("task", "imdb_two_group")

    def leave(*given, **options):
        raise SystemExit(0)

    left = dataclasses.replace(entry, function=leave)
    monkeypatch.setitem(registry._entries, ("task", "imdb_two_group"), left)
    outcome = typed("leaderboard", "verify", "--runs-dir", tmp_path)
    assert outcome.code == 1 and "its problem cannot be built (SystemExit: 0)" in outcome.out

"""The page on preferences from outside: its commands run on a table, and real data go the same way."""

import re
import shlex
from pathlib import Path

import pytest

from prefbench.record.files import find_records
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.tools.export import export, export_spec
from prefbench_tasks.preferences import PreferenceOptions, preferences
from support.commands import typed
from support.pages import PAGES
from support.people_tables import labels, write_rows

SHARED = Path(__file__).parents[3] / "shared" / "data"
NANO = ["model.steps=20", "model.width=16", "model.layers=1", "model.heads=2"]
QUICK = {"dpo": ["aligner.epochs=1"], "maxmin": ["aligner.iterations=1", "aligner.reward_epochs=1"]}


def test_from_a_table_to_the_groups_in_five_commands(tmp_path, monkeypatch):
    """Two runs of a small model take most of the time."""
    block = re.search(r"<!-- command: own-table -->\n```sh\n(.*?)```", PAGES["docs/preferences.md"], re.S)
    install, *commands = [shlex.split(line) for line in block[1].splitlines()]
    assert install == ["pip", "install", "prefbench"] and len(commands) == 4
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "labels.jsonl", labels(40, 20))
    shown = []
    for words in commands:
        assert words[0] == "prefbench"
        small = []
        if words[1] == "run":
            small = [*NANO, *QUICK[words[words.index("--aligner") + 1]]]
        outcome = typed(*words[1:], *(f"--set={each}" for each in small))
        assert outcome.code == 0, outcome.err
        shown.append(outcome.out)
    assert all("held-out labels: share ordered as labelled" in text for text in shown[:2])
    records = [record for _, record in find_records(tmp_path / "runs")]
    assert {record.aligner for record in records} == {"dpo", "maxmin"}
    for record in records:
        assert {group.name for group in record.held_out.strata[0].implicit.groups} == {"brisk", "careful"}
        assert record.minority_ratio == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no data beside the project")
def test_hh_rlhf_goes_this_way_too():
    """Its comparisons are those of the special task, but for who is made up to have given them."""
    data = str(SHARED / "hh_two_group" / "both_test.jsonl.gz")
    problem = preferences(data, 0.2, 0, PreferenceOptions(group="objective", test_prompts=200))
    assert [group.name for group in problem.groups] == ["helpful", "harmless"]
    assert problem.origin.invented_ids and len(problem.prompts.test) == 200
    assert all(prompt.rstrip().endswith("Assistant:") for prompt in problem.prompts.test)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no data beside the project")
def test_labels_on_real_answers_go_back_into_a_world(tmp_path):
    """Simulated labels on AlpacaEval's answers, exported and read again as anybody's."""
    sets = parse_sets(["task.annotators=24", "task.pairs_per_annotator=40"])
    spec = export_spec(
        task="response_pool", data=str(SHARED / "alpaca_eval_pool.parquet"), minority_ratio=0.25, sets=sets
    )
    export(spec, tmp_path / "labels", tmp_path / "runs")
    again = make_spec(task="preference_pool", data=str(tmp_path / "labels"), aligner="dpo")
    _, record = run(again, tmp_path / "runs")
    assert record.status == "ok" and {group.name for group in record.groups} == {"coverage", "readability"}
    seen = record.held_out.strata[0].implicit
    assert seen.groups[0].name == "coverage" and seen.groups[0].accuracy > 0.6

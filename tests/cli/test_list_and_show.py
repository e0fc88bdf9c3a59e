"""Commands that tell what there is: help, lists and entries."""

import json
import re
import sys

from prefbench import __version__
from prefbench.config import RunFile
from support.commands import Outcome, typed


def test_windows_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    outcome = typed("list")
    assert outcome.code == 2 and "Windows is not supported" in outcome.error


def test_version_and_help():
    assert typed("--version") == Outcome(0, f"prefbench {__version__}\n", "")
    assert typed("--help").out.startswith("Usage: prefbench ")
    for command in ("run", "list", "show", "leaderboard", "gate", "schema"):
        assert typed(command, "--help").code == 0


def test_every_key_of_a_run_file_is_an_option_of_run():
    shown = typed("run", "--help").out
    for key in RunFile.model_fields:
        assert f"--{key.replace('_', '-')} " in shown


def test_list_and_show():
    listed = json.loads(typed("list", "aligners", "--json").out)
    maxmin = next(entry for entry in listed if entry["name"] == "maxmin")
    assert (maxmin["needs"], maxmin["kind"]) == (["user_id"], "aligner")
    assert "imdb_two_group@" in typed("list", "tasks").out
    assert "nano" in typed("list", "models").out
    (entry,) = json.loads(typed("show", "maxmin", "--json").out)
    options = {option["name"]: option for option in entry["options"]}
    assert options["welfare"]["type"] == "population_min | per_sample_min | dual"
    assert options["clusters"] | {"doc": ""} == {
        "name": "clusters",
        "type": "int, >= 1, <= 64",
        "required": False,
        "default": 2,
        "doc": "",
    }
    assert options["learning_rate"]["default"] is None
    shown = typed("show", "imdb_two_group").out
    assert "task.annotators" in shown
    assert "Annotators in all." in shown
    assert typed("show", "reference").out.endswith("no options\n")
    (entry,) = json.loads(typed("show", "em_dpo", "--json").out)
    assert {each["name"]: each["type"] for each in entry["options"]}["select_clusters"] == "none"
    wrong = typed("show", "maxmn")
    assert (wrong.code, wrong.error) == (
        2,
        "no task, aligner, model or kind of policies is called 'maxmn'. Did you mean 'maxmin'?",
    )


def test_what_a_policy_sees_stands_beside_what_its_aligner_needs():
    header = typed("list", "aligners").out.splitlines()[0].split()
    assert header == ["aligner", "needs", "sees", "summary"]
    assert "needs: user_id\nsees: pairs\n" in typed("show", "em_personal").out
    assert "needs: user_id\nsees: nothing\n" in typed("show", "maxmin").out


def test_show_takes_the_kind_before_the_name(tmp_path):
    with_kind, without = typed("show", "model", "tulu2-7b"), typed("show", "tulu2-7b")
    assert with_kind == without
    assert "6.74 G weights: 32 layers, hidden size 4096" in with_kind.out
    assert re.search(r"^ h100-80gb +80\.0 GB +fits +\S.* (min|h)$", with_kind.out, re.M)
    (entry,) = json.loads(typed("show", "model", "gpt2", "--json").out)
    assert entry["parameters"] == 124_439_808
    assert entry["shape"]["layers"] == 12
    assert entry["example"]["spec"]["aligner"] == "maxmin"
    (entry,) = json.loads(typed("show", "finite", "--json").out)
    assert (entry["shape"], entry["parameters"], entry["example"]) == (None, None, None)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-decoder"}')
    folder = typed("show", "model", tmp_path)
    assert folder.code == 0
    assert "model pretrained" in folder.out
    assert "GB" not in folder.out  # its config does not say how large it is
    for words, said in (
        (["task", "tulu2-7b"], "no task is called 'tulu2-7b'."),
        (["models", "tulu2-7b"], "show models: before the name may stand one of task, aligner, model,"),
        (["model", "task", "tulu2-7b"], "show model task: before the name may stand one of"),
        (["model", "gptt2"], "unknown model 'gptt2'. Did you mean 'gpt2'?"),
        (["model", "./none"], "model folder './none' does not exist"),
    ):
        wrong = typed("show", *words)
        assert wrong.code == 2
        assert wrong.error.startswith(said)

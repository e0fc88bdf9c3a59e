"""Plug-ins on the command line: files and packages run like what is built in, and see no more."""

import json

from support.commands import TASK, record_of, sets, tiny_run, typed
from support.plugins import PACKAGE, install


def test_a_plugin_that_fails_to_import_ends_a_run(tmp_path, empty_folder):
    plugin = tmp_path / "broken.py"
    plugin.write_text("raise RuntimeError('no [luck]')")
    outcome = typed("run", *TASK, "--plugin", plugin)
    assert (outcome.code, outcome.error) == (
        2,
        f"--plugin {plugin} could not be imported: RuntimeError: no [luck]",
    )
    assert list(empty_folder.iterdir()) == []


def test_an_installed_package_runs_like_a_built_in(tmp_path, monkeypatch):
    install(tmp_path / "site", "prefbench_letters", "prefbench_letters")
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    small = sets("model.steps=5", "model.width=16", "model.layers=1", "model.heads=2", "task.annotators=20")
    words = ["run", "--task", "letters", "--aligner", "say_something", "--minority-ratio", "10%", "--json"]
    outcome = typed(*words, *small, "--set", "aligner.text= aaa ooo.")
    assert outcome.code == 0, outcome.err
    record = record_of(outcome)
    assert (record["task_version"], record["minority_ratio"]) == (3, 0.1)
    assert [group["share"] for group in record["groups"]] == [0.9, 0.1]
    assert record["groups"][1]["mean_utility"] == 6
    assert record["groups"][0]["losses"] > 0
    assert record["kl"] is None
    assert record["defaults"]["aligner"] == {"text": " a tree."}
    assert record["defaults"]["task"]["annotators"] == 10


SPY = """
import json
from pathlib import Path
from prefbench.learn.simple_policies import ConstantPolicy
from prefbench.registry import Options, aligner

class SpyOptions(Options):
    path: str

def look(view, backbone, options: SpyOptions):
    '''Writes down what it sees.'''
    print("a plug-in prints")
    Path(options.path).write_text(json.dumps({
        "columns": {name: rows.column_names for name, rows in view.preferences.items()},
        "shares": view.shares is not None,
        "utilities": view.utilities is not None,
    }))
    return ConstantPolicy("a fine film.")

for need in ("", "user_id", "group", "oracle"):
    aligner(f"spy_{need}", needs={need} - {""})(look)
"""


def test_an_aligner_sees_only_what_it_says_it_needs(runs, tmp_path):
    plugin = tmp_path / "spy.py"
    plugin.write_text(SPY)
    basic = ["prompt", "chosen", "rejected"]
    expected = {
        "": (basic, False, False),
        "user_id": ([*basic, "user_id"], False, False),
        "group": ([*basic, "group"], True, False),
        "oracle": (basic, True, True),
    }
    for need, (columns, shares, utilities) in expected.items():
        seen = tmp_path / f"seen_{need}.json"
        outcome = tiny_run(
            f"spy_{need}", runs[0], "--plugin", plugin, "--json", options=[f"aligner.path={seen}"]
        )
        assert outcome.code == 0, outcome.err
        assert record_of(outcome)["needs"] == ([need] if need else [])  # the print did not get into it
        assert "a plug-in prints" in outcome.err
        assert json.loads(seen.read_text()) == {
            "columns": {"train": columns, "validation": columns},
            "shares": shares,
            "utilities": utilities,
        }


def test_an_option_that_must_be_given_is_asked_for(runs, tmp_path):
    plugin = tmp_path / "spy.py"
    plugin.write_text(SPY)
    outcome = tiny_run("spy_", runs[0], "--plugin", plugin)
    assert outcome.code == 2
    assert "aligner.path" in outcome.error
    assert "(required)" in typed("show", "spy_", "--plugin", plugin).out


def test_names_and_texts_of_a_plugin_are_shown_as_they_are(tmp_path):
    plugin = tmp_path / "odd.py"
    plugin.write_text(
        "from prefbench.registry import Options, aligner\n"
        "class Odd(Options):\n    x: str = '[red]y[/]'\n    '''Not [bold] \\x1b[31m.'''\n"
        "@aligner('[blue]')\ndef odd(view, backbone, options: Odd):\n    '''Says [/green] :smile:.'''\n"
    )
    listed = typed("list", "aligners", "--plugin", plugin).out
    assert "[blue]" in listed
    assert "Says [/green] :smile:." in listed
    shown = typed("show", "[blue]", "--plugin", plugin).out
    assert "[red]y[/]" in shown
    assert "Not [bold]" in shown
    assert "\x1b" not in shown

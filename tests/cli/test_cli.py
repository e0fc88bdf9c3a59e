"""The command line: what a user types, sees and gets back, on runs of a second each."""

import errno
import inspect
import io
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from rich.console import Console

from prefbench import __version__
from prefbench.cli.gate import gate
from prefbench.config import RunFile
from prefbench.errors import PrefbenchError
from prefbench.record.files import read_record
from prefbench.report import live
from prefbench.report.live import Live, Silent
from prefbench.report.tables import render, result_table, verdict
from support.commands import Outcome, sets, tiny_run, typed
from support.plugins import PACKAGE, install
from support.tiny import TINY_SETS

pytestmark = pytest.mark.usefixtures("restored")

SMALL_PPO = ["aligner.iterations=2", "aligner.batch=16", "aligner.reward_epochs=1"]


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A runs folder in which the slow stages are stored, and its first run."""
    folder = tmp_path_factory.mktemp("shared") / "runs"
    first = tiny_run("single_reward", folder, options=SMALL_PPO)
    assert first.code == 0, first.err
    return folder, first


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Every test works in a folder of its own, so that nothing is written by accident."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def record_of(outcome: Outcome) -> dict:
    return json.loads(outcome.out)


# ---------------------------------------------------------------------------------------- good runs


def test_a_run_tells_who_is_worst_off_and_how_to_compare(runs):
    folder, first = runs
    for part in ("sentiment", "conciseness (minority)", "25.0%", "won/tied/lost", "KL "):
        assert part in first.out
    assert re.search(r"(No group is clearly worst off|Worst off).* wins 0\.\d\d \[", first.out)
    (path,) = re.findall(r"^record: (.*)$", first.out, re.M)
    assert read_record(Path(path)).status == "ok"
    (again,) = re.findall(r"^compare with: (.*)$", first.out, re.M)
    assert again.startswith("prefbench run --task imdb_two_group --aligner maxmin --runs-dir ")
    assert "--set model.width=16" in again
    assert "aligner.iterations" not in again
    assert f"prefbench leaderboard build --runs-dir {folder}" in first.out
    for stage in ("reference", "pairs", "labels", "rewards", "policy", "samples", "scores"):
        assert f"{stage}: started" in first.err
    assert "\x1b" not in first.out + first.err
    assert "Loading weights" not in first.err
    assert "shards" not in first.err


def test_json_is_the_record_alone_and_fits_the_schema(runs):
    folder, _ = runs
    outcome = tiny_run("single_reward", folder, "--json", options=SMALL_PPO)
    record = record_of(outcome)
    schema = json.loads(typed("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(record, schema)
    (path,) = re.findall(r"^record: (.*)$", outcome.err, re.M)  # the table and the rest are beside it
    assert json.loads(Path(path).read_text()) == record
    assert "policy: stored" in outcome.err
    broken = {**record, "minority_win_rate": 2}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_quiet_prints_nothing_and_json_only_the_record(runs):
    folder, _ = runs
    assert tiny_run("single_reward", folder, "--quiet", options=SMALL_PPO) == Outcome(0, "", "")
    both = tiny_run("single_reward", folder, "--quiet", "--json", options=SMALL_PPO)
    assert both.err == ""
    assert record_of(both)["status"] == "ok"


def test_several_seeds_are_summarised_over_seeds(runs, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    outcome = tiny_run("constant", folder, "--seeds", 2, "--seed", 3)
    assert outcome.code == 0, outcome.err
    assert "over 2 seeds (3 4)" in outcome.out
    assert "minority win rate" in outcome.out
    assert outcome.err.count("reference: started") == 2
    both = record_of(tiny_run("constant", folder, "--seeds", 2, "--seed", 3, "--json"))
    assert [record["seed"] for record in both["records"]] == [3, 4]
    assert both["summary"]["seeds"] == [3, 4]
    assert both["summary"]["status"] == "ok"
    assert both["summary"]["minority_win_rate_low"] <= both["summary"]["minority_win_rate"]


def test_a_run_file_and_the_command_line_are_the_same_run(runs, tmp_path):
    folder, first = runs
    tables = "".join(
        f"[set.{section}]\n"
        + "".join(
            f"{name} = {value}\n"
            for where, name, value in (re.split("[.=]", item) for item in [*TINY_SETS, *SMALL_PPO])
            if where == section
        )
        for section in ("task", "aligner", "model")
    )
    file = tmp_path / "run.toml"
    file.write_text(
        'task = "imdb_two_group"\naligner = "dpo"\nminority_ratio = "4:1"\nseed = 0\n'
        f'runs_dir = "{folder}"\n' + tables
    )
    outcome = typed("run", "--config", file, "--aligner", "single_reward", "--json")
    assert outcome.code == 0, outcome.err
    (path,) = re.findall(r"^record: (.*)$", first.out, re.M)
    assert record_of(outcome)["spec_hash"] == read_record(Path(path)).spec_hash
    assert "policy: stored" in outcome.err


def captured_specs(monkeypatch, *args: object) -> list:
    """The specifications that a command line gives, without running them."""
    import prefbench.running.seeds

    seen = []

    def refuse(spec, runs_dir, reporter):
        seen.append((spec, runs_dir))
        raise PrefbenchError("enough")

    monkeypatch.setattr(prefbench.running.seeds, "run", refuse)
    outcome = typed("run", *args)
    assert (outcome.code, outcome.error) == (3, "enough")
    return seen


def test_the_command_line_goes_before_the_run_file_option_by_option(tmp_path, monkeypatch):
    file = tmp_path / "run.toml"
    file.write_text(
        'task = "imdb_two_group"\naligner = "dpo"\nminority_ratio = 0.3\nseed = 7\nruns_dir = "there"\n'
        "[set.task]\nannotators = 20\ntemperature = 0\n[set.aligner]\nbeta = 0.5\n"
    )
    ((spec, runs_dir),) = captured_specs(monkeypatch, "--config", file)
    assert (spec.aligner, spec.minority_ratio, spec.seed, runs_dir) == ("dpo", 0.3, 7, Path("there"))
    assert (spec.task_options["annotators"], spec.aligner_options["beta"]) == (20, 0.5)
    over = ["--minority-ratio", "10:1", "--seed", 0, "--set", "task.annotators=11", "--runs-dir", "here"]
    ((spec, runs_dir),) = captured_specs(monkeypatch, "--config", file, *over)
    assert (spec.minority_ratio, spec.seed, runs_dir) == (0.0909, 0, Path("here"))
    assert (spec.task_options["annotators"], spec.task_options["temperature"]) == (11, 0)


@pytest.mark.parametrize("ratio", ["0.2", "4:1", "20%", "0.20"])
def test_every_spelling_of_a_ratio_is_the_same_run(ratio, monkeypatch):
    words = ["--task", "imdb_two_group", "--aligner", "dpo"]
    ((spec, _),) = captured_specs(monkeypatch, *words, "--minority-ratio", ratio)
    ((plain, _),) = captured_specs(monkeypatch, *words)
    assert spec.hash == plain.hash


# ------------------------------------------------------------------------------------- wrong input

TASK = ["--task", "imdb_two_group", "--aligner", "constant"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--task", "imdb_two_grup", "--aligner", "dpo"], "unknown task 'imdb_two_grup'. Did you mean"),
        (
            ["--task", "imdb_two_group", "--aligner", "maxmn"],
            "unknown aligner 'maxmn'. Did you mean 'maxmin'?",
        ),
        (["--task", "imdb_two_group"], "--aligner is missing"),
        ([], "--task is missing"),
        ([*TASK, "--model", "nanoo"], "unknown model 'nanoo'. Did you mean 'nano'?"),
        ([*TASK, "--model", "./no-model"], "model folder './no-model' does not exist."),
        ([*TASK, "--set", "task.anotators=3"], "unknown option task.anotators of 'imdb_two_group'. Did you"),
        ([*TASK, "--set", "taks.annotators=3"], "unknown option section 'taks'. Did you mean 'task'?"),
        ([*TASK, "--set", "annotators=3"], "--set annotators=3: write it as SECTION.NAME=VALUE"),
        ([*TASK, "--minority-ratio", "0.6"], "minority ratio '0.6' is not in (0, 0.5]"),
        ([*TASK, "--minority-ratio", "1:4"], "minority ratio '1:4' is not in (0, 0.5]"),
        (
            [*TASK, "--minority-ratio", "0.01"],
            "40 annotators at a minority share of 0.01 leave a group without",
        ),
        ([*TASK, "--data", "no/such.csv"], "--data 'no/such.csv': there is no such file or folder"),
        ([*TASK, "--set", "task.synthetic_size=500"], "task.synthetic_size=500 is fewer than the"),
        ([*TASK, "--set", "model.heads=7"], "model.width=64 is not a multiple of model.heads=7."),
        ([*TASK, "--seeds", "0"], "seeds '0' is not a whole number from 1 up."),
        ([*TASK, "--seed", "-1"], "seed '-1' is not a whole number from 0 up."),
        ([*TASK, "--plugin", "none.py"], "--plugin none.py: no such Python file."),
        ([*TASK, "--config", "none.toml"], "--config none.toml: no such file."),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing_behind(args, said, empty_folder):
    outcome = typed("run", *args, "--quiet")
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.error.startswith(said)
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aligners = 'dpo'", "unknown key 'aligners'. Did you mean 'aligner'?"),
        ("task = 3", "task = 3 is not text in quotes."),
        ("seed = true", "seed = True is not a whole number."),
        ("minority_ratio = [1]", "minority_ratio = [1] is not a number or text such as '4:1'."),
        ("plugin = 'x.py'", "plugin = 'x.py' is not a list."),
        ("plugin = [1]", "plugin is not a list of file names."),
        ("[set]\nannotators = 3", "set.annotators is not a table: write [set.task] and"),
        ("task = ", "not a readable TOML file"),
    ],
)
def test_a_wrong_run_file_is_named_with_what_is_wrong_in_it(text, said, empty_folder, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(text)
    outcome = typed("run", "--config", file)
    assert outcome.code == 2
    assert outcome.error.startswith(f"--config {file}: {said}")
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("args", [["run", "--bogus"], ["lst"], ["list", "task"], ["run", "--seed", "x"]])
def test_usage_errors_exit_2(args):
    outcome = typed(*args)
    assert outcome.code == 2
    assert "Error: " in outcome.err


def test_too_few_reviews(empty_folder, tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("text\n" + "".join(f"review number {i} is rather short and fine\n" for i in range(30)))
    outcome = typed("run", *TASK, "--data", file, "--quiet")
    assert outcome.code == 2
    assert "reviews.csv' has 30 usable reviews" in outcome.error
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("config", [None, "{}", '{"model_type": "gpt2"}'])
def test_a_model_folder_without_weights(config, empty_folder, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    if config is not None:
        (model / "config.json").write_text(config)
    size = sets(*(item for item in TINY_SETS if item.startswith("task.")))
    outcome = typed("run", *TASK, *size, "--model", model, "--quiet")
    assert outcome.code == 2
    assert outcome.error.startswith(f"model folder '{model}' could not be loaded (")
    assert ".safetensors weights, or a GGUF file." in outcome.error
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("below", ["", "runs"])
def test_a_runs_folder_that_cannot_be_written(below, tmp_path, empty_folder):
    file = tmp_path / "file"
    file.write_text("kept")
    outcome = tiny_run("constant", file / below, "--quiet")
    assert outcome.code == 2
    assert "cannot be used" in outcome.error
    assert "--runs-dir" in outcome.error
    assert file.read_text() == "kept"
    assert list(empty_folder.iterdir()) == []


def test_an_aligner_that_needs_what_the_task_cannot_show(empty_folder, tmp_path):
    plugin = tmp_path / "shy.py"
    plugin.write_text(
        "from prefbench.registry import task\n"
        "@task('shy', provides={'user_id'})\n"
        "def shy(data, minority_ratio, seed):\n    '''Shows little.'''\n"
    )
    words = ["run", "--plugin", plugin, "--task", "shy", "--aligner"]
    outcome = typed(*words, "single_reward_balanced", "--quiet")
    assert outcome.code == 2
    said = "aligner 'single_reward_balanced' needs group, which task 'shy' does not provide; "
    assert outcome.error == said + "it provides user_id."
    assert list(empty_folder.iterdir()) == []


# ---------------------------------------------------------------------------------------- plug-ins


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


# ------------------------------------------------------------------------------------- ends badly


def test_a_run_that_diverges_exits_3_with_a_record(runs, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    options = [*SMALL_PPO, "aligner.kl_limit=1e-6"]
    outcome = tiny_run("single_reward", folder, "--json", "--quiet", options=options)
    record = record_of(outcome)
    assert (outcome.code, record["status"], record["groups"]) == (3, "diverged", [])
    jsonschema.validate(record, json.loads(typed("schema").out))
    assert outcome.err.startswith("diverged: the policy is ")
    assert outcome.err.count("\n") == 1
    several = tiny_run("single_reward", folder, "--json", "--seeds", 2, options=options)
    assert several.code == 3
    both = json.loads(several.out)
    assert [record["status"] for record in both["records"]] == ["diverged", "diverged"]
    assert both["summary"]["status"] == "diverged"
    assert both["summary"]["minority_win_rate"] is None


@pytest.mark.parametrize(
    ("raised", "said"),
    [("KeyError('one\\ntwo [bold]')", "KeyError: 'one\\ntwo [bold]'"), ("SystemExit(0)", "SystemExit: 0")],
)
def test_an_aligner_that_raises_leaves_a_failed_record_and_its_trace(runs, tmp_path, raised, said):
    plugin = tmp_path / "clumsy.py"
    plugin.write_text(
        "from prefbench.registry import NoOptions, aligner\n"
        "@aligner('clumsy')\ndef clumsy(view, backbone, options: NoOptions):\n"
        f"    '''Falls.'''\n    raise {raised}\n"
    )
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    outcome = tiny_run("clumsy", folder, "--plugin", plugin)
    assert outcome.code == 3
    assert f"failed: aligner 'clumsy' failed with {said}" in outcome.err
    (trace,) = re.findall(r"^error: (.*)$", outcome.out, re.M)
    assert "in clumsy" in Path(trace).read_text()
    record = read_record(Path(trace).parent)
    assert (record.status, record.groups) == ("failed", ())
    assert "compare with" not in outcome.out


def test_a_full_disk_is_one_line_and_what_is_stored_stays(runs, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        outcome = tiny_run("dpo", folder, "--quiet", options=["aligner.epochs=1"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.code == 3
    said = "the disk is full: free some space and run the same command again; finished stages are intact."
    assert outcome.error == said
    again = tiny_run("dpo", folder, options=["aligner.epochs=1"])
    assert again.code == 0
    assert "labels: stored" in again.err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command continues where it stopped\n"),
        (PrefbenchError("two\nlines \x1b[31m"), 3, "prefbench: error: two lines \\x1b[31m\n"),
        (
            OSError(errno.EIO, "Input/output error", "runs/x"),
            3,
            "prefbench: error: Input/output error: 'runs/x'.\n",
        ),
        (MemoryError(), 3, "prefbench: error: out of memory: take a smaller model or a smaller batch.\n"),
    ],
)
def test_whatever_ends_a_run_is_one_line(raised, code, said, monkeypatch):
    import prefbench.running.seeds

    def end(*_):
        raise raised

    monkeypatch.setattr(prefbench.running.seeds, "run", end)
    assert typed("run", *TASK) == Outcome(code, "", said)


def test_a_closed_pipe_is_quiet():
    program = [sys.executable, "-m", "prefbench", "schema"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


# ---------------------------------------------------------------------------------- other commands


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
    wrong = typed("show", "maxmn")
    assert (wrong.code, wrong.error) == (
        2,
        "no task, aligner or model is called 'maxmn'. Did you mean 'maxmin'?",
    )


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
        (["models", "tulu2-7b"], "show models: before the name may stand one of task, aligner, model."),
        (["model", "task", "tulu2-7b"], "show model task: before the name may stand one of"),
        (["model", "gptt2"], "unknown model 'gptt2'. Did you mean 'gpt2'?"),
        (["model", "./none"], "model folder './none' does not exist."),
    ):
        wrong = typed("show", *words)
        assert wrong.code == 2
        assert wrong.error.startswith(said)


def test_a_dry_run_says_what_is_needed_and_writes_nothing(empty_folder):
    large = ["--task", "imdb_two_group", "--aligner", "maxmin", "--model", "tulu2-7b"]
    shown = typed("run", *large, "--dry-run", "--hardware", "h200")
    assert (shown.code, shown.err) == (0, "")
    for part in (
        "weights of the reference",
        "6.74 G weights, bfloat16",
        "rewards by EM",
        "fits",
        "Not measured.",
    ):
        assert part in shown.out
    assert "a100" not in shown.out
    here = typed("run", *large, "--dry-run", "--seeds", 3, "--set", "model.device=cpu")
    assert re.search(r"^Here \(this machine, .* free\): ", here.out, re.M)
    assert "3 seeds: each of them needs this" in here.out
    said = json.loads(typed("run", *large, "--dry-run", "--json", "--set", "model.device=cpu").out)
    assert said["spec"]["model"] == "tulu2-7b"
    assert said["estimate"]["parameters"] == 6_738_415_616
    assert said["estimate"]["memory"]["peak"] == max(said["estimate"]["passes"].values())
    assert said["here"]["device"] == "this machine"
    assert list(empty_folder.iterdir()) == []


def test_a_dry_run_of_small_and_unknown_models_and_of_wrong_input(empty_folder):
    nano = typed("run", *TASK, "--dry-run", "--hardware", "rtx-4090")
    assert (nano.code, nano.err) == (0, "")
    assert "170 k weights, float32" in nano.out
    finite = typed("run", "--task", "bandit_two_group", "--aligner", "dpo", "--dry-run")
    assert finite.out == (
        "Nothing to estimate: model 'finite' is no language model that is trained on a GPU.\n"
    )
    unknown = typed("run", *TASK, "--model", "nobody/nothing", "--dry-run", "--json")
    assert json.loads(unknown.out)["estimate"] is None
    for more, said in (
        (["--hardware", "h200"], "--hardware goes with --dry-run, which is missing."),
        (["--dry-run", "--hardware", "h2000"], "unknown hardware 'h2000'. Did you mean 'h200'?"),
        (["--dry-run", "--data", "no/such.csv"], "--data 'no/such.csv': there is no such file or folder"),
        (["--dry-run", "--minority-ratio", "0.01"], "40 annotators at a minority share of 0.01"),
    ):
        wrong = typed("run", *TASK, *more)
        assert (wrong.code, wrong.out) == (2, "")
        assert wrong.error.startswith(said)
    assert list(empty_folder.iterdir()) == []


def test_a_dry_run_that_does_not_fit_exits_2_with_what_would():
    large = ["--task", "imdb_two_group", "--aligner", "maxmin", "--model", "tulu2-7b", "--dry-run"]
    wrong = typed("run", *large, "--hardware", "a100-80gb", "--set", "model.lora=false")
    assert wrong.code == 2
    assert "does not fit" in wrong.out
    assert "there are 80.0 GB on a100-80gb: set model.lora=true (" in wrong.error
    slow = ["--set", "model.gradient_checkpointing=false", "--set", "task.response_tokens=400"]
    parts = typed("run", *large, "--hardware", "a100-80gb", *slow)
    assert parts.code == 0
    assert "fits in parts" in parts.out
    assert parts.err.startswith("prefbench: warning: training a reward (rewards by EM) needs about ")


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


@pytest.fixture
def board(runs, tmp_path):
    """A copy of the shared runs with its leaderboard."""
    folder = tmp_path / "board"
    shutil.copytree(runs[0], folder)
    assert tiny_run("constant", folder, "--quiet").code == 0
    outcome = typed("leaderboard", "build", "--runs-dir", folder, "--out", tmp_path / "out" / "results.csv")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"rows written to {tmp_path / 'out' / 'results.csv'}\n")
    return folder, tmp_path / "out" / "results.csv"


def test_leaderboard_show(board):
    _, csv = board
    assert "constant" in typed("leaderboard", "show", csv).out
    assert typed("leaderboard", "show", csv, "--format", "markdown").out.startswith("| rank")
    assert typed("leaderboard", "show", csv, "--format", "csv").out == csv.read_text()
    missing = typed("leaderboard", "show")
    assert missing.code == 2
    assert "no leaderboard at 'leaderboard/results.csv'" in missing.error
    assert typed("leaderboard", "build").code == 2


def test_leaderboard_verify_finds_an_edited_record_and_a_lost_file(board):
    folder, _ = board
    for path in folder.glob("*-spy*"):  # of a plug-in that is not loaded here, so counted apart
        shutil.rmtree(path)
    good = typed("leaderboard", "verify", "--runs-dir", folder)
    assert good.code == 0
    assert re.search(r"^(\d+) of \1 records follow from their evidence$", good.out, re.MULTILINE)
    assert "\nnot checked of any record: " in good.out
    edited, lost = sorted(path.parent for path in folder.glob("*/record.json"))[:2]
    record = json.loads((edited / "record.json").read_text())
    (edited / "record.json").write_text(json.dumps({**record, "mean_length": 1.5}))
    (lost / "items.parquet").unlink()
    bad = typed("leaderboard", "verify", "--runs-dir", folder)
    assert bad.code == 1
    assert f"{edited.name}: mean_length is 1.5, the items give " in bad.out
    assert f"{lost.name}: '{lost}/items.parquet' is missing" in bad.out
    assert typed("leaderboard", "verify", "--runs-dir", folder / "none").code == 2


def test_gate(board):
    folder, csv = board
    words = [
        "gate",
        "--baseline",
        csv,
        "--runs-dir",
        folder,
        "--metric",
        "minority_win_rate",
        "--margin",
        "0.03",
    ]
    usual = typed(*words)
    assert (usual.code, usual.err) == (1, "")
    assert "CANNOT TELL: imdb_two_group@" in usual.out
    assert "UNDECIDED: no check held or fell, so this gate guards nothing: about " in usual.out
    assert typed(*words, "--allow-undecided").code == 0
    assert typed(*words, "--allow-undecided", "--strict").code == 1
    file = folder.parent / "gate.toml"
    file.write_text("allow_undecided = true")
    assert typed(*words, "--config", file).code == 0
    paired = typed(*words[:-1], "0.1", "--baseline-runs", folder, "--json")  # the same runs: no drop
    report = json.loads(paired.out)
    assert (paired.code, report["metric"], report["margin"]) == (0, "minority_win_rate", 0.1)
    assert report["decided"] and {row["verdict"] for row in report["rows"]} == {"held"}
    frame = pd.read_csv(csv)
    for end in ("", "_low", "_high"):
        frame[f"minority_win_rate{end}"] = 0.999
    frame.to_csv(csv, index=False)
    assert typed(*words).code == 1
    wrong = typed("gate", "--baseline", csv, "--runs-dir", folder, "--metric", "minority")
    assert wrong.code == 2
    assert "unknown metric 'minority'" in wrong.error


def test_the_gate_has_the_defaults_of_the_library():
    from prefbench.boards.gate import gate as library

    ours, theirs = inspect.signature(gate).parameters, inspect.signature(library).parameters
    for name in ("metric", "margin", "level", "strict", "baseline_runs", "allow_undecided"):
        assert ours[name].default == theirs[name].default


# ------------------------------------------------------------------------------------------ display


def told(reporter, console_file) -> str:
    reporter.begin("reference", stored=True)
    reporter.end("reference", 0.0)
    reporter.begin("policy", stored=False)
    reporter.begin("rewards", stored=False)
    reporter.step("rewards", 1, 2, {"loss": 0.7})
    reporter.end("rewards", 0.5)
    reporter.step("policy", 3, 10, {"reward/[red]": 0.25, "kl": 0.1234})
    reporter.step("policy", 4, 10, {"reward/[red]": 0.5, "kl": 0.2})
    reporter.note("waiting for [somebody]")
    reporter.end("policy", 75.0)
    reporter.end("never begun", 1.0)
    return console_file.getvalue()


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch):
    file = io.StringIO()
    with live.reporter(False, Console(file=file)) as reporter:
        lines = told(reporter, file).splitlines()
    assert lines == [
        "reference: stored",
        "policy: started",
        "rewards: started",
        "rewards: done in 0.5 s",
        "waiting for [somebody]",
        "policy: done in 1:15",
    ]
    monkeypatch.setattr(live, "PLAIN_SECONDS", 0.0)
    file = io.StringIO()
    with live.reporter(False, Console(file=file)) as reporter:
        text = told(reporter, file)
    assert "policy: 3/10, 0.0 s  reward/[red] 0.25, KL 0.123\n" in text
    assert "about 0.0 s left  reward/[red] 0.5, KL 0.2\n" in text


def test_on_a_terminal_a_finished_stage_keeps_its_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100)
    with live.reporter(False, console) as reporter:
        assert isinstance(reporter, Live)
        told(reporter, file)
    lines = [re.sub(r"\x1b\[\??[0-9;]*[A-Za-z]", "", line).strip() for line in file.getvalue().splitlines()]
    assert "reference     stored" in lines
    assert "rewards     0.5 s  loss 0.7" in lines
    assert "policy        1:15  reward/[red] 0.5, KL 0.2" in lines
    assert any(line.startswith("waiting for [somebody]") for line in lines)


def test_a_run_that_ended_inside_a_stage_closes_the_view(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100)
    with pytest.raises(PrefbenchError), live.reporter(False, console) as reporter:
        reporter.begin("policy", stored=False)
        raise PrefbenchError("no")
    assert file.getvalue().endswith(("\x1b[?25h", "\x1b[2K"))  # the cursor is shown again


def test_quiet_is_nobody():
    with live.reporter(True, Console()) as reporter:
        assert isinstance(reporter, Silent)


def test_the_verdict_names_the_worst_off_only_if_the_intervals_are_apart(runs):
    record = read_record(Path(re.findall(r"^record: (.*)$", runs[1].out, re.M)[0]))
    many, few = record.groups
    many = many.model_copy(update={"win_rate": 0.8, "ci_low": 0.7, "ci_high": 0.9})
    few = few.model_copy(update={"win_rate": 0.3, "ci_low": 0.2, "ci_high": 0.4})
    apart = record.model_copy(update={"groups": (many, few), "worst_group": few.name})
    assert verdict(apart) == (
        "Worst off: conciseness, the minority, wins 0.30 [0.20, 0.40] of its comparisons with the reference "
        "policy, sentiment wins 0.80 [0.70, 0.90]."
    )
    near = few.model_copy(update={"ci_high": 0.75})
    close = record.model_copy(update={"groups": (many, near), "worst_group": few.name})
    assert verdict(close).startswith("No group is clearly worst off on 50 prompts: ")


def test_a_table_shows_names_as_they_are_and_fits_80_columns(runs):
    record = read_record(Path(re.findall(r"^record: (.*)$", runs[1].out, re.M)[0]))
    odd = record.groups[0].model_copy(update={"name": "[red]\n\x1b[31mfans"})
    changed = record.model_copy(update={"groups": (odd, record.groups[1])})
    text = render(result_table(changed), Console(width=80, file=io.StringIO()))
    assert "[red]" in text
    assert "\\x1b[31" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    for group in record.groups:
        assert f"{group.win_rate:.2f} [{group.ci_low:.2f}, {group.ci_high:.2f}]" in text

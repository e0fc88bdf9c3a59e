"""Wrong input on the command line: one line, exit code 2, and nothing is left behind."""

from pathlib import Path

import pytest

from prefbench import registry
from support.commands import TASK, sets, tiny_run, typed
from support.tiny import TINY_SETS


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
        ([*TASK, "--model", "./no-model"], "model folder './no-model' does not exist"),
        ([*TASK, "--set", "task.anotators=3"], "unknown option task.anotators of 'imdb_two_group'. Did you"),
        ([*TASK, "--set", "taks.annotators=3"], "unknown option section 'taks'. Did you mean 'task'?"),
        (
            [*TASK, "--set", "annotators=3"],
            "--set annotators=3: write it as SECTION.NAME=VALUE, for example aligner.",
        ),
        ([*TASK, "--minority-ratio", "0.6"], "minority ratio '0.6' is not in (0, 0.5]"),
        ([*TASK, "--minority-ratio", "1:4"], "minority ratio '1:4' is not in (0, 0.5]"),
        (
            [*TASK, "--minority-ratio", "0.01"],
            "40 annotators at a minority share of 0.01 leave a group without",
        ),
        ([*TASK, "--data", "no/such.csv"], "--data 'no/such.csv': there is no such file or folder"),
        ([*TASK, "--set", "task.synthetic_size=500"], "task.synthetic_size=500 is fewer than the"),
        (
            [*TASK, "--set", "model.heads=7"],
            "model.width=64 is not a multiple of model.heads=7: set one of them",
        ),
        ([*TASK, "--seeds", "0"], "seeds '0' is not a whole number from 1 up"),
        ([*TASK, "--seed", "-1"], "seed '-1' is not a whole number from 0 up"),
        ([*TASK, "--plugin", "none.py"], "--plugin none.py: no such Python file"),
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


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "--bogus"], "no such option: --bogus. "),
        (["--bogus"], "no such option: --bogus. "),
        (["run", "dpo"], "got unexpected extra argument(s) (dpo). "),
        (["lst"], "no such command 'lst'. Did you mean 'list'? "),
        (["frontier"], "no such command 'frontier'. Did you mean 'leaderboard frontier'? "),
        (["list", "task"], "invalid value for 'what': 'task' is not one of 'tasks', 'aligners', "),
        (["run", "--seed", "x"], "invalid value for '--seed': "),
    ],
)
def test_usage_errors_have_the_form_of_every_error(args, said):
    outcome = typed(*args)
    assert outcome.code == 2
    assert outcome.error.startswith(said)
    command = next((f" {args[0]}" for name in ("run", "list") if args[0] == name), "")
    assert outcome.error.endswith(f" `prefbench{command} --help` says what it takes.")


def test_a_name_that_a_file_here_may_define_asks_for_it(empty_folder, tmp_path):
    outcome = typed("run", "--task", "zzz", "--aligner", "dpo")
    assert outcome.error.endswith(" Did you forget --plugin FILE.py?")
    (empty_folder / "maxmim.py").write_text("")
    outcome = typed("run", "--task", "imdb_two_group", "--aligner", "maxmim")
    assert (
        outcome.error == "unknown aligner 'maxmim'. Did you mean 'maxmin'? Did you forget --plugin maxmim.py?"
    )
    (empty_folder / "qqq.py").write_text("")
    outcome = typed("run", "--task", "imdb_two_group", "--aligner", "qqq")
    assert outcome.error == "unknown aligner 'qqq'. Did you forget --plugin qqq.py?"
    for words in (["show", "zzz"], ["check", "zzz"], ["run", "--task", "imdb_two_group", "--aligner", "zzz"]):
        assert typed(*words).error.endswith(
            "'zzz'. `prefbench list aligners`, or tasks, models or policies, lists what there is. "
            "Did you forget --plugin FILE.py?"
        )


def test_a_run_of_a_plug_in_that_is_not_named_asks_for_it(empty_folder, tmp_path, restored):
    plugin = tmp_path / "still.py"
    plugin.write_text(
        "import prefbench as pb\nfrom prefbench.learn.options import PairwiseOptions\n\n\n"
        "@pb.aligner('still')\ndef still(view, backbone, options: PairwiseOptions):\n"
        '    """Stays."""\n    return backbone.reference\n'
    )
    world = ["run", "--task", "worst_case_two_group", "--aligner", "still"]
    assert typed(*world, "--plugin", plugin, "--quiet").code == 0
    near = typed(*world, "--plugin", plugin, "--set", "aligner.zzz=3").error
    assert near.endswith(f"`prefbench show aligner still --plugin {plugin}` lists those it has.")
    registry._entries.pop(("aligner", "still"))
    (run,) = Path("runs").glob("*-still-*")
    outcome = typed("export", "--run", run, "--out", "out")
    assert outcome.code == 2
    assert outcome.error.startswith("unknown aligner 'still'.") and "--plugin" in outcome.error


def test_an_unknown_option_names_what_lists_them():
    outcome = typed("run", *TASK, "--set", "task.zzz=3")
    assert outcome.error == (
        "unknown option task.zzz of 'imdb_two_group'. `prefbench show task imdb_two_group` lists those it "
        "has."
    )
    near = typed("run", *TASK, "--set", "task.anotators=3").error
    assert near.endswith("Did you mean 'annotators'? `prefbench show task imdb_two_group` says more.")


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
    assert outcome.error == said + ("it provides user_id (docs/faq.md#an-aligner-needs-what-the-task-lacks).")
    assert list(empty_folder.iterdir()) == []

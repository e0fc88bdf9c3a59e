"""`prefbench run --dry-run`: what a run would need, and nothing is written."""

import json
import re

from support.commands import TASK, typed


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
    nothing, time = finite.out.splitlines()
    assert nothing == "Nothing to estimate: model 'finite' is no language model that is trained on a GPU."
    assert re.fullmatch(r"About .* s to .* s of work here, .*, by runs on another machine .*\.", time)
    assert "another machine" not in nano.out  # it was asked of a GPU
    assert "by runs on another machine" in typed("run", *TASK, "--dry-run").out
    told = json.loads(typed("run", *TASK, "--dry-run", "--json").out)["past"]
    assert 0 < told["least_seconds"] < told["most_seconds"] and told["timed_elsewhere"] == ["constant"]
    unknown = typed("run", *TASK, "--model", "nobody/nothing", "--dry-run", "--json")
    assert json.loads(unknown.out)["estimate"] is None
    for more, said in (
        (["--hardware", "h200"], "--hardware goes with --dry-run, which is missing"),
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

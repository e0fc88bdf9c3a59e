"""`prefbench run` as it should go: what it prints, and which run a command line or a file means."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

from prefbench.errors import PrefbenchError
from prefbench.record.files import read_record
from support.commands import SMALL_PPO, Outcome, record_of, tiny_run, typed
from support.tiny import TINY_SETS


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
    then = f"prefbench compare single_reward maxmin --task imdb_two_group --runs-dir {folder}"
    assert f"        then: {then}\n" in first.out
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
    assert [line[:7] for line in outcome.out.splitlines()[:4:2]] == ["seed 3:", "seed 4:"], "no table of each"
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

"""The head of an exported policy's card: results that the hub's classes read, and the command of the run."""

import re
import shlex

import pytest
import yaml
from huggingface_hub import ModelCard

from prefbench.record.files import read_record
from prefbench.record.schema import GroupRecord
from prefbench.running.recorded import StoredRun
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.tools.export_models import export_policy, export_reference
from prefbench.tools.model_index import command_of, header, results_of
from support.commands import typed
from support.tiny import PPO, TINY_SETS

HOSTILE = 'a\n---\nevil: [1, "x"] # y'


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run of a tiny language model."""
    sets = parse_sets([*TINY_SETS, *PPO, "aligner.checkpoint=best"])
    spec = make_spec(task="imdb_two_group", aligner="single_reward", seed=3, minority_ratio="4:1", sets=sets)
    folder, record = run(spec, tmp_path_factory.mktemp("index") / "runs")
    assert record.status == "ok"
    return StoredRun.at(folder)


@pytest.fixture(scope="module")
def exported(stored, tmp_path_factory):
    out = tmp_path_factory.mktemp("policy") / "out"
    export_policy(stored, out)
    return out


def test_the_hub_reads_the_results_as_the_record_has_them(stored, exported):
    record, card = stored.record, ModelCard.load(exported / "README.md")
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert data.model_name == "single_reward on imdb_two_group@2" and "alignment" in data.tags
    found = {(result.metric_type, result.metric_name): result for result in data.eval_results}
    assert len(found) == 2 + len(record.groups)
    worst, gap = (
        next(r for r in data.eval_results if r.metric_type == kind)
        for kind in ("worst_group_win_rate", "gap")
    )
    assert worst.metric_value == record.worst_group_win_rate and gap.metric_value == record.gap
    assert (gap.metric_args["ci_low"], gap.metric_args["ci_high"]) == record.gap_ci
    for group in record.groups:
        result = found["win_rate", f"win rate of {group.name}"]
        assert result.metric_value == group.win_rate
        within = (result.metric_args["ci_low"], result.metric_args["ci_high"], result.metric_args["level"])
        assert within == (group.ci_low, group.ci_high, 0.95)
        assert (result.metric_args["group"], result.metric_args["is_minority"]) == (
            group.name,
            group.is_minority,
        )
    for result in data.eval_results:
        assert (result.task_type, result.dataset_type, result.dataset_split) == (
            "text-generation",
            "imdb_two_group",
            "test",
        )
        args = result.dataset_args
        assert (args["seed"], args["minority_ratio"], args["prompts"]) == (3, 0.2, record.n_prompts)
        assert (args["prefbench"], args["numerics"]) == (record.provenance.prefbench, record.numerics)
        assert (args.get("commit"), args["specification"]) == (record.provenance.git, record.spec_hash)
    # What the hub writes of it is what stands there: nothing is lost on the way.
    assert yaml.safe_load(data.to_yaml()) == yaml.safe_load(card.content.split("---")[1])


def test_the_command_of_the_card_is_the_run(stored, exported, tmp_path):
    text = (exported / "README.md").read_text()
    (command,) = re.findall(r"```sh\n(.*)\n```", text)
    assert command == command_of(stored.spec)
    _, *words = shlex.split(command)
    assert "aligner.checkpoint=best" in words and "--set aligner.discount" not in command
    outcome = typed(*words, "--runs-dir", tmp_path / "runs", "--quiet")
    assert outcome.code == 0, outcome.err
    (folder,) = (tmp_path / "runs").glob("imdb*")
    again = read_record(folder)
    assert again.spec_hash == stored.record.spec_hash
    assert again.worst_group_win_rate == stored.record.worst_group_win_rate


def test_a_model_that_was_not_measured_has_no_results(stored, tmp_path):
    export_reference(stored, tmp_path / "out", tmp_path)
    data = ModelCard.load(tmp_path / "out" / "README.md").data
    assert data.eval_results is None and data.license == "other" and data.license_name == "see-below"


def test_hostile_names_stay_in_their_places(stored):
    groups = tuple(
        GroupRecord(**{**group.model_dump(), "name": f"{HOSTILE}{i}"})
        for i, group in enumerate(stored.record.groups)
    )
    record = stored.record.model_copy(update={"groups": groups, "task": HOSTILE})
    head = header("transformers", HOSTILE, "text-generation", [HOSTILE], HOSTILE, results_of(record))
    found = ModelCard(f"{head}\n# x").data
    assert not hasattr(found, "evil") and found.base_model == HOSTILE and found.model_name == HOSTILE
    assert found.eval_results[0].dataset_type == HOSTILE
    assert [r.metric_args["group"] for r in found.eval_results[2:]] == [group.name for group in groups]


def test_paths_stay_here(tmp_path):
    (tmp_path / "mine").mkdir()
    spec = make_spec(task="imdb_two_group", aligner="maxmin")
    object.__setattr__(spec, "model", str(tmp_path / "mine"))
    object.__setattr__(spec, "data", "/home/ada/texts.jsonl")
    object.__setattr__(spec, "aligner_options", {"trainer": "x\n```\n# y"})
    command = command_of(spec)
    assert "\n" not in command  # so it cannot end the block that it stands in
    assert (
        "--model mine --data texts.jsonl" in command and "ada" not in command and str(tmp_path) not in command
    )

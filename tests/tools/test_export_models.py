"""Exported models: what transformers and peft make of the folders is what prefbench measured and learned."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from prefbench.errors import UserError
from prefbench.record.files import read_record, write_record
from prefbench.record.schema import LATER_MEASURED, MEASURED, Record
from prefbench.running.recorded import OpenRun, StoredRun
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.tools.export import export_spec
from prefbench.tools.export_models import export_policy, export_reference, export_rewards
from prefbench.tools.export_prompts import export_prompts
from support.commands import sets, typed
from support.tiny import CHATML, PPO, TINY_SETS, chat_tokenizer, tiny_model, tiny_tokenizer

TASK_SETS = [item for item in TINY_SETS if item.startswith("task.")]
TEXTS = [" a", " the film was a joy", "", " my sister said the plot was dull and the music", " fine"]


def made(home: Path, aligner: str, *more: str, model: str = "nano") -> StoredRun:
    tiny = TINY_SETS if model == "nano" else [*TASK_SETS, "model.threads=1"]
    folder, record = run(
        make_spec(task="imdb_two_group", aligner=aligner, model=model, sets=parse_sets([*tiny, *more])),
        home / "runs",
    )
    assert record.status == "ok"
    return StoredRun.at(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def nano(home) -> StoredRun:
    """A run of nano whose rewards add up a value of each token."""
    return made(home, "maxmin", *PPO, "aligner.em_restarts=1")


@pytest.fixture(scope="module")
def last(home) -> StoredRun:
    """A run of nano whose rewards read the last token."""
    return made(home, "maxmin", *PPO, "aligner.em_restarts=1", "model.reward_pooling=last")


def folder_of(home: Path, kind: str, tokenizer) -> str:
    folder = home / kind
    tiny_model("llama", len(tokenizer), context=96, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def adapted(home) -> StoredRun:
    """A run of adapters on a Llama, whose norm has no bias."""
    return made(
        home, "maxmin", *PPO, "aligner.em_restarts=1", model=folder_of(home, "llama", tiny_tokenizer())
    )


@pytest.fixture(scope="module")
def chatty(home) -> StoredRun:
    """The same with a chat template and an end of turn."""
    model = folder_of(home, "assistant", chat_tokenizer(CHATML))
    return made(home, "single_reward", *PPO, "model.chat_template=model", model=model)


def code_of(folder: Path, stand_in: Path, **places: str) -> dict[str, object]:
    """What the code in a card leaves, run on the folder."""
    (body,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    body = body.replace("path/to/this/folder", str(stand_in))
    for old, new in places.items():
        body = body.replace(f"path/to/the/{old}", new)
    left: dict[str, object] = {}
    exec(body, left)
    return left


def some_prompts(opened: OpenRun) -> list[str]:
    return list(opened.problem.measured[: len(TEXTS)])


# ---------------------------------------------------------------------------------------- rewards


@pytest.mark.parametrize("kind", ["nano", "last", "adapted", "chatty"])
def test_the_code_in_the_card_gives_the_learned_rewards(kind, request, tmp_path):
    stored = request.getfixturevalue(kind)
    export_rewards(stored, tmp_path / "out")
    opened = stored.opened()
    prompts = some_prompts(opened)
    rewards = opened.rewards()
    expected = rewards(prompts, TEXTS)
    for number in range(expected.shape[1]):
        swapped = tmp_path / "out" / f"reward-{number}"
        left = code_of(tmp_path / "out", tmp_path / "out")
        assert left["folder"] == str(tmp_path / "out" / "reward-0")
        left["model"] = type(left["model"]).from_pretrained(swapped).eval()
        left["settings"] = left["model"].config.prefbench
        found = [left["reward"](p, r) for p, r in zip(prompts, TEXTS, strict=True)]
        np.testing.assert_allclose(found, expected[:, number], atol=1e-5)
        assert left["settings"]["reward"] == rewards.names[number]


@pytest.mark.parametrize("kind", ["last", "adapted", "chatty"])
def test_a_padded_batch_gives_the_same(kind, request, tmp_path):
    """The end of text is the last token that counts, though it pads in the original tokenizer."""
    stored = request.getfixturevalue(kind)
    export_rewards(stored, tmp_path / "out")
    opened = stored.opened()
    codec = opened.backbone.codec
    prompts = some_prompts(opened)
    rows = [p + r for p, r in zip(codec.prompts(prompts), codec.responses(TEXTS), strict=True)]
    assert len({len(row) for row in rows}) > 1
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "reward-0")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "reward-0").eval()
    assert tokenizer.pad_token_id not in codec.stops and model.config.num_labels == 1
    batch = tokenizer.pad([{"input_ids": row} for row in rows], return_tensors="pt")
    with torch.no_grad():
        found = model(**batch).logits[:, 0].numpy() + model.config.prefbench["shift"]
    np.testing.assert_allclose(found, opened.rewards()(prompts, TEXTS)[:, 0], atol=1e-5)


def test_the_shift_is_in_the_weights_where_a_norm_has_a_bias(last, adapted, tmp_path):
    settings = {}
    for kind, stored in (("gpt2", last), ("llama", adapted)):
        export_rewards(stored, tmp_path / kind)
        config = json.loads((tmp_path / kind / "reward-0" / "config.json").read_text())
        settings[kind] = config["prefbench"]["shift"]
    assert settings["gpt2"] == 0.0 and settings["llama"] != 0.0


def test_the_card_tells_of_each_reward(last, tmp_path):
    export_rewards(last, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["pipeline_tag"] == "text-classification" and "base_model" not in header
    rewards = last.opened().rewards()
    for number, (right, pairs) in enumerate(rewards.held_out):
        members = sum(cluster == number for cluster in rewards.assignment.values())
        row = f"| `reward-{number}` | cluster {number} | {members} | {right / pairs:.1%} of {pairs} |"
        assert row in text
    for group in last.record.groups:
        assert f"serves {group.name} orders {group.reward_accuracy:.1%}" in text


def test_no_draw_of_torch_is_moved(last, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    export_rewards(last, tmp_path / "out")
    assert torch.equal(torch.rand(3), expected)


# --------------------------------------------------------------------------------------- policies


def logprobs_by(model, opened: OpenRun) -> np.ndarray:
    """log pi of some responses by a transformers model."""
    codec = opened.backbone.codec
    found = []
    for p, r in zip(codec.prompts(some_prompts(opened)), codec.responses(TEXTS), strict=True):
        with torch.no_grad():
            each = model(input_ids=torch.tensor([p + r])).logits[0].log_softmax(-1)
        found.append(sum(float(each[len(p) + k - 1, token]) for k, token in enumerate(r)))
    return np.array(found)


def own_logprobs(opened: OpenRun) -> np.ndarray:
    return opened.policy().logprob(some_prompts(opened), TEXTS)


@pytest.mark.parametrize(("kind", "merge"), [("nano", False), ("adapted", True), ("chatty", True)])
def test_the_card_loads_the_policy_that_was_measured(kind, merge, request, tmp_path, capsys):
    stored = request.getfixturevalue(kind)
    assert export_policy(stored, tmp_path / "out", merge) == "a model"
    left = code_of(tmp_path / "out", tmp_path / "out")
    opened = stored.opened()
    np.testing.assert_allclose(logprobs_by(left["model"], opened), own_logprobs(opened), atol=1e-4)
    assert left["said"].shape[1] > left["ids"].shape[1]
    assert yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])["library_name"] == (
        "transformers"
    )


def test_adapters_go_on_the_exported_reference(adapted, tmp_path, capsys):
    pytest.importorskip("peft")
    assert export_policy(adapted, tmp_path / "out") == "an adapter"
    export_reference(adapted, tmp_path / "base", tmp_path / "unused")
    assert not (tmp_path / "unused").exists()
    left = code_of(tmp_path / "out", tmp_path / "out", reference=str(tmp_path / "base"))
    opened = adapted.opened()
    np.testing.assert_allclose(logprobs_by(left["model"], opened), own_logprobs(opened), atol=1e-4)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "library_name: peft" in text and "`prefbench export --reference`" in text


def test_a_product_is_its_parts_and_their_powers(home, tmp_path, capsys):
    stored = made(home, "mpo", *PPO, "aligner.mpo_steps=2")
    assert export_policy(stored, tmp_path / "out") == "a product of 2 models"
    left = code_of(tmp_path / "out", tmp_path / "out")
    opened = stored.opened()
    assert sum(left["powers"].values()) == pytest.approx(1)

    class Product(torch.nn.Module):
        def forward(self, input_ids):
            logits = sum(
                power * left["models"][name](input_ids).logits.log_softmax(-1)
                for name, power in left["powers"].items()
            )
            return type("Output", (), {"logits": logits})

    np.testing.assert_allclose(logprobs_by(Product(), opened), own_logprobs(opened), atol=1e-4)
    assert "No single model is this policy" in (tmp_path / "out" / "README.md").read_text()


def test_a_mixture_is_its_parts_and_their_weights(home, tmp_path, capsys):
    stored = made(home, "em_dpo", "aligner.epochs=1", "aligner.em_restarts=1")
    assert export_policy(stored, tmp_path / "out") == "a mixture of 2 models"
    left = code_of(tmp_path / "out", tmp_path / "out")
    opened = stored.opened()
    assert left["name"] in left["weights"]
    chance = sum(
        weight * np.exp(logprobs_by(AutoModelForCausalLM.from_pretrained(tmp_path / "out" / name), opened))
        for name, weight in left["weights"].items()
    )
    np.testing.assert_allclose(np.log(chance), own_logprobs(opened), atol=1e-4)


def test_the_card_has_the_records_figures(nano, tmp_path):
    export_policy(nano, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    record = nano.record
    for group in record.groups:
        row = next(line for line in text.splitlines() if line.startswith(f"| {group.name}"))
        assert f"| {group.win_rate:.3f} | {group.ci_low:.3f} to {group.ci_high:.3f} |" in row
        assert f"| {group.mean_utility:.3g} / {group.reference_utility:.3g} |" in row
    for part in (
        "| task | `imdb_two_group@2` |",
        "| aligner | `maxmin` |",
        "| needs in training | `user_id` |",
        "| minority ratio | `0.2` |",
        f"{record.kl:.3g} nats a response",
        f"Measured on {record.n_prompts} test prompts",
        "no third party's text or model",
    ):
        assert part in text


def test_nothing_says_where_it_was_made(adapted, nano, home, tmp_path):
    export_policy(nano, tmp_path / "whole")
    export_policy(adapted, tmp_path / "policy")
    export_policy(adapted, tmp_path / "merged", merge=True)
    export_rewards(adapted, tmp_path / "rewards")
    export_reference(adapted, tmp_path / "reference", tmp_path / "runs")
    for folder in ("whole", "policy", "merged", "rewards", "reference"):
        names = [p for p in (tmp_path / folder).rglob("*") if p.is_file()]
        for path in names:
            assert str(home).encode() not in path.read_bytes(), path
        assert not {p.name for p in names} & {"evidence.json", "done.json", "history.json", "margins.parquet"}


# ------------------------------------------------------------------------------ reference, prompts


def test_the_reference_of_a_specification_is_that_of_its_runs(nano, home, tmp_path):
    spec = export_spec(task="imdb_two_group", sets=parse_sets(TINY_SETS))
    for source, name in ((nano, "run"), (spec, "task")):
        assert export_reference(source, tmp_path / name, home / "runs") == "a model"
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "task")]
    assert weights[0] == weights[1]
    opened = nano.opened()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run").eval()
    expected = opened.backbone.reference.logprob(some_prompts(opened), TEXTS)
    np.testing.assert_allclose(logprobs_by(model, opened), expected, atol=1e-4)
    said = code_of(tmp_path / "run", tmp_path / "run")["said"]
    assert said.shape[0] == 1


def test_prompts_have_the_ids_of_the_evidence(nano, tmp_path):
    counts = export_prompts(nano.spec, tmp_path / "out")
    items = pd.read_parquet(nano.folder / "items.parquet")
    rows = pd.read_parquet(tmp_path / "out" / "data" / "test.parquet")
    assert counts["test"] == len(rows) == 50
    asked = dict(zip(rows["prompt_id"], rows["prompt"], strict=True))
    assert [asked[number] for number in items["prompt_id"]] == items["prompt"].tolist()
    train = pd.read_parquet(tmp_path / "out" / "data" / "train.parquet")["prompt"]
    assert train.tolist() == list(nano.opened().problem.prompts.train)
    header = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])
    assert [f["split"] for f in header["configs"][0]["data_files"]] == ["train", "validation", "test"]


# ------------------------------------------------------------------------------- what cannot be had


@pytest.mark.parametrize(
    ("aligner", "more", "said"),
    [
        (
            "best_of_n",
            ["aligner.candidates=2", *PPO[2:]],
            "it picks one of 2 samples of the reference policy",
        ),
        ("longest", [], "it picks one of"),
        ("reference", [], "it is the reference policy"),
    ],
)
def test_policies_without_weights_say_what_they_are(home, tmp_path, aligner, more, said):
    stored = made(home, aligner, *more)
    with pytest.raises(UserError, match="has no weights of its own") as error:
        export_policy(stored, tmp_path / "out")
    assert said in str(error.value) and "\n" not in str(error.value)
    assert "prefbench export --reference --run" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_of_a_personal_policy_the_answers_to_people_cannot_be_had(home, tmp_path):
    stored = made(home, "known_groups_personal", "aligner.reward_epochs=1", "aligner.reward_group_epochs=1")
    with pytest.raises(UserError, match="What it says to a person is made when she is asked"):
        export_policy(stored, tmp_path / "out")
    assert export_rewards(stored, tmp_path / "rewards") == "2 reward models"


def test_an_aligner_without_rewards_has_none_to_export(home, tmp_path):
    stored = made(home, "dpo", "aligner.epochs=1")
    with pytest.raises(UserError, match="'dpo' of this run left no rewards"):
        export_rewards(stored, tmp_path / "out")


def test_a_world_has_no_weights(tmp_path):
    folder, _ = run(make_spec(task="bandit_two_group", aligner="maxmin"), tmp_path / "runs")
    for name in ("policy", "rewards"):
        outcome = typed("export", f"--{name}", folder, "--out", tmp_path / "out")
        assert outcome.code == 2 and "in a world it is a table and no language model" in outcome.error
    words = ["--runs-dir", tmp_path / "runs", "--out", tmp_path / "out"]
    outcome = typed("export", "--reference", "--task", "bandit_two_group", *words)
    assert outcome.code == 2 and "in a world it is a table" in outcome.error
    assert typed("export", "--prompts", "--run", folder, "--out", tmp_path / "out").code == 0


def test_a_run_that_did_not_end_well_has_no_policy(nano, tmp_path):
    nothing = {name: None for name in Record.model_fields if getattr(nano.record, name) is not None}
    kept = nano.record.model_dump(mode="json")
    measured = {"groups": [], "status": "diverged", "message": "the loss is NaN", "notes": []}
    blank = {name: None for name in (*MEASURED, *LATER_MEASURED, "em", "regret", "people") if name in nothing}
    write_record(Record.model_validate(kept | blank | measured), tmp_path / "run")
    with pytest.raises(UserError, match=r"diverged \(the loss is NaN\): it has no policy"):
        StoredRun.at(tmp_path / "run")


def test_stages_that_are_gone_or_damaged_are_one_line(nano, tmp_path):
    alone = tmp_path / "elsewhere" / nano.folder.name
    shutil.copytree(nano.folder, alone)
    with pytest.raises(UserError, match=r"'reference' is not at .* run it again"):
        export_policy(StoredRun.at(alone), tmp_path / "out")
    stages = nano.folder.parent / "stages"
    shutil.copytree(stages, alone.parent / "stages")
    weights = alone.parent / "stages" / "policy" / nano.record.stages["policy"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"'policy' is damaged, model\.safetensors was altered or cut short"):
        export_policy(StoredRun.at(alone / "record.json"), tmp_path / "out")
    old = read_record(alone).model_copy(update={"stages": {}})
    write_record(old, alone)
    with pytest.raises(UserError, match="names no stage 'reference'"):
        export_policy(StoredRun.at(alone), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------ the command


def test_the_command_exports_a_run(nano, tmp_path, hub):
    fake = hub()
    words = ["--push", "me/mine", "--out"]
    outcome = typed("export", "--rewards", nano.folder, *words, tmp_path / "rewards")
    assert outcome.code == 0, outcome.err
    assert outcome.out == (
        f"written: {tmp_path / 'rewards'} (2 reward models)\n"
        "pushed: https://hub.example/models/me/mine (private)\n"
    )
    outcome = typed(
        "export", "--policy", nano.folder / "record.json", *words, tmp_path / "policy", "--public"
    )
    assert outcome.code == 0 and outcome.out.endswith("(public)\n")
    kinds = [(more["repo_type"], more.get("private")) for _, more in fake.calls]
    assert kinds == [("model", True), ("model", None), ("model", False), ("model", None)]
    outcome = typed("export", "--run", nano.folder, "--out", tmp_path / "pairs", *words[:2])
    assert outcome.code == 0 and fake.calls[-1][1]["repo_type"] == "dataset"
    table = pd.read_parquet(tmp_path / "pairs" / "data" / "train.parquet")
    assert len(table) == 80


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--policy", "RUN", "--rewards", "RUN"], "--policy and --rewards: a folder holds one of them"),
        (["--prompts", "--reference", "--task", "imdb_two_group"], "--prompts and --reference"),
        (["--policy", "RUN", "--task", "imdb_two_group"], "--policy names a run, which says all of its"),
        (["--run", "RUN", "--set", "task.annotators=3"], "--run names a run"),
        (["--policy", "RUN", "--run", "RUN"], "--run goes without --policy"),
        (["--rewards", "RUN", "--merge"], "--merge says how to export a --policy"),
        (["--policy", "nowhere"], "no record at 'nowhere'"),
        ([], "--task is missing"),
        (["--reference"], "--task is missing"),
    ],
)
def test_what_is_typed_wrong_is_one_line(nano, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(nano.folder) if word == "RUN" else word for word in args]
    outcome = typed("export", "--out", "data", *words)
    assert outcome.code == 2 and said in outcome.error
    assert list(Path().iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(nano, tmp_path):
    (tmp_path / "mine").touch()
    for kind in (["--policy", nano.folder], ["--rewards", nano.folder], ["--prompts", "--run", nano.folder]):
        outcome = typed("export", *kind, "--out", tmp_path, *sets())
        assert outcome.code == 2 and "exists already" in outcome.error
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]

"""Exported preference data: what TRL takes as it is, a card whose numbers are computed, and nothing sent."""

import re
import socket
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from prefbench.errors import PrefbenchError, UserError
from prefbench.problem.labels import given_pairs
from prefbench.running.run import labelled_pairs, run
from prefbench.spec import make_spec, parse_sets
from prefbench.tools.card import card
from prefbench.tools.export import export, export_spec
from prefbench.tools.export_rows import COLUMNS, SPLITS
from prefbench.tools.hub import push
from support.commands import sets, typed
from support.comparisons import SMALL, write_hh
from support.tiny import TINY_SETS

WORLD = {"task": "bandit_two_group", "minority_ratio": "4:1", "seed": 3}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("export") / "data"
    export(export_spec(**WORLD), out, out.parent / "runs")
    return out


@pytest.fixture(scope="module")
def reviews(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("export") / "data"
    chosen = parse_sets([*TINY_SETS])
    export(export_spec(task="imdb_two_group", sets=chosen, seed=1), out, out.parent / "runs")
    return out


def frame(folder: Path, split: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "data" / f"{split}.parquet")


def test_the_rows_are_the_labels_of_a_run(world, tmp_path):
    problem, rows = labelled_pairs(export_spec(**WORLD), world.parent / "runs")
    for split in SPLITS:
        expected = rows.loc[rows["split"] == split, list(COLUMNS)].reset_index(drop=True)
        pd.testing.assert_frame_equal(frame(world, split), expected)
        assert frame(world, split).dtypes["user_id"] == "int64"
    prompts = [set(frame(world, split)["prompt"]) for split in SPLITS]
    assert not prompts[0] & prompts[1] and not prompts[0] & prompts[2] and not prompts[1] & prompts[2]
    assert frame(world, "train")["user_id"].nunique() == problem.annotators


def test_after_a_run_nothing_is_computed(tmp_path):
    run(make_spec(aligner="preference_matching", **WORLD), tmp_path / "runs")
    seen: list[tuple[str, bool]] = []

    class Told:
        def begin(self, stage, stored):
            seen.append((stage, stored))

        def step(self, *args):
            pass

        end = note = step

    export(export_spec(**WORLD), tmp_path / "out", tmp_path / "runs", Told())
    assert seen == [("pairs", True), ("labels", True)]


def test_every_aligner_learns_from_the_same_labels(tmp_path):
    """The aligner that a specification has to name changes nothing."""
    for name in ("dpo", "gold_maxmin"):
        spec = make_spec(aligner=name, **WORLD)
        export(spec, tmp_path / name, tmp_path / "runs")
    assert (tmp_path / "dpo/data/train.parquet").read_bytes() == (
        tmp_path / "gold_maxmin/data/train.parquet"
    ).read_bytes()


# ---------------------------------------------------------------------------------------- readers


def test_the_folder_loads_as_a_data_set(world, monkeypatch, tmp_path):
    import datasets

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    loaded = datasets.load_dataset(str(world), cache_dir=str(tmp_path))
    assert set(loaded) == set(SPLITS)
    assert loaded["train"].column_names == list(COLUMNS)
    assert loaded["train"][:5] == frame(world, "train").head().to_dict("list")


def loaded(folder: Path, cache: Path):
    import datasets

    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


def briefly(folder: Path) -> dict[str, object]:
    """Settings of TRL's trainers for two steps on a CPU."""
    return {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": 8,
        "max_steps": 2,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
    }


@pytest.mark.parametrize("kind", ["reviews", "world"])
def test_dpo_trains_on_it_as_it_is(kind, request, tmp_path, tiny_backbone):
    trl = pytest.importorskip("trl")
    backbone = tiny_backbone(folder=tmp_path, context=64)
    config = trl.DPOConfig(max_length=48, **briefly(tmp_path))
    trainer = trl.DPOTrainer(
        model=backbone.trainable_copy(0),
        ref_model=backbone.reference.model,
        args=config,
        train_dataset=loaded(request.getfixturevalue(kind), tmp_path / "cache"),
        processing_class=backbone.codec.tokenizer,
    )
    assert trainer.train().training_loss > 0


@pytest.mark.parametrize("kind", ["reviews", "world"])
def test_a_reward_model_trains_on_it_as_it_is(kind, request, tmp_path, tiny_backbone):
    trl = pytest.importorskip("trl")
    from transformers import GPT2Config, GPT2ForSequenceClassification

    tokenizer = tiny_backbone(folder=tmp_path, context=64).codec.tokenizer
    shape = {"n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2, "num_labels": 1}
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
    config = trl.RewardConfig(max_length=64, **briefly(tmp_path))
    trainer = trl.RewardTrainer(
        model=GPT2ForSequenceClassification(GPT2Config(vocab_size=len(tokenizer), **shape, **ends)),
        args=config,
        train_dataset=loaded(request.getfixturevalue(kind), tmp_path / "cache"),
        processing_class=tokenizer,
    )
    assert trainer.train().training_loss > 0


# --------------------------------------------------------------------------------------- the card


def test_the_card_says_what_it_is_and_its_numbers_are_computed(world):
    text = (world / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    (config,) = header["configs"]
    assert {f["split"]: f["path"] for f in config["data_files"]} == {s: f"data/{s}.parquet" for s in SPLITS}
    assert all((world / f["path"]).is_file() for f in config["data_files"])
    assert header["size_categories"] == ["n<1K"] and "trl" in header["tags"]
    for split in SPLITS:
        rows = frame(world, split)
        line = f"| {split} | {len(rows)} | {rows['prompt'].nunique()} | {rows['user_id'].nunique()} |"
        assert line in text
    everything = pd.concat([frame(world, split) for split in SPLITS])
    minority = everything[everything["group"] == "group 2"]
    share = f"{len(minority)} ({len(minority) / len(everything):.1%})"
    assert f"| group 2 (minority) | {minority['user_id'].nunique()} | {share} | reward |" in text
    for part in ("| task | `bandit_two_group@1` |", "| minority ratio | `0.2` |", "| seed | `3` |"):
        assert part in text
    for heading in (
        "Who drew it",
        "Fields",
        "Splits",
        "Groups",
        "How it was made",
        "Licence",
        "Limits",
        "Use",
    ):
        assert f"\n## {heading}\n" in text


def test_the_card_of_a_world_says_that_models_drew_everything(world):
    drawn = drawn_by(world)
    assert drawn["responses"].startswith(
        "drawn by a model: the reference policy, which is the reference policy"
    )
    assert drawn["labels"] == "drawn by a model of choice from the groups' utilities; no person gave one"
    assert drawn["`user_id`"] == "invented: simulated annotators"


def drawn_by(folder: Path) -> dict[str, str]:
    """What the card's section on who drew responses, labels, ids and groups says."""
    section = (folder / "README.md").read_text().split("\n## Who drew it\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {name: said for name, said in rows[2:]}


def test_the_card_of_brought_labels_says_so_and_which_ids_were_invented(tmp_path):
    folder = write_hh(tmp_path / "crowd")
    chosen = parse_sets([*(f"task.{name}={value}" for name, value in SMALL.items()), *TINY_SETS[-4:]])
    spec = export_spec(task="hh_two_group", data=str(folder), minority_ratio="4:1", sets=chosen)
    export(spec, tmp_path / "out", tmp_path / "runs")
    drawn = drawn_by(tmp_path / "out")
    assert drawn["responses"].startswith("brought along with `crowd`, written by language models")
    assert drawn["labels"].startswith("brought along with `crowd`, given by crowd workers")
    assert drawn["`user_id`"].startswith("invented by the task, as it is not known who gave which label")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| `user_id` | int64 | an invented annotator; numbers say nothing about the group |" in text
    assert "| harmless (minority) | 1 | 8 | " in text and "The minority ratio found is 0.2" in text
    for never in (
        "model of choice",
        "sigmoid",
        "were drawn",
        "preference noise",
        "model of the responses",
        "agree*",
    ):
        assert never not in text
    assert "- Annotators are invented" in text and "terms apply" in text


def test_the_card_of_named_people_says_that_ids_were_brought(world):
    spec = export_spec(**WORLD)
    problem, rows = labelled_pairs(spec, world.parent / "runs")
    named = rows[["split", "prompt", "chosen", "rejected", "user_id", "group"]].iloc[1:]
    named = named[named["chosen"] != named["rejected"]]
    named = named.assign(user_id=[f"p {user}" for user in named["user_id"]])
    brought = replace(problem, given=named)
    text = card(spec, brought, given_pairs(brought)[0])
    assert "| `user_id` | brought along: one id is one annotator |" in text
    assert "| `user_id` | string | whoever gave the label, by the id that was brought along |" in text
    assert re.search(r"\| group [12][^|]*\| \d+ \| \d+ to 15 \|", text)
    assert "no pair was labelled by both" in text and "Annotators are invented" not in text
    half = replace(spec, minority_ratio=0.5)
    assert "a minority ratio of 0.5 was asked for, and it cannot be had of these labels" in card(
        half, brought, given_pairs(brought)[0]
    )


def test_the_conflict_in_the_card_is_that_of_the_record(world, tmp_path):
    _, record = run(make_spec(aligner="preference_matching", **WORLD), world.parent / "runs")
    (conflict,) = record.task_report["conflict"].values()
    assert f"differ by {conflict['diversity']:.3f} on average" in (world / "README.md").read_text()


def test_data_of_others_is_under_its_own_terms_and_paths_stay_here(tmp_path):
    table = [{"text": f"film {i} was a joy and then a sorrow to all of us, {i}."} for i in range(400)]
    home = tmp_path / "home" / "somebody"
    home.mkdir(parents=True)
    pd.DataFrame(table).to_parquet(home / "mine.parquet")
    spec = export_spec(
        task="imdb_two_group",
        data=str(home / "mine.parquet"),
        sets=parse_sets([*TINY_SETS, "task.prompt_words=2"]),
    )
    export(spec, tmp_path / "out", tmp_path / "runs")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "derive from `mine.parquet`" in text and "somebody" not in text


def test_hostile_names_do_not_break_the_card(world):
    spec = export_spec(**WORLD)
    problem, rows = labelled_pairs(spec, world.parent / "runs")
    name = "a | b\n# <script>`x`---"
    groups = (replace(problem.groups[0], name=name), problem.groups[1])
    renamed = rows.rename(columns=lambda column: column.replace("group 1", name))
    renamed["group"] = renamed["group"].replace("group 1", name)
    text = card(spec, replace(problem, groups=groups), renamed)
    assert "\n# <script>" not in text and "<script>" not in text.replace("\\<script\\>", "")
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"]
    lines = [line for line in text.splitlines() if line.startswith("| a ")]
    assert len(lines) == 1 and len(re.findall(r"(?<!\\)\|", lines[0])) == 7


# ------------------------------------------------------------------------------------ the command


def test_the_command_writes_the_folder_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["export", "--task", "bandit_two_group", "--out", "data", "--minority-ratio", "10:1", "--seed", 1]
    outcome = typed(*words, *sets("task.annotators=11", "task.pairs_per_annotator=5"))
    assert outcome.code == 0, outcome.err
    assert outcome.out == "written: data (55 train, 11 validation, 200 test)\n"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["data", "runs"]
    assert sorted(str(p.relative_to("data")) for p in Path("data").rglob("*") if p.is_file()) == [
        "README.md",
        *(f"data/{split}.parquet" for split in sorted(SPLITS)),
    ]
    again = typed(*words)
    assert again.code == 2 and "exists already" in again.error
    quiet = typed(*words[:4], "other", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--task", "bandit_two_grup"], "Did you mean 'bandit_two_group'?"),
        (["--task", "bandit_two_group", "--minority-ratio", "0.7"], "minority ratio '0.7'"),
        (
            ["--task", "bandit_two_group", "--set", "aligner.beta=1"],
            "only options of the task and of the model",
        ),
        (["--task", "bandit_two_group", "--model", "nano"], "does not fit task"),
        (["--task", "bandit_two_group", "--data", "x.csv"], "reads no data"),
        (["--task", "bandit_two_group", "--public"], "--push, which is missing"),
        (["--task", "bandit_two_group", "--seed", "-1"], "seed '-1'"),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_nothing_is_written(args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = typed("export", "--out", "data", *args)
    assert outcome.code == 2 and said in outcome.error
    assert list(Path().iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    for name in ("full", "file"):
        with pytest.raises(UserError, match="exists already"):
            export(export_spec(**WORLD), tmp_path / name, tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    export(export_spec(**WORLD), tmp_path / "empty", tmp_path / "runs")
    assert (tmp_path / "empty" / "README.md").is_file()


def test_a_full_disk_leaves_no_half_folder(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    export(export_spec(**WORLD), tmp_path / "first", tmp_path / "runs")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(PrefbenchError, match="disk is full"):
        export(export_spec(**WORLD), tmp_path / "out", tmp_path / "runs")
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ["first", "runs"]


# ------------------------------------------------------------------------------------------- push


def test_without_push_nothing_is_sent(tmp_path, monkeypatch, hub):
    made = hub()
    monkeypatch.chdir(tmp_path)

    def refused(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    outcome = typed("export", "--task", "bandit_two_group", "--out", "data")
    assert outcome.code == 0, outcome.err
    assert made.calls == []


def test_push_is_private_unless_said_otherwise(tmp_path, monkeypatch, hub):
    made = hub()
    monkeypatch.chdir(tmp_path)
    words = ["export", "--task", "bandit_two_group", "--push", "me/mine"]
    outcome = typed(*words, "--out", "data")
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("pushed: https://hub.example/datasets/me/mine (private)\n")
    (first, create), (second, upload) = made.calls
    assert (first, second) == ("create_repo", "upload_folder")
    assert create["private"] is True and create["repo_type"] == upload["repo_type"] == "dataset"
    assert upload["repo_id"] == "me/mine" and upload["folder_path"] == "data"
    made = hub()
    typed(*words, "--out", "other", "--public")
    assert made.calls[0][1]["private"] is False


def test_what_is_public_already_is_sent_nothing_unless_that_is_said(tmp_path, monkeypatch, hub):
    made = hub(there=False)
    monkeypatch.chdir(tmp_path)
    words = ["export", "--task", "bandit_two_group", "--push", "me/mine"]
    outcome = typed(*words, "--out", "data")
    assert outcome.code == 2 and "on the hub already, for everybody to see: say --public" in outcome.err
    assert [call for call, _ in made.calls] == ["create_repo"]
    assert typed(*words, "--out", "again", "--public").code == 0 and made.calls[-1][0] == "upload_folder"


def test_a_push_is_refused_before_anything_is_made_where_the_hub_may_not_be_asked(tmp_path, monkeypatch, hub):
    made = hub(offline=True)
    monkeypatch.chdir(tmp_path)
    outcome = typed("export", "--task", "bandit_two_group", "--push", "me/mine", "--out", "data")
    assert outcome.code == 2 and "HF_HUB_OFFLINE says that it is not to be asked" in outcome.error
    assert made.calls == [] and list(tmp_path.iterdir()) == []


def test_a_refused_push_is_one_line_without_the_token(world, monkeypatch, hub):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijk")
    hub(RuntimeError("401 for Bearer hf_abcdefghijk\nand more"))
    with pytest.raises(PrefbenchError) as caught:
        push(world, "me/mine")
    said = str(caught.value)
    assert "hf_abcdefghijk" not in said and "***" in said and "\n" not in said
    assert str(world) in said and caught.value.exit_code == 3
    assert caught.value.__cause__ is None and caught.value.__suppress_context__

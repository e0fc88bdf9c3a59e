"""Prompts and responses as messages: what TRL takes for a conversation, and what the codec reads of it."""

import pandas as pd
import pytest

from prefbench.backbone.language.codec import split_transcript
from prefbench.tools.export_rows import as_messages
from support.commands import sets, typed
from support.comparisons import SMALL, write_hh
from support.tiny import CHATML, TINY_SETS, chat_tokenizer

TALK = "Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A task of messages to an assistant: its pairs and its prompts, as text and as messages."""
    home = tmp_path_factory.mktemp("messages")
    options = [*(f"task.{name}={value}" for name, value in SMALL.items()), *TINY_SETS[-4:]]
    words = ["--task", "hh_two_group", "--data", write_hh(home / "crowd"), "--runs-dir", home / "runs"]
    words += ["--minority-ratio", "4:1", *sets(*options)]
    for what, kind in (("pairs", []), ("prompts", ["--prompts"])):
        for how, more in (("text", []), ("messages", ["--messages"])):
            done = typed("export", *kind, *more, *words, "--out", home / f"{what}-{how}", "--quiet")
            assert done.code == 0, done.err
    return home


def loaded(folder, cache):
    import datasets

    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


def test_turns_are_those_that_a_chat_model_is_given():
    rows = pd.DataFrame({"prompt": [TALK, "hello"], "chosen": [" d", "e"], "rejected": ["", " f "]})
    found = as_messages(rows)
    assert found["prompt"].tolist() == [split_transcript(TALK), [{"role": "user", "content": "hello"}]]
    assert [turn["content"] for turn in found["prompt"][0]] == ["a", "b", "c"]
    assert [row[0]["content"] for row in found["chosen"]] == ["d", "e"]
    assert [row[0]["content"] for row in found["rejected"]] == ["", "f "]
    assert rows["prompt"].tolist() == [TALK, "hello"], "the rows that were given stay as they were"


@pytest.mark.parametrize("what", ["pairs", "prompts"])
def test_trl_takes_them_for_conversations(what, exported, tmp_path):
    trl = pytest.importorskip("trl")
    text, messages = (loaded(exported / f"{what}-{how}", tmp_path) for how in ("text", "messages"))
    assert messages.column_names == text.column_names and len(messages) == len(text)
    tokenizer = chat_tokenizer(CHATML)
    for before, row in zip(text, messages, strict=True):
        assert trl.is_conversational(row) and not trl.is_conversational(before)
        asked = split_transcript(before["prompt"])
        assert row["prompt"] == asked
        rendered = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        assert trl.apply_chat_template(row, tokenizer)["prompt"] == rendered
    card = (exported / f"{what}-messages" / "README.md").read_text()
    assert "list of messages, each with `role` and `content`" in card


def test_dpo_trains_on_messages(exported, tmp_path, tiny_backbone):
    trl = pytest.importorskip("trl")
    backbone = tiny_backbone(folder=tmp_path, context=96)
    tokenizer = backbone.codec.tokenizer
    tokenizer.chat_template = CHATML
    settings = {"per_device_train_batch_size": 8, "max_steps": 2, "report_to": "none", "save_strategy": "no"}
    trainer = trl.DPOTrainer(
        model=backbone.trainable_copy(0),
        ref_model=backbone.reference.model,
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "trl"),
            max_length=96,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            **settings,
        ),
        train_dataset=loaded(exported / "pairs-messages", tmp_path / "cache"),
        processing_class=tokenizer,
    )
    assert trainer.train().training_loss > 0


def test_ids_and_people_are_as_they_were(exported):
    for what, kept in (("pairs", ["user_id", "group"]), ("prompts", ["prompt_id"])):
        text, messages = (
            pd.read_parquet(exported / f"{what}-{how}" / "data" / "test.parquet")[kept]
            for how in ("text", "messages")
        )
        pd.testing.assert_frame_equal(text, messages)


def test_models_have_no_messages(tmp_path):
    words = ["export", "--reference", "--task", "imdb_two_group", "--out", tmp_path / "out"]
    done = typed(*words, "--messages")
    assert done.code == 2 and "--messages says how to export data or --prompts" in done.error
    assert not (tmp_path / "out").exists()

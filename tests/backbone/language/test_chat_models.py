"""Models with a chat template: when it is used, what ends a turn, and fine-tuning before it."""

from dataclasses import replace

import numpy as np
import pytest

from prefbench.errors import UserError
from support.tiny import CHATML, chat_tokenizer, loaded, plain_problem, tiny_model


@pytest.fixture
def chat_folder(tmp_path):
    """A model folder whose tokenizer has a chat template, with an end of turn that is not its eos."""
    tokenizer = chat_tokenizer(CHATML)
    folder = tmp_path / "assistant"
    tiny_model("llama", len(tokenizer), context=96, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("option", "chat", "templated"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("model", False, True),
        ("none", True, False),
    ],
)
def test_the_template_is_used_where_prompts_are_messages(chat_folder, tmp_path, option, chat, templated):
    codec = loaded(chat_folder, tmp_path, plain_problem(chat=chat), chat_template=option).codec
    (ids,) = codec.prompts(["the film"])
    template, plain = "<|im_start|>user\nthe film<|im_end|>\n<|im_start|>assistant\n", "the film"
    assert codec.tokenizer.decode(ids) == (template if templated else plain)
    end = codec.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (end in codec.stops) == templated and codec.tokenizer.eos_token_id in codec.stops


def test_generation_settings_name_stops_too(chat_folder, tmp_path):
    (chat_folder / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert {7, 9, 0} <= loaded(chat_folder, tmp_path, plain_problem()).codec.stops


def test_how_prompts_are_put_is_part_of_the_reference(chat_folder, tmp_path):
    problem = plain_problem(chat=True)
    digests = {loaded(chat_folder, tmp_path, problem).digest for _ in range(2)}
    assert len(digests) == 1
    digests.add(loaded(chat_folder, tmp_path, problem, chat_template="none").digest)
    digests.add(loaded(chat_folder, tmp_path, problem, context=80).digest)
    tokenizer = chat_tokenizer(CHATML.replace("im_start|>", "im_start|> "))
    tokenizer.save_pretrained(chat_folder)
    digests.add(loaded(chat_folder, tmp_path, problem).digest)
    assert len(digests) == 4


def test_a_chat_task_needs_a_template_or_a_word(model_folder, tmp_path):
    with pytest.raises(UserError) as error:
        loaded(model_folder, tmp_path, plain_problem(chat=True))
    assert str(error.value) == (
        f"model '{model_folder}' has no chat template: say --set model.chat_template=none to give prompts as "
        "plain text."
    )
    plain = loaded(model_folder, tmp_path, plain_problem(chat=True), chat_template="none").codec
    assert plain.prompts(["a film"]) == [plain.tokenizer("a film")["input_ids"]]


def test_a_template_that_leaves_no_room_is_found_before_anything_is_written(chat_folder, tmp_path):
    with pytest.raises(UserError, match=r"model\.context=16 leaves no room"):
        loaded(chat_folder, tmp_path, plain_problem(chat=True), context=16, steps=2)
    assert not (tmp_path / "runs").exists()


def test_an_assistant_is_fine_tuned_on_plain_texts_and_then_asked_in_its_template(chat_folder, tmp_path):
    problem = plain_problem(chat=True, corpus=("a joy .", "the plot was dull .", "") * 4)
    sft = {"steps": 30, "batch": 4, "learning_rate": 0.02, "lora": False}
    before = loaded(chat_folder, tmp_path, problem)
    after = loaded(chat_folder, tmp_path, problem, **sft)
    assert after.digest != before.digest
    as_text = {"prompts": [""], "responses": ["a joy ."]}
    for backbone in (before, after):
        backbone.codec = replace(backbone.codec, chat=False)
    assert after.reference.logprob(**as_text) > before.reference.logprob(**as_text) + 1
    after.codec = replace(after.codec, chat=True)
    assert len(after.reference.sample(["the film"], 2, np.random.SeedSequence(0))[0]) == 2


def test_fine_tuning_needs_a_corpus(model_folder, tmp_path):
    with pytest.raises(UserError, match=r"no corpus .* model\.steps=0"):
        loaded(model_folder, tmp_path, plain_problem(corpus=()), steps=1)

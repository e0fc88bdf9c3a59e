"""Prompts of assistants: chat templates, transcripts, and tokenizers that lack one token or another."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from prefbench.backbone.language import codec as codecs
from prefbench.backbone.language.codec import Codec, end_of_turn, split_transcript
from prefbench.backbone.presets import TULU2_TEMPLATE
from prefbench.errors import UserError
from support.tiny import CHATML, chat_tokenizer, tiny_tokenizer

STRICT = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ raise_exception('roles must alternate') if (message['role'] == 'user') != (loop.index0 % 2 == 0) }}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' if message['role'] == 'user' "
    "else ' ' + message['content'] + eos_token }}"
    "{% endfor %}"
)


def codec_of(tokenizer: Any, context: int = 400, response_tokens: int = 6) -> Codec:
    end = end_of_turn(tokenizer)
    stops = {tokenizer.eos_token_id, end} - {None}
    return Codec(tokenizer, frozenset(stops), response_tokens, context, chat=True, end=end)


# --- transcripts ------------------------------------------------------------------------------------------


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("What is rain?", [user("What is rain?")]),
        ("\n\nHuman: What is rain?\n\nAssistant:", [user("What is rain?")]),
        ("Human: What is rain?", [user("What is rain?")]),
        (
            "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHow are you?\n\nHuman: Well.\n\nAssistant:",
            [user("Hi"), assistant("Hello.\n\nHow are you?"), user("Well.")],
        ),
        ("\n\nHuman: a\n\nAssistant:\n\nHuman: b\n\nAssistant: ", [user("a\n\nb")]),
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant: c\n\nHuman: d", [user("a\n\nb"), assistant("c"), user("d")]),
        ("Say \n\nHuman: on a line.", [user("Say \n\nHuman: on a line.")]),
        ("\n\nAssistant: I begin.\n\nHuman: No.", [user("\n\nAssistant: I begin.\n\nHuman: No.")]),
        ("\n\nHuman: a\n\nAssistant: Sure, it is", [user("\n\nHuman: a\n\nAssistant: Sure, it is")]),
        ("Which Human: said so?", [user("Which Human: said so?")]),
        ("Human:", [user("Human:")]),
        ("", [user("")]),
    ],
)
def test_a_transcript_becomes_its_turns(prompt: str, expected: list[dict[str, str]]) -> None:
    assert split_transcript(prompt) == expected


speech = st.text(alphabet="ab .:\n", max_size=12).filter(
    lambda text: text.strip() == text and text != "" and "\n\n" not in text
)


@given(st.lists(st.tuples(speech, speech), max_size=3), speech)
def test_a_written_transcript_is_read_back(exchanges: list[tuple[str, str]], last: str) -> None:
    turns = [turn for said, answer in exchanges for turn in (user(said), assistant(answer))] + [user(last)]
    names = {"user": "Human", "assistant": "Assistant"}
    written = "".join(f"\n\n{names[turn['role']]}: {turn['content']}" for turn in turns) + "\n\nAssistant:"
    assert split_transcript(written) == turns


# --- templates --------------------------------------------------------------------------------------------


def test_a_prompt_is_a_message_in_the_template() -> None:
    codec = codec_of(chat_tokenizer(CHATML))
    prompts = ["the film", "Human: a joy?\n\nAssistant: yes.\n\nHuman: no\n\nAssistant:"]
    for ids, prompt in zip(codec.prompts(prompts), prompts, strict=True):
        expected = codec.tokenizer.apply_chat_template(split_transcript(prompt), add_generation_prompt=True)
        assert ids == expected["input_ids"]
    assert codec.prompts([]) == []


def test_the_tulu_format_is_that_of_its_model_card() -> None:
    tokenizer = chat_tokenizer(TULU2_TEMPLATE, adds_bos=True)
    first, second = codec_of(tokenizer).prompts(["a film?", "Human: a\n\nAssistant: b\n\nHuman: c"])
    assert tokenizer.decode(first) == "<s><|user|>\na film?\n<|assistant|>\n"
    assert tokenizer.decode(second) == (
        "<s><|user|>\na\n<|assistant|>\nb<|endoftext|>\n<|user|>\nc\n<|assistant|>\n"
    )


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize(("template", "writes_bos"), [(STRICT, True), (CHATML, False)])
def test_there_is_never_a_second_beginning(template: str, writes_bos: bool, adds_bos: bool) -> None:
    tokenizer = chat_tokenizer(template, adds_bos=adds_bos)
    for context in (400, 60):
        for ids in codec_of(tokenizer, context).prompts(["a film", "so dull " * 60]):
            assert ids.count(tokenizer.bos_token_id) == (writes_bos or adds_bos)
            assert (ids[0] == tokenizer.bos_token_id) == (writes_bos or adds_bos)


HEAD, TAIL = "<s><|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


@given(st.text(alphabet="aeth ilmé☂.", min_size=1, max_size=300), st.integers(90, 200))
def test_a_long_message_loses_its_start_and_the_template_nothing(text: str, context: int) -> None:
    tokenizer = chat_tokenizer(CHATML, adds_bos=True)
    codec = codec_of(tokenizer, context)
    (ids,) = codec.prompts([text])
    said = tokenizer.decode(ids)
    assert len(ids) <= codec.room
    assert said.startswith(HEAD) and said.endswith(TAIL)
    kept = said[len(HEAD) : -len(TAIL)]
    assert text.endswith(kept)
    if kept != text:
        assert codec.room - len(ids) <= 3, "what is left out would have fitted"


def test_the_oldest_exchanges_go_first_and_whole() -> None:
    tokenizer = chat_tokenizer(STRICT)
    turns = [f"{name}: {word} {'was dull ' * 4}" for name, word in zip("HAHAH", "abcde", strict=True)]
    prompt = "\n\n".join(turns).replace("H:", "Human:").replace("A:", "Assistant:")
    whole = tokenizer.decode(codec_of(tokenizer).prompts([prompt])[0])
    assert [word for word in "abcde" if f" {word} was" in whole] == list("abcde")
    room = len(codec_of(tokenizer).prompts([prompt])[0]) - 1
    shorter = tokenizer.decode(codec_of(tokenizer, room + 6).prompts([prompt])[0])
    assert [word for word in "abcde" if f" {word} was" in shorter] == list("cde")
    assert shorter.startswith("<s>[INST] c was dull") and shorter.endswith("dull [/INST]")
    last = len(codec_of(tokenizer).prompts(["e " + "was dull " * 4])[0])
    shortest = tokenizer.decode(codec_of(tokenizer, last + 2).prompts([prompt])[0])
    assert shortest.startswith("<s>[INST] ") and shortest.endswith("dull [/INST]")
    assert " e was" not in shortest


def test_a_template_that_fills_the_context_is_refused() -> None:
    codec = codec_of(chat_tokenizer(CHATML), context=16)
    with pytest.raises(
        UserError, match=r"model.context=16 leaves no room for .* template .* 6 response tokens"
    ):
        codec.prompts(["the film was a joy"])


@pytest.mark.parametrize(
    ("template", "why"),
    [("{{ messages[", "unexpected"), ("{{ raise_exception('no users here') }}", "no users here")],
)
def test_a_broken_template_is_said_in_one_line(template: str, why: str) -> None:
    codec = Codec(chat_tokenizer(template), frozenset({0}), 6, 100, chat=True)
    with pytest.raises(UserError, match=r"model\.chat_template=none") as error:
        codec.prompts(["a"])
    assert why in str(error.value) and "\n" not in str(error.value)


# --- ends -------------------------------------------------------------------------------------------------


def test_the_end_of_a_turn_is_the_templates() -> None:
    tokenizer = chat_tokenizer(CHATML)
    im_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert im_end != tokenizer.eos_token_id
    assert end_of_turn(tokenizer) == im_end
    assert end_of_turn(chat_tokenizer(TULU2_TEMPLATE)) == tokenizer.eos_token_id
    assert end_of_turn(chat_tokenizer("{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}")) is None


def test_responses_end_as_the_model_ends_its_own() -> None:
    codec = codec_of(chat_tokenizer(CHATML))
    ids = codec.responses(["dull", "the plot was dull and the music was worse"])
    assert ids[0][-1] == codec.end and ids[1][-1] != codec.end
    assert codec.decode(ids[:1]) == ["dull"]


def llama_like(template: str) -> Any:
    """A tokenizer that, like Llama's, writes a blank before every text: words are tokens with their blank."""
    words = ["[UNK]", "<s>", "</s>", "\n", "?", "<think>"]
    words += [blank + word for blank in ("", "\u2581") for word in ("yes", "no", "U", "A")]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Split("?", "isolated"),
        ]
    )
    inner.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    return tokenizer


SHORT = "{% for m in messages %}{{ m['role'][0]|upper + '\n' + m['content'] + '\n' if m['role'] == 'user' }}"
SHORT += "{{ 'A\n' + m['content'] + eos_token if m['role'] == 'assistant' }}{% endfor %}"
SHORT += "{{ 'A\n' if add_generation_prompt }}"


def test_an_answer_has_the_tokens_that_follow_the_template() -> None:
    tokenizer = llama_like(SHORT)
    codec = codec_of(tokenizer)
    alone = tokenizer(["yes no"], add_special_tokens=False)["input_ids"][0]
    assert tokenizer.convert_ids_to_tokens(alone) == ["\u2581yes", "\u2581no"]
    (ids,) = codec.responses(["yes no"])
    assert tokenizer.convert_ids_to_tokens(ids) == ["yes", "\u2581no", "</s>"]
    assert codec.responses([" yes no", ""]) == [ids, [tokenizer.eos_token_id]]
    written = tokenizer.apply_chat_template(
        [user("no ?"), assistant("yes no")], tokenize=True, return_dict=False
    )
    assert codec.prompts(["no ?"])[0] + ids == written


def test_what_a_template_adds_to_an_answer_is_no_part_of_it() -> None:
    thinking = SHORT.replace("'A\n' + m", "'A\n' + '<think>\n' + m")
    tokenizer = llama_like(thinking)
    (ids,) = codec_of(tokenizer).responses(["yes no"])
    assert tokenizer.convert_ids_to_tokens(ids) == ["\u2581yes", "\u2581no", "</s>"]


# --- other tokenizers -------------------------------------------------------------------------------------


def test_a_tokenizer_in_python_that_ends_every_text() -> None:
    tokenizer = ByT5Tokenizer()
    assert not tokenizer.is_fast and tokenizer("ab")["input_ids"][-1] == tokenizer.eos_token_id
    plain = Codec(tokenizer, frozenset({tokenizer.eos_token_id}), 6, 30)
    assert plain.prompts(["ab", ""]) == [[100, 101], [tokenizer.eos_token_id]]
    assert plain.responses(["ab"]) == [[100, 101, tokenizer.eos_token_id]]
    assert plain.decode(plain.responses(["ab"])) == ["ab"]
    tokenizer.chat_template = "{% for m in messages %}{{ '> ' + m['content'] + '\n< ' }}{% endfor %}"
    chat = codec_of(tokenizer, context=30)
    (ids,) = chat.prompts(["0123456789abcdefghijklmnop"])
    assert tokenizer.decode(ids) == "> 789abcdefghijklmnop\n< "
    assert len(ids) == chat.room


def test_a_text_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny_tokenizer()
    asked: list[str] = []

    class Noting:
        def __getattr__(self, name: str) -> object:
            return getattr(whole, name)

        def __call__(self, texts: list[str], **options: object) -> object:
            asked.extend(texts)
            return whole(texts, **options)

    codec, plain = (Codec(tokenizer, frozenset({0}), 6, 32) for tokenizer in (Noting(), whole))
    for texts in (["a joy", "the film", "a joy"], ["the film", "dull"], []):
        assert codec.prompts(texts) == plain.prompts(texts)
        assert codec.responses(texts) == [[*ids, 0][:6] for ids in plain.prompts(texts)]
    assert asked == 2 * ["a joy", "the film"] + 2 * ["dull"]
    monkeypatch.setattr(codecs, "KNOWN_TOKENS", 5)  # more than that is forgotten, not lost
    for _ in range(2):
        assert codec.prompts(["a joy", "a plot"]) == plain.prompts(["a joy", "a plot"])
    assert asked[6:] == ["a plot", "a joy", "a plot"]
    monkeypatch.undo()
    shorter = dataclasses.replace(plain, response_tokens=2)  # another codec remembers for itself
    assert shorter.responses(["a joy from start"]) != plain.responses(["a joy from start"])
    assert len(dataclasses.replace(shorter, response_tokens=1).responses(["a joy from start"])[0]) == 1


@pytest.mark.parametrize("missing", ["pad_token", "bos_token", "eos_token"])
def test_a_missing_token_changes_no_prompt(missing: str) -> None:
    whole = tiny_tokenizer()
    texts = ["the film", "a joy from start to finish"]
    expected = Codec(whole, frozenset({0}), 6, 32).prompts(texts)
    lacking = tiny_tokenizer()
    setattr(lacking, missing, None)
    assert getattr(lacking, f"{missing}_id") is None
    assert Codec(lacking, frozenset({0}), 6, 32).prompts(texts) == expected
    ended = Codec(lacking, frozenset(), 60, 100).responses(["a joy"])[0]
    assert (ended[-1] == 0) == (missing != "eos_token")

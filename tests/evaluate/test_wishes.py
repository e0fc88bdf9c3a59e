"""Groups files: every way to state a wish, and one line for everything that is wrong with one."""

from __future__ import annotations

import numpy as np
import pytest

from prefbench.errors import UserError
from prefbench.evaluate.models import ModelAnswers, compare_answers
from prefbench.evaluate.wishes import read_wishes
from prefbench.problem.utilities.content import Conciseness
from support.judge_server import MODEL, prefers, serving

PROMPTS, OLD, NEW = ["p", "q"], [["one"], ["one two"]], [["one two"], ["one"]]


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory):
    """A reward model with random weights and a tokenizer of a few words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("reward")
    words = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "p", "q", "cat", "dog"])}
    tokens = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    shape = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    config = BertConfig(vocab_size=len(words), num_labels=1, **shape)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def wishes_of(tmp_path):
    """The wishes of a file with this text."""

    def read(text, allow_plugins=False):
        path = tmp_path / "groups.toml"
        path.write_text(text)
        return read_wishes(path, allow_plugins, tmp_path / "answers")[1]

    return read


def test_a_utility_by_name_and_its_opposite(wishes_of):
    brief, wordy = wishes_of(
        'margin = 0.1\n[[group]]\nname = "brief"\nutility = "conciseness"\n'
        '[[group]]\nname = "wordy"\nutility = "conciseness"\nless = true\nmargin = 0.02\n'
    )
    assert (brief.margin, wordy.margin) == (0.1, 0.02)
    assert isinstance(brief.utility, Conciseness)
    c = compare_answers(PROMPTS, ModelAnswers("old", OLD), ModelAnswers("new", NEW), [brief, wordy])
    assert np.array_equal(c.scores[:, 0, 0], [0, 1]) and np.array_equal(c.scores[:, 0, 1], [1, 0])


def test_silence_is_no_prize_for_the_opposite(wishes_of):
    (wordy,) = wishes_of('[[group]]\nname = "wordy"\nutility = "warmth"\nless = true\n')
    assert wordy.utility(["p", "p"], ["", "hate"])[0] < wordy.utility(["p"], ["love love"])[0]


def test_a_function_of_a_file_needs_leave(wishes_of, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def vowels(prompts, responses):\n    return [sum(c in 'aeiou' for c in r) for r in responses]\n"
    )
    text = '[[group]]\nname = "vowels"\nfunction = "mine.py:vowels"\n'
    with pytest.raises(UserError, match="--allow-plugins"):
        wishes_of(text)
    (wish,) = wishes_of(text, allow_plugins=True)
    assert wish.utility(["p"] * 2, ["tree", "sky"]).tolist() == [2, 0]
    assert wish.utility.name.startswith("function/1:vowels:")


def test_a_sentence_is_judged_by_the_server(wishes_of):
    with serving(prefers(len)) as server:
        (wish,) = wishes_of(
            '[[group]]\nname = "long"\njudge = "long answers"\n'
            f'[judge]\nmodel = "{MODEL}"\nurl = "{server.url}"\n'
        )
        c = compare_answers(PROMPTS, ModelAnswers("old", OLD), ModelAnswers("new", NEW), [wish])
    assert c.scores[:, 0, 0].tolist() == [1, 0]
    assert c.groups[0].mean_difference is None
    assert c.judges["long"]["comparisons"] == 2


def test_a_reward_model_of_a_folder(wishes_of, reward_folder):
    (wish,) = wishes_of(f'[[group]]\nname = "rewarded"\nreward_model = "{reward_folder}"\n')
    scores = wish.utility(["p", "p", "q"], ["cat dog", "", "cat dog"])
    assert scores[1] < scores[[0, 2]].min() and scores[0] != scores[2]  # the prompt is read
    alone = [wish.utility([prompt], [text])[0] for prompt, text in (("p", "cat dog"), ("q", "cat dog"))]
    assert scores[[0, 2]].tolist() == pytest.approx(alone, abs=1e-6)  # whatever else is in the batch


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no group"),
        ("[[group]]\nname = 'a'\n", "group 'a' has no wish: give it one of utility, judge"),
        ("[[group]]\nname = 'a'\nutility = 'warmth'\njudge = 'b'\n", "has utility and judge"),
        ("[[group]]\nname = 'a'\nutility = 'warmt'\n", "Did you mean 'warmth'"),
        ("[[group]]\nname = 'a'\nutilty = 'warmth'\n", "unknown key 'utilty'. Did you mean 'utility'"),
        ("[[group]]\nname = ''\nutility = 'warmth'\n", "no name for a group"),
        ("[[group]]\nname = 'a'\nutility = 'warmth'\n" * 2, "two groups are called 'a'"),
        ("[[group]]\nname = 'a'\nutility = 'warmth'\nmargin = 0.6\n", "margin 0.6"),
        ("[[group]]\nname = 'a'\njudge = 'kind'\n", "a sentence needs a judge"),
        ("[[group]]\nname = 'a'\njudge = 'kind'\nless = true\n", "say it in words"),
        ("[[group]]\nname = 'a'\nfunction = 'mine'\n", "is not FILE.py:NAME"),
        ("[[group]]\nname = 'a'\nfunction = 'none.py:f'\n", "no such Python file"),
        ("[[group]]\nname = 'a'\nreward_model = '/nowhere'\n", "'/nowhere'"),
        (
            "[[group]]\nname = 'a'\njudge = 'kind'\n[judge]\nmodel = 'm'\nurl = 'https://api.example.com/v1'\n",
            "--allow-host api.example.com",
        ),
    ],
)
def test_wrong_files(wishes_of, text, words, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError) as error:
        wishes_of(text, allow_plugins=True)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_function_that_is_not_there(wishes_of, tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(UserError, match=r"mine.py has no function called x"):
        wishes_of("[[group]]\nname = 'a'\nfunction = 'mine.py:x'\n", allow_plugins=True)

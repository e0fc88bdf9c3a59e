"""`prefbench compare-models`: one command and one small file, its exit codes, and wrong input."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

import prefbench as pb
from prefbench.config import WishTable
from prefbench.testing import CannotTell, assert_no_group_loses
from support.commands import sets, typed
from support.pages import PAGES, fenced

GROUPS = (
    "[[group]]\nname = 'brief'\nutility = 'conciseness'\n[[group]]\nname = 'wordy'\nutility = 'coverage'\n"
)
PROMPTS = [f"Tell me about number {number}." for number in range(60)]
SHORT = {prompt: "A number." for prompt in PROMPTS}
LONG = {prompt: "Some number between others, known since antiquity." for prompt in PROMPTS}


def write(path, answers):
    """A file of responses, as AlpacaEval's for `.json` and as ours for `.jsonl`."""
    if path.suffix == ".json":
        rows = [
            {"instruction": p, "output": r, "generator": path.stem, "dataset": "d"}
            for p, r in answers.items()
        ]
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in answers.items()))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with two models' outputs and a groups file."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "short.jsonl", SHORT)
    write(tmp_path / "long.json", LONG)
    (tmp_path / "groups.toml").write_text(GROUPS)
    return tmp_path


def compared(*more, old="responses:short.jsonl", new="responses:long.json"):
    return typed("compare-models", old, new, "--groups", "groups.toml", *more)


def test_one_command_and_one_file(here):
    files = ["--page", "p.html", "--junit", "j.xml", "--summary", "s.md", "--items", "i.jsonl"]
    done = compared(*files)
    assert done.code == 1 and not done.err
    assert "LOSES: brief is won at 0.000" in done.out and "held: wordy is won at 1.000" in done.out
    assert done.out.splitlines()[-1] == "closed: 1 held, 1 lost, 0 cannot tell."
    items = [json.loads(line) for line in (here / "i.jsonl").read_text().splitlines()]
    assert len(items) == 60 and items[0]["outcome/brief"] == 0 and items[0]["old"] == "A number."
    failures = ElementTree.parse(here / "j.xml").findall(".//failure")
    assert len(failures) == 1 and "brief" in failures[0].get("message")
    assert "LOSES" in (here / "s.md").read_text() and "A number." in (here / "p.html").read_text()
    assert not (here / "runs").exists()


def test_json_is_the_same_and_nothing_else(here):
    done = compared("--json")
    found = json.loads(done.out)
    assert found["worst_group"] == "brief" and found["gap"] == 1 and found["exit_code"] == done.code == 1
    python = pb.compare_models(SHORT, LONG, groups="groups.toml")
    assert python.statistics.to_dict() == found | {"old": "old", "new": "new"}


def test_a_model_against_itself_is_even(here):
    done = compared(new="responses:short.jsonl")
    assert done.code == 0 and "2 held" in done.out and "0.500" in done.out


@pytest.mark.parametrize(("more", "code"), [([], 1), (["--allow-undecided"], 0), (["--strict"], 1)])
def test_too_few_prompts_decide_nothing(here, more, code):
    few = dict(list(SHORT.items())[:2])
    write(here / "few.jsonl", few)
    done = compared("--margin", "0.4", *more, old="responses:few.jsonl")
    assert done.code == code and ("UNDECIDED" in done.out or "LOSES" in done.out)


def test_the_file_says_margin_and_level_and_the_command_line_overrides(here):
    (here / "groups.toml").write_text("margin = 0.49\nlevel = 0.01\nallow_undecided = true\n" + GROUPS)
    assert json.loads(compared("--json").out)["groups"][0]["margin"] == 0.49
    found = json.loads(compared("--json", "--margin", "0.1", "--level", "0.2").out)
    assert (found["groups"][0]["margin"], found["level"], found["allow_undecided"]) == (0.1, 0.2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(old="short.jsonl"), "write KIND:SOURCE"),
        (dict(old="tables:short.jsonl"), "unknown kind of policies 'tables'"),
        (dict(old="responses:none.jsonl"), "none.jsonl"),
        (dict(new="responses:none.json"), "none.json"),
        (dict(old="folder:models"), "nothing says what: give --prompts"),
        (dict(new="responses:fewer.jsonl"), "lacks responses to 1 of 60"),
        (dict(new="responses:twice.jsonl"), "more than once"),
        (dict(new="responses:odd.jsonl"), "Did you mean 'respons'"),
        (dict(more=["--prompts", "none.txt"]), "none.txt"),
        (dict(more=["--set", "older.empty=count"]), "unknown section 'older'"),
        (dict(more=["--set", "old.emty=count"]), "old.emty"),
        (dict(more=["--level", "0.7"]), "level 0.7"),
        (dict(more=["--margin", "0.7"]), "margin 0.7"),
        (dict(more=["--samples", "2"]), "say --samples=1"),
    ],
)
def test_wrong_input_is_one_line(here, arguments, words):
    write(here / "fewer.jsonl", dict(list(LONG.items())[1:]))
    (here / "twice.jsonl").write_text((here / "short.jsonl").read_text() * 2)
    (here / "odd.jsonl").write_text((here / "short.jsonl").read_text().replace('"response"', '"respons"'))
    done = compared(*arguments.pop("more", []), **arguments)
    assert done.code == 2 and words in done.error


def test_two_models_of_one_table(here):
    """A pool of answers names who wrote each; its rows need not be in one order."""
    rows = [
        {"instruction": p, "model": name, "output": said[p]}
        for name, said in (("s", SHORT), ("l", LONG))
        for p in said
    ]
    (here / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    pool = dict(old="responses:pool.jsonl", new="responses:pool.jsonl")
    assert "--set old.writer=NAME" in compared(**pool).error
    found = json.loads(compared("--json", *sets("old.writer=s", "new.writer=l"), **pool).out)
    assert (found["old"], found["new"], found["worst_group"]) == ("s", "l", "brief")
    assert "Did you mean 's'" in compared(*sets("old.writer=ss", "new.writer=l"), **pool).error


def test_silence_is_refused_or_counted(here):
    write(here / "mute.jsonl", SHORT | {PROMPTS[0]: " "})
    refused = compared(new="responses:mute.jsonl")
    assert refused.code == 2 and "--set new.empty=count" in refused.error
    counted = json.loads(compared("--json", "--set", "new.empty=count", new="responses:mute.jsonl").out)
    assert [group["losses"] for group in counted["groups"]] == [1, 1]


def test_in_a_build_of_ones_own(here):
    assert_no_group_loses(SHORT, SHORT, {"brief": "conciseness"})
    with pytest.raises(AssertionError, match="LOSES: brief"):
        assert_no_group_loses("responses:short.jsonl", "responses:long.json", "groups.toml")
    two = PROMPTS[:2]
    with pytest.raises(AssertionError, match="CANNOT TELL"):
        assert_no_group_loses(SHORT, SHORT, {"brief": "conciseness"}, prompts=two)
    with pytest.warns(CannotTell):
        assert_no_group_loses(SHORT, SHORT, {"brief": "conciseness"}, prompts=two, allow_undecided=True)


def test_a_folder_is_asked(here, model_folder):
    """Whatever can be a policy of a run can be a side here."""
    (here / "prompts.txt").write_text("\n".join(PROMPTS[:4]))
    sides = dict(old=f"folder:{model_folder}", new=f"folder:{model_folder}")
    more = ["--prompts", "prompts.txt", "--samples", "2", "--allow-undecided", "--json"]
    more += sets("old.max_tokens=8", "new.max_tokens=8", "new.chat_template=none")
    refused = compared(*more, **sides)
    assert refused.code == 2 and "--set old.chat_template=none" in refused.error
    done = compared(*more, *sets("old.chat_template=none"), **sides)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["n_prompts"], found["samples"]) == (4, 2)


def test_the_page_says_what_the_command_says(here, monkeypatch):
    page = "docs/compare-models.md"
    (toml,) = (block for block in fenced(page, "toml") if block.startswith("# groups.toml"))
    (script,) = (block for block in fenced(page, "python") if block.startswith("# answers.py"))
    (shown,) = re.findall(r"<!-- output: compare-models -->\n```text\n(.*?)^```$", PAGES[page], re.M | re.S)
    (here / "groups.toml").write_text(toml)
    exec(compile(script, "answers.py", "exec"), {})
    done = compared(old="responses:old.jsonl", new="responses:new.jsonl")
    assert [line.rstrip() for line in done.out.splitlines()] == shown.splitlines()
    for key in WishTable.model_fields:
        assert f"`{key}" in PAGES[page]

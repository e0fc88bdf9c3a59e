"""docs/outside.md, executed: every command and every block, on a small problem and tiny models."""

import re
import shlex

import pytest

from prefbench import registry
from prefbench.record.files import find_records
from support.commands import sets, typed
from support.judge_server import serving
from support.outside import OF_TASK, answers, write_lines
from support.pages import PAGES, fenced
from support.tiny import TINY_SETS, tiny_model, tiny_tokenizer

PAGE = PAGES["docs/outside.md"]
COMMANDS = [shlex.split(line)[1:] for block in fenced("docs/outside.md", "sh") for line in block.splitlines()]
ADDRESS = "http://127.0.0.1:8000/v1"


def block(name):
    """The Python between a marker of that name and the end of its fence."""
    (found,) = re.findall(rf"<!-- outside: {name} -->\n```python\n(.*?)^```", PAGE, re.M | re.S)
    return found


def of_kind(kind):
    """The page's command that measures a policy of a kind."""
    (words,) = (words for words in COMMANDS if any(word.startswith(f"{kind}:") for word in words))
    return words


def outside_of(folder):
    ((_, record),) = find_records(folder / "runs")
    return record


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_responses_of_the_page(here):
    writing, first, *later = COMMANDS[:5]
    assert typed(*writing, *sets(*OF_TASK)).code == 0
    exec(compile(block("respond"), "<respond>", "exec"), {})
    done = typed(*first, *sets(*TINY_SETS))
    assert done.code == 0, done.err
    assert [typed(*words).code for words in later] == [0, 0, 0]
    outside = outside_of(here).outside
    assert (outside.name, outside.trainer) == ("constant-joy", "nobody")


def test_a_file_of_another_seed_is_refused(here):
    writing, first, *_ = COMMANDS[:5]
    assert typed(*writing, *sets(*OF_TASK)).code == 0
    exec(compile(block("respond"), "<respond>", "exec"), {})
    done = typed(*first, "--seed", 1, *sets(*TINY_SETS))
    assert "rows whose prompt is not the test prompt of that prompt_id" in done.error
    assert not (here / "runs").exists()


def test_the_gate_of_outputs(here):
    (text,) = [body for body in fenced("docs/gate.md", "sh") if "responses:" in body]
    words = [shlex.split(line, comments=True)[1:] for line in text.splitlines() if line[0] != "#"]
    before, building, after, judging = words
    for command, said in ((before, "a joy ."), (after, "a dull mess , and far too long .")):
        write_lines(here / "outputs.jsonl", answers(here, said))
        done = typed(*command, *sets(*TINY_SETS))
        assert done.code == 0, done.err
    assert typed(*building).code == 0
    done = typed(*judging)
    assert done.code == 1 and done.out.startswith("FELL: imdb_two_group@2"), done
    same = typed(*(word.replace("fresh", "before") for word in judging))
    assert "0 fell" in same.out, "the same outputs: 50 prompts are too few to say that they held"


def test_the_server_of_the_page(here):
    words = of_kind("server")
    with serving(lambda message: "a joy .") as server:
        asked = [word.replace(ADDRESS, server.url) for word in words]
        done = typed(*asked, *sets(*TINY_SETS))
    assert done.code == 0, done.err
    assert {chat.body["temperature"] for chat in server.chats} == {0.7}
    assert outside_of(here).outside.name == "served"


def test_the_kind_of_the_page(here):
    (body,) = re.findall(r"<!-- file: shout.py -->\n```python\n(.*?)^```$", PAGE, re.M | re.S)
    (here / "shout.py").write_text(body)
    with registry.lent():
        done = typed(*of_kind("shout"), *sets(*TINY_SETS))
        assert done.code == 0, done.err
        record = outside_of(here)
    assert record.mean_length == 2 and [each.name for each in record.plugins] == ["shout.py"]


@pytest.mark.slow
def test_a_model_that_trl_trained(here):
    """Half a minute of importing and training with TRL."""
    (exporting,) = (words for words in COMMANDS if words[0] == "export")
    assert typed(*exporting, *sets(*TINY_SETS)).code == 0
    tokenizer = tiny_tokenizer()
    tiny_model("gpt2", len(tokenizer), 256, 0).save_pretrained(here / "tiny")
    tokenizer.save_pretrained(here / "tiny")
    small = 'DPOConfig(output_dir="dpo-out", max_steps=2, report_to=[], use_cpu=True, bf16=False)'
    code = block("train").replace('"gpt2"', '"tiny"').replace('DPOConfig(output_dir="dpo-out")', small)
    exec(compile(code, "<train>", "exec"), {})
    done = typed(*of_kind("folder"), *sets(*TINY_SETS, "policy.threads=1"))
    assert done.code == 0, done.err
    outside = outside_of(here).outside
    assert (outside.kind, outside.trainer) == ("folder", "TRL, DPO")

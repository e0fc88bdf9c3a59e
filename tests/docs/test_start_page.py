"""docs/start.md, executed from top to bottom: its commands, its aligner, and what it says they print."""

import re
import shlex

import pytest

from prefbench import registry
from support.commands import typed
from support.pages import FENCE, PAGES

PAGE = PAGES["docs/start.md"]


@pytest.fixture
def here(tmp_path, monkeypatch, restored):
    monkeypatch.chdir(tmp_path)
    for name, body in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)^```$", PAGE, re.M | re.S):
        (tmp_path / name).write_text(body)
    return tmp_path


def test_the_page_prints_what_it_says(here):
    printed, checked = "", 0
    for _, kind, body in FENCE.findall(PAGE):
        if kind == "text":
            assert body in printed, printed
            checked += 1
            continue
        commands = [shlex.split(line) for line in body.splitlines()] if kind == "sh" else []
        ours = [words for words in commands if words[0] == "prefbench"]
        outcomes = [typed(*words[1:], columns=80) for words in ours]
        assert [outcome.code for outcome in outcomes] == [0] * len(ours), outcomes
        printed = "".join(outcome.out for outcome in outcomes)
    assert checked == 4


def test_the_aligner_is_twenty_lines(here):
    lines = (here / "between.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith('"""')]
    assert len(code) <= 20
    registry.load_plugins([str(here / "between.py")])
    assert registry.get("aligner", "between").needs == {"group"}

"""Pages and pictures that scripts write of the code are what these would write now."""

import re
import shlex
import sys
from importlib import util

import pytest

import prefbench as pb
from prefbench.backbone.language import backbone, nano
from prefbench.cli.entry import program
from prefbench.numerics import NUMERICS
from prefbench.running import labels, pairs, policy, samples, scores
from prefbench.spec import make_spec
from support.pages import PAGES, ROOT, marked

STAGED = (nano, pairs, labels, policy, samples, scores)
"""Modules that compute a stage of a run."""


@pytest.fixture(scope="module")
def script():
    """A function that gives a script of docs/scripts/ as a module."""

    def load(name):
        spec = util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / "scripts" / f"{name}.py")
        module = util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)  # where its dataclasses look for their own module
        spec.loader.exec_module(module)
        return module

    with pytest.MonkeyPatch.context() as patch:
        yield load


@pytest.mark.parametrize("page", ["cli", "modules", "api"])
def test_the_reference_is_that_of_the_code(script, page):
    written, reference = PAGES[f"docs/{page}.md"], script("reference")
    now = {"cli": reference.cli_page, "modules": reference.modules_page}.get(
        page, lambda: reference.api_page(written)
    )
    assert written == now(), "run `python docs/scripts/reference.py`"


def test_every_command_and_option_is_on_the_page(script):
    page = PAGES["docs/cli.md"]
    for words, command, _ in script("reference").commands():
        section = page.split(f"\n## prefbench {words}\n")[1].split("\n## ")[0]
        told = set(re.findall(r"--[\w-]+", section))
        for param in command.params:
            assert {option for option in param.opts if option.startswith("--")} <= told, words
    sections = re.findall(r"^## prefbench (\S+)", page, re.MULTILINE)
    assert set(program().commands) == set(sections)


def test_signs_of_markdown_are_only_signs(script):
    assert script("reference").cell("a|b [x] *y* <z>\n `[q]`") == r"a\|b \[x] \*y\* &lt;z> `[q]`"


def test_every_public_module_has_a_section():
    assert re.findall(r"^## (prefbench\S+)$", PAGES["docs/modules.md"], re.M) == list(pb.PUBLIC_MODULES)


def test_the_flow_is_drawn_as_its_script_would(script):
    flow = script("flow")
    assert flow.PICTURE.read_text() == flow.picture(), "run `python docs/scripts/flow.py`"
    assert f"](images/{flow.PICTURE.name})" in PAGES["docs/concepts.md"]


def test_the_stages_of_the_flow_are_stages_of_a_run(script):
    sources = "".join((ROOT / module.__file__).read_text() for module in STAGED)
    sources += (ROOT / backbone.__file__).with_name("reward.py").read_text()
    sources += (ROOT / "prefbench" / "learn" / "rewards.py").read_text()
    named = {box.stage for box in script("flow").BOXES.values()} - {""}
    assert {name for name in named if f'"{name}"' not in sources} == set()


def test_the_picture_and_the_text_of_the_first_run_are_of_its_record(script):
    first = script("first_run")
    record, mend = first.read_record(first.KEPT), "run `python docs/scripts/first_run.py`"
    assert first.PICTURE.read_text() == first.picture(record), mend
    assert first.MARKED.findall(PAGES["docs/reading.md"]) == [first.block(record)], mend


def test_the_record_is_that_of_the_first_command(script):
    first = script("first_run")
    record = first.read_record(first.KEPT)
    command = shlex.split(marked("run").rsplit(" && ", 1)[1])
    assert command[1:] == shlex.split(first.command_of(record))[1:]
    named = dict(zip(command[2::2], command[3::2], strict=True))
    assert record.spec_hash == make_spec(task=named["--task"], aligner=named["--aligner"]).hash
    assert record.numerics == NUMERICS, (
        "run README's first command, then docs/scripts/first_run.py with its run"
    )

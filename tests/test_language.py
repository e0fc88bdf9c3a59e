"""Rules of style: docstrings and help name the thing first, names say units, files are short."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("prefbench", "tasks", "baselines")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]

RIDDLE = re.compile(
    r"(?:What|Whatever|Whether|How|Who|Whoever|Whose|Whom|Where|Which|When|If|Why|That|Truth|Of|Those|It|Its"
    r"|As|Within it|With which|Likewise)\b"
)
"""Words that put a question, or a relation to something unsaid, where the thing should be named."""
BEFORE = re.compile(r"\b(?:go|goes)\s+before\b")
HELP = {"help", "description", "epilog"}

UNITS = re.compile(
    r"TIMEOUT|PATIENCE|PAUSE|TICK|LIMIT|MEMORY|LONGEST|LARGEST|DEEPEST|SECONDS?|INTERVAL|WAIT|DELAY"
)
"""Names of amounts that have a unit."""
FILES = ("prefbench", "tasks", "baselines", "tests", "benchmarks", "docs", "leaderboard")
"""Folders with code of any kind."""
MOST_LINES = 499
"""Of a file: more is hardly one idea."""
NAMED_UNITS = set("SECONDS SECOND BYTES TOKENS CHARACTERS NATS SHARE LEVELS RATIO".split())


def texts(tree):
    """Docstrings of modules, classes, functions and attributes, and help texts, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for each in node.body:
                value = each.value if isinstance(each, ast.Expr) else None
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield each.lineno, value.value.strip()
        elif isinstance(node, ast.keyword) and node.arg in HELP:
            said = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
            if said and isinstance(said[0], str):
                yield node.value.lineno, said[0].strip()


def described():
    """Place and text of everything that describes something."""
    for path in SOURCES:
        for line, text in texts(ast.parse(path.read_text())):
            yield f"{path.relative_to(ROOT)}:{line}", text


def test_descriptions_name_the_thing_first():
    assert [f"{place}: {text[:60]}" for place, text in described() if RIDDLE.match(text)] == []


@pytest.mark.parametrize(
    ("text", "is_riddle"),
    [
        ("What a CSV lacks.", True),
        ("Whether it fits.", True),
        ("Of the utility.", True),
        ("Columns added after version 1; older files lack them.", False),
        ("Offsets of the rows.", False),
    ],
)
def test_what_a_riddle_is(text, is_riddle):
    source = f'def f():\n    """{text}"""\n'
    ((_, found),) = texts(ast.parse(source))
    assert bool(RIDDLE.match(found)) == is_riddle


def test_an_option_overrides_another_one_and_does_not_go_before_it():
    said = [(place, text) for place, text in described()]
    said += [(str(path.relative_to(ROOT)), path.read_text()) for path in PAGES]
    assert [place for place, text in said if BEFORE.search(text)] == []


def test_no_class_has_the_name_of_another_one():
    names = Counter(
        node.name.lstrip("_")
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def constants():
    """Numbers with a name at the head of a file."""
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                numbers = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
                plain = isinstance(node.value, ast.Constant | ast.BinOp)
                if plain and numbers and all(isinstance(each, int | float) for each in numbers):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.targets[0].id


def test_amounts_of_time_and_size_say_their_unit():
    found = list(constants())
    assert ("prefbench/chat/server.py", "TIMEOUT_SECONDS") in [
        (place.split(":")[0], name) for place, name in found
    ]
    unsaid = [
        f"{place} {name}"
        for place, name in found
        if name.isupper() and UNITS.search(name) and name.split("_")[-1] not in NAMED_UNITS
    ]
    assert unsaid == []


def too_long(root):
    """Files of more lines than one idea takes, with how many they have."""
    found = ((path, path.read_text(encoding="utf-8").count("\n")) for path in sorted(root.rglob("*.py")))
    return [f"{path.relative_to(root)}: {lines} lines" for path, lines in found if lines > MOST_LINES]


@pytest.mark.parametrize("folder", FILES)
def test_no_file_is_too_long_for_one_idea(folder):
    assert too_long(ROOT / folder) == [], "split it by idea"


def test_how_long_a_file_may_be(tmp_path):
    (tmp_path / "in").mkdir()
    for lines in (MOST_LINES, MOST_LINES + 1):
        (tmp_path / "in" / f"of_{lines}.py").write_text("x = 1\n" * lines)
    assert too_long(tmp_path) == ["in/of_500.py: 500 lines"]

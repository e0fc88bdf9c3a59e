"""The harness knows none of its tasks and aligners by name: what it needs of one is declared."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import prefbench
from prefbench import registry

WORDS = {"reference", "constant", "longest", "shortest", "welfare", "preferences"}
"""Names that are words of the harness's own as well: kinds of policies, a stage, an option, data."""
WORDS |= {"can"}  # and one that is a word of English, which messages are made of
CRITERIA = {"maxmin": "learn/exact.py"}
"""A name that is also a criterion, in the module that solves for it."""
TEMPLATES = "tools/templates/"


def literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """Strings that are no docstring: those that do not stand alone as a statement."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node


def known_by_name(source: str, file: str, names: set[str]) -> list[str]:
    """Literals of a file that name one of these."""
    found = []
    for node in literals(ast.parse(source)):
        told = set(re.findall(r"(?<![\w.])\w+(?![\w.]*\w)", str(node.value))) & names
        told -= {name for name, home in CRITERIA.items() if home == file}
        found += [f"{file}:{node.lineno} names {name}" for name in sorted(told)]
    return found


def built_in() -> set[str]:
    entries = [*registry.entries("task"), *registry.entries("aligner")]
    return {e.name for e in entries if e.origin.module.startswith(("prefbench_tasks", "prefbench_baselines"))}


def test_no_module_holds_the_name_of_a_built_in():
    names = built_in() - WORDS
    assert len(names) > 25
    root = Path(prefbench.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root).as_posix()
        if not file.startswith(TEMPLATES):
            found += known_by_name(path.read_text(), file, names)
    assert found == []


def test_a_name_in_code_is_found_and_one_in_a_docstring_is_not():
    source = '"""Such as maxmin."""\nFIRST = "maxmin"\nSHOWN = f"--aligner dpo {FIRST}"\nimport learn.dpo\n'
    assert known_by_name(source, "x.py", {"maxmin", "dpo"}) == ["x.py:2 names maxmin", "x.py:3 names dpo"]

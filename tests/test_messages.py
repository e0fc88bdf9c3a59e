"""Errors of one format: one line that says what is wrong and then how to mend it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APART = "prefbench/boards/submission.py"
"""A module whose messages speak of what was found wrong, in the words of the check that found it."""
TO_DO = """
add allow annotate build change check choose clear compare decorate delete draw end export fill fix free give
import install keep launch leave let list load lower make mark mend merge name pack pull put raise register
remove rename rescale run say save set shift simulate split start state summarise take train tune turn unset
update use wait write
""".split()
"""Words that tell a person to do something, as an error does."""
MENDS = re.compile(rf"(?:^|[:;,.?(].*)\b(?:{'|'.join(TO_DO)})\b", re.IGNORECASE)
"""One of them at the beginning, or after what is wrong."""
USUAL = (
    "the usual one is,five points are,three points are,half is 0.5,the sides are,(docs/,such as, must be,"
    " must name, needs a, needs two, needs max_tokens, has to give,it is to hold,go together,is given as"
).split(",")
"""Words that say what would be right."""
FILLED = (
    "suggest _meant near _near mend hint said advice again why apart error how lacks reason wrong _told _why "
    "_instead line blame first refused next wanted BY_PPO NOTHING_HELD_OUT"
).split()
"""Beginnings of what is filled in where that tells it, or is the message of something else."""
TOLD = re.compile(
    rf"\{{(?:(?:registry\.)?(?:{'|'.join(FILLED)}))|{'|'.join(map(re.escape, USUAL))}|`prefbench"
)
"""Parts of a message that tell it, or that are the message of something else."""


def text(node):
    """A message with what is filled in as source text between braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text, node.values))
    if isinstance(node, ast.BinOp):
        return text(node.left) + text(node.right)
    return f"{{{ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)}}}"


def messages(path):
    """Lines and messages of the errors that a file raises for its user."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] == "UserError"
            and node.args
        ):
            yield node.lineno, text(node.args[0])


def places():
    """Where errors are raised for users, with their messages."""
    for folder in ("prefbench", "tasks", "baselines"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from ((f"{path.relative_to(ROOT)}:{line}", said) for line, said in messages(path))


def remedied(said):
    """True if a message says what to do about it."""
    return bool(MENDS.search(re.sub(r"\{[^}]*\}", "", said)) or TOLD.search(said))


def ill_formed(said):
    """A word on what is wrong with the form of a message; None if nothing is."""
    shown = re.sub(r"\{[^}]*\}", "", said)
    if "\n" in shown:
        return "it has several lines"
    if re.match(r"[A-Z][a-z]", shown) and not shown.startswith(("Windows", "Nash", "of FSDP")):
        return "it begins with a capital, after a colon"
    if not said.endswith((".", "?", ")", "}")):
        return "it does not end"
    return None


def test_errors_say_how_to_mend_what_is_wrong():
    lacking = [f"{place}: {said}" for place, said in places() if not remedied(said)]
    assert [place for place in lacking if not place.startswith(APART)] == []


def test_errors_are_one_line_each():
    found = [f"{place}: {said}: {ill}" for place, said in places() if (ill := ill_formed(said))]
    assert found == []
    assert len(list(places())) > 500


@pytest.mark.parametrize(
    ("said", "tells"),
    [
        ("'{path}' cannot be read: {error.strerror}; make it readable.", True),
        ("unknown option '{name}'.{suggest(name, known)}", True),
        ("level {level} is not in (0, 0.5): the usual one is 0.05.", True),
        ("'{path}' cannot be read.", False),
        ("these settings are wrong.", False),
        ("'{run}' is not whole.", False),
    ],
)
def test_what_a_remedy_is(said, tells):
    assert remedied(said) == tells


@pytest.mark.parametrize("said", ["One more.", "it is wrong", "two\nlines."])
def test_what_is_ill_formed_is_found(said):
    assert ill_formed(said) is not None

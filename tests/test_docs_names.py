"""Names in the documentation that look like code exist: in backticks, in the pages and in docstrings.

A name is one or several words with dots between them, with or without a call's brackets. Several have to be
the last words of some full name (`em.fit_mixture`, `Backbone.load_policy`), a single one some name
or some string of the code. So a name that was changed is found where it is still told. What else may stand in
backticks is listed here with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module

import pytest

import prefbench as pb
from prefbench.record.schema import Record
from prefbench.spec import EvaluateOptions
from support import notebooks
from support.pages import FENCE, PAGES, PROJECT, ROOT, all_entries, fenced

NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\(.*\))?")
FILE = re.compile(r"\w+\.(?:cff|csv|html|json|md|parquet|png|py|safetensors|sqlite|svg|toml|txt|yaml|yml)")
SHOWN_FILE = r"<!-- file: \S+ -->\n```python\n(.*?)^```$"
THIRD_PARTY = {"numpy", "scipy", "torch"}
"""Named with their package; the name is imported from it."""
ELSEWHERE = {
    "HF_HOME": "the Hugging Face hub's environment variable",
    "HF_TOKEN": "the same",
    "TRACKIO_DIR": "trackio's environment variable",
    "kind.from_pretrained": "transformers', of a parameter called kind",
    "gelu_new": "transformers' name of an activation",
    "Authorization": "a header of HTTP",
    "torchrun": "torch's program",
    "flock": "the operating system's lock",
    "V_u": "a formula's",
    "c_x": "a formula's",
    "samples_ref": "a size in a shape",
    "prompted_": "how names begin",
    "UNDECIDED": "how a printed sentence begins",
    "CODE.json": "CODE stands for a persona's",
    "my_aligner.py": "what `prefbench new aligner my_aligner` writes",
    "my_task.py": "what `prefbench new task my_task` writes",
}
"""Names that no code has, and what they are."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module that the documentation may speak of, by its name; scripts by their file's."""
    for folder in ("prefbench", "tasks", "baselines", "benchmarks", "leaderboard/scripts", "docs/scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            words = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(words[:-1] if words[-1] == "__init__" else words)
            yield name, ast.parse(path.read_text(encoding="utf-8"))


TREES = dict(modules())


def targets(node: ast.stmt) -> Iterator[str]:
    """Names that a statement binds; a method's include what it sets of itself."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                yield inner.attr
    for target in getattr(node, "targets", [getattr(node, "target", None)]):
        if isinstance(target, ast.Name):
            yield target.id
    for alias in getattr(node, "names", []) if isinstance(node, ast.ImportFrom) else []:
        yield alias.asname or alias.name


def definitions() -> Iterator[str]:
    """The full name of every module, and of what it and its classes define."""
    for module, tree in TREES.items():
        yield module
        for node in tree.body:
            yield from (f"{module}.{name}" for name in targets(node))
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    yield from (f"{module}.{node.name}.{name}" for name in targets(member))


@cache
def endings() -> frozenset[str]:
    """Two or more last words of every definition's name; a class also as a variable of it."""
    found = set()
    for name in definitions():
        words = name.split(".")
        found |= {".".join(words[i:]) for i in range(len(words) - 1)}
        if len(words) > 2 and words[-2][0].isupper():
            found.add(f"{words[-2].lower()}.{words[-1]}")
    return frozenset(found)


@cache
def words_of_code() -> frozenset[str]:
    """Every name in the code, every word of its strings that are no sentences, and the extras."""
    found: set[str] = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            for field in ("id", "attr", "name", "arg", "asname", "module"):
                value = getattr(node, field, None)
                found |= set(value.split(".")) if isinstance(value, str) else set()
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                found |= {node.value, *re.findall(r"\w+", node.value)}
    return frozenset(found | set(PROJECT["optional-dependencies"]) | shown_names())


def shown_names() -> set[str]:
    """Functions, classes and their fields of the files that the pages show, and of notebooks."""
    blocks = [body for page in PAGES for body in re.findall(SHOWN_FILE, PAGES[page], re.M | re.S)]
    blocks += [notebooks.parts(source)[1] for source in notebooks.SOURCES.values()]
    nodes = [node for body in blocks for node in ast.parse(body).body]
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    fields = [node for whole in nodes for node in ast.walk(whole) if isinstance(node, ast.AnnAssign)]
    return names | {node.target.id for node in fields if isinstance(node.target, ast.Name)}


@cache
def options() -> frozenset[str]:
    """`section.name` of every option."""
    ours = {f"{entry.kind}.{name}" for entry in all_entries() for name in entry.options.model_fields}
    return frozenset(ours | {f"evaluate.{name}" for name in EvaluateOptions.model_fields})


@cache
def files() -> frozenset[str]:
    """Names of files in the repository, and of those that the pages show how to write."""
    found = {path.name for path in ROOT.iterdir()}
    for folder in ("prefbench", "tasks", "baselines", "benchmarks", "leaderboard", "docs", "tests"):
        found |= {path.name for path in (ROOT / folder).rglob("*") if "records" not in path.parts}
    shown = "\n".join(body for page in PAGES for _, _, body in FENCE.findall(PAGES[page]))
    return frozenset(found | set(FILE.findall(shown)))


def exists(name: str) -> bool:
    """Whether the code, the files or the options have what is called so."""
    first, *rest = name.split(".")
    if name in ELSEWHERE or (not rest and name in words_of_code()):
        return True
    if FILE.fullmatch(name):
        return name in files() or name in words_of_code()
    if first == "pb":
        return len(rest) == 1 and rest[0] in dir(pb)
    if first in THIRD_PARTY:
        module = import_module(".".join([first, *rest[:-1]]))
        return hasattr(module, rest[-1])
    if first in Record.model_fields:
        return set(rest) <= words_of_code()
    return name in endings() or name in options()


def names_in(text: str) -> list[str]:
    """Names in a text's backticks, and those of the face within longer pieces of code."""
    said = re.findall(r"`([^`\n]+)`", text)
    whole = [match[1] for match in map(NAME.fullmatch, said) if match]
    return whole + [name for span in said for name in re.findall(r"\bpb\.\w+", span) if name not in whole]


def unknown(text: str) -> list[str]:
    """Names in a text's backticks that nothing has."""
    return [name for name in names_in(text) if not exists(name)]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != "CHANGELOG.md"]
)  # it tells of what is gone
def test_names_in_the_pages_exist(page: str) -> None:
    assert unknown(FENCE.sub("", PAGES[page])) == []


@pytest.mark.parametrize("source", notebooks.SOURCES)
def test_names_in_notebooks_exist(source: str) -> None:
    assert unknown(notebooks.parts(notebooks.SOURCES[source])[0]) == []


def docstrings(module: str) -> str:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    told = [ast.get_docstring(node) for node in ast.walk(TREES[module]) if isinstance(node, kinds)]
    return "\n\n".join(filter(None, told))


@pytest.mark.parametrize("module", TREES)
def test_names_in_docstrings_exist(module: str) -> None:
    assert unknown(docstrings(module)) == []


@pytest.mark.parametrize(
    "name",
    [
        "fit_rewards",
        "em.fit_rewards",
        "prefbench.learn.em.nothing",
        "pb.Veiw",
        "aligner.tlit",
        "numpy.randoom",
    ],
)
def test_what_is_not_there_is_found(name: str) -> None:
    assert unknown(f"as `{name}` does") == [name]
    assert unknown(f"as `{name}(x, ...)` does")


@pytest.mark.parametrize(
    "name",
    [
        "fit_mixture",
        "em.fit_mixture",
        "learn.em.fit_mixture",
        "Backbone.fit_reward",
        "aligner.clusters",
        "pb.View",
    ],
)
def test_what_is_there_is_found_under_any_of_its_names(name: str) -> None:
    assert unknown(f"as `{name}` and `{name}(x, ...)` do") == []


def test_what_is_elsewhere_is_told_of_somewhere() -> None:
    texts = [*(FENCE.sub("", page) for page in PAGES.values()), *map(docstrings, TREES)]
    assert set(ELSEWHERE) <= {name for text in texts for name in names_in(text)}


def test_scripts_of_the_shown_commands_exist() -> None:
    shown = [body for page in PAGES for body in fenced(page, "sh")]
    scripts = re.findall(r"\bpython (?:-m pytest (?:-\w+ )*)?(\w[\w/]*/\w+\.py)", "\n".join(shown))
    assert len(scripts) > 10
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_the_index_lists_every_page_by_its_title() -> None:
    listed = re.findall(r"^\| \[([^\]]+)\]\(([\w-]+\.md)\) \|", PAGES["docs/index.md"], re.MULTILINE)
    pages = {page for page in PAGES if page.startswith("docs/")} - {"docs/index.md"}
    assert sorted(page for _, page in listed) == sorted(page.removeprefix("docs/") for page in pages)
    for title, page in listed:
        assert PAGES[f"docs/{page}"].startswith(f"# {title}\n"), page

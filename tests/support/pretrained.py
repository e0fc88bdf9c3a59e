"""Runs whose reference is a model's folder, and what they refuse."""

from pathlib import Path

import pandas as pd
import pytest

from prefbench.errors import UserError
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.tiny import TINY_SETS

TASK_SETS = [item for item in TINY_SETS if item.startswith("task.")]


def run_with(model: str, folder: Path, sets: list[str], aligner: str = "single_reward", **more):
    spec = make_spec(
        task="imdb_two_group",
        aligner=aligner,
        model=model,
        sets=parse_sets([*TASK_SETS, "model.threads=1", *sets]),
        **more,
    )
    return run(spec, folder / "runs")


def responses(folder: Path) -> list[str]:
    return pd.read_parquet(folder / "items.parquet")["reference_response"].tolist()


def refused(model: str, tmp_path: Path, sets: list[str] = ()) -> str:
    with pytest.raises(UserError) as error:
        run_with(model, tmp_path, list(sets))
    assert not (tmp_path / "runs").exists(), "wrong input must leave nothing behind"
    assert "\n" not in str(error.value)
    return str(error.value)

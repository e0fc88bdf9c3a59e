"""`pb.runs_frame` and `pb.items_frame`: records and items of many runs as data frames."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import prefbench as pb
from prefbench.api.results import Results
from support.records import make_run
from support.small_world import SMALL


def test_a_row_for_each_run_holds_what_its_record_holds(longest: Results, balanced: Results) -> None:
    frame = pb.runs_frame(longest, balanced)
    assert list(frame["aligner"]) == ["longest", "longest", "dpo", "dpo"]
    for row, record in zip(frame.to_dict("records"), [*longest.records, *balanced.records], strict=True):
        assert row["task"] == f"{record.task}@{record.task_version}"
        for name in ("seed", "status", "worst_group", "worst_group_win_rate", "gap", "n_prompts"):
            assert row[name] == getattr(record, name), name
        assert row["kl"] == record.kl if record.kl is not None else pd.isna(row["kl"])
        assert (row["gap_low"], row["gap_high"]) == record.gap_ci
        assert record.regret is not None and row["egalitarian_regret"] == record.regret.egalitarian_regret


def test_runs_are_there_once_whatever_names_them(longest: Results, balanced: Results, folder: Path) -> None:
    whole = pb.runs_frame(folder)
    assert len(whole) == 4
    for sources in [(longest, str(folder)), (folder, *balanced.paths), (balanced, longest, balanced)]:
        mixed = pb.runs_frame(*sources)
        assert sorted(mixed["run"]) == sorted(whole["run"])
        assert len(pb.items_frame(*sources)) == 4 * SMALL["test_prompts"]


def test_a_run_that_did_not_end_well_has_a_row_without_figures(tmp_path: Path) -> None:
    make_run(tmp_path, {"many": 0.9, "few": 0.3})
    make_run(tmp_path, {"many": 0.9, "few": 0.3}, seed=1, status="diverged")
    frame = pb.runs_frame(tmp_path).sort_values("seed").reset_index(drop=True)
    assert list(frame["status"]) == ["ok", "diverged"] and frame["message"][1] == "KL exploded"
    assert frame["gap"].dtype == float and pd.isna(frame["gap"][1]) and pd.isna(frame["gap_low"][1])
    assert set(pb.items_frame(tmp_path)["seed"]) == {0}


def test_runs_of_the_folder_are_taken_where_none_is_named(
    longest: Results, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pb.UserError, match="no record at 'runs"):
        pb.runs_frame()
    (tmp_path / "runs").symlink_to(folder)
    assert len(pb.runs_frame()) >= len(longest)

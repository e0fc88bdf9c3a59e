"""`prefbench leaderboard` and `prefbench gate` on real runs."""

import inspect
import json
import re
import shutil

import pandas as pd
import pytest

from prefbench.cli.gate import gate
from support.commands import tiny_run, typed


@pytest.fixture
def board(runs, tmp_path):
    """A copy of the shared runs with its leaderboard."""
    folder = tmp_path / "board"
    shutil.copytree(runs[0], folder)
    assert tiny_run("constant", folder, "--quiet").code == 0
    outcome = typed("leaderboard", "build", "--runs-dir", folder, "--out", tmp_path / "out" / "results.csv")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"rows written to {tmp_path / 'out' / 'results.csv'}\n")
    return folder, tmp_path / "out" / "results.csv"


def test_leaderboard_show(board):
    _, csv = board
    assert "constant" in typed("leaderboard", "show", csv).out
    assert typed("leaderboard", "show", csv, "--format", "markdown").out.startswith("| rank")
    assert typed("leaderboard", "show", csv, "--format", "csv").out == csv.read_text()
    missing = typed("leaderboard", "show")
    assert missing.code == 2
    assert "no leaderboard at 'leaderboard/results.csv'" in missing.error
    assert typed("leaderboard", "build").code == 2


def test_leaderboard_verify_finds_an_edited_record_and_a_lost_file(board):
    folder, _ = board
    for path in folder.glob("*-spy*"):  # of a plug-in that is not loaded here, so counted apart
        shutil.rmtree(path)
    good = typed("leaderboard", "verify", "--runs-dir", folder)
    assert good.code == 0
    assert re.search(r"^(\d+) of \1 records follow from their evidence$", good.out, re.MULTILINE)
    assert "\nnot checked of any record: " in good.out
    edited, lost = sorted(path.parent for path in folder.glob("*/record.json"))[:2]
    record = json.loads((edited / "record.json").read_text())
    (edited / "record.json").write_text(json.dumps({**record, "mean_length": 1.5}))
    (lost / "items.parquet").unlink()
    bad = typed("leaderboard", "verify", "--runs-dir", folder)
    assert bad.code == 1
    assert f"{edited.name}: mean_length is 1.5, the items give " in bad.out
    assert f"{lost.name}: '{lost}/items.parquet' is missing" in bad.out
    assert typed("leaderboard", "verify", "--runs-dir", folder / "none").code == 2


def test_compare_two_and_all_of_a_board(board, tmp_path):
    folder, _ = board
    records = [json.loads(path.read_text()) for path in folder.glob("*/record.json")]
    names = sorted({r["aligner"] for r in records if r["task"] == "imdb_two_group"})
    where = ("--runs-dir", folder, "--task", "imdb_two_group")
    out = tmp_path / "duels.csv"
    found = typed("leaderboard", "compare", "--matrix", *where, "--json", "--out", out)
    plain = json.loads(found.out)
    assert found.code == 0 and len(names) > 1 and set(names) >= set(plain["policies"])
    pairs = len(plain["policies"]) * (len(plain["policies"]) - 1) // 2
    assert len(plain["duels"]) == pairs * len(plain["groups"]) == len(pd.read_csv(out))
    shown = typed("leaderboard", "compare", *plain["policies"][:2], "--matrix", *where)
    assert shown.code == 0 and "percent of them on which a row's response beats a column's" in shown.out
    assert "one seed: intervals are over its prompts" in shown.out
    pair = typed("leaderboard", "compare", "constant", "constant", *where)
    assert pair.code == 0 and "one seed" in pair.out
    for words, said in [
        (("constant",), "name two to compare"),
        ((), "name two to compare"),
        (("constant", "constant", "--out", out), "--out goes with --matrix"),
        (("nobody", "--matrix"), "no run of 'nobody' on that board"),
    ]:
        wrong = typed("leaderboard", "compare", *words, *where)
        assert wrong.code == 2 and said in wrong.error


def test_gate(board):
    folder, csv = board
    words = [
        "gate",
        "--baseline",
        csv,
        "--runs-dir",
        folder,
        "--metric",
        "minority_win_rate",
        "--margin",
        "0.03",
    ]
    usual = typed(*words)
    assert (usual.code, usual.err) == (1, "")
    assert "CANNOT TELL: imdb_two_group@" in usual.out
    assert "one seed on a side: the spread between seeds is unknown" in usual.out
    assert "UNDECIDED: no check held or fell, so this gate guards nothing: two or more seeds" in usual.out
    alone = typed(*words, "--prompts-only")
    assert (
        alone.code == 1
        and "guards nothing: about " in alone.out
        and "spread between seeds is left" in alone.out
    )
    assert typed(*words, "--allow-undecided").code == 0
    assert typed(*words, "--allow-undecided", "--strict").code == 1
    file = folder.parent / "gate.toml"
    file.write_text("allow_undecided = true")
    assert typed(*words, "--config", file).code == 0
    file.write_text("allow_undecided = true\nprompts_only = true")
    assert "prompts only: of these policies" in typed(*words, "--config", file).out
    paired = typed(
        *words[:-1], "0.1", "--baseline-runs", folder, "--prompts-only", "--json"
    )  # the same runs: no drop
    report = json.loads(paired.out)
    assert (paired.code, report["metric"], report["margin"]) == (0, "minority_win_rate", 0.1)
    assert report["decided"] and {row["verdict"] for row in report["rows"]} == {"held"}
    frame = pd.read_csv(csv)
    for end in ("", "_low", "_high"):
        frame[f"minority_win_rate{end}"] = 0.999
    frame.to_csv(csv, index=False)
    assert typed(*words, "--prompts-only").code == 1
    wrong = typed("gate", "--baseline", csv, "--runs-dir", folder, "--metric", "minority")
    assert wrong.code == 2
    assert "unknown metric 'minority'" in wrong.error


def test_the_gate_has_the_defaults_of_the_library():
    from prefbench.boards.gate import gate as library

    ours, theirs = inspect.signature(gate).parameters, inspect.signature(library).parameters
    for name in ("metric", "margin", "level", "strict", "baseline_runs", "allow_undecided", "prompts_only"):
        assert ours[name].default == theirs[name].default

"""Results that a Python user holds: frames, items, figures, and runs that are loaded."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest

import prefbench as pb
from prefbench.api.results import Results
from prefbench.record.evidence import read_items
from prefbench.record.files import read_record
from support.commands import typed
from support.small_world import SMALL, WORLD

ONE_LINE = r"^[^\n]*$"


def test_frames_hold_what_the_records_hold(longest: Results) -> None:
    frame = longest.frame()
    assert len(frame) == 4 and list(frame["seed"]) == [0, 0, 1, 1]
    record, row = longest.records[1], frame.to_dict("records")[3]
    group = record.groups[1]
    assert row["group"] == group.name and row["task"] == f"{WORLD}@{record.task_version}"
    for name in ("win_rate", "ci_low", "ci_high", "wins", "mean_utility", "is_minority"):
        assert row[name] == getattr(group, name), name
    assert row["variant"] == "task.annotators=6, task.pairs_per_annotator=4, task.test_prompts=20"


def test_items_are_the_evidence_of_each_run(longest: Results) -> None:
    items = longest.items()
    assert list(items.columns[:3]) == ["run", "aligner", "seed"]
    for path, record in longest.runs:
        mine = items[items["seed"] == record.seed].reset_index(drop=True)
        assert mine[read_items(path).columns].equals(read_items(path))
        assert set(mine["run"]) == {path.name}


def test_one_run_and_several(longest: Results, one: Results) -> None:
    assert len(longest) == 2 and [each.record.seed for each in longest] == [0, 1]
    assert one.record == longest.records[0] and one.paths == longest.paths[:1]
    with pytest.raises(pb.UserError, match=r"these are 2 runs: take \.records"):
        _ = longest.record
    with pytest.raises(pb.UserError, match="there are no runs"):
        Results([])


def test_where_chooses_runs(longest: Results, balanced: Results, folder: Path) -> None:
    every = pb.load(folder).where(task=WORLD, minority_ratio="4:1", status="ok")
    assert len(every) == 4
    assert every.where(aligner="dpo", seed=1).record == balanced.records[1]
    for fields, said in [
        ({"aligner": "dpoo"}, "no run here has aligner 'dpoo'. Did you mean 'dpo'"),
        ({"seed": 7}, "no run here has seed 7"),
        ({"alinger": "dpo"}, "runs have no 'alinger'. Did you mean 'aligner'"),
    ]:
        with pytest.raises(pb.UserError) as caught:
            every.where(**fields)
        assert said in str(caught.value)


def test_it_shows_itself_as_the_command_does(
    longest: Results, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # as `typed` has it
    shutil.copytree(folder, tmp_path / "runs")  # a run that is repeated is written anew
    words = ["run", "--task", WORLD, "--aligner", "longest", "--runs-dir", str(tmp_path / "runs")]
    sets = [word for name, value in SMALL.items() for word in ("--set", f"task.{name}={value}")]
    told = typed(*words, *sets)
    assert told.code == 0, told.err
    assert told.out.startswith(repr(pb.load(tmp_path / "runs" / longest.paths[0].name)) + "\n")
    several = repr(longest)
    assert "over 2 seeds (0 1)" in several and "worst group win rate" in several
    assert several.splitlines()[0].startswith(f"task {WORLD}@1, model finite, data synthetic, ratio 0.2")


def test_html_is_the_same_table_and_escaped(one: Results, longest: Results, tmp_path: Path) -> None:
    page = one._repr_html_()
    assert page.count("<tr>") == 3 and ">group 1</td>" in page and "exact: group" in page
    assert longest._repr_html_().count("<table") == 2
    shutil.copytree(one.paths[0], tmp_path / "run")
    told = json.loads((tmp_path / "run" / "record.json").read_text())
    told["groups"][0]["name"] = "<script>alert(1)</script>\x1b[2J"
    told["aligner"] = told["spec"]["aligner"] = "<b>&\x1b[31m"
    told["notes"] = ["<i>\x1b]0;x\x07"]
    told["worst_group"] = told["groups"][0]["name"]
    (tmp_path / "run" / "record.json").write_text(json.dumps(told))
    evil = pb.load(tmp_path / "run")
    for shown in (evil, pb.load(tmp_path)):
        for text in (shown._repr_html_(), repr(shown)):
            assert "\x1b" not in text and "\x07" not in text
        for tag in ("<script", "<b>&", "<i>"):
            assert tag not in shown._repr_html_()
    assert "&lt;script&gt;" in evil._repr_html_()


@pytest.mark.parametrize("name", ["headline", "scatter", "gap", "kl"])
def test_figures_are_drawn_and_saved(balanced: Results, name: str, tmp_path: Path) -> None:
    figure = balanced.plot(name, tmp_path / "deep" / f"{name}.svg")
    assert (tmp_path / "deep" / f"{name}.svg").read_text().startswith("<?xml")
    assert figure.axes and figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_what_cannot_be_drawn_is_one_line(
    longest: Results, one: Results, folder: Path, tmp_path: Path
) -> None:
    other = pb.run("worst_case_two_group", "reference", runs_dir=tmp_path, quiet=True)
    both = Results([*one.runs, *other.runs])
    for made, name, path, said in [
        (longest, "pie", None, "no figure 'pie': there are headline, shares, scatter, gap, kl, training"),
        (longest, "gap", tmp_path / "gap.doc", "is no png, svg, pdf file"),
        (longest, "kl", None, "figure 'kl' cannot be drawn: there is no KL that is known"),
        (longest, "training", None, "figure 'training' cannot be drawn: there is no training history"),
        (both, "gap", None, "a figure has one task, model and data, and these are 2"),
    ]:
        with pytest.raises(pb.UserError, match=ONE_LINE) as caught:
            made.plot(name, path)
        assert said in str(caught.value)
    assert not (tmp_path / "gap.doc").exists()


# ----------------------------------------------------------------------------------------------- load


def test_a_run_and_a_folder_of_runs_are_loaded(longest: Results, balanced: Results, folder: Path) -> None:
    path = longest.paths[0]
    for given in (path, str(path), path / "record.json"):
        assert pb.load(given).runs == longest.runs[:1]
    assert sorted(map(str, pb.load(folder).paths)) == sorted(map(str, [*longest.paths, *balanced.paths]))


def test_what_cannot_be_loaded_is_one_line(one: Results, tmp_path: Path) -> None:
    with pytest.raises(pb.UserError, match="no record at"):
        pb.load(tmp_path)
    with pytest.raises(pb.UserError, match="no record at"):
        pb.load(tmp_path / "nowhere")
    with pytest.raises(pb.UserError, match="run 3 is no path"):
        pb.load(3)  # type: ignore[arg-type]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text("{")
    with pytest.raises(pb.UserError, match="is not JSON"):
        pb.load(tmp_path / "bad")
    with warnings.catch_warnings(), pytest.raises(pb.UserError, match=r"no record in .* can be read"):
        warnings.simplefilter("ignore")
        pb.load(tmp_path)
    shutil.copytree(one.paths[0], tmp_path / "good")
    (tmp_path / "good" / "items.parquet").write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="left out: record"):
        loaded = pb.load(tmp_path)
    assert loaded.record == one.record
    with pytest.raises(pb.UserError, match=ONE_LINE):
        loaded.items()


def test_a_loaded_run_is_the_record_that_lies_there(one: Results) -> None:
    assert pb.load(one.paths[0]).record == read_record(one.paths[0])

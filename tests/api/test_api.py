"""What a Python user holds: runs, comparisons and leaderboards, and aligners that are defined in a cell."""

from __future__ import annotations

import contextlib
import doctest
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import prefbench as pb
from prefbench import consent, registry
from prefbench.api import runs as api_runs
from prefbench.api.results import Results
from prefbench.boards.compare import compare_aligners
from prefbench.boards.csv_file import read_csv
from prefbench.boards.show import show
from prefbench.boards.table import build
from prefbench.record.evidence import read_items
from prefbench.record.files import read_record
from prefbench.spec import make_spec, run_name
from prefbench.store.progress import Silent

SMALL = {"test_prompts": 20, "annotators": 6, "pairs_per_annotator": 4}
WORLD = "bandit_two_group"
COMMAND = (sys.executable, "-m", "prefbench")
ONE_LINE = r"^[^\n]*$"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def longest(folder: Path) -> Results:
    return pb.run(WORLD, "longest", seeds=2, runs_dir=folder, task_options=SMALL, quiet=True)


@pytest.fixture(scope="module")
def balanced(folder: Path) -> Results:
    return pb.run(WORLD, "dpo", seeds=[0, 1], runs_dir=str(folder), task_options=SMALL, quiet=True)


@pytest.fixture
def one(longest: Results) -> Results:
    return longest.where(seed=0)


# ------------------------------------------------------------------------------------------------ run


def test_a_run_is_the_commands(longest: Results, folder: Path, tmp_path: Path) -> None:
    words = ["run", "--task", WORLD, "--aligner", "longest", "--seeds", "2", "--json"]
    sets = [word for name, value in SMALL.items() for word in ("--set", f"task.{name}={value}")]
    done = subprocess.run(
        [*COMMAND, *words, *sets, "--runs-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    records = json.loads(done.stdout)["records"]
    assert [record["spec"] for record in records] == [record.spec for record in longest.records]
    assert [record["stages"] for record in records] == [record.stages for record in longest.records]
    for path in longest.paths:
        assert path.parent == folder
        assert (tmp_path / path.name / "items.parquet").read_bytes() == (path / "items.parquet").read_bytes()


def test_a_run_shows_how_it_goes_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pb.run(WORLD, "longest", seeds=[3, 4], runs_dir=tmp_path, task_options=SMALL)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if line.startswith("seed")] == ["seed 3", "seed 4"]
    assert "policy: started" in err
    pb.run(WORLD, "longest", seeds=[3], runs_dir=tmp_path, task_options=SMALL, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_options_are_the_specifications(tmp_path: Path) -> None:
    found = pb.run(
        "bandit_k_group",
        "single_reward",
        data="synthetic",
        minority_ratio="4:1",
        seeds=np.arange(2, 3),
        runs_dir=tmp_path,
        task_options={**SMALL, "groups": 3},
        aligner_options={"reward_epochs": 2},
        evaluate_options={"samples": 2},
        quiet=True,
    )
    record = found.record
    assert (record.seed, record.minority_ratio, record.samples_per_prompt) == (2, 0.2, 2)
    assert len(record.groups) == 3 and record.model == "finite"
    assert record.spec["aligner_options"]["reward_epochs"] == 2
    assert found.paths == [tmp_path / run_name(make_spec_of(record.spec))]


def make_spec_of(spec: dict[str, Any]) -> Any:
    names = ("task", "aligner", "model", "data", "minority_ratio", "seed")
    sets = {section: spec[f"{section}_options"] for section in ("task", "aligner", "model", "evaluate")}
    return make_spec(**{name: spec[name] for name in names}, sets=sets)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"aligner": "maxmim"}, "unknown aligner 'maxmim'. Did you mean 'maxmin'"),
        ({"task": 3}, "task 3 is neither a name nor a function"),
        ({"aligner": len}, "function 'len' is not registered"),
        ({"seeds": 0}, "seeds '0' is not a whole number from 1 up"),
        ({"seeds": True}, "seeds True is not a whole number"),
        ({"seeds": "three"}, "seeds 'three' is not a whole number"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 2, 1]}, "seed 1 is named twice"),
        ({"seeds": [-1]}, "seed '-1' is not a whole number from 0 up"),
        ({"seeds": 1.5}, "seeds 1.5 is not"),
        ({"minority_ratio": [0.2]}, "minority ratio"),
        ({"task_options": {"noize": 2}}, "unknown option task.noize"),
        ({"task_options": ["noise"]}, "task_options is no dictionary"),
        ({"aligner_options": {1: 2}}, "aligner_options is no dictionary"),
        ({"runs_dir": 7}, "runs_dir 7 is no path"),
        ({"data": "no/such/file"}, "reads no data"),
        ({"allow_host": "not a host!"}, "that is no host"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    arguments = {"task": WORLD, "aligner": "longest", "runs_dir": tmp_path / "new", "quiet": True} | given
    with pytest.raises(pb.UserError, match=ONE_LINE) as caught:
        pb.run(**arguments)
    assert said in str(caught.value)
    assert not list(tmp_path.glob("new/*/record.json"))


def test_servers_are_allowed_for_a_run_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def stopped(*_: Any, **__: Any) -> Iterator[Any]:
        seen.append(consent.allowed())
        raise pb.UserError("stopped")

    monkeypatch.setattr(api_runs, "run_specs", stopped)
    consent.allow({"first.example": None})
    with pytest.raises(pb.UserError, match="stopped"):
        pb.run(WORLD, "longest", runs_dir=tmp_path, allow_host=["second.example=SECOND_KEY"])
    assert seen == [{"first.example": None, "second.example": "SECOND_KEY"}]
    assert consent.allowed() == {"first.example": None}


def test_an_interrupt_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("prefbench.running.seeds.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pb.run(WORLD, "longest", runs_dir=tmp_path, quiet=True)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    with registry.lent():
        yield


def test_a_run_that_fails_warns_and_says_why(tmp_path: Path, forgotten: None) -> None:
    @pb.aligner("broken")
    def broken(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
        """Fails."""
        raise ValueError("on purpose")

    with pytest.warns(UserWarning, match="failed: aligner 'broken' failed with ValueError: on purpose"):
        found = pb.run(WORLD, broken, runs_dir=tmp_path, task_options=SMALL, quiet=True)
    assert found.record.status == "failed"
    assert "on purpose" in repr(found) and "error.txt" in repr(found)
    (row,) = found.frame().to_dict("records")
    assert row["status"] == "failed" and row["win_rate"] is None
    with pytest.raises(pb.UserError, match="no run here has items, the first is failed: aligner 'broken'"):
        found.items()
    with pytest.raises(pb.UserError, match="cannot be drawn: there is no whole set of runs"):
        found.plot("gap")


# --------------------------------------------------------------------------------- cells and scripts

CELL = '''
import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of

LOSS = DPO({beta})

@pb.aligner("in_a_cell")
def in_a_cell(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    """DPO of some strength."""
    return backbone.fit_pairwise(pairs_of(view.preferences["train"]), LOSS, options, seed=view.seed)
'''


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> Callable[[str], Any]:
    """A function that runs a cell of one notebook and returns the notebook's names."""
    notebook = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)

    def execute(text: str) -> Any:
        exec(compile(text, "<cell>", "exec"), notebook.__dict__)
        return notebook

    return execute


def test_an_aligner_of_a_cell_is_run_anew_when_it_is_redefined(
    cell: Callable[[str], Any], tmp_path: Path
) -> None:
    def run_it(beta: float, by_name: bool = False) -> Any:
        function = cell(CELL.format(beta=beta)).in_a_cell
        chosen = "in_a_cell" if by_name else function
        return pb.run(WORLD, chosen, runs_dir=tmp_path, task_options=SMALL, quiet=True).record

    first, other, again = run_it(0.1), run_it(3.0), run_it(0.1, by_name=True)
    assert first.stages["policy"] == again.stages["policy"] != other.stages["policy"]
    assert first.stages["labels"] == other.stages["labels"]
    assert first.groups == again.groups != other.groups
    assert len({record.plugins[0].digest for record in (first, other, again)}) == 2
    assert {record.plugins[0].name for record in (first, other)} == {"__main__"}
    assert first.code == again.code != other.code


def test_the_function_of_before_a_redefinition_is_not_run_under_its_name(
    cell: Callable[[str], Any], tmp_path: Path
) -> None:
    old = cell(CELL.format(beta=0.1)).in_a_cell
    cell(CELL.format(beta=3.0))
    with pytest.raises(pb.UserError, match="'in_a_cell' is not registered, or another has its name by now"):
        pb.run(WORLD, old, runs_dir=tmp_path, quiet=True)


TASK_CELL = '''
from dataclasses import dataclass, replace
import prefbench as pb
from prefbench_tasks.bandit_two_group import bandit_two_group

@dataclass(frozen=True)
class Turned(pb.Utility):
    inner: object
    unit: str = "reward"
    name: str = "turned"

    def __call__(self, prompts, responses):
        return {sign} * self.inner(prompts, responses)

@pb.task("task_in_a_cell", backbone="finite")
def task_in_a_cell(data: str, minority_ratio: float, seed: int, *, test_prompts: int = 20) -> pb.Problem:
    """A bandit whose second group may want the contrary."""
    made = bandit_two_group(
        data, minority_ratio, seed, test_prompts=test_prompts, annotators=6, pairs_per_annotator=4
    )
    first, second = made.groups
    return replace(made, groups=(first, replace(second, utility=Turned(second.utility))))
'''


def test_a_task_of_a_cell_is_scored_anew_when_it_is_redefined(
    cell: Callable[[str], Any], tmp_path: Path
) -> None:
    told = []
    for sign in (1.0, -1.0):
        task = cell(TASK_CELL.format(sign=sign)).task_in_a_cell
        told.append(pb.run(task, "longest", runs_dir=tmp_path, quiet=True).record)
    first, second = told
    assert first.stages["pairs"] == second.stages["pairs"]
    assert first.stages["scores"] != second.stages["scores"]
    assert first.groups[1].mean_utility == -second.groups[1].mean_utility  # type: ignore[operator]


SCRIPT = """
import prefbench as pb

@pb.aligner("of_a_script")
def of_a_script(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
    "The reference."
    print("printed by the aligner")
    return backbone.reference

if __name__ == "__main__":
    options = {"test_prompts": 20, "annotators": 6, "pairs_per_annotator": 4}
    result = pb.run("bandit_two_group", of_a_script, task_options=options)
    print(result.record.status, *(plugin.name for plugin in result.record.plugins))
    try:
        pb.run("bandit_two_group", "nobodys")
    except pb.UserError as error:
        print(type(error).__name__)
"""


def test_a_script_runs_its_own_aligner(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["printed by the aligner", "ok script.py", "UserError"]
    assert "policy: started" in done.stderr and "Traceback" not in done.stderr


# -------------------------------------------------------------------------------------------- results


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


def test_it_shows_itself_as_the_command_does(longest: Results, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "runs")  # a run that is repeated is written anew
    words = ["run", "--task", WORLD, "--aligner", "longest", "--runs-dir", str(tmp_path / "runs")]
    sets = [word for name, value in SMALL.items() for word in ("--set", f"task.{name}={value}")]
    printed = subprocess.run([*COMMAND, *words, *sets], capture_output=True, text=True, check=True).stdout
    assert printed.startswith(repr(pb.load(tmp_path / "runs" / longest.paths[0].name)) + "\n")
    several = repr(longest)
    assert "over 2 seeds (0 1)" in several and "worst group win rate" in several
    assert several.splitlines()[0].startswith(f"task {WORLD}@1, model finite, data synthetic, ratio 0.2")


def test_html_is_the_same_table_and_escaped(one: Results, longest: Results, tmp_path: Path) -> None:
    page = one._repr_html_()
    assert page.count("<tr>") == 3 and "<td>group 1</td>" in page and "exact: group" in page
    assert longest._repr_html_().count("<table>") == 2
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
        (longest, "pie", None, "no figure 'pie': there are headline, scatter, gap, kl, training."),
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


# ------------------------------------------------------------------------------- compare, leaderboard


def test_compared_are_runs_folders_names_and_functions(
    longest: Results, balanced: Results, folder: Path
) -> None:
    told = compare_aligners("dpo", "longest", folder)
    for first, second in [
        (balanced, longest),
        ("dpo", "longest"),
        (balanced, registry.get("aligner", "longest").function),
    ]:
        assert pb.compare(first, second, runs_dir=folder).statistics == told  # type: ignore[arg-type]
    found = pb.compare(balanced, longest)
    frame = found.frame()
    assert list(frame["measure"]) == [measure.measure for measure in told.measures]
    assert list(frame["difference"]) == [measure.difference for measure in told.measures]
    by_path = pb.compare(balanced.paths[1], longest)
    assert by_path.statistics.seeds == (1,) and by_path.statistics.left_out == (0,)
    assert "only one of the two has seed 0: not compared" in repr(by_path)
    assert "only one of the two has seed 0" in by_path._repr_html_()


def test_a_comparison_shows_itself_as_the_command_does(
    longest: Results, balanced: Results, folder: Path
) -> None:
    found = pb.compare(balanced, longest)
    printed = subprocess.run(
        [*COMMAND, "leaderboard", "compare", "dpo", "longest", "--runs-dir", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == repr(found) + "\n"
    assert found._repr_html_().count("<tr>") == 6
    assert {text.get_text() for text in found.plot("headline").legends[0].get_texts()} == {"dpo", "longest"}


def test_what_cannot_be_compared_is_one_line(longest: Results, folder: Path, tmp_path: Path) -> None:
    other = pb.run("worst_case_two_group", "reference", runs_dir=tmp_path, quiet=True)
    with pytest.raises(pb.UserError, match="'longest' and 'reference' are not comparable, task is"):
        pb.compare(longest, other)
    with pytest.raises(pb.UserError, match="no run of 'nobody' in"):
        pb.compare(longest, "nobody", runs_dir=folder)
    with pytest.raises(pb.UserError, match="aligner 3 is neither"):
        pb.compare(longest, 3)  # type: ignore[arg-type]


def test_a_leaderboard_is_that_of_the_command(
    longest: Results, balanced: Results, folder: Path, tmp_path: Path
) -> None:
    board = pb.leaderboard(folder)
    assert board.frame().equals(build(folder)) and len(board) == 2
    for sources in [(longest, balanced), (longest, folder), tuple(longest.paths) + tuple(balanced.paths)]:
        assert pb.leaderboard(*sources).frame().equals(board.frame())
    board.to_csv(tmp_path / "board.csv")
    read = pb.leaderboard(tmp_path / "board.csv")
    assert read.frame().equals(read_csv(tmp_path / "board.csv"))
    assert repr(read) == repr(board) == show(board.frame())
    page = board._repr_html_()
    assert page.count("<tr>") == 3 and "worst, told" in page  # every column, however narrow a terminal
    assert board.plot("scatter").axes
    with pytest.raises(pb.UserError, match="from a CSV file has no runs to draw"):
        read.plot("scatter")
    changed = board.frame()
    changed["gap"] = 0.0
    assert not board.frame().equals(changed)


def test_what_is_no_leaderboard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(pb.UserError, match="has no column 'task'"):
        pb.leaderboard("other.csv")
    with pytest.raises(pb.UserError, match=r"no leaderboard at 'none\.csv'"):
        pb.leaderboard("none.csv")
    with pytest.raises(pb.UserError, match="no record at 'runs"):
        pb.leaderboard()
    with pytest.raises(pb.UserError, match="leaderboard 4 is no path"):
        pb.leaderboard(4)  # type: ignore[arg-type]


def test_examples_in_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(api_runs)
    assert found.attempted and not found.failed


def test_a_loaded_run_is_the_record_that_lies_there(one: Results) -> None:
    assert pb.load(one.paths[0]).record == read_record(one.paths[0])


def test_progress_goes_to_whoever_is_put_around(tmp_path: Path) -> None:
    """As `prefbench run --profile` does."""
    heard: list[str] = []

    class Hears(Silent):
        def begin(self, stage: str, stored: bool) -> None:
            heard.append(stage)

    spec = make_spec(task="worst_case_two_group", aligner="reference")
    around: Any = lambda spec, reporter: contextlib.nullcontext(Hears())  # noqa: E731
    ((folder, record),) = api_runs.run_specs([spec], tmp_path, quiet=True, around=around)
    assert "policy" in heard and record == read_record(folder)

"""A run that is tracked: what the tracker hears, and that no tracker changes or harms the run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prefbench as pb
from prefbench.errors import UserError
from prefbench.identity import identity_of
from prefbench.record.files import read_record
from prefbench.record.verify import comparable
from prefbench.spec import make_spec, run_name
from prefbench.store.progress import Silent
from prefbench.tracking.figures import config_of
from prefbench.tracking.tracked import MOST_POINTS, tracked
from support.commands import SMALL_PPO, sets, tiny_run, typed
from support.small_world import SMALL, WORLD
from support.tiny import TINY_SETS
from support.trackers import Failing, Told

EVIDENCE = ("items.parquet", "history.json")


def options(items: list[str]) -> dict[str, dict[str, str]]:
    """`--set` items as arguments of `pb.run`."""
    found: dict[str, dict[str, str]] = {}
    for item in items:
        name, _, value = item.partition("=")
        section, _, key = name.partition(".")
        found.setdefault(f"{section}_options", {})[key] = value
    return found


def run_tiny(folder: Path, **more: Any) -> Any:
    chosen = options([*TINY_SETS, *SMALL_PPO])
    return pb.run("imdb_two_group", "single_reward", runs_dir=folder, quiet=True, **chosen, **more)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of a language model that nobody tracks."""
    return run_tiny(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Told]]:
    """The same run, and the tracker that was told of it."""
    tracker = Told()
    yield run_tiny(tmp_path_factory.mktemp("tracked"), track=tracker), tracker


def test_a_tracked_run_is_the_same_to_the_byte(plain: Any, heard: tuple[Any, Told]) -> None:
    """Although its tracker draws from every global stream of chance between any two steps."""
    found, tracker = heard
    assert len(tracker.order) > 20
    assert comparable(found.record) == comparable(plain.record)
    assert found.record.notes == plain.record.notes and found.record.code == plain.record.code
    for name in EVIDENCE:
        assert (found.paths[0] / name).read_bytes() == (plain.paths[0] / name).read_bytes()
    assert sorted(p.name for p in found.paths[0].iterdir()) == sorted(
        p.name for p in plain.paths[0].iterdir()
    )


def test_no_stage_and_no_record_depends_on_the_tracking_code() -> None:
    identity = identity_of(make_spec(task="imdb_two_group", aligner="maxmin"))
    for stage in ("reference", "policy", "scores"):
        assert not [m for m in identity.modules(stage, make_spec) if m.startswith("prefbench.tracking")]
    code = "import sys, prefbench.running.run; assert not any('tracking' in m for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tracker_hears_options_curves_and_figures(heard: tuple[Any, Told]) -> None:
    found, tracker = heard
    (run,) = tracker.runs
    record = found.record
    assert tracker.order[0] == "started" and tracker.order[-1] == "finished"
    assert run["name"] == found.paths[0].name
    assert run["config"]["task.annotators"] == 8 and run["config"]["aligner.iterations"] == 2
    assert run["config"]["seed"] == 0 and run["config"]["numerics"] == record.numerics
    assert [step for step, _ in run["steps"]] == list(range(1, len(run["steps"]) + 1))
    assert len(tracker.curve("reference/loss")) == 20
    assert tracker.curve("policy/step") == [1.0, 2.0]
    history = json.loads((found.paths[0] / "history.json").read_text())
    assert tracker.curve("policy/kl") == [row["kl"] for row in history]
    assert run["status"] == "ok"
    assert run["figures"]["worst_group_win_rate"] == record.worst_group_win_rate
    low, high = record.gap_ci
    assert (run["figures"]["gap/ci_low"], run["figures"]["gap/ci_high"]) == (low, high)
    for group in record.groups:
        assert run["figures"][f"group/{group.name}/win_rate"] == group.win_rate
        assert run["figures"][f"group/{group.name}/ci_low"] == group.ci_low


def test_no_texts_and_no_people_are_told(heard: tuple[Any, Told]) -> None:
    found, tracker = heard
    told = json.dumps(tracker.runs)
    items = found.items()
    texts = {str(text) for name in ("prompt", "response", "reference_response") for text in items[name]}
    assert len(texts) > 50
    assert not [text for text in texts if len(text) > 3 and json.dumps(text)[1:-1] in told]
    assert "user" not in told
    for _, figures in tracker.runs[0]["steps"]:
        assert all(isinstance(value, float) and math.isfinite(value) for value in figures.values())


def test_a_run_from_the_store_tells_its_figures_and_the_course_of_its_training(
    heard: tuple[Any, Told],
) -> None:
    found, live = heard
    again = Told()
    run_tiny(found.paths[0].parent, track=again)
    (run,) = again.runs
    assert run["figures"] == live.runs[0]["figures"] and run["status"] == "ok"
    assert again.curve("policy/kl") == live.curve("policy/kl") and not again.curve("reference/loss")


def test_every_seed_is_a_run_of_its_own(tmp_path: Path) -> None:
    tracker = Told()
    pb.run(WORLD, "longest", seeds=2, runs_dir=tmp_path, task_options=SMALL, quiet=True, track=tracker)
    assert [run["config"]["seed"] for run in tracker.runs] == [0, 1]
    assert len({run["group"] for run in tracker.runs}) == 1 < len({run["name"] for run in tracker.runs})
    for run in tracker.runs:
        assert {"max_regret", "pareto_distance"} <= run["figures"].keys()
        assert sum(name.endswith("/regret") for name in run["figures"]) == 2


@pytest.mark.parametrize("call", ["started", "logged", "finished"])
@pytest.mark.parametrize("error", [OSError("the network\nis away"), SystemExit("bye")])
def test_a_tracker_that_fails_is_named_once_and_changes_nothing(
    call: str, error: BaseException, heard: tuple[Any, Told]
) -> None:
    stored, _ = heard
    tracker = Failing(call, error)
    with pytest.warns(UserWarning, match=r"^[^\n]*the tracker Failing was given up[^\n]*$") as caught:
        found = run_tiny(stored.paths[0].parent, track=tracker)
    assert len(caught) == 1
    assert comparable(found.record) == comparable(stored.record)
    assert tracker.order[-1] == call and tracker.order.count(call) == 1  # it is not told again


def test_of_several_runs_only_the_first_says_that_the_tracker_fails(tmp_path: Path) -> None:
    tracker = Failing("finished", ValueError("a bug"))
    with pytest.warns(UserWarning) as caught:
        pb.run(WORLD, "longest", seeds=3, runs_dir=tmp_path, task_options=SMALL, quiet=True, track=tracker)
    assert [str(warning.message) for warning in caught] == [
        "the tracker Failing was given up (ValueError: a bug); the run goes on without it."
    ]
    assert tracker.order.count("finished") == 3


def test_a_run_that_ends_badly_says_so_and_one_that_is_stopped_is_closed(tmp_path: Path) -> None:
    spec = make_spec(task=WORLD, aligner="longest")
    tracker = Told()
    with pytest.raises(KeyboardInterrupt), tracked(tracker, spec, Silent(), pytest.fail) as listener:
        listener.step("policy", 1, 2, {"kl": 0.5})
        raise KeyboardInterrupt
    assert tracker.runs[0]["status"] == "stopped" and tracker.runs[0]["figures"] == {}
    # One that never got so far leaves nothing behind.
    with pytest.raises(UserError), tracked(tracker, spec, Silent(), pytest.fail):
        raise UserError("no data.")
    assert len(tracker.runs) == 1


def test_long_loops_are_thinned_and_what_is_no_number_is_left_out() -> None:
    tracker = Told()
    with tracked(tracker, make_spec(task=WORLD, aligner="longest"), Silent(), pytest.fail) as listener:
        for done in range(1, 2502):
            listener.step("policy", done, 2501, {"loss": 1.0, "reward": math.nan})
        listener.step("samples", 1, 0, {})
    steps = tracker.curve("policy/step")
    assert len(steps) <= MOST_POINTS and steps[:2] == [3.0, 6.0] and steps[-1] == 2501.0
    assert not tracker.curve("policy/reward")


def test_paths_are_told_by_their_last_part_and_servers_by_their_place() -> None:
    spec = make_spec(task=WORLD, aligner="longest")
    private = {"judge_url": "https://me:secret@judge.example:8443/v1?key=x", "table": "/home/ada/labels.csv"}
    object.__setattr__(spec, "task_options", private)
    object.__setattr__(spec, "data", "/home/ada/people.jsonl")
    told = config_of(spec)
    assert told["data"] == "people.jsonl" and told["task.table"] == "labels.csv"
    assert told["task.judge_url"] == "judge.example:8443"
    assert "secret" not in json.dumps(told) and "ada" not in json.dumps(told)


@pytest.mark.parametrize(
    ("track", "said"),
    [
        ("wandbb", "unknown tracker 'wandbb'. Did you mean 'wandb'?"),
        (object(), "is no tracker: it has no method started and no logged and no finished: add it."),
    ],
)
def test_what_is_no_tracker_is_one_line_and_nothing_is_written(track: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        pb.run(WORLD, "longest", runs_dir=tmp_path / "runs", quiet=True, track=track)
    assert said in str(caught.value) and not (tmp_path / "runs").exists()


def test_without_the_option_no_tracker_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys, prefbench as pb\n"
        f"pb.run({WORLD!r}, 'longest', runs_dir={str(tmp_path)!r}, task_options={SMALL!r}, quiet=True)\n"
        "assert not {'wandb', 'trackio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_dry_run_and_a_tracker_do_not_go_together() -> None:
    outcome = typed("run", "--task", WORLD, "--aligner", "longest", "--dry-run", "--track", "wandb")
    assert outcome.code == 2 and "--track has nothing to tell of a --dry-run" in outcome.error


def test_the_command_says_where_the_figures_are_and_prints_its_record_alone(
    tmp_path: Path, trackio: Any
) -> None:
    words = ["run", "--task", WORLD, "--aligner", "longest", "--runs-dir", tmp_path / "runs", "--json"]
    items = sets(*(f"task.{name}={value}" for name, value in SMALL.items()))
    outcome = typed(*words, *items, "--track", "trackio")
    assert outcome.code == 0 and json.loads(outcome.out)["status"] == "ok"
    assert "trackio keeps its figures: trackio show --project prefbench" in outcome.err
    assert "* " not in outcome.err + outcome.out
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = typed(*words[:-1], *items, "--track", "trackio", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert len(trackio.calls("init")) == 2


def test_the_command_warns_in_one_line(tmp_path: Path, wandb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TRACKER_FAILS", "init")
    outcome = tiny_run("constant", tmp_path, "--track", "wandb", "--quiet", "--seeds", 2)
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        "prefbench: warning: the tracker wandb was given up (OSError: the network is away); the run goes on "
        "without it."
    ]
    for folder in tmp_path.glob("imdb*"):
        assert read_record(folder).status == "ok"


def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)
        outcome = tiny_run("constant", tmp_path / "runs", "--track", name)
        assert outcome.code == 2 and f"pip install 'prefbench[{name}]'" in outcome.error
    assert not (tmp_path / "runs").exists()


def test_the_name_of_a_run_is_its_folders() -> None:
    tracker = Told()
    spec = make_spec(task=WORLD, aligner="longest")
    with tracked(tracker, spec, Silent(), pytest.fail) as listener:
        listener.step("policy", 1, 1, {"kl": 0.0})
    assert tracker.runs[0]["name"] == run_name(spec)

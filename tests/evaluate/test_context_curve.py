"""The worth of a user's pairs in worlds: both ends exact, listed contexts between, and the command."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from prefbench import registry
from prefbench.errors import UserError
from prefbench.evaluate.context_curve import curve, curves, games_of, over_worlds, verdict
from prefbench.evaluate.regret import regrets
from prefbench.evaluate.room import NO_ROOM
from prefbench.learn import exact, experiment
from prefbench.learn.adaptive import least_favourable, of_prior
from prefbench.learn.game import group_optima
from prefbench.problem.problem import Problem, apportion
from prefbench.report.personal_plot import save_figure
from prefbench.spec import resolve
from support.commands import typed

PUBLISHED = Path(__file__).parents[2] / "leaderboard" / "personal.csv"


def stated(task: str, **options: str) -> Problem:
    entry = registry.get("task", task)
    return entry.function("synthetic", 0.2, 0, **resolve(entry.options, options, "task", task))


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("worst_case_two_group", {}),
        ("worst_case_two_group", {"compromise": "none"}),
        ("bandit_k_group", {"states": "5"}),
        ("bandit_k_group", {"states": "5", "groups": "4"}),
        ("bandit_two_group", {"features": "flipped", "test_prompts": "20"}),
    ],
)
def test_the_curve_rises_from_maxmin_to_every_groups_own_optimum(task: str, options: dict[str, str]) -> None:
    problem = stated(task, **options)
    rows = curve(problem, 0, contexts=200, pairs=(1, 4, 16))
    _, game = games_of(problem)
    assert [row["pairs"] for row in rows] == [0, 1, 4, 16, math.inf]
    assert rows[0]["value"] == pytest.approx(exact.maxmin(game).welfare, abs=1e-8)
    assert rows[-1]["value"] == pytest.approx(group_optima(game).min(), abs=1e-8)
    assert rows[0]["value_se"] == rows[-1]["value_se"] == rows[0]["shares_value_se"] == 0
    for before, after in itertools.pairwise(rows):
        allowed = 3 * math.hypot(before["value_se"], after["value_se"]) + 1e-8
        assert before["value"] <= after["value"] + allowed
    for row in rows:
        assert row["gap"] <= 1e-8
        assert sum(row[f"prior/{g}"] for g in range(game.groups)) == pytest.approx(1)
        # Shares are one prior of many for the worst group, and the best one for the mean.
        assert row["shares_value"] <= row["value"] + 1e-8
        assert row["value"] <= row["shares_mean"] + 1e-8
    people = np.array(apportion([group.share for group in problem.groups], problem.annotators))
    assert rows[0]["shares_mean"] == pytest.approx(game.dual(people / problem.annotators)[0])


def test_simulated_contexts_of_a_task_agree_with_its_own_labels_listed() -> None:
    """worst_case_two_group has one state and three answers: a pair's chances are written down here."""
    problem = stated("worst_case_two_group")
    _, game = games_of(problem)
    wants = np.array([[1.0, 0.0, 0.8], [0.0, 1.0, 0.8]])
    logs = []
    for chosen in range(3):
        for rejected in range(3):
            odds = (wants[:, chosen] - wants[:, rejected]) / (0.5 * wants.std(axis=1))
            logs.append(np.log(2 / 9 * expit(odds)))
    told, shares = experiment.listed(np.array(logs)), np.array([0.8, 0.2])
    row = curve(problem, 3, contexts=2000, pairs=(1,))[1]
    assert abs(row["value"] - least_favourable(game, told).value) < 3 * row["value_se"] < 0.02
    listed = of_prior(game, told, shares)
    assert abs(row["shares_value"] - listed.value) < 3 * row["shares_value_se"] < 0.05
    assert abs(row["shares_mean"] - listed.bound) < 3 * row["shares_mean_se"] < 0.02
    assert row["shares_group"] == "few"


def test_pairs_are_of_train_prompts_and_values_are_those_of_regrets_on_test_prompts() -> None:
    problem = stated("bandit_two_group", features="swapped", test_prompts="20")
    asked, answered = games_of(problem)
    assert (asked.reference.shape, answered.reference.shape) == ((300, 8), (20, 8))
    assert problem.world is not None
    rows = problem.world.rows(problem.prompts.train)
    spread = problem.world.utilities[rows].std(axis=(0, 1))
    margins = np.diff(problem.world.utilities[np.unique(rows)], axis=1) / spread
    assert np.diff(asked.rewards, axis=1) == pytest.approx(margins, abs=1e-12)
    frame = problem.world.listed(problem.prompts.test).assign(policy=1 / 8)
    best = [group["best"] for group in regrets(frame, ["0", "1"], problem.world.beta)["groups"]]
    assert curve(problem, 0, contexts=2, pairs=(1,))[-1]["value"] == pytest.approx(min(best), abs=1e-8)


def test_where_one_group_has_least_of_anything_there_is_no_room() -> None:
    table = over_worlds(curves("bandit_two_group", sets={"test_prompts": "20"}, contexts=50, pairs=(1,)))
    assert table["of_room"].isna().all() and verdict(table).startswith("Room: 0. ")
    some = over_worlds(curves("worst_case_two_group", contexts=50, pairs=(1,)))
    assert some["of_room"].iloc[[0, -1]].tolist() == [0, 1] and 0.2 < some["of_room"].iloc[1] < 0.6
    assert verdict(some) == (
        "Room: 0.47. The worst group has 0.30 of the best single policy, and 0.77 where every group has its "
        "own optimum."
    )


def test_means_over_worlds_and_their_errors() -> None:
    frame = curves("bandit_k_group", sets={"states": "3"}, seeds=2, contexts=50, pairs=(2,))
    at_two, mean = frame[frame["pairs"] == 2], over_worlds(frame).iloc[1]
    assert at_two["seed"].tolist() == [0, 1] and at_two["value"].nunique() == 2
    assert mean["value"] == pytest.approx(at_two["value"].mean())
    assert mean["value_se"] == pytest.approx(math.hypot(*at_two["value_se"]) / 2)


def test_what_is_published_is_what_is_computed_today() -> None:
    frame = pd.read_csv(PUBLISHED)
    stored = frame[frame["task"] == "worst_case_two_group"].dropna(axis=1)
    today = curves("worst_case_two_group")
    numbers = ["pairs", "value", "value_se", "shares_value", "shares_value_se", "shares_mean"]
    assert stored[numbers].to_numpy() == pytest.approx(today[numbers].to_numpy(), abs=1e-5)
    ends = frame.groupby("task")["value"].agg(["first", "last"])
    without = ends.index[ends["last"] - ends["first"] <= NO_ROOM]
    assert without.tolist() == ["bandit_two_group, same"]
    assert {name.partition(",")[0] for name in ends.index} == {
        entry.name for entry in registry.entries("task") if entry.backbone == "finite" and entry.own_data
    }


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match=r"set task\.temperature above 0"):
        curves("worst_case_two_group", sets={"temperature": "0"})
    with pytest.raises(UserError, match="cannot be listed"):
        curves("imdb_two_group")
    with pytest.raises(UserError, match="contexts '1'"):
        curves("worst_case_two_group", contexts=1)
    with pytest.raises(UserError, match=r"above 2e\+07: simulate 250 or fewer"):
        curves("bandit_k_group", minority_ratio=0.02, sets={"groups": "50", "annotators": "50"})


# --------------------------------------------------------------------------------------- the command


def test_the_command_prints_the_room_first_and_writes_files_that_repeat(tmp_path: Path) -> None:
    words = ["theory", "--task", "worst_case_two_group", "--personal", "--contexts", 50, "--out", tmp_path]
    result = typed(*words)
    assert result.code == 0, result.err
    assert result.out.startswith("Room: 0.47. ") and "limit" in result.out
    frame = pd.read_csv(tmp_path / "personal.csv")
    assert frame["pairs"].tolist() == [0, 1, 2, 4, 8, 16, 32, math.inf]
    assert frame["minority_ratio"].unique().tolist() == [0.2] and frame["contexts"].unique().tolist() == [50]
    assert (tmp_path / "personal.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "personal.svg").read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    assert b"</svg>" in drawn and save_figure(frame, again)[1].read_bytes() == drawn


def test_the_command_in_json_says_the_limit_without_a_number(tmp_path: Path) -> None:
    words = ["theory", "--task", "bandit_two_group", "--personal", "--contexts", 20, "--out", tmp_path]
    small = ["--set", "task.test_prompts=10", "--minority-ratio", "4:1", "--seeds", 2]
    result = typed(*words, *small, "--json")
    assert result.code == 0, result.err
    printed = json.loads(result.out)
    assert [row["pairs"] for row in printed["means"]] == [0, 1, 2, 4, 8, 16, 32, None]
    assert len(printed["rows"]) == 16 and printed["means"][1]["of_room"] is None
    assert printed["verdict"].startswith("Room: 0. ")
    assert all(Path(file).is_file() for file in printed["files"])


def test_the_command_refuses_what_personal_has_no_use_for(tmp_path: Path) -> None:
    task = ["theory", "--task", "worst_case_two_group", "--personal", "--out", tmp_path]
    for words in (
        ["--beta", "1"],
        ["--sweep", "compromise=0.6,0.8"],
        ["--minority-ratio", "0.1", "--minority-ratio", "0.2"],
    ):
        result = typed(*task, *words)
        assert result.code == 2 and "leave --beta and --sweep out" in result.error
    result = typed(*task, "--contexts", 1)
    assert result.code == 2 and "contexts '1'" in result.error
    result = typed("theory", "--task", "worst_case_two_group", "--contexts", 9, "--out", tmp_path)
    assert result.code == 2 and "belongs to --personal" in result.error
    assert not list(tmp_path.iterdir())

"""Persona groups: the published board is complete, and says what docs/results.md says of it."""

import pytest

from prefbench import registry
from prefbench.boards.csv_file import read_csv
from prefbench.boards.rows import load_rows
from prefbench.stats.runs import two_sided_p
from prefbench.sweep.file import read_sweep
from prefbench.sweep.tuned import read_tuned
from support.published import PUBLISHED, cells_of, change, check_table, lines_of, mean_worst, runs_of

TASKS = ("tulu_style", "tulu_expertise", "tulu_informativeness", "tulu_personas")
OPPOSITES = TASKS[:3]
BOARD, SWEEP = PUBLISHED / "personas.zip", PUBLISHED / "personas.toml"


@pytest.fixture(scope="module")
def rows():
    registry.load_plugins()
    return load_rows(BOARD)


@pytest.fixture(scope="module")
def contests(rows, script):
    """Rows of each contest by aligner and ratio."""
    return {
        name: {(row.first.aligner, row.first.minority_ratio): row for row in mine}
        for name, mine in script("personas").by_contest(rows).items()
    }


@pytest.fixture(scope="module")
def versus(rows, script):
    """Cells of the tables of differences at 10:1, by the two aligners and the contest."""
    personas = script("personas")
    found = {}
    for pairs in (personas.DUELS, personas.with_floor(rows)):
        head, *lines = lines_of(personas.versus(rows, pairs))
        for first, second, *cells in lines:
            found |= {(first, second, name): cell for name, cell in zip(head[2:], cells, strict=True)}
    return found


def test_every_cell_of_the_sweep_was_run_once(rows):
    assert runs_of("personas.zip") == cells_of("personas.toml")
    assert all(len(row.records) == 5 and row.status == "ok" for row in rows)


def test_the_options_are_those_that_tuning_chose():
    """But for the number of clusters where held-out pairs have to find it."""
    registry.load_plugins()
    tuned = read_tuned(PUBLISHED / "personas.tuned.json")
    for cell in read_sweep(str(SWEEP)).expand():
        if (of := tuned.of(cell.aligner)) is not None:
            options = cell.to_dict()["aligner_options"]
            chosen = of.tried[of.chosen[of.rule]].options
            assert chosen.items() <= options.items(), cell


def test_the_table_follows_from_the_records():
    registry.load_plugins()
    check_table("personas.zip")


# --- what docs/results.md says ------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("aligner", "figure"),
    [("single_reward", "reward_accuracy"), ("single_reward", "win_rate"), ("dpo", "win_rate")],
)
def test_the_smaller_the_minority_the_worse_off(contests, task, aligner, figure):
    """T1 and T2 on every task."""
    of = contests[f"`{task}`"]
    lost = change(of[aligner, 0.0909], of[aligner, 0.5], figure, is_minority=True)
    assert lost.estimate < 0 and two_sided_p(lost) < 0.05


@pytest.mark.parametrize("task", ["tulu_style", "tulu_informativeness", "tulu_personas"])
def test_maxmins_minority_is_not_told_to_lose_by_its_size(contests, task):
    of = contests[f"`{task}`"]
    assert two_sided_p(change(of["maxmin", 0.0909], of["maxmin", 0.5], "win_rate", is_minority=True)) > 0.05


@pytest.mark.parametrize("other", ["single_reward", "dpo"])
def test_maxmin_is_told_from_everybodys_labels_on_style_alone(versus, other):
    """T3."""
    for task in TASKS:
        assert versus["maxmin", other, task].startswith("**+") == (task == "tulu_style"), task
        assert "-" not in versus["maxmin", other, task].partition(" ")[0]


def test_wishes_that_can_be_met_at_once_are_met(versus):
    for name, better in (("tulu_personas", 8), ("3 groups", 10)):
        cells = [versus[pair] for pair in versus if pair[1:] == ("reference", name)]
        assert len(cells) == 11 and sum(cell.startswith("**+") for cell in cells) == better
        assert not any("**" in versus["maxmin", other, name] for other in ("single_reward", "dpo"))


def test_of_opposites_everybodys_labels_are_worse_than_not_to_align(versus):
    for task in ("tulu_style", "tulu_expertise"):
        for name in ("dpo", "kto", "pessimistic_median"):
            assert versus[name, "reference", task].startswith("*-")
    better = {pair for pair in versus if pair[1] == "reference" and versus[pair].startswith("**+")}
    assert {(name, task) for name, _, task in better if task in OPPOSITES} == {
        ("shared_rep", "tulu_expertise"),
        ("soups", "tulu_informativeness"),
    }


def test_what_knowing_the_groups_is_worth_is_not_told(versus):
    for name in (*TASKS, "3 groups"):
        assert "*" not in versus["maxmin", "maxmin_known_groups", name]


def test_three_groups_are_found_by_who_is_told_that_there_are_three(contests):
    """Held-out pairs tell maxmin of two on four seeds of five."""
    em = {
        name: [record.em for record in contests["3 groups"][name, 0.0909].records.values()]
        for name in ("em_dpo", "maxmin")
    }
    assert sorted(round(each.adjusted_rand_index, 2) for each in em["em_dpo"]) == [0.94, 0.94, 1, 1, 1]
    assert sorted(each.clusters for each in em["maxmin"]) == [2, 2, 2, 2, 3]


def test_one_word_for_everybody_is_no_answer(contests):
    for task in OPPOSITES:
        assert mean_worst(contests[f"`{task}`"]["best_constant", 0.0909]) < 0.475


def test_an_aligned_policy_may_stop_listening():
    board = read_csv(BOARD.with_suffix(".csv"))
    last = board[(board["minority_ratio"] < 0.5) & ~board["variant"].str.contains("P3B")]
    told, untold = (
        last.assign(task=last["task"].str.partition("@")[0]).pivot(
            index="aligner", columns="task", values=f"{prompted}worst_group_win_rate"
        )
        for prompted in ("prompted_", "")
    )
    assert told.loc["gold_maxmin"].max() < 0.395 and untold.loc["gold_maxmin"].min() > 0.575
    for name in ("single_reward", "kto", "best_constant"):
        assert told.loc[name, list(OPPOSITES)].max() < 0.165
    assert told.loc["gr_dpo"].min() > 0.545

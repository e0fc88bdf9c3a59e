"""Runs in which it matters who is answered: strata, controls, and that nothing else moves."""

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import prefbench as pb
from prefbench import registry
from prefbench.boards.csv_file import read_csv, write_csv
from prefbench.boards.rows import rows_of
from prefbench.boards.show import show
from prefbench.boards.table import frame_of
from prefbench.boards.verify import verify_board
from prefbench.problem.people import people_of
from prefbench.problem.strata import SIZES, plan
from prefbench.record.files import read_record
from prefbench.record.schema import SCHEMA_VERSION
from prefbench.record.verify import verify
from prefbench.report.tables import people_table, render
from prefbench.report.values_table import values_table
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support import personal
from support.small_world import SMALL, WORLD
from support.tiny import TINY_SETS

PEOPLE = ["task.unseen_annotators=8", "task.context_pairs=9"]


def world_run(runs, aligner, *more, **given):
    options = {**SMALL, "features": "swapped", "annotators": 8}
    sets = parse_sets([*(f"task.{name}={value}" for name, value in options.items()), *more])
    return run(make_spec(task=WORLD, aligner=aligner, minority_ratio="3:1", seed=1, sets=sets, **given), runs)


def table_of(folder) -> pd.DataFrame:
    return pd.read_parquet(folder / "people.parquet")


def stages(runs, name):
    return sorted(path.name for path in (runs / "stages" / name).glob("*") if path.is_dir())


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    runs = tmp_path_factory.mktemp("own")
    with personal.personal():
        folder, record = world_run(runs, "own_reward", *PEOPLE, "task.spread=0.5", "evaluate.samples=2")
        assert record.status == "ok", record.message
        (found,) = verify_board([folder])
    return folder, record, found


def test_what_it_finds_follows_from_its_evidence_and_the_problem(own):
    folder, record, found = own
    assert verify(folder) == [] and read_record(folder) == record
    assert (found.wrong, found.odd, found.unchecked) == ([], [], [])
    assert record.sees == ("pairs",) and record.schema_version == SCHEMA_VERSION


def test_the_strata_are_the_seen_the_unseen_by_size_and_the_controls(own):
    _, record, _ = own
    named = [(stratum.seen, stratum.n, stratum.context) for stratum in record.people.strata]
    controls = [(False, 8, context) for context in ("shuffled", "other group", "other person")]
    assert named == [(True, None, "own"), *((False, n, "own") for n in SIZES if n <= 9), *controls]
    assert [entry.context for entry in record.people.own_minus] == [context for _, _, context in controls]
    for stratum in record.people.strata:
        assert [group.people for group in stratum.groups] == [6, 2]


def test_everybody_judges_as_often_as_anybody_of_her_group_and_a_curve_is_within_people(own):
    folder, _, _ = own
    table = table_of(folder).query("sample == 0")
    unseen = table[~table["seen"]]
    who = unseen.pivot(index=["prompt_id", "group"], columns=["context", "n"], values="person")
    assert (who.nunique(axis=1) == 1).all()
    for (_, _), rows in table[table["context"] == "own"].query("n == 0 or seen").groupby(["seen", "group"]):
        counts = rows["person"].value_counts()
        assert counts.max() - counts.min() <= 1 and counts.sum() == 20


def test_the_unknown_are_given_the_default_policys_responses(own):
    folder, _, _ = own
    items = pd.read_parquet(folder / "items.parquet").set_index(["prompt_id", "sample"])
    unknown = table_of(folder).query("not seen and n == 0")
    keys = pd.MultiIndex.from_frame(unknown[["prompt_id", "sample"]])
    assert unknown["response"].tolist() == items.loc[keys, "response"].tolist()
    assert table_of(folder).query("not seen and n == 8")["response"].nunique() > 1


def test_rates_are_of_the_rows_counted_by_hand(own):
    folder, record, _ = own
    table = table_of(folder)
    gain = table["utility"] - table["reference_utility"]
    table["won"] = np.where(gain.abs() <= 1e-9, 0.5, (gain > 0).astype(float))
    eight = table.query("not seen and n == 8 and context == 'own'")
    stratum = next(each for each in record.people.strata if (each.n, each.context) == (8, "own"))
    by_group = eight.groupby("group")["won"].mean()
    for group in stratum.groups:
        assert group.win_rate == pytest.approx(by_group[group.name])
        assert group.ci_low <= group.win_rate <= group.ci_high
    assert stratum.win_rate == pytest.approx(by_group.mean())
    assert stratum.worst_group_win_rate == pytest.approx(by_group.min())
    assert stratum.kl == pytest.approx(eight["kl"].mean()) and stratum.kl > 0
    lowest = eight.groupby("person")["won"].mean().min()
    assert stratum.worst_tenth == pytest.approx(lowest)  # of eight people one is a tenth
    other = table.query("context == 'other group'").groupby("group")["won"].mean().mean()
    (entry,) = (entry for entry in record.people.own_minus if entry.context == "other group")
    assert entry.difference == pytest.approx(by_group.mean() - other)


def test_a_policy_for_everybody_takes_part_with_what_it_says_to_everybody(tmp_path):
    folder, record = world_run(tmp_path, "dpo", *PEOPLE)
    assert all(stratum.kl == pytest.approx(record.kl) for stratum in record.people.strata)
    items = pd.read_parquet(folder / "items.parquet")
    for _, rows in table_of(folder).groupby(["seen", "n", "group"]):
        assert rows["response"].tolist() == items["response"].iloc[rows["prompt_id"]].tolist()
    assert {stratum.context for stratum in record.people.strata} == {"own"}
    assert record.people.own_minus == () and record.people.group_scales is None
    # Nobody differs from her group, so that each stratum counts what the items do.
    for stratum in record.people.strata:
        assert [group.win_rate for group in stratum.groups] == [group.win_rate for group in record.groups]
    assert verify(folder) == []


def test_the_unseen_move_neither_labels_nor_a_policy_that_sees_nothing(tmp_path):
    plain, record = world_run(tmp_path, "dpo")
    assert record.people is None and not (plain / "people.parquet").exists()
    before = {name: stages(tmp_path, name) for name in ("pairs", "labels", "policy", "samples", "scores")}
    folder, _ = world_run(tmp_path, "dpo", *PEOPLE)
    assert {name: stages(tmp_path, name) for name in before} == before
    assert (folder / "items.parquet").read_bytes() == (plain / "items.parquet").read_bytes()
    world_run(tmp_path, "dpo", *PEOPLE, "task.spread=1")
    assert len(stages(tmp_path, "labels")) == 2 and stages(tmp_path, "pairs") == before["pairs"]


def test_an_option_at_its_default_names_no_other_run():
    plain = make_spec(task=WORLD, aligner="dpo")
    usual = make_spec(task=WORLD, aligner="dpo", sets=parse_sets(["task.spread=0", "task.context_pairs=8"]))
    assert usual == plain and "spread" not in plain.task_options
    assert make_spec(task=WORLD, aligner="dpo", sets=parse_sets(["task.spread=0.1"])).hash != plain.hash


@pytest.mark.parametrize("sees", [{"pairs"}, {"user_id"}, {"group", "instruction"}])
def test_a_policy_is_told_what_it_sees_and_nothing_else(tmp_path, sees):
    personal.TOLD.clear()
    sets = parse_sets([*TINY_SETS, *PEOPLE])
    with personal.personal(length_by_votes=sees):
        _, record = run(make_spec(task="tulu_style", aligner="length_by_votes", sets=sets), tmp_path)
    assert record.status == "ok", record.message
    problem = registry.get("task", "tulu_style").function("synthetic", 0.2, 0, **record.spec["task_options"])
    told = {
        name: [getattr(each, name) for each in personal.TOLD]
        for name in ("pairs", "user_id", "group", "instruction")
    }
    for name, values in told.items():
        if name not in sees:
            assert values and set(map(type, values)) == {type(None)}, name
    if "pairs" in sees:
        sizes = [len(pairs) for pairs in told["pairs"]]
        assert set(sizes) == {1, 2, 4, 8, 10}  # nobody is told of nothing, and the seen labelled ten
        assert all(pairs.user_id is None and pairs.group is None for pairs in told["pairs"])
        assert not {p for pairs in told["pairs"] for p in pairs.prompts} & set(problem.measured)
    else:
        assert {stratum.context for stratum in record.people.strata} == {"own"}
    if "user_id" in sees:
        seen = {person.id for person in people_of(problem, 0) if person.seen}
        assert {value for value in told["user_id"] if value is not None} == seen
        assert None in told["user_id"]  # the unseen have no id that labels know
    if "group" in sees:
        instructions = {group.name: group.instruction for group in problem.groups}
        assert set(told["group"]) == set(instructions)
        assert [instructions[name] for name in told["group"]] == told["instruction"]


def test_contexts_are_nested_and_controls_are_what_they_say(tmp_path):
    personal.TOLD.clear()
    with personal.personal():
        _, record = run(
            make_spec(
                task="imdb_two_group", aligner="length_by_votes", sets=parse_sets([*TINY_SETS, *PEOPLE])
            ),
            tmp_path,
        )
    assert record.status == "ok", record.message
    eights = [context.pairs for context in personal.TOLD if len(context.pairs) == 8]
    own, shuffled, other, another = (eights[8 * i : 8 * i + 8] for i in range(4))
    for mine, flipped in zip(own, shuffled, strict=True):
        assert mine.prompts == flipped.prompts
        pairs = zip(mine.chosen, mine.rejected, flipped.chosen, flipped.rejected, strict=True)
        assert all((a, b) in ((c, d), (d, c)) for a, b, c, d in pairs)
    assert (
        16
        <= sum(
            a != b
            for one, two in zip(own, shuffled, strict=True)
            for a, b in zip(one.chosen, two.chosen, strict=True)
        )
        <= 48
    )
    groups = [0] * 6 + [1] * 2
    prompts = [tuple(pairs.prompts) for pairs in own]
    # The plan goes through people in an order of its own: a context names whose it is by its prompts.
    people = [8 + prompts.index(prompt) for prompt in prompts]
    assert len(set(people)) == 8
    for shown, same in ((other, False), (another, True)):
        for place, pairs in enumerate(shown):
            whose = prompts.index(tuple(pairs.prompts))
            assert whose != place and (groups[whose] == groups[place]) == same
    ones = [tuple(context.pairs.prompts) for context in personal.TOLD if len(context.pairs) == 1]
    assert ones == [prompt[:1] for prompt in prompts]


def test_a_personal_policy_that_would_be_told_nothing_is_refused(tmp_path):
    with personal.personal(own_reward=set()), pytest.raises(pb.UserError, match="sees=") as caught:
        world_run(tmp_path, "own_reward")
    assert "\n" not in str(caught.value)


def test_what_adapting_raises_is_the_aligners_failure(tmp_path):
    def broken(view, backbone, options: pb.NoOptions):
        """It adapts to nobody."""
        return pb.Personal(backbone.reference, lambda context: 1 / 0)

    with registry.lent():
        pb.aligner("broken", sees={"pairs"})(broken)
        folder, record = world_run(tmp_path, "broken", *PEOPLE)
    assert record.status == "failed" and "ZeroDivisionError" in record.message
    assert not (folder / "people.parquet").exists()


def test_the_plan_is_the_same_for_all_who_see_pairs_or_nothing(tmp_path):
    problem = registry.get("task", WORLD).function(
        "synthetic", 0.25, 1, **{**SMALL, "annotators": 8, "unseen_annotators": 8}
    )
    people = people_of(problem, 1)
    most, least = (plan(problem, people, sees, 1) for sees in ({"pairs"}, set()))
    pd.testing.assert_frame_equal(most[most["context"] == "own"].reset_index(drop=True), least)


def test_exact_values_are_printed_along_the_context_curve(own, tmp_path):
    _, record, _ = own
    lines = render(values_table(record), Console(width=100)).splitlines()
    curve = [each for each in record.people.strata if each.context == "own"]
    rows = [line for line in lines if line.strip().startswith(("her labels", "nothing", "1 pair", *"248"))]
    assert len(rows) == len(curve) > 3
    for row, stratum in zip(rows, curve, strict=True):
        exact = stratum.exact
        numbers = [*(group.value for group in exact.groups), exact.regret, exact.regret_worst_tenth]
        assert row.split()[-1 - len(numbers) :] == [f"{x:.2f}" for x in (*numbers, exact.regret_gini)]
    bare = [each.model_copy(update={"exact": None}) for each in record.people.strata]
    unlisted = record.model_copy(update={"people": record.people.model_copy(update={"strata": bare})})
    assert values_table(unlisted) is None and values_table(record.model_copy(update={"people": None})) is None


def test_strata_are_printed_and_what_a_policy_sees_is_a_column_where_one_sees_anything(own, tmp_path):
    folder, record, _ = own
    text = render(people_table(record), Console(width=120))
    assert "the policy sees pairs" in text and text.count("own context minus") == 3
    for words in ("her labels", "nothing", "8 pairs, other group"):
        assert words in text
    eight = next(each for each in record.people.strata if (each.n, each.context) == (8, "own"))
    line = next(line for line in text.splitlines() if line.strip().startswith("8 pairs  "))
    assert f"{eight.win_rate:.2f} [{eight.ci_low:.2f}, {eight.ci_high:.2f}]" in line
    plain, other = world_run(tmp_path, "dpo", "evaluate.samples=2")
    assert people_table(other) is None
    for folders, header in (([plain], False), ([plain, folder], True)):
        board = frame_of(rows_of([(each, read_record(each)) for each in folders]))
        shown = show(board, "markdown").splitlines()[0]
        assert ("sees" in [cell.strip() for cell in shown.split("|")]) == header
        assert sorted(board["sees"]) == sorted(["", "pairs"][: len(folders)])
        assert read_csv_text(board, tmp_path)["sees"].tolist() == board["sees"].tolist()


def read_csv_text(board, folder):
    write_csv(board, folder / "board.csv")
    return read_csv(folder / "board.csv")

"""Evidence on people that was tampered with, in runs whose figures all follow from what they have."""

import json

import pandas as pd
import pytest

from prefbench.boards.pack import pack
from prefbench.boards.submission import submit
from prefbench.boards.verify import verify_board
from prefbench.errors import UserError
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import PEOPLE_FILE, read_record, write_record
from prefbench.record.schema import Record
from prefbench.record.summary_people import summarise_people
from prefbench.record.verify import verify
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.evaluated_once import evaluated_once
from support.personal import personal
from support.small_world import SMALL, WORLD
from support.tiny import TINY_SETS

PEOPLE = ["task.spread=0.5", "task.unseen_annotators=8"]


@pytest.fixture(autouse=True, scope="module")
def tables_evaluated_once():
    """Here few tables stand beside many records."""
    with evaluated_once():
        yield


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A run of a world and one of texts, each told of people by their pairs."""
    runs = tmp_path_factory.mktemp("honest")
    world = [f"task.{name}={value}" for name, value in {**SMALL, "annotators": 8}.items()]
    with personal():
        specs = [
            make_spec(task=WORLD, aligner="own_reward", sets=parse_sets([*world, *PEOPLE])),
            make_spec(
                task="imdb_two_group", aligner="length_by_votes", sets=parse_sets([*TINY_SETS, *PEOPLE])
            ),
        ]
        folders = [run(spec, runs)[0] for spec in specs]
        assert [read_record(folder).message for folder in folders] == [None, None]
        yield dict(zip(("world", "texts"), folders, strict=True))


def forged(source, into, change, **fields):
    """The run with another table, and a record that follows from it."""
    plain = json.loads((source / "record.json").read_text())
    table = change(read_items(source, PEOPLE_FILE))
    folder = into / source.name
    for file in source.glob("*.parquet"):
        write_items(read_items(source, file.name), folder, file.name)
    write_items(table, folder, PEOPLE_FILE)
    groups = [group["name"] for group in plain["groups"]]
    plain["people"] |= {**summarise_people(table, groups, plain["seed"]), **fields}
    write_record(Record.model_validate(plain), folder)
    assert verify(folder) == []
    return folder


def raised(table):
    losing = table["utility"] < table["reference_utility"]
    better = table["reference_utility"] + 1
    return table.assign(utility=table["utility"].where(~losing, better))


def exchanged(table):
    """Two unseen people of one group, each in the other's place wherever they judge."""
    first, second = sorted(table[~table["seen"] & (table["group"] == table["group"][0])]["person"].unique())[
        :2
    ]
    return table.assign(person=table["person"].replace({first: second, second: first}))


def luckier(table):
    """The unknown are given something else than the default policy says to everybody."""
    rows = ~table["seen"] & (table["n"] == 0)
    return table.assign(response=table["response"].where(~rows, table["reference_response"]))


def kinder(table):
    """Against another reference."""
    return table.assign(reference_response=table["response"])


def nearer(table):
    """A default policy that says the same and is said to be nearer to the reference."""
    rows = ~table["seen"] & (table["n"] == 0)
    return table.assign(kl=table["kl"].where(~rows, table["kl"].fillna(0) - 0.1))


FORGERIES = {
    nearer: "kl of the default policy is not that of the items",
    raised: "utilities of people are not what the task computes",
    exchanged: "person is not what the problem asks for",
    luckier: "response is not that of the items",
    kinder: "reference_response is not that of the items",
}


@pytest.mark.parametrize("kind", ["world", "texts"])
def test_an_honest_run_follows_and_is_packed_and_submitted_whole(honest, tmp_path, kind):
    (found,) = verify_board([honest[kind]])
    assert (found.wrong, found.odd, found.unchecked) == ([], [], [])
    submit([honest[kind]], tmp_path / "board")
    pack([tmp_path / "board"], tmp_path / "board.zip")
    (run_folder,) = (tmp_path / "board").iterdir()
    packed = read_items(tmp_path / "board.zip" / run_folder.name, PEOPLE_FILE)
    pd.testing.assert_frame_equal(packed, read_items(honest[kind], PEOPLE_FILE))
    assert verify(tmp_path / "board.zip" / run_folder.name) == []


@pytest.mark.parametrize("kind", ["world", "texts"])
@pytest.mark.parametrize("change", FORGERIES, ids=lambda change: change.__name__)
def test_a_forged_table_is_found_though_the_record_follows_from_it(honest, tmp_path, kind, change):
    (found,) = verify_board([forged(honest[kind], tmp_path, change)])
    assert any(FORGERIES[change] in line for line in found.wrong), found.wrong


def test_scales_of_a_world_are_held_against_it(honest, tmp_path):
    scales = read_record(honest["world"]).people.group_scales
    folder = forged(honest["world"], tmp_path, lambda table: table, group_scales=[2 * s for s in scales])
    (found,) = verify_board([folder])
    assert "the scales of people are not the world's" in found.wrong


def test_people_who_are_left_out_are_missed(honest, tmp_path):
    folder = forged(honest["world"], tmp_path, lambda table: table)
    plain = json.loads((folder / "record.json").read_text())
    write_record(Record.model_validate({**plain, "people": None}), folder)
    (found,) = verify_board([folder])
    assert any("missing where somebody does" in line for line in found.wrong)


def test_a_policy_that_saw_more_than_it_says_is_found(honest, tmp_path):
    folder = forged(honest["world"], tmp_path, lambda table: table)
    plain = json.loads((folder / "record.json").read_text())
    write_record(Record.model_validate({**plain, "sees": []}), folder)
    (found,) = verify_board([folder])
    assert any("sees is nothing, the policy of own_reward sees pairs" in line for line in found.wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="utility"), "has no column 'utility'"),
        (lambda t: t.iloc[1:], "lacks some of the samples|does not have every prompt"),
        (lambda t: t.assign(context="hers"), "a context or a group that there is none of"),
        (lambda t: t.assign(group="many"), "a context or a group that there is none of"),
        (lambda t: t[(t["context"] != "own") | (t["n"] == 0)], "has no own contexts of 8 pairs"),
        (lambda t: t.assign(utility=float("nan")), "not a finite number"),
        (lambda t: t.iloc[:0], "has no rows"),
    ],
)
def test_an_incomplete_table_is_refused_in_one_line(honest, change, said):
    table = change(read_items(honest["world"], PEOPLE_FILE))
    groups = [group.name for group in read_record(honest["world"]).groups]
    with pytest.raises(UserError, match=said) as caught:
        summarise_people(table, groups, 0)
    assert "\n" not in str(caught.value)

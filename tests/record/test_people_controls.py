"""What evidence says of controls word for word, in a run that was computed and after it was changed."""

import pandas as pd
import pytest

from prefbench.record.people_controls import default_kept, unlike_items, unmoved
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.personal import personal
from support.small_world import SMALL, WORLD

OPTIONS = {**SMALL, "annotators": 8, "features": "swapped", "unseen_annotators": 8}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    sets = [f"task.{name}={value}" for name, value in OPTIONS.items()]
    with personal():
        spec = make_spec(task=WORLD, aligner="own_reward", minority_ratio="3:1", sets=parse_sets(sets))
        folder, record = run(spec, tmp_path_factory.mktemp("honest"))
    assert record.status == "ok", record.message
    return folder


def changed(honest, into, change):
    """A copy of the evidence after a change of the table on people."""
    into.mkdir()
    pd.read_parquet(honest / "items.parquet").to_parquet(into / "items.parquet")
    table = pd.read_parquet(honest / "people.parquet")
    change(table)
    table.to_parquet(into / "people.parquet")
    return into


def test_a_policy_that_heeds_its_context_is_moved_and_keeps_its_default(honest):
    assert default_kept(honest) and unmoved(honest) == set()


def test_a_default_that_is_not_given_is_seen(honest, tmp_path):
    def change(table):
        place = table.index[~table["seen"] & (table["n"] == 0)][3]
        table.loc[place, "response"] = "something else"

    assert not default_kept(changed(honest, tmp_path / "run", change))


def test_a_policy_that_says_the_same_by_a_control_is_seen(honest, tmp_path):
    def change(table):
        own = table[~table["seen"] & (table["n"] == 8) & (table["context"] == "own")]
        key = ["prompt_id", "sample", "group"]
        said = own.set_index(key)["response"]
        rows = table["context"] == "shuffled"
        table.loc[rows, "response"] = said.loc[list(map(tuple, table.loc[rows, key].to_numpy()))].to_numpy()

    folder = changed(honest, tmp_path / "run", change)
    assert unmoved(folder) == {"shuffled"} and default_kept(folder)


def test_rows_unlike_the_items_are_named_by_their_place():
    items = pd.DataFrame({"response": ["a", "b", "c", "d"]})
    table = pd.DataFrame({"prompt_id": [1, 0, 1], "sample": [0, 1, 1], "response": ["c", "x", "d"]})
    assert unlike_items(items, table, "response", samples=2).tolist() == [1]

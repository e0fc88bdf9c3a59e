"""Tables of the pages are what their command makes of what is published, and prose what a comparison says."""

import functools
import importlib.util
import sys
from pathlib import Path

import pytest

from prefbench.boards import compare
from prefbench.boards.compare import compare_aligners

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "leaderboard" / "scripts"
BOARD = ROOT / "leaderboard" / "results.zip"


@pytest.fixture(autouse=True, scope="module")
def find_records():
    """The records of the board, which all tests here are about, are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "find_records", functools.cache(compare.find_records))
        yield compare.find_records


@pytest.fixture(scope="module")
def script(find_records):
    """The script as a module, with its neighbours to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        spec = importlib.util.spec_from_file_location("published_tables", SCRIPTS / "tables.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.find_records = find_records
        for neighbour in ("conditions", "personas", "personal", "regrets", "routers", "strategy"):
            sys.modules.pop(neighbour, None)
        yield module


def test_the_tables_of_the_pages_are_those_of_today(script):
    tables = script.published()
    found = {}
    for page in script.PAGES:
        found |= {match[1]: match[2] for match in script.MARKED.finditer(page.read_text())}
    assert found.keys() == tables.keys()
    for name, text in found.items():
        assert text == tables[name](), f"{name}: python leaderboard/scripts/tables.py --write"


def test_a_table_is_written_between_its_markers_and_nowhere_else(script):
    page = "before\n\n<!-- table: one -->\n\nold\n\n<!-- /table -->\n\nbetween | old |\n"
    assert script.written(page, {"one": lambda: "| new |"}) == page.replace("\n\nold\n\n", "\n\n| new |\n\n")


def compared(first, second, ratio):
    found = compare_aligners(first, second, BOARD, "imdb_two_group", ratio)
    return {measure.measure: measure for measure in found.measures}["worst_group_win_rate"]


@pytest.mark.parametrize("aligner", ["mpo", "soups", "welfare", "maxmin_known_groups"])
def test_no_test_tells_ways_to_use_one_reward_per_group_apart(aligner):
    assert compared(aligner, "maxmin", 0.0909).p_value > 0.05


def test_equal_loss_leaves_a_group_behind_where_all_losses_weigh_alike_does_not():
    found = compared("gr_dpo", "dpo", 0.5)
    assert found.high < 0 and found.p_value < 0.05

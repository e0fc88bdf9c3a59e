"""Tables of the pages are what their command makes of what is published."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "leaderboard" / "scripts"
NEIGHBOURS = sorted(path.stem for path in SCRIPTS.glob("*.py"))


@pytest.fixture(scope="module")
def script():
    """The script as a module, with its neighbours to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        spec = importlib.util.spec_from_file_location("published_tables", SCRIPTS / "tables.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for neighbour in NEIGHBOURS:
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

"""docs/architecture.md: the rooms are those of the code, and the walk is the way that a run goes."""

from __future__ import annotations

import re
import sys
from importlib import import_module, util
from inspect import unwrap
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from prefbench.cli.entry import main
from support.pages import PAGES, ROOT
from support.tiny import TINY_ALIGNER, TINY_SETS

PAGE = PAGES["docs/architecture.md"]
MEND = "run `python docs/scripts/rooms.py`"


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    spec = util.spec_from_file_location("rooms", ROOT / "docs" / "scripts" / "rooms.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph(rooms):
    return rooms.graph()


# --------------------------------------------------------------------------------------------- the rooms


def test_every_room_is_on_a_floor_of_the_import_contract(rooms, graph):
    listed = [room for floor in rooms.floors() for room in floor]
    assert len(listed) == len(set(listed))
    assert set(listed) == {rooms.room_of(module) for module in graph.modules}


def test_the_picture_is_of_the_code_as_it_is(rooms, graph):
    assert rooms.PICTURE.read_text() == rooms.picture(rooms.floors(), rooms.imports(graph)), MEND
    assert f"](images/{rooms.PICTURE.name})" in PAGE


def test_the_table_says_what_the_rooms_say_of_themselves(rooms):
    assert rooms.MARKED.findall(PAGE) == [rooms.table(rooms.floors())], MEND


def test_another_import_is_another_picture(rooms, graph):
    counts = rooms.imports(graph)
    before = rooms.picture(rooms.floors(), counts)
    counts["prefbench.learn", "prefbench.chat"] += 1
    assert rooms.picture(rooms.floors(), counts) != before


def test_imports_are_counted_between_rooms_and_not_within_them(rooms, graph):
    counts = rooms.imports(graph)
    assert counts["prefbench.__main__", "prefbench.cli"] == 1
    assert counts["prefbench_tasks", "prefbench"] > 5  # by the face
    assert not any(
        one == other or (other == "prefbench" and one not in rooms.GUESTS) for one, other in counts
    )


def test_a_room_without_a_docstring_is_named(rooms, monkeypatch, tmp_path):
    (tmp_path / "prefbench").mkdir()
    (tmp_path / "prefbench" / "cellar.py").write_text("x = 1\n")
    monkeypatch.setattr(rooms, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"prefbench/cellar\.py has no docstring"):
        rooms.sentence("prefbench.cellar")


# ---------------------------------------------------------------------------------------------- the walk


def walk(name: str) -> list[str]:
    """Its stations, in order."""
    (body,) = re.findall(rf"<!-- walk: {name} -->\n(.*?)<!-- /walk -->", PAGE, re.DOTALL)
    lines = re.findall(r"^(\d+)\. (?:`([\w.]+)`)?", body, re.MULTILINE)
    assert [int(number) for number, _ in lines] == list(range(1, len(lines) + 1))
    return [station for _, station in lines]


def code_of(station: str) -> CodeType:
    """The code of a station's function; a decorated one's own."""
    guest = re.sub(r"^(tasks|baselines)\.", r"prefbench_\1.", station)
    words = (guest if guest != station else f"prefbench.{station}").split(".")
    for end in range(len(words) - 1, 0, -1):
        name = ".".join(words[:end])
        if _is_module(name):
            found: Any = import_module(name)
            for word in words[end:]:
                found = getattr(found, word)
            return unwrap(found).__code__
    raise AssertionError(f"there is no {station}")


def _is_module(name: str) -> bool:
    try:
        return util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def first_calls(words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[CodeType]:
    """Every function that a command calls, in the order of its first call."""
    order: dict[CodeType, None] = {}

    def called(frame: FrameType, event: str, argument: object) -> None:
        order.setdefault(frame.f_code)

    monkeypatch.setattr(sys, "argv", ["prefbench", *words])
    before = sys.gettrace()
    sys.settrace(called)
    try:
        main()
    except SystemExit as end:
        assert not end.code
    finally:
        sys.settrace(before)
    return list(order)


def test_a_run_and_its_leaderboard_go_the_way_that_the_page_walks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = [*TINY_SETS, *(f"aligner.{name}={value}" for name, value in TINY_ALIGNER.items())]
    options = [word for setting in sets for word in ("--set", setting)]
    run = ["run", "--task", "imdb_two_group", "--aligner", "maxmin", "--quiet"]
    for name, words in {"run": [*run, *options], "leaderboard build": ["leaderboard", "build"]}.items():
        stations = {code_of(station): station for station in walk(name)}
        met = [stations[code] for code in first_calls(words, monkeypatch) if code in stations]
        assert met == list(stations.values())
    assert (tmp_path / "leaderboard" / "results.csv").is_file()

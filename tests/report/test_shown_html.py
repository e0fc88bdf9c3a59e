"""What a notebook shows: tables as HTML that holds what a terminal does, whatever names and numbers are."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from rich.table import Table
from rich.text import Text

import prefbench as pb
from prefbench.report.cells import HEIGHT, WIDTH, IntervalCell, drawn
from prefbench.report.shown_html import html_block
from prefbench.report.tables import rows_table
from support.records import make_run

THREE = [("many", 0.5, False), ("some", 0.3, False), ("few", 0.2, True)]
EVIL = '<script>alert("1")</script>&\x1b[31m\u202e'


class Read(HTMLParser):
    """The tags of a piece of HTML, each of which has to be closed, and the texts of its rows and lines."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.said = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.said += data + "\n"
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def words(text: str) -> list[str]:
    return re.findall(r"[^\s─]+", text)


def assert_says_the_same(shown: object, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Every word of the terminal's tables and sentences stands in the HTML, and no other."""
    monkeypatch.setenv("COLUMNS", "400")
    read = Read(shown._repr_html_())  # type: ignore[attr-defined]
    assert sorted(words(read.said)) == sorted(words(repr(shown)))
    return read


def harmless(read: Read) -> None:
    assert read.tags <= {
        *("div", "style", "table", "thead", "tbody", "tr", "th", "td"),
        "svg",
        "path",
        "circle",
    }
    names = {name for name, _ in read.attributes}
    assert not [name for name in names if name.startswith("on") or name in ("href", "src", "style")]


def test_a_run_of_three_groups(tmp_path, monkeypatch):
    folder = make_run(tmp_path, {"many": 0.9, "some": 0.6, "few": 0.3}, groups=THREE)
    shown = pb.load(folder)
    read = assert_says_the_same(shown, monkeypatch)
    harmless(read)
    assert [row[0] for row in read.rows] == ["group", "many", "some", "few (minority)"]
    for row, group in zip(read.rows[1:], shown.record.groups, strict=True):
        assert row[2] == f"{group.win_rate:.2f} [{group.ci_low:.2f}, {group.ci_high:.2f}]"
    assert "Worst off: few, the minority, wins 0.3" in read.said
    assert shown._repr_html_().count("<svg") == 3 and "pb-bad" not in shown._repr_html_().split("</style>")[1]
    assert len(shown._repr_html_()) < 4_000


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_run_that_did_not_end_well_is_marked_and_says_why(status, tmp_path, monkeypatch):
    bad = make_run(tmp_path, {"many": 0.9, "few": 0.3}, status=status, seed=1)
    read = assert_says_the_same(pb.load(bad), monkeypatch)
    assert f"{status}: KL exploded" in read.said
    assert ("class", "pb-shown pb-bad") in read.attributes
    make_run(tmp_path, {"many": 0.9, "few": 0.3})
    both = assert_says_the_same(pb.load(tmp_path), monkeypatch)
    assert ("class", "pb-shown pb-bad") in both.attributes
    assert {row[-1] for row in both.rows[1:3]} == {"ok", status}


def test_several_runs_a_comparison_and_a_leaderboard(tmp_path, monkeypatch):
    for seed in range(3):
        for aligner, rates in (("plain", (0.9, 0.3)), ("fair", (0.7, 0.6))):
            make_run(tmp_path, dict(zip(("many", "few"), rates, strict=True)), aligner=aligner, seed=seed)
    results = pb.load(tmp_path)
    fair, plain = (results.where(aligner=name) for name in ("fair", "plain"))
    several = assert_says_the_same(plain, monkeypatch)
    assert "over 3 seeds (0 1 2)" in several.said and "gap" in several.said
    compared = pb.compare(fair, plain)
    read = assert_says_the_same(compared, monkeypatch)
    for row, measure in zip(read.rows[1:], compared.statistics.measures, strict=True):
        assert row[3:5] == [f"{measure.difference:+.3f}", f"[{measure.low:+.3f}, {measure.high:+.3f}]"]
    board = pb.leaderboard(fair, plain)
    ranks = Read(board._repr_html_())
    assert [row[1] for row in ranks.rows[1:]] == ["fair", "plain"] and "status ok" in ranks.said
    for shown in (plain, compared, board):
        harmless(Read(shown._repr_html_()))


def test_people_and_the_room_are_told_as_the_terminal_does(tmp_path, monkeypatch):
    options = {"unseen_annotators": 8, "test_prompts": 20}
    done = pb.run("gridworld_two_group", "pal", runs_dir=tmp_path, task_options=options, quiet=True)
    read = assert_says_the_same(done, monkeypatch)
    assert read.said.lstrip().startswith("Room: ")
    strata = done.record.people.strata
    means = [f"{each.win_rate:.2f} [{each.ci_low:.2f}, {each.ci_high:.2f}]" for each in strata]
    assert [row[3] for row in read.rows if row[3:4] and row[3] in means] == means


def test_names_are_text_and_nothing_else():
    table = rows_table(EVIL, [EVIL, "n"], [[EVIL, IntervalCell(EVIL, (0.5, 0.4, 0.6))]])
    table.caption = Text(EVIL)
    text = html_block([table], [EVIL], [EVIL])
    read = Read(text)
    harmless(read)
    assert not {"\x1b", "\u202e"} & set(text) and text.count("&lt;script&gt;") == 7


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
def test_an_unknown_number_is_not_drawn(unknown):
    assert IntervalCell("0.5", (0.5, unknown, 0.6)).picture() == ""
    assert IntervalCell("0.5", (0.5, 0.4, 0.6), (0.0, 0.0)).picture() == ""
    table = Table("rate")
    table.add_row(IntervalCell("nan", (unknown, unknown, unknown)))
    assert "<svg" not in html_block([table], [])


def test_a_picture_has_its_places_on_the_axis():
    def places(value, low, high, axis):
        drawing = IntervalCell("x", (value, low, high), axis).picture()
        found = re.search(r'<path d="M([\d.]+) 6H([\d.]+)" stroke.*<circle cx="([\d.]+)" cy="6"', drawing)
        return [float(number) for number in found.groups()]

    assert places(0.5, 0.0, 1.0, (0.0, 1.0)) == [4.0, WIDTH - 4.0, WIDTH / 2]
    assert places(0.0, -0.5, 0.5, (-1.0, 1.0)) == [(WIDTH + 8) / 4, (3 * WIDTH - 8) / 4, WIDTH / 2]
    assert places(3.0, -3.0, 3.0, (0.0, 1.0)) == [4.0, WIDTH - 4.0, WIDTH - 4.0]  # at the ends
    assert f'viewBox="0 0 {WIDTH} {HEIGHT}"' in IntervalCell("x", (0.5, 0.4, 0.6)).picture()


def test_one_column_is_drawn():
    rows = drawn(["a", "b"], [["1", "2"]], "b", [(0.1, 0.0, 0.2)])
    assert rows[0][0] == "1" and isinstance(rows[0][1], IntervalCell) and str(rows[0][1]) == "2"


def test_a_board_whose_rows_lack_figures_is_shown(tmp_path):
    make_run(tmp_path, {"many": 0.9, "few": 0.3})
    make_run(tmp_path, {"many": 0.9, "few": 0.3}, aligner="broken", status="failed")
    board = pb.leaderboard(tmp_path)
    board.to_csv(tmp_path / "board.csv")
    for shown in (board, pb.leaderboard(tmp_path / "board.csv")):
        read = Read(shown._repr_html_())
        harmless(read)
        assert sorted(row[-1] for row in read.rows[1:]) == ["incomplete: seed 0 failed", "ok"]
        assert shown._repr_html_().count("<svg") == 1

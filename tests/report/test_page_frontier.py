"""The page's section on frontiers: there where an aligner has several strengths, and nowhere else."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from prefbench.boards.rows import load_rows
from prefbench.report.page import page
from prefbench.report.page_frontier import HEIGHT, WIDTH, _steps, frontier_section
from prefbench.report.plots import save_figures
from support.records import make_run

RATES = {"many": 0.9, "few": 0.5}
NASTY = "<script>alert(1)</script>"


def board(folder, tasks=("imdb_two_group",), **more):
    """maxmin at three strengths whose best utility is in the middle, and best-of-n at its bound."""
    runs = [("maxmin", "kl_coefficient", 0.1 * 4**i, kl, gain) for i, (kl, gain) in enumerate(REACHED)]
    runs += [("best_of_n", "candidates", n, None, 0.1 * n) for n in (1, 4)]
    for task in tasks:
        for aligner, option, strength, kl, gain in runs:
            spread = np.where(np.arange(100) % 2, 1.0, -1.0)
            columns = {f"reference_utility/{name}": spread for name in RATES}
            columns |= {f"utility/{name}": np.full(100, gain) for name in RATES}
            columns |= {"proxy/everybody": np.full(100, 4 * gain), "reference_proxy/everybody": np.zeros(100)}
            options = {option: strength, **more}
            make_run(
                folder,
                RATES,
                100,
                kl=kl,
                columns=columns,
                task=task,
                aligner=aligner,
                aligner_options=options,
            )
    return folder


REACHED = ((9.0, 0.1), (4.0, 0.7), (0.5, 0.3))


@pytest.fixture
def section(tmp_path):
    return frontier_section(load_rows(board(tmp_path / "runs")))


def drawings(section):
    """The panels as trees; what is no well-formed markup is no section."""
    tree = ElementTree.fromstring(section.replace("&rsquo;", "'"))
    return tree, [svg for svg in tree.iter("svg") if svg.get("role") == "img"]


def test_points_lie_where_their_numbers_are(section):
    _, panels = drawings(section)
    assert [panel.get("aria-label").split(" against")[0] for panel in panels] == [
        "worst group's win rate",
        "true utility gained",
        "learned reward gained",
    ]
    ticks = {}
    for line in panels[1].iter("text"):
        try:
            ticks[float(line.text), line.get("text-anchor")] = line
        except ValueError:
            continue
    one, four = (float(ticks[nats, "middle"].get("x")) for nats in (1.0, 4.0))
    most = max(gain for gain, anchor in ticks if anchor == "end")
    assert most < 1, "the reward's gain, four times as much, has a scale of its own"
    zero, whole = (float(ticks[gain, "end"].get("y")) for gain in (0.0, most))
    places = {}
    for mark in (path for path in panels[1].iter("path") if path.get("class") == "mark"):
        name, gain, nats = re.fullmatch(
            r"(\w+): (-?[\d.]+) at ([\d.]+) nats", mark.find("title").text
        ).groups()
        x, y = map(float, re.findall(r"[\d.]+", mark.get("transform")))
        assert 0 < x < WIDTH and 0 < y < HEIGHT
        assert x == pytest.approx(one + (four - one) * np.log(float(nats)) / np.log(4), abs=1.2)
        assert y == pytest.approx(zero + (whole - zero) * float(gain) / most, abs=1.2)
        places.setdefault(name, []).append(float(nats))
    assert places == {"maxmin": [0.5, 4.0, 9.0], "best_of_n": [0.64]}  # n = 1 is the reference


def test_the_table_has_what_was_measured_and_where_the_truth_was_best(section):
    tree, _ = drawings(section)
    rows = [["".join(cell.itertext()).strip() for cell in row] for row in tree.iter("tr")]
    cells = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    assert list(cells) == ["maxmin", "best_of_n"]
    found = cells["maxmin"]
    assert (found["most utility"], found["reward there"]) == ("0.70 at 4.00", "2.80")
    assert (found["last utility"], found["last reward"]) == ("0.10", "0.40")
    assert found["at 1 nats"] and found["area"] and found["KL"] == "0.50 to 9.00"
    assert cells["best_of_n"]["KL"] == "at most 0.00 to 0.64" and not cells["best_of_n"]["at 1 nats"]


def test_the_page_has_it_with_its_style_and_no_page_without_strengths_has(tmp_path):
    text = page(board(tmp_path / "runs"))
    assert text.count('<section id="frontier"') == 1
    make_run(tmp_path / "lone", RATES, aligner="maxmin", aligner_options={"kl_coefficient": 0.1})
    lone = page(tmp_path / "lone")
    assert "frontier-title" not in lone
    assert frontier_section(load_rows(tmp_path / "lone")) == ""


def test_several_boards_are_named_and_names_are_text(tmp_path):
    runs = board(tmp_path / "runs", ("imdb_two_group", NASTY))
    section = frontier_section(load_rows(runs))
    assert NASTY not in section and section.count("<h3>") == 2
    tree, panels = drawings(section)
    assert len(panels) == 6 and NASTY in "".join(tree.itertext())


def test_numbers_that_no_axis_holds_are_left_out(tmp_path):
    spread = np.where(np.arange(100) % 2, 1e-8, -1e-8)
    for strength, kl in ((1, 1e300), (2, 3.0), (4, 5.0)):
        columns = {f"reference_utility/{name}": spread for name in RATES}
        columns |= {f"utility/{name}": np.full(100, 1e290) for name in RATES}
        options = {"beta": strength}
        make_run(tmp_path, RATES, 100, kl=kl, columns=columns, aligner="dpo", aligner_options=options)
    _, panels = drawings(frontier_section(load_rows(tmp_path)))
    assert len(panels) == 1 and sum(path.get("class") == "mark" for path in panels[0].iter("path")) == 2
    assert "frontier.svg" in [file.name for file in save_figures(tmp_path, tmp_path / "figures", "svg")]


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.3, 0.9, [-0.25, 0, 0.25, 0.5, 0.75]),
        (-7, 31, [0, 10, 20, 30]),
    ],
)
def test_axes_have_round_values(low, high, steps):
    assert _steps(low, high) == pytest.approx(steps)

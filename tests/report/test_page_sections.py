"""Parts of the page that need no script: curves of personal policies, and what aligners are."""

import re
from xml.etree import ElementTree

import pytest

from prefbench.boards.people import WORST
from prefbench.registry import get, load_plugins
from prefbench.report.figures import style
from prefbench.report.page import page
from prefbench.report.page_curve import HEIGHT, WIDTH, curve_figure
from support.records import RATES, make_run
from support.report_page import NASTY


def row(name, n, rate, low=None, high=None, context="own"):
    bounds = {f"{WORST}_low": low, f"{WORST}_high": high}
    return {
        "aligner": name,
        "options": "",
        "config_hash": name,
        "n": n,
        "context": context,
        WORST: rate,
        **bounds,
    }


ROWS = [
    *(row("plain", n, 0.4) for n in (None, 0, 4)),
    *(row("personal", n, rate, rate - 0.1, rate + 0.1) for n, rate in ((None, 0.8), (0, 0.3), (4, 0.7))),
    row("personal", 4, 0.99, context="shuffled"),
]


def test_a_curve_has_a_point_for_each_knowledge_of_people_where_its_number_is():
    tree = ElementTree.fromstring(curve_figure(ROWS, "a board", {}))
    svg = next(part for part in tree.iter("svg") if part.get("role") == "img")
    ticks = {part.text: part for part in svg.iter("text")}
    zero, one = float(ticks["0.0"].get("y")), float(ticks["1.0"].get("y"))
    found = {}
    for mark in (part for part in svg.iter("path") if part.get("class") == "mark"):
        x, y = map(float, re.findall(r"[\d.]+", mark.get("transform")))
        assert 0 < x < WIDTH and 0 < y < HEIGHT
        name, what, rate = re.match(r"(\w+), ([\w ]+): ([\d.]+)", mark.find("title").text).groups()
        assert y == pytest.approx(zero + (one - zero) * float(rate), abs=0.2)
        place = {"seen in training": "seen"}.get(what, what.split()[0])
        assert x == pytest.approx(float(ticks[place].get("x")), abs=8)
        found[name, place] = float(rate)
    assert found == {
        **{("plain", place): 0.4 for place in ("0", "4", "seen")},
        **{("personal", "0"): 0.3, ("personal", "4"): 0.7, ("personal", "seen"): 0.8},
    }
    assert sum(part.get("class") == "whisker" for part in svg.iter("line")) == 3


def test_a_policy_looks_as_its_line_does_and_no_two_look_alike():
    svg = ElementTree.fromstring(curve_figure(ROWS, "a board", {"personal": style(3), "plain": style(3)}))
    looks = [(part.get("class"), part.find("path").get("stroke-dasharray")) for part in svg.iter("g")]
    assert looks[0] == ("series c3", None) and len(set(looks)) == 2


def test_no_curve_where_nobody_is_unseen():
    assert curve_figure([row("plain", None, 0.4)], "a board", {}) == ""


def test_names_on_a_curve_are_text():
    drawn = curve_figure([row(NASTY, n, 0.4) for n in (0, 1)], NASTY, {})
    assert "<img" not in drawn and "alert" in ElementTree.fromstring(drawn).find(".//bdi").text


def test_each_aligner_is_described_with_its_source(tmp_path):
    load_plugins()
    for name in ("maxmin", "stranger"):
        make_run(tmp_path, RATES, aligner=name)
    section = page(tmp_path).partition('<section id="aligners"')[2].partition("</section>")[0]
    assert get("aligner", "maxmin").summary in section and "arXiv 2402.08925" in section
    assert section.index("maxmin") < section.index("stranger")
    assert "Not registered here" in section.partition("stranger")[2]

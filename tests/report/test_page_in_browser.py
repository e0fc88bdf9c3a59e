"""The static page in a real browser: it draws, sorts, filters, prints, and nothing in it is out of reach."""

import json
import re

import pytest

from prefbench.report.page import PROMPTS
from support.browser import BROWSER, Browser
from support.report_page import NASTY, RATES, ROWS

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: install the package chromium")


@pytest.fixture(scope="module")
def opened(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    (folder / "report page.html").write_text(text, encoding="utf-8")
    browser = Browser(folder / "profile", folder / "report page.html")
    browser.path = folder / "report page.html"
    yield browser
    browser.close()


@pytest.fixture
def browser(opened):
    opened.media("", prefers_color_scheme="light")
    opened.size(1280)
    opened.open(opened.path)
    opened.js(
        """(() => { const s = document.getElementById('setting'); s.value = '1';
        s.dispatchEvent(new Event('change')); })()"""
    )
    yield opened
    assert opened.troubles() == []


FIRST_COLUMN = """[...document.querySelectorAll('#table tbody tr')]
    .filter((row) => !row.hidden).map((row) => row.cells[0].textContent)"""


def clicked(browser, label):
    """Click the table's header of that name; give back its aria-sort and the column's numbers."""
    return browser.js(
        f"""(() => {{
        const heads = [...document.querySelectorAll('#table thead th')];
        const i = heads.findIndex((th) => th.textContent === {json.dumps(label)});
        heads[i].querySelector('button').click();
        return [heads.filter((th) => th.hasAttribute('aria-sort')).length, heads[i].getAttribute('aria-sort'),
          [...document.querySelectorAll('#table tbody tr')].map((r) => r.cells[i])
            .map((cell) => cell.dataset.v ?? cell.textContent)];
        }})()"""
    )


def changed(browser, selector, value, event="change"):
    browser.js(
        f"""(() => {{ const s = document.querySelector({json.dumps(selector)});
        const option = [...(s.options || [])].find((o) => o.textContent === {json.dumps(value)});
        s.value = option ? option.value : {json.dumps(value)};
        s.dispatchEvent(new Event({json.dumps(event)})); }})()"""
    )


def test_it_opens_from_disk_and_draws(browser):
    for figure in ("headline", "scatter", "gap", "kl", "training"):
        assert browser.js(f"document.querySelectorAll('#{figure} svg[role=img] g.series').length") >= 1, (
            figure
        )
    assert browser.js("document.querySelectorAll('#headline g.series path.line').length") == 3
    assert browser.js("document.querySelectorAll('.tile').length") == 2
    assert browser.js("document.querySelector('#groups tbody').rows.length") == 6


def test_sorting(browser):
    number, direction, values = clicked(browser, "minority")
    assert (number, direction) == (1, "descending")
    known = [float(value) for value in values if value]
    assert known == sorted(known, reverse=True)
    assert values[-1] == ""  # what is missing comes last, both ways
    number, direction, values = clicked(browser, "minority")
    known = [float(value) for value in values if value]
    assert (number, direction, known, values[-1]) == (1, "ascending", sorted(known), "")
    assert clicked(browser, "aligner")[:2] == [1, "ascending"]
    assert browser.js(FIRST_COLUMN)[1:] == [name for name in RATES for _ in range(2)]


def test_filtering(browser):
    changed(browser, "[data-filter=aligner]", "good")
    assert browser.js(FIRST_COLUMN) == ["good", "good"]
    assert browser.js("document.getElementById('count').textContent") == f"2 of {ROWS} rows"
    changed(browser, "[data-filter=ratio]", "4:1")
    assert browser.js(FIRST_COLUMN) == ["good"]
    browser.js("document.getElementById('clear').click()")
    assert len(browser.js(FIRST_COLUMN)) == ROWS
    changed(browser, "#search", "GREEDY 1:1", "input")
    assert browser.js(FIRST_COLUMN) == ["greedy"]
    browser.js("document.getElementById('clear').click()")
    changed(browser, "[data-filter=status]", "incomplete")
    assert browser.js(FIRST_COLUMN) == [NASTY]


def test_picking_lines_ratio_measure_and_task(browser):
    series = "document.querySelectorAll('#{} g.series').length"
    browser.js("document.querySelector('#line-1').click()")
    assert browser.js(series.format("scatter")) == 2
    browser.js("document.querySelector('[data-pick=none]').click()")
    assert browser.js("document.querySelector('#headline').textContent").startswith("Nothing to draw")
    browser.js("document.querySelector('[data-pick=all]').click()")
    assert browser.js(series.format("gap")) == 3
    before = browser.js("document.querySelector('#headline svg').outerHTML")
    changed(browser, "#measure", "gap between groups")
    assert browser.js("document.querySelector('#headline svg').outerHTML") != before
    changed(browser, "#ratio", "1:1")
    assert set(browser.js("[...document.querySelectorAll('.at')].map((e) => e.textContent)")) == {"1:1"}
    changed(browser, "#setting", "other@1, nano, synthetic")
    assert "Nothing to draw" in browser.js("document.querySelector('#headline').textContent")
    assert browser.js("document.querySelectorAll('#lines li').length") == 1


def test_reading_responses_as_text(browser):
    said = browser.js("[...document.querySelectorAll('#responses .answer .text')].map((e) => e.textContent)")
    assert len(said) == 3
    everything = set()
    for _ in range(PROMPTS):
        everything |= set(
            browser.js("[...document.querySelectorAll('#responses .text')].map((e) => e.textContent)")
        )
        browser.js("document.getElementById('next').click()")
    assert f"{NASTY}\u20280" in everything
    changed(browser, "#seed", "2")
    said = browser.js("[...document.querySelectorAll('#responses .text')].map((e) => e.textContent)")
    assert f"{NASTY}\u20282" in said or "(empty: counted as a loss)" in said
    assert browser.js("document.scripts.length") == 2
    assert browser.js("document.images.length") == 0


def test_the_policy_stops_a_script_that_got_in(opened):
    """A last line of defence, tried on a page that somebody has tampered with."""
    bad = opened.path.with_name("bad.html")
    bad.write_text(
        opened.path.read_text(encoding="utf-8").replace("<main", "<script>window.got = 1</script><main", 1)
    )
    opened.open(bad)
    assert opened.js("window.got === undefined") is True
    assert any("Content Security Policy" in json.dumps(trouble) for trouble in opened.troubles())
    assert opened.js("document.querySelectorAll('#table tbody tr').length") == ROWS


@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_phone_never_scrolls_sideways(browser, width):
    browser.size(width, 740, phone=True)
    browser.js("for (const d of document.querySelectorAll('details')) d.open = true; 0")
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert (
        browser.js("((b) => b.scrollWidth > b.clientWidth)(document.querySelector('#table .scroll'))")
        or width > 700
    )
    assert browser.js("document.querySelector('#headline svg').getBoundingClientRect().right") <= width


def test_dark_mode_and_motion(browser):
    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.js(background)
    browser.media("", prefers_color_scheme="dark")
    dark = browser.js(background)
    assert sum(map(int, re.findall(r"\d+", light))) > 700 > 200 > sum(map(int, re.findall(r"\d+", dark)))
    assert browser.js("getComputedStyle(document.querySelector('svg .label')).fill") == browser.js(
        "getComputedStyle(document.body).color"
    )
    browser.media("", prefers_reduced_motion="reduce")
    assert browser.js("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_keyboard_reaches_everything(browser):
    browser.js("document.activeElement.blur()")
    seen = []
    for _ in range(60):
        browser.key("Tab", 9)
        seen.append(
            browser.js(
                """(() => { const e = document.activeElement; const s = getComputedStyle(e);
                return [e.id || e.className || e.textContent, e.tagName, s.outlineStyle !== 'none']; })()"""
            )
        )
    names = {name for name, _, _ in seen}
    assert {"skip", "setting", "ratio", "measure", "quantity", "search", "scroll"} <= names
    assert {"minority", "rank", "gap"} <= {name for name, tag, _ in seen if tag == "BUTTON"}
    assert all(visible for _, tag, visible in seen if tag != "BODY")
    browser.js("document.querySelectorAll('#table thead button')[1].focus()")
    browser.key("Enter", 13, "\r")
    assert (
        browser.js("document.querySelectorAll('#table thead th')[1].getAttribute('aria-sort')") == "ascending"
    )


def test_tables_and_controls_are_named(browser):
    assert browser.js(
        "[...document.querySelectorAll('table')].every((t) => t.caption && t.caption.textContent)"
    )
    assert browser.js("[...document.querySelectorAll('th')].every((t) => t.scope)")
    unnamed = (
        """[...document.querySelectorAll('select, input')].filter((e) => !e.labels.length).map((e) => e.id)"""
    )
    assert browser.js(unnamed) == []
    assert browser.js(
        "[...document.querySelectorAll('svg[role=img]')].every((s) => s.getAttribute('aria-label'))"
    )


def test_it_prints(browser, tmp_path):
    browser.media("print")
    assert browser.js("getComputedStyle(document.getElementById('controls')).display") == "none"
    assert browser.js("getComputedStyle(document.querySelector('#table .scroll')).overflowX") == "visible"
    browser.media("", prefers_color_scheme="dark")
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")

"""The static page in a real browser: it draws, sorts, filters, prints, and nothing in it is out of reach."""

import csv
import json
import math
import re
from xml.etree import ElementTree

import pytest

from prefbench.boards.matrix import head_to_head
from prefbench.boards.rows import load_rows
from prefbench.report.page import PROMPTS, page, script
from support.browser import BROWSER, Browser
from support.records import make_run
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
    .filter((row) => !row.hidden).map((row) => row.dataset.aligner)"""


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
        assert browser.js(f"document.querySelectorAll('#{figure} svg[role=group] g.series').length") >= 1, (
            figure
        )
    assert browser.js("document.querySelectorAll('#headline g.series path.line').length") == 3
    assert browser.js("document.querySelectorAll('.tile').length") == 2
    assert browser.js("document.querySelectorAll('#groups tbody tr').length") == 6


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


CUT = """[...document.querySelectorAll('figure svg text:not([class])')].filter((text) => {
  const word = text.getBoundingClientRect(), drawing = text.ownerSVGElement.getBoundingClientRect();
  return word.left < drawing.left || word.right > drawing.right;
}).map((text) => text.textContent)"""
"""The figures along axes that lie partly outside of their drawing, where nobody sees them."""


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
    assert browser.js(CUT) == []


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
    for _ in range(90):
        browser.key("Tab", 9)
        seen.append(
            browser.js(
                """(() => { const e = document.activeElement; const s = getComputedStyle(e);
                return [e.id || e.getAttribute('class') || e.textContent, e.tagName,
                  s.outlineStyle !== 'none' || e.matches('.point:focus-visible')]; })()"""
            )
        )
    names = {name for name, _, _ in seen}
    assert {"skip", "setting", "ratio", "measure", "quantity", "search", "scroll", "mark point"} <= names
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
        """[...document.querySelectorAll('svg[role=img], svg[role=group], .point')]
        .every((s) => s.getAttribute('aria-label'))"""
    )


def test_it_prints(browser, tmp_path):
    browser.media("print")
    assert browser.js("getComputedStyle(document.getElementById('controls')).display") == "none"
    assert browser.js("getComputedStyle(document.querySelector('#table .scroll')).overflowX") == "visible"
    # Chromium repeats a table's head on each page unless something in it has a box of its own.
    assert browser.js("getComputedStyle(document.querySelector('#table th button')).display") == "contents"
    assert (
        browser.js("getComputedStyle(document.querySelector('#table thead')).display") == "table-header-group"
    )
    browser.media("", prefers_color_scheme="dark")
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_keyboard_goes_from_point_to_point(browser):
    browser("Emulation.setFocusEmulationEnabled", enabled=True)
    browser.js("document.querySelector('#headline .point[tabindex=\"0\"]').focus()")
    here = "document.activeElement.getAttribute('aria-label')"
    tip = "((t) => !t.hidden && t.textContent)(document.getElementById('tip'))"
    assert browser.js(here).startswith("good, 1:1; minority win rate 0.")
    assert browser.js(tip) == browser.js(here).replace("; minority", "\nminority", 1).replace(
        "; rank", "\nrank", 1
    )
    browser.key("ArrowRight", 39)
    assert browser.js(here).startswith("good, 4:1;")
    browser.key("ArrowDown", 40)
    assert browser.js(here).startswith("greedy, 1:1;")
    browser.key("End", 35)
    assert browser.js(here).startswith("meek, 4:1;")
    browser.key("ArrowRight", 39)
    assert browser.js(here).startswith("meek, 4:1;")
    stops = "document.querySelectorAll('#headline .point[tabindex=\"0\"]').length"
    assert browser.js(stops) == 1
    browser.key("Escape", 27)
    assert browser.js(tip) is False


VIEW = """[...['setting', 'ratio', 'measure', 'across', 'judge', 'whose', 'find', 'fate', 'seed', 'prompt',
    'search'].map((id) => document.getElementById(id).value), document.getElementById('picked').textContent,
    document.querySelector('#table table').className, document.querySelector('[aria-sort]')?.textContent,
    document.getElementById('count').textContent]"""


def test_the_address_leads_back_to_what_was_chosen(browser):
    changed(browser, "#ratio", "1:1")
    changed(browser, "#measure", "gap between groups")
    changed(browser, "#across", "mean win rate")
    changed(browser, "#judge", "few")
    changed(browser, "#whose", "greedy")
    changed(browser, "#find", "alert(1)", "input")
    changed(browser, "#fate", "lost by few, the minority")
    changed(browser, "#seed", "2")
    changed(browser, "#search", "greedy", "input")
    browser.js("document.querySelector('#line-2').click(); document.getElementById('next').click()")
    browser.js("document.getElementById('columns').click()")
    clicked(browser, "gap")
    chosen, link = browser.js(VIEW), browser.js("document.getElementById('link').href")
    assert chosen[-4:] == ["2 of 3 shown", "all", "gap", f"2 of {ROWS} rows"]
    assert link == browser.js("location.href") and "line=good&line=greedy" in link
    browser.open(browser.path)
    browser.js("location.hash = ''")
    assert browser.js(VIEW) != chosen
    browser.js(
        f"location.hash = {json.dumps(link.partition('#')[2])}; new Promise((done) => setTimeout(done, 50))"
    )
    assert browser.js(VIEW) == chosen


@pytest.mark.parametrize(
    "odd",
    [
        "task=x&split=y&measure=__proto__&line=z&prompt=-9&judge=1e9&rows.sort=a%20ascending",
        "=",
        "a=%E0%A4%A",
    ],
)
def test_an_odd_address_shows_the_first_view(browser, odd):
    browser.js(f"location.hash = {json.dumps(odd)}; new Promise((done) => setTimeout(done, 50))")
    assert browser.js("document.getElementById('measure').value") == "minority_win_rate"
    assert browser.js("document.getElementById('picked').textContent") == "1 of 1 shown"
    assert browser.js("document.querySelectorAll('#tiles > *').length") == 1


def test_responses_are_found_by_words_and_by_whom_they_lost(browser):
    lost = "[...document.querySelectorAll('#responses .answer .scores li:nth-child(2) b:last-child')]"
    changed(browser, "#fate", "lost by few, the minority")
    for _ in range(5):
        assert set(browser.js(f"{lost}.map((e) => e.textContent)")) == {"\u25bc lost"}
        browser.js("document.getElementById('next').click()")
    few = browser.js("document.getElementById('prompt').options.length")
    changed(browser, "#fate", "all responses")
    whole = browser.js("document.getElementById('prompt').options.length")
    assert 0 < few < whole == 3 * PROMPTS
    changed(browser, "#find", "PROMPT 5", "input")
    texts = browser.js("[...document.getElementById('prompt').options].map((o) => o.textContent)")
    assert texts and all("prompt 5" in text for text in texts)
    assert browser.js("document.querySelector('#responses mark').textContent") == "prompt 5"
    changed(browser, "#find", "<img", "input")
    names = browser.js(
        "[...document.querySelectorAll('#responses .answer h3 bdi')].map((e) => e.textContent)"
    )
    assert names == ["greedy"]
    changed(browser, "#find", "no such words", "input")
    assert browser.js("document.getElementById('responses').textContent").startswith("Nothing fits")


def test_each_run_of_an_aligner_with_its_own_curves(browser):
    changed(browser, "#whose", "good")
    cells = (
        "[...document.querySelectorAll('#runs tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    assert [row[0] for row in browser.js(cells)] == ["0", "1", "2"]
    titles = browser.js("[...document.querySelectorAll('#courses figure')].map((f) => f.dataset.quantity)")
    assert titles == ["reward 0", "reward 1", "KL (nats per response)", "tokens per response"]
    assert browser.js("document.querySelectorAll('#courses figure:first-child g.series').length") == 3
    changed(browser, "#whose", "greedy")
    assert "No training history" in browser.js("document.getElementById('courses').textContent")


def test_the_matrix_has_the_numbers_of_the_comparison(browser, runs):
    rows = [row for row in load_rows(runs) if row.first.task == "toy" and row.first.minority_ratio == 0.2]
    found = head_to_head(rows)
    for group in found.groups:
        changed(browser, "#judge", group)
        cells = browser.js(
            """[...document.querySelectorAll('#matrix tbody tr')]
            .map((r) => [...r.cells].map((c) => c.textContent.trim()))"""
        )
        assert [row[0] for row in cells] == list(found.policies)
        for duel in (duel for duel in found.duels if duel.group == group):
            i, j = found.policies.index(duel.first), found.policies.index(duel.second)
            star = "*" if duel.p_value < 0.05 else ""
            assert cells[i][j + 1] == f"{math.floor(100 * round(duel.win_rate, 3) + 0.5)}{star}"
            assert int(cells[i][j + 1].strip("*")) + int(cells[j][i + 1].strip("*")) in (100, 101)


def saved(browser, button, folder):
    """The text of the file that a click on a button saves."""
    before = set(folder.iterdir())
    browser("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.js(f"document.querySelector({json.dumps(button)}).click()")
    for _ in range(200):
        new = [file for file in set(folder.iterdir()) - before if not file.name.endswith(".crdownload")]
        if new and new[0].stat().st_size:
            return new[0].name, new[0].read_text()
        browser.js("new Promise((done) => setTimeout(done, 50))")
    raise AssertionError("nothing was saved")


def test_figures_numbers_and_rows_are_saved(browser, tmp_path):
    name, text = saved(browser, "#scatter .save-figure", tmp_path)
    drawing = ElementTree.fromstring(text)
    assert name == "scatter-toy-1-nano-synthetic-4-1.svg" and drawing.tag.endswith("svg")
    assert not any("class" in part.attrib or "style" in part.attrib for part in drawing.iter())
    words = {part.text for part in drawing.iter() if part.tag.endswith("text")}
    assert {"good", "greedy", "meek", "majority win rate"} <= words
    lines = [part for part in drawing.iter() if part.tag.endswith("line")]
    assert all(line.get("stroke", "none") != "none" for line in lines)
    _, text = saved(browser, "#scatter .save-numbers", tmp_path)
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == ["aligner", "majority win rate", "minority win rate", "on the front"] and len(rows) == 4
    changed(browser, "[data-filter=aligner]", "good")
    _, text = saved(browser, "#save-table", tmp_path)
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["aligner"] for row in rows] == ["good", "good"]
    assert {"worst", "worst low", "worst high", "specification"} <= set(rows[0])
    assert all(float(row["worst low"]) < float(row["worst"]) < float(row["worst high"]) for row in rows)


def test_a_saved_name_is_no_formula(browser):
    assert browser.js("document.querySelectorAll('#save-table').length") == 1
    source = script().replace("const table = makeTable", "window.csvOf = csv;\nconst table = makeTable")
    bad = browser.path.with_name("open.html")
    text = browser.path.read_text(encoding="utf-8").replace(script(), source)
    bad.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text), encoding="utf-8")
    browser.open(bad)
    assert browser.js("csvOf([['=1+1', '-0.5', '@x', 'a,\"b']])") == '\'=1+1,-0.5,\'@x,"a,""b"\r\n'


def test_the_table_fits_a_screen_and_unfolds(browser):
    beyond = "((b) => b.scrollWidth > b.clientWidth)(document.querySelector('#table .scroll'))"
    assert browser.js(beyond) is False
    browser.js("document.getElementById('columns').click()")
    assert browser.js(beyond) is True
    for part in ("#groups", "#runs", "#matrix"):
        assert (
            browser.js(f"((b) => b.scrollWidth > b.clientWidth)(document.querySelector('{part}'))") is False
        )


def test_every_group_of_three_has_its_say(opened, tmp_path):
    groups = [("many", 0.5, False), ("some", 0.3, False), ("few", 0.2, True)]
    for aligner, rates in {"a": (0.9, 0.6, 0.3), "b": (0.6, 0.7, 0.6)}.items():
        for seed in range(2):
            named = dict(zip(("many", "some", "few"), rates, strict=True))
            make_run(tmp_path, named, aligner=aligner, groups=groups, seed=seed)
    three = opened.path.with_name("three.html")
    three.write_text(page(tmp_path), encoding="utf-8")
    opened.open(three)
    options = opened.js("[...document.getElementById('up').options].map((o) => o.textContent)")
    assert options[-3:] == ["win rate of many", "win rate of some", "win rate of few"]
    changed(opened, "#up", "win rate of some")
    assert opened.js("document.getElementById('scatter-title').textContent") == "Majority against some, 4:1"
    assert opened.js("[...document.querySelectorAll('#gap .legend li')].map((e) => e.textContent)") == [
        *("many", "some", "fewminority"),
    ]
    assert opened.js("document.querySelectorAll('#gap .point').length") == 6
    assert "some" in opened.js("document.querySelector('.tile').textContent")
    assert opened.troubles() == []

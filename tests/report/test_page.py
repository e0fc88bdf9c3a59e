"""The static page: what it holds, that nothing in it can run, and that it works in a real browser."""

import base64
import html
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from prefbench.cli.entry import app
from prefbench.errors import UserError
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import HISTORY_FILE, write_record
from prefbench.report.figures import CURVES
from prefbench.report.page import (
    PROMPTS,
    TEMPLATE,
    content_security_policy,
    embedded_json,
    escape,
    page,
    write_page,
)
from support.records import make_items, make_record, make_run

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)


class Browser:
    """One page in headless Chromium, driven by its own protocol through a pipe: no port, no network."""

    def __init__(self, profile, path):
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        command = [
            *("bash", "-c", f'exec "$0" "$@" 3<&{down_read} 4>&{up_write}', BROWSER, "--headless=new"),
            *("--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *(
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
                f"--user-data-dir={profile}",
                "about:blank",
            ),
        ]
        self.process = subprocess.Popen(
            command, pass_fds=(down_read, up_write), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        os.close(down_read), os.close(up_write)
        self.down, self.up, self.buffer = down_write, up_read, b""
        self.numbers, self.events, self.session = itertools.count(1), [], None
        targets = self("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self.open(path)

    def __call__(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.down, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def receive(self, seconds=60):
        while b"\0" not in self.buffer:
            assert select.select([self.up], [], [], seconds)[0], "the browser does not answer"
            piece = os.read(self.up, 1 << 20)
            assert piece, "the browser ended"
            self.buffer += piece
        whole, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(whole)

    def open(self, path):
        self.events.clear()
        self("Page.navigate", url=Path(path).absolute().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def js(self, code):
        """The value of an expression, or of the last of several statements."""
        answer = self("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def size(self, width, height=900, phone=False):
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def media(self, media="screen", **features):
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self("Emulation.setEmulatedMedia", media=media, features=features)

    def key(self, name, code, text=""):
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **extra)

    def troubles(self):
        """Whatever the console would show in red, and every address that was asked for."""
        self.js("0")
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"].get("exception", params["exceptionDetails"]))
            if method == "Log.entryAdded":
                found.append(params["entry"])
            if method == "Runtime.consoleAPICalled":
                found.append(params)
            if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("file:"):
                found.append(params["request"]["url"])
        return found

    def screenshot(self, path, whole=True):
        shot = self("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path):
        printed = self("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        Path(path).write_bytes(base64.b64decode(printed["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.down), os.close(self.up)


RATES = {
    "good": {"many": 0.8, "few": 0.75},
    "greedy": {"many": 0.95, "few": 0.2},
    "meek": {"many": 0.55, "few": 0.5},
}
NASTY = "</script><script>alert(1)</script><!--\"'&amp;<img src=x onerror=alert(2)> @@data@@ \U0001f9ea"
ROWS = 3 * 2 + 1  # the last one lacks a seed and is of another task


def histories(folder, names=("reward/0", "reward/1"), steps=8):
    rows = [
        {**{name: i + k for k, name in enumerate(names)}, "kl": i / 2, "tokens": 9.0} for i in range(steps)
    ]
    (folder / HISTORY_FILE).write_text(json.dumps(rows))


def make_board(runs):
    """Three aligners at two ratios over three seeds, one of them saying something nasty, and a lone row."""
    for aligner, rates in RATES.items():
        for ratio in (0.5, 0.2):
            needs = ("user_id",) if aligner == "good" else ()
            for seed in range(3):
                folder = make_run(
                    runs, rates, aligner=aligner, minority_ratio=ratio, seed=seed, needs=needs, samples=2
                )
                if aligner == "good":
                    histories(folder)
                if aligner == "greedy":
                    items = read_items(folder)
                    said = f"{NASTY}\u2028{seed}"
                    items["response"] = items["response"].where(items["response"] == "", said)
                    write_items(items, folder)
    for seed, status in enumerate(("ok", "diverged")):
        items = make_items(RATES["meek"], seed=seed)
        write_record(
            make_record(items, aligner=NASTY, task="other", seed=seed, status=status), runs / f"lone-{seed}"
        )
        write_items(items, runs / f"lone-{seed}")
    return runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_board(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def text(runs):
    return page(runs)


class Reading(HTMLParser):
    """The page as a browser takes it: tags in order, scripts apart, and the table's rows."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.rows, self.inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in ("td", "th") and self.rows:
            self.rows[-1][1].append("")

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.rows and self.rows[-1][1]:
            self.rows[-1][1][-1] += data

    def handle_endtag(self, tag):
        self.inside = None


def embedded(text):
    return json.loads(Reading(text).scripts[0])


# ------------------------------------------------------------------------------------------- contents


def test_every_row_is_there(text):
    rows = Reading(text).rows
    head, body = rows[0][1], rows[1:]
    assert len(body) == ROWS
    assert {attributes["data-aligner"] for attributes, _ in body} == {*RATES, NASTY}
    for attributes, cells in body:
        assert len(cells) == len(head)
        whole = attributes["data-status"] == "complete"
        assert ("unranked" in attributes.get("class", "")) != whole
        assert bool(cells[head.index("rank")]) == whole
    lone = next(cells for attributes, cells in body if attributes["data-aligner"] == NASTY)
    assert lone[head.index("status")] == "diverged"


def test_numbers_are_the_leaderboards(runs, text):
    from prefbench.boards.table import build

    frame = build(runs)
    data = embedded(text)
    cells = [cell for setting in data["settings"] for cell in setting["cells"]]
    found = {cell["v"]["gap"] and cell["v"]["gap"][0] for cell in cells}
    assert found == {None if x != x else x for x in frame["gap"]}
    shown = [cells[5].split()[0] for _, cells in Reading(text).rows[1:] if cells[5]]
    assert shown == [f"{x:.2f}" for x in frame["worst_group_win_rate"].dropna()]


def test_settings_lines_and_curves(text):
    data = embedded(text)
    assert [setting["label"] for setting in data["settings"]] == [
        "other@1, nano, synthetic",
        "toy@1, nano, synthetic",
    ]
    toy = data["settings"][1]
    assert [ratio["label"] for ratio in toy["ratios"]] == ["1:1", "4:1"]
    assert [line["name"] for line in toy["lines"]] == ["good", "greedy", "meek"]
    looks = {(line["c"], line["m"], line["d"]) for line in toy["lines"]}
    assert len(looks) == 3
    curves = [cell["curves"] for cell in toy["cells"] if cell["l"] == 0]
    assert all(set(curve) == set(CURVES) for curve in curves)
    assert curves[0]["KL"]["mean"] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert curves[0]["lowest reward"]["mean"] == list(range(8))
    assert not any(cell["curves"] for cell in toy["cells"] if cell["l"])


def test_reader_has_what_was_said_and_who_won(runs, text):
    toy = embedded(text)["settings"][1]
    assert [shelf["seed"] for shelf in toy["reader"][0]] == [0, 1, 2]
    shelf = toy["reader"][1][2]
    assert (len(shelf["prompts"]), shelf["of"], shelf["samples"]) == (PROMPTS, 60, 2)
    greedy = next(f for f in runs.iterdir() if f.name.startswith("greedy") and _is(f, 0.2, 2))
    items = read_items(greedy)
    won = 0
    for prompt in shelf["prompts"]:
        answer = next(a for a in prompt["answers"] if a["l"] == 1)
        item = items[(items["prompt"] == prompt["text"]) & (items["sample"] == 0)].iloc[0]
        assert answer["text"] == item["response"]
        assert answer["u"] == [item["utility/many"], item["utility/few"]]
        assert answer["o"] == [0.0 if item["empty"] else float(u > 0) for u in answer["u"]]
        won += sum(answer["o"])
    assert won > 0


def _is(folder, ratio, seed):
    spec = json.loads((folder / "record.json").read_text())["spec"]
    return spec["minority_ratio"] == ratio and spec["seed"] == seed


def test_as_many_prompts_as_asked(runs):
    shelves = embedded(page(runs, 3))["settings"][1]["reader"]
    assert {len(shelf["prompts"]) for at in shelves for shelf in at} == {3}
    assert not any(at for setting in embedded(page(runs, 0))["settings"] for at in setting["reader"])
    assert len(embedded(page(runs, 999))["settings"][1]["reader"][0][0]["prompts"]) == 60
    with pytest.raises(UserError, match="give 0 or more"):
        page(runs, -1)


def test_the_same_runs_give_the_same_page(runs, text, tmp_path):
    assert write_page(runs, tmp_path / "new" / "page.html") == len(text.encode())
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == text
    assert len(text) < 400_000


def test_evidence_that_is_gone_leaves_the_rest(tmp_path):
    folder = make_run(tmp_path, RATES["good"], aligner="good")
    make_run(tmp_path, RATES["greedy"], aligner="greedy")
    (folder / "items.parquet").write_bytes(b"PAR1 no parquet PAR1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = page(tmp_path)
    assert any("good" in str(warning.message) for warning in caught)
    setting = embedded(text)["settings"][0]
    names = [line["name"] for line in setting["lines"]]
    answers = setting["reader"][0][0]["prompts"][0]["answers"]
    assert [names[answer["l"]] for answer in answers] == ["greedy"]
    assert len(Reading(text).rows) == 3


@pytest.mark.parametrize(
    "history", ["[", "{}", "[1, 2]", '[{"kl": NaN}]', "[]", "[[]]", '[{"reward/a": "high", "kl": true}]']
)
def test_a_strange_history_is_no_history(tmp_path, history):
    folder = make_run(tmp_path, RATES["good"])
    (folder / HISTORY_FILE).write_text(history)
    assert embedded(page(tmp_path))["settings"][0]["cells"][0]["curves"] == {}


def test_options_tell_lines_and_settings_apart(tmp_path):
    for beta in (0.1, 0.5):
        make_run(tmp_path, RATES["good"], aligner="dpo", aligner_options={"beta": beta})
    make_run(tmp_path, RATES["good"], aligner="dpo", aligner_options={"beta": 0.1}, task_options={"noise": 2})
    settings = embedded(page(tmp_path))["settings"]
    assert {s["label"] for s in settings} == {"toy@1, nano, synthetic", "toy@1, nano, synthetic (noise=2)"}
    two = next(s for s in settings if len(s["lines"]) == 2)
    assert [line["name"] for line in two["lines"]] == ["dpo (beta=0.1)", "dpo (beta=0.5)"]


def test_command_line(runs, tmp_path):
    out = tmp_path / "page.html"
    said = CliRunner().invoke(app, ["report", "--runs-dir", str(runs), "--out", str(out), "--prompts", "2"])
    assert said.exit_code == 0, said.output
    assert "open it in a browser" in said.output
    assert out.stat().st_size > 50_000
    lost = CliRunner().invoke(app, ["report", "--runs-dir", str(tmp_path / "none"), "--out", str(out)])
    assert lost.exit_code == 2


def test_templates_are_installed_with_the_package():
    import tomllib

    root = Path(__file__).parents[2]
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert data["prefbench.report"] == [f"{TEMPLATE.name}/*"]
    assert {file.name for file in TEMPLATE.iterdir()} == {"page.html", "page.css", "page.js"}


# --------------------------------------------------------------------------------- nothing in it can run


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
)
def test_any_text_survives_and_none_breaks_out(value):
    block = embedded_json(value)
    assert not set("<>&\u2028\u2029") & set(block)
    assert block.isascii()
    assert json.loads(block) == value
    escaped = escape(json.dumps(value, ensure_ascii=False))
    assert not set("<>\"'") & set(escaped)
    escaped.encode("utf-8")


@given(st.text())
def test_escaped_text_reads_as_it_was(text):
    shown = "".join(c if c.isprintable() or c in " \n" else "\ufffd" for c in text)
    assert html.unescape(escape(text)) == shown


def test_only_our_script_and_style(text):
    read = Reading(text)
    scripts = [attrs for tag, attrs in read.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not [
        attrs for tag, attrs in read.tags if "style" in attrs or any(a.startswith("on") for a in attrs)
    ]
    for tag, attrs in read.tags:
        assert tag not in ("img", "iframe", "object", "embed", "link", "base", "form"), tag
        assert not attrs.get("src") and attrs.get("href", "#").startswith("#")
    policy = next(attrs["content"] for _, attrs in read.tags if attrs.get("http-equiv"))
    assert "unsafe" not in policy and policy.startswith("default-src 'none'")
    # What only a new hash could allow stays out: the policy names the digest of the very script.
    css, js = ((TEMPLATE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    assert policy == content_security_policy(css, js)
    assert read.scripts[1] == js
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", js)
    assert text.count("@@data@@") > 0  # the nasty text is text, not a placeholder


# ------------------------------------------------------------------------------------- in a real browser

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium: install the package chromium")


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


@needs_browser
def test_it_opens_from_disk_and_draws(browser):
    for figure in ("headline", "scatter", "gap", "kl", "training"):
        assert browser.js(f"document.querySelectorAll('#{figure} svg[role=img] g.series').length") >= 1, (
            figure
        )
    assert browser.js("document.querySelectorAll('#headline g.series path.line').length") == 3
    assert browser.js("document.querySelectorAll('.tile').length") == 2
    assert browser.js("document.querySelector('#groups tbody').rows.length") == 6


@needs_browser
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


@needs_browser
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


@needs_browser
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


@needs_browser
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


@needs_browser
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


@needs_browser
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


@needs_browser
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


@needs_browser
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


@needs_browser
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


@needs_browser
def test_it_prints(browser, tmp_path):
    browser.media("print")
    assert browser.js("getComputedStyle(document.getElementById('controls')).display") == "none"
    assert browser.js("getComputedStyle(document.querySelector('#table .scroll')).overflowX") == "visible"
    browser.media("", prefers_color_scheme="dark")
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")

"""The static page: what it holds, and that nothing in it can run."""

import html
import json
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from prefbench.cli.entry import app
from prefbench.errors import UserError
from prefbench.record.evidence import read_items
from prefbench.record.files import HISTORY_FILE
from prefbench.report.figures import CURVES
from prefbench.report.markup import escape
from prefbench.report.page import (
    PROMPTS,
    SCRIPTS,
    TEMPLATE,
    content_security_policy,
    embedded_json,
    page,
    script,
    style,
    write_page,
)
from support.records import make_run
from support.report_page import NASTY, RATES, ROWS, Reading, embedded

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


def test_ranks_have_their_sets_and_floors_have_none(tmp_path):
    for seed in range(3):
        for aligner, few in (("good", 0.7), ("reference", 0.5), ("poor", 0.1)):
            make_run(tmp_path, {"many": 0.9, "few": few}, n=200, seed=seed, aligner=aligner)
    text = page(tmp_path)
    rows = Reading(text).rows
    head = rows[0][1]
    shown = {attributes["data-aligner"]: cells[head.index("rank")] for attributes, cells in rows[1:]}
    assert shown == {"good": "1 [1, 1]", "reference": "floor", "poor": "2 [2, 2]"}
    cells = {cell["role"]: cell["rank"] for cell in embedded(text)["settings"][0]["cells"]}
    assert cells["floor"] is None and cells["learner"] in ([1, 1, 1], [2, 2, 2])
    assert "compared with. 95% intervals from 3 seeds cover 82% to 96%" in text


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
    assert {file.name for file in TEMPLATE.iterdir()} == {
        *("page.html", "waiting.html", "page.css", "live.js"),
        *(f"{name}.js" for name in SCRIPTS),
    }


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
    css, js = style(), script()
    assert policy == content_security_policy(css, js)
    assert read.scripts[1] == js
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", js)
    assert text.count("@@data@@") > 0  # the nasty text is text, not a placeholder

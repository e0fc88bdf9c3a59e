"""The live display in a notebook: one output that is drawn anew, and what of it remains."""

from __future__ import annotations

import builtins
import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from prefbench.report import live, live_notebook
from prefbench.report.live_notebook import Notebook


class Outputs:
    """Outputs as a notebook keeps them: those of a known id are replaced."""

    def __init__(self):
        self.kept = {}
        self.drawn = []

    def publish(self, data, *, transient, update):
        name = transient["display_id"]
        assert update == (name in self.kept), "drawn anew before it was there, or twice"
        self.kept[name] = data
        self.drawn.append(data["text/html"])

    @property
    def page(self):
        (only,) = self.kept.values()
        return only["text/html"].split("</style>")[1]

    @property
    def text(self):
        (only,) = self.kept.values()
        return only["text/plain"]


@pytest.fixture
def outputs():
    return Outputs()


def a_run(reporter):
    reporter.begin("reference", stored=True)
    reporter.end("reference", 0.0)
    reporter.begin("policy", stored=False)
    reporter.begin("rewards", stored=False)
    reporter.step("rewards", 1, 2, {"loss": 0.7})
    reporter.end("rewards", 0.5)
    reporter.step("policy", 3, 10, {"reward/<b>": 0.25, "kl": 0.1234})
    reporter.note("few labels & <i>")
    reporter.end("never begun", 1.0)


def test_stages_move_and_fold_into_a_line_when_the_run_is_over(outputs, monkeypatch):
    monkeypatch.setattr(live_notebook, "DRAW_SECONDS", 0.0)
    with Notebook(outputs, "seed 3") as notebook:
        assert "seed 3" in outputs.page
        a_run(notebook)
        assert '<progress max="10" value="3"></progress> 3/10' in outputs.page
        assert "<td>reference</td><td>stored</td>" in outputs.page and "details" not in outputs.page
        assert "<td>&emsp;rewards</td><td>0.5 s</td><td>loss 0.7</td>" in outputs.page
        notebook.end("policy", 75.0)
    assert "<details><summary>seed 3: 3 stages in " in outputs.page and "1 of them stored" in outputs.page
    assert "<td>policy</td><td>1:15</td><td>reward/&lt;b&gt; 0.25, KL 0.123</td>" in outputs.page
    assert "<progress" not in outputs.page
    assert "<div>few labels &amp; &lt;i&gt;</div>" in outputs.page.split("</details>")[1]
    first, second = outputs.text.splitlines()
    assert first.startswith("seed 3: 3 stages in ") and second == "few labels & <i>"
    assert not any("<b>" in page or "<script" in page or "http" in page for page in outputs.drawn)


def test_steps_are_drawn_now_and_then(outputs, monkeypatch):
    monkeypatch.setattr(live_notebook, "DRAW_SECONDS", 1e9)
    with Notebook(outputs) as notebook:
        notebook.begin("policy", stored=False)
        before = len(outputs.drawn)
        for step in range(1000):
            notebook.step("policy", step, 1000, {})
        notebook.step("never begun", 1, 2, {})
        assert len(outputs.drawn) == before


def test_a_run_that_stopped_in_a_stage_says_where_and_stays_open(outputs):
    with pytest.raises(KeyboardInterrupt), Notebook(outputs, "seed 0") as notebook:
        a_run(notebook)
        raise KeyboardInterrupt
    assert "seed 0: stopped in policy after " in outputs.page and "<details>" not in outputs.page
    assert "3/10" in outputs.page


def test_the_console_decides(outputs, monkeypatch):
    shell = SimpleNamespace(display_pub=outputs)
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    with live.reporter(False, Console(force_jupyter=True), "seed 1") as reporter:
        a_run(reporter)
    assert "seed 1" in outputs.page
    file = io.StringIO()
    assert not Console(file=file).is_jupyter  # of this shell rich knows that it is no notebook
    with live.reporter(False, Console(file=file), "seed 1") as reporter:
        a_run(reporter)
    assert file.getvalue().startswith("seed 1\nreference: stored\n") and len(outputs.kept) == 1
    with live.reporter(True, Console(force_jupyter=True)) as reporter:
        a_run(reporter)
    assert len(outputs.kept) == 1

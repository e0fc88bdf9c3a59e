"""The judge's page in the documentation: its examples run, and it explains the report."""

import json
import runpy

from support.judge_server import prefers
from support.pages import PAGES, fenced


def test_the_examples_of_the_page_run(server, tmp_path, monkeypatch, capsys):
    """As printed, but for the address. The judge prefers what is longer; the writer repeats its task."""
    examples = fenced("docs/judge.md", "python")
    monkeypatch.chdir(tmp_path)
    server.mind = lambda message: prefers(len)(message) if "RESPONSE A" in message else message
    for example in examples:
        assert "http://127.0.0.1:8000/v1" in example
        script = tmp_path / "example.py"
        script.write_text(example.replace("http://127.0.0.1:8000/v1", server.url))
        runpy.run_path(str(script))
    assert len(examples) == 2
    assert capsys.readouterr().out.startswith("[1.] [0.]")
    labelled = json.loads((tmp_path / "personas" / "rm_training" / "P1A.json").read_text())
    assert all(len(row["completion_a"]) > len(row["completion_b"]) for row in labelled)


def test_the_page_explains_every_figure_of_the_report(make):
    page = PAGES["docs/judge.md"]
    plain = {"name", "model", "criterion", "template"}
    assert [name for name in make().report() if f"`{name}`" not in page and name not in plain] == []

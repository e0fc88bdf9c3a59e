"""Runs that end badly: a record where there can be one, one line, and an exit code that says which it was."""

import errno
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from prefbench.errors import PrefbenchError
from prefbench.record.files import read_record
from support.commands import SMALL_PPO, TASK, Outcome, record_of, tiny_run, typed


def test_a_run_that_diverges_exits_3_with_a_record(runs, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    options = [*SMALL_PPO, "aligner.kl_limit=1e-6"]
    outcome = tiny_run("single_reward", folder, "--json", "--quiet", options=options)
    record = record_of(outcome)
    assert (outcome.code, record["status"], record["groups"]) == (3, "diverged", [])
    jsonschema.validate(record, json.loads(typed("schema").out))
    assert outcome.err.startswith("diverged: the policy is ")
    assert outcome.err.count("\n") == 1
    several = tiny_run("single_reward", folder, "--json", "--seeds", 2, options=options)
    assert several.code == 3
    both = json.loads(several.out)
    assert [record["status"] for record in both["records"]] == ["diverged", "diverged"]
    assert both["summary"]["status"] == "diverged"
    assert both["summary"]["minority_win_rate"] is None


@pytest.mark.parametrize(
    ("raised", "said"),
    [("KeyError('one\\ntwo [bold]')", "KeyError: 'one\\ntwo [bold]'"), ("SystemExit(0)", "SystemExit: 0")],
)
def test_an_aligner_that_raises_leaves_a_failed_record_and_its_trace(runs, tmp_path, raised, said):
    plugin = tmp_path / "clumsy.py"
    plugin.write_text(
        "from prefbench.registry import NoOptions, aligner\n"
        "@aligner('clumsy')\ndef clumsy(view, backbone, options: NoOptions):\n"
        f"    '''Falls.'''\n    raise {raised}\n"
    )
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    outcome = tiny_run("clumsy", folder, "--plugin", plugin)
    assert outcome.code == 3
    assert f"failed: aligner 'clumsy' failed with {said}" in outcome.err
    (trace,) = re.findall(r"^error: (.*)$", outcome.out, re.M)
    assert "in clumsy" in Path(trace).read_text()
    record = read_record(Path(trace).parent)
    assert (record.status, record.groups) == ("failed", ())
    assert "compare with" not in outcome.out


def test_a_full_disk_is_one_line_and_what_is_stored_stays(runs, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        outcome = tiny_run("dpo", folder, "--quiet", options=["aligner.epochs=1"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.code == 3
    said = "the disk is full: free some space and run the same command again; finished stages are intact."
    assert outcome.error == said
    again = tiny_run("dpo", folder, options=["aligner.epochs=1"])
    assert again.code == 0
    assert "labels: stored" in again.err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command continues where it stopped\n"),
        (PrefbenchError("two\nlines \x1b[31m"), 3, "prefbench: error: two lines \\x1b[31m\n"),
        (
            OSError(errno.EIO, "Input/output error", "runs/x"),
            3,
            "prefbench: error: Input/output error: 'runs/x'.\n",
        ),
        (
            MemoryError(),
            3,
            "prefbench: error: out of memory: take a smaller model or a smaller batch "
            "(docs/faq.md#not-enough-memory).\n",
        ),
    ],
)
def test_whatever_ends_a_run_is_one_line(raised, code, said, monkeypatch):
    import prefbench.running.seeds

    def end(*_):
        raise raised

    monkeypatch.setattr(prefbench.running.seeds, "run", end)
    assert typed("run", *TASK) == Outcome(code, "", said)


def test_a_closed_pipe_is_quiet():
    program = [sys.executable, "-m", "prefbench", "schema"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141

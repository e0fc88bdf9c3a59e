"""The display of a run: progress with and without a terminal, the verdict and the table."""

import contextlib
import io
import os
import pty
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from prefbench.errors import PrefbenchError
from prefbench.record.files import read_record
from prefbench.report import live
from prefbench.report.live import Live, Silent
from prefbench.report.tables import render, result_table, verdict


def told(reporter, console_file) -> str:
    reporter.begin("reference", stored=True)
    reporter.end("reference", 0.0)
    reporter.begin("policy", stored=False)
    reporter.begin("rewards", stored=False)
    reporter.step("rewards", 1, 2, {"loss": 0.7})
    reporter.end("rewards", 0.5)
    reporter.step("policy", 3, 10, {"reward/[red]": 0.25, "kl": 0.1234})
    reporter.step("policy", 4, 10, {"reward/[red]": 0.5, "kl": 0.2})
    reporter.note("waiting for [somebody]")
    reporter.end("policy", 75.0)
    reporter.end("never begun", 1.0)
    return console_file.getvalue()


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch):
    file = io.StringIO()
    with live.reporter(False, Console(file=file)) as reporter:
        lines = told(reporter, file).splitlines()
    assert lines == [
        "reference: stored",
        "policy: started",
        "rewards: started",
        "rewards: done in 0.5 s",
        "waiting for [somebody]",
        "policy: done in 1:15",
    ]
    monkeypatch.setattr(live, "PLAIN_SECONDS", 0.0)
    file = io.StringIO()
    with live.reporter(False, Console(file=file)) as reporter:
        text = told(reporter, file)
    assert "policy: 3/10, 0.0 s  reward/[red] 0.25, KL 0.123\n" in text
    assert "about 0.0 s left  reward/[red] 0.5, KL 0.2\n" in text


def test_on_a_terminal_a_finished_stage_keeps_its_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100)
    with live.reporter(False, console) as reporter:
        assert isinstance(reporter, Live)
        told(reporter, file)
    lines = [re.sub(r"\x1b\[\??[0-9;]*[A-Za-z]", "", line).strip() for line in file.getvalue().splitlines()]
    assert "reference     stored" in lines
    assert "rewards     0.5 s  loss 0.7" in lines
    assert "policy        1:15  reward/[red] 0.5, KL 0.2" in lines
    assert any(line.startswith("waiting for [somebody]") for line in lines)


def test_what_goes_on_is_named_before_the_first_stage_and_between_two(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100)
    with live.reporter(False, console, first="preparing [words] and nano") as reporter:
        reporter.view.refresh()
        assert "preparing [words] and nano" in file.getvalue()
        reporter.begin("reference", stored=False)
        reporter.end("reference", 2.0)
        reporter.view.refresh()
        assert file.getvalue().rstrip().endswith("after reference")


def test_what_is_waited_for_is_named_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    seen = []
    for quiet, terminal in ((False, True), (True, True), (False, False)):
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, color_system=None, width=100)
        with live.waiting("loading [libraries]", quiet, console):
            pass
        seen.append(file.getvalue())
    assert "loading [libraries]" in seen[0]
    assert seen[1:] == ["", ""]


def test_on_a_terminal_a_run_says_at_once_what_it_does(tmp_path):
    words = ["run", "--task", "worst_case_two_group", "--aligner", "reference", "--runs-dir", str(tmp_path)]
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm", COLUMNS="100")
        os.execv(sys.executable, [sys.executable, "-m", "prefbench", *words])
    shown = b""
    with contextlib.suppress(OSError):  # the other side of the terminal was closed
        while more := os.read(terminal, 4096):
            shown += more
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    text = shown.decode()
    steps = ["reading tasks and aligners", "loading libraries", "preparing worst_case_two_group and finite"]
    places = [text.index(step) for step in [*steps, "pairs  ", "record: "]]
    assert places == sorted(places)
    assert not re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\s", "", text[: places[0]]).strip("-\\|/")


def test_a_run_that_ended_inside_a_stage_closes_the_view(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100)
    with pytest.raises(PrefbenchError), live.reporter(False, console) as reporter:
        reporter.begin("policy", stored=False)
        raise PrefbenchError("no")
    assert file.getvalue().endswith(("\x1b[?25h", "\x1b[2K"))  # the cursor is shown again


def test_quiet_is_nobody():
    with live.reporter(True, Console()) as reporter:
        assert isinstance(reporter, Silent)


def test_the_verdict_names_the_worst_off_only_if_the_intervals_are_apart(runs):
    record = read_record(Path(re.findall(r"^record: (.*)$", runs[1].out, re.M)[0]))
    many, few = record.groups
    many = many.model_copy(update={"win_rate": 0.8, "ci_low": 0.7, "ci_high": 0.9})
    few = few.model_copy(update={"win_rate": 0.3, "ci_low": 0.2, "ci_high": 0.4})
    apart = record.model_copy(update={"groups": (many, few), "worst_group": few.name})
    assert verdict(apart) == (
        "Worst off: conciseness, the minority, wins 0.30 [0.20, 0.40] of its comparisons with the reference "
        "policy, sentiment wins 0.80 [0.70, 0.90]."
    )
    near = few.model_copy(update={"ci_high": 0.75})
    close = record.model_copy(update={"groups": (many, near), "worst_group": few.name})
    assert verdict(close).startswith("No group is clearly worst off on 50 prompts: ")


def test_a_table_shows_names_as_they_are_and_fits_80_columns(runs):
    record = read_record(Path(re.findall(r"^record: (.*)$", runs[1].out, re.M)[0]))
    odd = record.groups[0].model_copy(update={"name": "[red]\n\x1b[31mfans"})
    changed = record.model_copy(update={"groups": (odd, record.groups[1])})
    text = render(result_table(changed), Console(width=80, file=io.StringIO()))
    assert "[red]" in text
    assert "\\x1b[31" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    for group in record.groups:
        assert f"{group.win_rate:.2f} [{group.ci_low:.2f}, {group.ci_high:.2f}]" in text

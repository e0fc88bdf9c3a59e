"""What a stranger's folder does to commands: it is left out and named, and the others are still served."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefbench import registry
from prefbench.backbone.language import chat_template
from prefbench.backbone.language.codec import Codec
from prefbench.boards import read
from prefbench.boards.csv_file import read_csv, write_csv
from prefbench.boards.gate import gate
from prefbench.boards.submission import submit
from prefbench.boards.table import build
from prefbench.boards.verify import runs_in, verify_board
from prefbench.data.reviews import load_reviews
from prefbench.errors import UserError, says_no_memory
from prefbench.record.evidence import read_items
from prefbench.record.files import find_records
from prefbench.registry import Entry, NoOptions, Options
from prefbench.report import page
from prefbench.report.figures import collect, training_curves
from prefbench.running.policy import _is_environment
from prefbench.spec import read_toml
from prefbench.tools.cache import gc, users
from support.commands import Outcome, typed
from support.files import one_text_in_every_row, outside, pipe, zero
from support.records import make_run
from support.tiny import CHATML, chat_tokenizer

RATES = {"many": 0.8, "few": 0.6}


@pytest.fixture(autouse=True)
def toy_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task and the aligners of fabricated runs are known; of the task a later version than theirs."""
    entries = dict(registry._entries)
    entries["task", "toy"] = Entry("task", "toy", len, Options, 2, backbones=frozenset({"causal_lm"}))
    for name in ("bad", "good"):
        entries["aligner", name] = Entry("aligner", name, len, NoOptions)
    monkeypatch.setattr(registry, "_entries", entries)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, and a leaderboard of both beside them; the tests do something to `bad`."""
    folder = tmp_path / "runs"
    for aligner in ("bad", "good"):
        make_run(folder, RATES, n=20, aligner=aligner)
    write_csv(build(folder), tmp_path / "board.csv")
    return folder


def bad(runs: Path) -> Path:
    return next(runs.glob("bad-*"))


def edit(folder: Path, **changes: Any) -> None:
    """The record with some fields changed, half surrogate pairs as JSON spells them."""
    plain = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**plain, **changes}))


def served(runs: Path) -> list[Outcome]:
    """Every command that reads a runs folder goes on without the bad run; `verify` says no and names it."""
    board, out = runs.parent / "board.csv", runs.parent / "out.csv"
    where = ("--runs-dir", runs)
    outcomes = [
        typed("leaderboard", "build", *where, "--out", out),
        typed("report", *where, "--out", runs.parent / "page.html"),
        typed("cache", "ls", "--runs", *where),
        typed("gate", *where, "--baseline", board),
        typed("leaderboard", "compare", "good", "good", *where),
        typed("leaderboard", "verify", *where),
    ]
    assert [outcome.code for outcome in outcomes] in ([0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 1]), outcomes
    assert "1 of 2 records" in outcomes[-1].out and bad(runs).name in outcomes[-1].out
    assert "good" in set(read_csv(out)["aligner"])
    assert '"good"' in (runs.parent / "page.html").read_text()
    return outcomes


# ------------------------------------------------------------------------------- special files, bombs


@pytest.mark.parametrize("make", [pipe, zero, outside])
def test_a_record_that_is_no_file_hangs_nothing(runs: Path, make: Callable[[Path], None]) -> None:
    (bad(runs) / "record.json").unlink()
    make(bad(runs) / "record.json")
    started = time.monotonic()
    outcomes = served(runs)
    assert time.monotonic() - started < 60
    assert "left out" in outcomes[0].err and bad(runs).name in outcomes[0].err


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", [pipe, zero])
def test_evidence_that_is_no_file_hangs_nothing(runs: Path, make: Callable[[Path], None]) -> None:
    (bad(runs) / "items.parquet").unlink()
    make(bad(runs) / "items.parquet")
    (bad(runs) / "history.json").symlink_to("/dev/zero")
    served(runs)
    _, _, settings = collect(runs)
    assert training_curves(settings[0].cells) == {}


def test_a_bomb_is_named_and_not_lit(runs: Path) -> None:
    table = pa.Table.from_pandas(read_items(bad(runs)), preserve_index=False)
    bomb = one_text_in_every_row(7500)
    filler = {name: pa.array([table[name][0].as_py()] * 7500) for name in table.column_names}
    pq.write_table(
        pa.table({**filler, **{name: bomb[name] for name in bomb.column_names}}),
        bad(runs) / "items.parquet",
        compression="zstd",
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = served(runs)
    assert "512 MiB of content" in outcomes[-1].out
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_sixty_thousand_columns_do_not_abort_verify(runs: Path) -> None:
    items = pa.Table.from_pandas(read_items(bad(runs)), preserve_index=False)
    many = {f"utility/{i}": pa.array([0.0] * len(items)) for i in range(60_000)}
    wide = pa.table({**{name: items[name] for name in items.column_names}, **many})
    pq.write_table(wide, bad(runs) / "items.parquet")
    (wrong,) = (run.wrong for run in verify_board(runs_in(runs)) if run.folder == bad(runs))
    assert "too many columns" in wrong[0]


def test_data_and_settings_that_are_no_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    (tmp_path / "b.toml").symlink_to("/dev/zero")
    for name, said in (("a.toml", "a pipe"), ("b.toml", "a device")):
        with pytest.raises(UserError, match=said):
            read_toml(str(tmp_path / name))
    os.mkfifo(tmp_path / "reviews.csv")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        load_reviews(str(tmp_path / "reviews.csv"), 1)
    (tmp_path / "reviews.jsonl").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        load_reviews(str(tmp_path / "reviews.jsonl"), 1)


# ------------------------------------------------------------------------------------------ tracebacks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task_report": {"\ud800": 1}}, "half a surrogate pair"),
        ({"aligner": "b\udfff"}, "half a surrogate pair"),
        ({"task_report": {"a": json.loads("[" * 70 + "]" * 70)}}, "more than 64 levels"),
    ],
)
def test_a_record_that_no_file_can_take(runs: Path, changes: dict[str, Any], said: str) -> None:
    edit(bad(runs), **changes)
    outcomes = served(runs)
    assert said in outcomes[-1].out
    packed = typed("leaderboard", "submit", bad(runs), "--out", runs.parent / "packed")
    assert packed.code == 2 and said in packed.err and "Traceback" not in packed.err


@pytest.mark.parametrize("options", ["text", 7, [1, 2], True])
def test_options_that_are_no_table(runs: Path, options: object) -> None:
    plain = json.loads((bad(runs) / "record.json").read_text())
    edit(bad(runs), spec={**plain["spec"], "aligner_options": options})
    assert "aligner_options is no table" in served(runs)[-1].out


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("prompt", lambda n: [["a", "list"]] * n, "not simple values"),
        ("response", lambda n: [{"a": 1}] * n, "not simple values"),
        ("prompt_id", lambda n: pa.array([2**63 + i for i in range(n)], pa.uint64()), "cannot be read"),
    ],
)
def test_columns_of_another_kind(runs: Path, name: str, values: Callable[[int], Any], said: str) -> None:
    table = pa.Table.from_pandas(read_items(bad(runs)), preserve_index=False)
    at = table.column_names.index(name)
    changed = table.set_column(at, name, pa.array(values(len(table))))
    pq.write_table(changed, bad(runs) / "items.parquet")
    assert said in served(runs)[-1].out


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_libraries_too_go_on_without_a_bad_run(runs: Path) -> None:
    (bad(runs) / "record.json").write_text("{")
    assert [record.aligner for _, record in find_records(runs)] == ["good"]
    assert '"good"' in page.page(runs) and users(runs) == {}
    assert gate(runs.parent / "board.csv", runs).rows
    with pytest.raises(UserError, match="not JSON"):
        submit([runs], runs.parent / "packed")
    assert not (runs.parent / "packed").exists()


# ------------------------------------------------------------------------------------------- terminals


@pytest.mark.parametrize("fmt", ["table", "markdown", "latex", "html", "csv"])
def test_no_escape_code_of_a_strangers_reaches_the_terminal(runs: Path, fmt: str) -> None:
    board = runs.parent / "board.csv"
    text = board.read_text()
    evil = "\x1b]0;owned\x07\x1b[2J[red]ba\u202ed[/red]\x9b31m"
    board.write_text(text.replace("bad", evil))
    said = typed("leaderboard", "show", board, "--format", fmt).out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)
    flat = "".join(said.split())
    backslash = {"latex": "\\textbackslash{}"}.get(fmt, "\\")
    assert f"{backslash}x1b[2J" in flat and "[red]" in flat and f"{backslash}u202e" in flat


def test_no_escape_code_of_a_records_reaches_the_terminal(runs: Path) -> None:
    evil = "\x1b[31mred\x07\r"
    edit(bad(runs), worst_group=evil)
    for outcome in (*served(runs), typed("leaderboard", "compare", "bad", "good", "--runs-dir", runs)):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", outcome.out + outcome.err)


# ------------------------------------------------------------------------------------------ the machine


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EROFS, "Read-only file system"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (MemoryError(), True),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (IsADirectoryError(errno.EISDIR, "a folder"), False),
        (PermissionError(errno.EACCES, "denied"), False),
        (OSError("no number"), False),
        (ValueError("a mistake"), False),
    ],
)
def test_what_the_machine_does_is_not_the_aligners(error: Exception, machine: bool) -> None:
    assert _is_environment(error) is machine
    try:
        raise RuntimeError("a library says so") from error
    except RuntimeError as wrapped:
        assert _is_environment(wrapped) is machine


@pytest.mark.parametrize(
    ("error", "none_left"),
    [
        (MemoryError(), True),
        (ImportError("a.so: failed to map segment from shared object"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("no module named x"), False),
        (ValueError("out of memory, says a stranger's text"), False),
    ],
)
def test_running_out_of_memory_has_many_words(error: Exception, none_left: bool) -> None:
    assert says_no_memory(error) is none_left


@pytest.mark.parametrize("megabytes", [150, 250, 400])
def test_a_low_address_space_is_one_line(runs: Path, megabytes: int) -> None:
    def lowered() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    words = ["leaderboard", "show", str(runs.parent / "board.csv")]
    done = subprocess.run(
        [sys.executable, "-m", "prefbench", *words],
        preexec_fn=lowered,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode in (0, 3) and "Traceback" not in done.stderr, done.stderr
    if megabytes < 200:
        assert done.returncode == 3 and "out of memory" in done.stderr


# ----------------------------------------------------------------------------------------- chat templates

LOOP = "".join(f"{{% for {name} in range(99999) %}}" for name in "ijk") + "{% endfor %}{% endfor %}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for a template, once its process is there."""
    chat_template.render("", [[]], {})
    monkeypatch.setattr(chat_template, "CALL_SECONDS", 1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("template", "said"),
    [
        (LOOP + "{% endfor %}", "takes too long"),
        (
            "{% if messages[0]['content'] == 'the film' %}" + LOOP + "{% endfor %}{% endif %}x",
            "takes too long",
        ),
        (
            "{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}" + "{% set ns.x = ns.x ~ ns.x %}" * 40,
            "(memory|Mem|too long)",
        ),
        ("{{ 'x' * 10000000000 }}", "(memory|Mem|too long)"),
        ("{{ messages[0].content.__class__.__mro__ }}", "unsafe"),
        ("", "makes nothing of a prompt"),
        ("{# nothing #}", "makes nothing of a prompt"),
    ],
)
def test_a_template_that_never_ends_ends(template: str, said: str) -> None:
    codec = Codec(chat_tokenizer(CHATML), frozenset({0}), 6, 100, chat=True)
    codec.tokenizer.chat_template = template
    started = time.monotonic()
    with pytest.raises(UserError, match=said) as error:
        codec.prompts(["the film"])
    assert "model.chat_template=none" in str(error.value) and time.monotonic() - started < 20
    codec.tokenizer.chat_template = CHATML
    assert codec.prompts(["the film"])[0]  # the next one is served as ever


def test_templates_are_rendered_as_transformers_does() -> None:
    tokenizer = chat_tokenizer(CHATML)
    chats = [[{"role": "user", "content": text}] for text in ("hello", "\u00e9\u4e2d\U0001f600\n", "")]
    for open_end in (True, False):
        expected = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=open_end)
        assert expected == chat_template.render(
            CHATML, chats, tokenizer.special_tokens_map, open_end=open_end
        )
    dated = "{{ strftime_now('%Y') }}{{ messages | tojson }}{{ bos_token }}"
    tokenizer.chat_template = dated
    assert tokenizer.apply_chat_template(chats, tokenize=False) == chat_template.render(
        dated, chats, tokenizer.special_tokens_map, open_end=False
    )


# ------------------------------------------------------------------------------------------------ crashes


def test_a_crash_is_exit_3_and_its_trace_is_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise ZeroDivisionError("ours\nindeed \x1b[31m")

    monkeypatch.setattr(read, "read_csv", crash)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = typed("leaderboard", "show", "x.csv")
    assert outcome.code == 3 and outcome.err.count("\n") == 1 and "\x1b" not in outcome.err
    assert "a mistake in prefbench" in outcome.err and "ZeroDivisionError: ours indeed" in outcome.err
    (file,) = tmp_path.iterdir()
    assert str(file) in outcome.err and "Traceback" in file.read_text() and "in crash" in file.read_text()


def test_a_crash_on_a_full_disk_is_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(read, "read_csv", crash)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    outcome = typed("leaderboard", "show", "x.csv")
    assert outcome.code == 3 and "Traceback" in outcome.err and "its trace is above" in outcome.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (UserError("x"), 2), (OSError(errno.EIO, "x"), 3), (MemoryError(), 3)],
)
def test_other_ends_keep_their_codes(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def raised(*args: object) -> None:
        raise error

    monkeypatch.setattr(read, "read_csv", raised)
    outcome = typed("leaderboard", "show", "x.csv")
    assert outcome.code == code and "Traceback" not in outcome.err
    assert typed("leaderboard", "show", "x.csv", "--format", "nonsense").code == 2


# ------------------------------------------------------------------------------------------ other people's


def test_check_takes_no_library_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefbench.tools.check.check import check, find

    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')\n")
    monkeypatch.chdir(tmp_path)
    (entry,), _ = find("bandit_two_group")
    findings = {finding.words: finding for finding in check(entry)}
    fresh = findings["a fresh process builds the same problem"]
    assert fresh.status == "passed", fresh.detail


def test_gc_removes_nothing_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "kind" / "abc.partial").mkdir(parents=True)
    old = elsewhere / ".old.tmp"
    for path in (old, elsewhere / "kind" / ".old.tmp"):
        path.touch()
        os.utime(path, (0, 0))
    kept = sorted(elsewhere.rglob("*"))
    runs = tmp_path / "runs"
    (runs / "stages" / "policy").mkdir(parents=True)
    (runs / "a").symlink_to(elsewhere)
    (runs / "stages" / "linked").symlink_to(elsewhere / "kind")
    (runs / "stages" / "policy" / "0a.partial").mkdir()
    (runs / "stages" / "policy" / "0a.lock").symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic links"):
        gc(runs, older_than=0.0)
    (runs / "stages" / "policy" / "0a.lock").unlink()
    assert gc(runs).removed == ["stages/policy/0a.partial"]
    assert sorted(elsewhere.rglob("*")) == kept and not (tmp_path / "made").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "stages").symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link, and nothing is removed through one"):
        gc(other)
    assert sorted(elsewhere.rglob("*")) == kept

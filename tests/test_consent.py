"""What a file may not do: run code, send texts off this machine, or choose whose key goes where."""

import json
import socket
from pathlib import Path

import pytest

from prefbench import consent
from prefbench.chat.server import Server
from prefbench.errors import UserError
from prefbench.record.files import read_record
from prefbench.record.verify import verify
from prefbench.running.run import run
from prefbench.spec import RunSpec, make_spec
from prefbench.sweep.cell import Outcome
from prefbench.sweep.ray_cluster import _remote_cell
from support.commands import typed
from support.judge_server import MODEL, prefers, serving

pytestmark = pytest.mark.usefixtures("restored")

VARIABLE = "PREFBENCH_TEST_KEY"
KEY = "sk-secret-0123456789abcdef"
FAR = "https://judge.example/v1"
SMALL = {
    "annotators": 4,
    "pairs_per_annotator": 4,
    "test_prompts": 10,
    "response_tokens": 6,
    "synthetic_size": 100,
    "utility": "llm_judge",
    "judge_model": MODEL,
}
TINY = {"steps": 5, "width": 16, "layers": 1, "heads": 2}
PLUGIN = """
from pathlib import Path
from prefbench.registry import aligner, NoOptions
Path("it_ran").touch()
@aligner("from_a_file")
def from_a_file(view, backbone, options: NoOptions):
    '''The reference.'''
    return backbone.reference
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder of its own, a key in the environment, and no way to any other machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("PREFBENCH_CONFIG", str(tmp_path / "mine"))
    look_up = socket.getaddrinfo

    def on_this_machine(host, *args, **more):
        assert host in ("127.0.0.1", "localhost", None), f"{host} was looked up"
        return look_up(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", on_this_machine)
    return tmp_path


def tables(**options: object) -> str:
    """`[set.task]` of a small judged run, and a small model."""
    shown = {"task": SMALL | options, "model": TINY}
    return "".join(
        f"[set.{section}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        for section, values in shown.items()
    )


def judged(name: str = "run.toml", head: str = "", **options: object) -> str:
    """A run or sweep file of a judged task."""
    Path(name).write_text(f'task = "tulu_style"\naligner = "shortest"\n{head}{tables(**options)}')
    return name


def written_config(text: str) -> None:
    consent.config_path().parent.mkdir(exist_ok=True)
    consent.config_path().write_text(text)


# ------------------------------------------------------------------------------------------- keys and hosts


@pytest.mark.parametrize("command", ["run", "sweep"])
@pytest.mark.parametrize(
    ("option", "line"),
    [
        (
            {"judge_url": FAR},
            "task.judge_url = 'https://judge.example/v1' is not on this machine: say --allow-host",
        ),
        (
            {"writer_url": "http://10.0.0.5/v1"},
            "task.writer_url = 'http://10.0.0.5/v1' is not on this machine",
        ),
        ({"judge_key_env": VARIABLE}, "option task.judge_key_env: no file and no specification says"),
        ({"writer_key_env": VARIABLE}, "option task.writer_key_env: no file and no specification says"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_file_chooses_neither_a_server_nor_a_key(command, option, line):
    file = judged(**option)
    outcome = typed("run", "--config", file) if command == "run" else typed("sweep", file)
    assert outcome.code == 2 and line in outcome.error and "--allow-host" in outcome.error
    assert not Path("runs").exists()


def test_a_key_that_is_typed_goes_to_the_judge_and_into_no_record():
    with serving(prefers(len)) as server:
        file = judged(judge_url=server.url)
        words = ["run", "--config", file, "--set", f"task.judge_key_env={VARIABLE}"]
        outcome = typed(*words)
        assert outcome.code == 0, outcome.err
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    place = consent.place_of(server.url)
    said = outcome.err.index(f"prompts and responses are sent to {place}, with the key in {VARIABLE}")
    assert said < outcome.err.index("labels")
    assert f"--allow-host {place}={VARIABLE}" in outcome.out, "the command to compare with needs the key, too"
    (written,) = Path("runs").glob("*/record.json")
    assert KEY not in written.read_text() and VARIABLE not in written.read_text()
    spec = make_spec(
        task="tulu_style", aligner="shortest", sets={"task": SMALL | {"judge_url": server.url}, "model": TINY}
    )
    assert read_record(written.parent).spec_hash == spec.hash, "whoever has no key has the same run"


def test_a_key_that_is_typed_reaches_the_judge_of_an_export_and_of_a_check():
    chosen = {f"task.{name}": value for name, value in SMALL.items()} | {
        f"model.{name}": value for name, value in TINY.items()
    }
    words = [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]
    with serving(prefers(len)) as server:
        words += ["--set", f"task.judge_url={server.url}", "--set", f"task.judge_key_env={VARIABLE}"]
        outcome = typed("export", "--task", "tulu_style", "--out", "data", *words)
        assert outcome.code == 0, outcome.err
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    outcome = typed("check", "tulu_style", "--set", f"task.jugde_key_env={VARIABLE}")
    assert outcome.code == 2
    assert "unknown option task.jugde_key_env. Did you mean 'judge_key_env'?" in outcome.error


def test_the_workers_of_a_sweep_are_told_on_the_command_line():
    with serving(prefers(len)) as server:
        file = judged(judge_url=server.url)
        place = consent.place_of(server.url)
        outcome = typed("sweep", file, "--allow-host", f"{place}={VARIABLE}", "--workers", 1)
        assert outcome.code == 0, outcome.err
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert f"sent to {place}, with the key in {VARIABLE}" in outcome.err
    assert not any(VARIABLE in path.read_text() for path in Path("runs").glob("*/record.json"))


def test_the_workers_of_a_cluster_are_told_too(monkeypatch):
    told = []

    def cell(*_):
        told.append(consent.typed())
        return Outcome("ok")

    monkeypatch.setattr("prefbench.sweep.ray_cluster.run_cell", cell)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    spec = make_spec(task="bandit_two_group", aligner="dpo")
    assert _remote_cell(spec.to_dict(), "runs", [], {"judge.example": VARIABLE}, 1, True)["status"] == "ok"
    assert told == [{"judge.example": VARIABLE}]


def test_what_is_typed_or_in_ones_own_configuration_is_allowed():
    options = {
        "task": {"judge_url": FAR, "writer_url": "http://127.0.0.1:8000/v1", "judge_model": "https://m"}
    }
    for allow in (
        lambda: consent.from_command_line(["judge.example"], {}),
        lambda: consent.from_command_line(["JUDGE.example=" + VARIABLE], {}),
        lambda: consent.from_command_line([], {"task": {"judge_url": FAR}}),
        lambda: written_config(f'[hosts]\n"judge.example" = "{VARIABLE}"\n'),
    ):
        with pytest.raises(UserError, match=r"--allow-host judge\.example, or"):
            consent.check_options(options)
        allow()
        consent.check_options(options)
        with pytest.raises(UserError, match=r"--allow-host judge\.example:8443, or"):
            consent.check_options({"task": {"judge_url": "https://judge.example:8443/v1"}})
        consent.allow({})
    typed_only = consent.from_command_line([], {"task": {"judge_url": FAR}})
    assert typed_only == {} and consent.variable_of(FAR, "it") == VARIABLE, (
        "the address alone, the key as always"
    )


def test_a_key_that_is_typed_goes_nowhere_that_a_file_chose():
    outcome = typed("run", "--config", judged(judge_url=FAR), "--set", f"task.judge_key_env={VARIABLE}")
    assert outcome.code == 2 and "--allow-host judge.example" in outcome.error
    keys = consent.from_command_line([], {"task": {"judge_key_env": VARIABLE}})
    with pytest.raises(UserError, match="not on this machine"):
        consent.give_keys(keys, {"task": {"judge_key_env": None, "judge_url": FAR}})
    with pytest.raises(UserError, match=r"unknown option task\.judge_key_env"):
        consent.give_keys(keys, {"task": {}})
    with pytest.raises(UserError, match="no address"):
        consent.give_keys(keys, {"task": {"judge_key_env": None}})


def test_no_key_is_sent_in_the_clear(tmp_path):
    consent.allow({"10.0.0.5:8000": VARIABLE})
    server = Server("http://10.0.0.5:8000/v1", "m", tmp_path)
    with pytest.raises(UserError, match="is sent no key, as anybody on the way could read it"):
        server.check()
    with pytest.raises(UserError, match="is sent no key"):
        Server("http://10.0.0.5:8000/v1", "m", tmp_path, api_key_env=VARIABLE).check()


@pytest.mark.parametrize(
    ("command", "typed_as"), [("run", "--allow-host"), ("run", "--set"), ("sweep", "--allow-host")]
)
def test_a_key_that_would_go_in_the_clear_is_refused_before_anything_is_computed(folder, command, typed_as):
    far = "http://judge.example/v1"
    file = folder / "file.toml"
    lines = ["[set.task]", 'utility = "llm_judge"', 'judge_model = "m"', f'judge_url = "{far}"']
    seeds = ["seeds = 1"] if command == "sweep" else []
    file.write_text("\n".join(['task = "tulu_style"', 'aligner = "longest"', *seeds, *lines]))
    words = [command, *(["--config"] if command == "run" else []), file, "--runs-dir", folder / "runs"]
    key = ["--set", f"task.judge_key_env={VARIABLE}", "--allow-host", "judge.example"]
    outcome = typed(*words, *(key if typed_as == "--set" else [typed_as, f"judge.example={VARIABLE}"]))
    assert outcome.code == 2 and "is sent no key, as anybody on the way could read it" in outcome.error
    assert not (folder / "runs").exists()


def test_a_record_of_an_older_version_is_read_and_its_key_is_not():
    with serving(prefers(len)) as server:
        spec = make_spec(
            task="tulu_style",
            aligner="shortest",
            sets={"task": SMALL | {"judge_url": server.url}, "model": TINY},
        )
        old = spec.to_dict()
        old["task_options"]["judge_key_env"] = VARIABLE
        del old["task_options"]["judge_timeout"]
        again = RunSpec(**old)
        folder, record = run(again, Path("runs"))
        assert (
            record.status == "ok"
            and verify(folder) == []
            and record.spec["task_options"] == old["task_options"]
        )
        assert not any("authorization" in request.headers for request in server.requests)
    old["task_options"]["judge_url"] = FAR
    with pytest.raises(UserError, match="not on this machine"):
        run(RunSpec(**old), Path("elsewhere"))


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ("https://judge.example", "that is no host"),
        ("judge.example/v1", "that is no host"),
        ("judge.example:99999", "that is no host"),
        ("", "that is no host"),
        (f"judge.example={KEY}", "never the key"),
    ],
)
def test_a_host_that_is_none_and_a_key_for_its_name(item, line):
    outcome = typed("run", "--allow-host", item, "--task", "tulu_style", "--aligner", "dpo")
    assert outcome.code == 2 and line in outcome.error and KEY not in outcome.err


def test_two_keys_for_one_host_are_refused():
    with pytest.raises(UserError, match="cannot both hold its key"):
        consent.from_command_line(["judge.example=ONE", "judge.example=TWO"], {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hosts = 3", "a table [hosts]"),
        ("[host]", "a table [hosts]"),
        ("[", "TOML"),
        ("[hosts]\na = 3", "in capitals"),
    ],
)
def test_a_configuration_that_is_wrong_is_one_line(text, line):
    written_config(text)
    outcome = typed("run", "--config", judged(judge_url=FAR))
    assert outcome.code == 2 and line in outcome.error


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Judge.Example/v1", "judge.example"),
        ("https://judge.example:443/v1", "judge.example"),
        ("http://judge.example:443/v1", "judge.example:443"),
        ("http://[fe80::1]:8000/v1", "[fe80::1]:8000"),
    ],
)
def test_places(url, place):
    assert consent.place_of(url) == place
    consent.allow({place: None})
    assert consent.variable_of(url, "it") is None


# ------------------------------------------------------------------------------------------------- plug-ins

WORLD = 'task = "bandit_two_group"\n'
QUICK = "[set.task]\ntest_prompts = 20\npairs_per_annotator = 5\n"


def commands(aligner: str) -> list[list[str]]:
    """A run and a sweep from files that name a plug-in."""
    Path("mine.py").write_text(PLUGIN)
    Path("file.toml").write_text(f'{WORLD}aligner = "{aligner}"\nplugin = ["mine.py"]\n{QUICK}')
    return [["run", "--config", "file.toml"], ["sweep", "file.toml", "--workers", "1"]]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("which", [0, 1], ids=["run", "sweep"])
def test_a_file_runs_no_code_unless_it_is_allowed_to(which):
    words = commands("from_a_file")[which]
    outcome = typed(*words)
    assert outcome.code == 2 and "file.toml names plug-ins (mine.py)" in outcome.error
    assert "--allow-plugins" in outcome.error and not Path("it_ran").exists() and not Path("runs").exists()
    outcome = typed(*words, "--allow-plugins")
    assert outcome.code == 0 and Path("it_ran").exists(), outcome.err


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("which", [0, 1], ids=["run", "sweep"])
def test_a_plugin_that_is_typed_needs_no_other_word(which):
    outcome = typed(*commands("from_a_file")[which], "--plugin", "./mine.py")
    assert outcome.code == 0 and Path("it_ran").exists(), outcome.err


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("which", [0, 1], ids=["run", "sweep"])
@pytest.mark.parametrize("more", [[], ["--allow-plugins"]], ids=["plain", "allowed"])
def test_a_dry_run_runs_no_code_of_a_file(which, more):
    outcome = typed(*commands("from_a_file")[which], "--dry-run", *more)
    assert outcome.code == 2 and "unknown aligner 'from_a_file'" in outcome.error
    assert "--dry-run does not run the plug-ins that the file names (mine.py)" in outcome.error
    outcome = typed(*commands("dpo")[which], "--dry-run", *more)
    assert (
        outcome.code == 0
        and "--dry-run does not run the plug-ins that the file names: mine.py" in outcome.err
    )
    assert not Path("it_ran").exists()
    outcome = typed(*commands("from_a_file")[which], "--dry-run", "--plugin", "mine.py")
    assert outcome.code == 0 and Path("it_ran").exists(), outcome.err

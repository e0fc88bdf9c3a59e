"""Runs computed anew: which are, how each is compared, and that a record decides neither time nor network."""

import shutil
import socket

import pytest
from typer.testing import CliRunner

from prefbench import registry
from prefbench.boards.submission import submit
from prefbench.boards.verify import verify_board
from prefbench.cli.entry import app
from prefbench.numerics import NUMERICS
from prefbench.record.evidence import read_items
from prefbench.record.files import read_record, write_record
from prefbench.running.run import run
from prefbench.spec import digest, make_spec, parse_sets
from prefbench.tools.rerun import _machine, _why_other_texts, draw, rerun
from prefbench.tools.rerun_limits import why_not_run
from support.forging import LIVELY, forge, saying
from support.tiny import TINY_SETS


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A packed run of a language model."""
    runs, out = (tmp_path_factory.mktemp(name) for name in ("runs", "packed"))
    sets = parse_sets([*TINY_SETS, *LIVELY, "aligner.epochs=1"])
    spec = make_spec(task="imdb_two_group", aligner="dpo", sets=sets)
    (folder,) = submit([run(spec, runs)[0]], out)
    return folder


def asking(source, into, **sections):
    """A copy of a run that says it was made with other options, or on another model."""
    folder = shutil.copytree(source, into / source.name)
    record = read_record(folder)
    spec = {**record.spec, **{name: value for name, value in sections.items() if name == "model"}}
    for name, options in sections.items():
        if name != "model":
            spec[name] = {**spec[name], **options}
    new = {"spec": spec, "spec_hash": digest(spec)[:16], "model": spec["model"]}
    write_record(record.model_copy(update=new), folder)
    return folder


def compared(folder):
    (found,) = rerun(verify_board([folder]))
    return found


# ------------------------------------------------------------------------------- how much is computed


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"model_options": {"steps": 10**7}}, "model.steps=10000000 is more than 10 times"),
        ({"aligner_options": {"epochs": 10**6}}, "aligner.epochs=1000000 is more than 10 times"),
        ({"model_options": {"steps": 5000, "batch": 640, "width": 640}}, "FLOPs, more than 10 default runs"),
    ],
    ids=["steps", "epochs", "each within its bound"],
)
def test_a_record_does_not_decide_how_long_is_computed(packed, tmp_path, monkeypatch, sections, said):
    folder = asking(packed, tmp_path / "runs", **sections)
    words = ["leaderboard", "verify", "--runs-dir", str(tmp_path / "runs"), "--rerun", "1"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 1  # what was asked for has decided nothing
    assert f"  {folder.name}: not computed: " in found.output and said in found.output
    assert "0 of 0 runs are the same computed anew" in found.output
    checked = verify_board([folder])
    assert draw(checked, 1, seed=0, large=True)[0] == checked
    another = verify_board([packed])
    drawn, passed = draw([*checked, *another], 1, seed=0)
    assert drawn == another and len(passed) <= 1  # a run that is passed over takes no honest one's place


def test_options_within_their_bounds_are_computed(packed):
    for spec in (
        make_spec(task="imdb_two_group", aligner="maxmin"),
        make_spec(task="bandit_two_group", aligner="dpo", sets=parse_sets(["model.optimiser=ppo"])),
    ):
        record = read_record(packed).model_copy(
            update={
                "spec": spec.to_dict(),
                "task": spec.task,
                "task_version": registry.get("task", spec.task).version,
                "aligner": spec.aligner,
                "model": spec.model,
            }
        )
        assert why_not_run(record, fetch=False, large=False) is None


@pytest.mark.parametrize("model", ["gpt2", "tulu2-7b", "somebody/large"])
def test_nothing_is_fetched_without_being_asked_for(packed, tmp_path, monkeypatch, model):
    asked = make_spec(task="imdb_two_group", aligner="dpo", model=model)
    folder = asking(packed, tmp_path, model=model)
    record = read_record(folder)
    spec = {**record.spec, "model_options": asked.model_options}
    changed = {"spec": spec, "spec_hash": digest(spec)[:16], "defaults": asked.defaults()}
    write_record(record.model_copy(update=changed), folder)

    def refuse(*address, **options):
        raise AssertionError(f"it connects to {address}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    drawn, (passed,) = draw(verify_board([folder]), 1, seed=0)
    assert drawn == [] and "is to be fetched: say --fetch if you trust it" in passed.said
    assert why_not_run(read_record(folder), fetch=True, large=True) is None


def test_an_option_that_turns_out_to_name_a_model_fetches_none(packed, tmp_path, monkeypatch):
    """A hub id without a slash looks like any other word."""
    folder = asking(packed, tmp_path, task_options={"sentiment": "distilbert-base-uncased"})

    def refuse(*address, **options):
        raise AssertionError(f"it connects to {address}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (found,) = verify_board([folder])
    assert found.wrong == []
    assert found.unchecked == [
        "problem and utilities: it needs something from the hub: say --fetch if you trust it"
    ]
    drawn, (passed,) = draw([found], 1, seed=0)
    assert drawn == [] and passed.how is None


# ------------------------------------------------------------------------------- how it is compared


@pytest.mark.parametrize("code", ["0" * 16, None], ids=["another", "none"])
def test_texts_are_compared_whatever_code_a_record_says(packed, tmp_path, code):
    honest = forge(packed, tmp_path / "honest", code=code)
    forged = forge(packed, tmp_path / "forged", saying(packed, ["lovely"] * 120), code=code)
    good, bad = compared(honest), compared(forged)
    assert good.how == bad.how == "texts"
    assert good.wrong == () and "120 of 120 responses are not what the code says" in bad.wrong


def test_a_record_without_numerics_or_with_others_is_compared_by_its_figures(packed, tmp_path):
    for numerics, said in (
        (None, "before numerics were counted"),
        (NUMERICS - 1, f"numerics {NUMERICS - 1}"),
    ):
        place = tmp_path / str(numerics)
        honest = forge(packed, place / "honest", numerics=numerics)
        forged = forge(packed, place / "forged", saying(packed, ["lovely"] * 120), numerics=numerics)
        good, bad = compared(honest), compared(forged)
        assert good.how == bad.how == "figures" and said in good.said
        assert good.wrong == () and any("win rate of" in each for each in bad.wrong)
    found = CliRunner().invoke(
        app, ["leaderboard", "verify", "--runs-dir", str(honest.parent), "--rerun", "1"]
    )
    assert "shards" not in found.output  # no bar of a library's
    assert "1 of 1 runs are the same computed anew: 0 compared text by text, 1 by figures" in found.output


def test_hardware_is_believed_only_where_the_reference_was_not_trained(packed):
    record = read_record(packed)
    items = read_items(packed)
    elsewhere = record.model_copy(
        update={"provenance": record.provenance.model_copy(update={"hardware": "arm64"})}
    )
    assert _why_other_texts(elsewhere, record, items, items) is None
    other = items.assign(reference_response=["another"] * len(items))
    assert "not those drawn here" in str(_why_other_texts(record, record, other, items))
    untrained = {**record.spec, "model_options": {**record.spec["model_options"], "steps": 0}}
    as_it_is = record.model_copy(update={"spec": untrained})
    assert _why_other_texts(record, as_it_is, items, items) is None
    assert "arm64" in str(_why_other_texts(elsewhere, as_it_is, items, items))
    detailed = record.provenance.model_copy(update={"hardware": "AMD EPYC 7B13 x86", "torch": "2.13.0+cpu"})
    packed_too = record.provenance.model_copy(update={"hardware": "x86_64", "torch": "2.13.0"})
    machines = [_machine(record.model_copy(update={"provenance": each})) for each in (detailed, packed_too)]
    assert machines[0] == machines[1]


def test_a_world_is_compared_text_by_text_whatever_hardware_is_said(tmp_path):
    folder, record = run(make_spec(task="bandit_two_group", aligner="dpo"), tmp_path)
    made = record.provenance.model_copy(update={"hardware": "arm64", "torch": "1.0"})
    write_record(record.model_copy(update={"provenance": made}), folder)
    found = compared(folder)
    assert (found.how, found.wrong) == ("texts", ())

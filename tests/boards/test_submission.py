"""Results that change hands: verified, packed without a trace of the machine, merged; strangers' files."""

import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefbench import registry
from prefbench.boards.columns import REGRETS
from prefbench.boards.csv_file import read_csv, to_csv, write_csv
from prefbench.boards.rows import load_rows
from prefbench.boards.show import show
from prefbench.boards.submission import merge, submit
from prefbench.boards.table import build, missing_controls
from prefbench.boards.verify import runs_in, verify_board
from prefbench.boards.verify_csv import verify_csv
from prefbench.errors import UserError
from prefbench.record.anonymous import anonymous
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import find_records, read_record, write_record
from prefbench.registry import Entry, NoOptions, Options
from support.records import make_items, make_record, make_run

RATES = {"many": 0.8, "few": 0.6}
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


class ToyOptions(Options):
    corpus: str = ""
    size: int = 1
    hub: str = ""


@pytest.fixture(autouse=True)
def toy_task(monkeypatch):
    """The task and the aligners of fabricated runs are known; of the task a later version than theirs."""
    entries = dict(registry._entries)
    entries["task", "toy"] = Entry("task", "toy", len, ToyOptions, 2, backbones=frozenset({"causal_lm"}))
    for name in ("plain", "a", "b", "better"):
        entries["aligner", name] = Entry("aligner", name, len, NoOptions)
    monkeypatch.setattr(registry, "_entries", entries)


def verify_runs(runs):
    return {run.folder: run.wrong for run in verify_board(runs_in(runs))}


def verify_run(folder):
    (run,) = verify_board([folder])
    return run.wrong


def edit(folder, **changes):
    plain = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**plain, **changes}))


# ----------------------------------------------------------------------------------------- verifying


def test_a_good_run_verifies(tmp_path):
    (run,) = verify_board([make_run(tmp_path, RATES)])
    assert (run.wrong, run.odd, run.absent) == ([], [], False)
    assert run.unchecked == ["problem and utilities: toy@1 is not here, this is @2"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda items: items.assign(words=9), "words is not the number of words"),
        (lambda items: items.assign(reference_words=9), "reference_words is not"),
        (lambda items: items.assign(empty=~items["empty"]), "empty does not fit"),
        (lambda items: items.assign(**{"utility/rare": 1.0}), "the record lacks that group"),
        (lambda items: items.assign(**{"utility/few": -items["utility/few"]}), "few.wins is"),
        (lambda items: items[items["prompt_id"] > 0], "n_prompts is 60, the items give 59"),
        (lambda items: items.assign(**{"utility/few": np.nan}), "not a finite number"),
        (lambda items: items.drop(columns="utility/few"), "no column 'utility/few'"),
        (lambda items: pd.concat([items, items.head(1)]), "lacks some of samples"),
        (lambda items: items.assign(response=7), "cannot be evaluated"),
    ],
)
def test_edited_items_are_found(tmp_path, change, said):
    folder = make_run(tmp_path, RATES)
    write_items(change(read_items(folder)), folder)
    (wrong,) = verify_runs(tmp_path).values()
    assert any(said in sentence for sentence in wrong), wrong


def test_edited_records_are_found(tmp_path):
    for changes, said in [
        ({"mean_win_rate": 0.5}, "mean_win_rate is 0.5"),
        ({"task_version": 7}, "toy@7 is unknown, the newest here is 2"),
        ({"spec_hash": "0123456789abcdef"}, "spec_hash is"),
        ({"kl": float("nan")}, "no JSON number"),
    ]:
        folder = make_run(tmp_path, RATES)
        edit(folder, **changes)
        (wrong,) = verify_runs(tmp_path).values()
        assert any(said in sentence for sentence in wrong), wrong
    assert "needs is nothing, maxmin needs user_id" in verify_run(
        make_run(tmp_path / "b", RATES, aligner="maxmin")
    )
    with pytest.raises(UserError, match="no record"):
        verify_runs(tmp_path / "none")


def test_what_is_not_here_is_not_checked_and_not_called_forged(tmp_path):
    """Known only with --plugin; verify counts it apart, and nobody merges what nobody could check."""
    runs = [
        make_run(tmp_path / "a", RATES, task="alien"),
        make_run(tmp_path / "b", RATES, aligner="alien"),
        make_run(tmp_path / "c", RATES, model="alien", model_options={"tentacles": 8}),
    ]
    found = verify_board(runs)
    assert [run.wrong for run in found] == [[], [], []]
    for run, kind in zip(found, ("task", "aligner", "model"), strict=True):
        assert f"{kind} 'alien' is not here, name it with --plugin" in run.unchecked
    assert [run.absent for run in found] == [True, True, False]
    for folder in runs[:2]:
        with pytest.raises(UserError, match=r"cannot be checked: .* name it with --plugin"):
            submit([folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_csv_follows_from_its_runs(tmp_path):
    runs, csv = tmp_path / "runs", tmp_path / "results.csv"
    for aligner in ("a", "b"):
        for seed in (0, 1):
            make_run(runs, RATES, aligner=aligner, seed=seed, items_seed=seed)
    write_csv(build(runs), csv)
    make_run(runs, RATES, aligner="a", seed=2)  # what the file does not name changes nothing in it
    make_run(runs, {"many": 1.0, "few": 1.0}, aligner="better", seed=0)
    assert list(verify_csv(csv, runs).values()) == [[], []]
    old = [line.split(",") for line in csv.read_text().splitlines()]
    (tmp_path / "old.csv").write_text("\n".join(",".join(cells[: -len(REGRETS)]) for cells in old))
    assert list(verify_csv(tmp_path / "old.csv", runs).values()) == [[], []]
    frame = read_csv(csv)
    frame.loc[0, "kl"] += 0.001
    frame.loc[1, "config_hash"] = "abcdef123456"
    write_csv(frame, csv)
    first, second = verify_csv(csv, runs).values()
    assert any("kl is 0.501, the runs give 0.5" in said for said in first) and "no run of it" in second[0]


# ----------------------------------------------------------------------------------------- packing


def test_packing_leaves_no_trace_of_the_machine(tmp_path):
    data = tmp_path / "my data"
    data.mkdir()
    (data / "part.txt").write_text("texts")
    folder = make_run(
        tmp_path / "runs",
        RATES,
        data=str(data),
        model="/srv/models/Big-7B/",
        task_options={"corpus": "~/corpora/reviews.parquet", "size": 5, "hub": "owner/name"},
        defaults={"task": {"corpus": "~/corpora/reviews.parquet", "size": 5}},
    )
    edit(
        folder,
        task_report={
            "source": f"read from {data.parent}/x.txt, see https://example.org/a",
            "/opt/k": ["/a/b"],
        },
        provenance={
            **read_record(folder).provenance.model_dump(),
            "git": "06fa986586d019bab14046873ad8e90b5fb759ce",
            "hardware": f"NVIDIA H100 in {platform.node()}",
            "torch": "2.13.0+cu128.mybuild",
            "started": "2026-01-02T03:04:05+00:00",
        },
    )
    (folder / "error.txt").write_text("noise")
    items = read_items(folder).assign(path=str(tmp_path))
    items.attrs["where"] = str(tmp_path)
    items.index = pd.Index(range(5, 65), name=str(tmp_path))
    items.to_parquet(folder / "items.parquet")

    (packed,) = submit([folder], tmp_path / "out" / "deep")
    assert sorted(path.name for path in packed.iterdir()) == ["items.parquet", "record.json"]
    raw = b"".join(path.read_bytes() for path in packed.iterdir())
    for secret in (str(tmp_path), "/srv", "corpora", "06fa98", platform.node(), "mybuild", "03:04", "/opt"):
        assert secret.encode() not in raw, secret
    assert pq.read_schema(packed / "items.parquet").metadata is None
    record = read_record(packed)
    assert record.data.startswith("my data@") and len(record.data) == len("my data@") + 12
    assert record.model == "Big-7B" and record.spec["task_options"]["hub"] == "owner/name"
    assert record.spec["task_options"]["corpus"] == "reviews.parquet" == record.defaults["task"]["corpus"]
    assert "https://example.org/a" in record.task_report["source"]
    assert (record.provenance.hardware, record.provenance.started) == ("cuda", "2026-01-02")
    assert verify_run(packed) == [] and anonymous(record) == record
    assert not list((tmp_path / "out").glob(".*"))


def test_content_keeps_data_of_one_name_apart(tmp_path):
    names = []
    for where in ("a", "b"):
        (tmp_path / where).mkdir()
        (tmp_path / where / "data.txt").write_text(where)
        record = make_record(make_items(RATES), data=str(tmp_path / where / "data.txt"))
        names.append(anonymous(record).data)
    assert names[0] != names[1] and all(name.startswith("data.txt@") for name in names)


def test_home_in_the_items_is_refused(tmp_path, monkeypatch):
    folder = make_run(tmp_path, RATES)
    monkeypatch.setenv("HOME", "/home/somebody")
    items = read_items(folder)
    write_items(items.assign(prompt=items["prompt"] + " /home/somebody/x"), folder)
    with pytest.raises(UserError, match="the home folder in prompt"):
        submit([folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_runs_that_verify_are_packed(tmp_path):
    good = make_run(tmp_path / "runs", RATES)
    bad = make_run(tmp_path / "runs", RATES, seed=1)
    edit(bad, mean_length=9.0)
    with pytest.raises(UserError, match="does not verify: mean_length is 9"):
        submit([tmp_path / "runs"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="ended as diverged"):
        submit([make_run(tmp_path / "wild", RATES, status="diverged")], tmp_path / "out")
    with pytest.raises(UserError, match=r"no record in"):
        submit([tmp_path / "nothing"], tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        submit([good], tmp_path / "file")
    assert submit([good, good], tmp_path / "out") and len(list((tmp_path / "out").iterdir())) == 1


def test_merging_takes_what_is_new_and_refuses_conflicts(tmp_path):
    runs, packed, records = tmp_path / "runs", tmp_path / "packed", tmp_path / "leaderboard" / "records"
    for seed in (0, 1):
        make_run(runs, RATES, seed=seed)
    with pytest.raises(UserError, match="leaderboard submit"):
        merge([runs], records)
    submit([runs], packed)
    assert len(merge([packed], records)) == 2
    assert merge([packed], records) == []
    make_run(tmp_path / "other", {"many": 0.5, "few": 0.5}, seed=1)
    make_run(tmp_path / "other", RATES, seed=7)
    submit([tmp_path / "other"], tmp_path / "other-packed")
    before = sorted(records.iterdir())
    with pytest.raises(UserError, match="already there with other content"):
        merge([tmp_path / "other-packed"], records)
    assert sorted(records.iterdir()) == before
    assert len(load_rows(records)) == 1


# ------------------------------------------------------------------------------- strangers' files

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def checked(runs: Path) -> None:
    """Whatever is in the folder, every command that reads it answers, or ends with one line."""
    for read in (verify_runs, load_rows, lambda folder: submit([folder], folder / "out")):
        try:
            read(runs)
        except UserError as error:
            assert str(error)


@pytest.mark.filterwarnings("ignore::UserWarning")
@FUZZ
@given(data=st.data())
def test_any_record_is_judged(tmp_path, data):
    runs = tmp_path / "runs"
    folder = make_run(runs, RATES, n=10)
    plain = json.loads((folder / "record.json").read_text())
    place = plain
    while True:  # one value, anywhere in the record, becomes anything
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    (folder / "record.json").write_text(json.dumps(plain))
    checked(runs)


@pytest.mark.filterwarnings("ignore::UserWarning")
@FUZZ
@given(text=st.binary(max_size=60) | st.just(b"[" * 100_000) | st.just(b'{"schema_version": 2}'))
def test_any_bytes_are_judged(tmp_path, text):
    runs = tmp_path / "runs"
    folder = make_run(runs, RATES, n=10)
    good = (folder / "record.json").read_bytes()
    (folder / "record.json").write_bytes(text)
    checked(runs)
    (folder / "record.json").write_bytes(good)
    (folder / "items.parquet").write_bytes(text)
    checked(runs)


COLUMN = st.sampled_from(
    [
        lambda n: [None] * n,
        lambda n: ["x"] * n,
        lambda n: [2**62] * n,
        lambda n: [-1] * n,
        lambda n: [float("inf")] * n,
        lambda n: [[1, 2]] * n,
        lambda n: [{"a": 1}] * n,
        lambda n: [b"\xff"] * n,
        lambda n: pd.Categorical(["1"] * n),
        lambda n: pd.date_range("2026-01-01", periods=n),
        lambda n: [True, None] * (n // 2),
        lambda n: np.arange(n) + 0.5,
        lambda n: [1e308, -1e308] * (n // 2),
    ]
)


@pytest.mark.filterwarnings("ignore")
@FUZZ
@given(data=st.data())
def test_any_items_are_judged(tmp_path, data):
    runs = tmp_path / "runs"
    folder = make_run(runs, RATES, n=10)
    items = read_items(folder)
    for name in data.draw(st.lists(st.sampled_from(list(items.columns)), min_size=1, max_size=3)):
        items[name] = data.draw(COLUMN)(len(items))
    if data.draw(st.booleans()):
        items = items.iloc[: data.draw(st.integers(0, 10))]
    items.to_parquet(folder / "items.parquet", index=False)
    checked(runs)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """The runs of a board of one row, and its file's text."""
    runs = tmp_path_factory.mktemp("board") / "runs"
    make_run(runs, RATES, n=10)
    return runs, to_csv(build(runs))


@FUZZ
@given(data=st.data())
def test_any_leaderboard_is_judged(board, tmp_path, data):
    runs, text = board
    path = tmp_path / "results.csv"
    cells = [line.split(",") for line in text.splitlines()]
    row, column = data.draw(st.integers(0, 1)), data.draw(st.integers(0, len(cells[0]) - 1))
    cells[row][column] = data.draw(
        st.text(max_size=8) | st.sampled_from(["nan", "inf", "-1", "1e400", '"', "9" * 5000, "\0"])
    )
    path.write_text("\n".join(",".join(line) for line in cells), encoding="utf-8")
    for read in (read_csv, lambda file: verify_csv(file, runs)):
        try:
            frame = read(path)
        except UserError as error:
            assert str(error)
        else:
            if isinstance(frame, pd.DataFrame):
                missing_controls(frame)
                show(frame, "markdown")
    path.write_bytes(data.draw(st.binary(max_size=40)))
    with pytest.raises(UserError):
        read_csv(path)


def test_a_record_in_a_record_is_written_anew_and_not_copied(tmp_path):
    """What a stranger's folder holds besides is left where it is; a link out of it is not followed."""
    make_run(tmp_path / "runs", RATES)
    submit([tmp_path / "runs"], tmp_path / "packed")
    (folder,) = (tmp_path / "packed").iterdir()
    (folder / "evil.sh").write_text("echo")
    (folder / "items.parquet").rename(tmp_path / "elsewhere.parquet")
    (folder / "items.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(UserError, match="a link out of its folder"):
        merge([folder], tmp_path / "records")
    (folder / "items.parquet").unlink()
    (tmp_path / "elsewhere.parquet").rename(folder / "kept.parquet")
    (folder / "items.parquet").symlink_to("kept.parquet")
    (merged,) = merge([folder], tmp_path / "records")
    assert sorted(path.name for path in merged.iterdir()) == ["items.parquet", "record.json"]
    assert not (merged / "items.parquet").is_symlink()
    write_record(read_record(merged), merged)


@pytest.mark.filterwarnings("ignore:.*not checked:UserWarning")
def test_a_packed_board_takes_what_is_new_and_refuses_conflicts(tmp_path):
    """As a folder does: `--into` may be either, and a submission may be packed too."""
    for seed in (0, 1):
        make_run(tmp_path / "mine", RATES, aligner="a", seed=seed)
    board, sent = tmp_path / "board.zip", tmp_path / "sent.zip"
    assert len(submit([tmp_path / "mine"], sent)) == 2
    assert [path.parent for path in merge([sent], board)] == [board, board]
    assert board.read_bytes() == sent.read_bytes()
    make_run(tmp_path / "more", {"many": 0.3, "few": 0.9}, aligner="b", items_seed=5)
    submit([tmp_path / "more"], tmp_path / "folder")
    merge([tmp_path / "folder"], board)
    assert sorted(record.aligner for _, record in find_records(board)) == ["a", "a", "b"]
    assert merge([sent, tmp_path / "folder"], board) == []  # all of it is there
    before = board.read_bytes()
    make_run(tmp_path / "other", {"many": 0.1, "few": 0.2}, aligner="b", items_seed=6)
    submit([tmp_path / "other"], tmp_path / "again")
    with pytest.raises(UserError, match="already there with other content"):
        merge([tmp_path / "again"], board)
    assert board.read_bytes() == before
    (tmp_path / "text.zip").write_text("no board")
    with pytest.raises(UserError, match="cannot be read"):
        merge([sent], tmp_path / "text.zip")

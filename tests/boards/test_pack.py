"""A board in one file says what its folder says; strangers' files end in one line."""

import io
import json
import random
import re
import shutil
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest

from prefbench.api.board import leaderboard
from prefbench.api.results import load
from prefbench.boards.compare import compare_aligners
from prefbench.boards.declared import declare_seeds, read_declared
from prefbench.boards.names import setting_key
from prefbench.boards.pack import pack
from prefbench.boards.table import build
from prefbench.boards.verify import runs_in, verify_board
from prefbench.errors import UserError
from prefbench.record import packed
from prefbench.record.anonymous import anonymous
from prefbench.record.evidence import read_evidence, read_items
from prefbench.record.files import find_records, read_record, run_folders
from prefbench.report.page import page
from support.commands import typed
from support.mutations import cut, flipped, zip_changed
from support.records import make_run
from support.valid_files import make_runs as make_every_kind

RATES = {"many": 0.8, "few": 0.6}


def make_runs(folder):
    """Runs of two aligners and two seeds, one that diverged, one with other groups and two samples."""
    for seed in (0, 1):
        for aligner, rates in (("a", RATES), ("b", {"many": 0.9, "few": 0.3})):
            make_run(folder, rates, aligner=aligner, seed=seed)
    make_run(folder, RATES, aligner="lost", status="diverged")
    groups = [("north", 0.5, False), ("south", 0.5, True)]
    other = {"north": 0.4, "south": 0.7}
    made = make_run(folder, other, samples=2, groups=groups, task="elsewhere", minority_ratio=0.5)
    declare_seeds(folder, {setting_key(read_record(made)): [0, 1]})
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A runs folder and the same in one file."""
    folder = make_runs(tmp_path_factory.mktemp("runs"))
    out = tmp_path_factory.mktemp("packed") / "board.zip"
    pack([folder], out)
    return folder, out


def test_every_run_is_there_as_it_was(both):
    folder, out = both
    ours, theirs = find_records(folder), find_records(out)
    assert [path.name for path, _ in theirs] == [path.name for path, _ in ours] and len(ours) == 6
    for (path, record), (other, again) in zip(ours, theirs, strict=True):
        assert again == anonymous(record) and other.parent == out
        if record.status == "ok":
            pd.testing.assert_frame_equal(read_items(path), read_items(other))
    with pytest.raises(UserError, match=r"items.parquet' is missing"):
        read_items(next(path for path, record in theirs if record.status != "ok"))
    with pytest.raises(UserError, match="no record at"):
        read_record(out / "nobody")


def test_every_kind_of_evidence_is_there(tmp_path):
    make_every_kind(tmp_path)
    pack([tmp_path / "runs"], tmp_path / "board.zip")
    for folder, record in find_records(tmp_path / "runs"):
        names = ["items.parquet"]
        names += ["prompted.parquet"] * (record.prompted_worst_group_win_rate is not None)
        names += ["distribution.parquet"] * (record.regret is not None)
        for name in names:
            assert read_evidence(folder, name).equals(
                read_evidence(tmp_path / "board.zip" / folder.name, name)
            )
        some = read_evidence(tmp_path / "board.zip" / folder.name, columns=["response", "kl"])
        assert some.column_names == ["response", "kl"]


def test_what_is_made_of_it_is_the_same(both):
    folder, out = both
    pd.testing.assert_frame_equal(build(folder), build(out))
    assert read_declared(out) == read_declared(folder)
    assert compare_aligners("a", "b", folder, "toy") == compare_aligners("a", "b", out, "toy")
    # Of what the page tells of each run a packed board has the day and the architecture alone.
    pages = [re.sub(r'"on":"[^"]*"|(?<="started":"2026-01-02)[^"]*', "", page(where)) for where in both]
    assert pages[0] == pages[1]
    found = [
        [(run.folder.name, run.wrong, run.odd, run.unchecked) for run in verify_board(runs_in(where))]
        for where in both
    ]
    assert found[0] == found[1]
    pd.testing.assert_frame_equal(load(folder).frame(), load(out).frame())
    pd.testing.assert_frame_equal(leaderboard(folder).frame(), leaderboard(out).frame())


def test_what_runs_share_is_stored_once_and_the_bytes_are_the_runs(both, tmp_path):
    folder, out = both
    with zipfile.ZipFile(out) as archive:
        rows = {
            name: pd.read_parquet(io.BytesIO(archive.read(name)))
            for name in archive.namelist()
            if name.endswith("parquet")
        }
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert len(rows["items-0-own.parquet"]) == 4 * 60 or len(rows["items-1-own.parquet"]) == 4 * 60
    sizes = {(len(rows[f"items-{i}-own.parquet"]), len(rows[f"items-{i}-shared.parquet"])) for i in (0, 1)}
    assert sizes == {
        (120, 120),
        (240, 60),
    }  # prompts and reference responses are the same whatever the seed here
    for source, again in ((folder, tmp_path / "again.zip"), (out, tmp_path / "repacked.zip")):
        pack([source], again)
        assert again.read_bytes() == out.read_bytes()


def test_a_board_grows(both, tmp_path):
    """Parts that were packed, and a folder, make the file that all at once make; a run in two is one."""
    folder, out = both
    parts = [tmp_path / "first", tmp_path / "second"]
    for place, run in enumerate(run_folders(folder)):
        shutil.copytree(run, parts[place % 2] / run.name)
    shutil.copytree(folder / "boards", parts[1] / "boards")
    shutil.copytree(run_folders(folder)[1], parts[0] / run_folders(folder)[1].name)
    pack(parts[:1], tmp_path / "first.zip")
    pack([tmp_path / "first.zip", parts[1]], tmp_path / "all.zip")
    assert (tmp_path / "all.zip").read_bytes() == out.read_bytes()


def test_seeds_that_either_declared_are_declared(both, tmp_path):
    folder, out = both
    other = tmp_path / "other"
    shutil.copytree(run_folders(folder)[0], other / run_folders(folder)[0].name)
    (setting,) = read_declared(folder)
    declare_seeds(other, {setting: [1, 2]})
    pack([out, other], tmp_path / "all.zip")
    assert read_declared(tmp_path / "all.zip") == {setting: [0, 1, 2]}


def test_more_kinds_of_evidence_than_a_board_holds_are_refused(both, tmp_path, monkeypatch):
    monkeypatch.setattr("prefbench.boards.pack.MEMBERS", 5)  # two settings, and what they and each run are
    with pytest.raises(UserError, match=r"6 kinds of tables, more than the 5 of .*: pack fewer tasks"):
        pack([both[0]], tmp_path / "board.zip")
    assert not (tmp_path / "board.zip").exists()


def test_two_runs_of_one_name_are_not_one(both, tmp_path):
    folder, out = both
    run = next(run for run in run_folders(folder) if read_record(run).status == "ok")
    shutil.copytree(run, tmp_path / "other" / run.name)
    said = json.loads((tmp_path / "other" / run.name / "record.json").read_text())
    (tmp_path / "other" / run.name / "record.json").write_text(json.dumps({**said, "kl": 7.0}))
    with pytest.raises(UserError, match="are two runs of one name"):
        pack([out, tmp_path / "other"], tmp_path / "all.zip")
    assert not (tmp_path / "all.zip").exists()


def test_the_command(both, tmp_path):
    folder, out = both
    outcome = typed("leaderboard", "pack", folder, tmp_path / "board.zip")
    assert outcome.code == 0 and outcome.out.startswith("6 runs packed into")
    assert typed("leaderboard", "build", "--runs-dir", out, "--out", tmp_path / "b.csv").code == 0
    assert "follow from their evidence" in typed("leaderboard", "verify", "--runs-dir", out).out
    for given, said in (
        ((folder, tmp_path / "board.tar"), "does not end in .zip"),
        ((tmp_path / "nowhere", tmp_path / "b.zip"), "no record in"),
        ((folder, tmp_path / "nowhere", tmp_path / "b.zip"), "no record in"),
    ):
        outcome = typed("leaderboard", "pack", *given)
        assert outcome.code == 2 and said in outcome.err


# ------------------------------------------------------------------------------------------- strangers


def rewritten(out, into, change=None, **members):
    """The board with some members changed, its checksums right."""
    with zipfile.ZipFile(out) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name.replace("__", "."): value for name, value in members.items()}
    if change is not None:
        index = json.loads(content["board.json"])
        change(index, content)
        content["board.json"] = json.dumps(index).encode()
    with zipfile.ZipFile(into, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return into


def hostile(name):
    def changed(index, content):
        run = next(run for run in index["runs"] if run["evidence"])
        rows = run["evidence"]["items.parquet"]
        match name:
            case "escape":
                run["name"] = "../../etc"
            case "twice":
                index["runs"][1]["name"] = index["runs"][0]["name"]
            case "overlap":
                for each in index["runs"]:
                    for one in each["evidence"].values():
                        one["own"] = 0
            case "beyond":
                rows["shared"] = 10**9
            case "negative":
                rows["own"] = -1
            case "no table":
                rows["table"] = 7
            case "records":
                content["records.jsonl"] += b"{}\n"
            case "member":
                content["../evil.sh"] = b"rm"
            case "columns":
                index["columns"]["items.parquet"][0][0] = "another"
                index["columns"]["items.parquet"][1][0] = "another"
            case "version":
                index["format"] = 2
            case "parquet":
                content[packed.member("items.parquet", rows["table"], "own")] = b"PAR1"

    return changed


def read_all(out):
    """Everything that reading a board comes to: results, or one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = find_records(out)
        for folder, record in found:
            if record.status == "ok":
                read_items(folder)
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


KINDS = ("escape", "twice", "overlap", "beyond", "negative", "no table", "records", "member", "columns")


@pytest.mark.parametrize("kind", [*KINDS, "version", "parquet"])
def test_an_index_that_lies_is_refused(both, tmp_path, kind):
    board = rewritten(both[1], tmp_path / "board.zip", hostile(kind))
    assert read_all(board) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["board.zip"]  # nothing was written anywhere


def test_bombs_and_other_files_are_refused(both, tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("board.json", b" " * (packed.JSON_BYTES * 4 + 1))
        archive.writestr("records.jsonl", b"")
    assert "has more than" in read_all(bomb)
    liar = bytearray(bomb.read_bytes())
    place = liar.rindex(b"PK\x01\x02", 0, liar.rindex(b"board.json"))
    liar[place + 24 : place + 28] = (10).to_bytes(4, "little")  # it says that it unpacks to ten bytes
    bomb.write_bytes(liar)
    assert read_all(bomb) is not None
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for i in range(packed.MEMBERS + 1):
            archive.writestr(f"items-{i}-own.parquet", b"")
    assert f"more than {packed.MEMBERS} members" in read_all(many)
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(both[1]) as source, zipfile.ZipFile(twice, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    assert "compressed twice" in read_all(twice)
    for name, content in (
        ("text", b"not a zip"),
        ("empty", b""),
        ("comment", both[1].read_bytes()[:-2] + b"\1\0x"),
    ):
        path = tmp_path / f"{name}.zip"
        path.write_bytes(content)
        assert "is no zip file" in read_all(path)
    (tmp_path / "pipe.zip").symlink_to("/dev/zero")
    assert "is a device" in read_all(tmp_path / "pipe.zip")


@pytest.mark.parametrize("part", range(3))
def test_mutated_boards_end_in_a_result_or_one_line(both, tmp_path, part):
    """Mutated as a whole, where checksums find it, and by members, where only what they hold does."""
    board, good = tmp_path / "board.zip", both[1].read_bytes()
    refused = 0
    for number in range(40):
        draw = random.Random(1000 * part + number)
        board.write_bytes(draw.choice([flipped, cut, *[zip_changed] * 4])(good, draw))
        refused += read_all(board) is not None
    assert refused >= 10


@pytest.mark.slow
def test_a_board_of_eight_hundred_runs_fits_a_repository(tmp_path):
    """Forty aligners, four ratios and five seeds on 500 prompts, responses from the grammar of reviews."""
    from prefbench.record.evidence import LATER_COLUMNS, write_items
    from prefbench.record.files import write_record
    from prefbench_tasks.synthetic_reviews import synthetic_reviews
    from support.records import make_items, make_record

    rng = np.random.default_rng(0)
    texts = [text.split(" ", 6)[-1] for text in synthetic_reviews(60_000, rng).texts]
    runs = tmp_path / "runs"
    for seed in range(5):
        theirs = rng.choice(texts, 500)
        for ratio in (0.5, 0.3333, 0.1429, 0.0909):
            for number in range(40):
                said = rng.choice(texts, 500)
                items = make_items(RATES, n=500, seed=seed).assign(
                    response=said,
                    reference_response=theirs,
                    words=[len(text.split()) for text in said],
                    kl=rng.normal(5, 3, 500),
                )
                known = dict(zip(LATER_COLUMNS, rng.normal(-30, 9, (8, 500)).astype(np.float32), strict=True))
                for prefix in ("", "reference_"):
                    known[f"{prefix}nonwords"] = np.zeros(500)
                    known[f"{prefix}tokens"] = rng.integers(1, 25, 500).astype(float)
                shared = np.random.default_rng(seed).normal(-30, 9, (2, 500)).astype(np.float32)
                known["reference_logprob"], known["reference_logprob_elsewhere"] = shared
                known["reference_tokens"] = np.full(500, 9.0)
                items = items.assign(empty=False, **known)
                for group in RATES:
                    items[f"utility/{group}"] = rng.integers(-40, 40, 500) / 10
                record = make_record(items, aligner=f"a{number}", seed=seed, minority_ratio=ratio)
                folder = runs / f"a{number}-{ratio}-{seed}"
                write_record(record, folder)
                write_items(items, folder)
    made = pack([runs], tmp_path / "board.zip")
    assert made.runs == 800 and made.size <= 15e6

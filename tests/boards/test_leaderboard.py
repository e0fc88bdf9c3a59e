"""The leaderboard from fabricated runs: what is merged, what is not, who is ranked, and the CSV."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefbench.boards.columns import COLUMNS, METRICS, REGRETS
from prefbench.boards.compare import COMPARED, compare_aligners, comparison_rows
from prefbench.boards.csv_file import _guard, _unguard, read_csv, to_csv, write_csv
from prefbench.boards.declared import DECLARED, declare_seeds, read_declared
from prefbench.boards.names import config_hash, setting_digest, variant
from prefbench.boards.ranks import compare
from prefbench.boards.rows import common_seeds, load_rows
from prefbench.boards.show import show
from prefbench.boards.table import build, summarise_seeds
from prefbench.errors import UserError
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import read_record
from prefbench.seeds import rng
from prefbench.stats.intervals import two_level_bootstrap, wilson
from support.records import make_run

GOOD = {"many": 0.8, "few": 0.75}
BAD = {"many": 0.95, "few": 0.2}


def board(tmp_path, rows, seeds=(0, 1, 2), **changes):
    """Runs of several aligners over seeds: `rows` gives each one's rates."""
    for aligner, rates in rows.items():
        for seed in seeds:
            make_run(tmp_path, rates, aligner=aligner, seed=seed, **changes)
    return tmp_path


def only(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_seeds_become_one_row(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD}, needs=("user_id",))
    frame = build(tmp_path)
    assert tuple(frame.columns) == COLUMNS
    assert frame["aligner"].tolist() == ["good", "bad"]
    assert frame["tie_rank"].tolist() == [1, 2]
    bad = only(frame, aligner="bad")
    assert (bad["task"], bad["n_seeds"], bad["seeds"], bad["n_prompts"]) == ("toy@1", 3, "0 1 2", 180)
    assert (bad["needs"], bad["status"], bad["worst_group"]) == ("user_id", "ok", "few")
    assert (bad["version"], bad["date"], bad["kl"], bad["reference_length"]) == (
        "0.1.0",
        "2026-01-02",
        0.5,
        3.0,
    )
    records = [read_record(folder) for folder in sorted(tmp_path.glob("bad-*"))]
    assert bad["worst_group_win_rate"] == pytest.approx(
        np.mean([x.worst_group_win_rate for x in records]), abs=1e-6
    )
    for metric in METRICS:
        assert bad[f"{metric}_low"] < bad[metric] < bad[f"{metric}_high"]


def test_worst_group_is_the_smallest_mean_not_the_mean_of_smallest(tmp_path):
    make_run(tmp_path, {"many": 1.0, "few": 0.3}, seed=0, n=400)
    make_run(tmp_path, {"many": 0.4, "few": 0.9}, seed=1, n=400)
    row = build(tmp_path).iloc[0]
    assert row["worst_group"] == "few"
    assert row["worst_group_win_rate"] == pytest.approx(0.6, abs=0.06)  # the seeds' own minima average 0.35


def test_interval_is_the_two_level_bootstraps(tmp_path):
    board(tmp_path, {"good": GOOD})
    row = build(tmp_path).iloc[0]
    loaded = load_rows(tmp_path)[0]
    draws = rng(int(row["config_hash"], 16), "leaderboard")
    expected = two_level_bootstrap([seed.scores for seed in loaded.seeds], lambda m: m.min(axis=-1), draws)
    assert (row["worst_group_win_rate_low"], row["worst_group_win_rate_high"]) == pytest.approx(
        expected, abs=1e-6
    )


def test_one_seed_and_one_mind_still_has_doubt(tmp_path):
    folder = make_run(tmp_path, GOOD)
    items = read_items(folder).assign(empty=False, response="x", **{"utility/many": 1.0, "utility/few": 1.0})
    write_items(items, folder)
    row = build(tmp_path).iloc[0]
    assert row["worst_group_win_rate_low"] == pytest.approx(wilson(60, 0, 60).low, abs=1e-6)


def test_building_twice_gives_the_same(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD}, seeds=(1, 0))
    assert to_csv(build(tmp_path)) == to_csv(build(tmp_path))


def test_options_are_not_merged(tmp_path):
    board(tmp_path, {"good": GOOD}, seeds=(0,))
    board(tmp_path, {"good": GOOD}, seeds=(0,), aligner_options={"beta": 0.5})
    board(tmp_path, {"good": GOOD}, seeds=(0,), task_options={"noise": 2})
    board(tmp_path, {"good": GOOD}, seeds=(0,), minority_ratio=0.1)
    board(tmp_path, {"good": GOOD}, seeds=(0,), model="gpt2")
    frame = build(tmp_path)
    assert len(frame) == 5 and frame["config_hash"].nunique() == 5
    assert (frame["tie_rank"] == 1).all()  # four boards; the two on one board tie
    assert sorted(frame["variant"])[:3] == ["", "", ""]


def test_variant_names_what_is_not_a_default(monkeypatch):
    from prefbench import registry
    from prefbench.registry import Entry, Options

    class Toy(Options):
        beta: float = 0.1
        steps: int = 5

    monkeypatch.setattr(registry, "_entries", {("aligner", "toy"): Entry("aligner", "toy", len, Toy)})
    assert variant({"aligner": "toy", "aligner_options": {"beta": 0.1, "steps": 5}}) == ""
    assert variant({"aligner": "toy", "aligner_options": {"beta": 0.5, "steps": 5}}) == "aligner.beta=0.5"
    assert variant({"aligner": "toy", "evaluate_options": {"samples": 4}}) == "evaluate.samples=4"
    assert variant({"aligner": "alien", "aligner_options": {"x": 1}}).startswith("config ")


def test_config_hash_ignores_the_seed_only():
    spec = {"task": "toy", "seed": 0, "aligner_options": {"a": 1}}
    assert config_hash(spec) == config_hash(spec | {"seed": 5})
    assert config_hash(spec) != config_hash(spec | {"aligner_options": {"a": 2}})


def test_a_missing_seed_is_incomplete_and_unranked(tmp_path):
    board(tmp_path, {"good": GOOD, "fine": GOOD})
    board(tmp_path, {"lazy": GOOD}, seeds=(0, 2))
    frame = build(tmp_path)
    lazy = only(frame, aligner="lazy")
    assert lazy["status"] == "incomplete: no seed 1"
    assert pd.isna(lazy["tie_rank"])
    assert only(frame, aligner="good")["tie_rank"] == 1


def test_a_missing_group_is_incomplete_and_has_no_numbers(tmp_path):
    three = [("many", 0.6, False), ("few", 0.2, True), ("rare", 0.2, True)]
    make_run(tmp_path, {"many": 0.8, "few": 0.7, "rare": 0.6}, aligner="whole", groups=three)
    make_run(tmp_path, GOOD, aligner="partial")
    partial = only(build(tmp_path), aligner="partial")
    assert partial["status"] == "incomplete: seed 0 lacks group rare"
    assert pd.isna(partial["worst_group_win_rate"]) and pd.isna(partial["tie_rank"])


def test_diverged_and_failed_runs_are_never_averaged_over(tmp_path):
    board(tmp_path, {"good": GOOD, "wild": GOOD, "broken": GOOD}, seeds=(0,))
    make_run(tmp_path, GOOD, aligner="good", seed=1)
    make_run(tmp_path, GOOD, aligner="wild", seed=1, status="diverged")
    make_run(tmp_path, GOOD, aligner="broken", seed=1, status="failed")
    frame = build(tmp_path)
    assert only(frame, aligner="wild")["status"] == "diverged"
    assert only(frame, aligner="broken")["status"] == "incomplete: seed 1 failed"
    for aligner in ("wild", "broken"):
        row = only(frame, aligner=aligner)
        assert pd.isna(row["worst_group_win_rate"]) and pd.isna(row["tie_rank"]) and row["n_seeds"] == 2


def test_missing_evidence_is_incomplete(tmp_path):
    folder = make_run(tmp_path, GOOD)
    (folder / "items.parquet").unlink()
    with pytest.warns(UserWarning, match="missing"):
        row = build(tmp_path).iloc[0]
    assert row["status"] == "incomplete: seed 0 has no usable items"


def test_the_later_of_two_equal_runs_counts(tmp_path):
    old = make_run(tmp_path, BAD, started="2026-01-01T00:00:00+00:00")
    old.rename(tmp_path / "z-old")
    make_run(tmp_path, GOOD, started="2026-03-01T00:00:00+00:00")
    with pytest.warns(UserWarning, match="same run"):
        row = build(tmp_path).iloc[0]
    assert row["date"] == "2026-03-01" and row["worst_group_win_rate"] > 0.5


def test_ranks_tie_where_noise_allows(tmp_path):
    draws = np.random.default_rng(0).random(300)
    turns = {"near": 0.29, "clear2": 0.31}  # who wins where differs: noise, not a small steady lead
    for aligner, rates in {
        "best": {"many": 0.9, "few": 0.80},
        "near": {"many": 0.9, "few": 0.79},
        "clear": {"many": 0.9, "few": 0.60},
        "clear2": {"many": 0.9, "few": 0.59},
    }.items():
        make_run(tmp_path, rates, n=300, draws=(draws + turns.get(aligner, 0)) % 1, aligner=aligner)
    frame = build(tmp_path)
    assert dict(zip(frame["aligner"], frame["tie_rank"], strict=True)) == {
        "best": 1,
        "near": 1,
        "clear": 3,
        "clear2": 3,
    }


def test_pairing_sees_what_two_intervals_do_not(tmp_path):
    draws = np.random.default_rng(0).random(300)
    make_run(tmp_path, {"many": 0.9, "few": 0.60}, n=300, draws=draws, aligner="a")
    make_run(tmp_path, {"many": 0.9, "few": 0.54}, n=300, draws=draws, aligner="b")
    frame = build(tmp_path)
    a, b = only(frame, aligner="a"), only(frame, aligner="b")
    assert a["worst_group_win_rate_low"] < b["worst_group_win_rate_high"]  # the intervals overlap
    assert (a["tie_rank"], b["tie_rank"]) == (1, 2)
    rows = {row.first.aligner: row for row in load_rows(tmp_path)}
    assert compare(rows["a"], rows["b"], "worst_group_win_rate")[1]


def test_other_prompts_are_compared_unpaired(tmp_path):
    make_run(tmp_path, GOOD, aligner="a", n=50)
    make_run(tmp_path, GOOD, aligner="b", n=80)
    rows = load_rows(tmp_path)
    difference, paired = compare(rows[0], rows[1], "mean_win_rate")
    assert not paired and difference.se > 0


def test_summary_over_seeds(tmp_path):
    folders = [make_run(tmp_path, GOOD, seed=seed) for seed in range(3)]
    summary = summarise_seeds(folders)
    assert (summary["n_seeds"], summary["seeds"], summary["status"]) == (3, [0, 1, 2], "ok")
    row = build(tmp_path).iloc[0]
    for metric in METRICS:
        assert summary[f"{metric}_low"] == row[f"{metric}_low"]
    assert min(summary["groups"].values()) == pytest.approx(summary["worst_group_win_rate"], abs=1e-6)
    json.dumps(summary, allow_nan=False)
    with pytest.raises(UserError, match="same seed"):
        summarise_seeds([folders[0], folders[0]])
    with pytest.raises(UserError, match="differ in more"):
        summarise_seeds([folders[0], make_run(tmp_path, GOOD, seed=9, aligner="other")])
    with pytest.raises(UserError, match="no runs"):
        summarise_seeds([])
    diverged = make_run(tmp_path, GOOD, seed=7, status="diverged")
    summary = summarise_seeds([*folders, diverged])
    assert summary["status"] == "diverged" and summary["gap"] is None and summary["groups"] == {}


def test_no_records_is_the_users_error(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError):
            build(folder)


def test_regrets_are_means_over_seeds_and_need_all_of_them(tmp_path):
    folders = [make_run(tmp_path, GOOD, seed=seed) for seed in (0, 1)]
    assert build(tmp_path)[list(REGRETS)].isna().all(axis=None)
    for lost, folder in zip((0.1, 0.2), folders, strict=True):
        plain = json.loads((folder / "record.json").read_text())
        plain["regret"] = {
            "beta": 0.1,
            "groups": [],
            "max_regret": lost,
            "egalitarian_regret": lost / 2,
            "pareto_distance": 0.0,
            "kl": 1.0,
            "certificate": 0.0,
        }
        (folder / "record.json").write_text(json.dumps(plain))
    row = build(tmp_path).iloc[0]
    assert [row[name] for name in REGRETS] == pytest.approx([0.15, 0.075, 0.0])
    make_run(tmp_path, GOOD, seed=2)
    assert pd.isna(build(tmp_path).iloc[0]["max_regret"])


# ---------------------------------------------------------------------------------------- compare


def test_two_aligners_on_the_same_prompts(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD})
    found = compare_aligners("good", "bad", tmp_path)
    by_name = {measure.measure: measure for measure in found.measures}
    assert list(by_name) == ["group/many", "group/few", *COMPARED]
    few = by_name["group/few"]
    rows = {row.first.aligner: row for row in load_rows(tmp_path)}
    scores = [np.concatenate(rows[name].metric_scores("group/few")) for name in ("good", "bad")]
    assert few.difference == pytest.approx(scores[0].mean() - scores[1].mean())
    assert (few.wins, few.losses) == ((scores[0] > scores[1]).sum(), (scores[0] < scores[1]).sum())
    assert few.wins + few.ties + few.losses == found.n_prompts == 180
    assert few.low < few.difference < few.high and few.low > 0 and few.p_value < 0.05
    # The minority is this group: one test, which the correction counts once.
    assert by_name["minority_win_rate"].p_value == few.p_value
    back = compare_aligners("bad", "good", tmp_path)
    assert [m.difference for m in back.measures] == pytest.approx([-m.difference for m in found.measures])
    json.dumps(found.to_dict(), allow_nan=False)
    title, header, cells = comparison_rows(found)
    assert "A good, B bad" in title and {len(row) for row in cells} == {len(header)}


def test_compared_are_runs_folders_of_runs_and_hashes(tmp_path):
    board(tmp_path / "one", {"good": GOOD})
    board(tmp_path / "two", {"bad": BAD}, seeds=(1, 2, 3))
    folder = next((tmp_path / "one").glob("good-*"))
    bad = next(f for f in (tmp_path / "two").glob("bad-*") if read_record(f).seed == 2)
    found = compare_aligners(str(tmp_path / "one"), str(tmp_path / "two"), tmp_path / "one")
    assert (found.seeds, found.left_out) == ((1, 2), (0, 3))
    name = config_hash(read_record(folder).spec)
    assert compare_aligners(name, str(tmp_path / "two"), tmp_path / "one") == found
    assert compare_aligners("good", str(bad), tmp_path / "one").seeds == (2,)
    assert compare_aligners(folder.name, str(folder), tmp_path / "one").measures[0].difference == 0


def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD}, seeds=(0,))
    board(tmp_path, {"good": GOOD, "bad": BAD}, seeds=(0,), minority_ratio=0.1)
    board(tmp_path, {"bad": BAD}, seeds=(0,), minority_ratio=0.1, aligner_options={"beta": 2})
    board(tmp_path, {"late": GOOD}, seeds=(5,))
    board(tmp_path, {"noisy": GOOD}, seeds=(0,), task_options={"noise": 2})
    make_run(tmp_path, GOOD, aligner="other", n=70)
    make_run(tmp_path, GOOD, aligner="wild", status="diverged")
    newer = json.loads((make_run(tmp_path, GOOD, aligner="newer") / "record.json").read_text())
    folder = next(tmp_path.glob("newer-*"))
    (folder / "record.json").write_text(json.dumps({**newer, "task_version": 2}))
    for names, options, said in [
        (("good", "bad"), {}, "meet on 2 boards"),
        (("good", "bad"), {"minority_ratio": 0.1}, "different options: say which by its hash"),
        (("good", "bad"), {"minority_ratio": 0.3}, "its runs are on toy@1 nano synthetic 0.1, toy@1"),
        (("good", "bad"), {"task": "toy@2"}, "was not run so"),
        (("good", "goood"), {}, "Did you mean 'good'"),
        (("good", "late"), {}, "no seed in common"),
        (("late", "noisy"), {}, "task.noise is None and 2"),
        (("good", "other"), {}, "their prompts differ at seed 0"),
        (("good", "wild"), {}, "it is diverged"),
        (("other", "newer"), {}, "versions 1 and 2 of toy"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            compare_aligners(*names, tmp_path, **options)
        assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------- CSV


def test_csv_round_trip(tmp_path):
    board(tmp_path / "runs", {"good": GOOD, "bad": BAD}, kl=-0.25)
    make_run(tmp_path / "runs", GOOD, aligner="wild", status="diverged")
    frame = build(tmp_path / "runs")
    write_csv(frame, tmp_path / "out" / "results.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "out" / "results.csv"), frame)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.csv"]
    assert (frame["kl"].dropna() == -0.25).all()
    assert "'-0.25" not in (tmp_path / "out" / "results.csv").read_text()  # numbers are not escaped


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=quoted", "''-x", "plain", "a,b", 'a"b']
)
def test_text_cannot_start_a_formula(tmp_path, name):
    make_run(tmp_path, GOOD, data=name)
    frame = build(tmp_path)
    write_csv(frame, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        cell = next(csv.DictReader(file))["data"]
    assert not cell.startswith(("=", "+", "-", "@", "\t"))
    assert read_csv(tmp_path / "results.csv")["data"].iloc[0] == name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.text("=+-@'\t\r\n,\"1", max_size=5))
def test_any_text_survives_the_csv_and_starts_no_formula(tmp_path, text):
    make_run(tmp_path / "runs", GOOD, n=10) if not (tmp_path / "runs").exists() else None
    frame = build(tmp_path / "runs")
    for name in ("task", "data", "variant", "worst_group"):
        frame[name] = text
    write_csv(frame, tmp_path / "results.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "results.csv"), frame, check_dtype=False)
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 1
    assert not any(value.startswith(("=", "+", "@", "\t", "\r")) for value in cells[0].values())
    assert not cells[0]["data"].startswith("-")


@given(st.text())
def test_guard_can_be_undone(text):
    assert _unguard(_guard(text)) == text
    assert not _guard(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_csv_errors_say_what_to_do(tmp_path):
    path = tmp_path / "results.csv"
    with pytest.raises(UserError, match="leaderboard build"):
        read_csv(path)
    make_run(tmp_path / "runs", GOOD)
    text = to_csv(build(tmp_path / "runs"))
    for spoiled, said in [
        ("", "no column 'task'"),
        (text.replace("gap_low", "gap_lo"), "no column 'gap_low'"),
        (text.replace("ok", "ok,ok"), "cells, not"),
        (text.replace(",60,", ",sixty,"), "n_prompts is 'sixty'"),
        (text.replace(",0.5,", ",nan,"), "kl is 'nan'"),
        (text.replace(",many,0.", ",many,7.").replace(",few,0.", ",few,7."), "rate between 0 and 1"),
    ]:
        assert spoiled != text
        path.write_text(spoiled)
        with pytest.raises(UserError, match=said):
            read_csv(path)


# ---------------------------------------------------------------------------------------- display


def test_shown_for_a_terminal_and_for_a_page(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    board(tmp_path, {"good": GOOD, "[red]odd|one": BAD}, needs=("user_id",))
    make_run(tmp_path, GOOD, aligner="wild", status="diverged")
    frame = build(tmp_path)
    row = frame.iloc[0]
    cell = (
        f"{row['worst_group_win_rate']:.2f} "
        f"[{row['worst_group_win_rate_low']:.2f}, {row['worst_group_win_rate_high']:.2f}]"
    )
    rich = show(frame, "rich")
    assert cell in rich and "[red]odd|one" in rich and "user_id" in rich and "diverged" in rich
    monkeypatch.setenv("COLUMNS", "80")
    narrow = show(frame, "rich")
    assert cell in narrow and "too narrow for words" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    page = show(frame, "markdown")
    lines = page.splitlines()
    assert cell in page and "[red]odd\\|one" in page
    assert len(lines) == 2 + len(frame)
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert show(frame, "csv").splitlines()[0] == ",".join(COLUMNS)
    with pytest.raises(UserError, match="markdown"):
        show(frame, "html")


# ----------------------------------------------------------------- who made it, and with which seeds


def test_a_row_of_two_codes_is_mixed_and_unranked(tmp_path):
    board(tmp_path, {"good": GOOD}, numerics=1, code="a" * 16)
    board(tmp_path, {"edited": GOOD}, seeds=(0, 1), numerics=1, code="a" * 16)
    board(tmp_path, {"edited": GOOD}, seeds=(2,), numerics=1, code="b" * 16)
    frame = build(tmp_path)
    edited = only(frame, aligner="edited")
    assert edited["status"] == (
        "mixed: seeds 0 1 by numerics 1, code aaaaaaaa; seeds 2 by numerics 1, code bbbbbbbb"
    )
    assert pd.isna(edited["tie_rank"]) and pd.isna(edited["worst_group_win_rate"])
    assert only(frame, aligner="good")["tie_rank"] == 1
    with pytest.raises(UserError, match="cannot be compared, it is mixed"):
        compare_aligners("good", "edited", tmp_path)


def test_rows_of_different_numerics_are_not_compared(tmp_path):
    board(tmp_path, {"good": GOOD}, numerics=1, code="a" * 16)
    board(tmp_path, {"bad": BAD}, numerics=2, code="b" * 16)
    board(tmp_path, {"old": BAD})
    frame = build(tmp_path)
    assert frame["tie_rank"].tolist() == [1, 1, 1]  # each is alone on its board
    assert only(frame, aligner="bad")["numerics"] == 2
    assert pd.isna(only(frame, aligner="old")["numerics"])
    with pytest.raises(UserError, match="made by numerics 1 and numerics 2: run one again"):
        compare_aligners("good", "bad", tmp_path)
    with pytest.raises(UserError, match="numerics 1 and a version before numerics"):
        compare_aligners("good", "old", tmp_path)
    csv_file = tmp_path / "results.csv"
    write_csv(frame, csv_file)
    assert read_csv(csv_file).equals(frame)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{0, 1, 2}] * 5 + [{0, 1, 2, 7}], {0, 1, 2}),  # a seed too many in one row
        ([{0, 1, 2}] * 5 + [{7}], {0, 1, 2}),  # a stray run
        ([{0, 1, 2, 3, 4}, {0}, {0}, {0}], {0, 1, 2, 3, 4}),  # quick looks beside one whole row
        ([{0, 1, 2}, {0, 1, 2}, {0, 2}], {0, 1, 2}),  # one is missing
        ([{0}, {1}], {0, 1}),  # nobody can say
        ([{0}], {0}),
        ([], set()),
    ],
)
def test_seeds_of_a_board_are_those_of_most_rows(rows, expected):
    assert common_seeds([frozenset(seeds) for seeds in rows]) == expected


def test_a_stray_run_unranks_nobody(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD, "fine": GOOD})
    before = build(tmp_path)
    make_run(tmp_path, GOOD, aligner="good", seed=7)
    make_run(tmp_path, GOOD, aligner="new", seed=9)
    three = [("many", 0.6, False), ("few", 0.2, True), ("rare", 0.2, True)]
    make_run(tmp_path, {"many": 0.8, "few": 0.7, "rare": 0.6}, aligner="odd", groups=three)
    with pytest.warns(UserWarning) as told:
        after = build(tmp_path)
    assert only(after, aligner="new")["status"] == "incomplete: no seed 0, 1, 2"
    assert only(after, aligner="odd")["status"] == "incomplete: no seed 1, 2"
    kept = after[after["aligner"].isin(before["aligner"])].reset_index(drop=True)
    assert kept.equals(before)
    said = {str(warning.message) for warning in told}
    assert "good on toy@1 nano synthetic 0.2: left out seed 7: the board has seeds 0 1 2" in said
    assert any("left out group rare" in line for line in said)


def test_a_sweep_declares_the_seeds(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD}, seeds=(0, 1))
    record = read_record(next(tmp_path.glob("good-*")))
    setting = setting_digest(record.task, record.task_version, record.spec)
    declare_seeds(tmp_path, {setting: {0, 1, 2}, "another": {5}})
    assert set(build(tmp_path)["status"]) == {"incomplete: no seed 2"}
    declare_seeds(tmp_path, {setting: {0}})
    with pytest.warns(UserWarning, match="left out seed 1"):
        assert build(tmp_path)["seeds"].tolist() == ["0", "0"]
    assert read_declared(tmp_path)["another"] == [5]
    for text in ("{", "[]", '{"a": 3}', "[-1]", "[true]"):
        (tmp_path / DECLARED / "another.json").write_text(text)
        with pytest.raises(UserError, match="is damaged: remove it"):
            build(tmp_path)

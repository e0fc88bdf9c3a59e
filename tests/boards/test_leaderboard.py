"""The leaderboard from fabricated runs: what is merged, what is not, who is ranked, and how it is shown."""

import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from prefbench.boards.columns import COLUMNS, METRICS, RANKS, REGRETS
from prefbench.boards.csv_file import to_csv
from prefbench.boards.names import config_hash, variant
from prefbench.boards.ranks import compare
from prefbench.boards.rows import load_rows
from prefbench.boards.show import show
from prefbench.boards.table import build, summarise_seeds
from prefbench.errors import UserError
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import read_record
from prefbench.stats.power import detectable_over_runs, minimum_detectable_effect
from support.boards import BAD, GOOD, board, only
from support.records import make_record, make_run


def give_regret(folder, lost):
    """Write a regret into a record, the egalitarian one being half of the largest."""
    plain = json.loads((folder / "record.json").read_text())
    plain["regret"] = {
        "beta": 0.1,
        "groups": [],
        "max_regret": 2 * lost,
        "egalitarian_regret": lost,
        "pareto_distance": 0.0,
        "kl": 1.0,
        "certificate": 0.0,
    }
    (folder / "record.json").write_text(json.dumps(plain))


def test_seeds_become_one_row(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD}, needs=("user_id",))
    frame = build(tmp_path)
    assert tuple(frame.columns) == COLUMNS
    assert frame["aligner"].tolist() == ["good", "bad"]
    assert frame[["rank", "rank_low", "rank_high"]].values.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert frame["role"].tolist() == ["learner", "learner"]
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


def test_worst_group_is_each_runs_own_and_the_smallest_mean_stands_beside_it(tmp_path):
    """Whoever sacrifices another group on each seed has nothing of it."""
    folders = [
        make_run(tmp_path, {"many": 1.0, "few": 0.3}, seed=0, n=400),
        make_run(tmp_path, {"many": 0.4, "few": 0.9}, seed=1, n=400),
        make_run(tmp_path, {"many": 0.9, "few": 0.5}, seed=2, n=400),
    ]
    row = build(tmp_path).iloc[0]
    records = [read_record(folder) for folder in folders]
    own = [record.worst_group_win_rate for record in records]
    few = [group.win_rate for record in records for group in record.groups if group.name == "few"]
    assert row["worst_group"] == "few"  # on two of three seeds
    assert row["worst_group_win_rate"] == pytest.approx(np.mean(own), abs=1e-6)
    assert row["worst_group_of_means"] == pytest.approx(np.mean(few), abs=1e-6)
    assert row["worst_group_of_means"] > row["worst_group_win_rate"] + 0.1
    assert row["worst_seed"] == pytest.approx(min(own), abs=1e-6)
    assert row["worst_group_cross_fitted"] == pytest.approx(row["worst_group_win_rate"], abs=0.01)
    gaps = [record.gap for record in records]
    assert row["gap"] == pytest.approx(np.mean(gaps), abs=1e-6)
    assert row["gap_sd"] == pytest.approx(np.std(gaps, ddof=1), abs=1e-6)


def test_interval_is_scipys_over_runs(tmp_path):
    board(tmp_path, {"good": GOOD}, seeds=range(4))
    row = build(tmp_path).iloc[0]
    own = [read_record(folder).worst_group_win_rate for folder in sorted(tmp_path.glob("good-*"))]
    expected = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    ends = (row["worst_group_win_rate_low"], row["worst_group_win_rate_high"])
    assert ends == pytest.approx(expected, abs=0.02)  # and half a prompt of doubt in sixty
    assert ends[0] < expected[0] and ends[1] > expected[1]
    assert row["worst_group_win_rate_sd"] == pytest.approx(np.std(own, ddof=1), abs=1e-6)


def test_mde_is_found_by_the_test_that_is_used(tmp_path):
    """From the spread over seeds; of one seed, from its prompts."""
    board(tmp_path, {"good": GOOD}, seeds=range(5))
    row = build(tmp_path).iloc[0]
    assert row["mde"] == pytest.approx(detectable_over_runs(row["worst_group_win_rate_sd"], 5), abs=1e-5)
    board(tmp_path / "one", {"good": GOOD}, seeds=[0])
    single = build(tmp_path / "one").iloc[0]
    assert single["mde"] == pytest.approx(minimum_detectable_effect(60), abs=1e-6)
    assert pd.isna(single["worst_group_win_rate_sd"])


def test_one_seed_and_one_mind_still_has_doubt(tmp_path):
    folder = make_run(tmp_path, GOOD)
    items = read_items(folder).assign(empty=False, response="x", **{"utility/many": 1.0, "utility/few": 1.0})
    write_items(items, folder)
    row = build(tmp_path).iloc[0]
    assert 0.95 < row["worst_group_win_rate_low"] < 0.99 and row["worst_group_win_rate_high"] == 1


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
    assert (frame["rank"] == 1).all()  # four boards; the two on one board are equal
    assert sorted(frame["rank_high"]) == [1, 1, 1, 2, 2]
    assert sorted(frame["variant"])[:3] == ["", "", ""]


def of(aligner, numerics=3, defaults=None, **options):
    """A record of an aligner with these options, and with those of other sections where they are tables."""
    spec = {"aligner": aligner, "aligner_options": options, "evaluate_options": options.pop("evaluate", {})}
    return make_record(None, status="failed", numerics=numerics, defaults=defaults, **spec)


def test_variant_names_what_is_not_a_default(monkeypatch):
    from prefbench import registry
    from prefbench.registry import Entry, Options

    class Toy(Options):
        former_defaults = {"steps": (3, 2)}

        beta: float = 0.1
        steps: int = 5

    monkeypatch.setattr(registry, "_entries", {("aligner", "toy"): Entry("aligner", "toy", len, Toy)})
    assert variant(of("toy", beta=0.1, steps=5)) == ""
    assert variant(of("toy", beta=0.5, steps=5)) == "aligner.beta=0.5"
    # Three steps were the default up to numerics 2, and are a choice since.
    old = [variant(of("toy", numerics, beta=0.1, steps=3)) for numerics in (None, 2, 3)]
    assert old == ["", "", "aligner.steps=3"]
    assert variant(of("toy", evaluate={"samples": 4})) == "evaluate.samples=4"
    assert variant(of("alien", x=1)).startswith("config ")


def test_a_record_says_itself_what_its_defaults_were():
    usual = {"aligner": {"x": 1, "path": None}, "evaluate": {"samples": 1}}
    told = of("alien", defaults=usual, x=1, path=None, evaluate={"samples": 1})
    assert variant(told) == ""
    told = of("alien", defaults=usual, x=2, path=None, must=True, evaluate={"samples": 4})
    assert variant(told) == "aligner.must=true, aligner.x=2, evaluate.samples=4"
    assert variant(told, ("evaluate",)) == "evaluate.samples=4"
    with pytest.raises(ValueError, match=r"defaults has aligner\.x, which is no option"):
        of("alien", defaults=usual, path=None)


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
    assert pd.isna(lazy["rank"])
    assert only(frame, aligner="good")["rank"] == 1


def test_a_missing_group_is_incomplete_and_has_no_numbers(tmp_path):
    three = [("many", 0.6, False), ("few", 0.2, True), ("rare", 0.2, True)]
    make_run(tmp_path, {"many": 0.8, "few": 0.7, "rare": 0.6}, aligner="whole", groups=three)
    make_run(tmp_path, GOOD, aligner="partial")
    partial = only(build(tmp_path), aligner="partial")
    assert partial["status"] == "incomplete: seed 0 lacks group rare"
    assert pd.isna(partial["worst_group_win_rate"]) and pd.isna(partial["rank"])


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
        assert pd.isna(row["worst_group_win_rate"]) and pd.isna(row["rank"]) and row["n_seeds"] == 2


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


def test_ranks_are_sets_where_noise_allows(tmp_path):
    draws = np.random.default_rng(0).random(300)
    turns = {"near": 0.29, "clear2": 0.31}  # who wins where differs: noise, not a small steady lead
    for aligner, rates in {
        "best": {"many": 0.9, "few": 0.80},
        "near": {"many": 0.9, "few": 0.74},
        "clear": {"many": 0.9, "few": 0.60},
        "clear2": {"many": 0.9, "few": 0.59},
    }.items():
        make_run(tmp_path, rates, n=300, draws=(draws + turns.get(aligner, 0)) % 1, aligner=aligner)
    frame = build(tmp_path)
    assert {row["aligner"]: tuple(row[name] for name in RANKS) for _, row in frame.iterrows()} == {
        "best": (1, 1, 2),
        "near": (2, 1, 2),
        "clear": (3, 3, 4),
        "clear2": (4, 3, 4),
    }


def test_a_noisy_learner_does_not_share_the_first_rank(tmp_path):
    """Its seeds are as unlike as can be: that leaves it a wide set, not a high rank."""
    for seed, few in enumerate((0.05, 0.9, 0.1, 0.6, 0.1)):
        make_run(tmp_path, {"many": 0.95, "few": few}, n=200, seed=seed, aligner="noisy")
    board(tmp_path, {"good": {"many": 0.9, "few": 0.8}}, seeds=range(5), n=200)
    noisy = only(build(tmp_path), aligner="noisy")
    assert tuple(noisy[name] for name in RANKS) == (2, 1, 2)


def test_learners_are_ranked_among_learners(tmp_path):
    """A floor and a ceiling stand beside them: neither takes a rank or counts among the compared."""
    rates = {"gold_maxmin": 0.95, "good": 0.8, "reference": 0.5, "bad": 0.2}
    for aligner, few in rates.items():
        needs = ("oracle",) if aligner == "gold_maxmin" else ()
        board(tmp_path, {aligner: {"many": 0.96, "few": few}}, n=200, needs=needs)
    frame = build(tmp_path)
    assert frame["aligner"].tolist() == list(rates)
    assert frame["role"].tolist() == ["gold", "learner", "floor", "learner"]
    assert frame["rank"].tolist() == [pd.NA, 1, pd.NA, 2] and frame["rank_high"].max() == 2
    text = show(frame, "markdown")
    assert "| gold" in text and "| floor" in text and "1 [1, 1]" in text


def test_worlds_are_ranked_by_regret(tmp_path):
    """The less the better, whatever the win rate; one row without it and the board is ranked by win rates."""
    for aligner, few, lost in (("rich", 0.9, 0.3), ("fair", 0.7, 0.1)):
        for seed in range(4):
            give_regret(
                make_run(tmp_path, {"many": 0.95, "few": few}, seed=seed, aligner=aligner), lost + seed / 50
            )
    frame = build(tmp_path)
    assert frame["aligner"].tolist() == ["fair", "rich"] and frame["rank"].tolist() == [1, 2]
    assert frame["rank_high"].tolist() == [1, 2]  # the differences are the same on all seeds
    fair = frame.iloc[0]
    assert fair["egalitarian_regret"] == pytest.approx(0.13)
    ends = stats.ttest_1samp([0.1, 0.12, 0.14, 0.16], 0).confidence_interval(0.95)
    assert (fair["egalitarian_regret_low"], fair["egalitarian_regret_high"]) == pytest.approx(ends, abs=1e-6)
    assert "second by egalitarian regret" in show(frame, "markdown")
    board(tmp_path, {"other": {"many": 0.95, "few": 0.2}}, seeds=range(4))
    assert build(tmp_path)["aligner"].tolist() == ["rich", "fair", "other"]


def test_two_that_are_one_optimum_are_not_told_apart(tmp_path):
    """A solver's last digits are the same on every seed, and no difference."""
    for aligner, more in (("one", 0.0), ("same", 1e-5)):
        for seed in range(5):
            give_regret(make_run(tmp_path, GOOD, seed=seed, aligner=aligner), 0.1 + seed / 50 + more)
    frame = build(tmp_path)
    assert frame["aligner"].tolist() == ["one", "same"] and frame["rank_high"].tolist() == [2, 2]


def test_one_seed_of_a_world_leaves_every_rank_open(tmp_path):
    for aligner, lost in (("rich", 0.3), ("fair", 0.1)):
        give_regret(make_run(tmp_path, GOOD, aligner=aligner), lost)
    frame = build(tmp_path)
    assert frame[list(RANKS)].values.tolist() == [[1, 1, 2], [2, 1, 2]]
    assert frame["egalitarian_regret_low"].isna().all()


def test_pairing_sees_what_two_intervals_do_not(tmp_path):
    draws = np.random.default_rng(0).random(300)
    make_run(tmp_path, {"many": 0.9, "few": 0.60}, n=300, draws=draws, aligner="a")
    make_run(tmp_path, {"many": 0.9, "few": 0.54}, n=300, draws=draws, aligner="b")
    frame = build(tmp_path)
    a, b = only(frame, aligner="a"), only(frame, aligner="b")
    assert a["worst_group_win_rate_low"] < b["worst_group_win_rate_high"]  # the intervals overlap
    assert (a["rank_high"], b["rank_low"]) == (1, 2)
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
    assert min(summary["groups"].values()) == pytest.approx(summary["worst_group_of_means"], abs=1e-6)
    for name in ("worst_seed", "worst_group_cross_fitted", "mde"):
        assert summary[name] == row[name]
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
        give_regret(folder, lost)
    row = build(tmp_path).iloc[0]
    assert [row[name] for name in REGRETS] == pytest.approx([0.3, 0.15, 0.0])
    make_run(tmp_path, GOOD, seed=2)
    assert pd.isna(build(tmp_path).iloc[0]["max_regret"])


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
    rich = show(frame, "table")
    assert cell in rich and "[red]odd|one" in rich and "user_id" in rich and "diverged" in rich
    monkeypatch.setenv("COLUMNS", "80")
    narrow = show(frame, "table")
    assert cell in narrow and "too narrow for words" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    longer = frame.assign(task=["bandit_two_group@1", *["gridworld_two_group@12"] * (len(frame) - 1)])
    for width in (80, 64):
        lines = show(longer, "table", Console(width=width)).splitlines()
        assert max(map(len, lines)) <= width
        (at,) = (i for i, line in enumerate(lines) if cell in line)
        assert row["worst_group"] in lines[at] + lines[at + 1], "a figure and its group are whole"
        assert "see the markdown or csv format" in " ".join(lines), "and so is what is said below"
    page = show(frame, "markdown")
    assert cell in page and "[red]odd\\|one" in page
    table, *said = page.split("\n\n")
    lines = table.splitlines()
    assert len(lines) == 2 + len(frame) and len(said) == 2
    assert (
        said[0].startswith("a rank such as 2 [1, 4]: second by worst group")
        and "from 3 seeds cover" in said[1]
    )
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "| regret" not in table and "worst, told" not in table
    assert show(frame, "csv").splitlines()[0] == ",".join(COLUMNS)
    with pytest.raises(UserError, match="markdown"):
        show(frame, "rich")

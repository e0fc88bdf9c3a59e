"""Policies that are told what is wanted, pairs that a task brings along, and rewards as the truth."""

import json

import numpy as np
import pandas as pd
import pytest

from prefbench import registry, seeds
from prefbench.boards.show import show
from prefbench.boards.submission import submit
from prefbench.boards.table import build
from prefbench.errors import UserError
from prefbench.evaluate.gold import GoldReward
from prefbench.evaluate.win_rate import outcomes
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.content import Conciseness
from prefbench.problem.utilities.sentiment import VaderSum
from prefbench.record.files import read_record
from prefbench.record.summary import summarise_prompted
from prefbench.record.verify import verify
from prefbench.registry import task
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench_tasks.synthetic_reviews import synthetic_reviews
from support.tiny import TINY_ALIGNER

SHORT, KIND = Conciseness(empty=-8.0), VaderSum(empty=-10.0)
NANO = ["model.steps=20", "model.width=16", "model.layers=1", "model.heads=2"]


@pytest.fixture(scope="module", autouse=True)
def tasks():
    """Tasks of this file alone; the registry is put back afterwards."""
    before = dict(registry._entries)

    @task("told", version=1)
    def told(
        data: str, minority_ratio: float, seed: int, *, gold: bool = False, given: bool = False
    ) -> Problem:
        """Reviews with instructions, with gold rewards or given pairs."""
        texts = synthetic_reviews(400, seeds.rng(seed, "corpus")).texts
        prompts = list(dict.fromkeys(" ".join(text.split()[:6]) for text in texts))
        train, checking, test, rest = prompts[:80], prompts[80:96], prompts[96:136], prompts[136:236]
        utilities = {"kind": KIND, "short": SHORT}
        if gold:
            utilities = {
                name: GoldReward(name, tuple(rest), teacher=inner, temperature=0.3)
                for name, inner in utilities.items()
            }
        shares = (1 - minority_ratio, minority_ratio)
        asks = ("say it kindly.", "say it in short.")
        return Problem(
            groups=tuple(
                Group(name, share, utility, ask)
                for (name, utility), share, ask in zip(utilities.items(), shares, asks, strict=True)
            ),
            prompts=Prompts(tuple(train), tuple(checking), tuple(test)),
            corpus=texts,
            annotators=8,
            pairs_per_annotator=10,
            temperature=0.5,
            response_tokens=8,
            given=_given(train, checking, test) if given else None,
        )

    yield
    registry._entries.clear()
    registry._entries.update(before)


def _given(train, checking, test) -> pd.DataFrame:
    rows = []
    for split, prompts in (("train", train), ("validation", checking), ("test", test)):
        for index, prompt in enumerate(prompts):
            user = index % 8
            group = "short" if user < 2 else "kind"
            good, bad = (
                ("good.", "a long and dull text.") if group == "short" else ("a lovely joy.", "awful.")
            )
            rows.append((split, prompt, good, bad, user, group))
    # The same comparison by both groups: once apart, once together.
    first = test[0]
    for group, user, chosen, rejected in (
        ("kind", 7, "yes.", "no."),
        ("short", 0, "no.", "yes."),
        ("kind", 7, "a.", "b."),
        ("short", 0, "a.", "b."),
    ):
        rows.append(("test", first, chosen, rejected, user, group))
    return pd.DataFrame(rows, columns=["split", "prompt", "chosen", "rejected", "user_id", "group"])


def run_it(folder, aligner="shortest", **options):
    known = registry.get("aligner", aligner).options.model_fields
    sets = [f"aligner.{key}={value}" for key, value in TINY_ALIGNER.items() if key in known]
    sets += [f"task.{key}={value}" for key, value in options.items()]
    return run(make_spec(task="told", aligner=aligner, sets=parse_sets([*NANO, *sets])), folder)


def test_each_group_is_asked_for_outright_and_judges_for_itself(tmp_path):
    folder, record = run_it(tmp_path)
    table = pd.read_parquet(folder / "prompted.parquet")
    items = pd.read_parquet(folder / "items.parquet")
    assert len(table) == 2 * len(items) == 80
    for group, ask, utility in (("kind", "say it kindly.", KIND), ("short", "say it in short.", SHORT)):
        mine = table[table["group"] == group]
        assert (mine["prompt"].to_numpy() == [f"{ask} {prompt}" for prompt in items["prompt"]]).all()
        assert np.array_equal(mine["utility"], utility(mine["prompt"].tolist(), mine["response"].tolist()))
    for group in record.groups:
        mine = table[table["group"] == group.name]
        won = outcomes(
            mine["utility"].to_numpy().reshape(-1, 1, 1),
            mine["reference_utility"].to_numpy().reshape(-1, 1, 1),
            mine["empty"].to_numpy().reshape(-1, 1),
            mine["reference_empty"].to_numpy().reshape(-1, 1),
        )
        told = group.prompted
        assert (told.wins, told.ties, told.losses) == tuple(int((won == v).sum()) for v in (1, 0.5, 0))
        assert told.ci_low <= told.win_rate <= told.ci_high
    rates = [group.prompted.win_rate for group in record.groups]
    assert record.prompted_worst_group_win_rate == min(rates)
    assert verify(folder) == []


def test_the_reference_against_itself_is_a_toss_up_when_told_too(tmp_path):
    _, record = run_it(tmp_path, aligner="reference")
    # Forty prompts and two draws of one policy: three standard errors are 0.24.
    assert all(abs(group.prompted.win_rate - 0.5) < 0.24 for group in record.groups)


def test_a_record_that_the_prompted_evidence_does_not_support_is_found(tmp_path):
    folder, record = run_it(tmp_path)
    table = pd.read_parquet(folder / "prompted.parquet")
    table.loc[0, "utility"] += 100
    table.to_parquet(folder / "prompted.parquet", index=False)
    assert any("kind.prompted" in line for line in verify(folder))
    groups = [(group.name, group.share, group.is_minority) for group in record.groups]
    with pytest.raises(UserError, match=r"every prompt|lacks some"):
        summarise_prompted(table.iloc[1:], groups, 0)
    with pytest.raises(UserError, match="no column 'utility'"):
        summarise_prompted(table.drop(columns="utility"), groups, 0)
    (folder / "prompted.parquet").unlink()
    with pytest.raises(UserError, match="is missing"):
        verify(folder)


def test_the_leaderboard_has_a_column_of_it_and_submissions_carry_it(tmp_path):
    folder, record = run_it(tmp_path / "runs")
    frame = build(tmp_path / "runs")
    row = frame.iloc[0]
    assert row["prompted_worst_group_win_rate"] == pytest.approx(record.prompted_worst_group_win_rate)
    low, high = row["prompted_worst_group_win_rate_low"], row["prompted_worst_group_win_rate_high"]
    assert low <= row["prompted_worst_group_win_rate"] <= high
    assert "worst, told" in show(frame, "markdown")
    (packed,) = submit([folder], tmp_path / "handed-in")
    assert verify(packed) == [] and (packed / "prompted.parquet").is_file()


def test_pairs_that_a_task_brings_are_what_aligners_see(tmp_path):
    _, record = run_it(tmp_path, aligner="dpo", given=True)
    assert record.status == "ok" and not list((tmp_path / "stages").glob("pairs/*"))
    conflict = record.task_report["conflict"]["kind vs short"]
    assert conflict == {"pairs_shared": 2, "pairs_disagreed_on": 0.5}
    _, rewarded = run_it(tmp_path, aligner="maxmin_known_groups", given=True)
    # Held-out pairs are counted for the group that labelled them, and its labels have one pattern.
    assert all(group.reward_accuracy > 0.8 for group in rewarded.groups)


def test_a_gold_reward_is_fitted_before_anything_uses_it(tmp_path):
    folder, record = run_it(tmp_path, aligner="longest", gold=True)
    report = record.task_report["utilities"]
    assert report["kind"]["gold_pairs"] == 90 and 0 <= report["kind"]["gold_accuracy"] <= 1
    assert record.groups[0].utility.startswith("gold_reward/1:kind:")
    items = pd.read_parquet(folder / "items.parquet")
    gold = items["utility/short"].to_numpy()
    assert np.isfinite(gold).all() and gold.std() > 0
    again, _ = run_it(tmp_path / "again", aligner="longest", gold=True)
    assert (again / "items.parquet").read_bytes() == (folder / "items.parquet").read_bytes()


def test_a_gold_reward_orders_what_its_teacher_orders(tiny_backbone):
    class Characters:
        name, unit = "characters/1", "characters"

        def __call__(self, prompts, responses):
            return np.array([float(len(text)) for text in responses])

    backbone, longer = tiny_backbone(response_tokens=8), Characters()
    prompts = tuple(f"the film number {i} was" for i in range(1500))
    gold = GoldReward("short", prompts, teacher=longer).prepare(backbone, None, 0)
    test = [f"the story number {i} was" for i in range(400)]
    both = backbone.reference.sample(test, 2, seeds.child(3, "test"))
    first, second = [row[0] for row in both], [row[1] for row in both]
    truth = longer(test, first) - longer(test, second)
    found = gold(test, first) - gold(test, second)
    agree = (np.sign(truth) == np.sign(found))[truth != 0].mean()
    # 400 pairs at chance would stay below 0.58 but once in a thousand times.
    assert agree > 0.6 and gold.accuracy > 0.58
    assert gold(["a"], [" ."])[0] == -10


def test_a_gold_reward_says_so_when_asked_too_early():
    with pytest.raises(RuntimeError, match="before it was fitted"):
        GoldReward("g", ("p",))(["p"], ["r"])


def test_old_records_are_read_and_new_ones_say_nothing_where_there_is_nothing(tmp_path):
    spec = make_spec(task="bandit_two_group", aligner="reference")
    folder, record = run(spec, tmp_path)
    assert record.prompted_worst_group_win_rate is None and not (folder / "prompted.parquet").exists()
    data = json.loads((folder / "record.json").read_text())
    data["schema_version"] = 2
    for name in ("prompted_worst_group_win_rate", "prompted_worst_group_win_rate_ci"):
        del data[name]
    for group in data["groups"]:
        del group["prompted"]
    (folder / "record.json").write_text(json.dumps(data))
    assert read_record(folder).groups == record.groups


def test_the_table_of_a_run_fits_a_narrow_terminal(tmp_path):
    from rich.console import Console

    from prefbench.report.tables import render, result_table

    _, record = run_it(tmp_path)
    lines = render(result_table(record), Console(width=80)).splitlines()
    assert any(
        line.split()[:2] == ["kind", "75.0%"] or line.split()[:2] == ["kind", "80.0%"] for line in lines
    )
    assert any("told" in line for line in lines[:5]) and max(map(len, lines)) <= 80
    for group in record.groups:
        told = f"{group.prompted.win_rate:.2f} [{group.prompted.ci_low:.2f}, {group.prompted.ci_high:.2f}]"
        assert any(told in line and line.split()[0] == group.name for line in lines)

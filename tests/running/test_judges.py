"""People who judge a personal policy in tuning: their contexts, what they are told, and one law for all."""

import numpy as np
import pandas as pd
import pytest

import prefbench as pb
from prefbench import registry
from prefbench.estimate.estimate import problem_of
from prefbench.evaluate.win_rate import outcomes
from prefbench.learn.simple_policies import ConstantPolicy
from prefbench.problem.people import people_of
from prefbench.record.files import read_record
from prefbench.running.judges import asked_of_judges, judges_of
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support import personal
from support.small_world import SMALL, WORLD
from support.tiny import TINY_SETS

RULES = ("S0", "S1", "S2", "S3")


def validated(runs, task, aligner, sets):
    """A run on validation prompts that ended well: its folder and its record."""
    spec = make_spec(task=task, aligner=aligner, minority_ratio="3:1", seed=1, sets=sets, split="validation")
    folder, record = run(spec, runs)
    assert record.status == "ok", record.message
    return spec, folder, record


def scores(record):
    return [getattr(record.selection, rule) for rule in RULES]


def world(*more):
    options = {**SMALL, "features": "swapped", "annotators": 8}
    return parse_sets([*(f"task.{name}={value}" for name, value in options.items()), *more])


def plain_and_wrapped(make):
    """Two aligners with one policy: for everybody, and for each person the same."""

    def plain(view, backbone, options: pb.NoOptions):
        """One for everybody."""
        return make(view, backbone)

    def wrapped(view, backbone, options: pb.NoOptions):
        """The same for each."""
        policy = make(view, backbone)
        return pb.Personal(policy, lambda context: policy)

    pb.aligner("plain")(plain)
    pb.aligner("wrapped", sees={"pairs"})(wrapped)


@pytest.mark.parametrize("spread", [0, 0.5])
def test_a_policy_that_ignores_people_has_the_scores_of_the_plain_one_in_a_world(tmp_path, spread):
    with registry.lent():
        plain_and_wrapped(lambda view, backbone: backbone.reference)
        found = [
            validated(tmp_path, WORLD, name, world(f"task.spread={spread}"))[2]
            for name in ("plain", "wrapped")
        ]
    assert scores(found[0]) == pytest.approx(scores(found[1]), abs=1e-8)
    assert scores(found[0])[:3] == pytest.approx(
        [0, 0, 0], abs=1e-9
    )  # the reference's value is everybody's zero


@pytest.mark.parametrize("spread", [0, 0.5])
def test_a_policy_that_ignores_people_has_the_judgements_of_the_plain_one_of_texts(tmp_path, spread):
    sets = parse_sets([*TINY_SETS, f"task.spread={spread}"])
    with registry.lent():
        plain_and_wrapped(lambda view, backbone: ConstantPolicy(" a good film ."))
        found = [validated(tmp_path, "imdb_two_group", name, sets) for name in ("plain", "wrapped")]
    plain, wrapped = (pd.read_parquet(folder / "judgements.parquet") for _, folder, _ in found)
    pd.testing.assert_frame_equal(plain, wrapped.drop(columns="response"))
    assert scores(found[0][2])[:3] == scores(found[1][2])[:3]


def test_a_judge_is_known_by_her_first_training_pairs_and_judges_other_prompts(tmp_path):
    personal.TOLD.clear()
    sets = parse_sets([*TINY_SETS, "task.context_pairs=3", "evaluate.samples=2"])
    with personal.personal():
        spec, folder, record = validated(tmp_path, "imdb_two_group", "length_by_votes", sets)
    problem = problem_of(spec)
    judges = judges_of(problem, spec.seed)
    assert [judge.group for judge in judges] == sorted(judge.group for judge in people_of(problem, spec.seed))
    told = personal.TOLD[-len(judges) :]  # after those of the strata
    labels = pd.read_parquet(tmp_path / "stages" / "labels" / record.stages["labels"] / "labels.parquet")
    train = labels[labels["split"] == "train"]
    for judge, context in zip(judges, told, strict=True):
        hers = train[train["user_id"] == judge.id].iloc[:3]
        assert context.pairs.prompts == hers["prompt"].tolist()
        assert context.pairs.chosen == hers["chosen"].tolist()
    judged = pd.read_parquet(folder / "judgements.parquet")
    asked = asked_of_judges(spec, problem)
    assert judged["user_id"].tolist() == asked.user.tolist()
    assert len(judged) == len(judges) * min(problem.pairs_per_annotator, 2 * len(problem.measured))
    assert not {p for context in personal.TOLD for p in context.pairs.prompts} & set(problem.measured)


def test_shares_and_the_true_rate_are_of_what_each_was_told(tmp_path):
    sets = parse_sets([*TINY_SETS, "task.context_pairs=3"])
    with personal.personal():
        spec, folder, record = validated(tmp_path, "imdb_two_group", "length_by_votes", sets)
    problem, judged = problem_of(spec), pd.read_parquet(folder / "judgements.parquet")
    items = pd.read_parquet(folder / "items.parquet").set_index(["prompt_id", "sample"])
    theirs = items.loc[
        pd.MultiIndex.from_frame(judged[["prompt_id", "sample"]]), "reference_response"
    ].tolist()
    assert judged["response"].tolist() != theirs
    asked = [problem.measured[place] for place in judged["prompt_id"]]
    rates = {}
    for group in problem.groups:
        mine = np.flatnonzero(judged["group"] == group.name)
        texts = [[column[row] for row in mine] for column in (asked, judged["response"].tolist(), theirs)]
        ours, other = (each[:, None, None] for each in group.utility.compare(*texts))
        blank = [np.array([[not text.strip()] for text in column]) for column in texts[1:]]
        rates[group.name] = float(outcomes(ours, other, *blank).mean())
    assert record.selection.S3 == pytest.approx(min(rates.values()))
    assert record.selection.S0 == judged["won"].mean()
    assert record.selection.S2 == judged.groupby("group")["won"].mean().min()


def test_values_of_a_world_are_each_ones_own_by_what_is_known_of_her(tmp_path):
    with personal.personal():
        _, folder, record = validated(tmp_path, WORLD, "own_reward", world("task.context_pairs=4"))
    # Each labelled four pairs, so that those who judge are given what the seen are given in the strata.
    assert record.selection.measure == "value" and not (folder / "judgements.parquet").exists()
    (seen,) = (stratum for stratum in record.people.strata if stratum.seen)
    values = [group.value for group in seen.exact.groups]
    assert record.selection.S0 == pytest.approx(np.average(values, weights=[6, 2]))
    assert record.selection.S2 == pytest.approx(min(values))
    regret = record.regret
    best_single = regret.egalitarian_regret + min(group.value for group in regret.groups)
    assert record.selection.S3 == pytest.approx(min(values) - best_single)
    assert read_record(folder) == record

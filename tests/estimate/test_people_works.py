"""Work around personal policies, held against what is counted in a run: contexts, and answers to people."""

import dataclasses
from unittest.mock import patch

import pytest

import prefbench as pb
from prefbench import registry
from prefbench.backbone.language import forward, policies
from prefbench.backbone.shapes import SHAPES
from prefbench.estimate import estimate
from prefbench.estimate.hardware import HARDWARE
from prefbench.estimate.passes import sizes_of, with_people, works_of
from prefbench.running import policy as stage
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.estimated import problem
from support.tiny import TINY_SETS

PEOPLE = ["task.test_prompts=12", "task.unseen_annotators=8", "task.context_pairs=4"]
OWN = {"candidates": 3, "reward_epochs": 1, "reward_group_epochs": 1, "em_restarts": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One runs folder: reference and labels are those of all."""
    return tmp_path_factory.mktemp("runs")


def counted(runs, name, *more):
    """A run's specification, and the rows that went through models while people were answered in it."""
    known = registry.get("aligner", name).options.model_fields
    sets = [f"aligner.{key}={value}" for key, value in OWN.items() if key in known]
    spec = make_spec(
        task="imdb_two_group", aligner=name, sets=parse_sets([*TINY_SETS, *PEOPLE, *sets, *more])
    )
    rows = {"sample": 0, "score": 0}
    predictions, states = forward.predictions, forward._states
    sample, answering = policies.sample_tokens, stage.personal_answers

    def predicting(model, batch):
        rows["score"] += len(batch.mask)
        return predictions(model, batch)

    def reading(trunk, batch, place):
        rows["score"] += len(batch.mask)
        return states(trunk, batch, place)

    def sampling(model, codec, prompts, n, *rest):
        rows["sample"] += len(prompts) * n
        return sample(model, codec, prompts, n, *rest)

    def answers(*given):
        with (
            patch.object(forward, "predictions", predicting),
            patch.object(forward, "_states", reading),
            patch.object(policies, "sample_tokens", sampling),
        ):
            return answering(*given)

    with patch.object(stage, "personal_answers", answers):
        _, record = run(spec, runs)
    assert record.status == "ok", record.message
    return spec, rows


def declared(spec):
    """Rows by kind of the stage `people`, as they are told beforehand."""
    problem = estimate.problem_of(spec)
    sizes = with_people(sizes_of(problem), problem, registry.get("aligner", spec.aligner).sees, spec.seed)
    works = [work for work in works_of(spec, sizes) if work.stage == "people"]
    return {kind: sum(work.rows for work in works if work.kind == kind) for kind in ("sample", "score")}


@pytest.mark.parametrize(
    ("name", "exact"),
    [("user_regression", True), ("low_rank", False)],  # who labelled is known to low_rank by her id
)
def test_candidates_are_drawn_once_and_every_context_is_read(runs, name, exact):
    spec, rows = counted(runs, name)
    told = declared(spec)
    assert rows["sample"] == told["sample"] == 12 * 3
    found, most = rows["score"], told["score"]
    assert (found == most) if exact else (0 < found < most), (found, most)


def test_policies_that_are_no_selections_answer_everybody_and_are_scored_with_the_reference(runs):
    def echo(view, backbone, options: pb.NoOptions):
        """What the reference says, to each person."""
        return pb.Personal(backbone.reference, lambda context: backbone.reference)

    with registry.lent():
        pb.aligner("echo", sees={"pairs"}, work=lambda recipe: None)(echo)
        spec, rows = counted(runs, "echo", "evaluate.samples=2")
        told = declared(spec)
    # Twelve prompts, two groups: the seen, n of 1, 2 and 4, and three controls; nothing is known at n = 0.
    assert rows["sample"] == told["sample"] == 12 * 2 * 7 * 2
    assert rows["score"] == told["score"] == 2 * rows["sample"]


def people_in(spec):
    problem = estimate.problem_of(spec)
    sees = registry.get("aligner", spec.aligner).sees
    return with_people(sizes_of(problem), problem, sees, spec.seed).people


def stated(name, *more):
    return make_spec(task="imdb_two_group", aligner=name, sets=parse_sets([*TINY_SETS, *PEOPLE, *more]))


def test_contexts_are_counted_as_often_as_somebody_is_adapted_to():
    found = people_in(stated("em_personal"))
    # Eight seen with ten pairs each; eight unseen with 1, 2 and 4, and with four in each of three controls.
    assert (found.contexts, found.pairs) == (8 + 8 * 6, 8 * 10 + 8 * (1 + 2 + 4) + 3 * 8 * 4)
    assert found.answers == 12 * 2 * 7 and found.compared == 12 * 8
    assert people_in(stated("known_groups_personal")).pairs == 0
    assert people_in(stated("dpo")) == dataclasses.replace(
        found, answers=0, contexts=0, pairs=0, compared=12 * 5
    )
    assert people_in(stated("dpo", "task.unseen_annotators=0", "task.context_pairs=8")) is None


def test_people_are_a_stage_of_the_estimate_with_memory_and_time():
    whole, without = (
        estimate.estimate(spec, SHAPES["tulu2-7b"], estimate.problem_of(spec))
        for spec in (
            stated("em_personal"),
            stated("em_personal", "task.unseen_annotators=0", "task.context_pairs=8"),
        )
    )
    (people,) = (stage for stage in whole.stages if stage.name == "people")
    (seen,) = (stage for stage in without.stages if stage.name == "people")
    assert people.scored > seen.scored > 0 and people.sampled == seen.sampled > 0
    assert people.flops > seen.flops and whole.flops - without.flops == pytest.approx(
        people.flops - seen.flops
    )
    h200 = HARDWARE["h200"]
    assert whole.hours(h200)[1] > without.hours(h200)[1]
    nobody = estimate.estimate(
        stated("dpo", "task.unseen_annotators=0", "task.context_pairs=8"), SHAPES["tulu2-7b"], problem()
    )
    assert "people" not in [stage.name for stage in nobody.stages]

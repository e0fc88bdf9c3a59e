"""The room in words, and as a record has it: the exact ends of the curve of a user's pairs."""

import pytest

from prefbench.evaluate.context_curve import curve
from prefbench.evaluate.room import Room
from prefbench.record.room import room_of
from prefbench.report.tables import room_line
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.commands import typed
from support.figures.problems import stated
from support.small_world import SMALL, WORLD

PEOPLE = {"unseen_annotators": 8, "context_pairs": 2}


def spec_of(aligner, **options):
    sets = [f"task.{name}={value}" for name, value in {**SMALL, "annotators": 8, **options}.items()]
    return make_spec(task=WORLD, aligner=aligner, minority_ratio=0.25, sets=parse_sets(sets))


def test_a_room_in_words():
    assert Room(1.57, 4.25).sentence.startswith("Room: 2.68. The worst group has 1.57 of the best single")
    nothing = Room(0.1, 0.1 + 1e-9)
    assert nothing.size == 0 and "here nothing can be shown of personal policies" in nothing.sentence


@pytest.mark.parametrize("features", ["same", "swapped"])
@pytest.mark.parametrize("aligner", ["reference", "gold_maxmin"])
def test_a_record_has_the_room_of_its_problem_whatever_the_aligner(tmp_path, features, aligner):
    spec = spec_of(aligner, features=features, **PEOPLE)
    _, record = run(spec, tmp_path)
    first, *_, last = curve(stated(spec), 0, contexts=2, pairs=(1,))
    found = room_of(record)
    assert found == pytest.approx((first["value"], last["value"]), abs=1e-7)
    assert (found.size == 0) == (features == "same")
    assert room_line(record).startswith(found.sentence)


def test_nothing_is_said_of_a_room_where_nobody_is_told_apart_or_optima_are_unknown(tmp_path):
    _, record = run(spec_of("reference", features="swapped"), tmp_path)
    assert room_of(record) is not None and room_line(record) is None
    assert room_of(record.model_copy(update={"regret": None})) is None


def test_a_run_prints_it_before_who_won(tmp_path):
    words = ["run", "--task", WORLD, "--aligner", "reference", "--runs-dir", tmp_path / "runs"]
    options = {**SMALL, "annotators": 8, **PEOPLE}
    for name, value in options.items():
        words += ["--set", f"task.{name}={value}"]
    outcome = typed(*words, "--minority-ratio", "3:1")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Room: 0. The best single policy already gives the worst group")
    assert outcome.out.index("Room:") < outcome.out.index("win rate")

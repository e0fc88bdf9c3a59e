"""The time of a run on a processor, from what `prefbench doctor` stored of it."""

from dataclasses import replace

import pytest

from prefbench import machine
from prefbench.backbone.shapes import SHAPES, Shape
from prefbench.estimate import setting, tell, time
from prefbench.estimate.estimate import estimate, problem_of
from prefbench.estimate.hardware import ADAPTED_RANK, ADAPTED_TOKEN, MEASURED_TOKEN, processor
from prefbench.estimate.setting import ModelSetting, threads_of
from prefbench.machine import MACHINE, Fingerprint, Machine, Recommended
from prefbench.spec import make_spec
from prefbench.tools import rates
from prefbench.work import Passes

COUNTS = {"threads_small": 1, "threads_large": 2, "workers_small": 1, "sweep_threads_large": 1}


def measured(**changes) -> Machine:
    given = {
        "fingerprint": Fingerprint(processor="some", cores=2, torch="2"),
        "measured": "2026-01-01T00:00:00+00:00",
        "load": 0.0,
        "products": {
            "float32, 1 thread": 5e10,
            "float32, 2 threads": 1e11,
            "bfloat16, 2 threads": 2e11,
            "bfloat16, NVIDIA L4": 1e14,
        },
        "reads": {"1 thread": 1e10, "2 threads": 2e10, "NVIDIA L4": 3e11},
        "small": {1: 1e4, 2: 9e3},
        "large": {1: 0.3e11 / MEASURED_TOKEN, 2: 0.6e11 / MEASURED_TOKEN},
        "recommended": Recommended(**COUNTS, workers_large=1),
    }
    return Machine(**{**given, **changes})


def test_the_arithmetic_of_a_token_is_that_of_the_layer_that_is_trained():
    size = rates.LARGE
    assert MEASURED_TOKEN == 3 * size.layers * (24 * size.width**2 + 4 * size.width * size.tokens)
    shape = Shape(1, size.width, size.heads, size.heads, 4 * size.width, 8, size.tokens, True, False, True)
    setting = ModelSetting(shape, 2, rank=ADAPTED_RANK)
    assert setting.training(1, size.tokens, 0) == ADAPTED_TOKEN


@pytest.mark.parametrize(
    ("threads", "float32", "bfloat16", "bandwidth"),
    # By hand: 0.3 and 0.6 TFLOP/s of training in float32, 0.4 and 0.5 of adapters in bfloat16; three threads
    # lie between two and four, and beyond four everything stays.
    [
        (1, 3e10, 4e10, 1e10),
        (2, 6e10, 5e10, 1.5e10),
        (3, 7e10, 5.5e10, 2e10),
        (4, 8e10, 6e10, 2.5e10),
        (9, 8e10, 6e10, 2.5e10),
    ],
)
def test_a_processor_is_what_was_measured_with_as_many_threads(threads, float32, bfloat16, bandwidth):
    found = processor(
        measured(
            products={
                "float32, 1 thread": 5e10,
                "float32, 4 threads": 1e11,
                "bfloat16, 1 thread": 8e10,
                "bfloat16, 4 threads": 2e11,
                "bfloat16, cuda:0": 1e14,
            },
            reads={"1 thread": 1e10, "4 threads": 2.5e10, "cuda:0": 3e12},
            large={count: rate / MEASURED_TOKEN for count, rate in [(1, 3e10), (2, 6e10), (4, 8e10)]},
            adapted={count: rate / ADAPTED_TOKEN for count, rate in [(1, 4e10), (2, 5e10), (4, 6e10)]},
        ),
        8e9,
        threads,
    )
    assert (found.reached(4), found.reached(2)) == pytest.approx((float32, bfloat16))
    assert found.bandwidth == pytest.approx(bandwidth) and found.memory == 8e9


def test_without_training_in_bfloat16_it_is_as_fast_as_in_float32():
    for threads, reached in [(1, 3e10), (2, 6e10)]:
        found = processor(measured(), 8e9, threads)
        assert (found.reached(4), found.reached(2)) == pytest.approx((reached, reached))


@pytest.mark.parametrize(
    ("threads", "dtype", "hours"),
    # Arithmetic alone takes FLOPs / rate: of 3.6e14, 1 h at 0.1 TFLOP/s.
    [(1, "float32", 12.0), (2, "float32", 6.0), (1, "bfloat16", 9.0), (2, "bfloat16", 7.2)],
)
def test_hours_are_those_of_the_threads_and_the_type_that_a_run_takes(threads, dtype, hours):
    """The passes train for 1.296 PFLOP; the rates that training reached are 30, 60, 40 and 50 GFLOP/s."""
    machine = measured(adapted={1: 4e10 / ADAPTED_TOKEN, 2: 5e10 / ADAPTED_TOKEN})
    sets = {"model": {"dtype": dtype, "threads": threads, "lora": True}}
    spec = make_spec(task="imdb_two_group", aligner="dpo", model="gpt2", sets=sets)
    found = estimate(spec, SHAPES["gpt2"], problem_of(spec))
    train = Passes("policy", "train", rows=1e5, fewest=1e5, batch=16, prompt=20, response=12)
    once = time.flops(train, found.setting, found.sizes)
    work = replace(train, rows=1e5 * 1.296e15 / once, fewest=1e5 * 1.296e15 / once)
    here = processor(machine, 8e9, threads_of(spec))
    assert replace(found, works=(work,)).hours(here) == pytest.approx((hours, hours))


def test_threads_are_those_of_the_option_else_of_nano_else_of_this_machine(monkeypatch):
    def threads(model: str, **options: int) -> int:
        return threads_of(
            make_spec(task="imdb_two_group", aligner="dpo", model=model, sets={"model": options})
        )

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (threads("gpt2", threads=3), threads("nano", threads=2)) == (3, 2)
    assert (threads("gpt2"), threads("nano")) == (1, 1)
    monkeypatch.setattr(setting, "threads_of_large", lambda: 7)
    assert (threads("gpt2"), threads("nano")) == (7, 1)


def test_its_hours_are_told_where_they_are_known(monkeypatch):
    spec = make_spec(task="imdb_two_group", aligner="dpo", model="gpt2", sets={"model": {"device": "cpu"}})
    found = estimate(spec, SHAPES["gpt2"], problem_of(spec))
    assert tell.hardware_here(MACHINE, 8e9, 2) is None
    assert "time not estimated: prefbench doctor measures" in tell.here_line(found, MACHINE, 8e9, 2)
    stored = measured(fingerprint=machine.fingerprint())
    monkeypatch.setattr(tell, "stored", lambda: stored)
    here = tell.hardware_here(MACHINE, 8e9, 2)
    assert here is not None and here.reached(4) == pytest.approx(6e10)
    least, most = found.hours(here)
    assert 0 < least <= most and most >= found.flops / 6e10 / 3600 * 0.99
    said = tell.here_line(found, MACHINE, 8e9, 2)
    assert tell.show_hours(least, most) in said and said.startswith("Here (this machine, 2 threads, 8.0 GB")
    slow = tell.here_line(found, MACHINE, 8e9, 1)
    assert slow != said and slow.startswith("Here (this machine, 1 thread, 8.0 GB")
    assert "not estimated" in tell.here_line(found, "some GPU", 8e9, 2)

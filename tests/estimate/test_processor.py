"""The time of a run on a processor, from what `prefbench doctor` stored of it."""

import pytest

from prefbench import machine
from prefbench.backbone.shapes import SHAPES
from prefbench.estimate import tell
from prefbench.estimate.estimate import estimate, problem_of
from prefbench.estimate.hardware import MEASURED_TOKEN, processor
from prefbench.machine import MACHINE, Fingerprint, Machine, Recommended
from prefbench.spec import make_spec
from prefbench.tools import doctor

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


def test_a_processor_is_what_was_measured_of_it():
    found = processor(measured(), 8e9)
    assert (found.float32, found.bfloat16, found.bandwidth, found.memory) == (1e11, 2e11, 2e10, 8e9)
    assert found.utilisation == pytest.approx(0.6)
    size = doctor.LARGE
    assert MEASURED_TOKEN == 3 * size.layers * (24 * size.width**2 + 4 * size.width * size.tokens)


def test_its_hours_are_told_where_they_are_known(monkeypatch):
    spec = make_spec(task="imdb_two_group", aligner="dpo", model="gpt2", sets={"model": {"device": "cpu"}})
    found = estimate(spec, SHAPES["gpt2"], problem_of(spec))
    assert tell.hardware_here(MACHINE, 8e9) is None
    assert "time not estimated: prefbench doctor measures" in tell.here_line(found, MACHINE, 8e9)
    stored = measured(fingerprint=machine.fingerprint())
    monkeypatch.setattr(tell, "stored", lambda: stored)
    here = tell.hardware_here(MACHINE, 8e9)
    assert here is not None and here.utilisation == pytest.approx(0.6)
    least, most = found.hours(here)
    assert 0 < least <= most and most >= found.flops / (1e11 * 0.6) / 3600 * 0.99
    assert tell.show_hours(least, most) in tell.here_line(found, MACHINE, 8e9)
    assert "not estimated" in tell.here_line(found, "some GPU", 8e9)

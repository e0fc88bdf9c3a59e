"""What is measured of a machine, what follows from it, who uses that, and what is said of problems."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import prefbench.machine
from prefbench.backbone.options import ModelRequest
from prefbench.machine import VARIABLES, Machine, Recommended, fingerprint, stored
from prefbench.running.run import run
from prefbench.spec import get_model, make_spec, parse_sets
from prefbench.store.stages import Store
from prefbench.sweep.file import read_sweep
from prefbench.sweep.sweep import make_job
from prefbench.tools import doctor, rates
from prefbench.tools.doctor import (
    NANO_BYTES,
    NEAR_SHARE,
    PACKAGES,
    Gpu,
    System,
    problems,
    recommend,
    save,
)
from prefbench.tools.rates import Size, adapted_scaling, gemm_rate, memory_bandwidth, scaling
from support.commands import typed
from support.tiny import TINY_SETS, plain_problem

CORES = 8


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, on a machine of eight cores whose environment says nothing."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PREFBENCH_CACHE", str(folder))
    monkeypatch.setattr(prefbench.machine, "cores", lambda: CORES)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return folder


def machine(**counts: int) -> Machine:
    """Figures of the machine of the test, with these counts."""
    usual = dict.fromkeys(Recommended.model_fields, 1)
    return Machine(
        fingerprint=fingerprint(),
        measured="2026-01-01T00:00:00+00:00",
        load=0.0,
        products={},
        reads={},
        small={1: 10.0, 2: 5.0},
        large={1: 10.0, 2: 15.0},
        recommended=Recommended(**usual | counts),
    )


# ---------------------------------------------------------------------------------------- measuring


def test_rates_are_positive_and_torch_keeps_its_threads(monkeypatch):
    monkeypatch.setattr(rates, "RATE_SECONDS", 0.0)
    tiny = Size(width=8, heads=2, layers=1, rows=2, tokens=3)
    assert gemm_rate(2, shape=(4, 8, 16)) > 0 and gemm_rate(1, dtype="bfloat16", shape=(4, 4, 4)) > 0
    assert memory_bandwidth(2, size=4096) > 0
    for trained in (scaling, adapted_scaling):
        found = trained(tiny, [1, 2], seconds=0.0)
        assert found.keys() == {1, 2} and min(found.values()) > 0
    assert torch.get_num_threads() == 1


def test_a_rate_is_the_work_over_the_median_time(monkeypatch):
    monkeypatch.setattr(rates, "_seconds", lambda call, device: 0.5)
    assert gemm_rate(1, shape=(2, 3, 5)) == 2 * 2 * 3 * 5 / 0.5
    assert memory_bandwidth(1, size=4000) == 4000 / 0.5


def test_measuring_draws_nothing_from_the_global_generator(monkeypatch):
    monkeypatch.setattr(rates, "RATE_SECONDS", 0.0)
    before = torch.get_rng_state()
    gemm_rate(1, shape=(4, 4, 4))
    for trained in (scaling, adapted_scaling):
        trained(Size(width=8, heads=2, layers=1, rows=2, tokens=3), [1], seconds=0.0)
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------- recommending


@st.composite
def scalings(draw):
    cores = draw(st.integers(1, 64))
    counts = draw(st.sets(st.integers(1, cores))) | {1}
    tables = [{count: draw(st.floats(1, 1e6)) for count in counts} for _ in range(2)]
    return cores, *tables, draw(st.none() | st.floats(0, 1e12))


@given(scalings())
def test_counts_are_at_least_one_and_never_more_than_the_cores(given):
    cores, small, large, free = given
    found = recommend(cores, small, large, free)
    assert min(vars(found).values()) >= 1
    assert max(found.threads_small, found.threads_large, found.workers_small) <= cores
    assert found.workers_large * found.sweep_threads_large <= cores
    if free is not None and found.workers_small > 1:
        assert found.workers_small * NANO_BYTES <= free


@given(scalings())
def test_no_other_count_is_much_better(given):
    cores, small, large, free = given
    found = recommend(cores, small, large, free)
    assert small[found.threads_small] >= (1 - NEAR_SHARE) * max(small.values())
    assert large[found.threads_large] >= (1 - NEAR_SHARE) * max(large.values())
    together = {count: cores // count * rate for count, rate in large.items()}
    assert together[found.sweep_threads_large] >= (1 - NEAR_SHARE) * max(together.values())


def test_ties_go_to_fewer_threads_in_a_run_and_to_fewer_workers_in_a_sweep():
    flat = {1: 100.0, 2: 105.0, 4: 109.0}
    assert recommend(4, flat, flat, None).threads_large == 1
    perfect = {1: 100.0, 2: 195.0, 4: 390.0}
    found = recommend(4, flat, perfect, None)
    assert (found.threads_large, found.sweep_threads_large, found.workers_large) == (4, 4, 1)
    half = {1: 100.0, 2: 150.0, 4: 220.0}
    found = recommend(4, flat, half, None)
    assert (found.threads_large, found.sweep_threads_large, found.workers_large) == (4, 1, 4)


# ------------------------------------------------------------------------------------------ storing


def test_what_is_saved_is_read_again(cache):
    assert stored() is None
    assert save(machine(threads_large=3)) == cache / "machine.json"
    assert stored() == machine(threads_large=3)
    assert [path.name for path in cache.iterdir()] == ["machine.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', "[" * 100_000, "\udcff"], ids=lambda text: text[:14]
)
def test_a_damaged_file_is_as_good_as_none(cache, text):
    cache.mkdir()
    (cache / "machine.json").write_bytes(text.encode(errors="surrogateescape"))
    assert stored() is None


def test_a_file_that_was_stored_before_adapters_were_measured_is_read(cache):
    save(machine().model_copy(update={"adapted": {1: 3.0}}))
    plain = json.loads((cache / "machine.json").read_text())
    del plain["adapted"]
    (cache / "machine.json").write_text(json.dumps(plain))
    assert stored() == machine()


@pytest.mark.parametrize("change", [{"version": 2}, {"more": 1}, {"recommended": {"threads_large": 0}}])
def test_a_file_of_another_format_is_as_good_as_none(cache, change):
    save(machine())
    plain = json.loads((cache / "machine.json").read_text())
    (cache / "machine.json").write_text(json.dumps(plain | change))
    assert stored() is None


@pytest.mark.parametrize("change", [{"processor": "another"}, {"cores": 9}, {"torch": "2.11"}])
def test_figures_of_another_machine_or_torch_are_not_used(cache, change):
    here = fingerprint()
    save(machine().model_copy(update={"fingerprint": here.model_copy(update=change)}))
    assert stored() is None


# ------------------------------------------------------------------------------------ who uses them


def threads_of(model: str, tmp_path: Path, **options: int) -> int:
    """Torch's threads after a model was loaded."""
    entry = get_model(model)
    request = ModelRequest(model, plain_problem(), Store(tmp_path / "runs"), 0)
    entry.function(request, entry.options(**options))
    return torch.get_num_threads()


def test_a_large_model_takes_what_was_found_unless_it_is_told(model_folder, cache, tmp_path, monkeypatch):
    folder = str(model_folder)
    assert threads_of(folder, tmp_path) == CORES
    save(machine(threads_large=3))
    assert threads_of(folder, tmp_path) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # as a sweep tells its workers
    assert threads_of(folder, tmp_path) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "500,2")
    assert threads_of(folder, tmp_path) == CORES
    monkeypatch.setenv("OMP_NUM_THREADS", "none")
    assert threads_of(folder, tmp_path) == 3
    assert threads_of(folder, tmp_path, threads=2) == 2


def test_nano_stays_at_one_thread_and_says_so(cache, tmp_path):
    save(machine(threads_small=4, threads_large=4))
    spec = make_spec(task="imdb_two_group", aligner="reference", sets=parse_sets(TINY_SETS))
    _, record = run(spec, tmp_path / "runs")
    assert record.status == "ok" and record.provenance.threads == 1


def test_a_sweep_takes_threads_and_workers_from_what_was_found(cache, tmp_path, monkeypatch):
    def counts(text: str, workers: int | None = None) -> tuple[int, int]:
        file = tmp_path / "sweep.toml"
        file.write_text(text)
        sweep = read_sweep(str(file))
        job = make_job(
            sweep, sweep.expand(), tmp_path, engine="local", workers=workers, retries=0, address=None
        )
        return job.workers, job.threads

    nano = 'task = "imdb_two_group"\naligner = "dpo"\n'
    large = nano + 'model = "gpt2"\n'
    world = 'task = "bandit_two_group"\naligner = "dpo"\n'
    monkeypatch.setattr(prefbench.machine, "threads_that_pay", lambda here: here)
    assert (counts(nano), counts(large)) == ((8, 1), (1, 8))
    save(machine(sweep_threads_large=4, workers_small=3, workers_large=2))
    assert (counts(nano), counts(large), counts(world)) == ((3, 1), (2, 4), (8, 1))
    assert (counts(nano, 6), counts(nano, 20)) == ((6, 1), (8, 1))
    assert counts(large + "[set.model]\nthreads = 2\n") == (3, 2)


def test_a_cell_takes_the_threads_of_its_sweep_not_those_of_a_run(model_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    save(machine(threads_large=2, sweep_threads_large=1))
    tables = {"model": f'"{model_folder}"', "task": '"imdb_two_group"', "aligner": '"reference"'}
    lines = [f"{key} = {value}" for key, value in tables.items()]
    options = [item.removeprefix("task.") for item in TINY_SETS if item.startswith("task.")]
    (tmp_path / "sweep.toml").write_text("\n".join([*lines, "[set.task]", *options]))
    done = typed("sweep", tmp_path / "sweep.toml", "--runs-dir", tmp_path / "runs", "--quiet")
    assert done.code == 0, done.err
    (file,) = (tmp_path / "runs").glob("*/record.json")
    assert json.loads(file.read_text())["provenance"]["threads"] == 1


# ----------------------------------------------------------------------------------------- problems


@pytest.fixture
def healthy(cache, monkeypatch):
    """A system without problems."""
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    return System(
        fingerprint=fingerprint(),
        versions=dict.fromkeys(doctor.OPTIONAL) | {name: doctor._version(name) for name in PACKAGES},
        load=0.0,
        memory_free=16e9,
        disk_free=100e9,
        swap_used=0.0,
        gpus=(),
    )


def test_a_healthy_machine_has_no_problems(healthy):
    assert problems(healthy, machine()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory_free": 1.5e9}, "1.5 GB of memory are free"),
        ({"disk_free": 4.2e9}, "4.2 GB of disk are free"),
        ({"swap_used": 0.8}, "80% of the swap space"),
        ({"gpus": (Gpu("X", error="no kernel image"),)}, "X cannot be used (no kernel image)"),
    ],
)
def test_each_shortage_is_one_line(healthy, change, words):
    (line,) = problems(replace(healthy, **change), machine())
    assert line.startswith(words) and ": " in line and "\n" not in line


@pytest.mark.parametrize(("name", "version"), [("torch", "2.1"), ("ray", "1.0"), ("datasets", None)])
def test_a_package_that_is_too_old_or_missing_is_named_with_its_limit(healthy, name, version):
    changed = replace(healthy, versions={**healthy.versions, name: version})
    (line,) = problems(changed, machine())
    assert line.startswith(f"{name} {version or 'is not'}")
    assert line.endswith(f"pip install '{name}{doctor.needed()[name].specifier}'")


def test_a_newer_package_than_the_tested_one_is_no_problem(healthy):
    changed = replace(healthy, versions={**healthy.versions, "torch": "9.0.0.dev1+cu999"})
    assert problems(changed, machine()) == []


def test_a_busy_machine_and_a_variable_that_says_otherwise_are_told(healthy, monkeypatch):
    busy = machine(threads_large=2).model_copy(update={"load": 1000.0})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    variable, load = problems(healthy, busy)
    assert variable.startswith("OMP_NUM_THREADS gives a run of a large model 1 thread, and 2 would")
    assert "while the machine was busy (load 1000.0" in load
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")  # the other one overrides it
    assert problems(healthy, machine(threads_large=2)) == []


def test_a_driver_without_a_torch_for_it_is_told(healthy, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "has no CUDA" in problems(healthy, machine())[0]
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "sees no GPU" in problems(healthy, machine())[0]


# -------------------------------------------------------------------------------------- the command


@pytest.fixture
def measured_at_once(cache, monkeypatch):
    """The figures are made up; everything else is the command's own."""
    made_up = machine(threads_small=2, threads_large=2, sweep_threads_large=2)
    monkeypatch.setattr(doctor, "measure", lambda system: made_up)
    return made_up


def test_the_command_measures_stores_and_prints_what_it_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "deep" / "cache"))
    monkeypatch.setattr(rates, "RATE_SECONDS", 0.05)
    monkeypatch.setattr(rates, "LEAST_TIMES", 1)
    done = typed("doctor", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["machine"] == json.loads((tmp_path / "deep/cache/machine.json").read_text())
    assert Machine(**found["machine"]) == stored()
    counts = sorted(map(int, found["machine"]["small"]))
    assert found["machine"]["adapted"].keys() == found["machine"]["small"].keys()
    for threads in {1, prefbench.machine.cores()}:
        on = f"{threads} thread{'s' * (threads > 1)}"
        assert {f"float32, {on}", f"bfloat16, {on}"} <= found["machine"]["products"].keys()
    assert counts[0] == 1 and counts[-1] == prefbench.machine.cores()
    assert found["system"]["versions"]["torch"] == torch.__version__
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("bfloat16", "said"), [(0.5e9, False), (2.5e9, True)])
def test_it_says_where_bfloat16_is_faster(bfloat16, said):
    every = f"{prefbench.machine.cores()} thread{'s' * (prefbench.machine.cores() > 1)}"
    products = {f"float32, {every}": 1e9, f"bfloat16, {every}": bfloat16}
    words = " ".join(doctor.advice(machine().model_copy(update={"products": products})))
    assert (
        "2.5 times as fast as in float32: larger models gain by --set model.dtype=bfloat16" in words
    ) == said


def test_it_says_the_same_to_a_reader(cache, measured_at_once):
    done = typed("doctor")
    assert done.code == 0 and f"stored for run and sweep: {cache / 'machine.json'}" in done.out
    assert "bitsandbytes" in done.out and "processor" in done.out
    assert "1 thread for nano, 2 for a larger model" in done.out
    assert "it stays at one unless you say --set model.threads=2" in done.out


def test_nothing_is_stored_if_it_is_not_wanted(cache, measured_at_once):
    assert typed("doctor", "--no-store").code == 0
    assert not cache.exists()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_folder_that_cannot_be_written_costs_nothing_but_the_file(
    tmp_path, cache, monkeypatch, measured_at_once, options
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "file" / "cache"))
    done = typed("doctor", *options)
    assert done.code == 2 and "processor" in done.out
    line = done.err.splitlines()[-1]
    assert f"error: nothing can be stored in '{tmp_path / 'file' / 'cache'}' (Not a directory)" in line
    assert typed("doctor", "--no-store", *options).code == 0

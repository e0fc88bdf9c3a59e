"""The computer: cores and memory as a container leaves them, threads, and the file of figures."""

import os
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from prefbench import machine


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("250000 100000\n", 2), ("50000 100000\n", 1), ("nonsense", None), (None, None)],
)
def test_a_container_may_use_as_many_cores_as_its_quota_comes_to(tmp_path, text, cores):
    if text is not None:
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup/cpu.max").write_text(text)
    assert machine._limit_of_container(tmp_path) == cores


def test_threads_are_measured_and_put_back():
    before = torch.get_num_threads()
    assert machine.threads_that_pay(1) == 1
    assert machine.threads_that_pay(machine.cores()) in (1, machine.cores())
    assert torch.get_num_threads() == before


def test_libraries_of_linear_algebra_took_the_threads_that_these_tests_give_them():
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert pools and {pool["num_threads"] for pool in pools} == {int(os.environ["OMP_NUM_THREADS"])}


@pytest.mark.parametrize(
    ("limit", "free"), [(None, 3 << 30), ("max", 3 << 30), (str(2 << 30), 1 << 30), (str(1 << 29), 0)]
)
def test_free_memory_is_the_machines_or_what_its_container_leaves(tmp_path, limit, free):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {3 << 20} kB\n")
    if limit is not None:
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
        (tmp_path / "sys/fs/cgroup/memory.current").write_text(f"{1 << 30}\n")
    assert machine._free_memory_of_machine(tmp_path) == free
    assert machine._free_memory_of_machine(tmp_path / "none") is None
    assert machine.free_memory("cpu")[0] == "this machine"


def test_the_gpu_is_asked_for_what_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (7, 10))
    assert machine.free_memory("auto") == ("NVIDIA H200", 7.0)
    assert machine.free_memory("cpu")[0] == "this machine"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.free_memory("cuda") == ("cuda", None)  # loading refuses that


def test_the_folder_is_the_named_one_or_the_users(monkeypatch):
    monkeypatch.setenv("PREFBENCH_CACHE", "/a")
    assert machine.machine_file() == Path("/a/machine.json")
    monkeypatch.delenv("PREFBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert machine.machine_file() == Path("/b/prefbench/machine.json")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert machine.machine_file() == Path("/c/.cache/prefbench/machine.json")

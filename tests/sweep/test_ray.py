"""The Ray engine: what it says where Ray is missing, and a cluster of several nodes of which one is killed.

The cluster is real, its nodes are processes of this machine with loopback addresses of their own.
"""

import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from prefbench.sweep.cell import Job
from prefbench.sweep.ray_cluster import _fitting
from support.commands import typed
from support.sweeps import PLUGIN, QUICK, WORLD, ended, leaderboard, started, tables, until, written
from support.tiny import TINY_SETS

pytestmark = pytest.mark.usefixtures("restored")

ADDRESS = "127.0.0.2:6461"


def test_without_ray_one_line_says_how_to_install_it():
    written(WORLD + 'aligner = "dpo"\n')
    # None is how Python itself marks a module that cannot be imported.
    program = (
        "import sys; sys.modules['ray'] = None; sys.argv = ['prefbench', *sys.argv[1:]]; "
        "from prefbench.cli import main; main()"
    )
    words = ["sweep", "sweep.toml", "--engine", "ray"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "prefbench: error: --engine ray needs Ray: pip install 'prefbench[ray]'.\n"
    assert os.listdir() == ["sweep.toml"]


def test_a_node_holds_as_many_cells_as_its_scarcest_resource_allows():
    job = Job(Path("runs"), cpus=2, gpus=0.5)
    assert _fitting({"CPU": 16.0, "GPU": 2.0}, job) == 4
    assert _fitting({"CPU": 5.0, "GPU": 2.0}, job) == 2
    assert _fitting({"CPU": 5.0}, job) == 0


# ---------------------------------------------------------------------------------- a real cluster


def node(host: int, *words: str) -> subprocess.Popen:
    """A node with one CPU. It stays in the foreground, so its processes are known by their parent."""
    command = ["ray", "start", "--block", f"--node-ip-address=127.0.0.{host}", "--num-cpus=1"]
    command += ["--disable-usage-stats", "--object-store-memory=100000000", *words]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with open(f"node{host}.log", "w") as log:
        return subprocess.Popen(
            command, env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log
        )


def kill(process: subprocess.Popen) -> None:
    """A node's end without a goodbye: every process of it at once."""
    members = psutil.Process(process.pid).children(recursive=True)
    for member in [psutil.Process(process.pid), *members]:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def is_up(host: int) -> bool:
    return "This command will now block" in Path(f"node{host}.log").read_text()


@pytest.fixture
def cluster(monkeypatch) -> Iterator[list[subprocess.Popen]]:
    """A head and two more nodes, one CPU each, that talk to nobody without this test's token."""
    if importlib.util.find_spec("ray") is None:  # a Ray that is imported has read its settings
        pytest.skip("Ray is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    nodes = []
    try:
        port = ADDRESS.partition(":")[2]
        for host in (2, 3, 4):  # one after the other: on few cores those that start together time out
            words = (
                [f"--address={ADDRESS}"]
                if nodes
                else ["--head", f"--port={port}", "--include-dashboard=false"]
            )
            nodes.append(node(host, *words))
            until(lambda host=host: is_up(host))
        yield nodes
    finally:
        for one in reversed(nodes):
            if one.poll() is None:
                kill(one)


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """Processes of a node that are at a cell."""
    found = []
    for member in psutil.Process(process.pid).children(recursive=True):
        try:
            if any("_remote_cell" in word for word in member.cmdline()):
                found.append(member)
        except psutil.NoSuchProcess:
            continue
    return found


def plugin() -> None:
    """Badly behaved aligners, for workers whose working folder is another one."""
    Path("bad.py").write_text(
        PLUGIN.replace('Path("', f'Path("{Path.cwd()}/').replace('open("', f'open("{Path.cwd()}/')
    )


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_and_a_node_ends_with_the_same_leaderboard(cluster):
    plugin()
    small = ["iterations = 3", "batch = 16", "minibatches = 2", "epochs = 1", "reward_epochs = 1"]
    file = written(
        'plugin = ["bad.py"]\nseeds = 3\n'
        '[[grid]]\ntask = ["bandit_two_group", "worst_case_two_group"]\naligner = ["dpo", "maxmin"]\n'
        '[[grid]]\ntask = "imdb_two_group"\naligner = ["swept_waits", "single_reward"]\n'
        + tables("task", "model", items=TINY_SETS).replace("[set.", "[grid.set.")
        + "[grid.set.aligner.single_reward]\n"
        + "\n".join(small)
    )
    Path("wait").write_text("")
    begun = Path("begun")
    process = started(file, "--allow-plugins", "--engine", "ray", "--address", ADDRESS, "--json")
    until(lambda: begun.exists() and begun.read_text() == "xxx")  # each node is in the middle of a cell
    before = len(list(Path("runs").glob("*/record.json")))
    workers_of(cluster[1])[0].kill()
    until(lambda: begun.read_text() == "xxxx")
    kill(cluster[2])
    Path("wait").unlink()
    outcome = ended(process)
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert before < result["done"] == result["n_cells"] == 2 * 2 * 3 + 2 * 3
    assert begun.read_text() == "xxxxx"  # three cells, two of them twice
    assert typed("sweep", file, "--allow-plugins", "--runs-dir", "alone").code == 0
    assert leaderboard("runs") == leaderboard("alone")
    again = ended(started(file, "--allow-plugins", "--engine", "ray", "--address", ADDRESS, "--json"))
    assert json.loads(again.out)["done_before"] == result["n_cells"]


@pytest.mark.slow
def test_a_cluster_says_what_it_cannot_do(cluster):
    plugin()
    words = ["--allow-plugins", "--engine", "ray", "--address", ADDRESS, "--retries", 1]
    file = written(WORLD + 'aligner = "dpo"\n[resources]\ngpus = 8\n')
    assert "no node of the cluster has 1 CPUs and 8 GPUs" in ended(started(file, *words)).error
    nobody = ended(started(file, "--engine", "ray", "--address", "127.0.0.2:1"))
    assert "no Ray cluster at --address 127.0.0.2:1 " in nobody.error
    file = written(
        WORLD
        + 'aligner = ["swept_raises", "swept_dies", "dpo"]\nplugin = ["bad.py"]\n'
        + tables("task", items=QUICK)
    )
    outcome = ended(started(file, *words))
    assert outcome.code == 3
    assert "3 cells: 1 run, 0 done before, 2 failed" in outcome.out
    assert "its worker died" in outcome.err
    assert "ValueError: on purpose" in outcome.err


@pytest.mark.slow
def test_without_an_address_ray_runs_on_this_machine():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    file = written(WORLD + 'aligner = "dpo"\nseeds = 2\n' + tables("task", items=QUICK))
    outcome = ended(started(file, "--engine", "ray"))
    assert (outcome.code, outcome.out[:16]) == (0, "2 cells: 2 run, "), outcome.err

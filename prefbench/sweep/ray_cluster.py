"""Cells as tasks of a Ray cluster, whose nodes share the runs folder.

Ray starts a task again when its worker or its node died; the store makes that cost no more than what the
cell had not stored of its current stage.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefbench.consent import allow
from prefbench.errors import UserError
from prefbench.machine import cores
from prefbench.registry import load_plugins
from prefbench.spec import RunSpec
from prefbench.store.progress import Silent
from prefbench.sweep.cell import Job, Outcome, run_cell
from prefbench.sweep.progress import Progress
from prefbench.sweep.schedule import Schedule

TICK_SECONDS = 0.5
"""Seconds between looks at the screen and at the cluster's size."""


def import_ray(address: str | None) -> Any:
    """The library, or a line on how to install it."""
    # Ray reads these when it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    own = address is None and not any(name.startswith("RAY_AUTH_") for name in os.environ)
    if own and "ray" not in sys.modules:
        # Only this sweep may use its own Ray, whose ports the network may reach. Left to itself Ray writes
        # a token into the home folder, where it decides about every other cluster, too.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'prefbench[ray]'.") from None
    return ray


def run_ray(schedule: Schedule, job: Job, progress: Progress) -> None:
    """Run everything in a schedule on a cluster, or on a Ray of this machine alone without an address.

    Raises:
        UserError: there is no such cluster, or no node of it is large enough for a cell.
        PrefbenchError: something that every cell would meet, such as a full disk.
    """
    ray = import_ray(job.address)
    _connect(ray, job)
    try:
        if _slots(ray, job) == 0:
            raise UserError(
                f"no node of the cluster has {job.cpus:g} CPUs and {job.gpus:g} GPUs for a cell: lower "
                "[resources] in the sweep file or start such a node."
            )
        _run_all(ray, schedule, job, progress)
    finally:
        ray.shutdown()


def _connect(ray: Any, job: Job) -> None:
    more: dict[str, Any] = {}
    if job.address is None:
        more = {"include_dashboard": False, "num_cpus": cores()}
    elif job.address.startswith("127."):
        # On the loopback a driver has to be told which of its addresses it is.
        more = {"_node_ip_address": job.address.partition(":")[0]}
    try:
        _knock(job.address)
        ray.init(address=job.address or "local", log_to_driver=False, logging_level=logging.ERROR, **more)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(
            f"no Ray cluster at --address {job.address} ({first}): start one with `ray start --head`, or "
            "leave --address out to use this machine alone."
        ) from None


def _knock(address: str | None) -> None:
    """See whether somebody listens there; Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and "://" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _run_all(ray: Any, schedule: Schedule, job: Job, progress: Progress) -> None:
    task = ray.remote(num_cpus=job.cpus, num_gpus=job.gpus, max_retries=job.retries)(_remote_cell)
    flying: dict[Any, RunSpec] = {}
    try:
        while not schedule.over:
            # Nodes come and go; more than fit now would only wait, and could not be chosen well.
            slots = _slots(ray, job)
            while len(flying) < min(slots, job.workers or slots):
                taken = schedule.take()
                if taken is None:
                    break
                spec, wait = taken
                reference = task.remote(
                    spec.to_dict(),
                    str(job.runs_dir),
                    list(job.plugins),
                    dict(job.hosts),
                    job.threads,
                    wait,
                    job.track,
                )
                flying[reference] = spec
                progress.started(spec)
                progress.stage(spec, "with Ray")
            landed, _ = ray.wait(list(flying), num_returns=1, timeout=TICK_SECONDS) if flying else ([], [])
            for reference in landed:
                _land(ray, reference, flying.pop(reference), schedule, progress)
            progress.tick()
    finally:
        for reference in flying:
            with contextlib.suppress(Exception):  # one that is over by now, or whose node is gone
                ray.cancel(reference, force=True)


def _land(ray: Any, reference: Any, spec: RunSpec, schedule: Schedule, progress: Progress) -> None:
    """Take in what a task came back with."""
    try:
        outcome = Outcome(**ray.get(reference))
    except (ray.exceptions.RayError, ImportError) as error:
        # Ray has already tried it again as often as it may.
        first = str(error).strip().partition("\n")[0]
        outcome = Outcome("failed", f"its worker died: {type(error).__name__}: {first}")
    if schedule.finish(spec, outcome):
        progress.finished(spec, outcome)
    else:
        progress.gone(spec)


def _slots(ray: Any, job: Job) -> int:
    """Cells that the living nodes can hold at once."""
    return sum(_fitting(node["Resources"], job) for node in ray.nodes() if node["Alive"])


def _fitting(resources: Mapping[str, float], job: Job) -> int:
    wanted = {"CPU": job.cpus, "GPU": job.gpus}
    return min(
        (int(resources.get(name, 0.0) / amount) for name, amount in wanted.items() if amount > 0), default=1
    )


def _remote_cell(
    spec: Mapping[str, Any],
    runs_dir: str,
    plugins: list[str],
    hosts: dict[str, str | None],
    threads: int,
    wait: bool,
    track: str | None = None,
) -> dict[str, Any]:
    """One cell, in a worker of the cluster."""
    # Before a library reads them; a worker that is used again has read them already, as it should.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    allow(hosts)
    load_plugins(plugins)
    return asdict(run_cell(RunSpec(**spec), Path(runs_dir), Silent(), wait, track))

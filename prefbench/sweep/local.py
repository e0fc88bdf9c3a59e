"""Cells in processes of this machine, never more threads than cores.

Each worker is a process of its own with one cell at a time. One that dies (the kernel's out-of-memory
killer, a crash in a library) loses what it had not stored of its cell's current stage, no more: the
cell goes back in line and a new worker is started.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from prefbench.errors import PrefbenchError
from prefbench.spec import RunSpec
from prefbench.sweep.cell import Job, Outcome
from prefbench.sweep.progress import Progress
from prefbench.sweep.schedule import Schedule

TICK_SECONDS = 0.25
"""Seconds between looks at the screen and at cells that were busy."""
FAILED_STARTS = 3
"""Workers in a row that may die before they are ready."""


def run_local(schedule: Schedule, job: Job, progress: Progress) -> None:
    """Run everything in a schedule.

    Raises:
        PrefbenchError: something that every cell would meet, such as a full disk.
    """
    with _Workers(job) as workers:
        while not schedule.over:
            workers.fill(len(schedule.waiting) + len(schedule.running))
            for worker in workers.idle():
                taken = schedule.take()
                if taken is None:
                    break
                worker.give(*taken, job.runs_dir)
                progress.started(taken[0])
            for worker, messages in workers.listen(TICK_SECONDS):
                for message in messages:
                    _hear(worker, message, schedule, progress)
                if worker.gone:
                    _bury(worker, workers, schedule, progress)
            progress.tick()


def _hear(worker: _LocalWorker, message: dict[str, Any], schedule: Schedule, progress: Progress) -> None:
    spec = worker.spec
    if message.get("ready"):
        worker.ready = True
    elif spec is None:
        return
    elif "outcome" in message:
        worker.spec = None
        outcome = Outcome(**message["outcome"])
        if schedule.finish(spec, outcome):
            progress.finished(spec, outcome)
        else:
            progress.gone(spec)
    elif "ended" in message:
        schedule.stage_done(spec, message["ended"])
    elif "note" in message:
        progress.said(spec, message["note"])
    elif "stage" in message:
        progress.stage(spec, message["stage"], message.get("done", 0), message.get("total", 0))


def _bury(worker: _LocalWorker, workers: _Workers, schedule: Schedule, progress: Progress) -> None:
    """Put a dead worker's cell back in line."""
    why = worker.post_mortem()
    workers.drop(worker)
    if worker.spec is not None:
        outcome = schedule.died(worker.spec, why)
        if outcome is None:
            progress.said(worker.spec, f"its worker died ({why}); it goes on from its last checkpoint")
            progress.gone(worker.spec)
        else:
            progress.finished(worker.spec, outcome)
    if worker.ready:
        workers.failed_starts = 0
    else:
        workers.failed_starts += 1
        if workers.failed_starts >= FAILED_STARTS:
            raise PrefbenchError(f"workers do not start: {why}.")


@dataclass(eq=False)
class _LocalWorker:
    """A process and the cell that it is at."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    spec: RunSpec | None = None
    ready: bool = False
    gone: bool = False
    _unread: bytes = b""

    def give(self, spec: RunSpec, wait: bool, runs_dir: Path) -> None:
        """Give the worker a cell to run."""
        self.spec = spec
        self.send({"spec": spec.to_dict(), "runs_dir": str(runs_dir), "wait": wait})

    def send(self, message: dict[str, Any]) -> None:
        """One message; a worker that has just died is found when it is listened to."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def read(self) -> list[dict[str, Any]]:
        """The messages that have come; `gone` is set when there will be no more."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 16)
        self.gone = not chunk
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def post_mortem(self) -> str:
        """Cause of death in a few words."""
        code = self.process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            return name + (", out of memory perhaps" if name == "SIGKILL" else "")
        self.errors.seek(0)
        last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return f"exit code {code}" + (f", {last[0]}" if last else "")


class _Workers:
    """The processes of one sweep; leaving the context ends them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._selector = selectors.DefaultSelector()
        self._workers: list[_LocalWorker] = []
        self.failed_starts = 0

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in list(self._workers):
            try:
                worker.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                worker.process.kill()
            self.drop(worker)
        self._selector.close()

    def fill(self, cells: int) -> None:
        """Start workers up to the number of cells or the most that are allowed."""
        while len(self._workers) < min(self._job.workers, cells):
            self._start()

    def idle(self) -> list[_LocalWorker]:
        """Workers without a cell. One that is still starting may already be given one."""
        return [worker for worker in self._workers if worker.spec is None]

    def listen(self, timeout: float) -> Iterator[tuple[_LocalWorker, list[dict[str, Any]]]]:
        """Workers that had something to say, or died, within `timeout` seconds."""
        for key, _ in self._selector.select(timeout):
            worker: _LocalWorker = key.data
            yield worker, worker.read()

    def drop(self, worker: _LocalWorker) -> None:
        """Forget a worker that has ended."""
        assert worker.process.stdout is not None and worker.process.stdin is not None
        self._selector.unregister(worker.process.stdout)
        self._workers.remove(worker)
        worker.process.wait()
        worker.process.stdout.close()
        worker.errors.close()
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.close()

    def _start(self) -> None:
        errors = tempfile.TemporaryFile()
        process = subprocess.Popen(
            # -P: a file in the working directory must not stand in for a library.
            [sys.executable, "-P", "-m", "prefbench.sweep.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(self._job.threads),
            process_group=0,  # Ctrl-C is for the sweep, which ends its workers itself
        )
        assert process.stdout is not None
        worker = _LocalWorker(process, errors)
        self._workers.append(worker)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        job = self._job
        worker.send({"plugins": list(job.plugins), "hosts": dict(job.hosts), "track": job.track})


def _environment(threads: int) -> dict[str, str]:
    """A worker's: numeric libraries read their number of threads when they are loaded."""
    quiet = {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return quiet | dict(os.environ) | dict.fromkeys(names, str(threads))

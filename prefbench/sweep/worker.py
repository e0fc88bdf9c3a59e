"""A worker of the local engine: `python -m prefbench.sweep.worker`, one JSON message a line.

It reads `{"plugins": [...], "hosts": {...}, "track": null}` and then cells, `{"spec": {...},
"runs_dir": "...", "wait": false}`, and answers with `{"ready": true}`, stages and their steps, and each
cell's outcome. It leaves when its input ends, also in the middle of a cell: so it never outlives its parent,
however that died.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from prefbench.consent import allow
from prefbench.registry import load_plugins
from prefbench.spec import RunSpec
from prefbench.sweep.cell import run_cell

STEP_SECONDS = 0.5
"""Least time between two messages about steps."""


def main() -> None:
    """Serve until the input ends."""
    # Whatever a plug-in or a library prints must not get between the messages.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()

    given = json.loads(requests.get())
    allow(given["hosts"])
    load_plugins(given["plugins"])
    _send(answers, {"ready": True})
    while True:
        request = json.loads(requests.get())
        told = Told(answers, given["plugins"])
        with warnings.catch_warnings():
            warnings.showwarning = told.warn
            outcome = run_cell(
                RunSpec(**request["spec"]),
                Path(request["runs_dir"]),
                told,
                wait=bool(request["wait"]),
                track=given["track"],
            )
        _send(answers, {"outcome": asdict(outcome)})


def _listen(requests: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def _send(answers: TextIO, message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


class Told:
    """A reporter whose listener is another process."""

    def __init__(self, answers: TextIO, plugins: Sequence[str] = ()) -> None:
        self._answers = answers
        self._plugins = [Path(file).resolve() for file in plugins]
        self._sent = 0.0

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts."""
        if not stored:
            _send(self._answers, {"stage": stage})

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage; told now and then."""
        if time.monotonic() - self._sent >= STEP_SECONDS:
            self._sent = time.monotonic()
            _send(self._answers, {"stage": stage, "done": done, "total": total})

    def end(self, stage: str, seconds: float) -> None:
        """A stage is complete."""
        _send(self._answers, {"ended": stage})

    def note(self, message: str) -> None:
        """A line that a person should see."""
        _send(self._answers, {"note": message})

    def warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """A warning as Python would show it: prefbench's own or a plug-in's, no library's."""
        path = Path(filename).resolve()
        known = path.is_relative_to(Path(__file__).resolve().parents[1]) or path in self._plugins
        if known and category is UserWarning:
            self.note(f"warning: {message}")


if __name__ == "__main__":
    main()

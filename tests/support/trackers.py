"""Trackers that write down what they are told, and stand-ins for the packages of trackio and wandb."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


class Told:
    """A tracker that keeps what it is told, and draws from every global stream of chance as it does."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.order: list[str] = []

    def _draw(self, call: str) -> None:
        self.order.append(call)
        random.random(), np.random.random(), torch.rand(3)  # noqa: NPY002

    def started(self, name: str, group: str, config: Mapping[str, Any]) -> str:
        self._draw("started")
        self.runs.append({"name": name, "group": group, "config": dict(config), "steps": []})
        return f"kept as number {len(self.runs)}"

    def logged(self, step: int, figures: Mapping[str, float]) -> None:
        self._draw("logged")
        self.runs[-1]["steps"].append((step, dict(figures)))

    def finished(self, status: str, figures: Mapping[str, float]) -> None:
        self._draw("finished")
        self.runs[-1] |= {"status": status, "figures": dict(figures)}

    def curve(self, name: str) -> list[float]:
        """The values of a figure of the last run."""
        return [figures[name] for _, figures in self.runs[-1]["steps"] if name in figures]


class Failing(Told):
    """A tracker one of whose calls fails, each time."""

    def __init__(self, call: str, error: BaseException) -> None:
        super().__init__()
        self.call, self.error = call, error

    def _draw(self, call: str) -> None:
        super()._draw(call)
        if call == self.call:
            raise self.error


WRITES = """
import json, os
from pathlib import Path

def _write(call, **what):
    with Path(os.environ["FAKE_TRACKER_FILE"]).open("a") as file:
        file.write(json.dumps({"call": call, **what}, allow_nan=False) + "\\n")
"""
FAKE_WANDB = (
    WRITES
    + """
class Settings:
    def __init__(self, **settings):
        self.settings = settings

class Run:
    def __init__(self, mode):
        self.offline, self.url = mode == "offline", "https://wandb.example/run"
        self.settings = type("_Kept", (), {"sync_dir": "wandb/offline-run"})
        self.summary = self
    def log(self, figures, step=None):
        if os.environ.get("FAKE_TRACKER_FAILS") == "log":
            raise OSError("the network is away")
        _write("log", figures=figures, step=step)
    def update(self, figures):
        _write("summary", figures=figures)
    def finish(self, exit_code=None):
        _write("finish", exit_code=exit_code)

def login(prompt=True):
    assert prompt is False
    return os.environ.get("FAKE_LOGGED_IN") == "1"

def init(*, settings, mode, **what):
    if os.environ.get("FAKE_TRACKER_FAILS") == "init":
        raise OSError("the network is away")
    _write("init", mode=mode, settings=settings.settings, **what)
    return Run(mode)
"""
)
FAKE_TRACKIO = (
    WRITES
    + """
from huggingface_hub import constants

class Run:
    def log(self, figures, step=None):
        print("* a line of trackio's own")
        _write("log", figures=figures, step=step)

def init(**what):
    print("* Trackio project initialized")
    _write("init", hub_is_asked=not constants.HF_HUB_OFFLINE, **what)
    return Run()

def finish():
    print("* Run finished")
    _write("finish")
"""
)


class Package:
    """A package that stands in for a tracker's, here and in child processes, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "calls.jsonl"

    def calls(self, *names: str) -> list[dict[str, Any]]:
        """The calls of these names, or all of them."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        found = [json.loads(line) for line in lines]
        return [call for call in found if not names or call["call"] in names]


def installed(name: str, source: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Package]:
    """The package for as long as a test takes."""
    (folder / f"{name}.py").write_text(source)
    package = Package(folder)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    patch.setenv("PYTHONPATH", ":".join(paths))
    patch.setenv("FAKE_TRACKER_FILE", str(package.file))
    for variable in ("WANDB_MODE", "WANDB_PROJECT", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        patch.delenv(variable, raising=False)
    patch.syspath_prepend(folder)
    patch.delitem(sys.modules, name, raising=False)
    yield package
    sys.modules.pop(name, None)

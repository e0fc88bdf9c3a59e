"""A TRL trainer in an interpreter of its own, which `peer_trl.py` runs in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Trainer:
    """A TRL trainer in another process."""

    process: subprocess.Popen[str]
    version: str

    def round(self) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print("round", file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"TRL ended with status {self.process.wait()}; its messages are above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def seconds(self) -> float:
        return float(self.round()["seconds"])


@contextmanager
def trainer(job: dict[str, Any], where: str | None) -> Iterator[Trainer]:
    python, path = sys.executable, os.environ.get("PYTHONPATH", "")
    if where is not None and Path(where).is_dir():
        path = os.pathsep.join([str(Path(where).absolute()), path])
    elif where is not None:
        python = where
    process = subprocess.Popen(
        [python, str(Path(__file__).with_name("peer_trl.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("PEER_MESSAGES") else subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(job["threads"])},
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        print(json.dumps(job), file=process.stdin, flush=True)
        version = json.loads(process.stdout.readline() or "{}").get("trl")
        if version is None:
            raise SystemExit("TRL did not start; PEER_MESSAGES=1 shows why.")
        yield Trainer(process, version)
    finally:
        process.kill()
        process.wait()


def agree(what: str, ours: float, theirs: float, tolerance: float) -> None:
    print(f"{what}: loss {ours:.5f}, the peer's {theirs:.5f}", file=sys.stderr)
    if not abs(ours - theirs) <= tolerance:
        raise SystemExit(f"{what}: the losses do not agree, so the times say nothing.")

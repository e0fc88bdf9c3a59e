"""Versions, hardware and time of a run."""

from __future__ import annotations

import functools
import platform
import sys
from datetime import datetime
from importlib import metadata
from typing import Any

from prefbench.commit import commit
from prefbench.team import team
from prefbench.version import __version__


def provenance_of(started: datetime) -> dict[str, Any]:
    """The record's `provenance` of a run that started then."""
    # A run that needed no torch is not made to wait for it now.
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    return {
        "prefbench": __version__,
        "git": commit(),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "transformers": _version("transformers"),
        "hardware": gpu or platform.processor() or platform.machine(),
        "threads": 1 if torch is None else torch.get_num_threads(),
        "processes": team().size,
        "started": started.isoformat(timespec="seconds"),
    }


@functools.cache
def _version(package: str) -> str:
    """The installed version of a package, which a process reads once."""
    return metadata.version(package)

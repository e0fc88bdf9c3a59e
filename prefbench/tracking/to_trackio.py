"""trackio: figures in a database on this machine, or where trackio's own variables say."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any

from prefbench.tracking.interface import PROJECT

ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Variables by which a user has trackio send figures off this machine."""


class Trackio:
    """A run of the project `prefbench` of trackio."""

    def __init__(self) -> None:
        import trackio

        self._library = trackio
        self._run: Any = None

    def started(self, name: str, group: str, config: Mapping[str, Any]) -> str:
        """A run begins."""
        here = not any(os.environ.get(variable) for variable in ELSEWHERE)
        with _unsaid(), _hub_unasked() if here else contextlib.nullcontext():
            self._run = self._library.init(
                project=PROJECT,
                name=name,
                group=group,
                config=dict(config),
                private=True,
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        return f"trackio keeps its figures: trackio show --project {PROJECT}"

    def logged(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of training."""
        with _unsaid():
            self._run.log(dict(figures), step=step)

    def finished(self, status: str, figures: Mapping[str, float]) -> None:
        """The run is over; trackio has no summary, so its figures are the last step."""
        with _unsaid():
            self._run.log({"status": status, **figures})
            self._library.finish()


def _unsaid() -> contextlib.redirect_stdout[io.StringIO]:
    """Drop what trackio prints of every run."""
    return contextlib.redirect_stdout(io.StringIO())


@contextlib.contextmanager
def _hub_unasked() -> Iterator[None]:
    """Keep trackio from asking the hub whose token there is, which it does also for a database of its own."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before

"""Weights & Biases: figures on its server for who is logged in, else in a folder for `wandb sync`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from prefbench.tracking.interface import PROJECT

QUIET: Mapping[str, Any] = {
    "console": "off",  # what a run prints may hold texts
    "silent": True,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "init_timeout": 30.0,  # seconds: a network that is away must not hold up a run, or every cell of a sweep
    "finish_timeout": 120.0,
    "finish_timeout_raises": True,
}
"""Settings without which wandb also sends what is printed, the code, and the names of machine and user, and
waits for ever to send it."""


class Wandb:
    """A run of the project `prefbench`, or of the one in WANDB_PROJECT."""

    def __init__(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its reports of its own mistakes
        import wandb

        self._library = wandb
        self._run: Any = None

    def started(self, name: str, group: str, config: Mapping[str, Any]) -> str:
        """A run begins."""
        self._run = self._library.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=name,
            group=group,
            config=dict(config),
            mode=self._mode(),
            reinit="create_new",  # a run of the user's own, in a notebook, is left alone
            settings=self._library.Settings(**QUIET),
        )
        if self._run.offline:
            return f"wandb keeps its figures here: wandb sync {self._run.settings.sync_dir}"
        return f"wandb has its figures: {self._run.url}"

    def logged(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of training."""
        self._run.log(dict(figures), step=step)

    def finished(self, status: str, figures: Mapping[str, float]) -> None:
        """The run is over."""
        self._run.summary.update({"status": status, **figures})
        self._run.finish(exit_code=0 if status == "ok" else 1)

    def _mode(self) -> str | None:
        """None leaves it to wandb: the user has said which, or is logged in."""
        if os.environ.get("WANDB_MODE") or self._library.login(prompt=False):
            return None
        return "offline"

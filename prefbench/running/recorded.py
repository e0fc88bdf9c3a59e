"""Runs that are there, opened again from their own stages: nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.errors import UserError
from prefbench.learn.interface import Backbone, Policy, Rewards
from prefbench.learn.rewards import load_rewards
from prefbench.problem.problem import Problem
from prefbench.record.files import RECORD_FILE, read_record
from prefbench.record.schema import Record
from prefbench.running.proxies import FOLDER
from prefbench.running.run import problem_and_model
from prefbench.spec import RunSpec, stored_spec
from prefbench.store.progress import Reporter
from prefbench.store.stages import Store, Work, damage


class RecordedStages(Store):
    """The stages that a record names, which are read whatever the code of today would make of them."""

    def __init__(self, root: Path, named: Mapping[str, str], reporter: Reporter | None = None) -> None:
        super().__init__(root, reporter)
        self._named = named

    def stage(
        self, name: str, key: Mapping[str, Any], compute: Callable[[Work], None], *, part: str = ""
    ) -> Path:
        """The folder of the record's stage `name`; nothing is computed.

        Raises:
            UserError: it is not there any more, or damaged.
        """
        return self.of(f"{name}/{part}" if part else name)

    def of(self, name: str) -> Path:
        """The folder of a stage, by the record's name for it.

        Raises:
            UserError: it is not there any more, or damaged.
        """
        again = "run it again, in the same runs folder"
        if name not in self._named:
            raise UserError(f"the run's record names no stage '{name}': {again}.")
        folder = self.root / name.split("/")[0].split(":")[0] / self._named[name]
        if not folder.is_dir():
            raise UserError(
                f"the run's stage '{name}' is not at '{folder}': it was cleared away, or the run lies in "
                f"another folder than the one that it was made in; {again}."
            )
        wrong = damage(folder)
        if wrong:
            raise UserError(f"the run's stage '{name}' is damaged, {wrong[0]}: {again}.")
        return folder


@dataclass(frozen=True)
class StoredRun:
    """A run's record, which ended well, and the specification in it."""

    folder: Path
    record: Record
    spec: RunSpec

    @staticmethod
    def at(path: Path) -> StoredRun:
        """The run in a folder.

        Raises:
            UserError: there is none, it did not end well, or its task, aligner or model is not here.
        """
        folder = path.parent if path.name == RECORD_FILE else path
        record = read_record(folder)
        if record.status != "ok":
            raise UserError(
                f"the run '{folder}' {record.status} ({record.message}): it has no policy; run it again."
            )
        return StoredRun(folder, record, stored_spec(record.spec))

    def opened(self, reporter: Reporter | None = None) -> OpenRun:
        """The run with its problem and its model, whose reference is the record's.

        Raises:
            UserError: the data, the model or a stage is not there any more.
        """
        stages = RecordedStages(self.folder.absolute().parent, self.record.stages, reporter)
        problem, backbone, _ = problem_and_model(self.spec, stages)
        return OpenRun(self, problem, backbone, stages)


@dataclass(frozen=True)
class OpenRun:
    """A stored run with its problem, its model and its stages."""

    run: StoredRun
    problem: Problem
    backbone: Backbone
    stages: RecordedStages

    def policy(self) -> Policy:
        """The policy that it measured; of a personal one that for whoever nothing is known of.

        Raises:
            UserError: the stage is gone, or cannot be read.
        """
        return self.backbone.load_policy(self.stages.of("policy"))

    def rewards(self) -> Rewards:
        """The rewards that the aligner learned, normalised as they were for the policy.

        Raises:
            UserError: it kept none, the stage is gone, or they are a stranger's, which only he can read.
        """
        folder = self.stages.of("policy") / FOLDER
        if not folder.is_dir():
            raise UserError(
                f"the aligner '{self.run.record.aligner}' of this run left no rewards to export: export "
                "its policy."
            )
        return load_rewards(self.backbone, folder)

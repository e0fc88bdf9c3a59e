"""A tuning file: its keys and types, the aligners that it means, and the runs of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench import file_plugins, registry
from prefbench.config import TuneFile, read
from prefbench.errors import UserError
from prefbench.spec import RunSpec, get_model, make_spec, refuse_misfit
from prefbench.sweep.file import settings_of
from prefbench.sweep.grid import Setting, SweepSpec

ALL = "all"


@dataclass(frozen=True)
class TuneSpec:
    """A tuning file as read."""

    path: str
    file: TuneFile
    aligners: tuple[str, ...]
    """Names of those that are tuned."""
    settings: tuple[Setting, ...]
    """Options that the file fixes, one value each."""
    plugins: tuple[str, ...] = ()
    """Plug-ins that were loaded."""
    left_out: tuple[str, ...] = ()
    """Plug-ins that the file names and that were not run."""

    @property
    def sweep(self) -> SweepSpec:
        """A sweep without grids: all that its runs have in common with the cells of one."""
        resources = self.file.resources
        return SweepSpec(
            self.path,
            (),
            plugins=self.plugins,
            left_out=self.left_out,
            runs_dir=self.file.runs_dir,
            cpus=resources.cpus,
            gpus=resources.gpus,
        )

    @property
    def model(self) -> str:
        """The model that it names, or the task's own."""
        return self.file.model or registry.BACKBONES[registry.get("task", self.file.task).backbone]

    @property
    def backbone(self) -> str:
        """The backbone of its model."""
        return get_model(self.model).backbone

    def fixed(self, section: str, owner: str) -> dict[str, Any]:
        """The options of a section that the file fixes; those for the owner alone override those for all."""
        mine = [s for s in self.settings if s.section == section and s.owner in (None, owner)]
        return {s.option: s.values[0] for s in sorted(mine, key=lambda s: s.owner is not None)}

    def spec(self, aligner: str, options: Mapping[str, Any], seed: int) -> RunSpec:
        """The run of a configuration on a dev seed, measured on validation prompts.

        Raises:
            UserError: a name or an option is wrong.
        """
        owners = {"task": self.file.task, "model": self.model, "aligner": aligner, "evaluate": ""}
        sets = {section: self.fixed(section, owner) for section, owner in owners.items()}
        sets["aligner"] |= options
        try:
            return make_spec(
                task=self.file.task,
                aligner=aligner,
                model=self.model,
                data=self.file.data,
                minority_ratio=self.file.minority_ratio,
                seed=seed,
                sets=sets,
                split="validation",
            )
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None


def read_tune(
    path: str,
    plugins: Sequence[str] = (),
    stance: file_plugins.Stance = "refuse",
    only: Sequence[str] = (),
) -> TuneSpec:
    """Read a tuning file, check it, and load plug-ins.

    Args:
        path: the file.
        plugins: Python files that whoever tunes named.
        stance: what becomes of plug-ins that only the file names.
        only: aligners that are tuned in place of the file's.

    Raises:
        UserError: one line on the first thing that is wrong.
    """
    file = read(TuneFile, path, "", "; docs/tuning.md shows what to write into it")
    files, left_out = file_plugins.plugins_of_file(file.plugin, plugins, path, stance)
    registry.load_plugins(files)
    with file_plugins.knowing_nothing_of(left_out):
        settings = _single(settings_of(file.set, path), path)
        tune = TuneSpec(path, file, (), settings, files, left_out)
        try:
            names = tuple(dict.fromkeys(_named(tune, only or file.aligner)))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if len(set(file.seed)) < len(file.seed):
            raise UserError(
                f"{path}: seed names one twice: each rung of halving takes another; name each once."
            )
        for setting in settings:
            owners = {"aligner": names, "task": (file.task,), "model": (tune.model,)}.get(setting.section, ())
            if setting.owner is not None and setting.owner not in owners and not only:
                raise UserError(
                    f"{path}: [set.{setting.section}.{setting.owner}] is for a {setting.section} that is not "
                    "tuned here"
                    ": take it out, or add the aligner."
                )
        made = TuneSpec(path, file, names, settings, files, left_out)
        for name in names:
            made.spec(name, {}, file.seed[0])
    return made


def _named(tune: TuneSpec, asked: Iterable[str]) -> list[str]:
    """The aligners that are asked for, `all` being every learner that fits."""
    task = registry.get("task", tune.file.task)
    model = get_model(tune.model)
    said = {s.option: s.values[0] for s in tune.settings if s.section == "task"}
    names = []
    for name in asked:
        if name != ALL:
            entry = registry.get("aligner", name)
            if entry.role is not None:
                raise UserError(
                    f"aligner '{name}' is a {entry.role}: it learns nothing that could be tuned"
                    "; leave it out."
                )
            refuse_misfit(task, entry, model, tune.model, said)
            names.append(name)
            continue
        for entry in registry.entries("aligner"):
            try:
                refuse_misfit(task, entry, model, tune.model, said)
            except UserError:
                continue
            if entry.role is None:
                names.append(entry.name)
    if not names:
        raise UserError("no learner fits the task: name aligners.")
    return names


def _single(settings: Iterable[Setting], path: str) -> tuple[Setting, ...]:
    """The settings of a file that fixes options, and so has one value for each."""
    found = tuple(settings)
    for setting in found:
        if len(setting.values) > 1:
            raise UserError(
                f"{path}: set.{setting.section}.{setting.option} is a list: what is tried is drawn, so fix "
                "one value or leave it out."
            )
    return found

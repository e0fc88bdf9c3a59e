"""Stage `policy`: the aligner learns from what it may see."""

from __future__ import annotations

import contextlib
import errno
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench import registry
from prefbench.errors import PrefbenchError, UserError
from prefbench.learn.interface import Aligned, Backbone, Personal, Policy
from prefbench.learn.rewards import what_was_not_learned
from prefbench.learn.selection import with_utilities
from prefbench.problem.problem import Problem
from prefbench.problem.view import make_view, true_utilities
from prefbench.record.files import POLICIES_FILE
from prefbench.running.held_out import MARGINS_FILE, personal_margins
from prefbench.running.judges import write_answers_to_judges
from prefbench.running.labels import Contexts, Labels
from prefbench.running.people import PERSONAL_FILE, briefing_of, personal_answers, personal_key
from prefbench.running.proxies import forget_rewards, keep_rewards
from prefbench.spec import RunSpec
from prefbench.store.stages import Store, Work
from prefbench.team import is_lost
from prefbench.text import text_digest


class AlignerFailed(PrefbenchError):
    """The aligner raised something that is not ours."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


def aligned_policy(
    spec: RunSpec, problem: Problem, backbone: Backbone, labels: Labels, contexts: Contexts, store: Store
) -> tuple[Policy, Path]:
    """The aligner's policy for whoever nothing is known of, and the stage's folder.

    It holds what its rewards say about held-out pairs and, of a personal policy, what it says to people.
    """
    entry = registry.get("aligner", spec.aligner)
    key = {
        "aligner": entry.name,
        "options": dict(spec.aligner_options),
        "reference": backbone.digest,
        "training": dict(backbone.training),
        "labels": labels.digest,
        "prompts": text_digest(problem.prompts.train),
        "seed": spec.seed,
    }
    if "instruction" in entry.needs:
        key["instructions"] = [group.instruction for group in problem.groups]
    if entry.sees:
        # How it answers a person is known only here, where the function that adapts it still is.
        judged = {"judged": True} if spec.split == "validation" else {}
        key["people"] = {**personal_key(spec, problem, contexts), **judged}

    def compute(work: Work) -> None:
        view = make_view(labels.rows, problem, entry.needs, spec.seed)
        with strange(f"aligner '{entry.name}'"):
            made = entry.function(view, backbone.at(work), entry.options(**spec.aligner_options))
            aligned = Aligned.of(made)
            aligned.default.save(work.path)
        if isinstance(aligned.policy, Personal):
            if not entry.sees:
                raise UserError(
                    f"aligner '{entry.name}' returns a Personal, whose policies would be told nothing: "
                    "register it with what it sees of a context, as in sees={'pairs'}."
                )
            briefing = briefing_of(spec, problem, labels, contexts, entry.sees)
            with strange(f"aligner '{entry.name}'"):
                said, listed = personal_answers(
                    aligned.policy, briefing, backbone, spec.evaluate_options["samples"]
                )
                margins = personal_margins(aligned.policy, briefing, backbone.reference)
                if spec.split == "validation":
                    write_answers_to_judges(spec, aligned.policy, briefing, backbone, work.path)
            said.to_parquet(work.path / PERSONAL_FILE, index=False)
            if margins is not None:
                margins.to_parquet(work.path / MARGINS_FILE, index=False)
            if listed is not None:
                listed.to_parquet(work.path / POLICIES_FILE, index=False)
        rewards = aligned.rewards
        evidence: dict[str, Any] = {"rewards": None, "assignment": None, "em": None}
        notes = list(aligned.notes)
        if rewards is not None:
            held_out = labels.rows[labels.rows["split"] == problem.measured_on]
            prompts = held_out["prompt"].tolist()
            margins = rewards(prompts, held_out["chosen"].tolist()) - rewards(
                prompts, held_out["rejected"].tolist()
            )
            frame = pd.DataFrame(margins, columns=[f"margin/{i}" for i in range(margins.shape[1])])
            frame.to_parquet(work.path / "margins.parquet", index=False)
            assignment = None if rewards.assignment is None else sorted(rewards.assignment.items())
            evidence = {"rewards": rewards.names, "assignment": assignment, "em": rewards.em}
            notes += what_was_not_learned(rewards)
            try:
                keep_rewards(rewards, work.path)
            except Exception as error:  # a stranger's reward may know no way to be saved
                if _is_environment(error):
                    raise
                notes.append(forget_rewards(work.path, error))
        elif aligned.clusters is not None:
            evidence["assignment"] = sorted(aligned.clusters.assignment.items())
            evidence["em"] = aligned.clusters.em
        (work.path / "evidence.json").write_text(json.dumps(evidence | {"notes": notes}, indent=1))

    folder = store.stage("policy", key, compute)
    policy = backbone.load_policy(folder)
    if "oracle" in entry.needs:
        policy = with_utilities(policy, lambda: true_utilities(problem))
    return policy, folder


@contextlib.contextmanager
def strange(called: str) -> Iterator[None]:
    """Make one error of ours of whatever a stranger's aligner or policy raises within the block."""
    try:
        yield
    except PrefbenchError:
        raise
    except (Exception, SystemExit) as error:
        if _is_environment(error):
            raise
        line = f"{called} failed with {type(error).__name__}: {error}".replace("\n", " ")
        raise AlignerFailed(line, traceback.format_exc()) from error


_ALIGNERS_OWN = (
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.EBADF,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.ESPIPE,
    errno.EPIPE,
    errno.EAGAIN,
    errno.EACCES,
    errno.EPERM,
)
"""Errors of a program that asks for a file which is not there, is there, or cannot be used in that way."""


def _is_environment(error: BaseException) -> bool:
    """Troubles that are the machine's and not the aligner's: they go up unchanged.

    Of what the operating system says, all that an aligner did not ask for by a mistake of its own: disks that
    are full, worn out or gone from the network, too many open files, no memory.
    """
    system = isinstance(error, OSError) and error.errno is not None and error.errno not in _ALIGNERS_OWN
    cause = error.__cause__  # libraries wrap what the system said
    wrapped = cause is not None and _is_environment(cause)
    return system or wrapped or isinstance(error, MemoryError) or is_lost(error)

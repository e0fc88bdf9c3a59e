"""Stage `policy` of a policy from outside: nothing is trained, and what it is takes the place of weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench import registry, seeds
from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.evaluate.people import takes_place
from prefbench.identity import identity_of
from prefbench.learn.interface import Backbone
from prefbench.problem.problem import Problem, with_instruction
from prefbench.running.labels import Contexts, Labels, contexts_of, labels_of
from prefbench.running.policy import strange
from prefbench.spec import RunSpec, digest
from prefbench.store.stages import Store, Work

PROMPTED_NOTE = "the policy was not asked with a group's instruction: it answers the test prompts alone"


def brought(spec: RunSpec, problem: Problem, store: Store) -> Outside | None:
    """The policy from outside that a specification names; None where an aligner makes one.

    Raises:
        UserError: it cannot be used. Nothing was written.
    """
    if spec.outside is None:
        return None
    entry = registry.get("aligner", spec.aligner)
    request = PolicyRequest(spec.outside["source"], problem, spec.evaluate_options["samples"], store)
    with strange(f"policy '{spec.aligner}'"):
        return Outside.of(entry.function(request, entry.options(**spec.aligner_options)))


def policy_stage(spec: RunSpec, outside: Outside, backbone: Backbone, store: Store) -> Path:
    """The stage's folder, whose name stands for all that the policy's answers depend on."""
    if outside.meet is not None:
        outside.meet(backbone)
    content = {
        "kind": spec.aligner.partition(":")[0],
        # Of a file or a folder the content says what it is, wherever it lies.
        "contents": sorted(identity_of(spec).options.values()) or (spec.outside or {})["source"],
        "options": dict(spec.aligner_options),
        "identity": dict(outside.identity),
    }

    def compute(work: Work) -> None:
        (work.path / "policy.json").write_text(json.dumps(content, indent=1))
        evidence: dict[str, Any] = {"rewards": None, "assignment": None, "em": None}
        (work.path / "evidence.json").write_text(json.dumps(evidence | {"notes": []}, indent=1))

    return store.stage("policy", content, compute)


def digest_of(folder: Path) -> str:
    """Digest of a policy's kind, source, options and code, from the folder of its stage: 16 digits."""
    return digest(folder.name)[:16]


def labels_if_needed(
    spec: RunSpec, problem: Problem, outside: Outside | None, backbone: Backbone, store: Store
) -> tuple[Labels, Contexts]:
    """Labels and contexts; nobody is asked for them where nothing is learned and all judge as their group."""
    if outside is None or takes_place(problem, ()):
        labels = labels_of(spec, problem, backbone, store)
        return labels, contexts_of(spec, problem, labels, store)
    columns = ["split", "prompt", "chosen", "rejected", "user_id", "group"]
    return Labels(pd.DataFrame(columns=columns), {}, ""), Contexts(None, "")


def told_prompts(problem: Problem) -> list[str]:
    """Test prompts with each group's instruction before them."""
    told = [group.instruction for group in problem.groups if group.instruction is not None]
    return [with_instruction(prompt, instruction) for instruction in told for prompt in problem.measured]


def described(
    spec: RunSpec, problem: Problem, outside: Outside, folder: Path, kl: float | None
) -> dict[str, Any]:
    """The record's `outside`, once the policy has answered."""
    said = dict(spec.outside or {})
    kind, _, name = spec.aligner.partition(":")
    prompts: Sequence[str] = [*problem.measured, *(told_prompts(problem) if outside.instructed else [])]
    usage = None
    if outside.usage is not None:
        draw = seeds.child(spec.seed, "samples", "policy")
        usage = outside.usage(prompts, spec.evaluate_options["samples"], draw)
    return {
        "kind": kind,
        "name": name,
        "source": said["source"],
        "trainer": said.get("trainer"),
        "link": said.get("link"),
        "digest": digest_of(folder),
        "no_kl": outside.no_kl if kl is None else None,
        "usage": usage,
    }

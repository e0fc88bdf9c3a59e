"""Models as folders of their own: a run's policy, the rewards that its aligner learned, the reference policy.

transformers loads them (or peft, where a policy is an adapter), so that other trainers and servers can go on
from them. Nothing leaves the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from prefbench.backbone.language.adapters import Adapted
from prefbench.backbone.language.classifier import save_classifier
from prefbench.backbone.language.log_linear import LogLinear
from prefbench.backbone.language.policies import LMPolicy, LMReward
from prefbench.backbone.language.whole import save_whole
from prefbench.errors import UserError
from prefbench.identity import identity_of
from prefbench.learn.by_prompt import ResampledPolicy
from prefbench.learn.interface import Backbone, Policy, Rewards
from prefbench.learn.selection import BestOfPolicy
from prefbench.learn.simple_policies import (
    ConstantPolicy,
    ExtremeLengthPolicy,
    MixturePolicy,
    ReferencePolicy,
    TemperedPolicy,
)
from prefbench.running.recorded import OpenRun, StoredRun
from prefbench.running.run import problem_and_model
from prefbench.spec import RunSpec, get_model
from prefbench.store.progress import Reporter
from prefbench.store.stages import Store
from prefbench.tools.model_card import PolicyParts, policy_card, reference_card, rewards_card
from prefbench.tools.new_folder import check_free, new_folder

TRIED = 8
"""Texts on which an exported reward is held against the learned one."""


def export_policy(run: StoredRun, out: Path, merge: bool = False, reporter: Reporter | None = None) -> str:
    """Write the policy of a run to a new folder.

    Of a product or a mixture of policies each part has a folder in it.

    Args:
        run: whose policy.
        out: a folder that is not there yet, or is empty.
        merge: write whole models in float32 in the place of adapters.
        reporter: who is told how it goes.

    Returns:
        What was written, in words.

    Raises:
        UserError: the folder cannot be used, the policy has no weights, or its stage is gone. Nothing was
            written.
    """
    check_free(out)
    opened = _opened(run, "policy", reporter)
    parts = _parts_of(opened)
    with new_folder(out) as folder:
        for name, policy in zip(parts.folders, parts.policies, strict=True):
            place = folder / name if name else folder
            place.mkdir(exist_ok=True)
            if merge and isinstance(policy.model, Adapted):
                save_whole(policy, place)
            else:
                policy.save(place)
        adapters = not merge and any(isinstance(policy.model, Adapted) for policy in parts.policies)
        card = policy_card(opened, parts.numbered(), adapters, _hub_id(opened.backbone))
        (folder / "README.md").write_text(card, encoding="utf-8")
    if parts.how == "one":
        return "an adapter" if adapters else "a model"
    return f"a {parts.how} of {len(parts.policies)} {'adapters' if adapters else 'models'}"


def export_rewards(run: StoredRun, out: Path, reporter: Reporter | None = None) -> str:
    """Write each reward that the aligner of a run learned to a folder in a new one.

    Args:
        run: whose rewards.
        out: a folder that is not there yet, or is empty.
        reporter: who is told how it goes.

    Returns:
        What was written, in words.

    Raises:
        UserError: the folder cannot be used, there are no rewards that transformers could compute, or their
            stage is gone. Nothing was written.
    """
    check_free(out)
    opened = _opened(run, "rewards", reporter)
    rewards = opened.rewards()
    models = _models_of(rewards, run)
    tried = _some_texts(opened.problem.measured)
    with new_folder(out) as folder:
        off = []
        for number, (model, name) in enumerate(zip(models, rewards.names, strict=True)):
            place = folder / f"reward-{number}"
            place.mkdir()
            shift, scale = float(rewards.shift[number]), float(rewards.scale[number])
            off.append(save_classifier(model, shift, scale, name, place, tried))
        card = rewards_card(opened, rewards, models[0], max(off), _hub_id(opened.backbone))
        (folder / "README.md").write_text(card, encoding="utf-8")
    return f"{len(models)} reward model{'s' if len(models) > 1 else ''}"


def export_reference(
    source: StoredRun | RunSpec, out: Path, runs_dir: Path, reporter: Reporter | None = None
) -> str:
    """Write a reference policy to a new folder.

    Args:
        source: a run, or a specification, whose reference is trained now if it has to be and is not there.
        out: a folder that is not there yet, or is empty.
        runs_dir: where stages of a specification are kept.
        reporter: who is told how it goes.

    Returns:
        What was written, in words.

    Raises:
        UserError: the folder cannot be used, the data or the model cannot, or the reference has no weights.
            Nothing was written to `out`.
    """
    check_free(out)
    spec = source.spec if isinstance(source, StoredRun) else source
    if isinstance(source, StoredRun):
        opened = _opened(source, "reference policy", reporter)
        problem, backbone = opened.problem, opened.backbone
    else:
        _check_weights(spec, "reference policy")
        problem, backbone, _ = problem_and_model(spec, Store(runs_dir, reporter, identity_of(spec)))
    reference = _language_model(backbone.reference)
    if reference is None or not all(p.is_floating_point() for p in reference.model.parameters()):
        raise UserError(
            "the weights of this reference policy are quantised as they are loaded: export it with "
            "--set model.quantise=none, or load the model itself."
        )
    with new_folder(out) as folder:
        reference.save(folder)
        card = reference_card(spec, problem, reference, _hub_id(backbone))
        (folder / "README.md").write_text(card, encoding="utf-8")
    return "a model"


# ------------------------------------------------------------------------------------- what there is


def _check_weights(spec: RunSpec, what: str) -> None:
    if get_model(spec.model).backbone != "causal_lm":
        raise UserError(
            f"the {what} of task '{spec.task}' cannot be exported: in a world it is a table and no "
            "language model; export data or prompts."
        )


def _opened(run: StoredRun, what: str, reporter: Reporter | None) -> OpenRun:
    _check_weights(run.spec, what)
    return run.opened(reporter)


def _hub_id(backbone: Backbone) -> str | None:
    """The hub's name of the model that is aligned; None where it was trained here or lies in a folder."""
    reference = _language_model(backbone.reference)
    name = "" if reference is None else str(reference.model.name_or_path)
    return name if name and not Path(name).exists() else None


def _language_model(policy: Policy) -> LMPolicy | None:
    return policy if isinstance(policy, LMPolicy) else None


class _Parts:
    """The language models that a policy consists of."""

    def __init__(
        self,
        how: Literal["one", "product", "mixture"],
        numbers: Sequence[float],
        policies: Sequence[LMPolicy],
    ) -> None:
        self.how = how
        self.numbers = tuple(numbers)
        self.policies = tuple(policies)
        self.folders = [""] if how == "one" else [f"part-{k}" for k in range(len(self.policies))]

    def numbered(self) -> PolicyParts:
        return PolicyParts(self.how, dict(zip(self.folders, self.numbers, strict=True)))


def _parts_of(opened: OpenRun) -> _Parts:
    """The parts of a run's policy.

    Raises:
        UserError: one of them has no weights.
    """
    policy = opened.policy()
    if isinstance(policy, LMPolicy) and isinstance(policy.model, LogLinear):
        backbone = policy.backbone
        return _Parts(
            "product", policy.model.powers, [LMPolicy(part, backbone) for part in policy.model.parts]
        )
    if isinstance(policy, LMPolicy):
        return _Parts("one", [1.0], [policy])
    if isinstance(policy, MixturePolicy):
        models = [_language_model(part) for part in policy.parts]
        known = [model for model in models if model is not None and not isinstance(model.model, LogLinear)]
        if len(known) == len(models):
            return _Parts("mixture", policy.weights, known)
    record = opened.run.record
    personal = (
        " What it says to a person is made when she is asked, and cannot be exported." if record.sees else ""
    )
    raise UserError(
        f"the policy of '{record.aligner}' has no weights of its own: "
        f"{_instead(policy, opened.run.folder)}.{personal}"
    )


def _instead(policy: Policy, folder: Path) -> str:
    """Description of a policy without weights, and of what can be had in its place."""
    reference = f"`prefbench export --reference --run {folder}` writes that"
    match policy:
        case ReferencePolicy():
            return f"it is the reference policy; {reference}"
        case TemperedPolicy(temperature=temperature):
            return f"it is the reference policy at temperature {temperature:g}; {reference}"
        case ConstantPolicy():
            return "it answers every prompt with one text"
        case BestOfPolicy(candidates=n) | ExtremeLengthPolicy(candidates=n) | ResampledPolicy(candidates=n):
            return f"it picks one of {n} samples of the reference policy; {reference}"
    return "it is made of other policies as it is asked"


def _models_of(rewards: Rewards, run: StoredRun) -> list[LMReward]:
    models = [model for model in rewards.models if isinstance(model, LMReward)]
    if len(models) < len(rewards.models):
        raise UserError(
            f"the rewards of '{run.record.aligner}' are no language models with a head: transformers "
            "could not "
            "compute them"
            "; `prefbench export --task` gives the data to train one."
        )
    return models


def _some_texts(prompts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Prompts, and for each of them another one in the place of a response."""
    asked = list(prompts[:TRIED])
    return asked, [*asked[1:], asked[0]]

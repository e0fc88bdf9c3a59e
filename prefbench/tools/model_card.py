"""Cards of exported models: what they are, what each group gets of them, and how they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefbench import __version__, registry
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.policies import LMPolicy, LMReward
from prefbench.learn.interface import Rewards
from prefbench.problem.problem import Problem
from prefbench.record.schema import Record
from prefbench.running.recorded import OpenRun
from prefbench.spec import RunSpec
from prefbench.tools.markdown import code, plain, shown, table
from prefbench.tools.model_code import policy_code, rewards_code
from prefbench.tools.model_index import command_of, header, results_of


@dataclass(frozen=True)
class PolicyParts:
    """The models that an exported policy consists of."""

    how: Literal["one", "product", "mixture"]
    numbers: Mapping[str, float]
    """Power or weight of each by its folder, which is empty where the policy is one model."""


def policy_card(opened: OpenRun, parts: PolicyParts, adapters: bool, base: str | None) -> str:
    """The README of an exported policy.

    Args:
        opened: its run.
        parts: the models in the folder.
        adapters: whether they are adapters, for a base.
        base: the hub's name of the model that was aligned, if it has one.
    """
    record = opened.run.record
    codec = _codec(opened)
    known = f"{record.task}@{record.task_version}"
    sections = [
        header(
            "peft" if adapters else "transformers",
            base,
            "text-generation",
            ["preference"],
            f"{record.aligner} on {known}",
            results_of(record),
        ),
        f"# {plain(record.aligner)} on {plain(known)}: a policy",
        f"A language model that was aligned by {code(record.aligner)} with what {len(record.groups)} "
        "groups of "
        "annotators with conflicting wishes prefer, and measured for each of them apart.",
        *([_FOR_NOBODY] if record.sees else []),
        "## What each group gets\n\n" + _results(record),
        "## What it is\n\n" + _facts_of(record),
        "## Measuring it again\n\n" + _again(opened),
        "## Loading\n\n" + _parts_said(parts) + policy_code(codec, adapters, base, parts.how, parts.numbers),
        "## Licence\n\n" + _licence(record.data, record.model),
        "## Limits\n\n" + _POLICY_LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def rewards_card(opened: OpenRun, rewards: Rewards, first: LMReward, off: float, base: str | None) -> str:
    """The README of exported rewards.

    Args:
        opened: their run.
        rewards: as the aligner learned them.
        first: one of them; the others are like it.
        off: largest difference from the learned ones that was found.
        base: the hub's name of the model that they were trained from, if it has one.
    """
    record = opened.run.record
    known = f"{record.task}@{record.task_version}"
    last = first.model.pooling == "last"
    pipeline = "text-classification" if last else "token-classification"
    sections = [
        header("transformers", base, pipeline, ["preference", "reward-model"]),
        f"# {plain(record.aligner)} on {plain(known)}: {len(rewards.names)} learned rewards",
        f"Bradley-Terry rewards that {code(record.aligner)} learned from the labels of annotators who "
        "disagree. "
        "Each is centred and scaled to mean 0 and standard deviation 1 over responses of the reference "
        "policy to "
        "train prompts, so that they can be compared, and the smallest be taken.",
        "## The rewards\n\n" + _rewards_table(record, rewards),
        "## Loading\n\n"
        + rewards_code(first.backbone.codec, last)
        + _MEANING
        + f" On texts that were tried on "
        f"export the largest difference from the learned reward was {off:.1g}.",
        "## What they come from\n\n" + _facts_of(record),
        "## Licence\n\n" + _licence(record.data, record.model),
        "## Limits\n\n" + _REWARD_LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def reference_card(spec: RunSpec, problem: Problem, reference: LMPolicy, base: str | None) -> str:
    """The README of an exported reference policy."""
    steps = spec.model_options.get("steps")
    trained = f"trained on {len(problem.corpus)} texts of the task" if steps else "taken as it is"
    facts = {
        "task": spec.task,
        "data": Path(spec.data).name,
        "model": Path(spec.model).name,
        "seed": spec.seed,
        **_options("model", spec.model_options),
        "prefbench": __version__,
    }
    parts: dict[str, float] = {"": 1.0}
    sections = [
        header("transformers", base, "text-generation", []),
        f"# The reference policy of {plain(spec.task)}",
        "The language model that alignment starts from, that win rates compare with and that divergence is "
        f"measured from. It was {trained}.",
        "## What it is\n\n" + _facts(facts),
        "## Loading\n\n" + policy_code(reference.backbone.codec, False, base, "one", parts),
        "## Licence\n\n" + _licence(spec.data, spec.model),
    ]
    return "\n\n".join(sections) + "\n"


def _codec(opened: OpenRun) -> Codec:
    reference = opened.backbone.reference
    assert isinstance(reference, LMPolicy)  # or it would not have been exported
    return reference.backbone.codec


# -------------------------------------------------------------------------------------------- results


def _results(record: Record) -> str:
    """The record's figures for each group, with what they are compared with."""
    header = [
        "group",
        "share",
        "win rate",
        "95% interval",
        "utility",
        "mean of this policy / of the reference",
    ]
    rows = [
        [
            plain(group.name) + (" (minority)" if group.is_minority else ""),
            f"{group.share:.1%}",
            f"{group.win_rate:.3f}",
            f"{group.ci_low:.3f} to {group.ci_high:.3f}",
            f"{plain(group.utility)}, in {plain(group.unit)}",
            f"{_number(group.mean_utility)} / {_number(group.reference_utility)}",
        ]
        for group in record.groups
    ]
    assert record.worst_group_win_rate_ci is not None and record.gap_ci is not None
    low, high = record.worst_group_win_rate_ci
    divergence = "not known" if record.kl is None else f"{record.kl:.3g} nats a response"
    what = "test" if record.split == "test" else "validation"
    return (
        f"{table(header, rows)}\n\n"
        "A win rate is the share of prompts on which this policy's response beats the reference "
        "policy's by the "
        "group's utility; ties count one half, an empty response loses. "
        f"The worst group is {plain(str(record.worst_group))}, {record.worst_group_win_rate:.3f} "
        f"({low:.3f} to {high:.3f}); the best group is {record.gap:.3f} above it "
        f"({record.gap_ci[0]:.3f} to {record.gap_ci[1]:.3f}). "
        f"Divergence from the reference policy is {divergence}; responses have "
        f"{record.mean_length:.1f} words "
        f"on average, the reference's {record.reference_length:.1f}. "
        f"Measured on {record.n_prompts} {what} prompts with {record.samples_per_prompt} "
        f"response{'s' if record.samples_per_prompt != 1 else ''} to each, drawn at temperature 1."
    )


def _again(opened: OpenRun) -> str:
    """Sentences and a command by which the figures are computed again, from evidence or from nothing."""
    record = opened.run.record
    plugins = ", ".join(plain(plugin.name) for plugin in record.plugins)
    needs = f" It needs the plug-ins {plugins}." if plugins else ""
    return (
        "The figures above, and those in the head of this card, follow from the evidence beside the run's "
        "record: `prefbench leaderboard verify --runs-dir RUNS`, with the folder of the runs, computes them "
        f"again. This trains the policy anew and measures it; paths are named by their last part.{needs}\n\n"
        f"```sh\n{command_of(opened.run.spec)}\n```\n\n"
        f"Results of one numerics, here {record.numerics}, may be compared; between machines they differ as "
        "between seeds."
    )


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g}"


def _rewards_table(record: Record, rewards: Rewards) -> str:
    """Each reward's folder, and what is known of how good it is."""
    counts: dict[int, int] = {}
    for cluster in (rewards.assignment or {}).values():
        counts[cluster] = counts.get(cluster, 0) + 1
    rows = []
    for number, name in enumerate(rewards.names):
        right, pairs = (0, 0) if rewards.held_out is None else rewards.held_out[number]
        rows.append(
            [
                f"`reward-{number}`",
                plain(name),
                "everybody it was trained on" if rewards.assignment is None else str(counts.get(number, 0)),
                f"{right / pairs:.1%} of {pairs}" if pairs else "not known",
                f"{rewards.shift[number]:.6g} / {rewards.scale[number]:.6g}",
            ]
        )
    header = ["folder", "reward", "annotators", "validation pairs ordered as labelled", "raw mean / spread"]
    accuracy = [
        f"Of held-out pairs the reward that serves {plain(group.name)} orders "
        f"{group.reward_accuracy:.1%} as that "
        "group's utility does."
        for group in record.groups
        if group.reward_accuracy is not None
    ]
    return "\n\n".join([table(header, rows), " ".join(accuracy)]).rstrip()


# ---------------------------------------------------------------------------------------------- facts


def _facts_of(record: Record) -> str:
    """Table of what was run."""
    spec = record.spec
    return _facts(
        {
            "task": f"{record.task}@{record.task_version}",
            "data": Path(record.data).name,
            "model": Path(record.model).name,
            "aligner": record.aligner,
            "needs in training": ", ".join(record.needs) or "nothing but the pairs",
            "sees when it answers": ", ".join(record.sees) or "nothing of people",
            "minority ratio": f"{record.minority_ratio:g}",
            "seed": record.seed,
            **_options("task", spec.get("task_options", {})),
            **_options("aligner", spec.get("aligner_options", {})),
            **_options("model", spec.get("model_options", {})),
            "specification": record.spec_hash,
            "numerics": record.numerics,
            "prefbench": record.provenance.prefbench,
        }
    )


def _options(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{name}": shown(value) for name, value in options.items() if value is not None}


def _facts(facts: Mapping[str, Any]) -> str:
    return table(["what", "value"], [[plain(name), code(str(value))] for name, value in facts.items()])


def _parts_said(parts: PolicyParts) -> str:
    """A sentence on a policy that is not one model."""
    each = ", ".join(f"`{folder}` {number:g}" for folder, number in parts.numbers.items())
    if parts.how == "product":
        return (
            "No single model is this policy: the next token's probability is the product of those of "
            "the models "
            f"below, each to a power ({each}), normalised at every token. What was measured is that "
            "product.\n\n"
        )
    if parts.how == "mixture":
        return (
            "No single model is this policy: each response is that of one of the models below, drawn "
            "with these "
            f"probabilities ({each}). What was measured is that mixture.\n\n"
        )
    return ""


def _licence(data: str, model: str) -> str:
    if data == "synthetic" and model in registry.BACKBONES.values():
        return (
            "It was trained on nothing but texts from the task's own generator: no third party's text "
            "or model "
            "is in it. Whoever publishes this states the licence here and in the header."
        )
    return (
        f"Weights derive from {code(Path(data).name)} and from the model {code(Path(model).name)}: the "
        "terms of "
        "both apply, where they are somebody's. Whoever publishes this has to see that they may, and "
        "states the "
        "licence here and in the header."
    )


_FOR_NOBODY = (
    "The aligner makes a policy for each person. This one is for whoever nothing is known of; what people "
    "with known labels are answered is not in it."
)
_MEANING = (
    "The number that it gives is the reward in standard deviations over reference responses: 0 is a usual "
    "response. Times the raw spread plus the raw mean of the table it is the reward as it was fitted."
)
_POLICY_LIMITS = (
    "- Groups' utilities are computed or learned, and stand for a wish only as far as that does.\n"
    "- One seed: another one, of the data and the training, gives other figures.\n"
    "- Win rates were measured at temperature 1, on prompts like those it was trained on, up to the "
    "length above.\n"
    "- It was not examined for safety, nor for anything but what is listed here."
)
_REWARD_LIMITS = (
    "- They were learned from pairs of the reference policy's responses; far from those, and a policy "
    "that is "
    "optimised for them goes there, they may be wrong.\n"
    "- A reward that orders about half of the held-out pairs as labelled has learned nothing.\n"
    "- Clusters are what was inferred, not groups that are known."
)

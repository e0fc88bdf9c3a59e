"""One policy per group, for aligners that combine such policies afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from prefbench.learn.interface import Backbone, Policy, Rewards
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_known_groups, pairs_by_group, pairs_digest, pairs_of
from prefbench.learn.welfare import mean
from prefbench.text import text_digest

if TYPE_CHECKING:
    from prefbench.problem.view import View
    from prefbench.store.stages import Work


def group_policies(
    view: View, backbone: Backbone, options: SingleRewardOptions
) -> tuple[Rewards, list[Policy]]:
    """The known groups' rewards, and for each a policy optimised for it alone, as stored stages."""
    rewards = fit_known_groups(view, backbone, options)
    held_out = pairs_by_group(view, "validation")
    policies = []
    for index, name in enumerate(rewards.names):
        own = replace(
            rewards,
            models=[rewards.models[index]],
            names=[name],
            shift=rewards.shift[index : index + 1],
            scale=rewards.scale[index : index + 1],
        )
        relevant = set(SingleRewardOptions.model_fields)
        key = {
            "reference": backbone.digest,
            "training": dict(backbone.training),
            "pairs": pairs_digest(pairs_of(view.preferences["train"])),
            "held_out": pairs_digest(held_out[name]),
            "prompts": text_digest(view.prompts),
            "group": name,
            "options": {k: v for k, v in options.model_dump().items() if k in relevant},
            "seed": view.seed,
        }

        def compute(work: Work, own: Rewards = own, name: str = name) -> None:
            policy = backbone.at(work).optimise(
                own, mean(), options, prompts=view.prompts, seed=view.seed, held_out=[held_out[name]]
            )
            policy.save(work.path)

        policies.append(backbone.load_policy(backbone.cached("experts", key, compute)))
    return rewards, policies

"""One policy per group or reward, for aligners that combine such policies afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from prefbench.arrays import Floats
from prefbench.learn.interface import Backbone, Pairs, Policy, RewardFunction, Rewards
from prefbench.learn.one_policy import policy_for
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_known_groups, pairs_by_group, pairs_digest, pairs_of
from prefbench.learn.weighted import Frozen
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
        policies.append(_stored(view, backbone, own, options, held_out[name], name, {"group": name}))
    return rewards, policies


def policy_of_head(
    view: View,
    backbone: Backbone,
    experts: Frozen,
    head: Floats,
    said: Floats,
    options: SingleRewardOptions,
    held_out: Pairs,
) -> Policy:
    """A policy optimised for phi . head alone, as a stored stage: of several each has its own checkpoints.

    Args:
        view: prompts and seed.
        backbone: gives the policy.
        experts: frozen features phi.
        head: [d]
        said: [n, d] phi of the responses in the train pairs, on which the reward is centred.
        options: of PPO, and of the reward whose features they are.
        held_out: pairs that choose between the policies of its training, if the options let them.
    """
    shift = float((said @ head).mean())

    def reward(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.asarray(experts(prompts, responses) @ head[:, None] - shift)

    digest = hashlib.sha256(np.concatenate([head, experts.scale]).tobytes()).hexdigest()
    return _stored(view, backbone, reward, options, held_out, "member", {"head": digest})


def _stored(
    view: View,
    backbone: Backbone,
    rewards: RewardFunction,
    options: SingleRewardOptions,
    held_out: Pairs,
    name: str,
    which: dict[str, str],
) -> Policy:
    """The policy for one reward, which `which` tells from others that were fitted to the same pairs."""
    relevant = set(SingleRewardOptions.model_fields)
    key = {
        "reference": backbone.digest,
        "training": dict(backbone.training),
        "pairs": pairs_digest(pairs_of(view.preferences["train"])),
        "held_out": pairs_digest(held_out),
        "prompts": text_digest(view.prompts),
        **which,
        "options": {k: v for k, v in options.model_dump().items() if k in relevant},
        "seed": view.seed,
    }

    def compute(work: Work) -> None:
        policy_for(view, backbone.at(work), rewards, options, held_out, name).save(work.path)

    return backbone.load_policy(backbone.cached("experts", key, compute))

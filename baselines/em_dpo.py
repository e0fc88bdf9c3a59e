"""EM-DPO with min-max-regret aggregation (Chidambaram, Seetharaman and Syrgkanis, arXiv 2405.15065)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import prefbench as pb
from prefbench.learn.em import first_grouping
from prefbench.learn.options import EMDPOOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import fit_everybody, log_likelihood, pairs_of
from prefbench.learn.simple_policies import MixturePolicy
from prefbench.work import ROWS_AT_ONCE, Recipe

TOLERANCE = 1e-3  # largest change of a responsibility at which EM stops


def policies_by_em(recipe: Recipe) -> None:
    """Features for a start, then rounds of a policy for each cluster on all pairs, then regrets."""
    options, sizes = recipe.options, recipe.sizes
    clusters, rounds = options["clusters"], options["em_iterations"]
    if options["em"] == "plain":
        recipe.everybody()
    recipe.features()
    held = 1 + 2 * clusters
    stage = "policies by EM"
    recipe.pairwise(stage, rounds * clusters, held, 1 / (rounds * clusters))
    # Both responses of every pair by the policy and by the reference, for the E-step.
    recipe.score(stage, 2 * 2 * sizes.train * rounds * clusters, 1 / rounds, held=held)
    asked = min(options["regret_prompts"], sizes.train) * clusters
    recipe.add(stage, "sample", asked, min(asked, ROWS_AT_ONCE), held=held)
    recipe.score(stage, asked * 2 * clusters, held=held)
    recipe.rewards, recipe.policies, recipe.speakers = 0, clusters, clusters


@pb.aligner("em_dpo", needs={"user_id"}, work=policies_by_em)
def em_dpo(view: pb.View, backbone: pb.Backbone, options: EMDPOOptions) -> pb.Aligned:
    """A DPO policy per cluster of annotators by EM, mixed so that the largest regret of a cluster is least.

    E-step: g_ik ~ eta_k prod_j sigmoid(beta D_k(ij)). M-step: DPO on all pairs weighted by g. It starts where
    reward EM would, from linear rewards on features.
    """
    pairs, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    assert pairs.user_id is not None and held_out.user_id is not None
    users, user = np.unique(pairs.user_id, return_inverse=True)
    if options.clusters > len(users):
        raise pb.UserError(
            f"{options.clusters} clusters are more than the {len(users)} annotators: lower aligner.clusters."
        )
    everybody = (
        fit_everybody(backbone, pairs, options, view.seed).models[0] if options.em == "plain" else None
    )
    start = first_grouping(backbone, pairs, everybody, user, options, view.seed)
    known = np.flatnonzero(np.isin(held_out.user_id, users))
    checked, held_out = np.searchsorted(users, held_out.user_id[known]), held_out[known]
    responsibility = np.eye(options.clusters)[start.assignment]
    loss = DPO.of(options, backbone)
    trace, stopped = [], f"{options.em_iterations} iterations reached"
    for iteration in range(options.em_iterations):
        share = np.maximum(responsibility.mean(axis=0), 1e-12)
        policies = [
            backbone.fit_pairwise(
                replace(pairs, weights=np.maximum(responsibility[user, k], 1e-12)),
                loss,
                options,
                seed=view.seed,
                name=f"{iteration}-{k}",
                held_out=replace(held_out, weights=np.maximum(responsibility[checked, k], 1e-12)),
            )
            for k in range(options.clusters)
        ]
        margins = [
            loss.beta
            * (
                _log_ratio(backbone, policy, pairs.prompts, pairs.chosen)
                - _log_ratio(backbone, policy, pairs.prompts, pairs.rejected)
            )
            for policy in policies
        ]
        per_user = np.log(share) + np.stack(
            [np.bincount(user, weights=log_likelihood(margin, pairs.strength)) for margin in margins],
            axis=1,
        )
        top = per_user.max(axis=1, keepdims=True)
        before, responsibility = responsibility, np.exp(per_user - top)
        whole = responsibility.sum(axis=1, keepdims=True)
        trace.append(float((top + np.log(whole)).sum()) / len(pairs))
        responsibility = responsibility / whole
        if np.abs(responsibility - before).max() < TOLERANCE:
            stopped = "assignment stable"
            break
    likeliest = responsibility.argmax(axis=1)
    em = {
        "clusters": options.clusters,
        "iterations": iteration + 1,
        "log_likelihood": trace,
        "start": start.name,
        "restarts": options.em_restarts + 1,
        "chosen_restart": start.index,
        "cluster_sizes": np.bincount(likeliest, minlength=options.clusters).tolist(),
        "stopped": stopped,
        "assignment": "soft",
        "unit": "annotator",
    }
    found = pb.Clusters(dict(zip(users.tolist(), likeliest.tolist(), strict=True)), em)
    mixture = MixturePolicy(
        tuple(policies), tuple(_least_regret(view, backbone, policies, loss.beta, options))
    )
    return pb.Aligned(mixture, clusters=found)


def _log_ratio(
    backbone: pb.Backbone, policy: pb.Policy, prompts: Sequence[str], responses: Sequence[str]
) -> np.ndarray:
    ours, reference = policy.logprob(prompts, responses), backbone.reference.logprob(prompts, responses)
    assert ours is not None and reference is not None
    return np.asarray(ours - reference)


def _least_regret(
    view: pb.View,
    backbone: pb.Backbone,
    policies: Sequence[pb.Policy],
    beta: float,
    options: EMDPOOptions,
) -> list[float]:
    """Weights w of the mixture that minimise max_k sum_l R_kl w_l, by linear programming.

    R_kl = E_{pi_k}[beta h_k] - E_{pi_l}[beta h_k] is what cluster k loses under policy l, in its implicit
    reward.
    """
    from scipy.optimize import linprog

    def implicit(asked: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        ratios = [_log_ratio(backbone, policy, asked, responses) for policy in policies]
        return beta * np.stack(ratios, axis=1)

    value = np.stack(
        [
            backbone.expect(
                policy,
                view.prompts,
                implicit,
                batch=options.regret_prompts,
                seed=view.seed,
                names=("regret", index),
            )
            for index, policy in enumerate(policies)
        ],
        axis=1,
    )  # [k, l] of cluster k under policy l
    regret = np.diag(value)[:, None] - value
    count = len(policies)
    found = linprog(
        [0.0] * count + [1.0],
        A_ub=np.hstack([regret, -np.ones((count, 1))]),
        b_ub=np.zeros(count),
        A_eq=[[1.0] * count + [0.0]],
        b_eq=[1.0],
        bounds=[(0, 1)] * count + [(None, None)],
    )
    assert found.x is not None  # feasible and bounded whatever the regrets are
    weights = np.maximum(found.x[:count], 0)
    return [float(weight) for weight in weights / weights.sum()]

"""Policies of people whose rewards are weighted sums of shared experts, without a training run for each.

Where responses can be listed the policy for weights w is exact, pi_w ~ pi_ref exp(sum_k w_k e_k / beta); for
a language model it is the best of N reference samples by the same sum (`learn/weighted.py`). With a router
(`learn/routers.py`) that is a `Personal`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from prefbench import seeds
from prefbench.learn import exact
from prefbench.learn.game import Game
from prefbench.learn.interface import Aligned, Backbone, Context, Personal, Policy, Rewards
from prefbench.learn.options import PersonalOptions, PPOOptions, kl_coefficient
from prefbench.learn.routers import Router
from prefbench.learn.weighted import Candidates, Experts, SelectionPolicy, listed
from prefbench.learn.welfare import mean
from prefbench.work import PRIOR_PROMPTS

if TYPE_CHECKING:
    from prefbench.problem.view import View


def policies_of(
    view: View, backbone: Backbone, experts: Experts, options: PersonalOptions
) -> Callable[[np.ndarray], Policy]:
    """A function from weights [K] to the policy for the weighted sum of what experts say."""
    if not listed(backbone):
        pool = Candidates(backbone.reference, experts, options.candidates)
        return lambda weights: SelectionPolicy.by(pool, weights)
    strength = PPOOptions.model_validate({"kl_coefficient": options.kl_coefficient})

    def optimum(weights: np.ndarray) -> Policy:
        def reward(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
            return np.asarray(experts(prompts, responses) @ weights[:, None])

        return backbone.optimise(
            reward, mean(), strength, prompts=view.prompts, seed=view.seed, names=["person"]
        )

    return optimum


def personal(
    policy_of: Callable[[np.ndarray], Policy],
    default: np.ndarray,
    router: Router,
    rewards: Rewards | None = None,
    notes: Sequence[str] = (),
) -> Aligned:
    """Everybody's policy by her weights [K], and the default's for whoever the router knows nothing of.

    Args:
        policy_of: from weights [K] to a policy, as `policies_of` gives it.
        default: [K] weights of whoever nothing is known of.
        router: from a person's context to her weights.
        rewards: those that were fitted on the way, for the record.
        notes: remarks for the record, before the bound on the divergence of selected samples.
    """
    unknown = policy_of(default)

    def adapt(context: Context) -> Policy:
        weights = router(context)
        return unknown if weights is None else policy_of(weights)

    if isinstance(unknown, SelectionPolicy):
        most = f"the best of n={unknown.candidates} samples lies at most {unknown.most_kl:.2f} nats"
        notes = [*notes, f"{most} from the reference, log n - (n - 1) / n"]
    return Aligned(Personal(unknown, adapt), rewards, notes=notes)


def weights_for_worst_off(
    view: View, backbone: Backbone, experts: Experts, options: PersonalOptions
) -> np.ndarray:
    """Weights [K] whose policy is the best one for the worst off: maxmin's dual optimum (`learn/exact.py`).

    Of a language model's responses only samples count, of some train prompts (a sample average).
    """
    beta = kl_coefficient(options.kl_coefficient, backbone.kl_coefficient)
    game = game_of(view, backbone, experts, beta, options.candidates, "least favourable")
    return exact.maxmin(game).group_weights


def game_of(
    view: View, backbone: Backbone, experts: Experts, beta: float, candidates: int, name: str
) -> Game:
    """The game of what experts say where responses are listed; else a sample average of it.

    Of a language model's responses only `candidates` samples to each of some train prompts count, alike. They
    are drawn by the child `name` of the run's seed.
    """
    game = backbone.game(view.prompts, experts, beta)
    if game is not None:
        return game
    prompts = list(dict.fromkeys(view.prompts))[:PRIOR_PROMPTS]
    drawn = backbone.reference.sample(prompts, candidates, seeds.child(view.seed, name))
    said = experts([p for p in prompts for _ in range(candidates)], [t for r in drawn for t in r])
    shape = (len(prompts), candidates)
    alike = np.full(shape, 1 / candidates)
    return Game(said.reshape(*shape, -1), alike, np.full(len(prompts), 1 / len(prompts)), beta)

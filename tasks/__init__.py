"""Built-in tasks, one file each; importing this package registers them."""

from prefbench_tasks import (
    bandit_k_group,
    bandit_two_group,
    gridworld_two_group,
    hh_two_group,
    imdb_two_group,
    preference_pool,
    preferences,
    response_pool,
    scored_pool,
    tulu_personas,
    worst_case_two_group,
)

__all__ = [
    "bandit_k_group",
    "bandit_two_group",
    "gridworld_two_group",
    "hh_two_group",
    "imdb_two_group",
    "preference_pool",
    "preferences",
    "response_pool",
    "scored_pool",
    "tulu_personas",
    "worst_case_two_group",
]

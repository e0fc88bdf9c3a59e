"""Built-in aligners, one file for each idea; importing this package registers them."""

from prefbench_baselines import (
    dpo,
    em_dpo,
    gold,
    gr_dpo,
    ipo,
    is_dpo,
    maxmin,
    mpo,
    nulls,
    occupancy_maxmin,
    preference_matching,
    single_reward,
    soups,
    welfare,
)

__all__ = [
    "dpo",
    "em_dpo",
    "gold",
    "gr_dpo",
    "ipo",
    "is_dpo",
    "maxmin",
    "mpo",
    "nulls",
    "occupancy_maxmin",
    "preference_matching",
    "single_reward",
    "soups",
    "welfare",
]

"""Built-in aligners, one file for each idea; importing this package registers them."""

from prefbench_baselines import dpo, gold, maxmin, nulls, single_reward

__all__ = ["dpo", "gold", "maxmin", "nulls", "single_reward"]

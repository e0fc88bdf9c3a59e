"""Win rates, fairness measures, regret and theory, and utilities that are learned or asked for."""

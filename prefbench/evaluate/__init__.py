"""Win rates, fairness measures and the statistics behind their intervals."""

"""What a judge under test is asked, the key it is given, and the failure that it has to wait out."""

import numpy as np

from prefbench.evaluate.judge import Judge
from support.judge_server import Failure

KEY = "sk-secret-0123456789abcdef"
VARIABLE = "PREFBENCH_TEST_KEY"
RATE_LIMIT = Failure(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.05"})


def compare(judge: Judge, *pairs: tuple[str, str]) -> list[float]:
    """Utilities of the first responses; those of the second are checked to be the rest."""
    prompts = [f"prompt {number}" for number in range(len(pairs))]
    first, second = judge.compare(prompts, [a for a, _ in pairs], [b for _, b in pairs])
    assert first.dtype == second.dtype == np.float64
    np.testing.assert_array_equal(first + second, 1)
    return first.tolist()


def many(n: int) -> list[tuple[str, str]]:
    return [(f"an answer {number}", f"another answer {number}") for number in range(n)]

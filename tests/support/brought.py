"""A task of a world whose labels people brought along, for tests."""

import contextlib
from dataclasses import replace

import numpy as np
import pandas as pd

import prefbench as pb
from prefbench import registry
from prefbench.problem.labels import label_pairs
from prefbench_tasks.bandit_two_group import bandit_two_group

COLUMNS = ["split", "prompt", "chosen", "rejected", "user_id", "group"]


def brought_world(data: str, minority_ratio: float, seed: int, *, annotators: int = 16) -> pb.Problem:
    """A small world, with labels that sixteen people brought."""
    problem = bandit_two_group(
        data,
        minority_ratio,
        0,
        annotators=annotators,
        pairs_per_annotator=20,
        test_prompts=120,
        temperature=0.0,
    )
    world, rng = problem.world, np.random.default_rng(0)
    rows = []
    for split, prompts in problem.paired.items():
        for prompt in prompts:
            one, other = rng.permutation(world.responses[world.state[prompt]])[:2]
            rows.append((split, prompt, one, other))
    pairs = pd.DataFrame(rows, columns=["split", "prompt", "response_a", "response_b"])
    labelled, _ = label_pairs(pairs, problem, 0)
    table = labelled[COLUMNS].assign(user_id=[f"person {who}" for who in labelled["user_id"]])
    return replace(problem, given=table)


@contextlib.contextmanager
def brought():
    """The task `brought_world`, registered within the block."""
    with registry.lent():
        pb.task("brought_world", backbone="finite")(brought_world)
        yield

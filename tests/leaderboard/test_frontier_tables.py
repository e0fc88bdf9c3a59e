"""Tables of frontiers: readings at equal divergence, and differences of them by seed."""

import math

import numpy as np
import pytest

from prefbench.boards.frontier import frontiers_of
from prefbench.boards.rows import load_rows
from support.published import lines_of
from support.records import make_run

DRAWS = (np.arange(100) + 0.5) / 100
STRENGTHS = {0.1: 8.0, 0.3: 2.0, 1.0: 1.0}
"""KL coefficients, and the nats that they are made to give."""


@pytest.fixture(scope="module")
def tables(script):
    return script("frontiers")


@pytest.fixture
def frontiers(tmp_path):
    """maxmin, single_reward that is worse by 0.3 and a seed later, and dpo that stays below four nats."""
    for seed in range(4):
        for aligner, less in (("maxmin", 0.0), ("single_reward", 0.3 + 0.01 * seed), ("dpo", -0.01)):
            for strength, kl in STRENGTHS.items():
                if aligner == "dpo" and kl > 4:
                    continue
                few = 0.6 + 0.05 * math.log2(kl) + 0.02 * seed - less
                make_run(
                    tmp_path,
                    {"many": 0.95, "few": few},
                    100,
                    kl=kl,
                    draws=DRAWS,
                    aligner=aligner,
                    aligner_options={"beta" if aligner == "dpo" else "kl_coefficient": strength},
                    seed=seed,
                )
    return frontiers_of(load_rows(tmp_path))


def cells(table):
    head, *lines = lines_of(table)
    return {line[0]: dict(zip(head, line, strict=True)) for line in lines}


def test_readings_stand_where_every_seed_was_measured(tables, frontiers):
    found = cells(tables.reached(frontiers))
    assert list(found) == ["maxmin", "dpo", "single_reward"]
    assert found["maxmin"]["KL"] == "1.0 to 8.0" and found["maxmin"]["strength"] == "kl_coefficient"
    means = [float(found["maxmin"][f"at {nats} nats"].partition(" ")[0]) for nats in (1, 2, 4, 8)]
    assert means == pytest.approx([0.63, 0.68, 0.73, 0.78], abs=0.011)
    assert found["dpo"]["at 1 nats"] and found["dpo"]["at 4 nats"] == ""
    assert found["dpo"]["mean, 1 to 8 nats"] == ""


def test_a_lead_is_paired_by_seed_and_marked_where_it_is_sure(tables, frontiers):
    found = cells(tables.leads(frontiers))
    assert list(found) == ["dpo", "single_reward"]
    surely = [found["single_reward"][column] for column in tables.AT]
    assert all(cell.startswith("**+0.3") and cell.endswith("**") for cell in surely)
    assert found["dpo"]["at 8 nats"] == "" and not found["dpo"]["at 1 nats"].startswith("**")
    assert found["single_reward"][tables.AREA].startswith("**+0.3")

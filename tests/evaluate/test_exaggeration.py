"""The gain from exaggeration by hand, and of payments, under which there is none."""

import numpy as np
import pandas as pd
import pytest

from prefbench import registry
from prefbench.evaluate import exaggeration
from prefbench.evaluate.exaggeration import (
    PAID,
    UNPAID,
    gain_table,
    gains,
    loss_table,
    losses,
    reference_values,
    reporters_of,
)
from prefbench.sweep.exaggeration import FACTORS

TRUE = {"report": "truth", "group": "", "annotators": ""}


def frame(rows) -> pd.DataFrame:
    """Rows of aligner `a`: seed, report and the values of `few` and `many`; `few` is who lies."""
    lie = {"group": "few", "annotators": "all"}
    return pd.DataFrame(
        [
            {
                "aligner": "a",
                "seed": seed,
                "reliability": 1.0,
                **(TRUE if report == "truth" else {**lie, "report": report}),
                "value/few": few,
                "value/many": many,
            }
            for seed, report, few, many in rows
        ]
    )


def test_a_seeds_gain_is_that_of_the_report_that_is_best_on_the_others():
    table = frame(
        [
            (0, "truth", 1.0, 2.0),
            (0, "2.0", 1.5, 1.8),
            (0, "-1.0", 3.0, 0.0),  # luck of this seed alone
            (1, "truth", 1.0, 2.0),
            (1, "2.0", 1.4, 1.6),
            (1, "-1.0", 0.0, 2.0),
            (2, "truth", 0.0, 2.0),
            (2, "2.0", 0.6, 1.7),
            (2, "-1.0", -1.0, 2.0),
        ]
    )
    (row,) = gains(table)
    # "2.0" is best on seeds 1 and 2 and on 0 and 2, and "-1.0" on 0 and 1, with 0.5 against 0.45.
    assert (row["report"], row["annotators"], row["seeds"]) == ("2.0", "all", 3)
    assert row["gain"] == pytest.approx((0.5 + 0.4 - 1.0) / 3)
    assert row["at_best"] == pytest.approx((2.0 + 0.4 + 0.6) / 3)
    assert row["others"] == pytest.approx((-0.2 - 0.4 - 0.3) / 3)
    assert row["truth"] == pytest.approx(2 / 3)
    half = 4.302653 * np.std([0.5, 0.4, -1.0], ddof=1) / 3**0.5
    assert (row["low"], row["high"]) == pytest.approx((row["gain"] - half, row["gain"] + half))
    header, lines = gain_table([row])
    assert len(header) == len(lines[0]) and lines[0][:3] == ["a", "few", "times 2"]


def test_where_no_report_pays_the_truth_is_best_and_one_seed_has_no_interval():
    (row,) = gains(frame([(0, "truth", 1.0, 2.0), (0, "2.0", 0.5, 2.0), (0, "many", 0.0, 3.0)]))
    assert (row["report"], row["gain"], row["at_best"], row["others"], row["low"]) == ("truth", 0, 0, 0, None)


def test_a_seed_without_its_truth_or_with_a_failed_run_is_left_out():
    rows = [(0, "truth", 1.0, 2.0), (0, "2.0", 1.5, 1.8), (0, "5.0", 1.6, 1.8)]
    rows += [(1, "2.0", 9.0, 9.0), (1, "5.0", 9.0, 9.0), (2, "truth", 0.0, 0.0), (2, "2.0", 9.0, 9.0)]
    (row,) = gains(frame(rows))
    assert row["seeds"] == 1 and row["gain"] == pytest.approx(0.6)


def test_what_coins_cost_the_worst_off():
    rows = [
        {"aligner": "a", "seed": seed, "reliability": share, **TRUE, "value/few": few, "value/many": 1.0}
        for seed, share, few in [(0, 1.0, 0.5), (0, 0.8, 0.2), (1, 1.0, 3.0), (1, 0.8, 0.9), (2, 1.0, 9.0)]
    ]
    whole, coins = losses(pd.DataFrame(rows))
    assert (whole["worst"], whole["change"], whole["low"]) == (pytest.approx(0.75), 0.0, None)
    assert (coins["worst"], coins["change"]) == (pytest.approx(0.55), pytest.approx(-0.2))
    assert coins["low"] < -0.2 < coins["high"] and coins["seeds"] == 2
    header, lines = loss_table([whole, coins])
    assert header == ["aligner", "V at 0%", "20%"] and lines[0][:2] == ["a", "0.750"]


@pytest.mark.parametrize("task", ["bandit_two_group", "bandit_k_group", "worst_case_two_group"])
def test_with_payments_no_report_pays_and_without_them_exaggeration_does(task):
    registry.load_plugins()
    problem = registry.get("task", task).function("synthetic", 0.2, 0)
    names = [group.name for group in problem.groups]
    rows = pd.DataFrame(reference_values(problem, [*FACTORS, *names], 0.05))
    found = gains(rows.assign(seed=0, reliability=1.0))
    paid = [row for row in found if row["aligner"] == PAID]
    assert max(row["at_best"] for row in paid) <= 1e-12
    assert {row["report"] for row in paid} == {"truth"}
    unpaid = {(row["group"], row["annotators"]): row for row in found if row["aligner"] == UNPAID}
    few = reporters_of(problem, 0.05)
    assert few == [round(problem.annotators / 20)] * len(names) and len(unpaid) == 2 * len(names)
    loud = [row for row in unpaid.values() if row["report"] in ("2.0", "5.0")]
    assert loud and max(row["gain"] for row in loud) > 0.01


def test_a_party_of_liars_takes_its_share_from_its_group():
    game, members = exaggeration.normalised_game(*_small(), 0.3), np.array([8, 2])
    parted, shares = exaggeration._with_liars(game, members, 0, 2)
    assert shares == pytest.approx([0.6, 0.2, 0.2])
    assert parted.policy(shares) == pytest.approx(game.policy(np.array([0.8, 0.2])))
    _, alone = exaggeration._with_liars(game, members, 1, 2)
    assert alone == pytest.approx([0.8, 0.0, 0.2])


def _small() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 3, 2)), rng.dirichlet(np.ones(3), size=2), np.array([0.5, 0.5])

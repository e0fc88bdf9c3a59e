"""MaxMin-RLHF's theory against exact numbers: what is proven holds, and what is measured is right."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prefbench.errors import UserError
from prefbench.evaluate.theory import BOUNDS, instance, measure, pooled_reward
from prefbench.evaluate.theory_sweep import summary, sweep, verdicts
from prefbench.problem.finite import finite_problem, numbered_prompts
from prefbench.problem.problem import Problem
from prefbench.problem.world import World
from support.commands import typed

DERIVED = [bound for bound in BOUNDS if not bound.quoted]


def problem_of(
    features: np.ndarray,
    utilities: np.ndarray,
    *,
    shares: tuple[float, ...] = (0.8, 0.2),
    reference: np.ndarray | None = None,
    temperature: float = 0.5,
) -> Problem:
    """A problem with 100 annotators whose states are all asked about equally often."""
    states, responses = utilities.shape[:2]
    prompts, state = numbered_prompts("prompt", np.arange(100 * states) % states, [0], [0])
    world = World(
        state=state,
        responses=(tuple(f"response {i}" for i in range(responses)),) * states,
        features=features,
        utilities=utilities,
        reference=np.full((states, responses), 1 / responses) if reference is None else reference,
        beta=1.0,
    )
    named = [(f"group {i}", share, "points") for i, share in enumerate(shares)]
    return finite_problem(
        world, prompts, named, annotators=100, pairs_per_annotator=states, temperature=temperature
    )


def random_problem(
    seed: int, states: int, responses: int, width: int, groups: int, temperature: float, scale: float
) -> Problem:
    rng = np.random.default_rng(seed)
    features = scale * rng.normal(size=(states, responses, width))
    reference = rng.dirichlet(np.full(responses, 2.0), size=states) + 1e-3
    return problem_of(
        features,
        features @ rng.normal(size=(width, groups)),
        shares=tuple(np.round(0.7 * rng.dirichlet(np.ones(groups)) + 0.3 / groups, 4).tolist()),
        reference=reference / reference.sum(axis=1, keepdims=True),
        temperature=temperature,
    )


# ------------------------------------------------------------------------------------------ properties


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    states=st.integers(1, 4),
    responses=st.integers(2, 5),
    width=st.integers(1, 4),
    groups=st.integers(2, 4),
    temperature=st.floats(0.1, 10),
    scale=st.floats(0.01, 100),
    beta=st.floats(0.02, 20),
)
def test_every_derived_bound_holds(
    seed: int,
    states: int,
    responses: int,
    width: int,
    groups: int,
    temperature: float,
    scale: float,
    beta: float,
) -> None:
    try:
        problem = random_problem(seed, states, responses, width, groups, temperature, scale)
        (row,) = measure(problem, [beta])
    except UserError as error:
        # One feature may leave all groups with the same taste; nearly the same features may be drawn.
        assume("nothing to disagree" not in str(error) and "ill-conditioned" not in str(error))
        raise
    for bound in DERIVED:
        assert row[f"{bound.column}_holds"] in (True, None), (bound, row)
    assert (row["mismatch_bound_two_groups"] is None) == (groups > 2)
    # V_u(pi*_u) - V_u(pi) = beta KL(pi || pi*_u), the two sides computed apart.
    assert row["gap"] == pytest.approx(row["gap_divergence"], rel=1e-6, abs=1e-9)
    assert row["epsilon"] >= -1e-12 and row["gap_max"] >= row["gap"] >= -1e-12


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), groups=st.integers(2, 4))
def test_the_pooled_reward_is_the_most_likely_one(seed: int, groups: int) -> None:
    found = instance(random_problem(seed, 3, 4, 3, groups, 0.5, 1.0))
    phi = pooled_reward(found)
    target = found.preferences(found.phi) @ found.shares

    def loss(at: np.ndarray) -> float:
        margin = found.differences @ at
        return float(found.mass @ (np.logaddexp(0, margin) - target * margin))

    rng = np.random.default_rng(seed)
    assert all(loss(phi) <= loss(phi + 1e-3 * rng.normal(size=phi.shape)) for _ in range(20))
    gradient = (found.mass * (found.preferences(phi) - target)) @ found.differences
    assert np.linalg.norm(gradient) < 1e-9


def test_units_of_the_features_change_theorem_1_as_quoted_and_not_the_gap() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 5, 3))
    utilities = features @ rng.normal(size=(3, 2))
    (one,), (small,) = (measure(problem_of(c * features, utilities), [0.5]) for c in (1.0, 1e-5))
    assert small["gap"] == pytest.approx(one["gap"], rel=1e-9)
    assert small["mismatch"] == pytest.approx(1e5 * one["mismatch"], rel=1e-9)
    assert small["lemma_1"] == pytest.approx(1e5 * one["lemma_1"], rel=1e-9)
    assert small["gap_bound_chain"] == pytest.approx(one["gap_bound_chain"], rel=1e-6)
    assert small["theorem_1"] == pytest.approx(1e5 * one["theorem_1"], rel=1e-9)
    assert one["theorem_1_holds"] and not small["theorem_1_holds"]


# ----------------------------------------------------------------------------------------------- by hand


def test_two_responses_by_hand() -> None:
    # Opposed utilities of +1 and -1 have spread 1, so at temperature 0.5 a group's log odds between the two
    # responses are 4, and each has 2 and -2 as rewards. The one feature is 1 or 0, centred 1/2 or -1/2.
    features = np.array([[[1.0], [0.0]]])
    utilities = np.array([[[1.0, -1.0], [-1.0, 1.0]]])
    (row,) = measure(problem_of(features, utilities, shares=(0.75, 0.25)), [2.0])
    sure = 1 / (1 + math.exp(-4))
    mixed = 0.75 * sure + 0.25 * (1 - sure)
    pooled = math.log(mixed / (1 - mixed))  # one parameter fits one probability exactly
    assert (row["group"], row["opposite"], row["share"]) == ("group 1", "group 0", 0.25)
    # Half of all pairs have two different responses; of the others everybody says one half.
    assert row["diversity"] == row["epsilon"] == pytest.approx((2 * sure - 1) / 2)
    assert row["misfit"] == pytest.approx(0, abs=1e-12)
    assert [row["tv_pooled"], row["tv_fitted"]] == pytest.approx([0.75 * (2 * sure - 1) / 2] * 2)
    assert row["mismatch"] == pytest.approx(pooled + 4)
    assert (row["feature_bound"], row["feature_diameter"], row["gram_min"]) == (0.5, 1.0, 0.25)
    assert row["lipschitz"] == pytest.approx(0.5)
    assert row["lemma_1"] == pytest.approx(row["epsilon"] * 0.75 / 2)
    assert row["theorem_1"] == pytest.approx(0.25 * row["epsilon"] * 0.75 / (64 * 4 * 0.5 * 0.25))
    # The policies choose the second response with probability sigmoid(2) and sigmoid(-pooled / 2).
    own, followed = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(pooled / 2))
    kl = followed * math.log(followed / own) + (1 - followed) * math.log((1 - followed) / (1 - own))
    assert row["gap"] == row["gap_max"] == pytest.approx(2 * kl)


def test_one_hot_features_are_no_mistake_and_constants_know_only_what_varies() -> None:
    utilities = np.array([[[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]]])
    found = instance(problem_of(np.eye(3)[None], utilities))
    assert found.features.shape == (1, 3, 2) and found.gram == pytest.approx([1 / 3, 1 / 3])
    differences = found.rewards - found.features @ found.phi.T
    assert np.ptp(differences, axis=1) == pytest.approx(0, abs=1e-12)


def test_the_group_is_the_smaller_one_of_the_two_that_are_furthest_apart() -> None:
    features = np.random.default_rng(1).normal(size=(3, 6, 2))
    tastes = np.array([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]]).T
    for shares, group in (((0.1, 0.2, 0.7), "group 0"), ((0.5, 0.1, 0.4), "group 2")):
        (row,) = measure(problem_of(features, features @ tastes, shares=shares), [1.0])
        assert row["group"] == group and {row["group"], row["opposite"]} == {"group 0", "group 2"}
    (row,) = measure(problem_of(features[..., :1], features @ tastes[:, [0, 2]], shares=(0.5, 0.5)), [1.0])
    assert row["group"] == "group 1"


# -------------------------------------------------------------------------------------------- directions


def test_the_gap_moves_as_the_theory_says() -> None:
    """By a tenth or more at each step, in each of five seeds, at KL weights that leave room to move."""
    grown = sweep(
        "bandit_k_group",
        minority_ratios=[0.1, 0.3, 0.5],
        betas=[2.0, 4.0, 8.0],
        options={"diversity": ["0.1", "0.3", "0.9"]},
        sets={"groups": "2"},
    )
    for axis, up in (("task.diversity", True), ("minority_ratio", False), ("beta", False)):
        others = [name for name in ("seed", "task.diversity", "minority_ratio", "beta") if name != axis]
        for _, rows in grown.groupby(others):
            gaps = rows.sort_values(axis, ascending=up)["gap"].to_numpy()
            assert len(gaps) == 3
            assert (gaps[1:] > 1.1 * gaps[:-1]).all(), (axis, gaps)
    assert grown[[f"{bound.column}_holds" for bound in DERIVED]].all(axis=None)
    assert verdicts(grown)[0] == "All 9 derived bounds held on all 135 instances."


def test_a_gap_that_is_linear_in_diversity_is_impossible_and_a_quadratic_one_is_right() -> None:
    frame = sweep(
        "bandit_k_group",
        minority_ratios=[0.2],
        betas=[0.2],
        options={"diversity": ["0.00001", "0.0001", "0.1"]},
        sets={"groups": "2"},
        seeds=3,
    )
    square = frame["gap"] / frame["epsilon"] ** 2
    by_seed = square.groupby(frame["seed"])
    assert (by_seed.max() < 1.5 * by_seed.min()).all()
    assert not frame[frame["task.diversity"] == 0.00001]["theorem_1_holds"].any()
    assert frame[frame["task.diversity"] == 0.1]["theorem_1_holds"].all()
    said = {found["bound"]: found for found in summary(frame)}
    assert said["Theorem 1 as quoted"]["held"] < 9 and said["Theorem 1 as quoted"]["largest"] > 1


def test_ratios_that_a_number_of_groups_does_not_allow_are_left_out_of_the_default() -> None:
    frame = sweep("bandit_k_group", betas=[1.0], options={"groups": ["2", "5"]}, seeds=1)
    ratios = frame.groupby("task.groups")["minority_ratio"].agg(list).to_dict()
    assert ratios == {2: [0.05, 0.1, 0.2, 0.35, 0.5], 5: [0.05, 0.1, 0.2]}
    assert frame["mismatch_bound_two_groups"].notna().tolist() == [True] * 5 + [False] * 3


# ---------------------------------------------------------------------------------------------- mistakes


def test_mistakes_are_told() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 4, 2))
    utilities = features @ rng.normal(size=(2, 2))
    with pytest.raises(UserError, match="ill-conditioned features"):
        measure(problem_of(features * [1.0, 3e-5], utilities), [1.0])
    with pytest.raises(UserError, match=r"set task\.temperature above 0"):
        measure(problem_of(features, utilities, temperature=0.0), [1.0])
    for beta in (0.0, -1.0, 1e-300, math.nan, math.inf):
        with pytest.raises(UserError, match="KL weight"):
            measure(problem_of(features, utilities), [beta])
    with pytest.raises(UserError, match="group 0' is not linear in the features"):
        measure(problem_of(features, utilities**2), [1.0])
    with pytest.raises(UserError, match="same for all responses"):
        measure(problem_of(np.ones((3, 4, 2)), utilities), [1.0])
    with pytest.raises(UserError, match=r"cannot be listed; tasks where they can: .*bandit_k_group"):
        sweep("imdb_two_group")
    with pytest.raises(UserError, match="whole number from 1"):
        sweep("worst_case_two_group", seeds=0)
    with pytest.raises(UserError, match=r"unknown option task\.divresity.*diversity"):
        sweep("bandit_k_group", options={"divresity": ["1"]})


# --------------------------------------------------------------------------------------- the command


def test_the_command_writes_a_table_and_a_figure(tmp_path: Path) -> None:
    small = ["--task", "bandit_k_group", "--set", "task.groups=2", "--seeds", 1, "--out", tmp_path / "out"]
    result = typed("theory", *small)
    assert result.code == 0, result.err
    frame = pd.read_csv(tmp_path / "out" / "theory.csv")
    assert len(frame) == 5 * 7 * 4
    assert "All 9 derived bounds held on all 140 instances." in result.out
    assert "Theorem 1 as quoted held on" in result.out
    assert (tmp_path / "out" / "theory.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "out" / "theory.svg").read_text()


def test_the_command_in_json_and_for_a_task_without_diversity(tmp_path: Path) -> None:
    result = typed(
        "theory",
        *("--task", "worst_case_two_group", "--minority-ratio", "4:1", "--beta", "0.5", "--seeds", 1),
        *("--sweep", "compromise=none,0.6", "--out", tmp_path, "--json"),
    )
    assert result.code == 0, result.err
    printed = json.loads(result.out)
    assert [row["task.compromise"] for row in printed["rows"]] == [None, 0.6]
    assert all(bound["held"] == 2 for bound in printed["bounds"] if not bound["quoted"])
    assert all(Path(file).is_file() for file in printed["files"])


def test_the_command_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    task = ["theory", "--task", "bandit_k_group", "--out", tmp_path]
    for words, said in (
        (["--sweep", "diversity"], "NAME=V1,V2"),
        (["--sweep", "diversity=1", "--set", "task.diversity=1"], "both set and gone through"),
        (["--set", "aligner.beta=1"], "options of the task only"),
        (["--beta", "0"], "KL weight 0"),
        (["--minority-ratio", "0.9"], "minority ratio '0.9'"),
        (["--set", "task.temperature=0"], "task.temperature"),
    ):
        result = typed(*task, *words)
        assert result.code == 2 and said in result.error
    assert not list(tmp_path.iterdir())

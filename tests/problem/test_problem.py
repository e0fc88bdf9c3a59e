"""Who labels what: apportionment, labels, splits, seeds, and what an aligner is shown."""

import itertools
import re
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench import seeds
from prefbench.errors import UserError
from prefbench.problem.labels import label_pairs, preference_probability
from prefbench.problem.problem import Group, Problem, Prompts, apportion
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.view import make_view
from prefbench.text import text_digest

# --- annotators per group -----------------------------------------------------------------------------------


@st.composite
def shares_and_seats(draw):
    """Two to five shares with four decimals that sum to one, and a number of seats."""
    groups = draw(st.integers(2, 5))
    cuts = draw(st.lists(st.integers(1, 9999), min_size=groups - 1, max_size=groups - 1, unique=True))
    edges = [0, *sorted(cuts), 10_000]
    shares = [(b - a) / 10_000 for a, b in itertools.pairwise(edges)]
    return shares, draw(st.integers(1, 300))


@given(shares_and_seats())
def test_apportion_fills_every_seat_within_one_of_the_exact_share(case):
    shares, seats = case
    try:
        counts = apportion(shares, seats)
    except UserError as error:
        assert min(shares) * seats < 1, "a group that is owed a whole annotator was refused"
        enough = int(re.search(r"set task\.annotators to (\d+) or more", str(error))[1])
        assert min(apportion(shares, enough)) >= 1
        return
    assert sum(counts) == seats
    assert min(counts) >= 1
    for share, count in zip(shares, counts, strict=True):
        assert abs(count - Fraction(str(share)) * seats) < 1


def test_apportion_of_every_ratio_is_the_nearest_whole_number():
    for seats in (40, 41):
        for ten_thousandths in range(1, 5001):
            ratio = round(ten_thousandths / 10_000, 4)
            owed = Fraction(ten_thousandths, 10_000) * seats
            if owed <= Fraction(1, 2):
                with pytest.raises(UserError):
                    apportion([1 - ratio, ratio], seats)
                continue
            minority = apportion([1 - ratio, ratio], seats)[1]
            nearest = int(owed + Fraction(1, 2)) if owed % 1 != Fraction(1, 2) else int(owed)
            assert minority == nearest, (ratio, seats)


def test_apportion_is_exact_where_the_share_is_whole():
    assert apportion([0.8, 0.2], 40) == [32, 8]
    assert apportion([0.9, 0.1], 40) == [36, 4]
    assert apportion([0.5, 0.5], 40) == [20, 20]
    assert apportion([0.9091, 0.0909], 11) == [10, 1]  # 10:1
    assert apportion([0.7, 0.2, 0.1], 10) == [7, 2, 1]


def test_a_tied_seat_goes_to_the_earlier_group():
    assert apportion([0.5, 0.5], 7) == [4, 3]


def test_a_group_without_annotators_is_refused_and_says_how_many_are_enough():
    with pytest.raises(UserError, match=r"set task\.annotators to 50 or more"):
        apportion([0.98, 0.02], 20)
    assert apportion([0.98, 0.02], 50) == [49, 1]


# --- a problem with utilities on paper ----------------------------------------------------------------------


@dataclass(frozen=True)
class Table(Utility):
    """A utility read from a table of responses."""

    values: dict[str, float]
    name: str = "table"
    unit: str = "points"

    def __call__(self, prompts, responses):
        return np.array([self.values[text] for text in responses], dtype=float)


def make_problem(
    many: dict[str, float],
    few: dict[str, float],
    *,
    ratio: float = 0.2,
    annotators: int = 10,
    pairs_per_annotator: int = 4,
    temperature: float = 0.5,
    validation: int = 20,
    test: int = 30,
) -> Problem:
    n = annotators * pairs_per_annotator
    return Problem(
        groups=(Group("many", 1 - ratio, Table(many)), Group("few", ratio, Table(few))),
        prompts=Prompts(
            tuple(f"train {i}" for i in range(n)),
            tuple(f"validation {i}" for i in range(validation)),
            tuple(f"test {i}" for i in range(test)),
        ),
        corpus=("a text",),
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        response_tokens=4,
    )


def make_pairs(problem: Problem, a: list[str] | str, b: list[str] | str) -> pd.DataFrame:
    splits = [(s, p) for s in ("train", "validation", "test") for p in getattr(problem.prompts, s)]
    return pd.DataFrame(
        {
            "split": [split for split, _ in splits],
            "prompt": [prompt for _, prompt in splits],
            "response_a": a,
            "response_b": b,
        }
    )


OPPOSED = ({"up": 1.0, "down": -1.0}, {"up": -1.0, "down": 1.0})


def mixed_pairs(problem: Problem, seed: int = 0) -> pd.DataFrame:
    """Pairs of the two different responses, in random order."""
    total = len(problem.prompts.train) + len(problem.prompts.validation) + len(problem.prompts.test)
    swap = np.random.default_rng(seed).random(total) < 0.5
    return make_pairs(problem, np.where(swap, "up", "down").tolist(), np.where(swap, "down", "up").tolist())


# --- labels -------------------------------------------------------------------------------------------------


def test_bradley_terry_probabilities_by_hand():
    difference = np.array([[0.0, 0.0], [np.log(3.0), -2.0], [-1000.0, 1000.0]])
    probability = preference_probability(difference, np.array([1.0, 2.0]))
    # sigmoid(0) = 1/2; sigmoid(log 3) = 3/4; sigmoid(-2 / 2) = 1 / (1 + e)
    expected = [[0.5, 0.5], [0.75, 1 / (1 + np.e)], [0.0, 1.0]]
    np.testing.assert_allclose(probability, expected, atol=1e-12)


def test_temperature_zero_is_certain_and_a_tie_is_a_fair_coin():
    difference = np.array([[1e-9, -3.0], [0.0, 0.0]])
    np.testing.assert_array_equal(preference_probability(difference, np.zeros(2)), [[1.0, 0.0], [0.5, 0.5]])


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(0.01, 10))
def test_preferring_a_and_preferring_b_are_complementary_and_grow_with_the_difference(values, temperature):
    difference = np.sort(np.array(values))[:, None]
    forward = preference_probability(difference, np.array([temperature]))
    backward = preference_probability(-difference, np.array([temperature]))
    np.testing.assert_allclose(forward + backward, 1, atol=1e-12)
    assert (np.diff(forward[:, 0]) >= 0).all()


def test_without_noise_each_group_gets_what_it_prefers():
    problem = make_problem(*OPPOSED, temperature=0.0)
    rows, _ = label_pairs(mixed_pairs(problem), problem, seed=3)
    assert (rows.loc[rows["group"] == "many", "chosen"] == "up").all()
    assert (rows.loc[rows["group"] == "few", "chosen"] == "down").all()
    again, _ = label_pairs(mixed_pairs(problem), problem, seed=3)
    pd.testing.assert_frame_equal(rows, again)
    # Another seed moves annotators to other pairs, and changes nothing about what a group prefers.
    other, _ = label_pairs(mixed_pairs(problem), problem, seed=4)
    assert (other.loc[other["group"] == "many", "chosen"] == "up").all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noisy_labels_follow_the_stated_probability(seed):
    problem = make_problem(*OPPOSED, temperature=0.5, annotators=40, pairs_per_annotator=100)
    rows, _ = label_pairs(mixed_pairs(problem, seed), problem, seed)
    # The utility is +1 or -1 equally often, so its spread is 1: P = sigmoid(2 / (0.5 * 1)) = 0.98201.
    for group, liked in (("many", "up"), ("few", "down")):
        mine = rows[rows["group"] == group]
        observed = (mine["chosen"] == liked).mean()
        error = np.sqrt(0.98201 * 0.01799 / len(mine))
        assert abs(observed - 0.98201) < 4 * error


def test_noise_is_in_units_of_each_groups_spread():
    """The same preferences in another unit give the same labels."""
    problem = make_problem(*OPPOSED, temperature=1.0)
    scaled = make_problem({"up": 1000.0, "down": -1000.0}, {"up": 4.0, "down": 6.0}, temperature=1.0)
    rows, report = label_pairs(mixed_pairs(problem), problem, 0)
    rows_scaled, report_scaled = label_pairs(mixed_pairs(scaled), scaled, 0)
    assert rows["chosen"].tolist() == rows_scaled["chosen"].tolist()
    assert report_scaled["many vs few"]["diversity"] == pytest.approx(report["many vs few"]["diversity"])


@pytest.mark.parametrize("ratio", [0.5, 0.2, 0.1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_minority_labels_exactly_its_share_of_every_split(ratio, seed):
    problem = make_problem(*OPPOSED, ratio=ratio)
    rows, _ = label_pairs(mixed_pairs(problem), problem, seed)
    for _, members in rows.groupby("split"):
        assert (members["group"] == "few").sum() == round(ratio * len(members))
    train = rows[rows["split"] == "train"]
    assert (train["user_id"].value_counts() == problem.pairs_per_annotator).all()
    assert rows.groupby("user_id")["group"].nunique().max() == 1, "an annotator belongs to one group"
    assert sorted(rows["user_id"].unique()) == list(range(problem.annotators))


@pytest.mark.parametrize("held_out", [1, 7, 15, 19, 25, 36])
@pytest.mark.parametrize("ratio", [0.5, 0.3, 0.1])
def test_a_split_that_does_not_divide_among_annotators_is_within_one_pair_of_the_share(held_out, ratio):
    problem = make_problem(*OPPOSED, ratio=ratio, annotators=10, validation=held_out, test=held_out)
    rows, _ = label_pairs(mixed_pairs(problem), problem, seed=0)
    for split in ("validation", "test"):
        mine = rows[rows["split"] == split]
        assert abs((mine["group"] == "few").sum() - ratio * held_out) <= 1
        assert mine["user_id"].value_counts().max() <= -(-held_out // 10)


def test_an_annotators_number_does_not_tell_the_group():
    """Were ids dealt out in order, the minority would always hold the last ones."""
    holders = []
    for seed in range(10):
        problem = make_problem(*OPPOSED)
        rows, _ = label_pairs(mixed_pairs(problem), problem, seed)
        holders.append(frozenset(rows.loc[rows["group"] == "few", "user_id"]))
    assert len(set(holders)) > 5


def test_utilities_of_a_row_belong_to_its_chosen_and_rejected_response():
    values = {f"r{i}": float(i * i) for i in range(90)}
    opposite = {name: -value for name, value in values.items()}
    problem = make_problem(values, opposite, validation=20, test=30)
    pairs = make_pairs(problem, [f"r{i}" for i in range(90)], [f"r{89 - i}" for i in range(90)])
    rows, _ = label_pairs(pairs, problem, 0)
    for side in ("chosen", "rejected"):
        assert rows[f"{side}_utility/many"].tolist() == [values[text] for text in rows[side]]
        assert rows[f"{side}_utility/few"].tolist() == [opposite[text] for text in rows[side]]
    given_pairs = {frozenset(pair) for pair in zip(pairs["response_a"], pairs["response_b"], strict=True)}
    assert {frozenset(pair) for pair in zip(rows["chosen"], rows["rejected"], strict=True)} <= given_pairs


def test_a_utility_that_is_not_a_number_is_refused():
    problem = make_problem({"up": np.nan, "down": 0.0}, {"up": 0.0, "down": 1.0})
    with pytest.raises(ValueError, match="NaN or infinity"):
        label_pairs(mixed_pairs(problem), problem, 0)


# --- how much groups disagree -------------------------------------------------------------------------------


def test_identical_groups_have_no_diversity():
    problem = make_problem(OPPOSED[0], OPPOSED[0], temperature=0.7)
    _, conflict = label_pairs(mixed_pairs(problem), problem, 0)
    report = conflict["many vs few"]
    assert report["diversity"] == 0
    assert report["pairs_disagreed_on"] == 0
    assert report["utility_correlation"] == pytest.approx(1)


def test_opposed_groups_without_noise_have_diversity_one():
    problem = make_problem(*OPPOSED, temperature=0.0)
    _, conflict = label_pairs(mixed_pairs(problem), problem, 0)
    report = conflict["many vs few"]
    assert report["diversity"] == 1
    assert report["pairs_disagreed_on"] == 1
    assert report["utility_correlation"] == pytest.approx(-1)


def test_conflict_of_a_half_opposed_pair_of_groups_by_hand():
    # "up" against "down" divides the groups, "left" against "right" does not, half of the pairs each.
    many = {"up": 2.0, "down": 0.0, "left": 2.0, "right": 0.0}
    few = {"up": 0.0, "down": 2.0, "left": 2.0, "right": 0.0}
    problem = make_problem(many, few, temperature=2.0)
    pairs = make_pairs(problem, ["up", "left"] * 45, ["down", "right"] * 45)
    _, conflict = label_pairs(pairs, problem, 0)
    report = conflict["many vs few"]
    # Each utility is 0 or 2 equally often: spread 1, P = sigmoid(2 / (2 * 1)) = 0.731059 or its complement.
    # Opposed pairs differ by 0.731059 - 0.268941 = 0.462117, the others by 0.
    assert report["diversity"] == pytest.approx(0.462117 / 2, abs=1e-6)
    assert report["pairs_disagreed_on"] == 0.5
    assert report["utility_correlation"] == pytest.approx(0, abs=1e-12)


def test_a_constant_utility_has_no_correlation():
    problem = make_problem(OPPOSED[0], {"up": 3.0, "down": 3.0}, temperature=0.0)
    rows, conflict = label_pairs(mixed_pairs(problem), problem, 0)
    report = conflict["many vs few"]
    assert report["utility_correlation"] is None
    assert report["diversity"] == 0.5
    assert report["pairs_disagreed_on"] == 0
    assert set(rows.loc[rows["group"] == "few", "chosen"]) <= {"up", "down"}


# --- problem, prompts, digests ------------------------------------------------------------------------------


def test_a_prompt_in_two_splits_is_refused():
    with pytest.raises(ValueError, match="twice"):
        Prompts(("a", "b"), ("c",), ("a",))
    with pytest.raises(ValueError, match="twice"):
        Prompts(("a",), ("c",), ("d", "d"))
    Prompts(("a", "a"), ("c",), ("d",))  # several pairs of one train prompt


def test_a_problem_checks_its_groups_and_its_number_of_prompts():
    table = Table({})
    prompts = Prompts(("a", "b"), ("c",), ("d",))
    common = {"prompts": prompts, "corpus": (), "temperature": 0.0, "response_tokens": 1}
    with pytest.raises(ValueError, match="two or more groups"):
        Problem(groups=(Group("one", 1.0, table),), annotators=2, pairs_per_annotator=1, **common)
    twins = (Group("same", 0.5, table), Group("same", 0.5, table))
    with pytest.raises(ValueError, match="different names"):
        Problem(groups=twins, annotators=2, pairs_per_annotator=1, **common)
    pair = (Group("a", 0.5, table), Group("b", 0.5, table))
    with pytest.raises(ValueError, match="one train prompt"):
        Problem(groups=pair, annotators=2, pairs_per_annotator=2, **common)
    assert Problem(groups=pair, annotators=2, pairs_per_annotator=1, **common).minority == "b"


def test_the_minority_is_the_smallest_share_wherever_it_stands():
    problem = make_problem(*OPPOSED, ratio=0.2)
    assert problem.minority == "few"
    turned = Problem(**{**problem.__dict__, "groups": problem.groups[::-1]})
    assert turned.minority == "few"


@given(st.lists(st.text(), max_size=6), st.lists(st.text(), max_size=6))
def test_text_digest_tells_sequences_apart(a, b):
    assert (text_digest(a) == text_digest(b)) == (a == b)


def test_text_digest_knows_where_a_text_ends():
    assert text_digest(["ab", "c"]) != text_digest(["a", "bc"])
    assert text_digest(["abc"]) != text_digest(["abc", ""])


# --- seeds --------------------------------------------------------------------------------------------------


def test_a_child_does_not_depend_on_what_was_drawn_before():
    before = seeds.rng(5, "labels").random(4)
    seeds.rng(5, "pairs").random(1000)
    seeds.rng(5, "labels").random(3)
    np.testing.assert_array_equal(seeds.rng(5, "labels").random(4), before)


@given(
    st.integers(0, 2**31),
    st.lists(st.one_of(st.integers(0, 10**6), st.text(max_size=8)), min_size=1, max_size=3),
    st.lists(st.one_of(st.integers(0, 10**6), st.text(max_size=8)), min_size=1, max_size=3),
)
def test_children_of_different_names_differ_and_of_equal_names_agree(seed, a, b):
    state_a, state_b = (tuple(seeds.child(seed, *names).generate_state(4)) for names in (a, b))
    if a == b:
        assert state_a == state_b
    else:
        assert state_a != state_b
    assert tuple(seeds.child(seed + 1, *a).generate_state(4)) != state_a


def test_torch_generators_are_named_too_and_the_global_one_is_left_alone():
    import torch

    first = torch.rand(3, generator=seeds.torch_generator(1, "tokens", 0))
    torch.testing.assert_close(torch.rand(3, generator=seeds.torch_generator(1, "tokens", 0)), first)
    assert not torch.equal(torch.rand(3, generator=seeds.torch_generator(1, "tokens", 1)), first)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with seeds.torch_seeded(3, "weights"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeds.torch_seeded(3, "weights"):
        assert torch.equal(torch.rand(2), inside)


# --- what an aligner is shown -------------------------------------------------------------------------------

PLAIN = ["prompt", "chosen", "rejected"]


@pytest.mark.parametrize(
    ("needs", "columns", "named", "oracle"),
    [
        (set(), PLAIN, False, False),
        ({"user_id"}, [*PLAIN, "user_id"], False, False),
        ({"group"}, [*PLAIN, "group"], True, False),
        ({"oracle"}, PLAIN, True, True),
        ({"user_id", "group", "oracle"}, [*PLAIN, "user_id", "group"], True, True),
    ],
)
def test_a_view_shows_what_is_needed_and_nothing_else(needs, columns, named, oracle):
    problem = make_problem(*OPPOSED)
    rows, _ = label_pairs(mixed_pairs(problem), problem, 0)
    view = make_view(rows, problem, frozenset(needs), seed=7)
    assert sorted(view.preferences) == ["train", "validation"], "the test split is never shown"
    for split in view.preferences.values():
        assert split.column_names == columns
    assert list(view.preferences["train"]["prompt"]) == list(problem.prompts.train)
    assert view.prompts == problem.prompts.train
    assert view.seed == 7
    assert (view.shares is not None) == named
    assert (view.utilities is not None) == oracle
    assert view.instructions is None
    if oracle:
        np.testing.assert_array_equal(view.utilities(["x"], ["up"]), [[1.0, -1.0]])
    shown = set(view.preferences["train"]["prompt"]) | set(view.preferences["validation"]["prompt"])
    assert not shown & set(problem.prompts.test)


def test_instructions_are_shown_to_who_needs_them_and_all_groups_have_one():
    problem = make_problem(*OPPOSED)
    rows, _ = label_pairs(mixed_pairs(problem), problem, 0)
    told = replace(
        problem, groups=tuple(replace(group, instruction=f"as {group.name}:") for group in problem.groups)
    )
    view = make_view(rows, told, frozenset({"instruction"}), seed=7)
    assert view.instructions == {group.name: f"as {group.name}:" for group in problem.groups}
    assert view.shares is None
    with pytest.raises(UserError, match="has no instruction that an aligner could be shown"):
        make_view(
            rows, replace(told, groups=(told.groups[0], problem.groups[1])), frozenset({"instruction"}), 7
        )

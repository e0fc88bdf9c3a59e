"""People: who they are, what each of them wants, and what is known of the unseen."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prefbench import seeds
from prefbench.errors import UserError
from prefbench.population import Population
from prefbench.problem.contexts import unseen_contexts
from prefbench.problem.finite import finite_problem, numbered_prompts
from prefbench.problem.labels import label_pairs
from prefbench.problem.people import Person, own_utilities, people_of, refuse_lacking_people, scales_of
from prefbench.problem.problem import Group, Problem, Prompts, without_test
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.world import World


class Letter(Utility):
    """Number of one letter in a response."""

    unit = "letters"

    def __init__(self, letter):
        self.letter, self.name = letter, f"letter {letter}"

    def __call__(self, prompts, responses):
        return np.array([text.count(self.letter) for text in responses], dtype=float)


def text_problem(**population) -> Problem:
    return Problem(
        groups=(Group("many", 0.8, Letter("a")), Group("few", 0.2, Letter("b"))),
        prompts=Prompts(
            tuple(f"train {i}" for i in range(120)),
            tuple(f"validation {i}" for i in range(33)),
            tuple(f"test {i}" for i in range(31)),
        ),
        corpus=("a text",),
        annotators=10,
        pairs_per_annotator=12,
        temperature=population.pop("temperature", 0.0),
        response_tokens=4,
        population=Population(**population),
    )


def pairs_of(problem, seed=0):
    rng = np.random.default_rng(seed)
    rows = [(split, prompt) for split, prompts in problem.paired.items() for prompt in prompts]
    texts = ["".join(rng.choice(list("abc"), 9)) for _ in range(2 * len(rows))]
    splits, prompts = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "split": splits,
            "prompt": prompts,
            "response_a": texts[: len(rows)],
            "response_b": texts[len(rows) :],
        }
    )


def world_problem(**population) -> Problem:
    """Two states of unequal weight, four responses, one feature."""
    prompts, state = numbered_prompts("p", [0, 0, 0, 1] * 20, [0, 1], [1, 0, 0])
    feature = np.array([[0.0, 1.0, 2.0, 5.0], [1.0, -1.0, 0.0, 3.0]])
    world = World(
        state=state,
        responses=(("w", "x", "y", "z"),) * 2,
        features=feature[..., None],
        utilities=np.array(
            [
                [[0.0, 1.0], [1.0, 0.0], [2.0, 5.0], [3.0, 1.0]],
                [[4.0, 1.0], [0.0, 0.0], [1.0, 1.0], [2.0, 2.0]],
            ]
        ),
        reference=np.array([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]]),
        beta=0.2,
    )
    made = finite_problem(
        world,
        prompts,
        [("many", 0.75, "points"), ("few", 0.25, "points")],
        annotators=8,
        pairs_per_annotator=10,
        temperature=0.3,
    )
    return replace(made, population=Population(**population))


@pytest.mark.parametrize("seed", range(3))
def test_the_seen_are_those_who_labelled_for_training(seed):
    problem = text_problem()
    rows, _ = label_pairs(pairs_of(problem), problem, seed)
    train = rows[rows["split"] == "train"]
    people = people_of(problem, seed)
    assert [person.id for person in people] == sorted(train["user_id"].unique())
    for person in people:
        mine = train[train["user_id"] == person.id]
        assert person.labelled == len(mine) == 12
        assert mine["group"].unique().tolist() == [problem.groups[person.group].name]


def test_the_unseen_come_after_the_seen_in_the_groups_shares():
    people = people_of(text_problem(unseen_annotators=15), 0)
    unseen = [person for person in people if not person.seen]
    assert [person.id for person in unseen] == list(range(10, 25))
    assert [person.group for person in unseen] == [0] * 12 + [1] * 3
    with pytest.raises(UserError, match=r"2 unseen annotators .* set task\.unseen_annotators to 5 or more"):
        people_of(text_problem(unseen_annotators=2), 0)


@pytest.mark.parametrize(
    ("population", "said"),
    [
        ({"context_pairs": 4}, "there are none: set task.unseen_annotators too, or leave it out"),
        ({"context_pairs": 121, "unseen_annotators": 10}, "made of the 120 pairs of train prompts: lower it"),
        ({"unseen_annotators": 2}, "set task.unseen_annotators to 5 or more"),
    ],
)
def test_people_and_contexts_that_there_are_not_are_refused_in_one_line(population, said):
    with pytest.raises(UserError, match=said) as caught:
        refuse_lacking_people(text_problem(**population))
    assert "\n" not in str(caught.value)


def test_contexts_that_there_are_and_those_of_tuning_are_not_refused():
    for population in ({}, {"unseen_annotators": 5}, {"context_pairs": 120, "unseen_annotators": 5}):
        refuse_lacking_people(text_problem(**population))
    # In tuning they are of those who labelled, and a default that nobody asked for is no mistake.
    refuse_lacking_people(without_test(text_problem(context_pairs=4)))
    few = Prompts(("train",), ("validation",), ("test",))
    one = replace(text_problem(), prompts=few, annotators=1, pairs_per_annotator=1)
    with pytest.raises(UserError, match="annotators"):
        refuse_lacking_people(one)


def test_brought_labels_have_nobody_behind_them():
    problem = text_problem()
    rows, _ = label_pairs(pairs_of(problem), problem, 0)
    given = replace(problem, given=rows[["split", "prompt", "chosen", "rejected", "user_id", "group"]])
    assert {(p.id, p.group, p.labelled) for p in people_of(given, 5)} == {
        (p.id, p.group, p.labelled) for p in people_of(problem, 0)
    }
    with pytest.raises(UserError, match="there are none: leave it out"):
        refuse_lacking_people(replace(given, population=Population(context_pairs=4)))
    with pytest.raises(UserError, match=r"leave task\.spread at 0") as caught:
        replace(given, population=Population(spread=0.5))
    assert "\n" not in str(caught.value)
    met = replace(given, population=Population(unseen_annotators=5, context_pairs=3))
    unseen = [person for person in people_of(met, 0) if not person.seen]
    assert len(unseen) == 5 and met.annotators == given.annotators - 5
    told = met.given[met.given["split"] == "context"]
    assert set(told["user_id"]) == {person.id for person in unseen}
    learned = met.given[met.given["split"].isin(["train", "validation"])]
    assert not set(told["user_id"]) & set(learned["user_id"])
    assert replace(met, temperature=0.1).given.equals(met.given)  # nobody is taken out twice


def test_scales_of_a_world_are_exact():
    scales = scales_of(world_problem(spread=1.0), pd.DataFrame())
    # 83 prompts of the first state and 22 of the second: train 60 and 20, one each, two and one.
    weight = np.array([[0.1, 0.2, 0.3, 0.4], [0.25] * 4]) * np.array([[63], [22]]) / 85
    feature = np.array([[0.0, 1.0, 2.0, 5.0], [1.0, -1.0, 0.0, 3.0]])
    mean = (weight * feature).sum()
    assert scales.tastes == pytest.approx([np.sqrt((weight * (feature - mean) ** 2).sum())])
    assert scales_of(world_problem(), pd.DataFrame()) is None


def test_a_members_own_utility_in_a_world_of_one_feature():
    problem = world_problem(spread=0.5, unseen_annotators=8)
    scales = scales_of(problem, pd.DataFrame())
    people = people_of(problem, 3)
    signs = set()
    for person in people:
        own, _ = own_utilities(problem, 3, scales, [person] * 2, (["p 0"] * 2, ["y", "z"], ["w", "w"]))
        group = np.array([2.0, 3.0]) if person.group == 0 else np.array([5.0, 1.0])
        moved = (own - group) / (0.5 * scales.groups[person.group]) * scales.tastes[0]
        sign = np.sign(moved[0])  # a unit vector of one feature is 1 or -1
        assert moved == pytest.approx(sign * np.array([2.0, 5.0]))
        signs.add(sign)
    assert signs == {-1.0, 1.0}
    again, _ = own_utilities(problem, 3, scales, [people[0]], (["p 0"], ["y"], ["w"]))
    first, _ = own_utilities(problem, 3, scales, [people[0], people[1]], (["p 0"] * 2, ["y"] * 2, ["w"] * 2))
    assert again[0] == first[0]  # nobody's depends on whom else is asked


def test_tastes_of_texts_are_what_groups_want_unless_the_task_declares_others():
    for tastes in ((), (Letter("c"),)):
        problem = replace(text_problem(spread=2.0), tastes=tastes)
        pairs = pairs_of(problem)
        scales = scales_of(problem, pairs)
        both = [*pairs["response_a"], *pairs["response_b"]]
        sd = {letter: np.std([text.count(letter) for text in both]) for letter in "abc"}
        assert scales.groups == pytest.approx([sd["a"], sd["b"]])
        used = "c" if tastes else "ab"
        drawn = seeds.rng(1, "spread", 7).standard_normal(len(used))
        unit = dict(zip(used, drawn / np.linalg.norm(drawn), strict=True))
        own, other = own_utilities(problem, 1, scales, [Person(7, 1, 3)], (["test 0"], ["aabcc"], ["b"]))
        count = {"a": 2, "b": 1, "c": 2}
        assert own[0] == pytest.approx(1 + 2.0 * sd["b"] * sum(unit[k] * count[k] / sd[k] for k in used))
        assert other[0] == pytest.approx(1 + 2.0 * sd["b"] * unit.get("b", 0.0) / sd["b"])


def test_a_taste_that_does_not_vary_is_nobodys():
    problem = replace(text_problem(spread=1.0), tastes=(Letter("z"), Letter("c")))
    scales = scales_of(problem, pairs_of(problem))
    own, _ = own_utilities(problem, 0, scales, [Person(3, 0, 1)], (["test 0"], ["ac"], ["b"]))
    assert abs(own[0] - 1) == pytest.approx(scales.groups[0] / scales.tastes[1])


def test_without_noise_everybody_prefers_what_is_best_for_her():
    problem = text_problem(spread=1.5, unseen_annotators=10, context_pairs=20)
    pairs = pairs_of(problem)
    scales = scales_of(problem, pairs)
    rows, _ = label_pairs(pairs, problem, 4, scales)
    people = {person.id: person for person in people_of(problem, 4)}
    shown = unseen_contexts(rows, problem, 4, scales)
    for table in (rows, shown):
        who = [people[user] for user in table["user_id"]]
        texts = tuple(table[name].tolist() for name in ("prompt", "chosen", "rejected"))
        own, other = own_utilities(problem, 4, scales, who, texts)
        assert (own >= other - 1e-9).all()
        plain, less = own_utilities(problem, 4, None, who, texts)
        assert (plain < less).any()  # not always what is best for her group


def test_a_context_is_nested_and_of_train_prompts_and_noisy_as_training_is():
    most = text_problem(unseen_annotators=5, context_pairs=100, temperature=1.0)
    pairs = pairs_of(most)
    rows, _ = label_pairs(pairs, most, 2)
    every = unseen_contexts(rows, most, 2)
    few = unseen_contexts(rows, replace(most, population=Population(unseen_annotators=5, context_pairs=3)), 2)
    assert every.groupby("user_id").size().tolist() == [100] * 5
    pd.testing.assert_frame_equal(every.groupby("user_id").head(3).reset_index(drop=True), few)
    assert set(every["prompt"]) <= set(most.prompts.train)
    assert every.groupby("user_id")["prompt"].nunique().tolist() == [100] * 5
    # Of those for whom a letter more or less is one step of utility, so many should agree as noise says.
    few_sd = np.concatenate([rows["chosen_utility/many"], rows["rejected_utility/many"]]).std()
    mine = every[every["user_id"] < 14]
    gain = np.array(
        [c.count("a") - r.count("a") for c, r in zip(mine["chosen"], mine["rejected"], strict=True)]
    )
    expected = 1 / (1 + np.exp(-np.abs(gain[gain != 0]) / few_sd))
    bound = 4 * np.sqrt((expected * (1 - expected)).mean() / len(expected))
    assert abs((gain[gain != 0] > 0).mean() - expected.mean()) < bound


def test_a_context_longer_than_training_is_all_of_it():
    problem = text_problem(unseen_annotators=5, context_pairs=500)
    rows, _ = label_pairs(pairs_of(problem), problem, 0)
    assert unseen_contexts(rows, problem, 0).groupby("user_id").size().tolist() == [120] * 5

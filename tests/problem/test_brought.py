"""Labels that people brought: whoever they are and however many they gave, they are learned from."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prefbench import registry, seeds
from prefbench.boards.table import build
from prefbench.errors import UserError
from prefbench.learn.interface import Pairs
from prefbench.learn.rewards import pairs_of
from prefbench.problem.brought import SPLITS
from prefbench.problem.labels import given_pairs, label_pairs
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.content import Conciseness
from prefbench.problem.utilities.sentiment import VaderSum
from prefbench.problem.view import make_view
from prefbench.record.verify import verify
from prefbench.registry import task
from prefbench.running.rewards import too_few_clusters
from prefbench.running.run import labelled_pairs, run
from prefbench.spec import make_spec, parse_sets
from prefbench_tasks.gridworld_two_group import gridworld_two_group
from prefbench_tasks.synthetic_reviews import synthetic_reviews
from support.tiny import TINY_ALIGNER

NANO = ["model.steps=20", "model.width=16", "model.layers=1", "model.heads=2"]
COLUMNS = ["split", "prompt", "chosen", "rejected", "user_id", "group"]
PEOPLE = {
    "ann": ("kind", 9),
    "bob b.": ("kind", 3),
    "cem ç": ("kind", 14),
    "dee": ("kind", 6),
    "eve": ("short", 8),
}
"""Annotators with their group and how many train pairs they label: one in five is of the minority."""


def labels(people, train, checking, test) -> pd.DataFrame:
    """Labels of people who label different numbers of pairs; the first pairs are labelled by all of them."""
    rows = []
    for user, (group, count) in people.items():
        good, bad = ("good.", "a long and dull text.") if group == "short" else ("a lovely joy.", "awful.")
        rows += [("train", prompt, good, bad, user, group) for prompt in train[:count]]
        rows += [("validation", prompt, good, bad, user, group) for prompt in checking[:2]]
        rows += [("test", prompt, good, bad, user, group) for prompt in test[:3]]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture(scope="module", autouse=True)
def tasks():
    """Tasks of this file alone; the registry is put back afterwards."""
    before = dict(registry._entries)

    @task("people", version=1, provides={"user_id", "group", "oracle", "votes"})
    def people(
        data: str,
        minority_ratio: float,
        seed: int,
        *,
        numbers: bool = False,
        third: bool = False,
        held: bool = True,
    ) -> Problem:
        """Reviews labelled by named people."""
        texts = synthetic_reviews(400, seeds.rng(seed, "corpus")).texts
        prompts = list(dict.fromkeys(" ".join(text.split()[:6]) for text in texts))
        train, checking, test = prompts[:40], prompts[40:50], prompts[50:80]
        asked = {**PEOPLE, "fay": ("calm", 5), "gil": ("calm", 5)} if third else PEOPLE
        table = labels(asked, train, checking, test)
        if numbers:
            table["user_id"] = table["user_id"].map({name: 7 * i for i, name in enumerate(asked)})
        if not held:
            table = table[table["split"] == "train"]
        groups = (
            Group("kind", 1 - minority_ratio, VaderSum(empty=-10.0)),
            Group("short", minority_ratio, Conciseness(empty=-8.0)),
            *([Group("calm", 0.5, Conciseness(empty=-7.0))] if third else []),
        )
        return Problem(
            groups=groups,
            prompts=Prompts(tuple(train), tuple(checking), tuple(test)),
            corpus=texts,
            temperature=0.0,
            response_tokens=8,
            given=table,
        )

    @task("people_of_a_world", version=1, backbone="finite")
    def people_of_a_world(data: str, minority_ratio: float, seed: int) -> Problem:
        """A grid whose labels have names for annotators, one of whom left early."""
        drawn = gridworld_two_group("synthetic", minority_ratio, seed)
        assert drawn.world is not None
        rng = seeds.rng(seed, "walks")
        splits = [(split, prompt) for split in SPLITS for prompt in getattr(drawn.prompts, split)]
        walks = [drawn.world.responses[drawn.world.state[prompt]] for _, prompt in splits]
        drawn_twice = [rng.choice(len(each), 2, replace=False) for each in walks]
        pairs = pd.DataFrame(splits, columns=["split", "prompt"])
        for side, column in enumerate(("response_a", "response_b")):
            pairs[column] = [each[two[side]] for each, two in zip(walks, drawn_twice, strict=True)]
        labelled, _ = label_pairs(pairs, drawn, seed)
        labelled["user_id"] = [f"person {user}" for user in labelled["user_id"]]
        early = (labelled["user_id"] == "person 3") & (labelled.index % 2 == 0)
        return replace(drawn, given=labelled.loc[~early])

    yield
    registry._entries.clear()
    registry._entries.update(before)


def spec_of(aligner, task="people", ratio="4:1", more=(), **options):
    known = registry.get("aligner", aligner).options.model_fields
    sets = [f"aligner.{key}={value}" for key, value in TINY_ALIGNER.items() if key in known]
    sets += [f"task.{key}={value}" for key, value in options.items()]
    model = [] if task == "people_of_a_world" else NANO
    return make_spec(
        task=task, aligner=aligner, minority_ratio=ratio, sets=parse_sets([*model, *sets, *more])
    )


def need_ids(backbone):
    """Names of the aligners that ask whose labels they learn from."""
    registry.load_plugins()
    every = registry.entries("aligner")
    named = [entry for entry in every if "user_id" in entry.needs and backbone in entry.backbones]
    # The people of the world share no pair.
    return [entry.name for entry in named if backbone != "finite" or "votes" not in entry.needs]


# ------------------------------------------------------------------------------------- whoever they are


@pytest.mark.parametrize("aligner", need_ids("causal_lm"))
def test_people_with_names_and_unequal_numbers_of_pairs_are_learned_from(aligner, tmp_path):
    folder, record = run(spec_of(aligner), tmp_path)
    assert record.status == "ok", record.message
    if record.em is not None:
        assert sum(record.em.cluster_sizes) == len(PEOPLE)
    assert verify(folder) == []


@pytest.mark.parametrize("aligner", need_ids("finite"))
def test_people_with_names_are_learned_from_in_worlds(aligner, tmp_path):
    folder, record = run(spec_of(aligner, "people_of_a_world"), tmp_path)
    assert record.status == "ok", record.message
    if record.em is not None:
        assert sum(record.em.cluster_sizes) == 20
    assert verify(folder) == []


def test_the_assignment_of_names_is_stored_and_numbers_give_the_same_clusters(tmp_path):
    found = []
    for numbers in (False, True):
        _, record = run(spec_of("maxmin", numbers=numbers), tmp_path)
        (stored,) = (tmp_path / "stages").glob(f"policy/{record.stages['policy']}/evidence.json")
        found.append(json.loads(stored.read_text())["assignment"])
    assert [user for user, _ in found[0]] == sorted(PEOPLE)
    assert [user for user, _ in found[1]] == [7 * i for i in range(len(PEOPLE))]
    assert [cluster for _, cluster in found[0]] == [cluster for _, cluster in found[1]]


def test_labels_alone_without_held_out_pairs_are_enough(tmp_path):
    _, record = run(spec_of("maxmin", held=False), tmp_path)
    assert record.status == "ok" and [group.reward_accuracy for group in record.groups] == [None, None]
    with pytest.raises(UserError, match="needs held-out pairs"):
        run(spec_of("maxmin", held=False, more=["aligner.select_clusters=2"]), tmp_path)


def test_clusters_are_chosen_by_people_who_also_trained(tmp_path):
    _, record = run(spec_of("maxmin", more=["aligner.select_clusters=2"]), tmp_path)
    assert record.status == "ok" and len(record.em.held_out) == 2


def test_several_labels_of_one_pair_are_each_a_row(tmp_path):
    problem, rows = labelled_pairs(spec_of("reference"), tmp_path)
    first = rows[(rows["split"] == "train") & (rows["prompt"] == problem.prompts.train[0])]
    assert sorted(first["user_id"]) == sorted(PEOPLE)
    assert len(rows) == len(problem.given)
    _, conflict = given_pairs(problem)
    assert conflict["kind vs short"]["pairs_shared"] == 0  # the groups compared different responses


# ------------------------------------------------------------------------------------- the ratio found


def test_the_ratio_is_the_one_found_and_a_run_that_asked_for_another_says_so(tmp_path):
    told = []

    class Told:
        def __getattr__(self, name):
            return lambda *args, **more: told.append(args[0]) if name == "note" else None

    folder, record = run(spec_of("single_reward", ratio="1:1"), tmp_path, Told())
    assert record.minority_ratio == 0.2 and record.spec["minority_ratio"] == 0.5
    assert {group.name: group.share for group in record.groups} == {"kind": 0.8, "short": 0.2}
    assert [group.name for group in record.groups if group.is_minority] == ["short"]
    said = "a minority ratio of 0.5 was asked for, and it cannot be had of these labels: 1 of the 5 people"
    assert any(note.startswith(said) for note in told)
    assert any(note.startswith(said) for note in record.notes)
    assert verify(folder) == []
    assert build(tmp_path)["minority_ratio"].tolist() == [0.2]
    _, record = run(spec_of("single_reward"), tmp_path / "asked")
    assert record.minority_ratio == 0.2
    assert not any("minority ratio" in note for note in record.notes)


def test_the_smaller_group_that_is_found_is_the_minority_whatever_was_expected():
    problem = stated(table(people={1: "b", 2: "b", 3: "b", 4: "a"}))
    assert problem.minority == "a" and problem.annotators == 4
    assert [group.share for group in problem.groups] == [0.25, 0.75]
    assert problem.ratio(0.5) == 0.25 and "1 of the 4 people" in problem.ratio_missed(0.5)
    # Whole people: 0.3 of four is one.
    assert problem.ratio_missed(0.3) is None


def test_a_record_at_a_ratio_that_nobody_asked_for_or_found_is_told(tmp_path):
    folder, _ = run(spec_of("reference"), tmp_path)
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "minority_ratio": 0.4}))
    assert any("minority_ratio is 0.4" in line for line in verify(folder))


# ------------------------------------------------------------------------------------- clusters and groups


@pytest.mark.parametrize("aligner", ["maxmin", "em_dpo"])
def test_fewer_clusters_than_groups_are_said(aligner, tmp_path):
    _, record = run(spec_of(aligner, third=True), tmp_path)
    (note,) = [note for note in record.notes if "groups are measured" in note]
    assert re.match(r"EM placed the annotators in [12] of 2 clusters, and 3 groups are measured", note)
    assert note.endswith("; aligner.clusters=3 would give each one")
    _, record = run(spec_of(aligner, third=False), tmp_path)
    assert record.em.clusters == 2
    empty = min(record.em.cluster_sizes) == 0
    assert any("groups are measured" in note for note in record.notes) == empty


def test_a_cluster_of_nobody_counts_for_nothing():
    problem = stated(table())
    assert too_few_clusters(problem, None) is None
    assert too_few_clusters(problem, {"clusters": 2, "cluster_sizes": [2, 3]}) is None
    lost = too_few_clusters(problem, {"clusters": 2, "cluster_sizes": [5, 0]})
    assert "in 1 of 2 clusters, and 2 groups" in lost and "aligner.clusters" not in lost


# ------------------------------------------------------------------------------------- what is refused


def table(people=None, prompts=("p", "q")) -> pd.DataFrame:
    people = people or {1: "a", 2: "a", 3: "b"}
    rows = [
        ("train", prompt, "yes", "no", user, group) for user, group in people.items() for prompt in prompts
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def stated(given) -> Problem:
    groups = (Group("a", 0.8, VaderSum(empty=-10.0)), Group("b", 0.2, Conciseness(empty=-8.0)))
    prompts = Prompts(("p", "q"), ("v",), ("t",))
    return Problem(groups=groups, prompts=prompts, corpus=(), temperature=0.0, response_tokens=4, given=given)


def changed(column, row, value):
    rows = table().astype(object)
    rows.loc[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"split": "train"}], "they are a list and no pandas table"),
        (table().drop(columns="user_id"), "column 'user_id' is missing; a row needs split, prompt"),
        (pd.concat([table(), table()["group"]], axis=1), "column 'group' is there twice"),
        (table().head(0), "there is no row"),
        (changed("chosen", 2, None), "row 3 has no chosen"),
        (changed("user_id", 1, None), "row 2 has no user_id"),
        (changed("prompt", 0, " \n"), "row 1 has an empty prompt"),
        (changed("rejected", 0, ""), "row 1 has an empty rejected"),
        (changed("chosen", 3, 4.5), "row 4 has no text as chosen but 4.5"),
        (changed("chosen", 3, "\ud800"), "row 4 has half a character in its chosen"),
        (changed("split", 0, "dev"), "row 1 has the split 'dev', which is none of train, validation, test"),
        (
            changed("group", 5, "c"),
            "row 6 has the group 'c', which is no group of the task, which has 'a', 'b'",
        ),
        (changed("group", 1, "b"), "annotator 1 labels for two groups, 'a' and 'b'"),
        (changed("chosen", 1, "no "), "row 2 has the chosen 'no ', which is also the rejected response"),
        (table().assign(split="test", prompt="t"), "no row has the split 'train'"),
        (table(people={1: "a", 2: "a"}), "no train row is of group 'b'"),
        (changed("user_id", 0, "ann"), "ids are all text or all whole numbers"),
        (changed("user_id", 0, 1.5), "row 1 has the user_id 1.5, neither text nor a whole number"),
        (changed("user_id", 0, True), "row 1 has the user_id True, neither text nor a whole number"),
        (changed("user_id", 0, 2**70), "a user_id has more than 64 bits"),
        (table().assign(user_id=["x", "", "y", "y", "z", "z"]), "row 2 has an empty user_id"),
        (table().assign(user_id="x\x1b[2J", group="a"), "ids are one line of printed text"),
        (table(prompts=("p", "t")), "row 2 is in 'train' and its prompt 't' in 'test'"),
        (changed("split", 0, "validation"), "row 1 is in 'validation' and its prompt 'p' in 'train'"),
        (table().assign(strength=1.5), "row 1 has the strength 1.5, which is not from 0 to 1"),
        (
            table().assign(strength=[1, 1, "sure", 1, 1, 1]),
            "row 3 has the strength 'sure', which is no number",
        ),
        (table().assign(strength=[1, None, 1, 1, 1, 1]), "row 2 has no strength"),
        (table().assign(**{"side/margin": np.inf}), "row 1 has the side/margin inf, which is no number"),
        (table().assign(**{"side/margin": True}), "row 1 has the side/margin True, which is no number"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(given, said):
    with pytest.raises(UserError) as caught:
        stated(given)
    message = str(caught.value)
    assert message.startswith("the labels that the task brought cannot be used: ") and said in message
    assert "\n" not in message and message.isprintable()


def test_strength_and_side_columns_go_to_whoever_may_see_them():
    more = {"strength": [1, 1, 0.5, 0.75, 1, 0], "side/margin": range(6), "rating": 5.0}
    problem = stated(table().assign(**more))
    assert list(problem.given.columns) == [*COLUMNS, "strength", "side/margin"]
    rows, _ = given_pairs(problem)
    plain, _ = given_pairs(stated(table()))
    pd.testing.assert_frame_equal(rows[plain.columns], plain)

    def shown(*needs: str) -> Pairs:
        return pairs_of(make_view(rows, problem, frozenset(needs), 0).preferences["train"])

    assert shown().strength.tolist() == [1.0, 1.0, 0.5, 0.75, 1.0, 0.0] and shown("user_id").side == {}
    told = shown("side", "group")
    assert {name: values.tolist() for name, values in told.side.items()} == {"margin": [0, 1, 2, 3, 4, 5]}
    assert told.side["margin"].dtype == np.float64
    bare = pairs_of(make_view(plain, stated(table()), frozenset({"side"}), 0).preferences["train"])
    assert bare.strength is None and bare.side == {}


def test_a_table_that_fits_keeps_its_rows_and_gets_plain_types():
    given = table().assign(note="left out", user_id=pd.Categorical(["x", "x", "y", "y", "z", "z"]))
    problem = stated(given.sample(frac=1, random_state=0))
    assert list(problem.given.columns) == COLUMNS and problem.given["user_id"].dtype == object
    assert problem.given["user_id"].tolist() == given.sample(frac=1, random_state=0)["user_id"].tolist()
    assert stated(table().astype({"user_id": "Int32"})).given["user_id"].dtype == np.int64
    again = replace(problem, temperature=1.0)
    pd.testing.assert_frame_equal(again.given, problem.given)
    assert again.groups == problem.groups


def test_without_brought_labels_a_problem_still_counts_its_prompts():
    groups = (Group("a", 0.8, VaderSum(empty=-10.0)), Group("b", 0.2, Conciseness(empty=-8.0)))
    prompts = Prompts(("p", "q"), ("v",), ("t",))
    with pytest.raises(ValueError, match="one train prompt for each labelled pair"):
        Problem(groups=groups, prompts=prompts, corpus=(), temperature=0.0, response_tokens=4)

"""How annotators label: counts, coins, ties and reports by hand, for every task that is registered."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from prefbench import registry
from prefbench.errors import UserError
from prefbench.estimate.passes import sizes_of, works_of
from prefbench.population import Population
from prefbench.problem import labels
from prefbench.problem.behaviour import dealt_apart, not_meant
from prefbench.problem.contexts import unseen_contexts
from prefbench.problem.labels import label_pairs
from prefbench.problem.people import people_of
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.view import make_view
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.store.stages import Store
from support.figures.problems import pairs_from, small_spec, stated
from support.small_world import SMALL, WORLD

registry.load_plugins()
TASKS = [entry.name for entry in registry.entries("task") if entry.own_data]
SAID = {"reliability": 0.5, "tie_band": 0.2, "labels_per_pair": 2}


@dataclass(frozen=True)
class Number(Utility):
    """The number that a response is, times a factor."""

    factor: float
    name: str = "number"
    unit: str = "points"

    def __call__(self, prompts, responses):
        return np.array([self.factor * float(text) for text in responses])


def problem(annotators=10, each=4, ratio=0.2, temperature=0.0, **population) -> Problem:
    n = annotators * each
    return Problem(
        groups=(Group("many", 1 - ratio, Number(1.0)), Group("few", ratio, Number(-1.0))),
        prompts=Prompts(
            *(
                tuple(f"{split} {i}" for i in range(count))
                for split, count in (("a", n), ("b", 20), ("c", 30))
            )
        ),
        corpus=("a text",),
        annotators=annotators,
        pairs_per_annotator=each,
        temperature=temperature,
        response_tokens=4,
        population=Population(**population),
    )


def pairs_of(problem: Problem, seed=0) -> pd.DataFrame:
    """Numbers as responses, all of them different."""
    splits = [(s, p) for s in ("train", "validation", "test") for p in getattr(problem.prompts, s)]
    numbers = np.random.default_rng(seed).normal(size=(len(splits), 2)).round(6).astype(str)
    return pd.DataFrame(
        {
            "split": [split for split, _ in splits],
            "prompt": [prompt for _, prompt in splits],
            "response_a": numbers[:, 0],
            "response_b": numbers[:, 1],
        }
    )


def rows_of(made: Problem, seed=0) -> pd.DataFrame:
    return label_pairs(pairs_of(made), made, seed)[0]


def unit_of(made: Problem) -> float:
    """The standard deviation of both groups' utility over responses."""
    return float(pairs_of(made)[["response_a", "response_b"]].astype(float).to_numpy().std())


# ------------------------------------------------------------------------- several people of one pair


@pytest.mark.parametrize(("annotators", "several"), [(10, 2), (10, 3), (7, 7), (5, 1), (4, 3)])
def test_a_pair_goes_to_so_many_different_people_who_have_equally_many(annotators, several):
    made = problem(annotators=annotators, each=5, ratio=0.4, labels_per_pair=several)
    for seed in range(3):
        rows = rows_of(made, seed)
        assert len(rows) == several * len(pairs_of(made))
        assert (rows.groupby(["split", "prompt"])["user_id"].nunique() == several).all()
        train = rows[rows["split"] == "train"]
        assert (train["user_id"].value_counts() == several * 5).all()
        assert train["user_id"].nunique() == annotators
        assert rows.groupby("user_id")["group"].nunique().max() == 1
        few = (train["group"] == "few").sum()
        assert few == several * 5 * round(0.4 * annotators + 1e-9)
        # Without noise people of one group agree on a pair, and those of two never do.
        agreed = rows.groupby(["prompt", "group"])["chosen"].nunique()
        assert (agreed == 1).all()
        assert rows["prompt"].tolist() == np.repeat(pairs_of(made)["prompt"], several).tolist()


def test_who_shares_a_pair_is_drawn_anew_by_each_seed():
    user = np.tile(np.arange(6), 20)
    split = ["train"] * 60 + ["test"] * 60
    orders = [dealt_apart(user, split, 3, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert (orders[0] == orders[1]).all() and (orders[0] != orders[2]).any()
    for order in orders:
        assert sorted(order[:60]) == list(range(60)) and sorted(order[60:]) == list(range(60, 120))
    together = {frozenset(three) for three in user[orders[0]].reshape(-1, 3).tolist()}
    assert len(together) > 8  # of the 20 that there are


# --------------------------------------------------------------------------- labels that nobody meant


@pytest.mark.parametrize("reliability", [0.0, 0.25, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("people", "each"), [(1, 7), (10, 4), (40, 20), (13, 3)])
def test_labels_that_are_not_meant_are_counted_exactly(reliability, people, each):
    rng = np.random.default_rng(people)
    user = np.concatenate([rng.permutation(np.repeat(np.arange(people), each)), rng.integers(0, people, 17)])
    split = ["train"] * (people * each) + ["test"] * 17
    rows = not_meant(user, split, reliability, seed=3)
    lost = 1 - Fraction(str(reliability))
    assert len(set(rows.tolist())) == len(rows)
    assert (rows < people * each).sum() == round(people * each * lost)
    assert (rows >= people * each).sum() == round(17 * lost)
    own = np.bincount(user[rows[rows < people * each]], minlength=people)
    assert (np.abs(own - float(each * lost)) < 1).all()
    assert (rows == not_meant(user, split, reliability, seed=3)).all()
    if 3 < len(rows) < len(user) and people > 1:
        assert rows.tolist() != not_meant(user, split, reliability, seed=4).tolist()


def test_labels_that_are_not_meant_are_coins_and_the_others_stay(monkeypatch):
    drawn: list[np.ndarray] = []

    def spied(*given):
        drawn.append(not_meant(*given))
        return drawn[-1]

    monkeypatch.setattr(labels, "not_meant", spied)
    meant = rows_of(problem(annotators=40, each=50))
    rows = rows_of(problem(annotators=40, each=50, reliability=0.6))
    lost = np.zeros(len(rows), dtype=bool)
    lost[drawn[0]] = True
    turned = (rows["chosen"] != meant["chosen"]).to_numpy()
    assert not turned[~lost].any() and lost.sum() == round(0.4 * 2000) + 8 + 12
    assert abs(turned[lost].mean() - 0.5) < 4 * 0.5 / np.sqrt(lost.sum())
    train = rows[(rows["split"] == "train") & lost]
    assert (train["user_id"].value_counts() == 20).all() and train["user_id"].nunique() == 40
    kept = ["split", "prompt", "user_id", "group"]
    pd.testing.assert_frame_equal(rows[kept], meant[kept])
    nobody = rows_of(problem(annotators=40, each=50, reliability=0.0))
    assert abs((nobody["chosen"] == meant["chosen"]).mean() - 0.5) < 0.05


# ---------------------------------------------------------------------------------------------- ties


def test_utilities_that_are_near_are_ties_and_the_rest_stays():
    plain = rows_of(problem(annotators=20, each=20, temperature=0.3))
    made = problem(annotators=20, each=20, temperature=0.3, tie_band=0.5)
    rows, pairs = rows_of(made), pairs_of(made)
    numbers = pairs[["response_a", "response_b"]].astype(float).to_numpy()
    near = np.abs(numbers[:, 0] - numbers[:, 1]) < 0.5 * numbers.std()
    assert 0.1 < near.mean() < 0.5
    assert rows["strength"].tolist() == np.where(near, 0.5, 1.0).tolist()
    same = [name for name in plain.columns]
    pd.testing.assert_frame_equal(rows.loc[~near, same], plain.loc[~near])
    first = (rows["chosen"] == pairs["response_a"])[near]
    assert abs(first.mean() - 0.5) < 4 * 0.5 / np.sqrt(near.sum())
    assert "strength" not in plain.columns
    # A coin is certain of itself, also where the pair is one that she would have called a tie.
    coins = rows_of(replace(made, population=Population(tie_band=0.5, reliability=0.0)))
    assert (coins["strength"] == 1.0).all()


def test_an_aligner_is_shown_how_sure_labels_are():
    made = problem(tie_band=0.5)
    view = make_view(rows_of(made), made, frozenset(), seed=0)
    assert view.preferences["train"].column_names == ["prompt", "chosen", "rejected", "strength"]
    assert set(view.preferences["train"]["strength"]) == {0.5, 1.0}


# ------------------------------------------------------------------------------------------- reports


@pytest.mark.parametrize("temperature", [0.0, 0.4])
def test_a_group_that_inverts_its_report_says_the_contrary_of_what_it_wants(temperature):
    plain = rows_of(problem(annotators=20, each=50, temperature=temperature))
    rows = rows_of(problem(annotators=20, each=50, temperature=temperature, reporting={"few": -1.0}))
    few = (plain["group"] == "few").to_numpy()
    pd.testing.assert_frame_equal(rows[~few], plain[~few])
    gain = (rows["chosen_utility/few"] - rows["rejected_utility/few"])[few]
    wanted = (plain["chosen_utility/few"] - plain["rejected_utility/few"])[few]
    if temperature == 0:
        assert (rows.loc[few, "chosen"] == plain.loc[few, "rejected"]).all()
        assert (gain < 0).all() and (wanted > 0).all()
    else:
        assert gain.mean() < -0.3 * wanted.mean() < 0


def test_a_factor_divides_the_noise():
    halved = rows_of(problem(annotators=20, each=50, temperature=0.5))
    both = {"many": 2.0, "few": 2.0}
    rows = rows_of(problem(annotators=20, each=50, temperature=1.0, reporting=both))
    pd.testing.assert_frame_equal(rows, halved)


def test_a_factor_of_nought_is_a_coin():
    rows = rows_of(problem(annotators=20, each=100, reporting={"few": 0.0}))
    mine = rows[rows["group"] == "few"]
    liked = (mine["chosen_utility/few"] > mine["rejected_utility/few"]).mean()
    assert abs(liked - 0.5) < 4 * 0.5 / np.sqrt(len(mine))


def test_some_of_a_group_may_report_what_another_group_wants():
    made = problem(annotators=20, each=50, reporting={"many": "few"}, reporters={"many": 3})
    plain, rows = rows_of(problem(annotators=20, each=50)), rows_of(made)
    turned = plain["chosen"] != rows["chosen"]  # without noise few wants the contrary of many
    liars = rows.loc[turned, "user_id"].unique()
    assert len(liars) == 3 and (rows.loc[turned, "group"] == "many").all()
    assert (turned == rows["user_id"].isin(liars)).all()
    assert liars.max() < plain.loc[(plain["group"] == "many") & ~turned, "user_id"].min()
    whole = rows_of(problem(annotators=20, each=50, temperature=0.4, reporting={"many": "few"}))
    same = rows_of(problem(annotators=20, each=50, temperature=0.4, reporting={"many": -1.0}))
    pd.testing.assert_frame_equal(whole, same)
    told = problem(annotators=10, each=40, unseen_annotators=10, context_pairs=200)
    for population, larger in (({"reporting": {"few": "many"}}, 1.0), ({"reporters": {"few": 1}}, 0.0)):
        now = replace(
            told, population=told.population.model_copy(update={"reporting": {"few": "many"}} | population)
        )
        table = unseen_contexts(rows_of(now), now, 0)
        few = [person.id for person in people_of(now, 0) if person.group == 1 and not person.seen]
        mine = table[table["user_id"].isin(few)]
        assert (mine["chosen"].astype(float) > mine["rejected"].astype(float)).mean() == larger


def test_the_conflict_is_of_what_groups_want_and_not_of_what_they_say():
    plain, turned = (
        label_pairs(pairs_of(made), made, 0)[1]
        for made in (problem(temperature=0.5), problem(temperature=0.5, reporting={"few": -1.0}, **SAID))
    )
    assert plain == turned


# ----------------------------------------------------------------------- people who are unseen


def test_people_who_are_unseen_label_as_the_others_do():
    made = problem(annotators=10, each=40, unseen_annotators=10, context_pairs=200, labels_per_pair=2)
    told = unseen_contexts(rows_of(made), made, 0)
    assert (told.groupby("user_id")["prompt"].nunique() == 200).all()  # no pair twice
    few = [person.id for person in people_of(made, 0) if person.group == 1 and not person.seen]
    assert len(few) == 2

    def liked(**population) -> tuple[float, float]:
        """Share of pairs in which the many and the few chose the larger number."""
        now = replace(made, population=made.population.model_copy(update=population))
        table = unseen_contexts(rows_of(now), now, 0)
        larger = table["chosen"].astype(float) > table["rejected"].astype(float)
        mine = table["user_id"].isin(few)
        return larger[~mine].mean(), larger[mine].mean()

    assert liked() == (1.0, 0.0)
    assert liked(reporting={"few": -1.0}) == (1.0, 1.0)
    for coins in ({"reliability": 0.0}, {"tie_band": 100.0}):
        assert liked(**coins) == pytest.approx((0.5, 0.5), abs=0.1)
    ties = replace(made, population=made.population.model_copy(update={"tie_band": 0.5}))
    sure = unseen_contexts(rows_of(ties), ties, 0)
    near = np.abs(sure["chosen"].astype(float) - sure["rejected"].astype(float)) < 0.5 * unit_of(made)
    assert sure["strength"].tolist() == np.where(near, 0.5, 1.0).tolist() and "strength" not in told
    assert liked(reliability=0.5) == pytest.approx((0.75, 0.25), abs=0.1)


def test_who_labels_more_of_a_pair_has_as_many_labels_more():
    counts = [
        {person.id: person.labelled for person in people_of(problem(each=6, labels_per_pair=m), 0)}
        for m in (1, 3)
    ]
    assert set(counts[0].values()) == {6} and counts[1] == {who: 18 for who in counts[0]}


# ----------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("population", "said"),
    [
        ({"reporting": {"fwe": -1.0}}, "task.reporting: no group is called 'fwe'. Did you mean 'few'?"),
        ({"reporting": {"few": "mny"}}, "task.reporting: no group is called 'mny'. Did you mean 'many'?"),
        ({"reporters": {"few": 1}}, "task.reporters: what 'few' reports is not said"),
        (
            {"reporting": {"few": -1.0}, "reporters": {"few": 3}},
            "task.reporters: 'few' has 2 annotators, and not 3",
        ),
        (
            {"labels_per_pair": 11},
            "task.labels_per_pair=11: there are 10 annotators, and each labels a pair once",
        ),
    ],
)
def test_what_nobody_can_do_is_one_line(population, said):
    with pytest.raises(UserError) as caught:
        problem(**population)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["reliability=1.5", "tie_band=-1", "labels_per_pair=0", "reporting=few", "reporters=few=0"]
)
def test_a_value_that_is_none_is_one_line(value):
    name = value.partition("=")[0]
    with pytest.raises(UserError, match=rf"^option task\.{name}.*[^\n]$"):
        make_spec(task=WORLD, aligner="dpo", sets=parse_sets([f"task.{value}"]))


# --------------------------------------------------------------------------------------- every task


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_them_and_writes_down_what_is_said(task):
    spec = small_spec(task)
    assert not spec.task_options.keys() & SAID.keys() and "reporting" not in spec.task_options
    entry = registry.get("task", task)
    assert {*SAID, "reporting"} <= entry.options.model_fields.keys()
    usual = make_spec(
        task=task,
        aligner="reference",
        minority_ratio=0.25,
        sets={"task": {**spec.task_options, "reliability": "1", "tie_band": "0", "labels_per_pair": 1}},
    )
    assert usual.hash == spec.hash
    plain = stated(spec)
    assert plain.population == Population()
    name = plain.minority
    said = {**spec.task_options, **SAID, "reporting": f"{name}=-2"}
    told = make_spec(task=task, aligner="reference", minority_ratio=0.25, sets={"task": said})
    assert told.task_options == {**spec.task_options, **SAID, "reporting": {name: -2.0}}
    if plain.given is not None:
        with pytest.raises(
            UserError, match=r"task\.reliability is of simulated annotators, and this task brings"
        ):
            stated(told)
        return
    made = stated(told)
    assert made.population == Population(**SAID, reporting={name: -2.0})
    assert replace(made, population=Population()).prompts == plain.prompts
    if plain.world is None:
        pairs = pairs_from(plain)
        rows, _ = label_pairs(pairs, made, 0)
        assert len(rows) == 2 * len(pairs)
        assert (rows["user_id"].to_numpy()[::2] != rows["user_id"].to_numpy()[1::2]).all()
        assert set(rows["strength"]) <= {0.5, 1.0}


def test_labels_of_before_keep_their_key_and_each_option_has_its_own(tmp_path, monkeypatch):
    keys: list[dict] = []
    stage = Store.stage

    def spied(self, name, key, compute, **more):
        if name == "labels":
            keys.append(dict(key))
        return stage(self, name, key, compute, **more)

    monkeypatch.setattr(Store, "stage", spied)
    name = stated(make_spec(task=WORLD, aligner="dpo", sets={"task": SMALL})).minority
    asked = [{}, *({option: value} for option, value in SAID.items()), {"reporting": {name: -1.0}}]
    for more in asked:
        spec = make_spec(task=WORLD, aligner="dpo", sets={"task": {**SMALL, **more}})
        _, record = run(spec, tmp_path)
        assert record.status == "ok", record.message
        assert {**record.spec["task_options"], **more} == record.spec["task_options"]
    assert keys[0].keys() == {"pairs", "groups", "annotators", "temperature", "seed"}
    for key, more in zip(keys[1:], asked[1:], strict=True):
        assert key == {**keys[0], **more}


def test_more_labels_are_more_to_learn_from_and_no_more_pairs_to_sample():
    few, many = (
        make_spec(task="imdb_two_group", aligner="single_reward", sets={"task": {"labels_per_pair": m}})
        for m in (1, 3)
    )
    sizes = [sizes_of(stated(spec)) for spec in (few, many)]
    assert sizes[1].train == 3 * sizes[0].train and sizes[1].validation == 3 * sizes[0].validation
    works = [works_of(spec, size) for spec, size in zip((few, many), sizes, strict=True)]
    sampled, trained = (
        [sum(work.rows for work in each if work.stage == stage and work.kind == kind) for each in works]
        for stage, kind in (("pairs", "sample"), ("reward of everybody", "train"))
    )
    assert sampled[0] == sampled[1] and trained[1] == 3 * trained[0]

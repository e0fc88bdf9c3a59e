"""Tables of claims and of conditions: paired differences, Holm over a column, and what is marked."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def conditions(script):
    return script("conditions")


@pytest.fixture(scope="module")
def claims(script):
    return script("claims")


def test_an_aligner_is_held_against_the_floor_seed_by_seed(conditions):
    """Seeds differ by more than aligners do; paired, 0.1 less each time is sure."""
    floor = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}
    less = {seed: value - 0.1 - 0.001 * seed for seed, value in floor.items()}
    more = {seed: value + 0.1 + 0.001 * seed for seed, value in floor.items()}
    unsure = {0: 0.5, 1: 2.5, 2: 2.9, 3: 3.7}
    found = conditions.verdicts({"reference": floor, "good": less, "bad": more, "unsure": unsure})
    assert found == {"good": "less", "bad": "more"}


def test_chances_are_corrected_for_the_number_of_aligners(conditions):
    """t = 3.5 with 9 degrees of freedom: p = 0.0067 alone, 0.067 as one of ten."""
    floor = dict.fromkeys(range(10), 0.0)
    deviations = [-1.5, -1.0, -0.5, -0.5, 0.0, 0.0, 0.5, 0.5, 1.0, 1.5]
    scale = (sum(each**2 for each in deviations) / 9) ** 0.5 / 10**0.5
    one = {seed: 3.5 * scale + each for seed, each in enumerate(deviations)}
    assert conditions.verdicts({"reference": floor, "one": one}) == {"one": "more"}
    others = {f"other{k}": {seed: (-1.0) ** seed for seed in range(10)} for k in range(9)}
    assert conditions.verdicts({"reference": floor, "one": one, **others}) == {}


def test_a_cell_has_half_the_interval_and_its_mark(conditions):
    """0.5 and 0.7: a standard error of 0.1, and t of 12.706 with one degree of freedom."""
    assert conditions.cell({0: 0.5, 1: 0.7}, None) == "0.60 ± 1.27"
    assert conditions.cell({0: 0.5, 1: 0.7}, "less") == "**0.60 ± 1.27**"
    assert conditions.cell({0: 0.5, 1: 0.7}, "more") == "*0.60 ± 1.27*"


@pytest.mark.parametrize(
    ("options", "ratio", "name"),
    [
        ({"pairs_per_annotator": 20}, 0.2, "as it is"),
        ({"pairs_per_annotator": 4}, 0.2, "few pairs"),
        ({"pairs_per_annotator": 20}, 0.05, "small minority"),
        ({"pairs_per_annotator": 20, "reliability": 0.5}, 0.2, "half coins"),
    ],
)
def test_a_condition_is_read_off_the_specification(conditions, options, ratio, name):
    record = SimpleNamespace(minority_ratio=ratio, spec={"task_options": options})
    assert conditions.condition_of(record) == name


def run(seed, minority, majority):
    groups = [
        SimpleNamespace(is_minority=True, win_rate=minority, reward_accuracy=None),
        SimpleNamespace(is_minority=False, win_rate=majority, reward_accuracy=None),
    ]
    return SimpleNamespace(seed=seed, groups=groups)


def row(ratio, *runs):
    first = SimpleNamespace(aligner="dpo", minority_ratio=ratio)
    return SimpleNamespace(first=first, records={each.seed: each for each in runs})


def test_a_trend_is_paired_by_seed(claims):
    """Minority 0.6 to 0.3 and 0.5 to 0.1: -0.35 with a standard error of 0.05 and t of 12.706."""
    rows = [row(0.5, run(0, 0.6, 0.5), run(1, 0.5, 0.5)), row(0.0909, run(0, 0.3, 0.9), run(1, 0.1, 0.9))]
    table = claims.trends(rows)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0] == ["aligner", "what", "of", "1:1", "10:1", "change [95%]", "p"]
    assert lines[3] == ["`dpo`", "win rate", "minority", "0.55", "0.20", "-0.35 [-0.99, +0.29]", "0.09"]
    assert len(lines) == 4


def test_learners_are_held_against_a_floor_and_marked(claims, monkeypatch):
    """One surely above, one surely below, one that cannot be told; floors and ceilings are no lines."""
    seeds = range(10)

    def scored(name, *rates):
        return SimpleNamespace(first=SimpleNamespace(aligner=name, needs=["group"]), rates=rates)

    rows = [
        scored("reference", *[0.5] * 10),
        scored("good", *[0.7 + 0.001 * seed for seed in seeds]),
        scored("bad", *[0.2 + 0.001 * seed for seed in seeds]),
        scored("unsure", *[0.55 + 0.2 * (-1) ** seed for seed in seeds]),
        scored("gold", *[0.9] * 10),
    ]
    known = {"reference": "floor", "gold": "gold", **dict.fromkeys(("good", "bad", "unsure"), "learner")}
    monkeypatch.setattr(claims, "roles", lambda rows: known)
    monkeypatch.setattr(
        claims,
        "compare",
        lambda one, two, _: (
            claims.mean_of_figures([a - b for a, b in zip(one.rates, two.rates, strict=True)]),
            True,
        ),
    )
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in claims.against_floor(rows).splitlines()[2:]
    ]
    assert [line[:2] for line in lines] == [["group", "`good`"], ["group", "`unsure`"], ["group", "`bad`"]]
    assert [line[2] for line in lines] == [
        "**+0.20 [+0.20, +0.21]**",
        "+0.05 [-0.10, +0.20]",
        "*-0.30 [-0.30, -0.29]*",
    ]
    tuned = [scored("bad", *[0.8 + 0.001 * seed for seed in seeds])]
    last = [line.split("|")[-2].strip() for line in claims.against_floor(rows, tuned).splitlines()]
    assert last[:1] + last[2:] == ["tuned", "", "", "**+0.30 [+0.30, +0.31]**"]

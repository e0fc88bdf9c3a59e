"""The file of a sweep: which cells its grids, options and exclusions mean, and mistakes in it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.errors import UserError
from prefbench.sweep.file import read_sweep
from support.commands import typed
from support.sweeps import PLUGIN, WORLD, specs_of, written

pytestmark = pytest.mark.usefixtures("restored")


REPOSITORY = Path(__file__).parents[2]


def test_a_grid_is_every_combination_once_and_seeds_are_innermost():
    specs = specs_of(
        WORLD
        + """
        aligner = ["maxmin", "dpo"]
        minority_ratio = ["4:1", 0.5, "20%"]
        seeds = 2
        seed = 3
        [set.model]
        penalty = [0.1, 0.2]
        """
    )
    assert len({spec.hash for spec in specs}) == len(specs) == 2 * 2 * 2 * 2  # 4:1 and 20% are one ratio
    assert [spec.seed for spec in specs[:4]] == [3, 4, 3, 4]
    assert {spec.model_options["penalty"] for spec in specs} == {0.1, 0.2}
    assert {spec.minority_ratio for spec in specs} == {0.2, 0.5}
    assert {(spec.model, spec.data) for spec in specs} == {("finite", "synthetic")}


def test_options_may_be_for_one_name_and_then_go_before_those_for_all():
    specs = specs_of(
        WORLD
        + """
        aligner = ["gold_maxmin", "dpo", "ipo"]
        [set.aligner.dpo]
        beta = [0.3, 0.7]
        [set.aligner.ipo]
        beta = 0.2
        [set.task.bandit_two_group]
        annotators = 10
        """
    )
    betas = [(spec.aligner, spec.aligner_options["beta"]) for spec in specs if spec.aligner != "gold_maxmin"]
    assert betas == [("dpo", 0.3), ("dpo", 0.7), ("ipo", 0.2)]
    assert {spec.task_options["annotators"] for spec in specs} == {10}
    specs = specs_of(
        WORLD + 'aligner = ["dpo", "ipo"]\n[set.aligner]\nbeta = 0.9\n[set.aligner.ipo]\nbeta = 0.2\n'
    )
    assert [spec.aligner_options["beta"] for spec in specs] == [0.9, 0.2]


def test_a_strength_that_plays_no_part_on_the_model_is_left_as_it_is():
    grid = "aligner = ['user_regression']\nstrengths = 3\n"
    (alone,) = specs_of("task = 'imdb_two_group'\n" + grid)
    assert alone.aligner_options["kl_coefficient"] is None
    assert len({spec.aligner_options["kl_coefficient"] for spec in specs_of(WORLD + grid)}) == 3


def test_strengths_are_each_aligners_own_option_over_its_own_range():
    text = WORLD + 'aligner = ["reference", "dpo", "maxmin"]\n'
    specs = specs_of(text + "strengths = 3\n")
    found = [
        (s.aligner, s.aligner_options.get("beta") or s.aligner_options.get("kl_coefficient")) for s in specs
    ]
    betas = [("dpo", beta) for beta in (0.03, 0.3, 3.0)]
    assert found == [("reference", None), *betas, *(("maxmin", kl) for kl in (0.03, 0.173, 1.0))]
    listed = specs_of(text + "strengths = [0.2, 0.4]\n[set.aligner.dpo]\nbeta = 0.7\n")
    assert [s.aligner_options["beta"] for s in listed if s.aligner == "dpo"] == [
        0.7
    ]  # what is set goes before
    assert [s.aligner_options["kl_coefficient"] for s in listed if s.aligner == "maxmin"] == [0.2, 0.4]
    for wrong in ("1", "[]", "[0.1, 0]", '"six"', "[true]"):
        with pytest.raises(UserError, match="is not a whole number from 2 up, or a list of positive numbers"):
            specs_of(text + f"strengths = {wrong}\n")


def test_what_is_not_trained_goes_up_its_ladder_in_the_place_of_strengths():
    text = WORLD + 'aligner = ["dpo", "best_of_n", "gold_best_of_n"]\n'
    for strengths in ("6", "[0.2, 0.4]"):
        specs = specs_of(text + f"strengths = {strengths}\n")
        for aligner in ("best_of_n", "gold_best_of_n"):
            found = [s.aligner_options["candidates"] for s in specs if s.aligner == aligner]
            assert found == [1, 2, 4, 8, 16, 32, 64]
    specs = specs_of(text + "strengths = 2\n[set.aligner.best_of_n]\ncandidates = [3, 5]\n")
    assert [s.aligner_options["candidates"] for s in specs if s.aligner == "best_of_n"] == [3, 5]
    assert [s.aligner_options["candidates"] for s in specs_of(text) if s.aligner == "best_of_n"] == [16]


def test_several_grids_take_from_the_top_what_they_do_not_say():
    specs = specs_of(
        """
        seeds = 2
        minority_ratio = 0.5
        [set.evaluate]
        samples = 2
        [[grid]]
        task = "bandit_two_group"
        aligner = "dpo"
        set.aligner.label_smoothing = [0.0, 0.1]
        [[grid]]
        task = ["bandit_two_group", "worst_case_two_group"]
        aligner = "dpo"
        minority_ratio = [0.2, 0.5]
        seed = [7, 0]
        """
    )
    first, second = specs[:4], specs[4:]
    smoothed = [(s.aligner_options["label_smoothing"], s.seed) for s in first]
    assert smoothed == [(0.0, 0), (0.0, 1), (0.1, 0), (0.1, 1)]
    assert {s.seed for s in second} == {7, 0}
    assert len(second) == 7  # one of the eight is in the first grid already: nothing is smoothed by default
    assert {s.evaluate_options["samples"] for s in specs} == {2}


def test_exclusions_match_names_ratios_seeds_and_options():
    specs = specs_of(
        WORLD.replace('"bandit_two_group"', '["bandit_two_group", "imdb_two_group"]')
        + """
        aligner = ["dpo", "ipo", "preference_matching"]
        minority_ratio = [0.2, 0.5]
        seeds = 2
        [set.aligner.dpo]
        beta = [0.1, 0.5]
        [[exclude]]
        task = "imdb_two_group"   # one that could not run at all may still be excluded
        aligner = "preference_matching"
        [[exclude]]
        task = "imdb_two_group"
        minority_ratio = "1:1"
        [[exclude]]
        aligner = ["dpo", "ipo"]
        minority_ratio = "4:1"
        seed = [1]
        [[exclude]]
        set.aligner.dpo.beta = 0.5
        """
    )
    assert not [s for s in specs if s.task == "imdb_two_group" and s.minority_ratio == 0.5]
    assert not [s for s in specs if s.aligner in ("dpo", "ipo") and (s.minority_ratio, s.seed) == (0.2, 1)]
    assert {s.aligner_options["beta"] for s in specs if s.aligner == "dpo"} == {0.1}
    assert len(specs) == 4 * 3 - 2 + (2 * 2 - 2)


def test_plugins_and_the_runs_folder_may_be_in_the_file():
    Path("mine.py").write_text(PLUGIN)
    sweep = read_sweep(
        written(
            WORLD
            + 'aligner = "swept_raises"\nplugin = ["mine.py"]\nruns_dir = "there"\n[resources]\ngpus = 0.5'
        ),
        stance="run",
    )
    assert [spec.aligner for spec in sweep.expand()] == ["swept_raises"]
    assert (sweep.plugins, sweep.runs_dir, sweep.cpus, sweep.gpus) == (("mine.py",), "there", 1.0, 0.5)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("task = ", ["sweep.toml: not a readable TOML file"]),
        ("seed = " + "9" * 5000, ["sweep.toml: not a readable TOML file"]),
        ('aligner = "dpo"', ["no task", 'task = "NAME"']),
        (WORLD, ["no aligner"]),
        (WORLD + 'alinger = "dpo"', ["unknown key 'alinger'", "Did you mean 'aligner'?"]),
        (WORLD + "aligner = []", ["aligner is an empty list"]),
        (WORLD + "aligner = 3", ["aligner = 3 is not text in quotes"]),
        (WORLD + 'aligner = ["dpo", 3]', ["aligner = 3 is not text in quotes"]),
        (WORLD + 'aligner = "maxmni"', ["unknown aligner 'maxmni'", "Did you mean 'maxmin'?"]),
        (WORLD + 'aligner = "dpo"\nmodel = "nanoo"', ["unknown model 'nanoo'"]),
        (WORLD + 'aligner = "dpo"\nmodel = "nano"', ["model 'nano' does not fit task"]),
        (WORLD + 'aligner = "constant"', ["'constant' does not apply to task"]),
        (
            WORLD + 'aligner = "dpo"\nminority_ratio = [0.2, 0.7]',
            ["minority_ratio: ", "'0.7' is not in (0, 0.5]"],
        ),
        (WORLD + 'aligner = "dpo"\nminority_ratio = true', ["minority_ratio = True is not a number"]),
        (WORLD + 'aligner = "dpo"\nseeds = [0, 1]', ["seeds = [0, 1]", "a list of them is called seed"]),
        (WORLD + 'aligner = "dpo"\nseeds = 0', ["seeds = 0 is not a whole number from 1 up"]),
        (WORLD + 'aligner = "dpo"\nseed = -1', ["seed = -1 is not a whole number from 0 up"]),
        (WORLD + 'aligner = "dpo"\nseed = [1, 2]\nseeds = 2', ["seed is a list, so leave out seeds"]),
        (WORLD + 'aligner = "dpo"\nset = 3', ["set is not a table"]),
        (WORLD + 'aligner = "dpo"\n[set]\ntask = 3', ["set.task is not a table"]),
        (WORLD + 'aligner = "dpo"\n[set.tsak]\na = 3', ["unknown option section 'tsak'", "'task'"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbeta = []', ["set.aligner.beta is an empty list"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbeta = nan', ["set.aligner.beta = nan is not a finite"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbeta = [0.1, "x"]', ["aligner.beta='x'"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbetta = 1', ["unknown option aligner.betta of 'dpo'"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner.ipo]\nbeta = 1', ["[set.aligner.ipo]", "does not have"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner.dpo]\nbeta.x = 1', ["set.aligner.dpo.beta is a table"]),
        (WORLD + 'aligner = "dpo"\n[set.evaluate.dpo]\nsamples = 1', ["set.evaluate.dpo is a table"]),
        (
            WORLD + 'aligner = ["dpo", "reference"]\n[set.aligner]\nbeta = 1',
            ["aligner 'reference' has no option 'beta'", "[set.aligner.dpo]"],
        ),
        (WORLD + 'aligner = "dpo"\n[[exclude]]\naligner = "dpo"', ["every cell is excluded"]),
        (WORLD + 'aligner = "dpo"\n[[exclude]]\naligner = "ipo"', ["[[exclude]] 1 matches no cell"]),
        (WORLD + 'aligner = "dpo"\n[[exclude]]', ["[[exclude]] 1 says nothing"]),
        (WORLD + 'aligner = "dpo"\n[[exclude]]\nseeds = 3', ["[[exclude]] 1: unknown key 'seeds'", "'seed'"]),
        (WORLD + 'aligner = "dpo"\nexclude = 3', ["exclude is not a list of tables"]),
        (
            WORLD + '[[grid]]\naligner = "dpo"\n[[grid]]\naligner = "dpoo"',
            ["[[grid]] 2: unknown aligner 'dpoo'"],
        ),
        (WORLD + '[[grid]]\naligner = "dpo"\ngrid = 3', ["[[grid]] 1: unknown key 'grid'"]),
        (
            WORLD + 'aligner = "dpo"\nseeds = 90000\nminority_ratio = [0.2, 0.3]',
            ["180000 cells are more than"],
        ),
        (WORLD + 'aligner = "dpo"\nruns_dir = 3', ["runs_dir = 3 is not the name of a folder"]),
        (
            WORLD + 'aligner = "dpo"\nplugin = "gone.py"',
            ["sweep.toml names plug-ins (gone.py)", "--allow-plugins"],
        ),
        (WORLD + 'aligner = "dpo"\nplugin = 3', ["plugin = 3 is not text"]),
        (WORLD + 'aligner = "dpo"\n[resources]\ncpu = 3', ["[resources]: unknown key 'cpu'", "'cpus'"]),
        (WORLD + 'aligner = "dpo"\n[resources]\ngpus = "all"', ["resources.gpus = 'all' is not a number"]),
        (WORLD + 'aligner = "dpo"\ndata = "elsewhere"', ["data"]),
        (WORLD + 'aligner = "dpo"\nminority_ratio = 0.001', ["annotators"]),
    ],
)
def test_a_mistake_in_the_file_is_one_line_and_nothing_is_written(text, parts):
    outcome = typed("sweep", written(text))
    assert outcome.code == 2, outcome.err
    for part in parts:
        assert part in outcome.error
    assert os.listdir() == ["sweep.toml"]


VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-3, 2**70), st.floats(), st.sampled_from(["dpo", "finite", "", "4:1"])
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["task", "dpo", "beta"]), inner)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "aligner",
                "model",
                "data",
                "minority_ratio",
                "seed",
                "seeds",
                "set",
                "grid",
                "exclude",
                "resources",
                "runs_dir",
            ]
        ),
        VALUES,
    )
)
def test_whatever_a_stranger_writes_is_a_sweep_or_a_mistake(table):
    def toml(value):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(toml, value)) + "]"
        return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")

    text = WORLD + "\n".join(f"{key} = {toml(value)}" for key, value in ({"aligner": "dpo"} | table).items())
    try:
        assert specs_of(text)
    except UserError as error:
        assert "\n" not in str(error)


def test_the_published_grid_is_every_aligner_that_language_models_have():
    from prefbench import registry

    specs = read_sweep(str(REPOSITORY / "leaderboard" / "reviews.toml")).expand()
    votes = [spec for spec in specs if spec.task_options.get("labels_per_pair", 1) == 3]
    single = [spec for spec in specs if spec.task_options.get("labels_per_pair", 1) == 1]
    for_everybody = {e.name for e in registry.entries("aligner") if "causal_lm" in e.backbones and not e.sees}
    assert {spec.aligner for spec in specs} == for_everybody
    aligners = {spec.aligner for spec in single}
    assert for_everybody - aligners == {"crowd_pref", "ordinal", "ordinal_dpo"}
    assert {spec.minority_ratio for spec in single} == {0.5, 0.3333, 0.1429, 0.0909}
    assert {spec.minority_ratio for spec in votes} == {0.0909}
    assert {spec.seed for spec in specs} == set(range(10))
    assert {(s.task, s.data, s.model) for s in specs} == {("imdb_two_group", "synthetic", "nano")}
    assert len(single) == len(aligners) * 4 * 10

"""Tuning: equal budgets, halving, bad configurations, and that no test prompt is looked at."""

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from prefbench import registry
from prefbench.boards.rows import load_rows
from prefbench.config import TuneFile
from prefbench.estimate.estimate import aligner_tokens, problem_of
from prefbench.record.files import find_records, read_record
from prefbench.spec import make_spec
from prefbench.store.progress import Silent
from prefbench.sweep import tuning
from prefbench.sweep.cell import run_cell
from prefbench.sweep.configurations import configurations, space_of
from prefbench.sweep.sweep import Result
from support.commands import typed
from support.pages import PAGES, fenced
from support.sweeps import QUICK, WORLD, started, tables, until, written
from support.tiny import TINY_ALIGNER, TINY_SETS
from support.tuning import chooses_alike, tuned, with_test

pytestmark = pytest.mark.usefixtures("restored")
SMALL = tables("task", items=QUICK)
RULES = ("S0", "S1", "S2", "S3")


# ------------------------------------------------------------------------------------- configurations


def drawn(name: str, count: int, seed: int = 0, fixed=(), leave=(), backbone="finite"):
    entry = registry.get("aligner", name)
    fixed = dict(fixed)
    space = {k: v for k, v in space_of(entry, backbone, fixed).items() if k not in leave}
    return configurations(entry, space, fixed, {"policy_learning_rate": 1e-3}, count, seed)


def test_the_defaults_are_the_first_of_different_configurations():
    found = drawn("maxmin", 16)
    assert found[0] == {} and len(found) == 16
    assert len({json.dumps(each) for each in found}) == 16
    assert drawn("maxmin", 8) == found[:8] and drawn("maxmin", 16, seed=1)[1:] != found[1:]


def test_draws_depend_on_names_and_seed_alone():
    whole = [each["kl_coefficient"] for each in drawn("maxmin", 6)[1:]]
    assert [
        each["kl_coefficient"] for each in drawn("maxmin", 6, leave=["clusters", "em_restarts"])[1:]
    ] == whole
    assert [each["kl_coefficient"] for each in drawn("single_reward", 6)[1:]] != whole


def test_a_rate_is_drawn_in_the_models_own_measure():
    rates = [each["learning_rate"] for each in drawn("dpo", 12, backbone="causal_lm")[1:]]
    assert min(rates) >= 2e-4 and max(rates) <= 2e-3 and len(set(rates)) == 11


def test_a_small_space_is_used_up_and_a_fixed_option_is_not_drawn():
    assert len(drawn("dpo", 16, leave=["beta"])) == 2  # smoothing 0 is the default
    fixed = drawn("dpo", 16, fixed={"label_smoothing": 0.1})
    assert all(set(each) <= {"beta"} for each in fixed) and len(fixed) == 16
    assert drawn("preference_matching", 16) == [{}]


# --------------------------------------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "task"),
        (
            'task = "bandit_two_group"\nconfigurations = 0',
            "configurations = 0 is not a whole number from 1 up",
        ),
        ('task = "bandit_two_group"\nseed = [1, 1]', "seed names one twice"),
        ('task = "bandit_two_group"\nsearch_seed = [1]', "search_seed = [1] is not one whole number"),
        ('task = "bandit_two_group"\nbudget = 3', "unknown key 'budget'"),
        ('task = "bandit_two_group"\naligner = "reference"', "aligner 'reference' is a floor"),
        ('task = "bandit_two_group"\naligner = "gold_maxmin"', "aligner 'gold_maxmin' is a ceiling"),
        ('task = "bandit_two_group"\naligner = "dpoo"', "unknown aligner 'dpoo'. Did you mean 'dpo'?"),
        (
            'task = "imdb_two_group"\naligner = "preference_matching"',
            "does not apply to task 'imdb_two_group'",
        ),
        (
            'task = "bandit_two_group"\naligner = "dpo"\n[set.aligner]\nbeta = [1, 2]',
            "set.aligner.beta is a list",
        ),
        (
            'task = "bandit_two_group"\naligner = "dpo"\n[set.aligner.ipo]\nbeta = 1',
            "is for a aligner that is not",
        ),
        ('task = "bandit_two_group"\naligner = "dpo"\n[set.aligner]\nbeta = -1', "option aligner.beta=-1"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text, part):
    outcome = typed("tune", written(text, "tune.toml"), "--dry-run")
    assert (outcome.code, part in outcome.error) == (2, True), outcome.err
    assert os.listdir() == ["tune.toml"]


def test_all_are_the_learners_that_fit():
    plan = json.loads(
        typed("tune", written('task = "imdb_two_group"', "tune.toml"), "--dry-run", "--json").out
    )
    names = [each["aligner"] for each in plan["aligners"]]
    provided = registry.get("task", "imdb_two_group").provides
    learners = [
        e.name
        for e in registry.entries("aligner")
        if e.role is None and "causal_lm" in e.backbones and e.needs <= provided
    ]
    assert names == learners
    assert all(each["rungs"] == [16, 8, 4] and each["runs"] == 28 for each in plan["aligners"])
    tokens = {each["aligner"]: each["tokens"] for each in plan["aligners"]}
    assert min(tokens.values()) > 1e6
    answers = {each["aligner"]: each["answers_to_judges"] for each in plan["aligners"]}
    assert {name for name, n in answers.items() if n} == {n for n in names if registry.get("aligner", n).sees}
    # 40 annotators judge as often as they labelled, in each of the 28 runs.
    assert {n for n in answers.values() if n} == {28 * 40 * 50}
    assert tokens["soups"] > 1.7 * tokens["single_reward"]  # two policies, whose rewards start from one


def test_tokens_are_those_that_the_aligner_declares():
    sets = {"model": {"context": 64}}
    spec = make_spec(task="imdb_two_group", aligner="dpo", sets=sets)
    problem = problem_of(spec)
    found = aligner_tokens(spec, problem)
    twice = aligner_tokens(
        make_spec(task="imdb_two_group", aligner="dpo", sets={"aligner": {"epochs": 8}}), problem
    )
    # Both responses of each pair: scored by the reference once and trained on in each of four passes.
    assert found.sampled == 0 and found.trained == 4 * found.scored
    assert (twice.scored, twice.trained) == (found.scored, 2 * found.trained)
    assert aligner_tokens(make_spec(task="bandit_two_group", aligner="dpo"), problem) is None


# --------------------------------------------------------------------------------------------- halving


def test_rungs_halve_and_the_best_by_each_rule_is_chosen(here):
    found = tuned(WORLD + 'aligner = ["dpo", "gr_dpo"]\nconfigurations = 5\n' + SMALL)
    assert [(each.name, each.rule) for each in found.aligners] == [("dpo", "S0"), ("gr_dpo", "S2")]
    assert Counter(spec.seed for spec in here) == {100: 10, 101: 6, 102: 4}
    assert {spec.split for spec in here} == {"validation"} and {spec.minority_ratio for spec in here} == {
        0.0909
    }
    for each in found.aligners:
        reached = Counter(len(tried.trials) for tried in each.tried)
        assert reached == {1: 2, 2: 1, 3: 2}  # 5, 3, 2
        first = {t.index: t.trials[0].scores[each.rule] for t in each.tried}
        on = {t.index for t in each.tried if len(t.trials) > 1}
        assert min(first[i] for i in on) >= max(first[i] for i in first.keys() - on)
        last = [t for t in each.tried if len(t.trials) == 3]
        for rule in RULES:
            best = max(last, key=lambda t: (t.scores[rule], -t.index))
            assert each.chosen[rule] == best.index
            assert best.scores[rule] == pytest.approx(sum(t.scores[rule] for t in best.trials) / 3)
        assert each.tried[0].options == {} and each.tried[0].kl > 0
        assert each.measure == "value" and each.tokens is None
        record = read_record(Path("runs") / next(f.name for f, r in find_records(Path("runs"))))
        assert record.split == "validation"
    with pytest.raises(Exception, match="no record in"):
        load_rows(Path("runs"))


def test_another_aligner_changes_no_configuration_and_a_stored_run_is_not_run_again(here):
    alone = tuned(WORLD + 'aligner = "dpo"\nconfigurations = 3\nseed = [7, 8]\n' + SMALL)
    count = len(here)
    both = tuned(WORLD + 'aligner = ["gr_dpo", "dpo"]\nconfigurations = 3\nseed = [7, 8]\n' + SMALL)
    assert both.of("dpo") == alone.of("dpo")
    assert Counter(spec.aligner for spec in here[count:]) == {"gr_dpo": 5}
    assert [each.name for each in both.aligners] == ["dpo", "gr_dpo"]


def test_a_search_that_was_stopped_goes_on_and_ends_as_if_it_had_not(here, monkeypatch):
    text = WORLD + 'aligner = "dpo"\nconfigurations = 4\nseed = [7, 8]\n' + SMALL
    tuned(text, "--runs-dir", "whole")
    whole = Path("tune.tuned.json").read_bytes()
    Path("tune.tuned.json").unlink()
    going = tuning.run_sweep

    def stopped(plan, job, *more):
        run_cell(plan.todo[0], job.runs_dir, Silent(), wait=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "run_sweep", stopped)
    assert typed("tune", "tune.toml", "--quiet").code == 130
    assert not Path("tune.tuned.json").exists()
    monkeypatch.setattr(tuning, "run_sweep", going)
    here.clear()
    tuned(text)
    assert len(here) == 5  # of six
    assert Path("tune.tuned.json").read_bytes() == whole


def test_sources_that_change_meanwhile_are_no_bad_configuration(monkeypatch):
    monkeypatch.setattr(tuning, "run_sweep", lambda plan, *more: Result(2, 2, 0, (), 0.0))  # and left nothing
    outcome = typed(
        "tune", written(WORLD + 'aligner = "dpo"\nconfigurations = 2\n' + SMALL, "tune.toml"), "--quiet"
    )
    assert outcome.code == 3 and "changed while it tuned; say the same command again" in outcome.error
    assert not Path("tune.tuned.json").exists()


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on():
    text = WORLD + 'aligner = ["dpo", "gr_dpo"]\nconfigurations = 6\nseed = [7, 8]\n' + SMALL
    tuned(text, "--runs-dir", "whole", "--workers", 1)
    whole = Path("tune.tuned.json").read_bytes()
    Path("tune.tuned.json").unlink()
    for count in (2, 7, 11):
        process = started("tune.toml", "--workers", 1, command="tune")
        until(lambda count=count: len(list(Path("runs").glob("*/record.json"))) >= count, 120)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    tuned(text, "--workers", 1)
    assert Path("tune.tuned.json").read_bytes() == whole


BAD = '''
"""A learner whose options may be bad, and one that never ends well."""
from pydantic import Field
import prefbench as pb
from prefbench.errors import Diverged
from prefbench.search import Choice


class ShakyOptions(pb.Options):
    """One option."""

    search = {"shake": Choice((0, 1, 2, 3))}

    shake: int = Field(0, ge=0)
    """How."""


@pb.aligner("shaky")
def shaky(view, backbone, options: ShakyOptions) -> pb.Policy:
    """Diverges at 1, raises at 2."""
    if options.shake == 1:
        raise Diverged("it shook")
    if options.shake == 2:
        raise ValueError("on purpose")
    return backbone.reference


@pb.aligner("hopeless")
def hopeless(view, backbone, options: ShakyOptions) -> pb.Policy:
    """Diverges."""
    raise Diverged("always")
'''


def test_a_run_that_diverges_or_fails_is_a_bad_configuration_and_not_the_end(here):
    Path("bad.py").write_text(BAD)
    text = WORLD + 'aligner = ["shaky", "hopeless"]\nconfigurations = 4\nseed = [7, 8]\n' + SMALL
    found = tuned(text, "--plugin", "bad.py", code=3)
    shaky, hopeless = found.aligners
    status = {t.options.get("shake", 0): [trial.status for trial in t.trials] for t in shaky.tried}
    assert status == {0: ["ok", "ok"], 1: ["diverged"], 2: ["failed"], 3: ["ok", "ok"]}
    messages = {t.options["shake"]: t.trials[0].message for t in shaky.tried if t.scores is None}
    assert messages[1] == "it shook" and "ValueError: on purpose" in messages[2]
    assert {shaky.tried[i].options.get("shake", 0) for i in shaky.chosen.values()} <= {0, 3}
    assert hopeless.chosen == {} and hopeless.measure is None
    here.clear()
    tuned(text, "--plugin", "bad.py", code=3)
    assert {spec.aligner_options["shake"] for spec in here} == {2}  # what diverged would diverge again
    outcome = typed(
        "run",
        "--plugin",
        "bad.py",
        "--task",
        "bandit_two_group",
        "--aligner",
        "hopeless",
        "--tuned",
        "tune.tuned.json",
    )
    assert outcome.code == 2 and "no configuration of aligner 'hopeless' ended well" in outcome.error


# ---------------------------------------------------------------------------------------- adding to it


def test_an_aligner_is_added_to_a_result_by_its_own_runs_alone(here):
    Path("bad.py").write_text(BAD)
    text = WORLD + 'aligner = "dpo"\nconfigurations = 3\nseed = [7, 8]\n' + SMALL
    before = tuned(text)
    here.clear()
    after = tuned(text, "--aligner", "shaky", "--plugin", "bad.py")
    assert {spec.aligner for spec in here} == {"shaky"}
    assert [each.name for each in after.aligners] == ["dpo", "shaky"] and after.of("dpo") == before.of("dpo")
    assert after.header() == before.header()


def test_a_result_that_was_made_with_other_settings_is_not_added_to(here):
    tuned(WORLD + 'aligner = "dpo"\nconfigurations = 2\nseed = 7\n' + SMALL)
    before = Path("tune.tuned.json").read_bytes()
    outcome = typed(
        "tune", written(WORLD + 'aligner = "ipo"\nconfigurations = 3\nseed = 7\n' + SMALL, "tune.toml")
    )
    assert outcome.code == 2
    assert outcome.error == (
        "'tune.tuned.json' was made with configurations 2, not 3: name another --out, or remove it."
    )
    more = SMALL.replace("= 20", "= 30")
    written(WORLD + 'aligner = "ipo"\nconfigurations = 2\nseed = 7\n' + more, "tune.toml")
    assert "made with another task_options" in typed("tune", "tune.toml", "--quiet").error
    assert Path("tune.tuned.json").read_bytes() == before
    Path("tune.tuned.json").write_text('{"schema_version": 2}')
    assert "'tune.tuned.json' is no file of `prefbench tune`" in typed("tune", "tune.toml").error


# ------------------------------------------------------------------------------------------- the page


def test_the_example_of_the_page_says_what_the_page_says(here):
    page = PAGES["docs/tuning.md"]
    (text,) = (body for body in fenced("docs/tuning.md", "toml") if body.startswith("# tune.toml"))
    (shown,) = re.findall(r"<!-- output: tune -->\n```text\n(.*?)^```$", page, re.M | re.S)
    outcome = typed("tune", written(text, "tune.toml"))
    assert outcome.code == 0, outcome.err
    assert [line.rstrip() for line in outcome.out.splitlines()] == shown.splitlines()
    with_keys = page.partition("| key | value |")[2].partition("\n\n")[0]
    for key in TuneFile.model_fields.keys() - {"set", "resources"}:
        assert f"`{key}`" in with_keys


# ----------------------------------------------------------------------------------------- the poison


POISONED = '''
"""The built-in reviews, whose test prompts may be poison."""
import os
from dataclasses import dataclass, replace
import prefbench as pb
from prefbench_tasks.imdb_two_group import imdb_two_group


@dataclass(frozen=True)
class Wary(pb.Utility):
    """A utility that will not be asked about poison."""

    inner: pb.Utility

    @property
    def unit(self):
        return self.inner.unit

    @property
    def name(self):
        return self.inner.name

    def __call__(self, prompts, responses):
        if any("poison" in prompt for prompt in prompts):
            raise RuntimeError("a test prompt was looked at")
        return self.inner(prompts, responses)


@pb.task("poisoned")
def poisoned(
    data: str, minority_ratio: float, seed: int, *, annotators: int = 8, pairs_per_annotator: int = 6,
    synthetic_size: int = 600, test_prompts: int = 20, response_tokens: int = 8,
) -> pb.Problem:
    """Reviews."""
    problem = imdb_two_group(
        data, minority_ratio, seed, annotators=annotators, pairs_per_annotator=pairs_per_annotator,
        synthetic_size=synthetic_size, test_prompts=test_prompts, response_tokens=response_tokens,
    )
    groups = tuple(replace(group, utility=Wary(group.utility)) for group in problem.groups)
    test = problem.prompts.test
    if "POISON" in os.environ:
        test = tuple(f"poison {number}" for number in range(7))
    return replace(problem, groups=groups, prompts=replace(problem.prompts, test=test))
'''


def test_poisoned_test_prompts_change_no_byte(here, monkeypatch):
    Path("poisoned.py").write_text(POISONED)
    quick = [f"aligner.{k}={v}" for k, v in TINY_ALIGNER.items() if k != "epochs"]
    model = [item for item in TINY_SETS if item.startswith("model.")]
    text = (
        'task = "poisoned"\naligner = ["dpo", "maxmin", "low_rank"]\nconfigurations = 2\nseed = [7, 8]\n'
        "minority_ratio = 0.25\n"
        + tables("model", items=model)
        + tables("aligner", items=quick).replace("[set.aligner]", "[set.aligner.maxmin]")
        + "[set.aligner.dpo]\nepochs = 1\n"
    )
    found = tuned(text, "--plugin", "poisoned.py")
    assert {each.measure for each in found.aligners} == {"share won"}
    assert all(each.tokens.total > 0 for each in found.aligners)
    clean = Path("tune.tuned.json").read_bytes()
    Path("tune.tuned.json").unlink()
    monkeypatch.setenv("POISON", "1")
    with pytest.raises(Exception, match="a test prompt was looked at"):  # by a run on test prompts it is
        problem = problem_of(make_spec(task="poisoned", aligner="dpo"))
        problem.groups[0].utility(list(problem.prompts.test), [""] * len(problem.prompts.test))
    tuned(text, "--plugin", "poisoned.py", "--runs-dir", "again")
    assert Path("tune.tuned.json").read_bytes() == clean


def test_poisoned_states_of_worlds_change_no_byte(here):
    text = WORLD + 'aligner = ["dpo", "maxmin"]\nconfigurations = 3\nseed = [7, 8]\n' + SMALL
    test = {f"poison {number}": 0 for number in range(9)}
    assert chooses_alike(text, "bandit_two_group", lambda problem: with_test(problem, test))

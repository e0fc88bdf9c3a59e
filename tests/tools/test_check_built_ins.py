"""`prefbench check` on what is built in: it passes, but for options of which nothing can come."""

import random
import re

import numpy as np
import pytest
import torch

from prefbench import registry
from prefbench.tools.check.check import check
from prefbench.tools.check.findings import Finding
from prefbench.tools.check.tiny import TASKS
from prefbench.tools.check.trial import Trial
from support.findings import bad

pytestmark = pytest.mark.usefixtures("restored")

registry.load_plugins()  # the parameters below are collected before any fixture runs
WORLDS = [e.name for e in registry.entries("task") if e.backbone == "finite" and e.own_data]
LISTED = [entry.name for entry in registry.entries("aligner") if "finite" in entry.backbones]
SOME = ["dpo", "maxmin", "constant", "gold_maxmin"]


REWARDS = {
    "reward_batch",
    "reward_checkpoint",
    "reward_epochs",
    "reward_group_epochs",
    "reward_learning_rate",
    "reward_weight_decay",
}
CHANGE_NOTHING = {
    "best_constant": {"candidates", "prompts", "rounds"},
    "best_of_n": {"reward_group_epochs"},
    "dpl": {"reward_group_epochs"},
    "em_dpo": {"em_assignment", "em_unit", "regret_prompts", "reward_group_epochs", "select_clusters"},
    "group_dro_reward": {"reward_group_epochs"},
    "length_calibrated": {"reward_group_epochs"},
    "mean_variance_kl": {"reward_group_epochs"},
    "occupancy_maxmin": {*REWARDS, "em_iterations", "leximin"},
    "ordinal": {"levels", "reward_group_epochs"},
    "ordinal_dpo": {"levels"},
    "pairwise_calibrated": {"reward_group_epochs"},
    "popl": {"reward_group_epochs"},
    "population_proportional": {"reward_group_epochs"},
    "preference_matching": REWARDS,
    "single_reward": {"reward_group_epochs"},
    "single_reward_balanced": {"reward_group_epochs"},
}
"""Options that built-in aligners inherit and that nothing comes of on the tiny tasks: no more than these."""


def silent_of(name: str) -> set[str]:
    """The options of an aligner that are known to change nothing; who trains no group's reward has two."""
    known = CHANGE_NOTHING.get(name, set())
    return {*known, "reward_group_rate"} if "reward_group_epochs" in known else known


def beyond(name: str, findings: list[Finding]) -> list[str]:
    """What is wrong with a built-in aligner but for the options that are known to change nothing."""
    words = "every option makes a difference"
    known = [f for f in findings if f.words.startswith("options declare") and name == "preference_matching"]
    known += [
        f
        for f in findings
        if f.words == words and set(re.split(" makes? none", f.detail)[0].split(", ")) <= silent_of(name)
    ]
    return bad([f for f in findings if f not in known])


@pytest.fixture
def known_silent(monkeypatch):
    """No long search for the options of which it is known that nothing comes: they may be silent."""
    search = Trial.heeds_with_another
    monkeypatch.setattr(
        Trial,
        "heeds_with_another",
        lambda trial, name: name not in silent_of(trial.entry.name) and search(trial, name),
    )


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_passes(name):
    findings = check(registry.get("task", name))
    assert bad(findings) == [] and len(findings) >= 20


def test_a_world_passes_however_people_label():
    labelling = {"labels_per_pair": 3, "tie_band": 0.3, "reliability": 0.8}
    assert bad(check(registry.get("task", "bandit_two_group"), sets={"task": labelling})) == []


@pytest.mark.usefixtures("known_silent")
@pytest.mark.parametrize("name", LISTED)
def test_every_aligner_passes_on_a_world(name):
    task = "gridworld_two_group" if name == "occupancy_maxmin" else TASKS["finite"]
    findings = check(registry.get("aligner", name), task=task)
    assert beyond(name, findings) == [] and len(findings) >= 8


@pytest.mark.parametrize("name", SOME)
def test_some_aligners_pass_on_every_backbone(name):
    assert bad(check(registry.get("aligner", name))) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["task", "aligner"])
def test_everything_passes(kind):
    found = {entry.name: beyond(entry.name, check(entry)) for entry in registry.entries(kind)}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_a_small_text_task_passes():
    sets = {"task": {"synthetic_size": 1500, "test_prompts": 50, "annotators": 10, "pairs_per_annotator": 10}}
    assert bad(check(registry.get("task", "imdb_two_group"), sets=sets)) == []


def numpy_state() -> list[int]:
    return np.random.get_state()[1].tolist()  # noqa: NPY002  (the global state is the subject)


def test_checking_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = dict(registry._entries)
    before = random.getstate(), numpy_state(), torch.get_rng_state()
    check(registry.get("aligner", "dpo"))
    assert registry._entries == known and list(tmp_path.iterdir()) == []
    assert random.getstate() == before[0] and numpy_state() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])

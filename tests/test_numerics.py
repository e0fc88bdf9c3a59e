"""Whoever moves a result raises `prefbench.numerics.NUMERICS`: all that computes against stored figures.

`python tests/test_numerics.py --write` stores them anew in a minute: after a change that is meant, with
NUMERICS raised, or to store what is new. Figures that moved under the same NUMERICS are not overwritten.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from prefbench import registry
from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.language import ppo, reward, sampling, training
from prefbench.evaluate import regret
from prefbench.learn import pairwise
from prefbench.learn import rewards as bradley_terry
from prefbench.learn.welfare import Welfare
from prefbench.numerics import NUMERICS
from prefbench.problem import labels as preferences
from prefbench.problem.utilities import content, sentiment
from prefbench.record import summary
from support import figures

PATH = Path(__file__).parent / "data" / "numerics.json"
COMMAND = "python tests/test_numerics.py --write"
NEAR_ZERO = 1e-3
"""Below it a tolerance is absolute, that share of it: what cancels to nothing is rounding."""


def moved(name: str, old: Any, new: Any, tolerance: float) -> list[str]:
    """What differs between a stored figure and the one that was computed, a line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        shared = [key for key in old if key in new]
        return [line for key in shared for line in moved(f"{name}/{key}", old[key], new[key], tolerance)]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for i, (one, other) in pairs for line in moved(f"{name}[{i}]", one, other, tolerance)]
    if _number(old) and _number(new):
        same = math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance * NEAR_ZERO)
    else:
        same = old == new
    return [] if same else [f"{name} was {old!r} and is {new!r}: raise numerics, or mend"]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def names(value: Any, before: str) -> set[str]:
    """Of a section's figures; an option's default is one."""
    if not isinstance(value, dict):
        return {before}
    return {name for key, each in value.items() for name in names(each, f"{before}/{key}")}


def moved_in(section: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs of a section's figures that stand on both sides, a line each."""
    return [
        line
        for key in old
        if key in new
        for line in moved(f"{section}/{key}", old[key], new[key], figures.tolerance_of(section, key))
    ]


def compared(section: str, stored: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What differs in a section, and what stands on one side only."""
    lines = moved_in(section, stored, found)
    old, new = names(stored, section), names(found, section)
    lines += [f"{name} has no stored figure: {COMMAND}" for name in sorted(new - old)]
    return lines + [f"{name} is stored and no longer there: {COMMAND}" for name in sorted(old - new)]


def read(path: Path) -> dict[str, Any]:
    """The stored figures, of every section."""
    content: dict[str, Any] = json.loads(path.read_text())
    if content["numerics"] != NUMERICS:
        pytest.fail(
            f"numerics is {NUMERICS}, the figures are of {content['numerics']}: {COMMAND}", pytrace=False
        )
    return dict(content["figures"])


def write(path: Path, new: dict[str, Any]) -> None:
    """Store figures, unless some moved and numerics did not."""
    if path.exists():
        content = json.loads(path.read_text())
        old = content["figures"]
        lines = [
            line
            for section in sorted(old.keys() & new.keys())
            for line in moved_in(section, old[section], new[section])
        ]
        if lines and content["numerics"] >= NUMERICS:
            sys.exit(
                "\n".join(
                    [*lines, f"{path} was left as it is; delete it if nobody has results of {NUMERICS}."]
                )
            )
    sections = ",\n".join(f"{json.dumps(name)}: {_lines(new[name])}" for name in sorted(new))
    path.write_text(f'{{"numerics": {NUMERICS}, "figures": {{\n{sections}\n}}}}\n')


def _lines(section: dict[str, Any]) -> str:
    """A line for each figure, so that a change can be read."""
    return "{\n" + ",\n".join(f" {json.dumps(key)}: {json.dumps(section[key])}" for key in section) + "}"


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return read(PATH)


@pytest.mark.parametrize("section", figures.SECTIONS)
def test_no_result_has_moved(section, stored):
    lines = compared(section, stored.get(section, {}), figures.compute(section))
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_nothing_stored_is_left_over(stored):
    assert sorted(stored) == sorted(figures.SECTIONS), f"what has no section any more goes with {COMMAND}"


def test_everything_registered_has_figures(stored):
    """Nobody is listed by name, so that nobody is forgotten."""
    for kind in ("task", "aligner", "model"):
        for entry in figures.entries(kind):
            assert f"{kind} {entry.name}" in stored["options"]
    for entry in figures.entries("aligner"):
        if "causal_lm" in entry.backbones:
            assert stored.get(f"aligner/{entry.name}/default")
        if "finite" in entry.backbones:
            assert any(name.startswith(f"{entry.name}/") for name in stored["world/gridworld_two_group"])
    for entry in figures.entries("task"):
        assert not entry.own_data or f"data/{entry.name}" in figures.SECTIONS


@pytest.mark.parametrize("section", ["learner/robust", "sampler"])
def test_another_number_of_threads_moves_nothing(section, stored):
    torch.set_num_threads(2)
    assert compared(section, stored[section], figures.compute(section)) == []


def negative(function):
    """The same with the other sign."""

    def other(*args, **kwargs):
        return -function(*args, **kwargs)

    return other


def other_advantages(function):
    def gae(*args):
        advantages, returns = function(*args)
        return -advantages, returns

    return gae


def other_charge(function):
    return lambda score, kl, mask, coefficient: function(score, kl, mask, -coefficient)


def other_preference(function):
    return lambda difference, temperature: function(-difference, temperature)


def faster(function):
    """One per cent."""

    def begin(self, modules, learning_rate, *args, **kwargs):
        function(self, modules, 1.01 * learning_rate, *args, **kwargs)

    return begin


def mirrored(function):
    return lambda logits, uniform: function(logits, 1 - uniform)


MUTATIONS = {
    "dpo": ("learner/dpo", pairwise.DPO, "__call__", negative),
    "dpo in worlds": (
        "world model/policy=tabular",
        pairwise.DPO,
        "slopes",
        lambda f: lambda self, d: f(self, -d),
    ),
    "ipo": ("learner/ipo", pairwise.IPO, "__call__", lambda f: lambda self, d: f(self, -d)),
    "reward loss": (
        "learner/reward",
        reward,
        "loss",
        lambda f: lambda margin, *rest: f(-margin, *rest),
    ),
    "advantage": ("learner/ppo mean", ppo, "gae", other_advantages),
    "surrogate": ("learner/ppo mean", ppo, "policy_loss", negative),
    "value loss": ("learner/ppo mean", ppo, "value_loss", negative),
    "kl charge": ("learner/ppo mean", ppo, "kl_penalised", other_charge),
    "welfare": ("learner/ppo population_min", Welfare, "__call__", negative),
    "nash": ("learner/ppo nash", Welfare, "group_weights", lambda f: lambda self, v, past: f(self, -v, past)),
    "utility": ("utilities", sentiment.VaderSum, "_score", negative),
    "a task's utility": ("data/imdb_two_group", content.Conciseness, "__call__", negative),
    "labels": ("data/hh_two_group", preferences, "preference_probability", other_preference),
    "sampler": ("sampler", sampling, "draw", mirrored),
    "regret": ("world model/reward=tabular", regret, "group_optima", negative),
    "linear rewards": ("learner/linear", bradley_terry, "log_likelihood", negative),
    "a world's pairs": ("world model/policy=tabular", Finite, "places", lambda f: lambda *a: f(*a)[::-1]),
    "wins": ("evaluator", summary, "item_outcomes", lambda f: lambda *args: 1 - f(*args)),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_flipped_sign_is_found(mutation, stored, monkeypatch):
    section, owner, name, flip = MUTATIONS[mutation]
    figures.talk()  # kept for all sections, so made before anything is changed
    monkeypatch.setattr(owner, name, flip(getattr(owner, name)))
    lines = compared(section, stored[section], figures.compute(section))
    assert any("raise numerics, or mend" in line for line in lines)


LEARNERS = ["reference", "reward", "dpo", "robust", "ppo mean", "llama lora"]


@pytest.mark.parametrize("learner", LEARNERS)
def test_one_per_cent_of_a_learning_rate_is_found(learner, stored, monkeypatch):
    section = f"learner/{learner}"
    monkeypatch.setattr(training.State, "__init__", faster(training.State.__init__))
    lines = compared(section, stored[section], figures.compute(section))
    assert any("raise numerics, or mend" in line for line in lines)


def test_one_per_cent_of_a_default_is_found(stored, monkeypatch):
    field = registry.get("model", "nano").options.model_fields["policy_learning_rate"]
    monkeypatch.setattr(field, "default", 1.01 * field.default)
    lines = compared("options", stored["options"], figures.compute("options"))
    assert len(lines) == 1
    assert lines[0].startswith("options/model nano/policy_learning_rate was 0.001 and is 0.00101: raise")


def test_a_difference_names_both_values():
    old = {"a": [1.0, 0.5], "b": "text", "c": 0.0, "d": 3, "gone": 1}
    same = {"a": [1.0 + 1e-12, 0.5], "b": "text", "c": 1e-14, "d": 3, "gone": 1}
    assert compared("evaluator", old, same) == []
    new = {"a": [1.0, 0.51], "b": "texts", "c": 1e-6, "d": True, "fresh": 1}
    assert compared("evaluator", old, new) == [
        "evaluator/a[1] was 0.5 and is 0.51: raise numerics, or mend",
        "evaluator/b was 'text' and is 'texts': raise numerics, or mend",
        "evaluator/c was 0.0 and is 1e-06: raise numerics, or mend",
        "evaluator/d was 3 and is True: raise numerics, or mend",
        f"evaluator/fresh has no stored figure: {COMMAND}",
        f"evaluator/gone is stored and no longer there: {COMMAND}",
    ]
    assert compared("evaluator", {"a": [1]}, {"a": [1, 2]}) == [
        "evaluator/a was [1] and is [1, 2]: raise numerics, or mend"
    ]


def test_what_a_loss_leaves_free_may_differ_by_less_than_one_per_cent():
    old, near, far = ({"default/kl": value} for value in (1.0, 1.001, 1.01))
    assert compared("world aligner/pal", old, near) == []
    assert len(compared("world aligner/pal", old, far)) == 1
    assert len(compared("world aligner/vpl", old, near)) == 1


def test_figures_of_other_numerics_are_to_be_made_anew(tmp_path):
    path = tmp_path / "numerics.json"
    path.write_text(json.dumps({"numerics": NUMERICS + 1, "figures": {}}))
    with pytest.raises(pytest.fail.Exception, match=f"{NUMERICS}, the figures are of {NUMERICS + 1}: python"):
        read(path)


@pytest.mark.parametrize("raised", [False, True])
def test_what_moved_is_written_only_with_numerics_raised(raised, tmp_path):
    path, old, new = tmp_path / "numerics.json", {"options": {"a": 1.0}}, {"options": {"a": 2.0, "b": 1}}
    path.write_text(json.dumps({"numerics": NUMERICS - raised, "figures": old}))
    if raised:
        write(path, new)
        assert json.loads(path.read_text()) == {"numerics": NUMERICS, "figures": new}
    else:
        with pytest.raises(SystemExit, match=r"options/a was 1\.0 and is 2\.0"):
            write(path, new)
        write(path, {"options": {"a": 1.0, "b": 1}})  # what is new or gone moved nothing
        assert json.loads(path.read_text())["figures"] == {"options": {"a": 1.0, "b": 1}}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: {COMMAND}")
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(1)
    write(PATH, {section: figures.compute(section) for section in figures.SECTIONS})
    print(f"{PATH} holds the figures of numerics {NUMERICS}.")

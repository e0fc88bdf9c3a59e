"""Search distributions: what they draw, how classes inherit them, and that every learner declares a space."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from scipy.stats import kstest, loguniform

from prefbench import registry
from prefbench.backbone.options import NanoOptions
from prefbench.errors import UserError
from prefbench.registry import Options, search_space
from prefbench.search import Choice, LogUniform, decades
from prefbench.spec import resolve
from support.commands import typed

registry.load_plugins()  # the parameters below are collected before any fixture runs
LEARNERS = [entry for entry in registry.entries("aligner") if entry.role is None]
FIXED = {"preference_matching"}
"""Learners of worlds alone whose fits are exact and whose KL weight is one by definition: nothing to set."""


def test_draws_are_log_uniform_and_never_beyond_the_bounds():
    rng = np.random.default_rng(0)
    drawn = [LogUniform(0.03, 3.0).draw(rng) for _ in range(2000)]
    assert min(drawn) >= 0.03 and max(drawn) <= 3.0
    assert kstest(drawn, loguniform(0.03, 3.0).cdf).pvalue > 0.01
    assert all(float(f"{value:.3g}") == value for value in drawn)


def test_a_choice_takes_every_value_alike():
    rng = np.random.default_rng(0)
    drawn = [Choice(("a", "b", "c")).draw(rng) for _ in range(3000)]
    assert {value: pytest.approx(1000, abs=100) for value in "abc"} == {v: drawn.count(v) for v in "abc"}


@given(st.floats(1e-4, 1e3), st.floats(1.1, 1e4))
def test_decades_are_those_between_the_ends(low, factor):
    assert decades(LogUniform(low, low * factor)) == pytest.approx(np.log10(factor))
    assert decades(Choice((low, low * factor))) == pytest.approx(np.log10(factor))


def test_no_decades_between_words_or_from_nothing():
    assert (
        decades(Choice(("hard", "soft")))
        == decades(Choice((0.0, 0.1)))
        == decades(Choice((False, True)))
        == 0
    )


def test_a_rate_multiplies_the_models_own():
    rate = LogUniform(0.3, 3.0, times="policy_learning_rate")
    assert rate.given(2.0, {"policy_learning_rate": 1.4e-5}) == 2.8e-5
    with pytest.raises(UserError, match="no option 'policy_learning_rate'"):
        rate.given(2.0, {})


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)])
def test_bounds_that_draw_nothing_are_refused(bounds):
    with pytest.raises(UserError, match="positive and in order"):
        LogUniform(*bounds)


def test_a_choice_of_one_is_refused():
    with pytest.raises(UserError, match="none: give it two values"):
        Choice((1, 1))


class Base(Options):
    """Two options, one of which is searched everywhere."""

    search = {"one": Choice((1, 2)), "two": LogUniform(0.1, 1.0, frozenset({"causal_lm"}))}

    one: int = Field(1, ge=0)
    two: float = Field(0.5, gt=0)


class Heir(Base):
    """One more, one searched otherwise, one no more."""

    search = {"three": Choice((3, 4)), "one": Choice((5, 6)), "two": None}

    three: int = 3


def test_a_class_adds_to_what_it_inherits_overrides_it_and_takes_out():
    assert search_space(Base, "causal_lm") == Base.search
    assert list(search_space(Base, "finite")) == ["one"]
    assert search_space(Heir, "causal_lm") == {"one": Choice((5, 6)), "three": Choice((3, 4))}


def test_a_name_that_is_no_option_is_refused_where_the_class_is_made():
    with pytest.raises(
        UserError, match=r"Wrong searches 'tow', which is no option of it. Did you mean 'two'\?"
    ):
        type("Wrong", (Base,), {"search": {"tow": Choice((1, 2))}, "__module__": __name__})
    with pytest.raises(UserError, match="searches 'thrice'"):
        type("Wrong", (Base,), {"strength": "thrice", "__module__": __name__})


# ------------------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize("entry", LEARNERS, ids=lambda entry: entry.name)
def test_every_learner_declares_a_space_within_the_bounds_of_its_options(entry):
    model = NanoOptions().model_dump()
    default = resolve(entry.options, {}, "aligner", entry.name)  # a default configuration is a valid one
    named = {}
    for backbone in entry.backbones:
        space = search_space(entry.options, backbone)
        named |= space
        for name, drawn in space.items():
            for end in drawn.ends:
                value = drawn.given(end, model)
                assert resolve(entry.options, {name: value}, "aligner", entry.name) == {
                    **default,
                    name: value,
                }
    if entry.name in FIXED:
        assert entry.backbones == {"finite"} and not named
        return
    assert len(named) >= 3 or named.keys() == entry.options.model_fields.keys()
    assert max(map(decades, named.values())) >= 1 - 1e-9


@pytest.mark.parametrize("entry", LEARNERS, ids=lambda entry: entry.name)
def test_the_strength_of_a_learner_is_searched_on_every_backbone(entry):
    strength = entry.options.strength
    if strength is None:
        untethered = {"best_of_n", "group_instruction", "occupancy_maxmin", "preference_matching"}
        untethered |= {"population_proportional"}
        assert entry.name in untethered
        return
    # The best of several samples has no KL weight: there a personal policy's strength plays no part.
    for backbone in entry.backbones - ({"causal_lm"} if entry.sees else set()):
        assert decades(search_space(entry.options, backbone)[strength]) >= 1


def test_a_ladder_names_an_option_and_its_values_are_valid_ones():
    laddered = [entry for entry in registry.entries("aligner") if entry.options.ladder is not None]
    assert {entry.name for entry in laddered} == {"best_of_n", "gold_best_of_n"}
    for entry in laddered:
        option, values = entry.options.ladder
        assert entry.options.strength is None and registry.axis_of(entry.options) == option
        bounds = [entry.options(**{option: value}).most_kl() for value in values]
        assert bounds == sorted(bounds) and bounds[0] == 0
    with pytest.raises(UserError, match="'thrice', which is no option"):
        type("Wrong", (Options,), {"ladder": ("thrice", (1, 2)), "__module__": __name__})
    assert Options().most_kl() is None and registry.axis_of(Options) is None


def test_nothing_that_only_gradient_steps_take_is_searched_on_worlds():
    for entry in LEARNERS:
        trained = {
            "epochs",
            "iterations",
            "learning_rate",
            "reward_epochs",
            "reward_group_epochs",
            "group_step",
        }
        assert not trained & search_space(entry.options, "finite").keys(), entry.name


def test_show_tells_the_space():
    shown = typed("show", "aligner", "gr_dpo").out
    lines = [line.split() for line in shown[shown.index("searched (prefbench tune)") :].splitlines()]
    assert ["aligner.beta", *"log-uniform from 0.03 to 3 causal_lm, finite".split()] in lines
    assert ["aligner.group_step", *"log-uniform from 0.01 to 1 causal_lm".split()] in lines
    assert "searched" not in typed("show", "reference").out

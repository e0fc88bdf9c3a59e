"""Tuning of personal policies: they are chosen by what they say to people of whom something is known."""

from pathlib import Path

import pytest

from support.sweeps import QUICK, WORLD, tables
from support.tuning import chooses_alike, tuned, with_test

pytestmark = pytest.mark.usefixtures("restored")

LISTENER = '''
"""A policy for the likelier of two known groups, if it listens; its default is then the reference."""
import numpy as np
import prefbench as pb
from prefbench.learn.options import GroupPersonalOptions
from prefbench.learn.rewards import fit_known_groups, log_likelihood
from prefbench.learn.routing import policies_of
from prefbench.learn.weighted import margins
from prefbench.search import Choice


class ListenerOptions(GroupPersonalOptions):
    """Whether it listens."""

    search = {"listens": Choice((False, True))}

    listens: bool = False
    """Whether what is known of a person matters."""


@pb.aligner("listener", needs={"group"}, sees={"pairs"})
def listener(view, backbone, options: ListenerOptions) -> pb.Personal:
    """A policy for everybody, or for the likelier group."""
    rewards = fit_known_groups(view, backbone, options)
    policy_of = policies_of(view, backbone, rewards, options)
    everybody = policy_of(np.array([0.5, 0.5]))

    def adapt(context):
        if not options.listens:
            return everybody
        if context.pairs is None:
            return backbone.reference
        likelier = log_likelihood(margins(rewards.raw(), context.pairs)).sum(axis=0).argmax()
        return policy_of(np.eye(2)[likelier])

    return pb.Personal(adapt(pb.Context()), adapt)
'''
ROOM = """
task = "gridworld_two_group"
minority_ratio = 0.25
aligner = "listener"
configurations = 2
seed = [7]

[set.task]
annotators = 8
test_prompts = 20
context_pairs = 12

[set.aligner.listener]
kl_coefficient = 0.1
prior = "shares"
"""
RULES = ("S0", "S1", "S2", "S3")


def test_where_there_is_room_the_policy_that_adapts_is_chosen(here):
    """By its default alone the deaf one would be: the other says there what the reference says."""
    Path("listener.py").write_text(LISTENER)
    found = tuned(ROOM, "--plugin", "listener.py").of("listener")
    assert (found.rule, found.measure) == ("S2", "value")
    deaf, listening = found.tried
    assert (deaf.options, listening.options) == ({}, {"listens": True})
    assert listening.kl == pytest.approx(0.0, abs=1e-9) and deaf.kl > 0.1  # of the defaults
    assert set(found.chosen.values()) == {1}
    for rule in RULES:
        assert listening.scores[rule] > deaf.scores[rule] + 0.5
    assert listening.scores["S3"] > 0 > deaf.scores["S3"]  # more than any single policy could give


def test_poisoned_states_change_no_byte_of_a_personal_choice(here):
    """Test prompts are others, and what is wanted in states that only they are about is another thing."""

    def poison(problem):
        prompts, world = problem.prompts, problem.world
        looked_at = set(world.rows([*prompts.train, *prompts.validation]).tolist())
        rest = [state for state in range(len(world.responses)) if state not in looked_at]
        utilities = world.utilities.copy()
        utilities[rest] = -1000 * utilities[rest]
        return with_test(problem, {f"poison {state}": state for state in rest}, utilities)

    text = WORLD + 'aligner = "em_personal"\nconfigurations = 2\nseed = [7]\n' + tables("task", items=QUICK)
    assert chooses_alike(text, "bandit_two_group", poison)

"""Samples that policies select from: drawn once for all that select from as many, and the same as before."""

from unittest.mock import patch

import pytest

from prefbench import seeds
from prefbench.learn.selection import BestOfPolicy, LearnedCriterion
from prefbench.learn.simple_policies import ExtremeLengthPolicy, MixturePolicy
from prefbench.running.candidates import with_stored_candidates
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.store.stages import Store
from support.worlds import known_rewards, make_world


@pytest.fixture
def backbone(tmp_path):
    from prefbench.backbone.finite.backbone import Finite
    from prefbench.backbone.options import FiniteOptions
    from prefbench.store.stages import Work

    world, prompts = make_world()
    made = Finite(world, FiniteOptions(), Store(tmp_path), Work("policy", tmp_path), 0.5)
    made.prompts = prompts[:12]
    return made


def stored(runs):
    return sorted(path.name for path in (runs / "stages" / "candidates").iterdir() if path.is_dir())


def test_a_selection_says_what_it_said_before(backbone, tmp_path):
    best = BestOfPolicy(backbone.reference, LearnedCriterion(known_rewards(backbone).models[0]), 4)
    longest = ExtremeLengthPolicy(backbone.reference, "longest", 4)
    draw = seeds.child(3, "samples", "policy")
    for policy in (best, longest):
        kept = with_stored_candidates(policy, backbone, 8, Store(tmp_path / "runs"))
        for _ in range(2):  # drawn, and read
            assert kept.sample(backbone.prompts, 2, draw) == policy.sample(backbone.prompts, 2, draw)
    (first,) = stored(tmp_path / "runs")
    kept.sample(backbone.prompts, 1, draw)
    kept.sample(backbone.prompts, 2, seeds.child(4, "samples", "policy"))
    kept.sample(backbone.prompts[1:], 2, draw)
    assert len(stored(tmp_path / "runs")) == 4 and first in stored(tmp_path / "runs")


def test_what_selects_from_nothing_of_the_references_is_left_alone(backbone, tmp_path):
    mixture = MixturePolicy((backbone.reference,), (1.0,))
    for policy in (backbone.reference, mixture, ExtremeLengthPolicy(mixture, "longest", 4)):
        assert with_stored_candidates(policy, backbone, 8, Store(tmp_path / "runs")) is policy


def test_both_curves_draw_once_for_each_n(tmp_path, tiny_sets):
    """The best by the learned reward and by the truth select from the same texts."""
    from prefbench.backbone.language.policies import LMPolicy

    asked = []
    sample = LMPolicy.sample

    def counted(self, prompts, n, draw):
        asked.append(n)
        return sample(self, prompts, n, draw)

    sets = parse_sets([*tiny_sets, "aligner.candidates=3"])
    with patch.object(LMPolicy, "sample", counted):
        for aligner in ("gold_best_of_n", "best_of_n"):
            _, record = run(make_spec(task="imdb_two_group", aligner=aligner, sets=sets), tmp_path)
            assert record.stages["candidates"] == stored(tmp_path)[0]
    assert asked.count(3) == 1 and len(stored(tmp_path)) == 1

"""Where the best of several policies is wanted, the pairs that choose are handed on."""

import pytest

from prefbench import registry
from prefbench.backbone.finite.backbone import Finite
from support.people import aligned, people_bench

registry.load_plugins()
CHOOSING = [
    entry.name
    for entry in registry.entries("aligner")
    if "checkpoint" in registry.search_space(entry.options, "causal_lm")
    and {"finite", "causal_lm"} <= entry.backbones
    and not entry.sees
    and entry.role is None
]


@pytest.mark.parametrize("aligner", CHOOSING)
def test_an_aligner_that_may_search_for_the_best_checkpoint_gives_what_chooses_it(
    aligner, monkeypatch, tmp_path
):
    bench = people_bench(tmp_path, "worst_case_two_group", labels_per_pair=3)
    asked = []
    for name in ("optimise", "fit_pairwise"):
        plain = getattr(Finite, name)

        def seen(backbone, *given, plain=plain, **more):
            asked.append(more.get("held_out"))
            return plain(backbone, *given, **more)

        monkeypatch.setattr(Finite, name, seen)
    aligned(bench, aligner, checkpoint="best")
    assert asked and all(held_out is not None and len(held_out) for held_out in asked)

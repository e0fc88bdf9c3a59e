"""Work that aligners declare, held against what is counted while they do it."""

import dataclasses
from unittest.mock import patch

import numpy as np
import pytest
import torch

from prefbench import registry
from prefbench.backbone.language import forward, policies, ppo
from prefbench.backbone.shapes import SHAPES
from prefbench.estimate import estimate, tell
from prefbench.estimate import passes as workload
from prefbench.estimate.hardware import HARDWARE
from prefbench.evaluate.gold import GoldReward
from prefbench.learn.interface import Aligned
from prefbench.problem.problem import Group
from prefbench.problem.utilities.content import Conciseness
from prefbench.work import Recipe
from support.estimated import PROMPTS, problem, sizes, spec


@dataclasses.dataclass
class Counted:
    """Rows that went through a model, by what they were for."""

    sample: int = 0
    score: int = 0
    train: int = 0


def count(backbone, name, options) -> Counted:
    """Rows that an aligner really has sampled, scored and trained on."""
    counted = Counted()
    asked, sample = forward._asked, policies.sample_tokens

    def counting(model, batch, place):
        kind = "train" if torch.is_grad_enabled() else "score"
        setattr(counted, kind, getattr(counted, kind) + len(batch.mask))
        return asked(model, batch, place)

    def sampling(model, codec, prompts, n, *more):
        parts = len(model.parts) if isinstance(model, policies.LogLinear) else 1
        counted.sample += len(prompts) * n * parts
        return sample(model, codec, prompts, n, *more)

    entry = registry.get("aligner", name)
    with (
        patch.object(forward, "_asked", counting),
        patch.object(policies, "sample_tokens", sampling),
        patch.object(ppo, "sample_tokens", sampling),
    ):
        made = entry.function(view(), backbone, entry.options(**options))
    assert made is not None and (not isinstance(made, Aligned) or made.rewards is None or made.rewards.names)
    return counted


def view():
    """Pairs of six annotators, two of whom like what the others do not."""
    import pandas as pd

    from prefbench.problem.view import View

    user = np.arange(24) % 6
    rows = {
        "prompt": PROMPTS,
        "chosen": [" was a joy." if u < 4 else " dull" for u in user],
        "rejected": [" dull" if u < 4 else " was a joy." for u in user],
        "user_id": user,
        "pair": np.arange(24) // 3,
        "group": ["many" if u < 4 else "few" for u in user],
    }
    from datasets import Dataset

    train = Dataset.from_pandas(pd.DataFrame(rows))
    return View(
        preferences={"train": train, "validation": train.select(range(6))},
        prompts=tuple(PROMPTS),
        seed=0,
        shares={"many": 2 / 3, "few": 1 / 3},
        utilities=lambda prompts, responses: np.array([[len(text), -len(text)] for text in responses], float),
        instructions={"many": "a joy:", "few": "dull:"},
    )


SMALL = {
    "iterations": 2,
    "batch": 8,
    "minibatches": 2,
    "epochs": 2,
    "early_stop_kl": None,
    "reward_epochs": 1,
    "reward_group_epochs": 1,
    "reward_batch": 4,
    "em_restarts": 1,
    "em_iterations": 2,
    "mpo_steps": 2,
    "mpo_batch": 6,
    "regret_prompts": 5,
}
BEST = {"checkpoint": "best", "reward_checkpoint": "best"}


@pytest.mark.parametrize(
    ("name", "changes", "exact"),
    [
        ("single_reward", {}, True),
        ("maxmin_known_groups", {}, True),
        ("gold_maxmin", {}, True),
        ("dpo", {}, True),
        ("soups", {}, True),
        ("mpo", {}, True),
        ("maxmin", {}, False),
        ("maxmin", {"em_assignment": "soft"}, False),
        ("maxmin", {"select_clusters": 2}, False),
        ("em_dpo", {}, False),
        ("em_personal", {}, False),
        ("em_personal", {"prior": "worst_off"}, False),
        ("known_groups_personal", {}, True),
        ("known_groups_personal", {"prior": "worst_off"}, True),
        ("gold_personal", {}, True),
        ("user_regression", {}, True),
        ("low_rank", {}, True),
        ("vpl", {}, True),
        ("pebs", {}, True),
        ("shared_rep", {}, True),
        ("dpl", {}, True),
        ("mean_variance_kl", {}, True),
        ("popl", {}, True),
        ("pairwise_calibrated", {}, False),
        ("group_instruction", {}, True),
        ("can", {}, True),
        ("group_dro_reward", {}, True),
        ("length_calibrated", {}, True),
        ("pecan", {}, True),
        ("population_proportional", {}, True),
        ("rmod", {}, False),
        ("rmod_known_groups", {}, True),
        ("pessimistic_median", {}, True),
        ("crowd_pref", {}, True),
        ("p_dpo", {}, True),
        ("p_dpo", {"tokens": 0}, True),
        ("bapo", BEST, True),
        ("bfpo", {}, True),
        ("kto", {}, True),
        ("kto", BEST, True),
        ("ordinal", {}, True),
        ("ordinal_dpo", BEST, True),
        ("sign_estimator", BEST, True),
        ("modpo", {}, False),
        ("modpo", {"group": "few"}, False),
        ("modpo", BEST, False),
        ("single_reward", BEST, True),
        ("maxmin_known_groups", BEST, True),
        ("dpo", BEST, True),
        ("gr_dpo", BEST, True),
        ("soups", BEST, True),
        ("maxmin", BEST, False),
        ("maxmin", BEST | {"em_assignment": "soft"}, False),
        ("em_dpo", BEST, False),
    ],
)
def test_rows_are_those_that_an_aligner_really_takes(tiny_backbone, name, changes, exact):
    """Exactly, or between one round of EM and all of them."""
    entry = registry.get("aligner", name)
    known = entry.options.model_fields
    chosen = {key: value for key, value in (SMALL | changes).items() if key in known}
    counted = count(tiny_backbone("llama", lora={"r": 2, "lora_alpha": 4}), name, chosen)
    labels = 3 if "votes" in entry.needs else 1
    recipe = Recipe(entry.options(**chosen).model_dump(), sizes(validation=6, labels=labels))
    entry.work(recipe)
    held(counted, recipe, exact)


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("single_reward", True),
        ("maxmin_known_groups", True),
        ("maxmin", False),
        ("group_dro_reward", True),
        ("pairwise_calibrated", False),
    ],
)
def test_heads_that_are_fitted_first_are_counted(tiny_backbone, name, exact):
    entry = registry.get("aligner", name)
    chosen = {key: value for key, value in SMALL.items() if key in entry.options.model_fields}
    backbone = tiny_backbone("llama", lora={"r": 2, "lora_alpha": 4}, reward_head="fitted")
    stated = spec(by=name, model={"reward_head": "fitted"}, aligner=chosen)
    recipe = workload.recipe_of(stated, sizes(validation=6))
    entry.work(recipe)
    held(count(backbone, name, chosen), recipe, exact)


def held(counted, recipe, exact):
    """What is counted is what was declared; where that is a range, within it."""
    for kind in ("sample", "score", "train"):
        mine = [work for work in recipe.works if work.kind == kind and work.stage != "evaluation"]
        least, most = sum(work.fewest for work in mine), sum(work.rows for work in mine)
        found = getattr(counted, kind)
        assert (found == least == most) if exact else (least <= found <= most), (kind, least, found, most)


def test_every_built_in_aligner_for_language_models_has_a_recipe():
    built_in = {
        entry.name
        for entry in registry.entries("aligner")
        if entry.function.__module__.startswith("prefbench_baselines") and "causal_lm" in entry.backbones
    }
    declared = {entry.name for entry in registry.entries("aligner") if entry.work is not None}
    assert built_in <= declared
    for name in built_in:
        found = estimate.estimate(spec(by=name), SHAPES["tulu2-7b"], problem())
        assert found.known
        assert 0 < found.least <= found.peak
        assert min(found.hours(HARDWARE["h200"])) > 0


def of_a_stranger(monkeypatch, work):
    """A specification of dpo's options by a stranger's aligner that declares this work."""
    entry = dataclasses.replace(registry.get("aligner", "dpo"), name="strange", work=work)
    monkeypatch.setitem(registry._entries, ("aligner", "strange"), entry)
    return dataclasses.replace(spec(by="dpo"), aligner="strange")


def test_a_strangers_training_is_counted_as_a_built_ins_where_it_declares_the_same(monkeypatch):
    strange = of_a_stranger(monkeypatch, lambda recipe: recipe.pairwise("policy by pairs"))
    found = estimate.estimate(strange, SHAPES["gpt2"], problem())
    assert found.to_dict() == estimate.estimate(spec(by="dpo"), SHAPES["gpt2"], problem()).to_dict()
    assert found.known


def test_of_a_stranger_who_declares_nothing_only_what_the_harness_does_is_counted(monkeypatch):
    strange = of_a_stranger(monkeypatch, None)
    found = estimate.estimate(strange, SHAPES["gpt2"], problem())
    assert [stage.name for stage in found.stages] == ["pairs", "evaluation"]
    assert not found.known
    assert "training of this aligner is not known" in tell.remarks(found)[-1]


def test_gold_rewards_instructions_and_given_pairs_are_counted():
    gold = GoldReward("few", tuple(f"gold {i}" for i in range(30)), ("a",) * 30, ("b",) * 30)
    groups = (Group("many", 0.8, Conciseness(empty=-8.0), instruction="Be brief."), Group("few", 0.2, gold))
    import pandas as pd

    stated = problem(groups=groups)
    people = [("many", 0), ("many", 0), ("many", 1), ("few", 2), ("few", 3)]
    prompt = stated.prompts.train[0]
    labels = [("train", prompt, f"good {i}", "bad", user, group) for i, (group, user) in enumerate(people)]
    columns = ["split", "prompt", "chosen", "rejected", "user_id", "group"]
    given = dataclasses.replace(stated, given=pd.DataFrame(labels, columns=columns))
    size = workload.sizes_of(given, chat=True)
    assert (size.train, size.validation) == (5, 0)
    assert (size.gold, size.instructed, size.sampled) == (((30, True),), 1, False)
    assert size.longest_prompt == workload.TEMPLATE_TOKENS + 5  # "prompt number 10" at 3.5 characters each
    works = workload.works_of(spec(by="reference"), size)
    (trained,) = [work for work in works if work.kind == "train"]
    assert (trained.stage, trained.rows, trained.held) == ("gold rewards", 2 * 30 * 4, 1)
    assert all(work.held == 1 for work in works)  # it stays
    sampled = [work.rows for work in works if work.kind == "sample"]
    assert sampled == [4, 4]  # two test prompts, each also with the instruction, by policy and reference


def test_the_reference_is_trained_on_texts():
    trained = spec("gpt2", "constant", model={"steps": 10, "batch": 4})
    found = estimate.estimate(trained, SHAPES["gpt2"], problem(corpus=("x" * 35, "x" * 105)))
    stage = found.stages[0]
    assert (stage.name, stage.trained) == ("reference", 10 * 4 * (1 + 20))  # 70 characters are 20 tokens
    assert found.moment == "training the reference"
    assert spec("gpt2", "constant").model_options["steps"] == 0

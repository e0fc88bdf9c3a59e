"""What a run is said to need, held against models that are built, trained and counted."""

import dataclasses
import json
import re
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from prefbench import registry, seeds
from prefbench.backbone.language import forward, gpt2, memory, policies, ppo, rows
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.gpt2 import fuse_activations
from prefbench.backbone.shapes import SHAPES, Shape, shape_of_config
from prefbench.errors import UserError
from prefbench.estimate import advice, estimate, hardware, tell, time
from prefbench.estimate import memory as footprint
from prefbench.estimate import passes as workload
from prefbench.estimate import setting as settings
from prefbench.estimate.hardware import HARDWARE, Hardware
from prefbench.estimate.setting import ModelSetting, setting_of, shape_of
from prefbench.evaluate.gold import GoldReward
from prefbench.learn.interface import Aligned, Pairs
from prefbench.learn.options import PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.welfare import mean
from prefbench.machine import MACHINE
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.content import Conciseness
from prefbench.spec import make_spec
from prefbench.store.stages import Store
from prefbench.store.stages import Work as StageWork
from prefbench.work import Passes, Recipe, Sizes
from support.commands import typed
from support.tiny import tiny_tokenizer
from support.tracker import Tracker

RESPONSE, CONTEXT, RANK, VOCABULARY = 12, 128, 4, 300
PROMPTS = [f"the film was a joy from start to finish and my sister sings number {i}" for i in range(10, 34)]
LONG = " the plot was dull and the music was worse and it runs for three hours or so I think"
PAIRS = Pairs(PROMPTS, [LONG] * len(PROMPTS), [LONG + " x"] * len(PROMPTS))


def new_model(architecture, dtype=torch.float32, layers=4, vocabulary=VOCABULARY):
    """A small model; of Llama's kind with fewer heads of keys and values than of queries."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    ends = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": vocabulary}
    with seeds.torch_seeded(0, "estimate"):
        if architecture == "gpt2":
            none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
            config = GPT2Config(n_positions=CONTEXT, n_embd=64, n_layer=layers, n_head=4, **none, **ends)
            return fuse_activations(GPT2LMHeadModel(config).to(dtype))
        config = LlamaConfig(
            max_position_embeddings=CONTEXT,
            hidden_size=64,
            intermediate_size=172,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            **ends,
        )
        return LlamaForCausalLM(config).to(dtype)


def new_backbone(folder, architecture, dtype=torch.float32, lora=True, checkpointing=False, **more):
    return CausalLM(
        new_model(architecture, dtype, **more),
        Codec(tiny_tokenizer(), frozenset({0}), RESPONSE, CONTEXT),
        digest="small",
        store=Store(folder),
        lora={"r": RANK, "lora_alpha": 8} if lora else None,
        policy_learning_rate=1e-3,
        reward_learning_rate=1e-3,
        reward_pooling="last",
        gradient_checkpointing=checkpointing,
        work=StageWork("test", folder),
    )


def shape_of_model(model) -> Shape:
    shape = shape_of_config(model.config.to_dict())
    assert shape is not None
    return shape


def setting_of_backbone(backbone) -> ModelSetting:
    model = backbone.reference.model
    return ModelSetting(
        shape_of_model(model),
        model.dtype.itemsize,
        rank=RANK if backbone.base is not None else None,
        checkpointing=backbone.gradient_checkpointing,
        context=CONTEXT,
    )


def sizes(**changes) -> Sizes:
    given = {
        "train": 24,
        "validation": 4,
        "test": 10,
        "groups": 2,
        "instructed": 0,
        "sampled": True,
        "prompt": 20.0,
        "longest_prompt": 20,
        "text": 30.0,
        "response": RESPONSE,
    }
    return Sizes(**{**given, **changes})


def problem(**changes) -> Problem:
    prompts = Prompts(tuple(f"prompt number {i}" for i in range(20)), ("validate",), ("test one", "test two"))
    groups = (Group("many", 0.8, Conciseness(empty=-8.0)), Group("few", 0.2, Conciseness(empty=-8.0)))
    given = {
        "groups": groups,
        "prompts": prompts,
        "corpus": ("a text of the corpus",),
        "annotators": 4,
        "pairs_per_annotator": 5,
        "temperature": 0.5,
        "response_tokens": 8,
    }
    return Problem(**{**given, **changes})


def spec(preset="tulu2-7b", by="maxmin", **sets):
    return make_spec(task="imdb_two_group", aligner=by, model=preset, sets=sets)


# --- weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_and_adapters_are_counted_exactly(tmp_path, architecture, dtype):
    from peft import LoraConfig, get_peft_model

    backbone = new_backbone(tmp_path, architecture, dtype)
    model, setting = backbone.reference.model, setting_of_backbone(backbone)
    assert setting.base_bytes == sum(weight.nbytes for weight in model.parameters())
    matrices = sum(layer.weight.numel() for layer in backbone.base.layers.values())
    assert setting.matrices == matrices
    ours = list(backbone.trainable_copy(0).parameters())
    assert setting.adapter == sum(weight.numel() for weight in ours)
    assert {weight.element_size() for weight in ours} == {setting.trained_bytes}
    theirs = get_peft_model(new_model(architecture), LoraConfig(target_modules="all-linear", r=RANK))
    assert setting.adapter == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    quantised = dataclasses.replace(setting, quantised=True)
    saved = matrices * (dtype.itemsize - 0.5625)  # half a byte, and four for each block of 64
    assert quantised.base_bytes == setting.base_bytes - saved


# --- what a pass keeps ----------------------------------------------------------------------------------


def saved_bytes(model, reference, inputs) -> int:
    """Bytes that autograd keeps of a forward pass, weights and buffers left out."""
    held = [*model.parameters(), *model.buffers(), *reference.parameters(), *reference.buffers()]
    own = {tensor.untyped_storage().data_ptr() for tensor in held}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = model(**inputs, use_cache=False).logits
    assert kept.requires_grad
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_what_autograd_keeps_follows_the_formula(tmp_path, architecture, dtype, lora, checkpointing):
    backbone = new_backbone(tmp_path, architecture, dtype, lora, checkpointing)
    rows, length = 8, 24
    ids = torch.arange(rows * length).reshape(rows, length) % VOCABULARY
    attention = torch.ones_like(ids)
    attention[0, 20:] = 0  # padding, as most batches have: its mask is kept as well
    inputs = {"input_ids": ids, "attention_mask": attention}
    measured = saved_bytes(backbone.trainable_copy(0), backbone.reference.model, inputs)
    setting = setting_of_backbone(backbone)
    kept, _ = setting.activations(rows * length, length, all_states=False)
    assert kept == pytest.approx(measured, rel=0.05)


def estimated(backbone, **work) -> float:
    """Bytes beyond the reference's weights and what is assumed of the allocator."""
    longest = max(map(len, backbone.codec.prompts(PROMPTS)))
    size = sizes(prompt=float(longest), longest_prompt=longest)
    parts = footprint.memory(Passes("x", rows=1, fewest=1, **work), setting_of_backbone(backbone), size)
    counted = {"weights of the reference", "context and fragments"}
    assert counted <= parts.keys()
    return sum(value for name, value in parts.items() if name not in counted)


def train_reward(backbone):
    backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1, reward_batch=12), seed=0, name="r")


def train_pairwise(backbone):
    backbone.fit_pairwise(PAIRS, DPO(0.1), PairwiseOptions(epochs=1, batch=12), seed=0)


def train_ppo(backbone):
    options = PPOOptions(iterations=2, batch=24, minibatches=1, epochs=1)
    backbone.optimise(
        lambda p, r: np.ones((len(p), 1)), mean(), options, prompts=PROMPTS, seed=0, names=["one"]
    )


PASSES = {
    "reward": (train_reward, {"vocabulary": False}),
    "pairwise": (train_pairwise, {}),
    "ppo": (train_ppo, {"all_states": True}),
}


@pytest.fixture
def as_transformers_does(monkeypatch):
    """What is estimated: the rectangle with its filler."""
    for way in (gpt2, rows):
        monkeypatch.setattr(way, "applies", lambda model: False)


@pytest.mark.usefixtures("as_transformers_does")
@pytest.mark.parametrize(
    ("kind", "architecture", "dtype", "lora", "checkpointing"),
    [
        *product(["ppo"], ["llama"], [torch.bfloat16], [True, False], [True, False]),
        *product(["reward"], ["llama"], [torch.bfloat16, torch.float32], [True], [False]),
        *product(["pairwise"], ["gpt2"], [torch.float32], [True, False], [True, False]),
    ],
)
def test_the_peak_of_training_is_within_a_tenth(tmp_path, kind, architecture, dtype, lora, checkpointing):
    """All of a fit: trained weights, their moments, and the largest pass, by the tensors that were alive."""
    backbone = new_backbone(tmp_path, architecture, dtype, lora, checkpointing)
    train, more = PASSES[kind]
    with Tracker() as tracker:
        train(backbone)
    said = estimated(backbone, kind="train", batch=24, held=1, optimised=True, **more)
    assert said == pytest.approx(tracker.peak, rel=0.1)


@pytest.mark.usefixtures("as_transformers_does")
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peaks_of_scoring_and_sampling_are_near(tmp_path, architecture, dtype):
    backbone = new_backbone(tmp_path, architecture, dtype)
    backbone.codec = dataclasses.replace(backbone.codec, stops=frozenset())  # so that no row ends early
    with Tracker() as tracker:
        backbone.reference.logprob(PROMPTS, PAIRS.chosen)
    assert estimated(backbone, kind="score", batch=24) == pytest.approx(tracker.peak, rel=0.1)
    with Tracker() as tracker:
        backbone.reference.sample(PROMPTS, 2, seeds.child(0, "s"))
    assert estimated(backbone, kind="sample", batch=48, drawn=2) == pytest.approx(tracker.peak, rel=0.15)


@pytest.mark.usefixtures("as_transformers_does")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_a_large_vocabulary_only_the_response_tokens_count(tmp_path, dtype):
    """Logits are most of all here."""
    backbone = new_backbone(tmp_path, "llama", dtype, layers=1, vocabulary=4000)
    backbone.codec = dataclasses.replace(backbone.codec, stops=frozenset())
    with Tracker() as tracker:
        backbone.reference.logprob(PROMPTS, PAIRS.chosen)
    assert estimated(backbone, kind="score", batch=24) == pytest.approx(tracker.peak, rel=0.1)
    with Tracker() as tracker:
        backbone.reference.sample(PROMPTS, 2, seeds.child(0, "s"))
    assert estimated(backbone, kind="sample", batch=48, drawn=2) == pytest.approx(tracker.peak, rel=0.15)
    with Tracker() as tracker:
        train_pairwise(backbone)
    said = estimated(backbone, kind="train", batch=24, held=1, optimised=True)
    assert said == pytest.approx(tracker.peak, rel=0.1)


@pytest.mark.parametrize("kind", PASSES)
def test_without_padding_a_gpt2_needs_no_more(tmp_path, kind):
    """But for a tenth: attention's output is there twice, in the rectangle and without its padding."""
    backbone = new_backbone(tmp_path, "gpt2", torch.float32)
    train, more = PASSES[kind]
    with Tracker() as tracker:
        train(backbone)
    assert tracker.peak <= 1.1 * estimated(backbone, kind="train", batch=24, held=1, optimised=True, **more)


def test_fewer_rows_and_checkpointing_need_less():
    setting = ModelSetting(SHAPES["tulu2-7b"], 2, rank=16)
    work = Passes("x", "train", 1, 1, batch=64, held=1, optimised=True)
    whole = sum(footprint.memory(work, setting, sizes()).values())
    one = sum(footprint.memory(work, setting, sizes(), most=1).values())
    again = sum(footprint.memory(work, dataclasses.replace(setting, checkpointing=True), sizes()).values())
    assert setting.base_bytes < one < again < whole


# --- arithmetic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_flops_are_those_that_torch_counts(tmp_path, architecture, lora, checkpointing):
    backbone = new_backbone(tmp_path, architecture, lora=lora, checkpointing=checkpointing, layers=6)
    backbone.reference.model.set_attn_implementation("eager")  # torch counts no fused attention on a CPU
    model, setting = backbone.trainable_copy(0), setting_of_backbone(backbone)
    rows, length = 3, 40
    ids = torch.arange(rows * length).reshape(rows, length) % VOCABULARY
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(input_ids=ids, use_cache=False)
    assert setting.forward(rows * length, length, rows * length) == forward.get_total_flops()
    with FlopCounterMode(display=False) as both:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    assert setting.training(rows * length, length, rows * length) == pytest.approx(
        both.get_total_flops(), rel=0.03
    )


def test_hours_by_hand():
    device = Hardware(bfloat16=1e12, float32=1e11, bandwidth=1e9, memory=1e9)
    setting = ModelSetting(Shape(2, 8, 2, 2, 16, 100, 64, tied=True, gated=True, biases=False), 4)
    train = Passes("x", "train", rows=100_000, fewest=50_000, batch=10)
    per_token = 2 * (2 * (4 * 64 + 3 * 128) + 4 * 8 * 32)
    flops = 3 * 100_000 * (32 * per_token + 12 * 2 * 100 * 8)
    assert time.flops(train, setting, sizes()) == flops
    # 30 GFLOP at 35 GFLOP/s last less than 10,000 steps whose 3 passes start 2 layers each.
    assert flops / 0.35e11 < 60
    assert time.seconds(train, setting, sizes(), device) == pytest.approx(10_000 * 3 * 2 * 1e-3)
    slow = dataclasses.replace(device, float32=1e9)
    assert time.seconds(train, setting, sizes(), slow) == pytest.approx(flops / 0.35e9)
    # Sampling reads the weights and the caches of half-grown rows for every token, at half the bandwidth.
    sample = Passes("x", "sample", rows=20, fewest=20, batch=10)
    narrow = dataclasses.replace(device, bandwidth=1e6)
    read = 4 * setting.shape.parameters + 10 * (20 + 6) * 2 * 2 * 8 * 4
    assert time.seconds(sample, setting, sizes(), narrow) == pytest.approx(2 * 12 * read / 0.5e6)


# --- what is done, against what is counted while it is done ---------------------------------------------


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
    )


SMALL = {
    "iterations": 2,
    "batch": 8,
    "minibatches": 2,
    "epochs": 2,
    "early_stop_kl": None,
    "reward_epochs": 1,
    "reward_group_epochs": 1,
    "reward_batch": 8,
    "em_restarts": 1,
    "em_iterations": 2,
    "mpo_steps": 2,
    "mpo_batch": 6,
    "regret_prompts": 5,
}


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
    ],
)
def test_rows_are_those_that_an_aligner_really_takes(tiny_backbone, name, changes, exact):
    """Exactly, or between one round of EM and all of them."""
    entry = registry.get("aligner", name)
    chosen = {key: value for key, value in SMALL.items() if key in entry.options.model_fields} | changes
    counted = count(tiny_backbone("llama", lora={"r": 2, "lora_alpha": 4}), name, chosen)
    recipe = Recipe(entry.options(**chosen).model_dump(), sizes(validation=6))
    entry.work(recipe)
    for kind in ("sample", "score", "train"):
        mine = [work for work in recipe.works if work.kind == kind]
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


def test_the_limits_are_those_of_the_training_loops():
    assert workload.ROWS_AT_ONCE == memory.ROWS_AT_ONCE
    assert footprint.TOKENS_AT_ONCE == memory.TOKENS_AT_ONCE


# --- does it fit ----------------------------------------------------------------------------------------


def long_problem() -> Problem:
    return problem(response_tokens=400)


def require(gigabytes, **sets):
    return advice.require(spec(**sets), SHAPES["tulu2-7b"], long_problem(), gigabytes * 1e9, "so much memory")


def test_a_run_that_cannot_fit_is_refused_with_what_would_make_it_fit():
    assert require(80) is None
    with pytest.raises(UserError) as refused:
        require(12)
    assert re.fullmatch(
        r"this run needs about 1\d\.\d GB even with one response at a time, and there are so much memory: "
        r"set model\.quantise=4bit \(\d\.\d GB\)\.",
        str(refused.value),
    )
    with pytest.raises(UserError, match=r"set model\.lora=true \(1\d\.\d GB\)\."):
        require(80, model={"lora": False})
    with pytest.raises(UserError, match=r"set model\.lora=true and model\.quantise=4bit \(\d\.\d GB\)\."):
        require(12, model={"lora": False})
    with pytest.raises(
        UserError, match=r"take a smaller model or a larger device \(model\.quantise=4bit.*still"
    ):
        require(2)


def test_a_run_that_fits_in_parts_is_let_through_with_a_word():
    wide = {"model": {"gradient_checkpointing": False}}
    note = require(70, **wide)
    assert note is not None
    assert "\n" not in note
    assert note.startswith("training a reward (rewards by EM) needs about ")
    assert "it will be done in smaller parts" in note
    assert "set model.gradient_checkpointing=true (" in note
    found = estimate.estimate(spec(**wide), SHAPES["tulu2-7b"], long_problem())
    assert [found.fits(size * 1e9) for size in (1000, 70, 10)] == ["fits", "fits in parts", "does not fit"]


LARGE = {"gradient_checkpointing": False, "lora": False, "dtype": "float32", "steps": 1}


def test_every_advice_is_an_option_that_exists_and_is_estimated_with_it():
    plain = spec(model=LARGE, task={"response_tokens": 400})
    before = estimate.estimate(plain, SHAPES["tulu2-7b"], long_problem())
    changes = {change.words: change for change in advice._changes(plain, long_problem())}
    assert changes.keys() == {
        "model.lora=true",
        "model.gradient_checkpointing=true",
        "model.dtype=bfloat16",
        "aligner.reward_batch=16",
        "aligner.minibatches=8",
        "model.batch=4",
        "task.response_tokens=200",
        "model.context=512",
    }
    for words, change in changes.items():
        section, _, option = words.partition(".")
        name, _, value = option.partition("=")
        said = {"model": dict(LARGE), "task": {"response_tokens": 400}}
        said.setdefault(section, {})[name] = value
        assert spec(**said).to_dict() == change.spec.to_dict()
        after = estimate.estimate(change.spec, SHAPES["tulu2-7b"], change.problem)
        assert after.peak <= before.peak
        if name not in ("context", "batch"):  # no row is as long as that, and texts are short
            assert after.passes != before.passes


def test_memory_is_checked_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(advice, "free_memory", lambda device: ("a small device", 12e9))
    with pytest.raises(
        UserError, match=r"and there are 12\.0 GB free on a small device: set model\.quantise"
    ):
        advice.check_memory(spec(), problem())
    monkeypatch.setattr(advice, "free_memory", lambda device: (MACHINE, 12e9))
    with pytest.raises(UserError, match=r"free on this machine: take a smaller model or a larger device"):
        advice.check_memory(spec(), problem())  # 4 bits need a GPU
    monkeypatch.setattr(advice, "free_memory", lambda device: ("a large device", 500e9))
    assert advice.check_memory(spec(), problem()) is None
    monkeypatch.setattr(advice, "free_memory", lambda device: ("who knows", None))
    assert advice.check_memory(spec(), problem()) is None


def test_a_small_or_unknown_model_is_not_looked_at(monkeypatch):
    def refuse(device):
        raise AssertionError("not to be asked")

    monkeypatch.setattr(advice, "free_memory", refuse)
    assert advice.check_memory(spec("nano"), problem()) is None
    unknown = dataclasses.replace(spec(), model="nobody/nothing")
    assert shape_of(unknown) is None
    assert advice.check_memory(unknown, problem()) is None


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA L40", None),
        ("this machine", None),
    ],
)
def test_hardware_is_known_by_the_drivers_name(driver, name):
    assert hardware.known_hardware(driver) == name


def test_hardware_that_is_not_known():
    with pytest.raises(UserError, match=r"unknown hardware 'h20'\. Did you mean 'h200'\?"):
        hardware.hardware_called("h20")
    assert hardware.hardware_called("h200") is HARDWARE["h200"]


# --- models by name -------------------------------------------------------------------------------------


def test_shapes_are_those_of_presets_folders_and_options(tmp_path):
    assert shape_of(spec()) == SHAPES["tulu2-7b"]
    (tmp_path / "config.json").write_text(json.dumps(new_model("llama").config.to_dict()))
    small = shape_of_model(new_model("llama"))
    assert shape_of(spec(str(tmp_path))) == small
    assert shape_of(spec(model={"path": str(tmp_path)})) == small
    (tmp_path / "config.json").write_text("{ no")
    assert shape_of(spec(str(tmp_path))) is None
    assert "no config.json" in settings.why_unknown(spec(str(tmp_path)))
    nano = spec("nano", model={"width": 32, "heads": 2, "vocabulary": 400, "context": 48})
    shape = shape_of(nano)
    assert shape is not None
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": 0, "eos_token_id": 0}
    built = GPT2LMHeadModel(
        GPT2Config(vocab_size=400, n_positions=48, n_embd=32, n_layer=2, n_head=2, **ends)
    )
    assert shape.parameters == sum(p.numel() for p in built.parameters())
    finite = make_spec(task="bandit_two_group", aligner="dpo")
    assert shape_of(finite) is None
    assert settings.why_unknown(finite).startswith("Nothing to estimate: model 'finite'")


def test_a_model_in_the_hubs_cache_is_known_without_a_network(tmp_path, monkeypatch):
    import huggingface_hub

    (tmp_path / "config.json").write_text(json.dumps(new_model("gpt2").config.to_dict()))
    stored = {"someone/small": str(tmp_path / "config.json")}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: stored.get(name))
    assert shape_of(spec("someone/small")) == shape_of_model(new_model("gpt2"))
    assert shape_of(spec("someone/else")) is None


def test_settings_follow_the_options():
    shape = SHAPES["tulu2-7b"]
    plain = setting_of(spec(), shape)
    assert (plain.bytes, plain.rank, plain.checkpointing, plain.context) == (2, 16, True, 1024)
    other = {"dtype": "float32", "lora": False, "gradient_checkpointing": False, "context": 100_000}
    full = setting_of(spec(model=other), shape)
    assert (full.bytes, full.rank, full.checkpointing, full.context) == (4, None, False, shape.positions)
    assert full.adapter == 0
    assert full.trained == shape.parameters
    assert setting_of(spec(model={"quantise": "4bit"}), shape).base_bytes < plain.base_bytes / 3


def test_an_example_needs_its_task_and_its_aligner(monkeypatch):
    chosen, found = estimate.example("tulu2-7b")
    assert chosen is not None and found is not None
    assert (chosen.task, chosen.aligner) == ("imdb_two_group", "maxmin")
    assert found.peak < 24e9
    assert estimate.example("finite") == (None, None)
    assert estimate.example("pretrained") == (None, None)
    without = {key: entry for key, entry in registry._entries.items() if entry.kind != "task"}
    monkeypatch.setattr(registry, "_entries", without)
    assert estimate.example("tulu2-7b") == (None, None)


def test_the_json_form_is_plain_and_adds_up():
    found = estimate.estimate(spec(), SHAPES["tulu2-7b"], problem())
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    parts = {name: size for name, size in said["memory"].items() if name not in ("peak", "least")}
    assert sum(parts.values()) == pytest.approx(said["memory"]["peak"]) == found.peak
    assert max(said["passes"].values()) == found.peak
    assert said["flops"] == pytest.approx(sum(stage["flops"] for stage in said["stages"]))
    assert said["parameters"] == 6_738_415_616
    for device in said["hardware"].values():
        assert 0 < device["least_hours"] <= device["most_hours"]
    assert said["sizes"]["train"] == 20


def test_the_page_shows_what_the_command_prints():
    page = (Path(__file__).parents[2] / "docs" / "large-models.md").read_text()
    shown = re.findall(r"```sh\nprefbench (run .*--dry-run .*)\n```\n\n```text\n((?:.*\n)*?)```", page)
    assert len(shown) == 2
    for words, text in shown:
        outcome = typed(*words.split())
        assert (outcome.code, outcome.out) == (0, text)
    (refusal,) = re.findall(r"^prefbench: error: (.*)$", page, re.M)
    large = ["--task", "imdb_two_group", "--aligner", "maxmin", "--model", "tulu2-7b"]
    tight = typed("run", *large, "--set", "model.lora=false", "--dry-run", "--hardware", "a100-80gb")
    assert (tight.code, tight.error) == (2, refusal)

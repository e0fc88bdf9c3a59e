"""Adapters on one base: each is what it would be on a model of its own, and the base is never touched."""

import copy
import gc
import itertools
import json
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prefbench import seeds
from prefbench.backbone.language.adapters import Adapted, Adapter, Base, checkpoint_layers
from prefbench.backbone.language.passes import call
from prefbench.backbone.language.policies import LMPolicy, LMReward
from prefbench.backbone.language.tokens import collate
from prefbench.backbone.language.training import State, trainable_state
from prefbench.errors import UserError
from prefbench.learn.interface import Pairs
from prefbench.learn.options import PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.welfare import population_min
from support.padded import token_logprobs

ARCHITECTURES = ("gpt2", "llama")
LORA = {"r": 2, "lora_alpha": 4}
PROMPTS = ["the film", "my sister said", "a short story", "the acting"]
RESPONSES = [" was a joy.", " the plot was dull", " about two brothers", " is fine"]
PAIRS = Pairs(PROMPTS * 2, RESPONSES * 2, [" was dull.", " it was worse", " a mess", " is a mess"] * 2)


def batch_of(backbone, prompts=PROMPTS, responses=RESPONSES):
    codec = backbone.codec
    return collate(codec.prompts(prompts), codec.responses(responses), backbone.device)


def stirred(model, seed, by=0.1):
    """A model whose trainable weights are moved by noise, so that its adapters do something."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += by * torch.randn(weight.shape, generator=noise)
    return model


@torch.no_grad()
def logits(model, backbone):
    return call(model, batch_of(backbone).inputs, use_cache=False).logits


def bits(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same_bits(model, before):
    after = dict(model.named_parameters())
    return after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.fixture(params=ARCHITECTURES)
def backbone(request, tiny_backbone):
    return tiny_backbone(request.param, lora=LORA)


# --- switching --------------------------------------------------------------------------------------------


def test_the_reference_is_the_same_before_between_and_after_five_adapters(backbone, tiny_backbone, request):
    model = backbone.reference.model
    plain = tiny_backbone(request.node.callspec.params["backbone"])  # the same weights, no hooks
    before = logits(plain.reference.model, plain)
    found = []
    for seed in range(5):
        adapted = stirred(backbone.trainable_copy(seed), seed)
        assert torch.equal(logits(model, backbone), before)
        found.append((adapted, logits(adapted, backbone)))
    for adapted, said in reversed(found):
        assert torch.equal(logits(adapted, backbone), said), "an adapter depends on what ran before it"
        assert torch.equal(logits(model, backbone), before)
    for first, second in itertools.combinations([before, *(said for _, said in found)], 2):
        assert not torch.allclose(first, second, atol=1e-3)


def test_a_new_adapter_changes_nothing(backbone):
    adapted = backbone.trainable_copy(3)
    assert torch.equal(logits(adapted, backbone), logits(backbone.reference.model, backbone))
    assert not torch.equal(next(adapted.parameters()), next(backbone.trainable_copy(4).parameters())), (
        "the seed decides where an adapter starts"
    )


def test_a_failing_pass_leaves_no_adapter_switched_on(backbone):
    before = logits(backbone.reference.model, backbone)
    adapted = stirred(backbone.trainable_copy(0), 0)
    with pytest.raises(IndexError):
        adapted(input_ids=torch.tensor([[10**6]]))
    assert torch.equal(logits(backbone.reference.model, backbone), before)


def test_an_adapter_does_what_peft_makes_of_its_files(backbone, tmp_path):
    from peft import PeftModel

    adapted = stirred(backbone.trainable_copy(0), 0)
    adapted.save_pretrained(tmp_path)
    theirs = PeftModel.from_pretrained(copy.deepcopy(backbone.reference.model), str(tmp_path)).eval()
    named = [name for name, _ in theirs.named_parameters() if "lora_A" in name]
    assert len(named) == len(backbone.base.layers) > 0
    ours = logits(adapted, backbone)
    assert not torch.allclose(ours, logits(backbone.reference.model, backbone), atol=1e-3)
    with torch.no_grad():
        inputs = batch_of(backbone).inputs
        said = theirs(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            position_ids=inputs["position_ids"],
        ).logits
    torch.testing.assert_close(said, ours, atol=1e-6, rtol=1e-6)


def test_every_linear_layer_but_the_output_has_a_hook(backbone):
    model = backbone.reference.model
    output = model.get_output_embeddings()
    assert output not in backbone.base.layers.values()
    found = {name for name, module in model.named_modules() if type(module).__name__ in ("Linear", "Conv1D")}
    assert found - {name for name, module in model.named_modules() if module is output} == set(
        backbone.base.layers
    )


# --- training ---------------------------------------------------------------------------------------------


def step(model, state, batch, sign):
    state.step(
        lambda: [sign * token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch).mean()],
        1.0,
        1.0,
    )


def test_adapters_trained_in_turn_are_those_trained_apart(tiny_backbone):
    together = tiny_backbone("llama", lora=LORA)
    apart = [tiny_backbone("llama", lora=LORA) for _ in range(2)]
    base = bits(together.reference.model)

    def prepare(backbones):
        models = [owner.trainable_copy(k) for k, owner in enumerate(backbones)]
        return models, [State([model], 0.01) for model in models]

    ours, our_states = prepare([together, together])
    theirs, their_states = prepare(apart)
    batch = batch_of(together)
    for _ in range(4):
        for k in range(2):
            step(ours[k], our_states[k], batch, (-1) ** k)
            logits(together.reference.model, together)
    for k in range(2):
        for _ in range(4):
            step(theirs[k], their_states[k], batch, (-1) ** k)
        assert same_bits(ours[k], bits(theirs[k]))
        assert not same_bits(ours[k], bits(apart[k].trainable_copy(k)))
    assert same_bits(together.reference.model, base)


def test_a_gradient_reaches_its_own_adapter_and_nothing_else(backbone):
    models = [stirred(backbone.trainable_copy(k), k) for k in range(3)]
    batch = batch_of(backbone)
    losses = [
        token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch).sum() for model in models
    ]
    losses[1].backward()
    assert all(weight.grad is not None for weight in models[1].parameters())
    for model in (models[0], models[2], backbone.reference.model):
        assert all(weight.grad is None for weight in model.parameters())
    assert all(weight.requires_grad for model in models for weight in model.parameters())
    assert not any(weight.requires_grad for weight in backbone.reference.model.parameters())


def test_the_base_keeps_its_bits_and_is_there_once_through_rewards_and_ppo(backbone):
    before = bits(backbone.reference.model)
    fitted = [
        backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1, reward_batch=4), seed=k, name=str(k))
        for k in range(5)
    ]

    def rewards(prompts, responses):
        return np.stack([reward.score(prompts, responses) for reward in fitted], axis=1)

    options = PPOOptions(iterations=3, batch=8, minibatches=2, epochs=1, learning_rate=0.01)
    policy = backbone.optimise(
        rewards, population_min, options, prompts=PROMPTS, seed=0, names=[str(k) for k in range(5)]
    )
    assert same_bits(backbone.reference.model, before)
    assert not any(weight.requires_grad for weight in backbone.reference.model.parameters())
    assert (policy.logprob(PROMPTS, RESPONSES) != backbone.reference.logprob(PROMPTS, RESPONSES)).any()
    # One base: whatever else there is holds adapters and heads alone, each a twentieth of it or less.
    held = [policy.model, *(reward.model for reward in fitted)]
    of_base = sum(weight.numel() for weight in before.values())
    for model in held:
        assert all("lora_" in name or name.startswith("head.") for name, _ in model.named_parameters())
        assert sum(weight.numel() for weight in model.parameters()) < of_base / 4
    assert policy.model.inner is backbone.reference.model
    assert {id(reward.model.trunk.inner) for reward in fitted} == {id(backbone.reference.model.base_model)}


def test_an_adapter_dies_with_its_owner(backbone):
    kept = backbone.new_reward(0)
    dead = []
    for k in range(5):
        reward = LMReward(backbone.new_reward(k), backbone)
        reward.score(PROMPTS, RESPONSES)
        dead.append(weakref.ref(reward.model.trunk.adapter))
        del reward
    gc.collect()
    assert [reference() for reference in dead] == [None] * 5
    assert LMReward(kept, backbone).score(PROMPTS, RESPONSES).shape == (4,)


class Quantised(nn.Linear):
    """A linear layer that keeps its weight as whole numbers, packed as layers in 4 bits are."""

    def __init__(self, layer):
        super().__init__(layer.in_features, layer.out_features, bias=False)
        self.step = float(layer.weight.abs().max()) / 127
        packed = (layer.weight.detach() / self.step).round().to(torch.int8).reshape(-1, 1)
        self.weight = nn.Parameter(packed, requires_grad=False)

    def forward(self, x):
        return nn.functional.linear(x, self.weight.view(self.out_features, -1).to(x.dtype) * self.step)


def test_a_quantised_base_takes_adapters_but_cannot_swallow_them(tiny_backbone):
    plain = tiny_backbone("llama").reference.model
    for block in plain.model.layers:
        block.mlp.up_proj = Quantised(block.mlp.up_proj)
    base = Base(plain, "packed")
    adapted = Adapted(base, Adapter(base, 2, 4, seed=0))
    model, state = adapted, State([adapted], 0.01)
    batch = batch_of(tiny_backbone("llama"))
    before = logits(plain, tiny_backbone("llama"))
    for _ in range(3):
        step(model, state, batch, -1)
    assert all(weight.dtype == torch.float32 for weight in adapted.parameters())
    moved = adapted.adapter.pairs["model.layers.1.mlp.up_proj"].lora_B.weight
    assert (moved != 0).any()
    assert torch.equal(logits(plain, tiny_backbone("llama")), before)
    with pytest.raises(UserError, match=r"model\.quantise=none"):
        adapted.merge_and_unload()


def test_adapters_of_a_bfloat16_base_are_float32(tiny_backbone):
    model = tiny_backbone("llama").reference.model.to(torch.bfloat16)
    base = Base(model, "half")
    adapted = stirred(Adapted(base, Adapter(base, 2, 4, seed=0)), 0)
    assert {weight.dtype for weight in adapted.parameters()} == {torch.float32}
    said = adapted(input_ids=torch.tensor([[5, 6, 7]])).logits
    assert said.dtype == torch.bfloat16 and said.requires_grad


# --- copies, files and names ------------------------------------------------------------------------------


def test_a_copy_has_an_adapter_of_its_own_on_the_same_base(backbone):
    first = stirred(backbone.trainable_copy(0), 0)
    second = copy.deepcopy(first)
    assert second.inner is first.inner
    assert torch.equal(logits(first, backbone), logits(second, backbone))
    before = logits(first, backbone)
    stirred(second, 1)
    assert torch.equal(logits(first, backbone), before)
    assert not torch.equal(logits(second, backbone), before)


def test_names_do_not_say_which_adapter_it_is(backbone):
    first, second = stirred(backbone.trainable_copy(0), 0), backbone.trainable_copy(1)
    assert [name for name, _ in first.named_parameters()] == [name for name, _ in second.named_parameters()]
    second.load_state_dict(first.state_dict())
    assert torch.equal(logits(first, backbone), logits(second, backbone))


def trained(backbone, seed=0):
    return backbone.fit_pairwise(PAIRS, DPO(0.1), PairwiseOptions(epochs=1, batch=4), seed=seed)


def test_files_are_read_beside_other_adapters_and_by_another_backbone(tiny_backbone, tmp_path):
    backbone, other = (tiny_backbone("llama", lora=LORA) for _ in range(2))
    policy = trained(backbone)
    policy.save(tmp_path)
    expected = policy.logprob(PROMPTS, RESPONSES)
    crowd = [stirred(other.trainable_copy(k), k) for k in range(3)]
    for owner in (backbone, other):
        again = owner.load_policy(tmp_path)
        assert again.model.inner is owner.reference.model
        assert (again.logprob(PROMPTS, RESPONSES) == expected).all()
    assert len(crowd) == 3
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (written["r"], written["lora_alpha"], written["peft_type"]) == (2, 4, "LORA")


def refused(function, path):
    with pytest.raises(UserError) as error:
        function(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("how", ["digest", "architecture", "rank"])
def test_an_adapter_of_another_model_is_refused(tiny_backbone, tmp_path, how):
    backbone = tiny_backbone("llama", lora=LORA)
    trained(backbone).save(tmp_path)
    reward = backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1), seed=0, name="r")
    reward.save(tmp_path / "reward.safetensors")
    if how == "rank":
        settings = json.loads((tmp_path / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"r": 3}))
        assert "another model" in refused(backbone.load_policy, tmp_path)
        return
    other = tiny_backbone("gpt2" if how == "architecture" else "llama", lora=LORA, seed=1)
    assert "another model" in refused(other.load_policy, tmp_path)
    assert "another model" in refused(other.load_reward, tmp_path / "reward.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_rslora": True}, "with use_rslora, which is not computed here"),
        ({"use_dora": True, "rank_pattern": {"q": 1}}, "with rank_pattern, use_dora"),
        ({"peft_type": "IA3"}, "an adapter IA3, which is not computed here"),
        ({"r": 1 << 40}, "no rank and scale"),
        ({"r": "2"}, "no rank and scale"),
        ({"lora_alpha": None}, "no rank and scale"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(tiny_backbone, tmp_path, change, said):
    backbone = tiny_backbone("llama", lora=LORA)
    trained(backbone).save(tmp_path)
    backbone.load_policy(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | change))
    assert said in refused(backbone.load_policy, tmp_path)


def test_files_that_are_damaged_or_not_finite_are_refused(tiny_backbone, tmp_path):
    backbone = tiny_backbone("llama", lora=LORA)
    trained(backbone).save(tmp_path)
    reward = backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1), seed=0, name="r")
    reward.save(tmp_path / "reward.safetensors")
    for file, load in (
        (tmp_path / "adapter_model.safetensors", lambda file: backbone.load_policy(file.parent)),
        (tmp_path / "reward.safetensors", backbone.load_reward),
    ):
        stored = load_file(file)
        name = sorted(stored)[0]
        save_file(stored | {name: torch.full_like(stored[name], torch.nan)}, file)
        assert f"NaN or infinities, as in {name}" in refused(load, file)
        save_file({key: value for key, value in stored.items() if key != name}, file)
        assert "another model" in refused(load, file)
        file.write_bytes(file.read_bytes()[:50])
        assert "could not be read" in refused(load, file)
        file.unlink()
        assert "could not be read" in refused(load, file)


def test_an_adapter_needs_lora(tiny_backbone, tmp_path):
    trained(tiny_backbone("llama", lora=LORA)).save(tmp_path)
    assert "model.lora=false" in refused(tiny_backbone("llama").load_policy, tmp_path)


def test_a_merged_adapter_is_a_plain_model(backbone, tmp_path):
    adapted = stirred(backbone.trainable_copy(0), 0)
    expected = logits(adapted, backbone)
    merged = adapted.merge_and_unload()
    assert merged is backbone.reference.model
    torch.testing.assert_close(logits(merged, backbone), expected, atol=1e-5, rtol=1e-5)
    merged.save_pretrained(tmp_path)
    again = type(merged).from_pretrained(tmp_path, use_safetensors=True).eval()
    assert torch.equal(logits(again, backbone), logits(merged, backbone))


# --- combinations -----------------------------------------------------------------------------------------


def test_a_product_on_one_base_is_the_product_of_separate_models(tiny_backbone):
    architecture = "llama"
    one = tiny_backbone(architecture, lora=LORA)
    others = [tiny_backbone(architecture, lora=LORA) for _ in range(3)]
    shared = [LMPolicy(stirred(one.trainable_copy(k), k), one) for k in range(3)]
    separate = [LMPolicy(stirred(owner.trainable_copy(k), k), owner) for k, owner in enumerate(others)]
    weights = [0.5, 0.2, 0.3]
    ours, theirs = one.log_linear(shared, weights), others[0].log_linear(separate, weights)
    assert (ours.logprob(PROMPTS, RESPONSES) == theirs.logprob(PROMPTS, RESPONSES)).all()
    # Decoding keeps a cache for each adapter, in step.
    draw = seeds.child(0, "s")
    assert ours.sample(PROMPTS, 3, draw) == theirs.sample(PROMPTS, 3, draw)
    assert ours.sample(PROMPTS, 3, draw) != one.reference.sample(PROMPTS, 3, draw)


# --- gradient checkpointing -------------------------------------------------------------------------------


def gradients(model, batch):
    loss = token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch).sum()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lora", [None, LORA])
def test_checkpointing_gives_the_same_gradients(tiny_backbone, architecture, lora):
    plain, saving = (
        tiny_backbone(architecture, lora=lora, gradient_checkpointing=on) for on in (False, True)
    )
    ours, theirs = stirred(saving.trainable_copy(0), 0), stirred(plain.trainable_copy(0), 0)
    passes = []
    inner = ours.inner if lora else ours
    linear = next(m for m in inner.modules() if type(m).__name__ in ("Linear", "Conv1D"))
    linear.register_forward_pre_hook(lambda module, inputs: passes.append(torch.is_grad_enabled()))
    found, expected = gradients(ours, batch_of(saving)), gradients(theirs, batch_of(plain))
    assert len(passes) == 2, "activations should have been computed twice"
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-5)
    passes.clear()
    logits(ours, saving)
    assert passes == [False], "without gradients there is nothing to compute again"
    assert torch.equal(logits(ours, saving), logits(theirs, plain))


def test_a_repeated_pass_has_the_adapter_of_the_first(tiny_backbone):
    """The backward pass comes after others have been switched on, the reference among them."""
    plain, saving = (tiny_backbone("llama", lora=LORA, gradient_checkpointing=on) for on in (False, True))
    batch = batch_of(plain)
    expected = [gradients(stirred(plain.trainable_copy(k), k), batch) for k in range(3)]
    models = [stirred(saving.trainable_copy(k), k) for k in range(3)]
    losses = [
        token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch).sum() for model in models
    ]
    logits(saving.reference.model, saving)
    for k in (1, 2, 0):
        with saving.base.using(models[(k + 1) % 3].adapter):
            losses[k].backward()
    for model, gradient in zip(models, expected, strict=True):
        for name, weight in model.named_parameters():
            torch.testing.assert_close(weight.grad, gradient[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("lora", [None, LORA])
def test_checkpointed_training_ends_where_plain_training_does(tiny_backbone, tmp_path, lora):
    options = PPOOptions(iterations=2, batch=8, minibatches=2, epochs=1)

    def ended(on):
        backbone = tiny_backbone("llama", lora=lora, gradient_checkpointing=on)
        reward = backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1), seed=0, name="r")
        policy = backbone.optimise(
            lambda prompts, responses: reward.score(prompts, responses)[:, None],
            population_min,
            options,
            prompts=PROMPTS,
            seed=0,
            names=["x"],
        )
        soup = backbone.average([policy, policy], [0.5, 0.5])
        return [part.logprob(PROMPTS, RESPONSES) for part in (policy, soup)]

    for ours, theirs in zip(ended(True), ended(False), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_model_without_blocks_cannot_be_checkpointed():
    with pytest.raises(UserError, match="gradient_checkpointing=false"):
        checkpoint_layers(nn.Sequential(nn.Linear(2, 2)))


def test_a_reward_file_holds_adapters_and_head_alone(backbone, tmp_path):
    reward = LMReward(stirred(backbone.new_reward(0), 0), backbone)
    reward.save(tmp_path / "r.safetensors")
    stored = load_file(tmp_path / "r.safetensors")
    assert stored.keys() == trainable_state(reward.model).keys()
    assert all("lora_" in name or name.startswith("head.") for name in stored)

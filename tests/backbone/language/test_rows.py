"""Every decoder without padding against transformers' padded pass, in float64, with large random weights."""

import copy
from functools import cache, partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from prefbench import seeds
from prefbench.backbone.language import forward, passes, rows
from prefbench.backbone.language.adapters import Adapted, Adapter, Base, checkpoint_layers
from prefbench.backbone.language.log_linear import LogLinear
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.tokens import collate
from support.decoders import SETTINGS, UNPADDED, WINDOW

VOCABULARY = 60
CPU = torch.device("cpu")
ENDS = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}

ids = st.integers(1, VOCABULARY - 1)
prompts = st.lists(st.lists(ids, min_size=1, max_size=9), min_size=1, max_size=3)
responses = st.lists(ids, min_size=0, max_size=6)
some = prompts.flatmap(
    lambda known: st.lists(st.tuples(st.sampled_from(known), responses), min_size=1, max_size=6)
).filter(lambda rows: any(response for _, response in rows))
near = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)  # log-softmax is taken in float32
EXACT = ("gpt2", "gpt_neox", "opt", "bloom")
"""All of it is in float64; the others take their norms in float32."""


@cache
def model_of(name):
    with seeds.torch_seeded(0, "rows", name):
        config = CONFIG_MAPPING[name](**ENDS, **SETTINGS[name])
        model = AutoModelForCausalLM.from_config(config).double().eval()
        with torch.no_grad():
            for weight in model.parameters():  # so large that a token out of place shows
                weight.copy_(
                    torch.randn(weight.shape) * (0.4 if weight.dim() > 1 else 0.1) + (weight.dim() < 2)
                )
    return model


def close(name, ours, theirs):
    """Equal but for rounding, which goes with the largest number of a tensor."""
    bound = 1e-9 if name in EXACT else 1e-5
    torch.testing.assert_close(ours, theirs, atol=bound * (1 + float(theirs.abs().max())), rtol=bound)


def batch_of(pairs):
    return collate([p for p, _ in pairs], [r for _, r in pairs], CPU)


def plainly(model, batch):
    """All logits and the last states of the padded pass, at the places that predict response tokens."""
    output = passes.call(model, {**batch.inputs}, use_cache=False, output_hidden_states=True)
    row, column = batch.places("before")
    return output.logits[row, column], output.hidden_states[-1]


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=6)
@given(some)
def test_logits_and_states_are_those_of_the_padded_pass(name, pairs):
    model, batch = model_of(name), batch_of(pairs)
    assert rows.applies(model) == (name in UNPADDED)
    with torch.no_grad():
        logits, hidden = plainly(model, batch)
        found, states = forward.predictions(model, batch)
        close(name, found, logits)
        close(name, states, hidden[batch.places("before")])
        close(name, forward.last_states(model.base_model, batch), hidden[batch.places("last")])
        expected = batch.spread(hidden[batch.places("response")])
        close(name, forward.response_states(model.base_model, batch), expected)
        chosen = logits.log_softmax(-1).gather(1, batch.response[batch.mask][:, None])[:, 0]
        near(forward.logprobs(model, batch).double(), batch.spread(chosen))


def gradients(of, weights):
    signs = torch.linspace(-1, 1, of.numel()).to(of).view(of.shape)
    return torch.autograd.grad((of * signs).sum(), weights, retain_graph=True)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("name", UNPADDED)
def test_gradients_are_those_of_the_padded_pass(name, lora):
    model = copy.deepcopy(model_of(name))
    whole = adapted(model) if lora else model
    weights = list(whole.parameters())
    batch = batch_of([([5, 6, 7], [1, 2, 3, 4, 9]), ([8], [3]), ([5, 6, 7], []), ([5, 6, 7], [7, 8])])
    logits, hidden = plainly(whole, batch)
    found, states = forward.predictions(whole, batch)
    for ours, theirs in ((found, logits), (states, hidden[batch.places("before")])):
        used = [w for w, g in zip(weights, given_to(theirs, weights), strict=True) if g is not None]
        assert len(used) > 4
        for one, other in zip(gradients(ours, used), gradients(theirs, used), strict=True):
            close(name, one, other)


def given_to(values, weights):
    return torch.autograd.grad(values.sum(), weights, retain_graph=True, allow_unused=True)


def adapted(model):
    """An adapter in float64 whose every weight does something."""
    model.requires_grad_(False)
    base = Base(model, "base")
    adapter = Adapter(base, 2, 4.0, seed=0).double()
    with seeds.torch_seeded(0, "adapter"), torch.no_grad():
        for weight in adapter.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape))
    return Adapted(base, adapter)


@pytest.mark.parametrize("lora", [False, True])
def test_activations_that_are_computed_again_are_the_same(lora):
    model = copy.deepcopy(model_of("qwen2"))
    whole = adapted(model) if lora else model
    batch = batch_of([([5, 6, 7], [1, 2, 3, 4, 9]), ([5, 6, 7], [7, 8])])
    weights = list(whole.parameters())
    before = gradients(forward.predictions(whole, batch)[0], weights)
    checkpoint_layers(model, whole.base.contexts if lora else None)
    for one, other in zip(gradients(forward.predictions(whole, batch)[0], weights), before, strict=True):
        close("qwen2", one, other)


def test_a_product_of_models_is_that_of_their_logits():
    parts = [model_of("llama"), model_of("qwen3")]
    batch = batch_of([([5, 6, 7], [1, 2, 3]), ([8], [3])])
    with torch.no_grad():
        each = [plainly(part, batch)[0].log_softmax(-1) for part in parts]
        expected = (0.3 * each[0] + 0.7 * each[1]).log_softmax(-1)
        chosen = expected.gather(1, batch.response[batch.mask][:, None])[:, 0]
        near(forward.logprobs(LogLinear(parts, [0.3, 0.7]), batch).double(), batch.spread(chosen))


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "granite"])
def test_reading_on_computes_the_last_logits_alone(name):
    model, seen = model_of(name), []
    output = model.get_output_embeddings()
    hook = output.register_forward_hook(lambda layer, given, result: seen.append(result.shape[:2]))
    texts = [[7], [9, 8, 7, 6, 5, 4], [3, 2]]
    with torch.no_grad():
        reader = forward.reader(model, texts, 2, 4, CPU)
        first = reader.logits
        reader.read(torch.tensor([1, 2, 3, 4, 5, 6]))
        hook.remove()
        grown = [[*texts[i // 2], i + 1] for i in range(6)]
        for rows_of, logits in ((texts, first[::2]), (grown, reader.logits)):
            for row, each in zip(rows_of, logits, strict=True):
                close(name, each, model(input_ids=torch.tensor([row])).logits[0, -1])
    assert seen == [(3, 1), (6, 1)]


def test_a_window_that_a_layer_does_not_ask_for_is_left_to_transformers():
    model = copy.deepcopy(model_of("llama"))
    model.set_attn_implementation("sdpa")
    model.config.sliding_window = WINDOW
    assert not rows.applies(model)
    assert model.config._attn_implementation == "sdpa"
    del model.config.sliding_window
    assert not rows.applies(model), "it is asked once"
    assert rows.applies(copy.deepcopy(model))


def test_nothing_of_it_is_saved(tmp_path):
    model = model_of("llama")
    assert rows.applies(model) and rows.applies(copy.deepcopy(model)) and rows.applies(model.model)
    model.save_pretrained(tmp_path)
    assert rows.NAME not in (tmp_path / "config.json").read_text()
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_tried_out_in_a_models_own_type(dtype):
    model = copy.deepcopy(model_of("qwen3")).to(dtype)
    model.set_attn_implementation("sdpa")
    assert rows.applies(model)


@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_alpha": 4}])
def test_the_output_layer_never_meets_a_slice_with_gaps(tiny_backbone, lora):
    """Of one torch makes a product for each row, with a copy of the whole layer: 7.7 s instead of 0.02 s."""
    backbone = tiny_backbone("llama", lora=lora)
    policy = backbone.reference if lora is None else LMPolicy(backbone.trainable_copy(0), backbone)
    met = []
    output = backbone.reference.model.get_output_embeddings()
    hook = output.register_forward_hook(lambda layer, args, _: met.append(args[0].is_contiguous()))
    try:
        policy.sample(["the film", "the plot was"], 2, seeds.child(0, "contiguous"))
        policy.logprob(["the film", "the plot"], [" was dull.", " was"])
    finally:
        hook.remove()
    assert len(met) > 2 and all(met)

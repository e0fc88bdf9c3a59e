"""GPT-2 without padding against transformers' forward pass."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prefbench import seeds
from prefbench.backbone.language import forward, gpt2, passes
from prefbench.backbone.language.adapters import checkpoint_layers
from prefbench.backbone.language.sampling import BLOCK_TOKENS, draw, sample_tokens
from prefbench.backbone.language.tokens import collate
from support.padded import pick, token_logprobs

VOCABULARY = 300
CPU = torch.device("cpu")
ids = st.integers(1, VOCABULARY - 1)
prompts = st.lists(st.lists(ids, min_size=1, max_size=9), min_size=1, max_size=4)
responses = st.lists(ids, min_size=0, max_size=6)
row_lists = prompts.flatmap(
    lambda known: st.lists(st.tuples(st.sampled_from(known), responses), min_size=1, max_size=7)
)
close = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def model(tiny_backbone):
    """Weights large enough that a token out of place shows."""
    model = copy.deepcopy(tiny_backbone("gpt2").reference.model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model.requires_grad_(True)


def as_transformers(model, batch):
    output = passes.call(model, batch.inputs, use_cache=False, output_hidden_states=True)
    return token_logprobs(output.logits, batch), output.hidden_states[-1]


some = row_lists.filter(lambda rows: any(response for _, response in rows))


@settings(max_examples=60, deadline=None)
@given(some)
def test_log_probabilities_and_states_are_those_of_the_padded_batch(model, rows):
    model = copy.deepcopy(model).double()  # in which nothing hides in the rounding
    batch = collate([p for p, _ in rows], [r for _, r in rows], CPU)
    assert gpt2.applies(model)
    logprobs, hidden = as_transformers(model, batch)
    mask = batch.mask[..., None]
    ours, before = forward.logprobs_and_states(model, batch)
    close(ours, logprobs)
    close(forward.logprobs(model, batch), logprobs)
    close(before, pick(hidden, batch.before) * mask)
    close(forward.response_states(model.transformer, batch), pick(hidden, batch.before + 1) * mask)
    close(forward.last_states(model.transformer, batch), pick(hidden, batch.last[:, None])[:, 0])


@settings(max_examples=20, deadline=None)
@given(some)
def test_gradients_are_those_of_the_padded_batch(model, rows):
    exact = copy.deepcopy(model).double()
    batch = collate([p for p, _ in rows], [r for _, r in rows], CPU)
    logprobs, hidden = as_transformers(exact, batch)
    padded = pick(hidden, batch.before) * batch.mask[..., None]
    ours, before = forward.logprobs_and_states(exact, batch)

    def gradients(of, weights):
        signs = torch.linspace(-1, 1, of.numel()).to(of).view(of.shape)
        return torch.autograd.grad((of * signs).sum(), weights, retain_graph=True)

    transformer = list(exact.transformer.parameters())
    for one, other in zip(gradients(before, transformer), gradients(padded, transformer), strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-8)
    found, expected = (gradients(each, list(exact.parameters())) for each in (ours, logprobs))
    largest = max(float(gradient.abs().max()) for gradient in expected)
    for one, other in zip(found, expected, strict=True):  # log-softmax is taken in float32
        torch.testing.assert_close(one, other, atol=1e-5 * (1 + largest), rtol=1e-4)


def test_a_prompt_that_rows_share_is_there_once():
    batch = collate([[5, 6, 7], [8], [5, 6, 7]], [[1, 2], [3], [4]], CPU)
    assert batch.packed.ids.tolist() == [5, 6, 7, 8, 1, 2, 3, 4]
    assert batch.packed.positions.tolist() == [0, 1, 2, 0, 3, 4, 1, 3]
    assert batch.packed.before.tolist() == [2, 4, 3, 2]
    assert batch.packed.last.tolist() == [5, 6, 7]


@pytest.mark.parametrize("n", [1, 3])
def test_samples_are_those_of_transformers_cache(tiny_backbone, model, monkeypatch, n):
    """In float64, where rounding moves no draw."""
    backbone = tiny_backbone("gpt2", response_tokens=12, stops=frozenset(range(0, VOCABULARY, 8)))
    exact = copy.deepcopy(model).double()
    prompts = [[7], [9, 8, 7, 6, 5, 4], [3, 2], [11, 12, 13]] * 5
    generator = seeds.torch_generator(0, "uniform")
    uniform = torch.rand((len(prompts) * n, 12), generator=generator, dtype=torch.float64)

    def sample():
        return sample_tokens(exact, backbone.codec, prompts, n, uniform, backbone.limits.sampling)

    ours = sample()
    monkeypatch.setattr(gpt2, "applies", lambda model: False)
    assert sample() == ours
    assert len({len(response) for response in ours}) > 3, "rows ended at different times"


def test_it_runs_in_bfloat16(tiny_backbone, model):
    backbone = tiny_backbone("gpt2")
    short = copy.deepcopy(model).to(torch.bfloat16)
    batch = collate([[7], [9, 8]], [[3, 4], [5]], CPU)
    exact = forward.logprobs(model, batch)
    torch.testing.assert_close(forward.logprobs(short, batch), exact, atol=0.3, rtol=0.1)
    uniform = torch.rand((2, 6), generator=seeds.torch_generator(0, "u"), dtype=torch.float64)
    drawn = sample_tokens(short, backbone.codec, [[7], [9, 8]], 1, uniform, backbone.limits.sampling)
    assert all(drawn)


def test_only_a_plain_gpt2_is_run_so(tiny_backbone, model):
    lora = tiny_backbone("gpt2", lora={"r": 2, "lora_alpha": 4})
    assert gpt2.applies(lora.reference.model) and not gpt2.applies(lora.trainable_copy(0))
    assert not gpt2.applies(tiny_backbone("llama").reference.model)
    checkpointed = copy.deepcopy(model)
    checkpoint_layers(checkpointed)
    assert not gpt2.applies(checkpointed)
    scaled = copy.deepcopy(model)
    scaled.config.scale_attn_by_inverse_layer_idx = True
    assert not gpt2.applies(scaled)
    dropping = copy.deepcopy(model).train()
    dropping.config.attn_pdrop = 0.1
    assert not gpt2.applies(dropping)
    assert gpt2.applies(dropping.eval())


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3 * BLOCK_TOKENS + 5))
def test_a_draw_inverts_the_cumulative_distribution(seed, vocabulary):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn((20, vocabulary), generator=generator)
    uniform = torch.rand(20, generator=generator, dtype=torch.float64)
    uniform[:2] = torch.tensor([0.0, 1 - 2**-53])
    token = draw(logits, uniform)
    upper = logits.double().softmax(-1).cumsum(-1)
    lower = upper - logits.double().softmax(-1)
    assert (token >= 0).all() and (token < vocabulary).all()
    assert (lower.gather(1, token[:, None])[:, 0] <= uniform + 1e-6).all()
    assert (upper.gather(1, token[:, None])[:, 0] >= uniform - 1e-6).all()

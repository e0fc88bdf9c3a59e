"""A causal language model as a backbone: every number of a response is the same however it is computed."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prefbench import seeds
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.memory import Limit
from prefbench.backbone.language.passes import call
from prefbench.backbone.language.policies import LMPolicy, LMReward
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.backbone.language.tokens import collate
from prefbench.backbone.language.training import trainable_state
from prefbench.learn.interface import Pairs
from prefbench.learn.options import PairwiseOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from support.padded import token_logprobs

ARCHITECTURES = ("gpt2", "llama")
VOCABULARY = 300
LORA = {"r": 2, "lora_alpha": 4}

tokens = st.integers(1, VOCABULARY - 1)
prompt_ids = st.lists(tokens, min_size=1, max_size=12)
response_ids = st.lists(tokens, min_size=0, max_size=5).map(lambda ids: [*ids, 0])
row_batches = st.lists(st.tuples(prompt_ids, response_ids), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def backbones(tiny_backbone):
    return {name: tiny_backbone(name) for name in ARCHITECTURES}


def reward_model(backbone, pooling, seed=0):
    changed = backbone.reward_pooling
    backbone.reward_pooling = pooling
    model = backbone.new_reward(seed).eval()
    backbone.reward_pooling = changed
    return model


# --- padding ----------------------------------------------------------------------------------------------


@torch.no_grad()
def logprobs_of(model, rows, **how):
    batch = collate([p for p, _ in rows], [r for _, r in rows], torch.device("cpu"), **how)
    return token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch), batch


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=25)
@given(row_batches, st.integers(0, VOCABULARY - 1), st.sampled_from(["left", "right"]))
def test_logprob_is_the_same_alone_and_in_any_batch(backbones, architecture, rows, filler, side):
    model = backbones[architecture].reference.model
    together, batch = logprobs_of(model, rows, filler=filler, side=side)
    assert (together[~batch.mask] == 0).all()
    for i, row in enumerate(rows):
        alone, _ = logprobs_of(model, [row])
        torch.testing.assert_close(together[i, : len(row[1])], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "sum"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=15)
@given(row_batches, st.integers(0, VOCABULARY - 1), st.sampled_from(["left", "right"]))
def test_reward_is_the_same_alone_and_in_any_batch(backbones, architecture, pooling, rows, filler, side):
    model = reward_model(backbones[architecture], pooling)
    device = torch.device("cpu")
    with torch.no_grad():
        together = model(
            collate([p for p, _ in rows], [r for _, r in rows], device, filler=filler, side=side)
        )
        alone = torch.cat([model(collate([p], [r], device)) for p, r in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logprob_is_transformers_own_of_the_unpadded_sequence(backbones, architecture):
    model = backbones[architecture].reference.model
    rng = np.random.default_rng(0)
    rows = [
        (rng.integers(1, VOCABULARY, p).tolist(), rng.integers(0, VOCABULARY, r).tolist())
        for p, r in [(1, 1), (3, 6), (11, 2), (20, 6)]
    ]
    ours, _ = logprobs_of(model, rows, side="left", filler=7)
    for i, (prompt, response) in enumerate(rows):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + response])).logits[0]
        every = logits.log_softmax(-1)[torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1)]
        theirs = every[torch.arange(len(response)), torch.tensor(response)]
        torch.testing.assert_close(ours[i, : len(response)], theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("apart", [False, True])
def test_public_scores_do_not_depend_on_company_or_on_the_padding_token(tiny_backbone, architecture, apart):
    """`apart`: the tokenizer pads with a token of its own, not with the end token."""
    backbone = tiny_backbone(architecture)
    if apart:
        backbone.codec.tokenizer.pad_token = backbone.codec.tokenizer.convert_ids_to_tokens(5)
    prompts = ["the film", "my sister said", "a", "one of them", "it runs for three hours and then"]
    responses = [" was a joy.", "", " story about two brothers", " dull", " we left after one."]
    policy, reward = backbone.reference, LMReward(reward_model(backbone, "last"), backbone)
    together = policy.logprob(prompts, responses), reward.score(prompts, responses)
    backbone.limits.scoring.size = 1  # every row in a batch of its own
    np.testing.assert_allclose(policy.logprob(prompts, responses), together[0], atol=1e-5)
    np.testing.assert_allclose(reward.score(prompts, responses), together[1], atol=1e-5)
    order = [3, 0, 4, 2, 1]
    turned = policy.logprob([prompts[i] for i in order], [responses[i] for i in order])
    np.testing.assert_allclose(turned, together[0][order], atol=1e-5)
    assert together[0].max() < 0
    assert policy.logprob([], []).shape == (0,)


# --- pooling ----------------------------------------------------------------------------------------------


def test_pooling_reads_the_last_token_or_sums_the_response(backbones):
    backbone = backbones["gpt2"]
    prompt, response = [5, 6, 7], [8, 9, 0]
    batch = collate([prompt, [5]], [response, [8, 0]], torch.device("cpu"))
    for pooling in ("last", "sum"):
        model = reward_model(backbone, pooling)
        with torch.no_grad():
            score = model(batch)[0]
            ids = torch.tensor([prompt + response])
            each = model.head(model.trunk(input_ids=ids).last_hidden_state)[0, :, 0]
        # The response is columns 3, 4 and 5; prompt columns count for nothing.
        expected = each[5] if pooling == "last" else each[3:].sum()
        torch.testing.assert_close(score, expected, atol=1e-5, rtol=1e-5)


# --- sampling ---------------------------------------------------------------------------------------------


def uniform(rows, length, seed=0):
    return torch.rand((rows, length), generator=seeds.torch_generator(seed, "u"), dtype=torch.float64)


def drawn_tokens(model, codec, prompts, n, draws, rows_at_once=256):
    limit = Limit(rows_at_once, "responses", "sampling", lambda message: None)
    return sample_tokens(model, codec, prompts, n, draws, limit)


PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16], [9, 10, 11]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_samples_do_not_depend_on_batching_neighbours_or_order(tiny_backbone, architecture):
    # Many stops, so that rows leave the batch at different times.
    backbone = tiny_backbone(architecture, stops=frozenset(range(60)), response_tokens=8)
    model, codec = backbone.reference.model, backbone.codec
    n, draws = 3, uniform(15, 8)
    whole = drawn_tokens(model, codec, PROMPTS, n, draws)
    assert len({len(ids) for ids in whole}) > 2, "the test needs responses of several lengths"
    for rows_at_once in (1, 2, 3, 7, 1000):
        assert drawn_tokens(model, codec, PROMPTS, n, draws, rows_at_once=rows_at_once) == whole
    for i, prompt in enumerate(PROMPTS):
        rows = slice(i * n, (i + 1) * n)
        assert drawn_tokens(model, codec, [prompt], n, draws[rows]) == whole[rows]
    order = [3, 1, 4, 0, 2]
    index = [i * n + j for i in order for j in range(n)]
    turned = drawn_tokens(model, codec, [PROMPTS[i] for i in order], n, draws[index])
    assert turned == [whole[i] for i in index]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_samples_that_share_a_prompts_cache_are_those_of_separate_prompts(tiny_backbone, architecture):
    backbone = tiny_backbone(architecture, stops=frozenset(range(40)), response_tokens=8)
    model, codec = backbone.reference.model, backbone.codec
    draws = uniform(20, 8)
    shared = drawn_tokens(model, codec, PROMPTS, 4, draws)
    repeated = [prompt for prompt in PROMPTS for _ in range(4)]
    assert drawn_tokens(model, codec, repeated, 1, draws) == shared


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sampling_inverts_the_cumulative_distribution_of_the_whole_sequence(tiny_backbone, architecture):
    """Token by token, without a cache: the same uniform numbers give the same tokens."""
    backbone = tiny_backbone(architecture, response_tokens=6)
    model, codec = backbone.reference.model, backbone.codec
    draws = uniform(len(PROMPTS), 6, seed=1)
    sampled = drawn_tokens(model, codec, PROMPTS, 1, draws)
    for prompt, row, ids in zip(PROMPTS, draws, sampled, strict=True):
        for t, token in enumerate(ids):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([prompt + ids[:t]])).logits[0, -1]
            upper = logits.double().softmax(-1).cumsum(-1)
            assert upper[token] >= row[t] - 1e-6
            assert token == 0 or upper[token - 1] <= row[t] + 1e-6


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_response_ends_at_its_first_stop_and_is_no_longer_than_allowed(tiny_backbone, architecture):
    stops = frozenset({0, *range(100, 180)})
    backbone = tiny_backbone(architecture, stops=stops, response_tokens=7)
    responses = drawn_tokens(backbone.reference.model, backbone.codec, PROMPTS, 40, uniform(200, 7))
    assert {len(ids) for ids in responses} == set(range(1, 8))
    for ids in responses:
        assert not stops & set(ids[:-1])
        assert ids[-1] in stops or len(ids) == 7
    for ids, text in zip(responses, backbone.codec.decode(responses), strict=True):
        body = ids[:-1] if ids[-1] in stops else ids
        assert text == backbone.codec.tokenizer.decode(body, skip_special_tokens=True)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_first_tokens_are_distributed_as_softmax_says(backbones, seed):
    """Chi-square, at level 1e-4 for each of three fixed seeds."""
    backbone = backbones["gpt2"]
    model = backbone.reference.model
    codec = dataclasses.replace(backbone.codec, response_tokens=1)
    n = 4000
    sampled = drawn_tokens(model, codec, [[5, 6, 7]], n, uniform(n, 1, seed))
    observed = np.bincount([ids[0] for ids in sampled], minlength=VOCABULARY)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1]
    expected = n * logits.double().softmax(-1).numpy()
    rare = expected < 5
    assert (~rare).sum() >= 10
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_uniform_numbers_at_the_edges_give_a_token_of_the_vocabulary(backbones):
    backbone = backbones["gpt2"]
    edges = torch.tensor([[0.0] * 6, [1 - 2**-53] * 6], dtype=torch.float64)
    for ids in drawn_tokens(backbone.reference.model, backbone.codec, [[5], [6]], 1, edges):
        assert all(0 <= token < VOCABULARY for token in ids)


def test_public_samples_repeat_and_depend_on_the_generator(backbones):
    policy = backbones["gpt2"].reference
    prompts = ["the film was", "one", "my sister said the"]
    first = policy.sample(prompts, 2, seeds.child(0, "s"))
    assert [len(row) for row in first] == [2, 2, 2]
    assert policy.sample(prompts, 2, seeds.child(0, "s")) == first
    assert policy.sample(prompts, 2, seeds.child(1, "s")) != first
    assert policy.sample([], 2, seeds.child(0, "s")) == []


# --- prompts and responses as tokens ----------------------------------------------------------------------


def test_a_long_prompt_keeps_its_end_and_an_empty_one_gets_a_token(backbones):
    codec: Codec = backbones["gpt2"].codec
    long = "the film was a joy from start to finish. " * 5 + "the end"
    whole = codec.tokenizer(long)["input_ids"]
    assert len(whole) > 26
    short, empty, beyond = codec.prompts(["one", "", long])
    assert short == codec.tokenizer("one")["input_ids"]
    assert empty == [codec.tokenizer.bos_token_id]
    assert beyond == whole[-(codec.context - codec.response_tokens) :]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_long_and_empty_prompts_work_everywhere(backbones, architecture):
    backbone = backbones[architecture]
    prompts = ["the film was a joy from start to finish. " * 5, ""]
    sampled = backbone.reference.sample(prompts, 2, seeds.child(0, "s"))
    texts = [row[0] for row in sampled]
    assert np.isfinite(backbone.reference.logprob(prompts, texts)).all()
    for pooling in ("last", "sum"):
        reward = LMReward(reward_model(backbone, pooling), backbone)
        assert np.isfinite(reward.score(prompts, ["", texts[1]])).all()


def test_the_end_token_is_part_of_a_response_unless_the_limit_cut_it_off(backbones):
    codec: Codec = backbones["gpt2"].codec
    short, long, empty = codec.responses([" dull", " the plot was dull and the music was worse", ""])
    assert short == [*codec.tokenizer(" dull")["input_ids"], 0]
    assert len(long) == codec.response_tokens
    assert 0 not in long
    assert empty == [0]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_text_survives_encoding(backbones, texts):
    codec = dataclasses.replace(backbones["gpt2"].codec, response_tokens=500, context=1000)
    texts = [text.replace("\ufffd", "") for text in texts]
    assert codec.decode(codec.responses(texts)) == texts


def test_a_tokenizer_that_ends_every_text_does_not_end_prompts(backbones):
    codec: Codec = backbones["gpt2"].codec

    class Ending:
        bos_token_id = eos_token_id = 0

        def __call__(self, texts):
            return {"input_ids": [[*codec.tokenizer(text)["input_ids"], 0] for text in texts]}

    ending = Codec(Ending(), frozenset({0}), 6, 32)
    assert ending.prompts(["the film"]) == codec.prompts(["the film"])


# --- training and storing ---------------------------------------------------------------------------------

PAIRS = Pairs(
    ["the film", "my sister said", "a short story", "the acting"] * 2,
    [" was a joy.", " it was a joy", " and a joy", " is a joy"] * 2,
    [" was dull.", " it was dull", " and a mess", " is worse"] * 2,
)


def pairwise(backbone, epochs=1):
    options = PairwiseOptions(epochs=epochs, batch=4)
    return backbone.fit_pairwise(PAIRS, DPO(0.1), options, seed=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lora", [None, LORA])
def test_a_policy_is_read_back_exactly(tiny_backbone, tmp_path, architecture, lora):
    backbone = tiny_backbone(architecture, lora=lora)
    policy = pairwise(backbone)
    policy.save(tmp_path)
    assert not [f for f in tmp_path.rglob("*") if f.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    again = backbone.load_policy(tmp_path)
    before = policy.logprob(PAIRS.prompts, PAIRS.chosen)
    np.testing.assert_array_equal(again.logprob(PAIRS.prompts, PAIRS.chosen), before)
    assert not np.allclose(before, backbone.reference.logprob(PAIRS.prompts, PAIRS.chosen), atol=1e-4)
    drawn = policy.sample(PAIRS.prompts, 1, seeds.child(0, "s"))
    assert again.sample(PAIRS.prompts, 1, seeds.child(0, "s")) == drawn


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("pooling", ["last", "sum"])
def test_a_reward_is_read_back_exactly(tiny_backbone, tmp_path, architecture, lora, pooling):
    backbone = tiny_backbone(architecture, lora=lora, pooling=pooling)
    reward = backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1), seed=3, name="r")
    reward.save(tmp_path / "reward.safetensors")
    again = backbone.load_reward(tmp_path / "reward.safetensors")
    scores = reward.score(PAIRS.prompts, PAIRS.chosen)
    np.testing.assert_array_equal(again.score(PAIRS.prompts, PAIRS.chosen), scores)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lora_trains_adapters_and_nothing_else(tiny_backbone, architecture):
    backbone = tiny_backbone(architecture, lora=LORA)
    before = {name: p.clone() for name, p in backbone.reference.model.named_parameters()}
    model = backbone.trainable_copy(0)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)
    start = LMPolicy(model, backbone).logprob(PAIRS.prompts, PAIRS.chosen)
    np.testing.assert_allclose(start, backbone.reference.logprob(PAIRS.prompts, PAIRS.chosen), atol=1e-5)
    pairwise(backbone)
    for name, weight in backbone.reference.model.named_parameters():
        assert torch.equal(weight, before[name]), name
    reward = backbone.new_reward(0)
    names = set(trainable_state(reward))
    assert {"head.weight", "head.bias"} <= names
    assert all("lora_" in name or name.startswith("head.") for name in names)


@pytest.mark.parametrize("lora", [None, LORA])
def test_training_leaves_the_reference_as_it_was(tiny_backbone, lora):
    backbone = tiny_backbone("gpt2", lora=lora)
    before = {name: p.clone() for name, p in backbone.reference.model.named_parameters()}
    pairwise(backbone)
    backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1), seed=0, name="r")
    after = dict(backbone.reference.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(p.requires_grad for p in after.values())

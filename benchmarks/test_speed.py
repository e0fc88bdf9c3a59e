"""How fast the inner loops are, each beside the naive way of doing the same where there is one.

Run it alone, on an otherwise idle machine (the test suite never collects this folder):

    python -m pytest benchmarks/test_speed.py --benchmark-columns=min,median,rounds --benchmark-sort=name

and compare two states of the code with pytest-benchmark's `--benchmark-save` and `--benchmark-compare`.
Everything is on one thread and on a model of nano's size with random weights, so nothing is trained first
and no file is read. Ours and the naive way do the same work on the same texts; before timing, they are
checked to agree wherever both are deterministic.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from prefbench import seeds
from prefbench.backbone.base import Pairs
from prefbench.backbone.causal_lm import CausalLM, LMReward
from prefbench.backbone.tokens import Codec, collate, token_logprobs
from prefbench.learn.options import PairwiseOptions, PPOOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.welfare import population_min
from prefbench.store import Store, Work

PROMPTS, PER_PROMPT, RESPONSE_TOKENS = 128, 2, 24
BATCH = 32


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    from prefbench_tasks.synthetic_reviews import synthetic_reviews

    return list(synthetic_reviews(2000, seeds.rng(0, "benchmark")).texts)


@pytest.fixture(scope="module")
def backbone(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    """Nano's shape: width 64, two layers, four heads, 1,024 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<end>", eos_token="<end>", pad_token="<end>", padding_side="left"
    )
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=64,
        n_layer=2,
        n_head=4,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with seeds.torch_seeded(0, "benchmark"):
        model = GPT2LMHeadModel(config)
    folder = tmp_path_factory.mktemp("speed")
    return CausalLM(
        model,
        Codec(tokenizer, frozenset({tokenizer.eos_token_id}), RESPONSE_TOKENS, 64),
        digest="random",
        store=Store(folder),
        policy_learning_rate=1e-3,
        reward_learning_rate=2e-3,
        reward_pooling="last",
        work=Work("speed", folder),
    )


@pytest.fixture(scope="module")
def pairs(texts: list[str]) -> Pairs:
    """Each review's first words, and how it and another one go on."""
    words = [text.split() for text in texts[: 2 * PROMPTS]]
    prompts = [" ".join(row[:6]) for row in words[:PROMPTS]]
    endings = [" " + " ".join(row[6:]) for row in words]
    return Pairs(prompts, endings[:PROMPTS], endings[PROMPTS:])


def fresh(backbone: CausalLM, tmp_path: Path) -> CausalLM:
    """The backbone with an empty folder, so that no checkpoint of an earlier round is continued."""
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    return backbone.at(Work("speed", folder))


# ------------------------------------------------------------------------------------------------ sampling


@pytest.mark.benchmark(group="sample 128 prompts twice, 24 tokens at most")
def test_sample(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs) -> None:
    result = benchmark(lambda: backbone.reference.sample(pairs.prompts, PER_PROMPT, seeds.child(0, "s")))
    assert len(result) == PROMPTS and len(result[0]) == PER_PROMPT


@pytest.mark.benchmark(group="sample 128 prompts twice, 24 tokens at most")
def test_sample_naive_generate(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs) -> None:
    """transformers' own generate on the same model, prompts, number and lengths."""
    model, tokenizer = backbone.reference.model, backbone.codec.tokenizer

    def generate() -> list[str]:
        torch.manual_seed(0)
        inputs = tokenizer(list(pairs.prompts), return_tensors="pt", padding=True)
        with torch.no_grad():
            ids = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                do_sample=True,
                top_k=0,
                max_new_tokens=RESPONSE_TOKENS,
                num_return_sequences=PER_PROMPT,
            )
        decoded: list[str] = tokenizer.batch_decode(
            ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return decoded

    assert len(benchmark(generate)) == PROMPTS * PER_PROMPT


# ---------------------------------------------------------------------------------------- log-probabilities


def one_by_one(backbone: CausalLM, model: torch.nn.Module, prompt: str, response: str) -> torch.Tensor:
    """log pi(response | prompt), without padding or batching."""
    codec = backbone.codec
    p, r = codec.prompts([prompt])[0], codec.responses([response])[0]
    logits = model(input_ids=torch.tensor([p + r]), use_cache=False).logits[0]
    logprobs = logits[len(p) - 1 : -1].log_softmax(-1)
    total: torch.Tensor = logprobs[torch.arange(len(r)), torch.tensor(r)].sum()
    return total


@pytest.mark.benchmark(group="log-probabilities of 128 responses")
def test_logprob(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs) -> None:
    result = benchmark(lambda: backbone.reference.logprob(pairs.prompts, pairs.chosen))
    assert np.isfinite(result).all()


@pytest.mark.benchmark(group="log-probabilities of 128 responses")
def test_logprob_naive_one_by_one(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs) -> None:
    @torch.no_grad()
    def score() -> np.ndarray:
        rows = zip(pairs.prompts, pairs.chosen, strict=True)
        return np.array([float(one_by_one(backbone, backbone.reference.model, *row)) for row in rows])

    assert np.allclose(score(), backbone.reference.logprob(pairs.prompts, pairs.chosen), atol=1e-3)
    benchmark(score)


# --------------------------------------------------------------------------------------------------- rewards


@pytest.mark.benchmark(group="reward of 256 responses")
def test_reward(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs) -> None:
    reward = LMReward(backbone.new_reward(0), backbone)
    prompts, responses = [*pairs.prompts, *pairs.prompts], [*pairs.chosen, *pairs.rejected]
    assert np.isfinite(benchmark(lambda: reward.score(prompts, responses))).all()


@pytest.mark.benchmark(group="reward of 256 responses")
def test_reward_naive_one_by_one(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs) -> None:
    reward = LMReward(backbone.new_reward(0), backbone)
    prompts, responses = [*pairs.prompts, *pairs.prompts], [*pairs.chosen, *pairs.rejected]

    def score() -> np.ndarray:
        rows = zip(prompts, responses, strict=True)
        return np.array([reward.score([prompt], [response])[0] for prompt, response in rows])

    assert np.allclose(score(), reward.score(prompts, responses), atol=1e-4)
    benchmark(score)


# -------------------------------------------------------------------------------------------------- training


@pytest.mark.benchmark(group="PPO, one iteration of 128 responses")
def test_ppo_iteration(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs, tmp_path: Path) -> None:
    """Sampling, two rewards, two epochs of four minibatches; rewards cost nothing here."""
    options = PPOOptions(iterations=1, batch=PROMPTS)

    def rewards(prompts: object, responses: list[str]) -> np.ndarray:
        lengths = np.array([float(len(text)) for text in responses])
        return np.stack([lengths, -lengths], axis=1) / 100

    benchmark.pedantic(
        lambda bound: bound.optimise(
            pairs.prompts, rewards, population_min, options, seed=0, names=["long", "short"]
        ),
        setup=lambda: ((fresh(backbone, tmp_path),), {}),
        rounds=10,
        warmup_rounds=1,
    )


@pytest.mark.benchmark(group="DPO, one epoch of 128 pairs")
def test_dpo_epoch(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs, tmp_path: Path) -> None:
    options = PairwiseOptions(epochs=1, batch=BATCH)
    benchmark.pedantic(
        lambda bound: bound.fit_pairwise(pairs, DPO(options.beta), options, seed=0),
        setup=lambda: ((fresh(backbone, tmp_path),), {}),
        rounds=10,
        warmup_rounds=1,
    )


@pytest.mark.benchmark(group="DPO, one epoch of 128 pairs")
def test_dpo_epoch_naive(benchmark: BenchmarkFixture, backbone: CausalLM, pairs: Pairs) -> None:
    """The textbook loop: pairs in random order, policy and reference in every step."""
    reference, codec = backbone.reference.model, backbone.codec
    prompts = codec.prompts(pairs.prompts)
    chosen, rejected = codec.responses(pairs.chosen), codec.responses(pairs.rejected)

    def train() -> None:
        model = copy.deepcopy(reference).requires_grad_(True)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for rows in np.random.default_rng(0).permutation(len(pairs)).reshape(-1, BATCH):
            ratios = []
            for responses in (chosen, rejected):
                batch = collate([prompts[i] for i in rows], [responses[i] for i in rows], backbone.device)
                with torch.no_grad():
                    anchor = token_logprobs(reference(**batch.inputs).logits, batch).sum(1)
                ratios.append(token_logprobs(model(**batch.inputs).logits, batch).sum(1) - anchor)
            optimiser.zero_grad()
            DPO(0.1)(ratios[0] - ratios[1]).mean().backward()
            optimiser.step()

    benchmark.pedantic(train, rounds=10, warmup_rounds=1)

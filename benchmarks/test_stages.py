"""How fast every stage is, and how near that comes to what the machine can do.

Run it alone, on an otherwise idle machine (the test suite never collects this folder):

    python -m pytest benchmarks/test_stages.py --benchmark-json=stages.json && \\
        python benchmarks/table.py stages.json

Everything is on one thread. Models have random weights at the sizes of `setting.py`. What a stage has to
compute or read at least is counted, in FLOPs and bytes, and the table divides it by the rates of this
machine, which are measured before the first stage and after the last. Memory is what the process has resident
at most while a stage runs beyond what it had before, as the kernel counts it (`VmHWM`, which can be reset):
this needs Linux.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from setting import SIZES, Unkept, backbone_of, decoding_bytes, forward_flops, fresh, pairs_of
from threadpoolctl import threadpool_limits

from prefbench import registry, seeds
from prefbench.backbone.language import reward
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.build import fit_language_model
from prefbench.backbone.language.policies import LMReward
from prefbench.boards.table import build
from prefbench.estimate.estimate import problem_of
from prefbench.learn import em, exact
from prefbench.learn.game import CERTIFICATE, Game, Solution
from prefbench.learn.interface import Pairs, RewardRequest
from prefbench.learn.options import EMOptions, PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.welfare import population_min
from prefbench.spec import make_spec
from prefbench.stats import intervals
from prefbench.tools.rates import gemm_rate, memory_bandwidth

RECORDS = Path(__file__).parents[1] / "leaderboard" / "records"
PAIRS = {"nano": 1024, "gpt2": 16}
ROUNDS = {"nano": 5, "gpt2": 2, "": 3}
ANNOTATORS = 64
BACKWARD = 3
"""A step's arithmetic in forward passes: the backward pass has two products for each of the forward's."""


# ------------------------------------------------------------------------------------------------ the machine


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rates(one_thread: None) -> Iterator[list[dict[str, Any]]]:
    """What the machine can do, of which each has a figure from before the stages and one from after."""
    shapes = {"": (2048, 2048, 2048)}
    for name, size in SIZES.items():
        pair = sum(size.prompt) // 2 + sum(size.response)  # tokens, on average
        shapes[name] = (size.batch * pair, size.width, 4 * size.width)
    found: list[dict[str, Any]] = [
        {"what": "product", "size": name, "shape": shape} for name, shape in shapes.items()
    ]
    found.append({"what": "read", "size": ""})

    def measure(when: str) -> None:
        for rate in found:
            rate[when] = gemm_rate(1, shape=rate["shape"]) if "shape" in rate else memory_bandwidth(1)

    measure("before")
    yield found
    measure("after")  # every stage's information holds this same list, and is written later


def resident(field: str) -> float:
    """Bytes of this process, by the kernel: `VmRSS` now, `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def tidy() -> None:
    """Give back what earlier stages left, so that this one's memory is its own, and reset the peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


Measured = Callable[..., Any]


@pytest.fixture
def measured(benchmark: BenchmarkFixture, rates: list[dict[str, Any]]) -> Measured:
    """Calls a stage and notes its time and memory; what it did is for the test to say."""

    def measured(
        stage: str, size: str, call: Callable[..., Any], setup: Callable[[], Sequence[Any]] = tuple
    ) -> Any:
        results: list[Any] = []

        def prepare() -> tuple[Sequence[Any], dict[str, Any]]:
            results.clear()  # or an earlier round's result would count among this one's memory
            return setup(), {}

        if size != "gpt2":  # there a first call is no slower, and long
            call(*setup())
        tidy()
        before = resident("VmRSS")
        benchmark.pedantic(lambda *given: results.append(call(*given)), setup=prepare, rounds=ROUNDS[size])
        peak = resident("VmHWM") - before
        benchmark.extra_info.update(stage=stage, size=size, peak_memory=peak, rates=rates)
        return results[0]

    return measured


# -------------------------------------------------------------------------------------------- language models


@pytest.fixture(scope="module", params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backbone(size: str, tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return backbone_of(SIZES[size], tmp_path_factory.mktemp(size))


@pytest.fixture(scope="module")
def pairs(size: str) -> Pairs:
    return pairs_of(SIZES[size], PAIRS[size])


def lengths(backbone: CausalLM, pairs: Pairs) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens of the prompts, and of both responses to each."""
    codec = backbone.codec
    chosen, rejected = (map(len, codec.responses(texts)) for texts in (pairs.chosen, pairs.rejected))
    return [len(ids) for ids in codec.prompts(pairs.prompts)], list(zip(chosen, rejected, strict=True))


def total(prompts: Sequence[int], responses: Sequence[Sequence[int]]) -> int:
    return sum(prompts) + sum(map(sum, responses))


def test_reference_training(
    benchmark: BenchmarkFixture,
    measured: Measured,
    size: str,
    backbone: CausalLM,
    pairs: Pairs,
    tmp_path: Path,
) -> None:
    """One pass over texts of a prompt and a response."""
    tokenizer, batch = backbone.codec.tokenizer, SIZES[size].batch
    texts = list(map(str.__add__, pairs.prompts, pairs.chosen))
    ids = [[*row, tokenizer.eos_token_id] for row in tokenizer(texts)["input_ids"]]

    def fit(model: Any) -> list[float]:
        context, steps = SIZES[size].positions, len(ids) // batch
        work = Unkept("benchmark", tmp_path)
        return fit_language_model(model, ids, context, steps, batch, 1e-4, 0, work)

    losses = measured("reference training", size, fit, lambda: [backbone.trainable_copy(0)])
    assert np.isfinite(losses).all()
    flops = BACKWARD * forward_flops(
        SIZES[size], [1] * len(ids), [[len(row) - 1] for row in ids], "predictions"
    )
    benchmark.extra_info.update(unit="texts", items=len(ids), tokens=sum(map(len, ids)), flops=flops)


@pytest.mark.parametrize("rows", ["many", "one"])
def test_sampling(
    benchmark: BenchmarkFixture, measured: Measured, size: str, backbone: CausalLM, rows: str
) -> None:
    """As many responses as PPO draws at once, side by side; and one alone, as long as may be."""
    bound, prompts = backbone, pairs_of(SIZES[size], SIZES[size].rollouts).prompts
    if rows == "one":
        bound, prompts = backbone.at(backbone.work), prompts[:1]
        bound.codec = replace(backbone.codec, stops=frozenset())
    stage = "sampling" if rows == "many" else "sampling one response"
    texts = measured(stage, size, lambda: bound.reference.sample(prompts, 1, seeds.child(0, "sample")))
    # Here a text gets back the end that it lost; one without an end is as long as may be.
    drawn = [len(ids) for ids in backbone.codec.responses([text for (text,) in texts])]
    read = [len(ids) for ids in backbone.codec.prompts(prompts)]
    benchmark.extra_info.update(
        unit="responses",
        items=len(drawn),
        tokens=sum(drawn),
        flops=forward_flops(SIZES[size], read, [[n] for n in drawn], "predictions"),
        bytes=decoding_bytes(SIZES[size], read, drawn),
    )


def test_reward_training(
    benchmark: BenchmarkFixture, measured: Measured, size: str, backbone: CausalLM, pairs: Pairs
) -> None:
    """One pass over the pairs."""
    options = RewardOptions(reward_epochs=1, reward_batch=SIZES[size].batch)
    measured(
        "reward training",
        size,
        lambda: reward.fit(fresh(backbone), RewardRequest(pairs, options, seed=0, name="benchmark")),
    )
    texts = lengths(backbone, pairs)
    flops = BACKWARD * reward_flops(size, *texts)
    benchmark.extra_info.update(unit="pairs", items=len(pairs), tokens=total(*texts), flops=flops)


def reward_flops(size: str, prompts: Sequence[int], responses: Sequence[Sequence[int]]) -> float:
    pooled = "last" if SIZES[size].pooling == "last" else "tokens"
    return forward_flops(SIZES[size], prompts, responses, pooled)


def test_em(
    benchmark: BenchmarkFixture, measured: Measured, size: str, backbone: CausalLM, pairs: Pairs
) -> None:
    """Features, starts, one round of two clusters, and the rewards normalised, after everybody's reward."""
    if size == "gpt2":
        pytest.skip("as much as nine passes over the pairs: minutes")
    options = EMOptions(em_iterations=1, reward_batch=SIZES[size].batch)
    everybody = LMReward(backbone.new_reward(0), backbone)
    labelled = labelled_by_length(pairs)
    rewards = measured(
        "EM",
        size,
        lambda: em._expectation_maximisation(fresh(backbone), labelled, everybody, options, 0),
    )
    assert rewards.em is not None and min(rewards.em["cluster_sizes"]) > 0
    texts = lengths(backbone, pairs)
    # The features, every pair in one cluster's training, every pair's score by both clusters.
    passes = 1 + BACKWARD * options.reward_group_epochs + options.clusters
    flops = passes * reward_flops(size, *texts)
    benchmark.extra_info.update(unit="pairs", items=len(pairs), tokens=total(*texts), flops=flops)


def labelled_by_length(pairs: Pairs) -> Pairs:
    """Every other annotator prefers the longer responses, and the others the shorter ones."""
    users = np.arange(len(pairs)) % ANNOTATORS
    chosen, rejected = [], []
    for user, *responses in zip(users, pairs.chosen, pairs.rejected, strict=True):
        shorter, longer = sorted(responses, key=lambda text: len(text.split()))
        chosen.append(longer if user % 2 else shorter)
        rejected.append(shorter if user % 2 else longer)
    return Pairs(pairs.prompts, chosen, rejected, user_id=users)


def test_ppo_iteration(
    benchmark: BenchmarkFixture, measured: Measured, size: str, backbone: CausalLM
) -> None:
    """Sampling, log-probabilities, two epochs of four minibatches; the rewards cost nothing here."""
    options = PPOOptions(iterations=1, batch=SIZES[size].rollouts, early_stop_kl=None)
    prompts = pairs_of(SIZES[size], options.batch).prompts
    asked: list[str] = []
    answered: list[str] = []

    def rewards(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        asked[:], answered[:] = prompts, responses
        longer = np.array([float(len(text)) for text in responses]) / 100
        return np.stack([longer, -longer], axis=1)

    names = ["long", "short"]
    measured(
        "PPO iteration",
        size,
        lambda: fresh(backbone).optimise(
            rewards, population_min, options, prompts=prompts, seed=0, names=names
        ),
    )
    read = [len(ids) for ids in backbone.codec.prompts(asked)]
    drawn = [[len(ids)] for ids in backbone.codec.responses(answered)]
    # Drawing a token tells its log-probability; the reference's takes a pass, and each epoch trains.
    passes = 1 + 1 + BACKWARD * options.epochs
    flops = passes * forward_flops(SIZES[size], read, drawn, "predictions")
    benchmark.extra_info.update(unit="responses", items=len(read), tokens=total(read, drawn), flops=flops)


def test_dpo_epoch(
    benchmark: BenchmarkFixture, measured: Measured, size: str, backbone: CausalLM, pairs: Pairs
) -> None:
    """The reference's log-probabilities, and one pass over the pairs."""
    options = PairwiseOptions(epochs=1, batch=SIZES[size].batch)
    loss = DPO(0.1)
    measured("DPO epoch", size, lambda: fresh(backbone).fit_pairwise(pairs, loss, options, seed=0))
    texts = lengths(backbone, pairs)
    flops = (1 + BACKWARD) * forward_flops(SIZES[size], *texts, "predictions")
    benchmark.extra_info.update(unit="pairs", items=len(pairs), tokens=total(*texts), flops=flops)


@pytest.mark.parametrize("what", ["rewards", "log-probabilities"])
def test_scoring(
    benchmark: BenchmarkFixture, measured: Measured, size: str, backbone: CausalLM, pairs: Pairs, what: str
) -> None:
    """Both responses of every pair."""
    prompts, responses = [*pairs.prompts] * 2, [*pairs.chosen, *pairs.rejected]
    texts = lengths(backbone, pairs)
    if what == "rewards":
        score = LMReward(backbone.new_reward(0), backbone).score
        flops = reward_flops(size, *texts)
    else:
        score = backbone.reference.logprob
        flops = forward_flops(SIZES[size], *texts, "predictions")
    found = measured(f"scoring, {what}", size, lambda: score(prompts, responses))
    assert np.isfinite(found).all()
    benchmark.extra_info.update(unit="responses", items=len(found), tokens=total(*texts), flops=flops)


# ------------------------------------------------------------------------------------------ without a model


@pytest.mark.parametrize("samples", [1, 8])
def test_bootstrap(benchmark: BenchmarkFixture, measured: Measured, samples: int) -> None:
    """10,000 resamples of 1,000 prompts, 5 seeds and 3 groups, with so many samples a prompt."""
    rng = np.random.default_rng(0)
    scores = [rng.integers(3, size=(1000, samples, 3)).mean(1) / 2 for _ in range(5)]
    stage = f"bootstrap, {samples} sample{'s' * (samples > 1)}"
    means = measured(stage, "", lambda: intervals.resample_means(scores, np.random.default_rng(1)))
    benchmark.extra_info.update(unit="resamples", items=len(means))


@pytest.fixture
def plugins() -> None:
    registry.load_plugins()


def test_leaderboard_build(benchmark: BenchmarkFixture, measured: Measured, plugins: None) -> None:
    """The published records, read, averaged and ranked."""
    frame = measured("leaderboard build", "", lambda: build(RECORDS))
    benchmark.extra_info.update(unit="runs", items=int(frame["n_seeds"].sum()))


def test_exact_solves(benchmark: BenchmarkFixture, measured: Measured, plugins: None) -> None:
    """Maxmin, Nash and alpha optima of the default world of `bandit_two_group`, each with its certificate."""
    world = problem_of(make_spec(task="bandit_two_group", aligner="reference")).world
    assert world is not None
    states = len(world.reference)
    game = Game(world.utilities, world.reference, np.full(states, 1 / states), world.beta)

    def solve() -> list[Solution]:
        return [exact.maxmin(game), exact.nash(game), exact.alpha_welfare(game, -1.0)]

    found = measured("exact solves", "", solve)
    assert all(solution.gap <= CERTIFICATE for solution in found)
    benchmark.extra_info.update(unit="solves", items=len(found))

"""PPO: each formula by hand, the closed-form optimum of a toy, divergence, and exact resumption."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import prefbench.store.stages
from prefbench.backbone.language import ppo
from prefbench.backbone.language.training import schedule
from prefbench.errors import Diverged, UserError
from prefbench.learn.interface import Pairs
from prefbench.learn.options import PPOOptions
from prefbench.learn.welfare import Welfare, mean, population_min
from prefbench.store.progress import Silent

TRUE = torch.tensor([[True, True, True]])


def close(found: torch.Tensor, expected: Any, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), atol=atol, rtol=0)


# --- formulas ---------------------------------------------------------------------------------------------


def test_kl_is_charged_per_token_and_the_score_arrives_with_the_last():
    score = torch.tensor([10.0, 20.0, 30.0])
    kl = torch.tensor([[1.0, -2.0, 4.0], [3.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    # Row 0: -0.5, +1, -2 + 10. Row 1: -1.5 + 20, then padding. Row 2 has no token to be paid at.
    close(
        ppo.kl_penalised(score, kl, mask, 0.5),
        [[-0.5, 1.0, 8.0], [18.5, 0.0, 0.0], [0.0, 0.0, 0.0]],
    )


def test_gae_by_hand():
    rewards = torch.tensor([[1.0, 0.0, 2.0]])
    values = torch.tensor([[0.5, 1.0, -1.0]])
    # gamma = 0.9, lambda = 0.5.
    # delta_2 = 2 - (-1) = 3;  delta_1 = 0 + 0.9 * (-1) - 1 = -1.9;  delta_0 = 1 + 0.9 * 1 - 0.5 = 1.4
    # A_2 = 3;  A_1 = -1.9 + 0.45 * 3 = -0.55;  A_0 = 1.4 + 0.45 * (-0.55) = 1.1525
    advantages, returns = ppo.gae(rewards, values, TRUE, 0.9, 0.5)
    close(advantages, [[1.1525, -0.55, 3.0]])
    close(returns, [[1.6525, 0.45, 2.0]])


def test_gae_stops_at_the_end_of_a_response_whatever_lies_in_the_padding():
    mask = torch.tensor([[True, True, False]])
    rewards = torch.tensor([[1.0, 2.0, 0.0]])
    short = ppo.gae(rewards[:, :2], torch.tensor([[0.3, 0.7]]), mask[:, :2], 0.9, 0.8)
    padded = ppo.gae(rewards, torch.tensor([[0.3, 0.7, 100.0]]), mask, 0.9, 0.8)
    for a, b in zip(short, padded, strict=True):
        torch.testing.assert_close(b[:, :2], a)
        assert b[0, 2] == 0


@given(
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(0, 2**20),
)
def test_gae_with_lambda_and_gamma_one_is_reward_to_go_minus_value(rows, length, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length + 1, rows)
    mask = torch.from_numpy(np.arange(length) < lengths[:, None])
    rewards = torch.from_numpy(rng.normal(size=(rows, length))) * mask
    values = torch.from_numpy(rng.normal(size=(rows, length))) * mask
    advantages, returns = ppo.gae(rewards, values, mask, 1.0, 1.0)
    to_go = rewards.flip(1).cumsum(1).flip(1) * mask
    torch.testing.assert_close(advantages, to_go - values)
    torch.testing.assert_close(returns, to_go)


def test_gae_with_lambda_zero_is_the_one_step_error():
    rewards, values = torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([[2.0, 4.0, 8.0]])
    # 1 + 4/2 - 2, 1 + 8/2 - 4, 1 - 8
    close(ppo.gae(rewards, values, TRUE, 0.5, 0.0)[0], [[1.0, 1.0, -7.0]])


def test_whitening_is_over_real_tokens():
    values = torch.tensor([[1.0, 2.0], [3.0, 1000.0]])
    mask = torch.tensor([[True, True], [True, False]])
    # Mean 2, variance (1 + 0 + 1) / 3.
    step = 1 / (2 / 3) ** 0.5
    close(ppo.whiten(values, mask), [[-step, 0.0], [step, 0.0]])
    close(ppo.whiten(torch.tensor([[5.0, 5.0, 5.0]]), TRUE), [[0.0, 0.0, 0.0]])


def test_policy_loss_clips_only_what_would_gain():
    ratio = torch.tensor([[1.5, 1.5, 0.5, 0.5, 1.1]])
    advantage = torch.tensor([[1.0, -1.0, 1.0, -1.0, 2.0]])
    mask = torch.ones_like(ratio, dtype=torch.bool)
    # e = 0.2: min(1.5, 1.2) = 1.2; min(-1.5, -1.2) = -1.5; min(0.5, 0.8) = 0.5; min(-0.5, -0.8) = -0.8;
    # 1.1 * 2 = 2.2 untouched. Mean 1.6 / 5 = 0.32.
    old = torch.tensor([[-1.0, -2.0, -3.0, -4.0, -5.0]])
    logprob = (old + ratio.log()).requires_grad_(True)
    loss = ppo.policy_loss(logprob, old, advantage, mask, 0.2)
    assert loss.item() == pytest.approx(-0.32, abs=1e-6)
    loss.backward()
    # Clipped terms have no gradient; d(-ratio A / 5) / d logprob = -ratio A / 5 for the others.
    close(logprob.grad, [[0.0, 0.3, -0.1, 0.0, -0.44]])


def test_policy_loss_at_the_old_policy_is_minus_the_mean_advantage():
    old = torch.tensor([[-1.0, -2.0, -3.0]])
    mask = torch.tensor([[True, True, False]])
    loss = ppo.policy_loss(old.clone(), old, torch.tensor([[1.0, 4.0, 99.0]]), mask, 0.2)
    assert loss.item() == pytest.approx(-2.5)


def test_value_loss_takes_the_larger_error():
    value = torch.tensor([[1.0, 0.1, 9.0]])
    old = torch.tensor([[0.0, 0.0, 0.0]])
    returns = torch.tensor([[1.0, 1.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    # First: the value has error 0, but clipped to 0.2 it has 0.8^2 = 0.64. Second: unclipped 0.9^2 = 0.81.
    # Half their mean: 0.5 * 1.45 / 2.
    assert ppo.value_loss(value, old, returns, mask, 0.2).item() == pytest.approx(0.3625)


def test_adaptive_beta_by_hand():
    # KL 20% or more above the target: error clipped to 0.2, times 100 / 1000 samples: 2% up.
    assert ppo.adapt(0.1, 60.0, 6.0, 100, 1000) == pytest.approx(0.102)
    assert ppo.adapt(0.1, 0.0, 6.0, 100, 1000) == pytest.approx(0.098)
    assert ppo.adapt(0.1, 6.6, 6.0, 100, 1000) == pytest.approx(0.101)
    assert ppo.adapt(0.1, 6.0, 6.0, 100, 1000) == pytest.approx(0.1)


def test_schedule_warms_up_and_decays_to_a_tenth():
    assert [schedule(step, 12, 2) for step in (0, 1, 2, 7, 11)] == pytest.approx([0.5, 1, 1, 0.55, 0.19])
    assert schedule(0, 1, 1) == 1


# --- a world of seven words -------------------------------------------------------------------------------

WORDS = ("red", "green", "blue", "up", "down", "left")


def word_tokenizer() -> Any:
    """A token per word, and one that ends a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<end>": 0} | {word: i + 1 for i, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<end>", eos_token="<end>", pad_token="<end>"
    )


VALUE = {"": -0.4, "red": 1.0, "green": 0.3, "blue": -1.0, "up": 0.0, "down": 0.6, "left": -0.2}


def toy_reward(prompts, responses):
    return np.array([[VALUE[text]] for text in responses])


def next_token(model: Any, prompt: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
    return logits.double().softmax(-1).numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ppo_reaches_the_closed_form_optimum(tiny_backbone, seed):
    """One token: the maximum of E[r] - beta KL is pi_ref exp(r / beta) / Z; total variation below 0.05."""
    backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=1, context=8, seed=seed)
    prompts = ["red green", "left"]
    beta = 0.5
    options = PPOOptions(
        iterations=40, batch=512, minibatches=4, epochs=2, learning_rate=5e-3, kl_coefficient=beta
    )
    policy = backbone.optimise(toy_reward, mean(), options, prompts=prompts, seed=seed, names=["everybody"])
    reward = np.array([VALUE[text] for text in ("", *WORDS)])
    for prompt in backbone.codec.prompts(prompts):
        reference = next_token(backbone.reference.model, prompt)
        best = reference * np.exp(reward / beta)
        best /= best.sum()
        moved = np.abs(best - reference).sum() / 2
        assert moved > 0.2, "the optimum should be far enough from the start to mean something"
        assert np.abs(next_token(policy.model, prompt) - best).sum() / 2 < 0.05


def test_the_kl_estimate_is_the_exact_kl_of_the_responses(tiny_backbone):
    """Responses of up to two tokens, all 49 - 6 of them enumerated; four standard errors."""
    backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=2, context=8)
    other = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=2, context=8, seed=1)
    model, reference = other.reference.model, backbone.reference.model
    prompt = [1, 2]
    exact = 0.0
    first, first_reference = next_token(model, prompt), next_token(reference, prompt)
    for a, b in itertools.product(range(7), range(7)):
        if a == 0:  # ended at once: whatever b is, the response is the end token alone
            exact += first[0] * np.log(first[0] / first_reference[0]) if b == 0 else 0.0
            continue
        p = first[a] * next_token(model, [*prompt, a])[b]
        q = first_reference[a] * next_token(reference, [*prompt, a])[b]
        exact += p * np.log(p / q)
    head = ppo.ValueHead(backbone.width)
    rollout = ppo.sample(backbone, model, head, [prompt] * 8000, seed=0, iteration=0)
    estimates = ((rollout.logprob - rollout.reference) * rollout.mask).sum(1).numpy()
    error = estimates.std() / len(estimates) ** 0.5
    assert exact > 0.1
    assert abs(estimates.mean() - exact) < 4 * error
    # The public log-probabilities say the same of the same responses, and the value head starts at zero.
    assert (rollout.value == 0).all()
    texts, prompts = rollout.texts[:200], ["red green"] * 200
    public = other.reference.logprob(prompts, texts) - backbone.reference.logprob(prompts, texts)
    np.testing.assert_allclose(public, estimates[:200], atol=1e-4)


def test_population_min_raises_the_reward_of_the_worst_group(tiny_backbone):
    backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=1, context=8)

    def rewards(prompts, responses):
        # One group likes red, the other blue; neither likes anything else.
        return np.array([[float(text == "red"), float(text == "blue")] for text in responses])

    options = PPOOptions(iterations=30, batch=256, learning_rate=5e-3, kl_coefficient=0.01)
    policy = backbone.optimise(
        rewards, population_min, options, prompts=["up down"], seed=0, names=["a", "b"]
    )
    probability = next_token(policy.model, backbone.codec.prompts(["up down"])[0])
    assert min(probability[1], probability[3]) > 0.25
    history = json.loads((backbone.work.path / "history.json").read_text())
    assert len(history) == 30
    assert {"reward/a", "reward/b", "kl", "coefficient", "policy_loss", "value_loss"} <= history[0].keys()
    assert history[0]["kl"] == pytest.approx(0, abs=1e-5)


# --- divergence -------------------------------------------------------------------------------------------

QUICK = {"iterations": 4, "batch": 16, "minibatches": 2, "epochs": 1}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_not_finite_is_a_divergence(tiny_backbone, bad):
    backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=2, context=8)
    calls = []

    def rewards(prompts, responses):
        calls.append(len(responses))
        return np.full((len(responses), 1), bad if len(calls) == 3 else 0.0)

    with pytest.raises(Diverged, match="not finite at iteration 2"):
        backbone.optimise(rewards, mean(), PPOOptions(**QUICK), prompts=["red"], seed=0, names=["x"])
    assert calls == [16, 16, 16]


def test_a_policy_too_far_from_the_reference_is_a_divergence(tiny_backbone):
    backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=2, context=8)
    options = PPOOptions(
        **QUICK | {"iterations": 40, "kl_coefficient": 0.0, "learning_rate": 0.03, "kl_limit": 0.5}
    )
    with pytest.raises(Diverged, match="nats from the reference") as caught:
        backbone.optimise(
            lambda prompts, responses: np.array([[float("blue" in text)] for text in responses]),
            mean(),
            options,
            prompts=["red"],
            seed=0,
            names=["x"],
        )
    assert "kl_coefficient" in str(caught.value)


def test_weights_that_are_not_finite_are_a_divergence(tiny_backbone):
    backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=2, context=8)
    options = PPOOptions(**QUICK | {"learning_rate": 1e30, "iterations": 10, "early_stop_kl": None})
    with pytest.raises(Diverged):
        backbone.optimise(
            lambda prompts, responses: np.array([[float(len(text))] for text in responses]),
            mean(),
            options,
            prompts=["red"],
            seed=0,
            names=["x"],
        )


# --- resuming ---------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


class Stopper(Silent):
    """Raises at a step."""

    def __init__(self, at: int | None) -> None:
        self.at = at

    def step(self, stage, done, total, values):
        if done == self.at:
            raise Interrupted


@pytest.mark.parametrize(("lora", "kept"), [(None, "last"), ({"r": 2, "lora_alpha": 4}, "best")])
def test_an_interrupted_run_ends_with_the_same_bits(tiny_backbone, tmp_path, monkeypatch, lora, kept):
    held_out = Pairs(["left"], ["red"], ["red green"])
    monkeypatch.setattr(prefbench.store.stages, "CHECKPOINT_SECONDS", 0)
    options = PPOOptions(**QUICK | {"iterations": 7, "epochs": 2, "kl_target": 0.5, "kl_horizon": 50})
    options = options.model_copy(update={"checkpoint": kept})

    def optimise(folder, stops):
        backbone = tiny_backbone(
            "gpt2", tokenizer=word_tokenizer(), response_tokens=3, context=8, lora=lora, folder=folder
        )
        for at in stops:
            backbone.work.reporter = Stopper(at)
            try:
                policy = backbone.optimise(
                    lambda prompts, responses: np.array([[float(len(text))] for text in responses]),
                    mean(),
                    options,
                    prompts=["red green", "left", "up"],
                    seed=0,
                    names=["x"],
                    held_out=[held_out],
                )
            except Interrupted:
                continue
            assert at is None
            return policy.model.state_dict(), (folder / "work" / "history.json").read_text()
        raise AssertionError("never finished")

    weights, history = optimise(tmp_path / "whole", [None])
    resumed, resumed_history = optimise(tmp_path / "cut", [1, 3, 6, None])
    assert resumed.keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.equal(resumed[name], weight), name
    assert resumed_history == history
    assert len({row["coefficient"] for row in json.loads(history)}) > 1


# --- welfares of one's own --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "values", "batch"])
def test_any_function_of_the_reward_matrix_is_a_welfare(tiny_backbone, kind):
    """Each does to the bit what the built-in one that computes the same does."""
    shares = torch.tensor([0.75, 0.25])
    own, known = {
        "plain": (lambda rewards: rewards.min(axis=1), Welfare("per_sample_min")),
        "values": (
            Welfare.of_values(lambda v: torch.sum(v * shares)),
            mean([0.75, 0.25]),
        ),
        "batch": (lambda rewards: rewards[:, rewards.mean(axis=0).argmin()], population_min),
    }[kind]

    def rewards(prompts, responses):
        return np.array([[text.count("red"), -text.count("blue")] for text in responses], dtype=float)

    policies, options = [], PPOOptions(**QUICK)
    for welfare in (own, known, mean()):
        backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=2, context=8)
        made = backbone.optimise(rewards, welfare, options, prompts=["red", "up"], seed=0, names=["a", "b"])
        policies.append(made.logprob(["red"] * 3, ["red", "blue", "up red"]))
    assert np.array_equal(policies[0], policies[1])
    assert not np.array_equal(policies[0], policies[2])


@pytest.mark.parametrize(
    ("welfare", "error", "said"),
    [
        (lambda rewards: rewards, UserError, "one number per response"),
        (lambda rewards: rewards[:, 0] / 0, Diverged, "not finite"),
        (Welfare.of_values(lambda v: 1.0), UserError, "computed with torch"),
        (Welfare.of_values(lambda v: -v.sum()), Diverged, "rise when all of them gain"),
        (Welfare.of_values(lambda v: torch.log(v - 9).sum() * 0), Diverged, "must be finite"),
        (3, UserError, "3 is no welfare"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value:RuntimeWarning")
def test_what_is_no_welfare_is_one_line(tiny_backbone, welfare, error, said):
    backbone = tiny_backbone("gpt2", tokenizer=word_tokenizer(), response_tokens=2, context=8)

    def rewards(prompts, responses):
        return np.ones((len(responses), 2))

    with pytest.raises(error, match=said) as caught:
        backbone.optimise(rewards, welfare, PPOOptions(**QUICK), prompts=["red"], seed=0, names=["a", "b"])
    assert "\n" not in str(caught.value)

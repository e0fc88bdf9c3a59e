"""Options of the learning algorithms. Apart from the algorithms, so that listing them needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefbench.registry import Options
from prefbench.search import LANGUAGE, LISTED, Choice, LogUniform


class RewardOptions(Options):
    """Bradley-Terry reward models (`learn/rewards.py`)."""

    search = {
        "reward_epochs": Choice((2, 4, 8), LANGUAGE),
        "reward_checkpoint": Choice(("last", "best"), LANGUAGE),
    }

    reward_epochs: int = Field(4, ge=1)
    """Passes over the pairs."""
    reward_group_epochs: int = Field(2, ge=1)
    """Passes over one group's or cluster's pairs, starting from everybody's reward."""
    reward_group_rate: float = Field(1 / 3, gt=0, le=1)
    """Learning rate of these passes, as a share of that of everybody's reward."""
    reward_batch: int = Field(32, ge=1)
    """Pairs per gradient step."""
    reward_learning_rate: float | None = Field(None, gt=0)
    """Peak AdamW learning rate; none means the model's own default."""
    reward_weight_decay: float = Field(0.01, ge=0)
    """AdamW weight decay."""
    reward_checkpoint: Literal["last", "best"] = "last"
    """Weights that are kept: the last, or those on the way that explain the validation pairs best."""


class EMOptions(RewardOptions):
    """Mixture of rewards by expectation-maximisation (`learn/em.py`)."""

    search = {
        "reward_group_epochs": Choice((1, 2, 4), LANGUAGE),
        "clusters": Choice((2, 3, 4)),
        "em_restarts": Choice((3, 10, 30, 100)),
        "em_assignment": Choice(("hard", "soft")),
    }

    clusters: int = Field(2, ge=1, le=64)
    """Number of reward models K, the paper's |U|."""
    em: Literal["features", "plain"] = "features"
    """Groups found on frozen features by held-out likelihood, with a reward trained once for each
    (`learn/grouping.py`), or rewards trained in every round, as the paper has it."""
    em_restarts: int = Field(10, ge=0)
    """Random starts tried besides the spectral one; the likeliest is kept."""
    em_iterations: int = Field(10, ge=1)
    """Most E- and M-steps with reward models. Of groups found on features there are at most two."""
    em_assignment: Literal["hard", "soft"] = "hard"
    """Each annotator wholly in one cluster (the paper's), or in all of them by posterior probability."""
    em_unit: Literal["annotator", "pair"] = "annotator"
    """The unit that is placed in a cluster: annotators, or single pairs whoever labelled them, which is the
    control that must do worse."""
    select_clusters: int | None = Field(None, ge=1, le=64)
    """Try 1 to this many clusters and keep the number that explains held-out pairs; none keeps `clusters`."""


class PPOOptions(Options):
    """Proximal policy optimisation (`backbone/language/ppo.py`)."""

    search = {
        "kl_coefficient": LogUniform(0.03, 1.0),
        "iterations": Choice((30, 60, 120), LANGUAGE),
        "learning_rate": LogUniform(0.3, 3.0, LANGUAGE, times="policy_learning_rate"),
        "checkpoint": Choice(("last", "best"), LANGUAGE),
    }
    former_defaults = {"kl_coefficient": (0.15, 3)}
    strength = "kl_coefficient"

    iterations: int = Field(60, ge=1)
    """Rounds of sampling and updating."""
    batch: int = Field(128, ge=2)
    """Prompts sampled per iteration."""
    minibatches: int = Field(4, ge=1)
    """Gradient steps per epoch."""
    epochs: int = Field(2, ge=1)
    """Passes over each batch of samples."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak Adam learning rate; none means the model's own default."""
    kl_coefficient: float | None = Field(None, ge=0)
    """Weight beta of the per-token KL penalty, in units of normalised reward per nat; none means the model's
    own, 0.3 for language models, and in worlds the KL charge that regret is judged at."""
    kl_target: float | None = Field(None, gt=0)
    """Nats per response that an adaptive beta steers to; none keeps beta fixed."""
    kl_horizon: float = Field(2000, gt=0)
    """Responses over which an adaptive beta reacts."""
    discount: float = Field(1.0, gt=0, le=1)
    """Gamma of generalised advantage estimation."""
    gae_lambda: float = Field(0.95, ge=0, le=1)
    """Lambda of generalised advantage estimation."""
    clip: float = Field(0.2, gt=0)
    """Clip range of the probability ratio."""
    value_clip: float = Field(0.2, gt=0)
    """Clip range of the value update."""
    value_coefficient: float = Field(0.1, ge=0)
    """Weight of the value loss."""
    whiten_advantages: bool = True
    """Give each batch's advantages zero mean and unit variance."""
    early_stop_kl: float | None = Field(0.1, gt=0)
    """Nats per token between old and new policy at which the rest of an iteration's updates is skipped."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradient clipping."""
    kl_limit: float = Field(200.0, gt=0)
    """Nats per response from the reference at which the run is called diverged."""
    checkpoint: Literal["last", "best"] = "last"
    """Policy that is kept: the last, or the one on the way that wins most validation pairs, of the group or
    cluster that wins least."""


class ExactOptions(Options):
    """Exact optima, where responses can be listed."""

    search = {"kl_coefficient": LogUniform(0.03, 1.0, LISTED)}
    former_defaults = {"kl_coefficient": (0.15, 3)}
    strength = "kl_coefficient"

    kl_coefficient: float | None = Field(None, gt=0)
    """Weight beta of the KL penalty of the exact optimum, where responses can be listed; none means the KL
    charge that regret is judged at."""


def kl_coefficient(asked: float | None, own: float) -> float:
    """The weight beta of a KL penalty: what options ask for, or the backbone's own where they name none."""
    return own if asked is None else asked


class PersonalOptions(ExactOptions):
    """A policy for each person's weights of shared rewards (`learn/routing.py`); none is trained."""

    search = {"candidates": Choice((2, 4, 8, 16, 32, 64), LANGUAGE)}

    candidates: int = Field(16, ge=2, le=1024)
    """Reference samples that a response is chosen from by a language model, the n of best-of-n."""


class EMPersonalOptions(EMOptions, PersonalOptions):
    """Clusters of annotators by EM, and for each person the posterior mean of their rewards."""

    search = {"prior": Choice(("shares", "worst_off"))}

    prior: Literal["shares", "worst_off"] = "shares"
    """Chances of the clusters before a person is known: the shares of annotators, or those whose policy is
    the best one for the worst off."""


class GroupPersonalOptions(RewardOptions, PersonalOptions):
    """A reward for each known group, and for each person that of hers."""

    search = {"reward_group_epochs": Choice((1, 2, 4), LANGUAGE), "prior": Choice(("shares", "worst_off"))}

    prior: Literal["shares", "worst_off"] = "shares"
    """Weights of the groups for whoever says no group: their shares, or those whose policy is the best one
    for the worst off."""


class LowRankOptions(RewardOptions, PersonalOptions):
    """A few linear rewards that all people share, and each one's weights of them (`learn/low_rank.py`)."""

    search = {
        "rank": Choice((2, 3, 5, 10)),
        "direction_ridge": LogUniform(0.1, 10.0),
        "weight_ridge": LogUniform(0.01, 10.0),
    }

    rank: int = Field(2, ge=1, le=256)
    """Number of shared rewards K."""
    direction_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of the shared rewards, in units of a usual one."""
    weight_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of a person's weights, which draws them to equal ones, and a new person's to the mean."""


class CodeOptions(RewardOptions, PersonalOptions):
    """A code of each person that an encoder reads off her pairs (`learn/variational.py`)."""

    search = {
        "latent": Choice((1, 2, 4, 8)),
        "code_kl": LogUniform(1e-3, 1.0),
        "code_steps": Choice((100, 200, 500)),
    }

    latent: int = Field(2, ge=1, le=512)
    """Numbers in a code."""
    code_kl: float = Field(0.1, ge=0)
    """Weight of the divergence of a code from the prior, beside the log-likelihood of a person's pairs."""
    code_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of the rewards by code, in units of a usual one."""
    code_pairs: int = Field(8, ge=1)
    """Most pairs of a context in training."""
    code_steps: int = Field(200, ge=1)
    """Steps of Adam; many let the encoder know the annotators by heart."""
    code_learning_rate: float = Field(0.01, gt=0)
    """Learning rate of Adam."""


class SingleRewardOptions(RewardOptions, PPOOptions):
    """A reward model and PPO on it."""


class SpreadOptions(SingleRewardOptions):
    """A reward that is a distribution over people, and PPO on a low value of it (`learn/cautious.py`)."""

    search = {"caution": LogUniform(0.1, 3.0), "spread_ridge": LogUniform(0.1, 10.0)}

    caution: float = Field(2.326, ge=0)
    """Standard deviations below the mean, the c of mu - c SD; by default a normal's first percentile."""
    spread_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of what people's distribution is read off features by, in units of a usual one."""


class WelfareOptions(RewardOptions, PPOOptions):
    """Several reward models and PPO on their welfare."""

    search = {"reward_group_epochs": Choice((1, 2, 4), LANGUAGE)}

    welfare: Literal["population_min", "per_sample_min", "dual"] = "population_min"
    """Welfare, which makes one number of the groups' rewards: the paper's Algorithm 1, its authors' scripts,
    or mirror descent on the groups' weights."""
    dual_step: float = Field(0.1, gt=0)
    """Step of that mirror descent."""
    normalise: bool = True
    """Centre each reward on reference responses and divide by its spread there before comparing groups."""


class MaxMinOptions(EMOptions, WelfareOptions):
    """Clusters of annotators by EM, a reward model each, and PPO on their welfare."""


class SocialWelfareOptions(EMOptions, PPOOptions):
    """Clusters of annotators by EM, a reward model each, and PPO on a social welfare function."""

    search = {"weights": Choice(("equal", "shares"))}

    welfare: Literal["mean", "nash", "leximin", "alpha"] = "nash"
    """Welfare of the clusters' values, which is maximised."""
    alpha: float = Field(-1.0, lt=0)
    """Exponent of the welfare `alpha`: towards 0 the mean, to minus infinity the minimum."""
    weights: Literal["equal", "shares"] = "equal"
    """Count every cluster alike, or by its annotators. Leximin has no weights."""


class PairTrainingOptions(Options):
    """Options that all fits of a policy to pairs have in common (`learn/pairwise.py`)."""

    former_defaults = {"beta": (0.1, 2)}
    search = {
        "beta": LogUniform(0.03, 3.0),
        "epochs": Choice((1, 2, 4), LANGUAGE),
        "learning_rate": LogUniform(0.2, 2.0, LANGUAGE, times="policy_learning_rate"),
        "checkpoint": Choice(("last", "best"), LANGUAGE),
    }
    strength = "beta"

    beta: float | None = Field(None, gt=0)
    """Strength of the implicit KL penalty, in nats of the reward per nat; none means the model's own, 0.1 for
    language models, and in worlds the one whose optimum has the KL charge that regret is judged at."""
    epochs: int = Field(4, ge=1)
    """Passes over the pairs."""
    batch: int = Field(32, ge=1)
    """Pairs per gradient step."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak AdamW learning rate; none means the model's own default."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradient clipping."""
    checkpoint: Literal["last", "best"] = "last"
    """Policy that is kept: the last, or the one on the way with the smallest loss of the validation pairs."""


class PairwiseOptions(PairTrainingOptions):
    """Direct preference optimisation."""

    search = {"label_smoothing": Choice((0.0, 0.1))}

    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share of flipped labels (conservative DPO)."""


class IPOOptions(PairTrainingOptions):
    """Identity preference optimisation: a pair's log-ratios are driven to differ by 1 / (2 beta)."""


class GroupStepOptions(Options):
    """Group-robust optimisation: ascent on the groups' weights."""

    search = {"group_step": LogUniform(0.01, 1.0, LANGUAGE)}

    group_step: float = Field(0.1, gt=0)
    """Step of the exponentiated-gradient ascent; where fits are exact it plays no part."""


class RobustDPOOptions(GroupStepOptions, PairwiseOptions):
    """DPO for the group with the largest loss."""


class RobustIPOOptions(GroupStepOptions, IPOOptions):
    """IPO for the group with the largest loss."""


class EMDPOOptions(EMOptions, PairwiseOptions):
    """A mixture of DPO policies by EM."""

    search = dict.fromkeys(("reward_epochs", "reward_checkpoint", "reward_group_epochs", "em_assignment"))

    em_iterations: int = Field(5, ge=1)
    """Most E- and M-steps; each M-step fits a policy per cluster."""
    em_unit: Literal["annotator"] = "annotator"
    """Annotators are placed in clusters, not single pairs."""
    select_clusters: None = None
    """No number of clusters is chosen: `clusters` says it."""
    regret_prompts: int = Field(256, ge=1)
    """Prompts that the clusters' regrets are estimated on; where responses are listed, all of them."""


class SoupsOptions(SingleRewardOptions):
    """A policy per group, and the average of their weights."""

    search = {
        "reward_group_epochs": Choice((1, 2, 4), LANGUAGE),
        "weights": Choice(("equal", "shares")),
    }

    weights: Literal["equal", "shares"] = "equal"
    """Weigh every group's policy alike, or by its annotators."""


class MPOOptions(SingleRewardOptions):
    """A policy per group, and mirror descent on the exponents of their product."""

    search = {
        "reward_group_epochs": Choice((1, 2, 4), LANGUAGE),
        "mpo_steps": Choice((25, 50, 100)),
        "mpo_step": LogUniform(0.01, 1.0),
    }

    mpo_steps: int = Field(50, ge=1)
    """Steps of mirror descent."""
    mpo_step: float = Field(0.1, gt=0)
    """Step size of the mirror descent."""
    mpo_batch: int = Field(128, ge=1)
    """Prompts sampled in each; where responses are listed, all of them."""

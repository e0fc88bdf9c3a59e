"""Bradley-Terry rewards: P(y+ beats y- at x) = sigmoid(r(x, y+) - r(x, y-)).

`fit_linear` is the convex special case on frozen features; those of a language model are trained in
`backbone/language/reward.py`. `fit_everybody` and `fit_groups` are what aligners call, and store what they
fit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError
from prefbench.learn.interface import Backbone, Pairs, Reward, Rewards
from prefbench.learn.options import RewardOptions
from prefbench.problem.brought import SIDE, STRENGTH
from prefbench.stats.intervals import wilson
from prefbench.team import team
from prefbench.text import text_digest

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from prefbench.problem.view import View
    from prefbench.store.stages import Work


def pairs_of(rows: Dataset) -> Pairs:
    """Preference rows as `Pairs`, with what else the rows show: ids, groups, strength, side columns."""
    columns = rows[:]  # at once: row by row takes as long as a whole fit in a small world
    side = {name.removeprefix(SIDE): columns[name] for name in columns if name.startswith(SIDE)}
    return Pairs(
        columns["prompt"],
        columns["chosen"],
        columns["rejected"],
        _ids(columns["user_id"]) if "user_id" in columns else None,
        np.asarray(columns["group"], dtype=object) if "group" in columns else None,
        strength=np.asarray(columns[STRENGTH], dtype=np.float64) if STRENGTH in columns else None,
        side={name: np.asarray(values, dtype=np.float64) for name, values in side.items()},
    )


def strength_of(pairs: Pairs) -> np.ndarray | None:
    """Strength of the labels of pairs, [pairs]; None where all are certain."""
    return None if pairs.strength is None or (pairs.strength == 1).all() else pairs.strength


def balanced(pairs: Pairs) -> Pairs:
    """The pairs with weights N / N_g, so that every group weighs the same."""
    assert pairs.group is not None
    _, group, count = np.unique(pairs.group.astype(str), return_inverse=True, return_counts=True)
    return replace(pairs, weights=len(pairs) / count[group])


def by_cluster(pairs: Pairs, rewards: Rewards) -> list[Pairs]:
    """Each cluster's pairs, by where their annotators were placed, without those of people not placed."""
    assert rewards.assignment is not None and pairs.user_id is not None
    cluster = np.array([rewards.assignment.get(user, -1) for user in pairs.user_id.tolist()])
    return [pairs[np.flatnonzero(cluster == k)] for k in range(len(rewards.names))]


def _ids(values: Sequence[int] | Sequence[str]) -> np.ndarray:
    """Annotators' ids: whole numbers, or text of any length."""
    return np.asarray(values, dtype=object if values and isinstance(values[0], str) else np.int64)


def pairs_digest(pairs: Pairs) -> str:
    """Identifies labelled pairs, weights, strength and side columns included, in stage keys."""
    parts = [*pairs.prompts, *pairs.chosen, *pairs.rejected]
    for extra in (pairs.user_id, pairs.group, pairs.weights):
        parts.extend(map(str, [] if extra is None else extra.tolist()))
    more = {} if pairs.strength is None else {"strength": pairs.strength}
    for name, values in {**more, **{SIDE + name: pairs.side[name] for name in sorted(pairs.side)}}.items():
        parts.extend([name, *map(str, values.tolist())])
    return text_digest(parts)


def loss(
    margin: torch.Tensor,
    total: int | None = None,
    weights: torch.Tensor | None = None,
    strength: torch.Tensor | None = None,
) -> torch.Tensor:
    """Bradley-Terry negative log-likelihood, -log sigmoid(r+ - r-), averaged over [pairs].

    With strength Z [pairs] it is -Z log sigmoid(r+ - r-) - (1 - Z) log sigmoid(r- - r+) (arXiv 2411.12843).
    Of a part of a batch that has `total` pairs it is the part's share of that average. `weights` [pairs] are
    1 on average.
    """
    from torch.nn import functional

    each = -functional.logsigmoid(margin)
    if strength is not None:
        each = strength * each - (1 - strength) * functional.logsigmoid(-margin)
    return (each if weights is None else weights * each).sum() / (total or len(margin))


def log_likelihood(margin: np.ndarray, strength: np.ndarray | None = None) -> np.ndarray:
    """log sigmoid(r+ - r-) of each pair, elementwise; with strength Z of both directions, by Z and 1 - Z."""
    chosen = np.asarray(-np.logaddexp(0.0, -margin))
    return chosen if strength is None else strength * chosen - (1 - strength) * np.logaddexp(0.0, margin)


def residual(margin: np.ndarray, strength: np.ndarray | None = None) -> np.ndarray:
    """The derivative of `log_likelihood` by the margin, elementwise: Z - sigmoid(r+ - r-)."""
    from scipy.special import expit

    return np.asarray(expit(-margin) if strength is None else strength - expit(margin))


def fit_linear(
    difference: Any,
    penalty: float = 1.0,
    weights: np.ndarray | None = None,
    strength: np.ndarray | None = None,
    *,
    precise: bool = False,
) -> np.ndarray:
    """Maximum-likelihood linear Bradley-Terry reward with a ridge penalty.

    Args:
        difference: feature differences chosen minus rejected, [pairs, d]; an array or a sparse matrix.
        penalty: weight of |w|^2 / 2 beside the summed negative log-likelihood.
        weights: of the pairs, relative to each other.
        strength: of their labels, [pairs]; None where all are certain.
        precise: go on to the last digits, for worlds whose answers are exact.

    Returns:
        The weights w [d] that minimise sum -log sigmoid(w . difference) + penalty |w|^2 / 2.
    """
    from scipy.optimize import minimize

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = difference @ w
        value = -(counts * log_likelihood(margin, strength)).sum() + penalty * (w @ w) / 2
        return float(value), penalty * w - difference.T @ (counts * residual(margin, strength))

    counts = np.ones(difference.shape[0]) if weights is None else weights / weights.mean()
    options: Any = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 5000} if precise else None
    found = minimize(objective, np.zeros(difference.shape[1]), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x)


def fit_everybody(
    backbone: Backbone, pairs: Pairs, options: RewardOptions, seed: int, held_out: Pairs | None = None
) -> Rewards:
    """One stored reward for all pairs, blind to whose they are; single_reward and EM share it.

    `held_out` pairs choose between the weights of its training where the options let them.
    """
    blind = {"everybody": replace(pairs, user_id=None, group=None)}
    checked = None if held_out is None else {"everybody": replace(held_out, user_id=None, group=None)}
    return _fit_stored(backbone, blind, options, seed, checked)


def fit_worst_group(
    backbone: Backbone, pairs: Pairs, options: RewardOptions, group_step: float, seed: int, held_out: Pairs
) -> Rewards:
    """One stored reward for all pairs, with the smallest largest mean loss of a known group."""
    named = {"everybody": pairs}
    return _fit_stored(backbone, named, options, seed, {"everybody": held_out}, group_step=group_step)


def fit_groups(
    backbone: Backbone,
    data: Mapping[str, Pairs],
    options: RewardOptions,
    seed: int,
    held_out: Mapping[str, Pairs] | None = None,
) -> Rewards:
    """One stored reward per group (its name to its pairs), each starting from everybody's.

    A small group has few pairs; what everybody attends to need not be learned from those alone. `held_out`
    pairs of each group choose between the weights of its training where the options let them.
    """
    checked = None if held_out is None else _pooled(held_out)
    everybody = fit_everybody(backbone, _pooled(data), options, seed, checked).models[0]
    return _fit_stored(backbone, data, group_options(options), seed, held_out, everybody, options)


def fit_known_groups(view: View, backbone: Backbone, options: RewardOptions) -> Rewards:
    """`fit_groups` on the true groups of a view that shows them."""
    held_out = pairs_by_group(view, "validation")
    rewards = fit_groups(backbone, pairs_by_group(view, "train"), options, view.seed, held_out)
    say_what_was_not_learned(backbone, rewards)
    return rewards


def pairs_by_group(view: View, split: str) -> dict[str, Pairs]:
    """The pairs of a split by the true group that labelled them, of a view that shows the groups."""
    pairs = pairs_of(view.preferences[split])
    assert view.shares is not None and pairs.group is not None
    return {name: pairs[np.flatnonzero(pairs.group == name)] for name in view.shares}


def group_among(view: View, wanted: str | None, *, smallest: bool = False) -> str:
    """The group that an option names, or else that with the largest share, or with the smallest.

    Of equal ones the largest is the first and the smallest the last, as the task lists them.

    Raises:
        UserError: no group has that name.
    """
    assert view.shares is not None
    shares = view.shares
    if wanted is None:
        return (
            min(reversed(shares), key=shares.__getitem__) if smallest else max(shares, key=shares.__getitem__)
        )
    if wanted not in shares:
        raise UserError(
            f"aligner.group: no group is called '{wanted}'; the task has {', '.join(shares)}: name one of "
            "them."
        )
    return wanted


def _pooled(data: Mapping[str, Pairs]) -> Pairs:
    parts = list(data.values())
    known = [part.strength for part in parts if part.strength is not None]
    return Pairs(
        [text for part in parts for text in part.prompts],
        [text for part in parts for text in part.chosen],
        [text for part in parts for text in part.rejected],
        strength=np.concatenate(known) if len(known) == len(parts) else None,
    )


def group_options(options: RewardOptions) -> RewardOptions:
    """The options of a group's fit: fewer passes, since it starts from everybody's reward."""
    return options.model_copy(update={"reward_epochs": options.reward_group_epochs})


def _fit_stored(
    backbone: Backbone,
    data: Mapping[str, Pairs],
    options: RewardOptions,
    seed: int,
    held_out: Mapping[str, Pairs] | None,
    start: Reward | None = None,
    started_with: RewardOptions | None = None,
    group_step: float | None = None,
) -> Rewards:
    """Fit as a stage, normalised on all responses of the pairs.

    `started_with` are the options that `start` was fitted to the same pairs with.

    Those are samples of the reference policy, so their mean and spread are the reference's.
    """
    held_out = held_out or {}
    key = {
        "reference": backbone.digest,
        "training": dict(backbone.training),
        "pairs": {name: pairs_digest(pairs) for name, pairs in data.items()},
        "held_out": {name: pairs_digest(pairs) for name, pairs in held_out.items()},
        "options": _reward_options(options),
        "start": None if started_with is None else _reward_options(started_with),
        "seed": seed,
        **({} if group_step is None else {"group_step": group_step}),
    }

    def compute(work: Work) -> None:
        bound = backbone.at(work)
        more: dict[str, Any] = {"start": start, "adapts": start is not None, "group_step": group_step}
        models = [
            bound.fit_reward(pairs, options, seed=seed, name=name, held_out=held_out.get(name), **more)
            for name, pairs in data.items()
        ]
        scores = [[scores_of(model, pairs) for pairs in data.values()] for model in models]
        each = [np.concatenate([part.ravel() for part in parts]) for parts in scores]
        rewards = normalised(models, list(data), each)
        if held_out:
            named = zip(data, models, strict=True)
            rewards.held_out = [ordered(model, held_out[name]) for name, model in named]
        save_rewards(work.path, rewards)

    return load_rewards(backbone, backbone.cached("rewards", key, compute))


def _reward_options(options: RewardOptions) -> dict[str, Any]:
    return {k: v for k, v in options.model_dump().items() if k.startswith("reward_")}


def ordered(reward: Reward, pairs: Pairs) -> tuple[float, int]:
    """Pairs whose chosen response has the larger reward, and all pairs.

    A label that is not certain counts as its strength where it is ordered so, as the rest of 1 where not.
    """
    if not len(pairs):
        return 0, 0
    chosen, rejected = scores_of(reward, pairs)
    if pairs.strength is None:
        return int((chosen > rejected).sum()), len(pairs)
    return float(np.where(chosen > rejected, pairs.strength, 1 - pairs.strength).sum()), len(pairs)


def what_was_not_learned(rewards: Rewards) -> list[str]:
    """A sentence on each reward whose 95% interval of validation pairs ordered as labelled holds one half.

    A policy that is optimised for such a reward is optimised for noise.
    """
    return [
        f"the reward of {name} orders {right:g} of {pairs} validation pairs as labelled, as a coin might: "
        "too few labels to learn from, or too noisy ones"
        for name, (right, pairs) in zip(rewards.names, rewards.held_out or (), strict=False)
        if pairs and wilson(right, 0, pairs).low <= 0.5
    ]


def say_what_was_not_learned(backbone: Backbone, rewards: Rewards) -> None:
    """Tell whoever watches, before a policy is optimised; the record says it with the rewards."""
    for sentence in what_was_not_learned(rewards):
        backbone.say(sentence)


def scores_of(reward: Reward, pairs: Pairs) -> np.ndarray:
    """Rewards of the chosen and of the rejected responses, [2, pairs]."""
    scores = reward.score([*pairs.prompts, *pairs.prompts], [*pairs.chosen, *pairs.rejected])
    return scores.reshape(2, -1)


def normalised(models: Sequence[Reward], names: Sequence[str], scores: Sequence[np.ndarray]) -> Rewards:
    """Rewards centred and scaled to zero mean and unit spread on `scores`, for each model those it gives."""
    shift, spread = (np.array([measure(each) for each in scores]) for measure in (np.mean, np.std))
    return Rewards(list(models), list(names), shift, np.maximum(spread, 1e-6))


def save_rewards(folder: Path, rewards: Rewards) -> None:
    """Write weights as safetensors and the rest as JSON.

    Weights that were read from a file are linked to it, so that they take no room twice.
    """
    for index, model in enumerate(rewards.models):
        target = folder / f"reward-{index}.safetensors"
        source = next((path for known, path in rewards.stored if known is model), None)
        # What the others write is thrown away, but saving may take all of them.
        if not team().first(team().rank == 0 and _linked(source, target)):
            model.save(target)
    content = {
        "names": rewards.names,
        "shift": rewards.shift.tolist(),
        "scale": rewards.scale.tolist(),
        "assignment": None if rewards.assignment is None else sorted(rewards.assignment.items()),
        "em": rewards.em,
        "held_out": rewards.held_out,
    }
    (folder / "rewards.json").write_text(json.dumps(content, indent=1))


def _linked(source: Path | None, target: Path) -> bool:
    """True if the target is now another name of the source; file systems need not have such."""
    if source is None:
        return False
    target.unlink(missing_ok=True)  # of a run that was stopped here
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def load_rewards(backbone: Backbone, folder: Path) -> Rewards:
    """Read back what `save_rewards` wrote."""
    content = json.loads((folder / "rewards.json").read_text())
    files = [folder / f"reward-{index}.safetensors" for index in range(len(content["names"]))]
    models = [backbone.load_reward(file) for file in files]
    assignment = content["assignment"]
    return Rewards(
        models,
        content["names"],
        np.asarray(content["shift"]),
        np.asarray(content["scale"]),
        None if assignment is None else dict(assignment),
        content["em"],
        None if content["held_out"] is None else [(right, pairs) for right, pairs in content["held_out"]],
        list(zip(models, files, strict=True)),
    )

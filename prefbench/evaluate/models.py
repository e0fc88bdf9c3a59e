"""Two models on the same prompts, judged by groups: who is served worse by the new one?

No task, no annotators, no training: a model is what it answered. A group wins a prompt where its utility of
the new response is larger than of the old one; a model that serves it as well as the old one wins half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.errors import UserError
from prefbench.evaluate.win_rate import (
    GroupResult,
    ScoredGroup,
    fairness,
    fairness_statistics,
    group_results,
    outcomes,
)
from prefbench.evaluate.wishes import Wish
from prefbench.seeds import rng
from prefbench.stats.comparisons import DropTest, Verdict, closing, holm, judge_drop
from prefbench.stats.intervals import Interval, percentile_interval, resample_means
from prefbench.stats.runs import mean_over_prompts
from prefbench.text import is_empty

LEVEL = 0.05
EVEN = 0.5
"""Win rate of a model against its like."""


@dataclass(frozen=True)
class ModelAnswers:
    """Responses of a model to the prompts.

    Attributes:
        name: of the model, for tables.
        responses: `[prompts][samples]`, equally many to each prompt.
    """

    name: str
    responses: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        counts = {len(row) for row in self.responses}
        if len(counts) != 1 or 0 in counts:
            found = " or ".join(map(str, sorted(counts))) or "no"
            raise UserError(
                f"'{self.name}' has {found} responses to a prompt: give equally many to each, at least one."
            )


@dataclass(frozen=True)
class GroupVerdict:
    """One group's win rate of the new model against the old one, and what it says."""

    name: str
    unit: str
    """Unit of the group's utility."""
    wins: int
    ties: int
    losses: int
    win_rate: float
    low: float
    """Lower end of the win rate's 95% interval over prompts."""
    high: float
    mean_difference: float | None
    """Mean utility of the new model less the old one's, in the group's unit; None where a judge has none."""
    margin: float
    verdict: Verdict
    """`fell` if the group loses: its win rate is below one half by more than the margin, with confidence."""
    p_value: float
    """Probability of such a loss by chance, corrected by Holm over the groups."""
    n_needed: int | None
    """Prompts that would decide it; None where it is decided or none would."""

    @property
    def sentence(self) -> str:
        """Verdict on the group, in words."""
        label = {"held": "held", "fell": "LOSES", "cannot tell": "CANNOT TELL"}[self.verdict]
        least = f"{EVEN - self.margin:g}"
        rest = {
            "held": f"not below {least}",
            "fell": f"below {least}",
            "cannot tell": f"that cannot be told from {least}; "
            + (f"about {self.n_needed:,} prompts would do" if self.n_needed else "choose another margin"),
        }[self.verdict]
        rate = f"{self.win_rate:.3f} [{self.low:.3f}, {self.high:.3f}]"
        mean = "" if self.mean_difference is None else f", {self.mean_difference:+.3g} {self.unit} on average"
        return f"{label}: {self.name} is won at {rate}{mean}: {rest} (p = {self.p_value:.2g})."


@dataclass(frozen=True)
class ModelComparison:
    """The new model against the old one: every group's verdict, and the prompts behind it."""

    old: ModelAnswers
    new: ModelAnswers
    prompts: tuple[str, ...]
    groups: tuple[GroupVerdict, ...]
    worst_group: str
    worst_group_win_rate: float
    worst_group_win_rate_ci: tuple[float, float]
    gap: float
    """The best group's win rate less the worst group's."""
    gap_ci: tuple[float, float]
    level: float
    strict: bool
    allow_undecided: bool
    scores: Floats
    """Outcomes `[prompts, samples, groups]`: 1 the new model won, 0.5 tied, 0 lost."""
    differences: Floats
    """Utility of the new response less the old one's, in the same shape; NaN where one is empty."""
    judges: dict[str, Any]
    """Report of each group's judge, by the group's name."""

    @property
    def decided(self) -> bool:
        """True if a group held or lost."""
        return any(group.verdict != "cannot tell" for group in self.groups)

    def closes(self, verdict: Verdict) -> bool:
        """True if one such group closes the gate."""
        return verdict in closing((group.verdict for group in self.groups), self.strict, self.allow_undecided)

    @property
    def exit_code(self) -> int:
        """1 if a group loses or nothing was decided (or, when strict, a group is undecided), else 0."""
        return int(any(self.closes(group.verdict) for group in self.groups))

    @property
    def sum(self) -> str:
        """Open or closed, and how many of what."""
        names = {"held": "held", "fell": "lost", "cannot tell": "cannot tell"}
        counts = [
            f"{sum(group.verdict == verdict for group in self.groups)} {word}"
            for verdict, word in names.items()
        ]
        return f"{'closed' if self.exit_code else 'open'}: {', '.join(counts)}."

    @property
    def promise(self) -> str:
        """Level of the answer."""
        return (
            "LEVEL: chance that some group is said to lose though none is worse off by more than its margin: "
            f"at most {self.level:g}. Of these models, whatever one that is trained anew would say."
        )

    def lost(self, group: str) -> list[dict[str, Any]]:
        """The comparisons that a group lost, as of `items`, the largest loss of utility first."""
        index = [each.name for each in self.groups].index(group)
        lost = [self._item(i, j) for i, j in np.argwhere(self.scores[:, :, index] == 0).tolist()]
        return sorted(lost, key=lambda item: item[f"difference/{group}"] or 0.0)

    def items(self) -> list[dict[str, Any]]:
        """Every comparison: prompt, both responses, and for each group the outcome and the difference.

        The difference is the new response's utility less the old one's; None where one of them is empty.
        """
        return [self._item(i, j) for i, j in np.ndindex(*self.scores.shape[:2])]

    def _item(self, i: int, j: int) -> dict[str, Any]:
        """Sample j of the new model for prompt i, as of `items`."""
        item: dict[str, Any] = {
            "prompt": self.prompts[i],
            "sample": j,
            "old": self.old.responses[i][j % len(self.old.responses[i])],
            "new": self.new.responses[i][j],
        }
        for g, group in enumerate(self.groups):
            item[f"outcome/{group.name}"] = float(self.scores[i, j, g])
        for g, group in enumerate(self.groups):
            item[f"difference/{group.name}"] = _number(self.differences[i, j, g])
        return item

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form, without the single comparisons."""
        return {
            "old": self.old.name,
            "new": self.new.name,
            "n_prompts": len(self.prompts),
            "samples": self.scores.shape[1],
            "worst_group": self.worst_group,
            "worst_group_win_rate": self.worst_group_win_rate,
            "worst_group_win_rate_ci": list(self.worst_group_win_rate_ci),
            "gap": self.gap,
            "gap_ci": list(self.gap_ci),
            "level": self.level,
            "strict": self.strict,
            "allow_undecided": self.allow_undecided,
            "decided": self.decided,
            "exit_code": self.exit_code,
            "groups": [{**asdict(group), "sentence": group.sentence} for group in self.groups],
            "judges": self.judges,
        }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def compare_answers(
    prompts: Sequence[str],
    old: ModelAnswers,
    new: ModelAnswers,
    wishes: Sequence[Wish],
    level: float = LEVEL,
    strict: bool = False,
    allow_undecided: bool = False,
) -> ModelComparison:
    """Compare two models' answers for every group, prompt by prompt.

    Sample j of the new model meets sample j of the old one, modulo how many that has. Several samples of a
    prompt are one observation, their mean. An empty response loses, for every group.

    Args:
        prompts: `[prompts]`, all different.
        old: the model that is in use.
        new: the model that is to take its place.
        wishes: the groups.
        level: one-sided significance level of all verdicts together.
        strict: close the gate also for groups that cannot be told.
        allow_undecided: leave it open where nothing was decided.

    Raises:
        UserError: the arguments do not fit together, or a group's wish cannot be asked.
    """
    if not 0 < level < 0.5:
        raise UserError(f"level {level} is not in (0, 0.5): the usual one is 0.05.")
    if not prompts or not wishes:
        raise UserError("there is nothing to compare: give one prompt and one group at least.")
    if not len(prompts) == len(old.responses) == len(new.responses):
        raise UserError(
            f"{len(prompts)} prompts, but '{old.name}' answered {len(old.responses)} and '{new.name}' "
            f"{len(new.responses)}: give one response to each prompt."
        )
    scores, differences = _met(prompts, old, new, wishes)
    groups = [ScoredGroup(wish.name, 1 / len(wishes), False) for wish in wishes]
    results = group_results(scores, groups, [rng(0, "interval", wish.name) for wish in wishes])
    by_prompt = scores.mean(axis=1)
    tests = [
        judge_drop(mean_over_prompts([EVEN - by_prompt[:, g]]), wish.margin, len(prompts), level)
        for g, wish in enumerate(wishes)
    ]
    corrected = holm([test.p_value for test in tests]).tolist()
    measures = fairness([result.win_rate for result in results], groups)
    drawn = resample_means([by_prompt], rng(0, "interval"))

    def bounds(name: str) -> Interval:
        statistic = fairness_statistics(groups)[name]
        return percentile_interval(statistic(drawn), getattr(measures, name), len(prompts))

    reports = {wish.name: wish.utility.report() for wish in wishes}
    return ModelComparison(
        old=old,
        new=new,
        prompts=tuple(prompts),
        groups=tuple(
            _group_verdict(wish, result, test, p, level, differences[:, :, g])
            for g, (wish, result, test, p) in enumerate(zip(wishes, results, tests, corrected, strict=True))
        ),
        worst_group=wishes[measures.worst].name,
        worst_group_win_rate=measures.worst_group_win_rate,
        worst_group_win_rate_ci=bounds("worst_group_win_rate"),
        gap=measures.gap,
        gap_ci=bounds("gap"),
        level=level,
        strict=strict,
        allow_undecided=allow_undecided,
        scores=scores,
        differences=differences,
        judges={name: report for name, report in reports.items() if report is not None},
    )


def _met(
    prompts: Sequence[str], old: ModelAnswers, new: ModelAnswers, wishes: Sequence[Wish]
) -> tuple[Floats, Floats]:
    """Outcomes and differences of utility, `[prompts, samples, groups]`; NaN where a response is empty."""
    shape = (len(prompts), len(new.responses[0]))
    ours = [text for row in new.responses for text in row]
    theirs = [row[j % len(row)] for row in old.responses for j in range(shape[1])]
    asked = [prompt for prompt in prompts for _ in range(shape[1])]
    pairs = [wish.utility.compare(asked, ours, theirs) for wish in wishes]
    utilities, others = (np.stack([pair[side].reshape(shape) for pair in pairs], axis=2) for side in (0, 1))
    silent, other_silent = (np.array(list(map(is_empty, side))).reshape(shape) for side in (ours, theirs))
    scores = outcomes(utilities, others, silent, other_silent)
    return scores, np.where((silent | other_silent)[:, :, None], np.nan, utilities - others)


def _group_verdict(
    wish: Wish, result: GroupResult, test: DropTest, p: float, level: float, differences: Floats
) -> GroupVerdict:
    """The verdict of one group, its p value corrected for all of them."""
    verdict: Verdict = "cannot tell" if test.verdict == "fell" and p >= level else test.verdict
    known = differences[np.isfinite(differences)]
    return GroupVerdict(
        name=wish.name,
        unit=wish.utility.unit,
        wins=result.wins,
        ties=result.ties,
        losses=result.losses,
        win_rate=result.win_rate,
        low=result.interval.low,
        high=result.interval.high,
        mean_difference=None if wish.utility.judges_pairs or not known.size else float(known.mean()),
        margin=wish.margin,
        verdict=verdict,
        p_value=p,
        n_needed=test.n_needed if verdict == "cannot tell" else None,
    )

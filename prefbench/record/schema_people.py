"""The part of a record on people."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefbench.record.parts import Bounds, Count, RateShare, StrictPart


class _RateRecord(StrictPart):
    """A win rate over prompts and people."""

    win_rate: RateShare
    """Share of comparisons won by each person's own utility, ties one half."""
    ci_low: RateShare
    """Lower end of the 95% interval: people of each group and prompts are resampled."""
    ci_high: RateShare
    """Upper end of that interval."""


class PeopleGroupRecord(_RateRecord):
    """The people of one group in a stratum."""

    name: str
    """Name of the group."""
    people: int = Field(ge=1)
    """Number of them who judged."""


class PeopleGroupValue(StrictPart):
    """The people of one group in a stratum, by their exact values."""

    name: str
    """Name of the group."""
    value: float
    """Mean over its people of V = E u - beta KL of the policy that each is given."""
    regret: float = Field(ge=0)
    """Mean over its people of what each lacks of the best that any policy could give her."""


class PeopleValues(StrictPart):
    """Exact values of people where responses can be listed, in standard deviations of each one's utility."""

    groups: tuple[PeopleGroupValue, ...]
    """One per group, in the task's order."""
    worst_group: str
    """The group with the smallest value."""
    worst_group_value: float
    """Value of that group."""
    regret: float = Field(ge=0)
    """Mean over groups of people's regret."""
    regret_worst_tenth: float = Field(ge=0)
    """Mean regret of the tenth of all people who lose most, rounded up to whole people."""
    regret_gini: RateShare
    """Gini coefficient of people's regrets: 0 if all lose the same or nothing, near 1 if few lose everything
    that is lost."""


class StratumRecord(_RateRecord):
    """People of every group, so much being known of them; `win_rate` is the mean over groups."""

    seen: bool
    """True of people whose labels were in training."""
    n: Count | None
    """Pairs that were known of each; null of the seen, of whom all that they labelled were."""
    context: Literal["own", "shuffled", "other group", "other person"]
    """Kind of context that the policy was shown: her own, hers with each label flipped by a fair coin, that
    of somebody of another group, or of another one of her group."""
    groups: tuple[PeopleGroupRecord, ...]
    """One per group, in the task's order."""
    worst_group: str
    """The group with the smallest win rate."""
    worst_group_win_rate: RateShare
    """Win rate of that group."""
    worst_group_win_rate_ci: Bounds
    """95% interval, the worst group being found anew in each resample."""
    kl: float | None
    """Mean divergence of the policies that answered from the reference policy, nats per response; null where
    one has no tractable probability. Win rates are to be compared at equal divergence."""
    worst_tenth: RateShare
    """Mean win rate of the tenth of all people who fare worst, rounded up to whole people."""
    gini: RateShare
    """Gini coefficient of people's win rates: 0 is equality."""
    atkinson: RateShare
    """Atkinson's index of people's win rates with aversion 1: 0 is equality, 1 if somebody wins nothing."""
    exact: PeopleValues | None = None
    """Exact values over all test prompts; null where responses cannot be listed, and in older records."""


class OwnMinusRecord(StrictPart):
    """Worth of a person's own context to her, beside another one of as many pairs."""

    context: Literal["shuffled", "other group", "other person"]
    """The other one, as of a stratum."""
    n: int = Field(ge=1)
    """Pairs of each."""
    difference: float = Field(ge=-1, le=1)
    """Mean over groups of the win rate with her own context, minus that with the other one."""
    ci_low: float = Field(ge=-1, le=1)
    """Lower end of the 95% interval, from paired resamples."""
    ci_high: float = Field(ge=-1, le=1)
    """Upper end of that interval."""


class PeopleRecord(StrictPart):
    """Person by person: policies are judged by each one's own utility."""

    group_scales: tuple[float, ...] | None
    """Standard deviation of each group's utility over reference responses, in its unit, which members' own
    utilities are made with; null where they want what their group wants."""
    taste_scales: tuple[float, ...] | None
    """The same of what they differ in: a world's features, or utilities of the task."""
    strata: tuple[StratumRecord, ...] = Field(min_length=1)
    """By what was known of whom."""
    own_minus: tuple[OwnMinusRecord, ...]
    """Own contexts against those of the controls; empty where the policy is shown no pairs."""

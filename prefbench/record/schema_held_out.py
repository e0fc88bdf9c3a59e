"""The part of a record on held-out labels of people."""

from __future__ import annotations

from pydantic import Field

from prefbench.record.parts import Bounds, Count, RateShare, StrictPart


class HeldOutGroup(StrictPart):
    """The held-out labels of one group's people."""

    name: str
    """Name of the group."""
    labels: int = Field(ge=1)
    """Number of labels, ties left out."""
    people: int = Field(ge=1)
    """Number of people who gave them."""
    accuracy: RateShare
    """Share of the labels that are ordered as given, equal margins one half."""
    ci_low: RateShare
    """Lower end of the 95% interval: people and prompts are resampled."""
    ci_high: RateShare
    """Upper end of that interval."""


class HeldOutAccuracy(StrictPart):
    """Agreement of one reward with the held-out labels."""

    groups: tuple[HeldOutGroup, ...] = Field(min_length=1)
    """One per group that has such labels, in the task's order."""
    worst_group: str
    """The group with the smallest accuracy."""
    worst_group_accuracy: RateShare
    """Accuracy of that group."""
    worst_group_accuracy_ci: Bounds
    """95% interval, the worst group being found anew in each resample."""
    people_accuracy: RateShare
    """Mean over people of each one's own accuracy."""
    people_accuracy_ci: Bounds
    """95% interval from a bootstrap over people."""
    worst_tenth: RateShare
    """Mean accuracy of the tenth of all people who agree least, rounded up to whole people."""


class HeldOutStratum(StrictPart):
    """People of whom so much is known."""

    seen: bool
    """True of people whose labels were in training."""
    n: Count | None
    """Pairs that were known of each; null of the seen, of whom all that they labelled were."""
    implicit: HeldOutAccuracy | None
    """Accuracy of the policy's implicit reward, beta log(pi / pi_ref); null where a policy has no tractable
    probability."""
    reward: HeldOutAccuracy | None
    """Accuracy of the learned reward that serves each person: that of her cluster or group, or the only one;
    null where the aligner returned none."""


class HeldOutRecord(StrictPart):
    """Held-out labels of people against what was learned: figures that need no utility."""

    ties: Count
    """Held-out labels that prefer neither response, which count nowhere."""
    strata: tuple[HeldOutStratum, ...] = Field(min_length=1)
    """By what was known of whom."""

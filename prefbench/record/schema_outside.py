"""The part of a record on a policy that was not trained by the run."""

from __future__ import annotations

from pydantic import Field

from prefbench.record.parts import Count, StrictPart


class UsageRecord(StrictPart):
    """The responses of a server: what they took, whenever they were asked for."""

    requests: Count
    """Requests that were answered."""
    retries: Count
    """Times that one was made again."""
    prompt_tokens: Count
    """Tokens sent, as the server counts them."""
    completion_tokens: Count
    """Tokens written, likewise."""
    uncounted_requests: Count
    """Requests of which the server did not count the tokens."""
    cost: float | None = Field(ge=0)
    """Price of the tokens, in the currency of the prices; null without prices."""
    answered_as: tuple[str, ...]
    """Names under which the server answered."""
    cut: Count
    """Responses that the limit of tokens cut short."""


class OutsideRecord(StrictPart):
    """A policy from outside: what it was trained on and what it saw of people is not known here."""

    kind: str
    """Kind of its source: `folder`, `responses`, `server` or a plug-in's."""
    name: str
    """Name that it was given, or its source's own."""
    source: str
    """Path, hub id or address, as it was named."""
    trainer: str | None
    """Trainer, a person or a program, as far as that was said."""
    link: str | None
    """Address where more of it is to be read, if one was given."""
    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    """Digest of its kind, its options and its content: every file's, or the address and the model."""
    no_kl: str | None
    """Reason why `kl` is null; null where it is known."""
    usage: UsageRecord | None
    """Cost of its responses; null where nobody counts, or where they are not kept any more."""

"""The three ways a command ends badly, and the exit code that each one has."""


class PrefbenchError(Exception):
    """An error whose message is one line for a person: what is wrong and how to mend it."""

    exit_code = 3


class UserError(PrefbenchError):
    """The user's input is wrong. Nothing was written, nothing is lost."""

    exit_code = 2


class Diverged(PrefbenchError):
    """Training left the region where its numbers mean anything (NaN, exploding KL)."""

    exit_code = 3


class JudgeFailed(PrefbenchError):
    """A judge stopped answering, or answers nonsense; what it has said so far is kept."""

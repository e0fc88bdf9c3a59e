"""The three ways a command ends badly, the exit code that each one has, and what a slip may have meant."""

import difflib
import errno
import functools
import re
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")


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


class Exited(RuntimeError):
    """Code of a plug-in asked Python to exit: a command would end without a word, as if all were well."""


def without_exit(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """A function that runs other people's code, made so that none of it can end the process."""

    @functools.wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        try:
            return function(*args, **kwargs)
        except SystemExit as error:
            raise Exited(
                f"the code of a task, an aligner or a model called sys.exit({error.code!r})"
            ) from error

    return call


_NO_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "out of memory",
    "can't start new thread",
    "not enough memory",
)


def says_no_memory(error: BaseException) -> bool:
    """True if memory ran out, in whichever words Python, the loader of libraries or a library says so."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    foreign = isinstance(error, ImportError | OSError | RuntimeError | SystemError)
    said = str(error).lower()
    if foreign and any(sign in said for sign in _NO_MEMORY):
        return True
    return error.__cause__ is not None and says_no_memory(error.__cause__)


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """The known names that a word may be a slip of: one that is near, else up to three that begin so."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return near
    first = {name: re.split("[_-]", name)[0] for name in known}
    beginnings = difflib.get_close_matches(word, sorted(set(first.values())), n=1, cutoff=0.75)
    return [name for name in known if first[name] in beginnings][:3]

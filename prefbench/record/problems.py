"""Problems of records, built from their specifications as far as a stranger's may be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from prefbench import registry
from prefbench.errors import UserError
from prefbench.problem.problem import Problem, apportion, without_test
from prefbench.record.schema import Record
from prefbench.spec import digest
from prefbench.text import message_line

LARGEST_RATIO = 10
"""A whole number among a stranger's options is too large where it is more than so many times the default."""


@dataclass(frozen=True)
class Unbuilt:
    """The reason why a problem is not built here."""

    reason: str
    large: bool = False
    """True if it is its size, which whoever wrote the record chose."""


class Problems:
    """Problems by what they are stated with; the last one is kept, so ask for equal ones in a row.

    Args:
        fetch: also build those whose data or options name something that is to be fetched or is a file.
        large: also build those that are too large to be built for a stranger.
    """

    def __init__(self, fetch: bool = False, large: bool = False) -> None:
        self._fetch = fetch
        self._large = large
        self._key = ""
        self._found: Problem | Unbuilt | None = None

    @staticmethod
    def key(record: Record) -> str:
        """Names the problem that a record's specification states."""
        spec = record.spec
        named = ("task", "data", "minority_ratio", "seed", "task_options", "split")
        return digest([record.task_version, *(spec.get(name) for name in named)])

    def refused(self, record: Record) -> Unbuilt | None:
        """See `not_built`."""
        return not_built(record, self._fetch, self._large)

    def of(self, record: Record) -> Problem | Unbuilt:
        """The problem, or why it is not built here.

        Raises:
            UserError: the specification states none.
        """
        key = self.key(record)
        if self._found is None or key != self._key:
            self._found = self.refused(record) or self._build(record)
            self._key = key
        return self._found

    def _build(self, record: Record) -> Problem | Unbuilt:
        function = registry.get("task", record.task).function
        try:
            with hub(self._fetch):
                built: Problem = function(
                    record.data, record.spec["minority_ratio"], record.seed, **record.spec["task_options"]
                )
            apportion([group.share for group in built.groups], built.annotators)
        except (Exception, SystemExit) as error:  # a plug-in's task may raise anything
            if not self._fetch and _is_of_hub(error):
                return Unbuilt("it needs something from the hub: say --fetch if you trust it")
            said = f"its problem cannot be built ({type(error).__name__}: {message_line(error)})"
            if record.data == "synthetic" and not isinstance(error, MemoryError):
                raise UserError(said) from None
            return Unbuilt(said, large=isinstance(error, MemoryError))
        return without_test(built) if record.split == "validation" else built


def not_built(record: Record, fetch: bool, large: bool) -> Unbuilt | None:
    """The reason why the problem of a valid specification is not built for a stranger; None where it is.

    Args:
        fetch: whether what is to be fetched, and files, may be used.
        large: whether it may have any size.
    """
    entry = registry.get("task", record.task)
    options = record.spec["task_options"]
    if record.task_version != entry.version:
        return Unbuilt(f"{record.task}@{record.task_version} is not here, this is @{entry.version}")
    size = None if large else too_many("task", options, entry.options)
    if size is not None:
        return Unbuilt(f"{size}: too large a problem, say --large if you trust it", large=True)
    for name, value in options.items():
        default = entry.options.model_fields[name].get_default(call_default_factory=True)
        place = isinstance(value, str) and value != default and any(sign in value for sign in "/\\")
        if place and not fetch:
            return Unbuilt(f"task.{name} names a file or an address: say --fetch if you trust it")
    local = Path(record.data).is_file() or Path(record.data).is_dir()
    if record.data != "synthetic" and not local and not fetch:
        return Unbuilt("its data are not here and verifying fetches none: say --fetch if you trust it")
    return None


def too_many(section: str, given: Mapping[str, Any], options: type[BaseModel]) -> str | None:
    """An option that counts something, at any depth, beyond what a stranger's may; None if there is none."""
    for name, value in given.items():
        usual = list(_numbers(options.model_fields[name].get_default(call_default_factory=True)))
        counts = all(isinstance(number, int) for number in usual)  # else it is a rate or a strength
        if counts and max(_numbers(value), default=0) > LARGEST_RATIO * max([10, *(usual or [1000])]):
            return f"{section}.{name}={value!r:.80} is more than {LARGEST_RATIO} times the default"
    return None


def _numbers(value: Any) -> Iterator[int | float]:
    """Numbers in a value of an option. JSON may write a whole one as 401.0."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, Mapping):
        yield from _numbers(list(value.values()))


@contextlib.contextmanager
def hub(fetch: bool) -> Iterator[None]:
    """Unless `fetch`, take nothing from the hub, within the block, but what its cache has.

    Any option may name a model.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not fetch
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _is_of_hub(error: BaseException | None) -> bool:
    """True if an error, or what it came from, is the hub's."""
    return error is not None and (
        type(error).__module__.startswith("huggingface_hub") or _is_of_hub(error.__cause__)
    )

"""Problems of records, built from their specifications as far as a stranger's may be."""

from __future__ import annotations

from pathlib import Path

from prefbench import registry
from prefbench.errors import UserError
from prefbench.problem.problem import Problem, apportion
from prefbench.record.schema import Record
from prefbench.spec import digest
from prefbench.text import message_line

LARGEST_RATIO = 10
"""A problem is not built for a stranger where a whole number among its options is more than so many times the
default."""


class Problems:
    """Problems by what they are stated with; the last one is kept, so ask for equal ones in a row.

    Args:
        fetch: also build those whose data or options name something that is to be fetched or is a file.
    """

    def __init__(self, fetch: bool = False) -> None:
        self._fetch = fetch
        self._key = ""
        self._found: Problem | str = ""

    @staticmethod
    def key(record: Record) -> str:
        """Names the problem that a record's specification states."""
        spec = record.spec
        named = ("task", "data", "minority_ratio", "seed", "task_options")
        return digest([record.task_version, *(spec.get(name) for name in named)])

    def of(self, record: Record) -> Problem | str:
        """The problem, or why it is not built here.

        Raises:
            UserError: the specification states none.
        """
        key = self.key(record)
        if key != self._key:
            self._found = not_built(record, self._fetch) or self._build(record)
            self._key = key
        return self._found

    def _build(self, record: Record) -> Problem | str:
        function = registry.get("task", record.task).function
        try:
            built: Problem = function(
                record.data, record.spec["minority_ratio"], record.seed, **record.spec["task_options"]
            )
            apportion([group.share for group in built.groups], built.annotators)
        except Exception as error:  # a plug-in's task may raise anything
            said = f"its problem cannot be built ({type(error).__name__}: {message_line(error)})"
            if record.data == "synthetic" and not isinstance(error, MemoryError):
                raise UserError(said) from None
            return said
        return built


def not_built(record: Record, fetch: bool) -> str | None:
    """The reason why the problem of a valid specification is not built for a stranger; None where it is.

    Args:
        fetch: whether what is to be fetched, and files, may be used.
    """
    entry = registry.get("task", record.task)
    options = record.spec["task_options"]
    if record.task_version != entry.version:
        return f"{record.task}@{record.task_version} is not here, this is @{entry.version}"
    for name, value in options.items():
        default = entry.options.model_fields[name].get_default(call_default_factory=True)
        whole = isinstance(value, int) and not isinstance(value, bool)
        usual = default if isinstance(default, int) else 1000
        if whole and value > LARGEST_RATIO * max(usual, 10):
            return f"task.{name}={value} is more than {LARGEST_RATIO} times the default: too large a problem"
        place = isinstance(value, str) and value != default and any(sign in value for sign in "/\\")
        if place and not fetch:
            return f"task.{name} names a file or an address: say --fetch if you trust it"
    local = Path(record.data).is_file() or Path(record.data).is_dir()
    if record.data != "synthetic" and not local and not fetch:
        return "its data are not here and verifying fetches none: say --fetch if you trust it"
    return None

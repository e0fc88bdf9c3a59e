"""Findings: one check each, and how it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from prefbench.errors import PrefbenchError

Status = Literal["passed", "warned", "failed", "left out"]


@dataclass(frozen=True)
class Finding:
    """One check and how it went."""

    words: str
    """What should hold."""
    status: Status
    detail: str = ""
    """What is wrong and how to mend it."""


class Checks:
    """Tries one check after the other, whatever becomes of the earlier ones."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.findings: list[Finding] = []
        self._tell = tell

    def add(self, words: str, status: Status, detail: str = "") -> None:
        """One more finding, told at once."""
        finding = Finding(words, status, " ".join(detail.split()))
        self.findings.append(finding)
        self._tell(finding)

    def that(
        self, words: str, wrong: Callable[[], str | None], otherwise: Literal["failed", "warned"] = "failed"
    ) -> bool:
        """Whether `wrong`, which says what is wrong, says nothing and raises nothing."""
        try:
            detail = wrong()
        except Exception as error:  # a stranger's code may raise anything
            self.add(words, "failed", raised(error))
            return False
        self.add(words, "passed" if detail is None else otherwise, detail or "")
        return detail is None


def raised(error: Exception) -> str:
    """An error in one sentence, with its class unless it is one of ours."""
    return str(error) if isinstance(error, PrefbenchError) else f"{type(error).__name__}: {error}"

"""Findings: one check each, and how it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from prefbench.errors import PrefbenchError

FindingStatus = Literal["passed", "warned", "failed", "left out"]


@dataclass(frozen=True)
class Finding:
    """One check and how it went."""

    words: str
    """Statement that should hold."""
    status: FindingStatus
    detail: str = ""
    """Fault, and how to mend it."""


class Checks:
    """Tries one check after the other, whatever becomes of the earlier ones."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.findings: list[Finding] = []
        self._tell = tell

    def add(self, words: str, status: FindingStatus, detail: str = "") -> None:
        """Add a finding, and tell it at once."""
        finding = Finding(words, status, " ".join(detail.split()))
        self.findings.append(finding)
        self._tell(finding)

    def that(
        self, words: str, wrong: Callable[[], str | None], otherwise: Literal["failed", "warned"] = "failed"
    ) -> bool:
        """Note a statement as passed if `wrong` returns None, else as `otherwise` with the fault returned."""
        try:
            detail = wrong()
        except (Exception, SystemExit) as error:  # a stranger's code may raise anything
            self.add(words, "failed", raised(error))
            return False
        self.add(words, "passed" if detail is None else otherwise, detail or "")
        return detail is None


def raised(error: BaseException) -> str:
    """An error in one sentence, with its class unless it is one of ours."""
    return str(error) if isinstance(error, PrefbenchError) else f"{type(error).__name__}: {error}"

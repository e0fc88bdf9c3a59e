"""Findings of `prefbench check`, for tests of it."""

from prefbench.tools.check.findings import Finding


def bad(findings: list[Finding]) -> list[str]:
    """What failed or was warned of, a line each."""
    return [f"{f.words}: {f.detail}" for f in findings if f.status in ("failed", "warned")]

"""The course of a policy's training, as a run's folder keeps it."""

from __future__ import annotations

from pathlib import Path

from prefbench.files import read_json


def read_history(path: Path) -> list[dict[str, float]] | None:
    """Rows of finite numbers; None where there is no such file or it holds something else."""
    try:
        rows = read_json(path, within=path.parent)
    except (OSError, ValueError):
        return None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return [
        {
            str(key): float(value)
            for key, value in row.items()
            if isinstance(value, int | float) and abs(value) < 1e12  # false for NaN, too
        }
        for row in rows
    ]

"""`prefbench schema`."""

from __future__ import annotations

from prefbench.cli.output import print_json


def schema() -> None:
    """Print the JSON Schema of a run's record."""
    from prefbench.record.schema import json_schema

    print_json(json_schema())

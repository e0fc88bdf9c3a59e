"""The `prefbench` command."""

from prefbench.cli.entry import main as main

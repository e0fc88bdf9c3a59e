"""The `prefbench` command: a file a command, which parses, calls one function and prints."""

from prefbench.cli.entry import main as main

"""The `prefbench` command: a file for each of its commands, which parses, calls one library function and prints."""

from prefbench.cli.entry import main as main

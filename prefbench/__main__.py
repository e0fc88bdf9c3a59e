"""`python -m prefbench` is the `prefbench` command, for launchers that start a module."""

from prefbench.cli.entry import main

if __name__ == "__main__":
    main()

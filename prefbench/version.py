"""The version of this prefbench."""

__version__ = "0.1.0"

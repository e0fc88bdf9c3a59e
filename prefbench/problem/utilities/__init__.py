"""Utilities that are computed from the text alone, and the protocol that all utilities follow."""

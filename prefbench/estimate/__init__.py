"""Sizes and times of a run, told before it starts."""

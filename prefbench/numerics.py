"""The number that says whether two results can be compared at all.

Raise it with every change that can move a result of any task, aligner or model by more than rounding, and say
so in the changelog. Records, rows and pages carry it, and rows of different numerics are neither compared nor
averaged. `tests/test_numerics.py` fails where a result moved and this did not.
"""

NUMERICS = 4
"""Numerics of this prefbench. Records from before it was counted have none."""

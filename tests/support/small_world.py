"""A world whose runs take a moment."""

from __future__ import annotations

SMALL = {"test_prompts": 20, "annotators": 6, "pairs_per_annotator": 4}
WORLD = "bandit_two_group"

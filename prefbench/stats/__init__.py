"""Intervals, tests and sample sizes for win rates, in one place so that every number is judged alike.

Three rules hold throughout. Within a run the unit is the prompt: several samples for one prompt are one
cluster (Miller 2024, arXiv:2411.00640, section 2.2). Over seeds it is the run, since a second run of the same
recipe differs by more than its prompts (Agarwal et al. 2021, arXiv:2108.13264, argue for runs as the sample).
And a test has three answers, never two: yes, no, and too few prompts or seeds to say.

Rates, margins and differences are shares (0.05 is five points), never percent.
"""

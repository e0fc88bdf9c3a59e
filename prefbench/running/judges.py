"""Annotators who judge a policy on validation prompts, and what a personal policy says to each of them.

They are those who labelled for training. A personal policy is told of each what its aligner sees, of her
pairs the first `context_pairs` that she labelled; what she judges are other prompts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from prefbench import seeds
from prefbench.evaluate.selection import Asked, asked
from prefbench.learn.interface import Backbone, Personal
from prefbench.problem.people import Person, people_of
from prefbench.problem.problem import Problem, apportion
from prefbench.running.people import Briefing
from prefbench.spec import RunSpec

JUDGED_FILE = "judged.parquet"
"""Answers of a personal policy to those who judge it, beside its default: `response` to each judgement."""
JUDGES_FILE = "judges.parquet"
"""The policies that they are given, where responses can be listed: `policy`, a block of rows for each."""


def judges_of(problem: Problem, seed: int) -> list[Person]:
    """Annotators who judge, in the order in which `asked` counts them: group by group."""
    seen = [person for person in people_of(problem, seed) if person.seen]
    return sorted(seen, key=lambda person: person.group)


def asked_of_judges(spec: RunSpec, problem: Problem) -> Asked:
    """The judgements that they are asked for: as many of each as she labelled pairs, or all of them."""
    counts = apportion([group.share for group in problem.groups], problem.annotators)
    size = len(problem.measured) * spec.evaluate_options["samples"]
    rng = seeds.rng(spec.seed, "judgements")
    return asked(size, counts, problem.pairs_per_annotator or size, rng)


def write_answers_to_judges(
    spec: RunSpec, policy: Personal, briefing: Briefing, backbone: Backbone, folder: Path
) -> None:
    """Write what a personal policy says to those who judge it.

    Each one's responses come from a stream of hers, the same for every policy of a seed.
    """
    problem, wanted = briefing.problem, asked_of_judges(spec, briefing.problem)
    prompts = np.asarray(problem.measured, dtype=object)[wanted.item // spec.evaluate_options["samples"]]
    said = np.empty(len(prompts), dtype=object)
    policies = []
    for place, judge in enumerate(judges_of(problem, spec.seed)):
        known = min(problem.population.context_pairs, judge.labelled)
        adapted = policy.adapt(briefing.context(judge, known))
        mine = np.flatnonzero(wanted.user == place)
        draw = seeds.child(spec.seed, "judgements", "samples", str(judge.id))
        said[mine] = [text for (text,) in adapted.sample(prompts[mine].tolist(), 1, draw)]
        listed = backbone.distribution(adapted, problem.measured)
        policies.append(None if listed is None else listed["policy"].to_numpy())
    pd.DataFrame({"response": said}).to_parquet(folder / JUDGED_FILE, index=False)
    known_policies = [policy for policy in policies if policy is not None]
    if len(known_policies) == len(policies):
        pd.DataFrame({"policy": np.concatenate(known_policies)}).to_parquet(folder / JUDGES_FILE, index=False)

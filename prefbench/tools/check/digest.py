"""Digests of problems: equal where nothing differs that can move a number."""

from __future__ import annotations

import hashlib
import json

from prefbench.problem.problem import Problem
from prefbench.text import text_digest


def problem_digest(problem: Problem) -> str:
    """Names everything of a problem that can move a number."""
    groups = [[g.name, g.share, g.utility.name, g.utility.unit] for g in problem.groups]
    numbers = [
        problem.annotators,
        problem.pairs_per_annotator,
        problem.temperature,
        problem.response_tokens,
        sorted(problem.lexicon or ()),
    ]
    world = None if problem.world is None else problem.world.digest
    given = None if problem.given is None else text_digest(problem.given.astype(str).to_numpy().ravel())
    facts = json.dumps([groups, numbers, texts_digest(problem), world, given], default=str)
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def texts_digest(problem: Problem) -> str:
    """Names the prompts and the texts of a problem, whoever is to label them."""
    prompts = problem.prompts
    world = () if problem.world is None else (problem.world.digest,)
    sizes = (str(len(prompts.train)), str(len(prompts.validation)))
    # Pairs that a task brings along are a group's, and so are their prompts.
    drawn = () if problem.given is not None else (*sizes, *prompts.train, *prompts.validation)
    return text_digest([*drawn, *prompts.test, *problem.corpus, *world])

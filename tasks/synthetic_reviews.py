"""Movie reviews written by a small grammar: a corpus that needs no network and no licence.

Each review is an opening of exactly six neutral words that names something about a film, a verb phrase
that completes it, and up to five further clauses. Two draws shape the rest, independently of each other
and of the opening: the *tone* (how pleased the writer is) and the *number of clauses*. A language model
trained on the reviews therefore meets every tone and every length after every opening, and groups of
annotators who care for tone and for length really disagree.

Positive and negative clauses come from the same templates, so that neither side is longer than the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from prefbench_tasks.drawing import Leaning, chances, pick

__all__ = ["REVIEW_WORDS", "Labelled", "synthetic_reviews"]


@dataclass(frozen=True)
class Labelled:
    """Reviews and, in the same order, one label each: 1 where the review's tone is positive, else 0."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]


def synthetic_reviews(n: int, rng: np.random.Generator) -> Labelled:
    """Write `n` reviews: lowercase words, commas and full stops, the last character a full stop.

    Args:
        n: how many reviews; the first reviews of a longer call are those of a shorter one.
        rng: where every choice comes from; the same generator state gives the same reviews.

    Returns:
        The reviews and their labels, about half of them positive.
    """
    chance = chances(rng)
    reviews = [_review(chance) for _ in range(n)]
    return Labelled(tuple(text for text, _ in reviews), tuple(label for _, label in reviews))


# --- words ------------------------------------------------------------------------------------------------
# A slot has words for a positive clause and for a negative one, each as (strong, mild). Most of them have a
# valence in VADER's lexicon, and the two sides are chosen to weigh about the same in sum.

_Shades = tuple[tuple[str, ...], tuple[str, ...]]

_VALENCED: dict[str, dict[int, _Shades]] = {
    "ADJ": {
        1: (
            tuple(
                "wonderful superb excellent brilliant lovely beautiful delightful charming amazing perfect "
                "magnificent marvelous outstanding great gorgeous glorious splendid fantastic".split()
            ),
            tuple(
                "good nice fine warm clever fresh original engaging enjoyable entertaining funny lively "
                "playful interesting promising satisfying memorable witty".split()
            ),
        ),
        -1: (
            tuple(
                "awful terrible horrible dismal lousy horrendous pathetic horrid dreadful rotten "
                "disappointing miserable unpleasant bad grim disturbing nasty poor".split()
            ),
            tuple(
                "boring dull weak lame dreary messy ridiculous lazy annoying irritating depressing "
                "frustrating painful ugly wasted stupid predictable tedious".split()
            ),
        ),
    },
    "NOUN": {
        1: (("masterpiece", "joy", "delight", "triumph"), ("treasure", "success", "pleasure")),
        -1: (("disaster", "tragedy", "failure", "disappointment"), ("mess", "mistake", "shame")),
    },
    "FEEL": {
        1: (("happy", "thrilled", "delighted", "impressed"), ("pleased", "glad", "grateful", "amused")),
        -1: (("angry", "frustrated", "disappointed", "sad"), ("bored", "unhappy", "upset", "annoyed")),
    },
    "VERB": {
        1: (("loved", "enjoyed", "admired"), ("liked", "praised", "appreciated")),
        -1: (("hated", "dreaded", "rejected"), ("disliked", "regretted", "resented")),
    },
    "ADVERB": {
        1: (("beautifully", "perfectly", "wonderfully"), ("nicely", "cleverly")),
        -1: (("horribly", "terribly", "badly"), ("sadly", "weakly")),
    },
}

_RELATIVES = tuple("mother father brother sister cousin aunt uncle neighbour".split())
_PEOPLE = tuple("sailor teacher painter farmer doctor singer dancer soldier writer lawyer queen king".split())
_FILMS = tuple("film movie drama western mystery musical documentary sequel remake picture".split())

_NEUTRAL: dict[str, tuple[str, ...]] = {
    "THE": ("the", "this", "that"),
    "AGE": tuple(
        "new old short long early late quiet small recent foreign local french italian modern silent "
        "second third".split()
    ),
    "FILM": _FILMS,
    "PART": tuple(
        "script cast music story ending plot camera acting editing dialogue opening pace sound "
        "lighting".split()
    ),
    "ABOUT": ("about", "with"),
    "PERSON": _PEOPLE,
    "TOPIC": (*_PEOPLE, *"family village train river school city summer winter wedding letter".split()),
    "DET": ("a", "the", "one"),
    "IN": ("in", "of"),
    "KIN": _RELATIVES,
    "SAID": ("said", "felt", "thought", "thinks"),
    "SO": ("really", "quite", "rather", "very", "often", "always", "mostly"),
    "IS": ("is", "was", "seems", "feels", "looks"),
    "WHEN": tuple("night sunday morning week".split()),
    "PLACE": tuple("house garden street kitchen hotel island road station".split()),
    "NUMBER": ("two", "three", "four"),
}

# --- templates --------------------------------------------------------------------------------------------
# Words in capitals are slots. Every opening has six words and is a singular subject, so that any predicate
# completes it.


def _split(*templates: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(template.split()) for template in templates)


_OPENINGS = _split(
    "THE AGE FILM ABOUT DET TOPIC",
    "the PART IN THE AGE FILM",
    "the PERSON in THE AGE FILM",
    "my KIN SAID THE AGE FILM",
)
_PREDICATES = _split(
    "IS ADJ",
    "IS ADJ",
    "IS SO ADJ",
    "IS A NOUN",
    "left me FEEL",
    "made my KIN FEEL",
    "IS ADJ and ADJ",
    "IS ADJ from start to finish",
    "is A_ADJ piece of work",
)
_NEUTRAL_PREDICATES = _split(
    "takes time",
    "moves slowly",
    "changes in the middle",
    "stays much the same",
    "is as expected",
    "begins near the PLACE",
    "is what it is",
    "comes back in the last scene",
)
_CLAUSES = _split(
    "i VERB it",
    "the PART IS ADJ",
    "the PART IS SO ADJ",
    "my KIN VERB the PART",
    "it is A NOUN",
    "it was ADVERB made",
    "it ends ADVERB",
    "we were FEEL at the end",
    "the PART is ADJ and ADJ",
    "everyone was FEEL",
    "the PERSON gives A_ADJ performance",
    "it is A_ADJ FILM",
)
_NEUTRAL_CLAUSES = _split(
    "it runs for NUMBER hours",
    "i saw it last WHEN",
    "we watched it twice",
    "the story is set near A PLACE",
    "the plot follows NUMBER people",
    "the camera moves around the PLACE",
    "the PART changes in the second half",
    "it was made in the city",
    "the PERSON comes home",
    "my KIN was there",
    "then it rains",
)

# How many clauses a review has, the first predicate included: near geometric, and cut at six. With about
# four words to a clause the continuation of most openings has 2 to 25 words.
_CLAUSE_COUNT_CDF = (0.27, 0.50, 0.69, 0.84, 0.94, 1.0)

_LEANING = Leaning(floor=0.1, slope=0.75, against=0.08)  # of a clause; the tone is uniform in [-1, 1]
_DRIFT = 0.25  # half-width of the uniform step of the tone from one clause to the next


def _lexicon() -> frozenset[str]:
    """Every word that a review can have."""
    slots = [words for sides in _VALENCED.values() for shades in sides.values() for words in shades]
    templates = (*_OPENINGS, *_PREDICATES, *_NEUTRAL_PREDICATES, *_CLAUSES, *_NEUTRAL_CLAUSES)
    plain = (word for template in templates for word in template if word.islower())
    return frozenset(("a", "an", "and", "but", *plain)).union(*slots, *_NEUTRAL.values())


REVIEW_WORDS = _lexicon()
"""Every word of the grammar."""

# --- drawing ----------------------------------------------------------------------------------------------


def _pick_template(templates: Sequence[tuple[str, ...]], chance: Iterator[float]) -> tuple[str, ...]:
    return templates[int(next(chance) * len(templates))]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _valenced(slot: str, sign: int, strength: float, chance: Iterator[float]) -> str:
    strong, mild = _VALENCED[slot][sign]
    word: str = pick(strong if next(chance) < strength else mild, chance)
    return word


def _fill(template: tuple[str, ...], sign: int, strength: float, chance: Iterator[float]) -> list[str]:
    """The words of one template: `sign` and `strength` choose the valenced ones."""
    words: list[str] = []
    for token in template:
        if token in _NEUTRAL:
            words.append(pick(_NEUTRAL[token], chance))
        elif token in _VALENCED:
            word = _valenced(token, sign, strength, chance)
            while word in words:  # "lovely and lovely"
                word = _valenced(token, sign, strength, chance)
            words.append(word)
        elif token == "A_ADJ":
            word = _valenced("ADJ", sign, strength, chance)
            words += [_article(word), word]
        else:
            words.append("a" if token == "A" else token)
    return [_article(words[i + 1]) if word == "a" else word for i, word in enumerate(words)]


def _joint(sign: int, previous: int, chance: Iterator[float]) -> str:
    """Words between two clauses; "but" only where the writer changes sides."""
    if next(chance) < 0.5:
        return ". "
    return ", but " if sign * previous < 0 else ", and "


def _review(chance: Iterator[float]) -> tuple[str, int]:
    """One review and its label."""
    opening = " ".join(_fill(_pick_template(_OPENINGS, chance), 0, 0.0, chance))
    count_draw = next(chance)
    n_clauses = 1 + sum(count_draw >= edge for edge in _CLAUSE_COUNT_CDF)
    tone = 2.0 * next(chance) - 1.0
    pieces = [opening, " "]
    total_tone, previous = 0.0, 0
    for index in range(n_clauses):
        sign = _LEANING.sign(tone, chance)
        if index == 0:
            templates = _PREDICATES if sign else _NEUTRAL_PREDICATES
        else:
            templates = _CLAUSES if sign else _NEUTRAL_CLAUSES
            pieces.append(_joint(sign, previous, chance))
        pieces.append(" ".join(_fill(_pick_template(templates, chance), sign, abs(tone), chance)))
        total_tone, previous = total_tone + tone, sign
        tone = min(1.0, max(-1.0, tone + _DRIFT * (2.0 * next(chance) - 1.0)))
    return "".join(pieces) + ".", int(total_tone > 0)

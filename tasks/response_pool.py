"""A pool of real answers: what several models said to the same prompts, for groups that want different text.

Any table of instructions, models and outputs becomes a world: a prompt is a state, the models' answers are
its responses, and a policy chooses among them. The groups' utilities are functions of the text, so that every
expectation and every exact optimum is known, on real language and without a language model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.data.pool import Answer, Pool, make_pool, read_answers, text_features
from prefbench.problem.finite import finite_problem
from prefbench.problem.splits import by_place
from prefbench.problem.utilities.content import Conciseness, Coverage
from prefbench.problem.utilities.readability import Readability
from prefbench.problem.utilities.sentiment import Warmth
from prefbench.problem.world import Annotators, Beta, PairsPerAnnotator, Temperature, World

PROMPTS_PER_VALIDATION = 6  # one validation prompt in six of those that are not held out

Wish = Literal["brevity", "coverage", "readability", "style"]

# No answer of a pool is without a word, so that what silence earns is never met; it is below all the same.
UTILITIES: dict[str, Callable[[], pb.Utility]] = {
    "brevity": lambda: Conciseness(empty=-10_000.0),
    "coverage": lambda: Coverage(empty=-1.0),
    "readability": lambda: Readability(empty=-100.0),
    "style": lambda: Warmth(empty=-400.0),
}


@pb.task("response_pool", version=2, backbone="finite")
def response_pool(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    majority: Annotated[Wish, Field(description="The majority's wish for an answer.")] = "coverage",
    minority: Annotated[Wish, Field(description="The minority's wish for an answer.")] = "readability",
    instruction_column: Annotated[str, Field(description="The table's column of prompts.")] = "instruction",
    model_column: Annotated[str, Field(description="The table's column that names who answered.")] = "model",
    output_column: Annotated[str, Field(description="The table's column of answers.")] = "output",
    annotators: Annotators = 40,
    pairs_per_annotator: PairsPerAnnotator = 25,
    temperature: Temperature = 0.5,
    beta: Beta = 0.15,
    test_share: Annotated[
        float, Field(ge=0.1, le=0.8, description="Share of the prompts to evaluate on.")
    ] = 0.25,
) -> pb.Problem:
    """Answers of several models to the same prompts: the majority wants coverage, the minority easy reading.

    Data: `synthetic` (six writers' answers from a grammar, the default), or the path of a parquet, CSV or
    JSONL table with a row for each prompt and model. Utilities to choose from: brevity (few words), coverage
    (many different content words), readability (Flesch's reading ease), style (how warm the words are).
    """
    if majority == minority:
        raise pb.UserError(
            f"both groups want {majority}: set task.majority and task.minority to two different ones of "
            f"{', '.join(UTILITIES)}."
        )
    utilities = {name: UTILITIES[name]() for name in (majority, minority)}
    if data == "synthetic":
        read = _drawn(seed, (majority, minority))
    else:
        pool = make_pool(*read_answers(data, (instruction_column, model_column, output_column)))
        read = _read(pool, list(utilities.values()))
    pool, shape = read.pool, read.features.shape[:2]
    prompts = _split(pool, test_share, annotators * pairs_per_annotator, pb.seeds.rng(seed, "prompts"))
    world = World(
        state={prompt: index for index, prompt in enumerate(pool.prompts)},
        responses=pool.responses,
        features=read.features,
        utilities=read.utilities,
        reference=np.full(shape, 1 / shape[1]),
        beta=beta,
    )
    return finite_problem(
        world,
        prompts,
        [
            (majority, 1 - minority_ratio, utilities[majority].unit),
            (minority, minority_ratio, utilities[minority].unit),
        ],
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        report={
            "source": pool.source,
            "utilities": {name: utility.name for name, utility in utilities.items()},
            "feature_names": list(read.names),
            "features_dropped": list(read.left_out),
            "table": dict(pool.report),
        },
    )


def _split(pool: Pool, test_share: float, pairs: int, rng: np.random.Generator) -> pb.Prompts:
    """The test share, the same for every seed; a random sixth of the others; the rest, repeated, for pairs.

    Raises:
        UserError: more pairs are asked for than the train prompts have.
    """
    order = by_place(pool.prompts)
    testing = round(test_share * len(order))
    test, rest = order[:testing], order[testing:]
    rest = [rest[index] for index in rng.permutation(len(rest)).tolist()]
    checking = max(1, len(rest) // PROMPTS_PER_VALIDATION)
    validation, train = rest[:checking], rest[checking:]
    models = len(pool.models)
    different = len(train) * (models * (models - 1) // 2)
    if pairs > different:
        raise pb.UserError(
            f"{len(train)} train prompts with {models} answers each have {different} pairs, but {pairs} are "
            "asked for: lower task.annotators, task.pairs_per_annotator or task.test_share."
        )
    return pb.Prompts(tuple(train[i % len(train)] for i in range(pairs)), tuple(validation), tuple(test))


@dataclass(frozen=True)
class _ReadPool:
    """A pool whose answers have been read: what is seen of each, and what each is worth."""

    pool: Pool
    features: np.ndarray
    """[S, R, d]"""
    names: tuple[str, ...]
    """Names of the features."""
    left_out: tuple[str, ...]
    """Names of those that tell no answer from another."""
    utilities: np.ndarray
    """[S, R, G]"""


def _read(pool: Pool, utilities: Sequence[pb.Utility]) -> _ReadPool:
    features, names, left_out = text_features(pool)
    return _ReadPool(pool, features, tuple(names), tuple(left_out), _tabulate(pool, utilities))


@functools.lru_cache(maxsize=32)
def _drawn(seed: int, wishes: tuple[Wish, ...]) -> _ReadPool:
    """The synthetic answers of a seed; the aligners of a sweep meet them one after the other."""
    pool = make_pool("synthetic", synthetic_answers(pb.seeds.rng(seed, "answers")))
    return _read(pool, [UTILITIES[name]() for name in wishes])


def _tabulate(pool: Pool, utilities: Sequence[pb.Utility]) -> np.ndarray:
    """Every utility of every answer, [S, R, G]."""
    prompts = [prompt for prompt in pool.prompts for _ in pool.models]
    texts = [text for row in pool.responses for text in row]
    columns = [utility(prompts, texts).reshape(-1, len(pool.models)) for utility in utilities]
    return np.stack(columns, axis=2)


# --- synthetic answers ------------------------------------------------------------------------------------

TOPICS = tuple(
    "baking bread/growing tomatoes/playing chess/mending bicycles/keeping bees/painting walls/singing in a "
    "choir/watching birds/sewing clothes/rowing/making cheese/learning Italian/pruning roses/sailing/"
    "building shelves/drawing portraits/brewing coffee/hill walking/juggling/raising chickens".split("/")
)
QUESTIONS = (
    "How do I start with {}?",
    "Why do people enjoy {}?",
    "What do I need for {}?",
    "What goes wrong most often in {}?",
    "How long does it take to get good at {}?",
    "Is {} worth the money?",
    "Can children take part in {}?",
    "Give me a plan for my first day of {}.",
)

# The same points, as somebody would say them in passing and as a handbook would.
POINTS = (
    ("Start small", "It is advisable to commence with an undertaking of limited complexity"),
    ("Watch somebody who knows it", "Systematic observation of experienced practitioners is indispensable"),
    ("Buy only three tools", "Expenditure on specialised equipment should initially be minimised"),
    ("Do a little every day", "Regularity of practice contributes more than its accumulated duration"),
    ("Write down what you did", "Documentation of individual procedures facilitates subsequent comparison"),
    ("Wear old clothes", "Appropriate protective clothing is recommended in every situation"),
    ("Ask at the library", "Municipal libraries maintain considerable collections of relevant literature"),
    ("Take a friend along", "Participation in company demonstrably increases continuity"),
    ("Keep your hands clean", "Elementary hygiene prevents the majority of avoidable complications"),
    ("Stop when you are tired", "Concentration deteriorates appreciably under conditions of fatigue"),
    ("Check the weather", "Meteorological circumstances necessitate corresponding preparation"),
    ("Read one book about it", "Preliminary theoretical instruction accelerates practical acquisition"),
)
CHEER = (
    "You will love it!",
    "What a lovely idea, and a brave one!",
    "It is a great joy and a wonderful gift to friends.",
    "Everybody is happy to help, so enjoy it!",
    "The best part is the proud smile at the end!",
)
WORRY = (
    "It can be dangerous and hard.",
    "Most people fail, lose money and hate it.",
    "I would be afraid of a bad accident.",
    "The mess is awful, and so is the pain in the back.",
    "Sadly, the poor tools that they sell are a problem.",
)


def synthetic_answers(rng: np.random.Generator) -> list[Answer]:
    """Answers of six writers of different length and manner to 160 questions, in our own sentences."""
    answers = []
    for topic in TOPICS:
        for question in QUESTIONS:
            instruction = question.format(topic)
            answers += [(instruction, name, write(topic, rng)) for name, write in WRITERS.items()]
    return answers


def _points(rng: np.random.Generator, least: int, most: int, manner: int) -> list[str]:
    chosen = rng.permutation(len(POINTS))[: rng.integers(least, most + 1)]
    return [POINTS[index][manner] for index in chosen.tolist()]


def _terse(topic: str, rng: np.random.Generator) -> str:
    return _points(rng, 1, 1, 0)[0] + "."


def _plain(topic: str, rng: np.random.Generator) -> str:
    return " ".join([f"About {topic}:", *(f"{point}." for point in _points(rng, 2, 5, 0))])


def _mixed(topic: str, rng: np.random.Generator, remarks: Sequence[str]) -> str:
    order = rng.permutation(len(remarks))[: rng.integers(1, 4)]
    said = [*(f"{point}." for point in _points(rng, 1, 4, 0)), *(remarks[index] for index in order.tolist())]
    return f"So, {topic}? " + " ".join(said[index] for index in rng.permutation(len(said)).tolist())


def _cheerful(topic: str, rng: np.random.Generator) -> str:
    return _mixed(topic, rng, CHEER)


def _worried(topic: str, rng: np.random.Generator) -> str:
    return _mixed(topic, rng, WORRY)


def _learned(topic: str, rng: np.random.Generator) -> str:
    points = [point[0].lower() + point[1:] for point in _points(rng, 2, 5, 1)]
    return f"With regard to {topic}, " + "; furthermore, ".join(points) + "."


def _listing(topic: str, rng: np.random.Generator) -> str:
    plain = _points(rng, 3, 8, 0)
    return "\n".join([f"Here is a list for {topic}:", *(f"{i}. {point}" for i, point in enumerate(plain, 1))])


WRITERS: dict[str, Callable[[str, np.random.Generator], str]] = {
    "cheerful": _cheerful,
    "learned": _learned,
    "listing": _listing,
    "plain": _plain,
    "terse": _terse,
    "worried": _worried,
}

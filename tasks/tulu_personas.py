"""Persona groups that want the same questions answered in opposite ways: the large experiment of MaxMin-RLHF.

The personas are those of Personalized Soups (Jang et al. 2023), three pairs of opposites: easy or expert
language, few or many points, a warm or a cold tone. The sentences that ask for them, and the utilities that
measure them, are this project's own.

Exact opposites leave nothing to share: what one group wins the other loses, and no policy can please both.
Real people of opposite tastes still agree that an answer should speak of what was asked, so every persona
values that too, at a weight that is an option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.chat.server import Server
from prefbench.data.generate import ServerWriter, generate, read_prompts
from prefbench.data.given import assemble
from prefbench.data.personas import read_personas
from prefbench.evaluate.gold import GoldReward
from prefbench.evaluate.judge_options import JudgeOptions
from prefbench.problem.problem import Origin
from prefbench.problem.splits import deal
from prefbench.problem.utilities.combined import Negated, Weighted
from prefbench.problem.utilities.content import Conciseness, Coverage, Relevance
from prefbench.problem.utilities.readability import Readability
from prefbench.problem.utilities.sentiment import Warmth
from prefbench.registry import suggest
from prefbench_tasks.synthetic_personas import (
    Attribute,
    Instructed,
    Request,
    instruction_words,
    synthetic_instructions,
)

if TYPE_CHECKING:
    import pandas as pd


PROVIDES = ("user_id", "group", "instruction", "oracle")
TRAIN_PER_VALIDATION = 5  # one validation prompt for every five train prompts
RELEVANCE_SPREAD = 0.5  # standard deviation of `Relevance` over typical responses


@dataclass(frozen=True)
class Persona:
    """One wish about how a prompt is answered."""

    name: str
    """Name of the group that has it."""
    attribute: Attribute
    up: bool
    """True if it wants much of the attribute."""
    instruction: str
    """A sentence that asks for it outright."""
    wish: Callable[[int], pb.Utility]
    """Utility of the wish, given the longest response in tokens."""
    spread: float
    """Standard deviation of that over typical responses."""


# What silence earns is less than nearly all words do, but not so little that a few silent responses make the
# whole spread.
PERSONAS: dict[str, Persona] = {
    "P1A": Persona(
        "elementary",
        "expertise",
        False,
        "Explain it so that a child in primary school understands.",
        lambda _: Readability(empty=-100.0),
        36.0,
    ),
    "P1B": Persona(
        "expert",
        "expertise",
        True,
        "Write for an expert who knows the field and its terms.",
        lambda _: Negated(Readability(empty=-100.0), empty=-121.0),
        36.0,
    ),
    "P2A": Persona(
        "concise",
        "length",
        False,
        "Be brief and come straight to the point.",
        lambda tokens: Conciseness(empty=-float(tokens)),
        5.0,
    ),
    "P2B": Persona(
        "informative",
        "length",
        True,
        "Tell me everything that I should know about it.",
        lambda _: Coverage(empty=-1.0),
        1.6,
    ),
    "P3A": Persona(
        "friendly",
        "tone",
        True,
        "Be warm and friendly, as a good friend would be.",
        lambda _: Warmth(empty=-45.0),
        13.0,
    ),
    "P3B": Persona(
        "unfriendly",
        "tone",
        False,
        "Be cold and unfriendly, without a kind word.",
        lambda _: Negated(Warmth(empty=-45.0), empty=-45.0),
        13.0,
    ),
}


class MeasureOptions(pb.Options):
    """Options of the people, of what they are asked and of how their wishes are measured."""

    annotators: int = Field(40, ge=2)
    """Annotators in all."""
    pairs_per_annotator: int = Field(50, ge=1)
    """Pairs that each of them labels."""
    temperature: float = Field(0.5, ge=0)
    """Label noise, in standard deviations of the group's utility; given labels are what they are."""
    relevance: float = Field(0.5, ge=0)
    """Weight, for every persona, of taking up the prompt's words, as a share of its own wish, both in
    standard deviations; 0 leaves exact opposites."""
    response_tokens: int = Field(24, ge=1)
    """Longest response, in tokens."""
    test_prompts: int = Field(800, ge=10)
    """Prompts to evaluate on; 800 resolve 7 points between two runs."""
    synthetic_size: int = Field(20000, ge=100)
    """Texts written for --data synthetic."""
    instructions: bool = True
    """Also measure policies with each persona's instruction before the test prompts."""
    utility: Literal["proxy", "reward_model", "llm_judge"] = "proxy"
    """Measure of a persona's wish: the text, a gold reward of annotators that no aligner sees, or a language
    model on a server."""
    gold_annotators: int = Field(20, ge=1)
    """Annotators of each persona that aligners never see, for `utility=reward_model`."""


class PersonaOptions(JudgeOptions, MeasureOptions):
    """Options that the persona tasks have in common."""

    folder: str | None = None
    """Folder to make, for `--data generate`."""
    prompts: str | None = None
    """File of prompts for `--data generate`: one a line, or JSON, JSONL, CSV or parquet with a column."""
    writer_url: str = "http://127.0.0.1:8000/v1"
    """Address of the server of the model that answers, for `--data generate`."""
    writer_model: str | None = None
    """Name of the model that answers, on its server."""
    writer_key_env: str | None = None
    """Environment variable that holds the writer's key; only on the command line, like judge_key_env."""
    writer_temperature: float = Field(0.7, ge=0, le=2)
    """Temperature of that model's sampling."""
    writer_max_tokens: int = Field(512, ge=1)
    """Longest answer of that model, in tokens."""


class AnyPersonasOptions(PersonaOptions):
    """The two personas, and the options of all persona tasks."""

    majority: str = "P1A"
    """Persona of the majority, or several, such as P1A,P2A, with equal shares."""
    minority: str = "P2B"
    """Persona of the minority."""


@pb.task("tulu_expertise", version=2, provides=PROVIDES)
def tulu_expertise(data: str, minority_ratio: float, seed: int, options: PersonaOptions) -> pb.Problem:
    """Instructions: the majority wants answers for a child (P1A), the minority answers for an expert (P1B).

    Data: `synthetic` (instructions and responses from a grammar, the default), a folder in the layout of the
    Personalized Soups data, or `generate` (a model answers, a judge labels, and the folder is kept).
    """
    return _problem(data, ("P1A", "P1B"), minority_ratio, seed, options)


@pb.task("tulu_informativeness", version=2, provides=PROVIDES)
def tulu_informativeness(data: str, minority_ratio: float, seed: int, options: PersonaOptions) -> pb.Problem:
    """Instructions: the majority wants brief answers (P2A), the minority informative ones (P2B).

    Data: `synthetic` (instructions and responses from a grammar, the default), a folder in the layout of the
    Personalized Soups data, or `generate` (a model answers, a judge labels, and the folder is kept).
    """
    return _problem(data, ("P2A", "P2B"), minority_ratio, seed, options)


@pb.task("tulu_style", version=2, provides=PROVIDES)
def tulu_style(data: str, minority_ratio: float, seed: int, options: PersonaOptions) -> pb.Problem:
    """Instructions: the majority wants friendly answers (P3A), the minority unfriendly ones (P3B).

    Data: `synthetic` (instructions and responses from a grammar, the default), a folder in the layout of the
    Personalized Soups data, or `generate` (a model answers, a judge labels, and the folder is kept).
    """
    return _problem(data, ("P3A", "P3B"), minority_ratio, seed, options)


@pb.task("tulu_personas", version=2, provides=PROVIDES)
def tulu_personas(data: str, minority_ratio: float, seed: int, options: AnyPersonasOptions) -> pb.Problem:
    """Instructions, and any two or more persona groups: one minority, and a majority of one or several.

    Personas: P1A elementary, P1B expert, P2A concise, P2B informative, P3A friendly, P3B unfriendly.
    Data: `synthetic` (instructions and responses from a grammar, the default), a folder in the layout of the
    Personalized Soups data, or `generate` (a model answers, a judge labels, and the folder is kept).
    """
    codes = (*(code.strip() for code in options.majority.split(",")), options.minority.strip())
    return _problem(data, codes, minority_ratio, seed, options)


def _problem(
    data: str, codes: tuple[str, ...], minority_ratio: float, seed: int, options: PersonaOptions
) -> pb.Problem:
    """The problem of the personas `codes`, the last of which is the minority."""
    _check_personas(codes)
    shares = dict(zip(codes, _shares(len(codes), minority_ratio), strict=True))
    if data == "synthetic":
        source = _synthetic(codes, seed, options)
    else:
        folder = _generated(codes, options) if data == "generate" else data
        source = _given(folder, shares, seed, options)
    return pb.Problem(
        groups=tuple(
            pb.Group(
                PERSONAS[code].name,
                share,
                source.utilities[code],
                PERSONAS[code].instruction if options.instructions else None,
            )
            for code, share in shares.items()
        ),
        prompts=source.prompts,
        corpus=source.corpus,
        annotators=options.annotators,
        pairs_per_annotator=options.pairs_per_annotator,
        temperature=options.temperature,
        response_tokens=options.response_tokens,
        chat=True,
        given=source.given,
        lexicon=source.lexicon,
        origin=_ORIGIN,
        report={
            "personas": {PERSONAS[code].name: code for code in codes},
            "relevance": options.relevance,
            **source.report,
        },
    )


_ORIGIN = Origin(
    responses="a model that was told what the persona wants",
    labels="a model in the persona's place (GPT-4 in the published files), and by no person",
    invented_ids=True,
)


@dataclass(frozen=True)
class _Source:
    """Origin of prompts, texts and labels."""

    prompts: pb.Prompts
    corpus: tuple[str, ...]
    utilities: Mapping[str, pb.Utility]
    """Utilities by persona code."""
    report: Mapping[str, Any]
    given: pd.DataFrame | None = None
    lexicon: frozenset[str] | None = None
    """Every word of a grammar's texts."""


def _synthetic(codes: tuple[str, ...], seed: int, options: PersonaOptions) -> _Source:
    training = options.annotators * options.pairs_per_annotator
    gold = options.gold_annotators * options.pairs_per_annotator if options.utility == "reward_model" else 0
    sizes = (training, training // TRAIN_PER_VALIDATION, options.test_prompts, gold)
    if options.synthetic_size < sum(sizes):
        raise pb.UserError(
            f"task.synthetic_size={options.synthetic_size} is fewer than the {sum(sizes)} prompts asked for: "
            "raise it, or lower task.annotators, task.pairs_per_annotator or task.test_prompts."
        )
    # In one order, so that exchanging majority and minority leaves the corpus as it is.
    asked = [PERSONAS[code] for code in sorted(codes)]
    requests = [Request(each.instruction, each.attribute, each.up) for each in asked]
    texts = synthetic_instructions(options.synthetic_size, pb.seeds.rng(seed, "corpus"), requests)
    prompts, kept_apart, corpus = _split(texts, sizes, pb.seeds.rng(seed, "prompts"))
    utilities = {code: _utility(code, options) for code in codes}
    if gold:
        utilities = {
            code: GoldReward(
                PERSONAS[code].name, kept_apart, teacher=teacher, temperature=options.temperature
            )
            for code, teacher in utilities.items()
        }
    report = {"source": "synthetic", "texts": len(texts.texts)}
    return _Source(prompts, corpus, utilities, report, lexicon=instruction_words(requests))


def _given(folder: str, shares: Mapping[str, float], seed: int, options: PersonaOptions) -> _Source:
    """Labelled comparisons of a folder, dealt out to annotators."""
    given = assemble(
        read_personas(folder, list(shares)),
        shares,
        annotators=options.annotators,
        pairs_per_annotator=options.pairs_per_annotator,
        test_prompts=options.test_prompts,
        gold_annotators=options.gold_annotators,
        seed=seed,
    )
    utilities = {code: _utility(code, options) for code in shares}
    if options.utility == "reward_model":
        utilities = {code: GoldReward(PERSONAS[code].name, *given.gold[code]) for code in shares}
    names = {code: PERSONAS[code].name for code in shares}
    rows = given.preferences.assign(group=given.preferences["group"].map(names))
    return _Source(given.prompts, given.corpus, utilities, given.report, rows)


def _generated(codes: tuple[str, ...], options: PersonaOptions) -> str:
    """The folder of `--data generate`, made now unless it is there."""
    for name in ("folder", "prompts", "writer_model"):
        if getattr(options, name) is None:
            raise pb.UserError(f"--data generate needs task.{name}: set it with --set task.{name}=...")
    assert options.folder is not None and options.prompts is not None and options.writer_model is not None
    folder = Path(options.folder).expanduser()
    kept = folder.with_name(f"{folder.name}-answers")
    server = Server(
        options.writer_url, options.writer_model, kept, timeout=options.judge_timeout, role="writer"
    )
    writer = ServerWriter(server, options.writer_temperature, options.writer_max_tokens)
    wishes = {code: PERSONAS[code].instruction for code in codes}
    generate(read_prompts(options.prompts), wishes, writer, lambda wish: options.judge(wish, kept), folder)
    return str(folder)


def _check_personas(codes: tuple[str, ...]) -> None:
    for code in codes:
        if code not in PERSONAS:
            raise pb.UserError(f"no persona is called '{code}'.{suggest(code, PERSONAS)}")
        if codes.count(code) > 1:
            raise pb.UserError(
                f"persona {code} is named twice: every group of a task needs a different one; name another."
            )


def _shares(groups: int, minority_ratio: float) -> list[float]:
    """The minority ratio for the last group, and equal shares of the rest for the others."""
    if minority_ratio * groups > 1 + 1e-9:
        raise pb.UserError(
            f"a minority ratio of {minority_ratio:g} is more than an equal share of {groups} groups: give "
            f"--minority-ratio {int(1e4 / groups) / 1e4:g} or less."
        )
    return [(1 - minority_ratio) / (groups - 1)] * (groups - 1) + [minority_ratio]


def _utility(code: str, options: PersonaOptions) -> pb.Utility:
    """The measure of a persona's wish; a gold reward is fitted to what this says.

    The text's measure is the wish in its own unit and, in the same unit, what every persona values.
    """
    persona = PERSONAS[code]
    if options.utility == "llm_judge":
        return options.judge(persona.instruction)
    wish = persona.wish(options.response_tokens)
    if options.relevance == 0:
        return wish
    worth = round(options.relevance * persona.spread / RELEVANCE_SPREAD, 6)
    return Weighted(((1.0, wish), (worth, Relevance(empty=0.0))))


def _split(
    texts: Instructed, sizes: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[pb.Prompts, tuple[str, ...], tuple[str, ...]]:
    """Prompts of the three splits and of gold rewards, and the texts whose prompts are not for testing."""
    different = list(dict.fromkeys(texts.prompts))
    training, checking, testing, gold = sizes
    if len(different) < sum(sizes):
        raise pb.UserError(
            f"{len(texts.prompts)} texts have {len(different)} different prompts, but {sum(sizes)} are "
            "needed: lower task.annotators, task.pairs_per_annotator or task.test_prompts."
        )
    dealt = deal(different, (training + gold, checking, testing), rng)
    held_out = set(dealt.test)
    kept = tuple(
        text for text, prompt in zip(texts.texts, texts.prompts, strict=True) if prompt not in held_out
    )
    train, kept_apart = dealt.train[:training], dealt.train[training:]
    return pb.Prompts(train, dealt.validation, dealt.test), kept_apart, kept

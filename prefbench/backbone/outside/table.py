"""Tables of responses that were written elsewhere, held to answer every test prompt once."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.backbone.outside.options import ResponsesOptions
from prefbench.chat.client import utf8
from prefbench.data.files import Columns, read_columns
from prefbench.errors import UserError
from prefbench.learn.interface import Policy
from prefbench.registry import suggest
from prefbench.text import is_empty, one_line

PROMPT = ("prompt", "instruction")
"""Names of the column of prompts, ours and that of AlpacaEval's files."""
RESPONSE = ("response", "output")
"""Names of the column of responses, likewise."""
WRITER = ("generator", "model")
"""Names of the column that says who wrote a response, AlpacaEval's and that of pools of answers."""
ID, SAMPLE = "prompt_id", "sample"
NEAR = 0.6
"""Likeness of two names, 0 to 1, from which on one may be meant by the other."""
SHOWN = 60
"""Characters of a prompt that a message shows."""


@dataclass(frozen=True)
class TablePolicy(Policy):
    """Responses that are there already."""

    said: dict[str, list[str]]
    """Responses by prompt."""

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """The responses as the table has them; no chance is in it."""
        return [self.said[prompt][:n] for prompt in prompts]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """None: a table has no probabilities."""

    def save(self, folder: Path) -> None:
        """Nothing: it is named by its content, and its responses are among the samples."""


def read_responses(request: PolicyRequest, options: ResponsesOptions) -> Outside:
    """The policy of a file.

    Raises:
        UserError: one line on the first thing that is wrong with the file.
    """
    path = Path(request.source).expanduser()
    if not path.is_file():
        raise UserError(f"responses file '{request.source}' does not exist: check the path.")
    table = read_columns(path, "responses")
    where = f"responses file '{request.source}'"
    table, writer = _of_writer(table, options.writer, where, request.section)
    length = len(next(iter(table.values()), []))
    if not length:
        raise UserError(f"{where} has no rows: name a file with a response to each test prompt.")
    places, unknown = _places(table, request.problem.measured, where)
    samples = _samples(table, length, where)
    texts = _texts(table, where)
    said = _arranged(places, samples, texts, request, where)
    empty = [place for place, row in enumerate(said) for text in row if is_empty(text)]
    if empty and options.empty == "refuse":
        raise UserError(
            f"{where} has {len(empty)} responses without a word, the first to {_shown(request, empty[0])}: "
            f"write them, or say --set {request.section}.empty=count to count them as losses."
        )
    notes = [] if not unknown else [f"{unknown} rows of the responses file are to no test prompt"]
    return Outside(
        TablePolicy(dict(zip(request.problem.measured, said, strict=True))),
        instructed=False,
        no_kl="a table of responses has no log-probabilities",
        notes=notes,
        writer=writer,
    )


def _column(table: Columns, names: Sequence[str]) -> str | None:
    """The one of these names that the table has."""
    return next((name for name in names if name in table), None)


def _places(table: Columns, prompts: Sequence[str], where: str) -> tuple[list[int | None], int]:
    """Place of each row's prompt among the test prompts, and how many rows have none."""
    name = _column(table, (ID, *PROMPT))
    if name is None:
        raise UserError(f"{where} has no column '{ID}' or 'prompt'.{_near(table, (ID, *PROMPT))}")
    places: list[int | None] = []
    place_of: dict[object, int]
    if name == ID:
        kind: type = int
        place_of = {place: place for place in range(len(prompts))}
        cells = [_whole(cell) for cell in table[name]]
    else:
        kind = str
        place_of = {prompt: place for place, prompt in enumerate(prompts)}
        cells = table[name]
    _refuse_types(cells, kind, name, where)
    places = [place_of.get(cell) for cell in cells]
    if name == ID:
        _refuse_other_prompts(table, places, prompts, where)
    unknown = sum(place is None for place in places)
    if unknown == len(places):
        raise UserError(
            f"{where} answers none of the {len(prompts)} test prompts, which depend on the task's options, "
            "the data and the seed: `prefbench evaluate --write-prompts FILE` writes them "
            "(docs/faq.md#a-table-answers-none-of-the-prompts)."
        )
    return places, unknown


def _refuse_other_prompts(
    table: Columns, places: Sequence[int | None], prompts: Sequence[str], where: str
) -> None:
    """Refuse prompts beside ids that are not the task's: ids alone count from 0 on any seed."""
    name = _column(table, PROMPT)
    if name is None:
        return
    wrong = [
        row
        for row, place in enumerate(places)
        if place is not None and table[name][row] not in (None, prompts[place])
    ]
    if wrong:
        raise UserError(
            f"{where} has {len(wrong)} rows whose prompt is not the test prompt of that {ID}, the first is "
            f"row {wrong[0] + 1}: the prompts are of another seed or of other options, or were edited; "
            "`prefbench evaluate --write-prompts FILE` writes those that are asked."
        )


def _samples(table: Columns, length: int, where: str) -> list[int]:
    if SAMPLE not in table:
        return [0] * length
    cells = [_whole(cell) for cell in table[SAMPLE]]
    _refuse_types(cells, int, SAMPLE, where)
    return [int(cell) for cell in cells if isinstance(cell, int)]


def _texts(table: Columns, where: str) -> list[str]:
    name = _column(table, RESPONSE)
    if name is None:
        raise UserError(f"{where} has no column 'response'.{_near(table, RESPONSE)}")
    cells = ["" if cell is None else cell for cell in table[name]]
    _refuse_types(cells, str, name, where)
    texts = [cell for cell in cells if isinstance(cell, str)]
    odd = [row for row, text in enumerate(texts) if utf8(text) != text]
    if odd:
        raise UserError(
            f"{where}: column '{name}' holds what is no Unicode text in {len(odd)} rows, the first is row "
            f"{odd[0] + 1}: write them as UTF-8."
        )
    return texts


def _whole(cell: object) -> object:
    """A whole number as one, which CSV and gaps in a parquet column make text or a float of."""
    if isinstance(cell, str) and cell.strip().isdecimal() and len(cell) < 16:
        return int(cell)
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _refuse_types(cells: Sequence[object], kind: type, name: str, where: str) -> None:
    wrong = [row for row, cell in enumerate(cells) if not isinstance(cell, kind) or isinstance(cell, bool)]
    if wrong:
        found = type(cells[wrong[0]]).__name__
        raise UserError(
            f"{where}: column '{name}' is no {'text' if kind is str else 'whole number'} in {len(wrong)} "
            f"rows, the first is row {wrong[0] + 1} ({found})."
        )


def _of_writer(table: Columns, wanted: str | None, where: str, section: str) -> tuple[Columns, str | None]:
    """The rows of one writer, and the name: AlpacaEval's files and pools of answers name who wrote each.

    Raises:
        UserError: there are several and none is named, or the one that is named wrote nothing.
    """
    name = _column(table, WRITER)
    if name is None and wanted is not None:
        raise UserError(
            f"{where} has no column '{WRITER[0]}' or '{WRITER[1]}' to find '{wanted}' in: add one, or leave "
            f"{section}.writer out."
        )
    if name is None:
        return table, None
    writers = sorted({str(cell) for cell in table[name] if cell is not None})
    if wanted is None and len(writers) > 1:
        raise UserError(
            f"{where} holds responses by {len(writers)} writers, such as {one_line(writers[0])} and "
            f"{one_line(writers[1])}: say which with --set {section}.writer=NAME."
        )
    if wanted is None:
        return table, next(iter(writers), None)
    if wanted not in writers:
        raise UserError(f"{where} has no responses by '{wanted}'.{suggest(wanted, writers)}")
    kept = [row for row, cell in enumerate(table[name]) if cell == wanted]
    return {column: [cells[row] for row in kept] for column, cells in table.items()}, wanted


def _arranged(
    places: Sequence[int | None],
    samples: Sequence[int],
    texts: Sequence[str],
    request: PolicyRequest,
    where: str,
) -> list[list[str]]:
    """Responses of each test prompt in order of their samples, checked to be there once each."""
    count = len(request.problem.measured)
    found = [
        (place, j, text) for place, j, text in zip(places, samples, texts, strict=True) if place is not None
    ]
    times = Counter((place, j) for place, j, _ in found)
    repeated = [key for key, number in times.items() if number > 1]
    if repeated:
        raise UserError(
            f"{where} answers {len(repeated)} prompts more than once, the first is "
            f"{_shown(request, repeated[0][0])}: keep one row of each, or number them in a column '{SAMPLE}'."
        )
    said = {place for place, _ in times}
    missing = [place for place in range(count) if place not in said]
    if missing:
        raise UserError(
            f"{where} lacks responses to {len(missing)} of {count} test prompts, the first is "
            f"{_shown(request, missing[0])}: add them."
        )
    most = max(j for _, j in times) + 1
    if most != request.samples:
        raise UserError(
            f"{where} has {most} samples of a prompt, and {request.samples} are asked for: say "
            f"{request.samples_option}={most}."
        )
    short = [place for place in range(count) if any((place, j) not in times for j in range(most))]
    if short:
        raise UserError(
            f"{where} lacks some of samples 0 to {most - 1} of {len(short)} prompts, the first is "
            f"{_shown(request, short[0])}: add them, or number the samples from 0."
        )
    text_of = {(place, j): text for place, j, text in found}
    return [[text_of[place, j] for j in range(most)] for place in range(count)]


def _shown(request: PolicyRequest, place: int) -> str:
    """A test prompt for a message."""
    text = one_line(request.problem.measured[place])
    return f"prompt {place} ('{text[:SHOWN]}{'...' if len(text) > SHOWN else ''}')"


def _near(table: Columns, wanted: Sequence[str]) -> str:
    """The column that was probably meant, or those that there are."""
    pairs = itertools.product(wanted, table)
    alike = {pair: difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs}
    name, column = max(alike, key=lambda pair: alike[pair])
    if alike[name, column] < NEAR:
        return f" It has {', '.join(table)}."
    return f" Did you mean '{column}'? Call it '{name}'."

"""Community Alignment (facebook/community-alignment-dataset, arXiv 2507.09650): 4 responses, one preferred.

A row is a conversation of up to four turns; in each the person prefers one of four responses to the others,
which makes three pairs. A missing cell is the text `EMPTY STRING`.
"""

from __future__ import annotations

from collections.abc import Iterator

from prefbench.data.annotated import Label, Read, Terms, facts_of
from prefbench.data.conversation import Turn, prompt_of
from prefbench.data.files import Columns
from prefbench.data.label_source import lacking
from prefbench.errors import UserError

HUB_ID = "facebook/community-alignment-dataset"
TERMS = Terms(
    "Community Alignment (Zhang et al. 2025)",
    "CC-BY-4.0",
    "Rows of it may be published if its authors are named and the licence is kept.",
)
TURNS = ("first", "second", "third", "fourth")
RESPONSES = ("response_a", "response_b", "response_c", "response_d")
MISSING = frozenset(("EMPTY STRING",))
_WHO = "annotator_id"
_FACTS = {
    "age": "annotator_age",
    "gender": "annotator_gender",
    "education_level": "annotator_education_level",
    "country": "annotator_country",
    "ethnicity": "annotator_ethnicity",
    "political": "annotator_political",
    "language": "assigned_lang",
}
"""Facts of people, and the columns that tell them."""


def read(source: str, columns: Columns) -> Read:
    """The labels and people of Community Alignment.

    Raises:
        UserError: a column is missing, or a preferred response is none of the four.
    """
    for name in (_WHO, "first_turn_prompt", "first_turn_preferred_response"):
        if name not in columns:
            raise lacking(source, name, columns, f"task.layout says that it is laid out as {HUB_ID}.")
    labels: list[Label] = []
    unsigned = 0
    for index in range(len(columns[_WHO])):
        who = _cell(columns, _WHO, index)
        if who is None:
            unsigned += 1
            continue
        labels += _turns(source, columns, index, who)
    people = (
        (who, {name: columns[column][index] for name, column in _FACTS.items() if column in columns})
        for index in range(len(columns[_WHO]))
        if (who := _cell(columns, _WHO, index)) is not None
    )
    return Read(labels, facts_of(people, MISSING), {"without_annotator": unsigned}, TERMS)


def _turns(source: str, columns: Columns, index: int, who: str) -> Iterator[Label]:
    """The pairs of one conversation: what came before a turn is part of its prompt."""
    said: list[Turn] = []
    for turn in TURNS:
        prompt = _cell(columns, f"{turn}_turn_prompt", index)
        preferred = _cell(columns, f"{turn}_turn_preferred_response", index)
        if prompt is None or preferred is None:
            return
        if preferred not in RESPONSES:
            raise UserError(
                f"{source!r}: row {index + 1} prefers {preferred!r:.40} in the {turn} turn, and there are "
                f"{', '.join(RESPONSES)}: mend it, or leave the row out."
            )
        texts = {name: _cell(columns, f"{turn}_turn_{name}", index) for name in RESPONSES}
        chosen = texts.pop(preferred)
        if chosen is None:
            return
        said.append(("user", prompt))
        for other in texts.values():
            if other is not None:
                yield Label(prompt_of(said), chosen, other, who)
        said.append(("assistant", chosen))


def _cell(columns: Columns, name: str, index: int) -> str | None:
    value = columns[name][index] if name in columns else None
    if value is None or value != value:
        return None
    text = str(value)
    return None if not text.strip() or text in MISSING else text

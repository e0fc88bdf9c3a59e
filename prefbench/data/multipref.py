"""MultiPref (allenai/multipref, arXiv 2410.19133): up to four annotations of a pair, two of them by experts.

Preferences have five levels. A response that is clearly better has strength 1 and one that is slightly better
`SLIGHTLY`, midway to a tie; the data set itself gives its levels no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefbench.data.annotated import TIE, Label, Read, Terms, facts_of
from prefbench.data.files import Columns
from prefbench.data.label_source import lacking
from prefbench.errors import UserError

HUB_ID = "allenai/multipref"
TERMS = Terms(
    "MultiPref (Miranda et al. 2024)",
    "ODC-BY; the terms of the models that answered apply to their responses",
    "Rows of it may be published if the source is named.",
)
SLIGHTLY = 0.75
LEVELS: Mapping[str, tuple[bool, float]] = {
    "A-is-clearly-better": (True, 1.0),
    "A-is-slightly-better": (True, SLIGHTLY),
    "Tie": (True, TIE),
    "B-is-slightly-better": (False, SLIGHTLY),
    "B-is-clearly-better": (False, 1.0),
}
"""True if the first response is better, and the strength of that."""
_KINDS = {"normal": "normal_worker_annotations", "expert": "expert_worker_annotations"}


def read(source: str, columns: Columns) -> Read:
    """The labels, with the fact `kind` of each evaluator: normal or expert.

    Raises:
        UserError: a column is missing, or a preference is none of the five.
    """
    for name in ("text", "completion_a", "completion_b", *_KINDS.values()):
        if name not in columns:
            raise lacking(source, name, columns, f"task.layout says that it is laid out as {HUB_ID}.")
    labels, people = [], []
    without = 0
    for index, prompt in enumerate(columns["text"]):
        both = columns["completion_a"][index], columns["completion_b"][index]
        if not all(isinstance(text, str) for text in (prompt, *both)):
            raise UserError(
                f"{source!r}: row {index + 1} has no text or completion: mend it, or leave it out."
            )
        for kind, column in _KINDS.items():
            for said in _annotations(source, index, columns[column][index]):
                who, level = said.get("evaluator"), said.get("overall_pref")
                if not who or level is None:
                    without += 1
                    continue
                if level not in LEVELS:
                    raise UserError(
                        f"{source!r}: row {index + 1} has the overall_pref {level!r:.40}, none of "
                        f"{', '.join(LEVELS)}: mend it, or leave the row out."
                    )
                first_won, strength = LEVELS[str(level)]
                one, other = both if first_won else both[::-1]
                labels.append(Label(str(prompt), str(one), str(other), str(who), strength))
                people.append((str(who), {"kind": kind}))
    return Read(labels, facts_of(people, frozenset()), {"without_preference": without}, TERMS)


def _annotations(source: str, index: int, cell: object) -> list[Mapping[str, object]]:
    if isinstance(cell, list) and all(isinstance(each, Mapping) for each in cell):
        return cell
    raise UserError(f"{source!r}: row {index + 1} has no list of annotations: mend it, or leave the row out.")

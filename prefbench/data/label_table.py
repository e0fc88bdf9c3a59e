"""Tables of labels that people bring: which column says what, and what a row says.

A row has a prompt and two responses, either as `chosen` and `rejected`, or as a first and a second one with a
choice between them, two ratings (more is better) or two ranks (1 is best). Several labels of one pair are
several rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prefbench.data.annotated import TIE, Label, Read
from prefbench.data.conversation import TURN, answer_of, last_turn, parted, prompt_of, turns_of
from prefbench.data.files import Columns
from prefbench.data.label_source import lacking
from prefbench.errors import UserError
from prefbench.registry import suggest

ROLES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "instruction"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "first": ("first", "response_a", "response_1", "response1", "completion_a"),
    "second": ("second", "response_b", "response_2", "response2", "completion_b"),
    "choice": ("choice", "preference", "winner"),
    "first_rating": ("first_rating", "rating_a", "rating_1", "score_a", "score_1"),
    "second_rating": ("second_rating", "rating_b", "rating_2", "score_b", "score_2"),
    "first_rank": ("first_rank", "rank_a", "rank_1"),
    "second_rank": ("second_rank", "rank_b", "rank_2"),
    "annotator": ("annotator", "annotator_id", "user_id", "worker", "worker_id", "rater_id", "user"),
    "strength": ("strength",),
}
"""Names under which columns are found that no option names, the first that is there."""
_SIDES = (
    frozenset(("a", "first", "left", "response_a", "response_1", "response1", "completion_a", "model_a")),
    frozenset(("b", "second", "right", "response_b", "response_2", "response2", "completion_b", "model_b")),
)
_TIES = frozenset(("tie", "tied", "equal", "same", "draw"))
_NAME = "name it in task.columns, as in task.columns=prompt=MY_COLUMN."
VERDICTS = ("choice", "rating", "rank")
"""Ways in which a row with two responses says which is better; the first that a table has is read."""
Cells = dict[str, Sequence[object]]


def read_table(
    source: str,
    columns: Columns,
    named: Mapping[str, str],
    group: str | None,
    verdict: str | None = None,
) -> Read:
    """The labels of a table.

    Args:
        source: its name, for what is said of it.
        columns: its columns.
        named: columns by the role that they play (`ROLES`), where they are called otherwise.
        group: the column that names groups, if it is one of this table's; other columns are facts of people.
        verdict: which of `VERDICTS` says what is better, where a table has several; None takes the first that
            it has, and refuses a row of which another one says the opposite.

    Raises:
        UserError: a column is missing or named twice, a cell does not fit, or a row contradicts itself.
    """
    cells = _cells(source, columns, named)
    direct = "chosen" in cells or "rejected" in cells
    for role in ("chosen", "rejected") if direct else ("first", "second"):
        if role not in cells:
            known = "chosen and rejected, or two responses" if role == "first" else role
            raise lacking(
                source, ROLES[role][0] if direct else "chosen", columns, f"Wanted: {known}; {_NAME}"
            )
    size = len(next(iter(columns.values())))
    decide = _directly if direct else _decider(source, cells, verdict)
    people = [None] * size if "annotator" not in cells else cells["annotator"]
    groups: Sequence[object] = [None] * size if group is None or group not in columns else columns[group]
    labels = []
    for index in range(size):
        try:
            prompt, one, other = _texts(
                cells, index, ("chosen", "rejected") if direct else ("first", "second")
            )
            first_won, strength = decide(index)
            labels.append(
                Label(
                    prompt,
                    one if first_won else other,
                    other if first_won else one,
                    None if "annotator" not in cells else _id(people[index]),
                    _strength(cells, index, strength),
                    _said(groups[index]),
                )
            )
        except ValueError as error:
            raise UserError(
                f"{source!r}: row {index + 1} cannot be used: {error}; mend it, or leave the row out."
            ) from None
    return Read(labels, _facts(columns, cells, people))


def _cells(source: str, columns: Columns, named: Mapping[str, str]) -> Cells:
    """The columns by the role that they play."""
    for role, column in named.items():
        if role not in ROLES:
            raise UserError(f"task.columns: no column plays the role {role!r:.60}.{suggest(role, ROLES)}")
        if column not in columns:
            raise lacking(source, column, columns, f"task.columns names it as {role}.")
    if len(set(named.values())) < len(named):
        raise UserError("task.columns names one column for two roles: give each its own.")
    found: Cells = {role: columns[column] for role, column in named.items()}
    for role, names in ROLES.items():
        free = next((name for name in names if name in columns and name not in named.values()), None)
        if role not in found and free is not None:
            found[role] = columns[free]
    return found


def _texts(cells: Cells, index: int, sides: tuple[str, str]) -> tuple[str, str, str]:
    """Prompt and the two responses of a row."""
    one, other = (cells[side][index] for side in sides)
    if "prompt" not in cells:
        turns = turns_of(one), turns_of(other)
        if turns[0] is not None and turns[1] is not None:
            return parted(turns[0], turns[1])
        (prompt, first), (same, second) = (
            last_turn(_text(cell, side)) for cell, side in zip((one, other), sides, strict=True)
        )
        if not prompt or prompt != same:
            raise ValueError("there is no prompt, and its responses are no conversations that share one")
        return prompt, first, second
    told = turns_of(cells["prompt"][index])
    prompt = _text(cells["prompt"][index], "prompt") if told is None else prompt_of(told)
    return _parted_from(prompt, _response(one, sides[0]), _response(other, sides[1]))


def _response(cell: object, side: str) -> str:
    turns = turns_of(cell)
    if turns is None:
        return _text(cell, side)
    return answer_of(turns[-1:])  # of a conversation that repeats its prompt the last message


def _parted_from(prompt: str, one: str, other: str) -> tuple[str, str, str]:
    """Prompt and responses, where both may repeat the prompt and begin the assistant's turn."""
    head, told = prompt.strip(), (one.lstrip(), other.lstrip())
    if not head or not all(text.startswith(head) for text in told):
        return prompt, one, other
    first, second = (text[len(head) :] for text in told)
    if first.startswith(TURN) and second.startswith(TURN):
        return head + TURN, first[len(TURN) :], second[len(TURN) :]
    return prompt, first, second


def _text(cell: object, what: str) -> str:
    if not isinstance(cell, str):
        raise ValueError(f"it has no {what}" if _missing(cell) else f"its {what} is no text but {cell!r:.40}")
    return cell


def _missing(cell: object) -> bool:
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def _id(cell: object) -> str:
    if _missing(cell):
        raise ValueError("it names no annotator")
    if isinstance(cell, float) and cell.is_integer():  # a whole number beside a gap, in another row
        cell = int(cell)
    if isinstance(cell, bool) or not isinstance(cell, (str, int)):
        raise ValueError(f"its annotator is {cell!r:.40}, neither text nor a whole number")
    return str(cell).strip()


def _said(cell: object) -> str | None:
    return None if _missing(cell) else str(cell).strip()


def _number(cell: object, what: str) -> float:
    try:
        value = float(cell) if isinstance(cell, (str, int, float)) else None
    except ValueError:
        value = None
    if value is None or value != value or abs(value) == float("inf") or isinstance(cell, bool):
        raise ValueError(f"its {what} is {cell!r:.40}, which is no number")
    return value


def _strength(cells: Cells, index: int, decided: float) -> float:
    if "strength" not in cells or decided == TIE:
        return decided
    value = _number(cells["strength"][index], "strength")
    if not 0 <= value <= 1:
        raise ValueError(f"its strength is {value:g}, and it goes from 0 to 1")
    return value


Decision = tuple[bool, float]
"""True if the first response won, and the strength of that."""


Decide = Callable[[int], Decision]
"""Verdict of a row, by its number.

Raises:
    ValueError: it says nothing that can be read.
"""


def _directly(index: int) -> Decision:
    return True, 1.0


def _decider(source: str, cells: Cells, verdict: str | None) -> Decide:
    """The rule by which a row with two responses says which is better."""
    found: dict[str, Decide] = {"choice": _chooser(source, cells["choice"])} if "choice" in cells else {}
    for kind, sign in (("rating", 1), ("rank", -1)):
        sides = (f"first_{kind}", f"second_{kind}")
        there = [cells[side] for side in sides if side in cells]
        if len(there) == 1 and not found:
            raise UserError(
                f"{source!r} has a {kind} of one of two responses alone: name both in task.columns."
            )
        if len(there) == 2:
            found[kind] = _comparer(there[0], there[1], sign, kind)
    if not found:
        raise UserError(
            f"{source!r} has two responses and nothing that says which is better: name a choice, two ratings "
            "or two ranks in task.columns, as in task.columns=choice=MY_COLUMN."
        )
    if verdict is None:
        return _unanimous(found)
    if verdict not in found:
        raise UserError(
            f"task.verdict={verdict}, and {source!r} has none: it has {' and '.join(found)}; name columns in "
            "task.columns."
        )
    return found[verdict]


def _unanimous(found: Mapping[str, Decide]) -> Decide:
    """The first of several ways in which a row says what is better, unless another says the opposite."""
    (kind, first), *others = found.items()

    def decide(index: int) -> Decision:
        won, strength = first(index)
        for other, also in others:
            try:
                again, sure = also(index)
            except ValueError:
                continue  # this row does without
            if TIE not in (strength, sure) and again != won:
                better, worse = ("first", "second") if won else ("second", "first")
                raise ValueError(
                    f"by its {kind} the {better} response is better, and by its {other} the {worse} one; "
                    f"say which counts with task.verdict={kind} or task.verdict={other}"
                )
        return won, strength

    return decide


def _comparer(first: Sequence[object], second: Sequence[object], sign: int, kind: str) -> Decide:
    def compared(index: int) -> Decision:
        one, other = (sign * _number(side[index], kind) for side in (first, second))
        return one >= other, TIE if one == other else 1.0

    return compared


def _chooser(source: str, choices: Sequence[object]) -> Decide:
    words = {_word(cell) for cell in choices}
    if words <= {"1"}:
        raise UserError(
            f"{source!r}: every choice is 1, so that whether counting begins at 0 is not known: write a "
            "and b."
        )
    numbers = ("0", "1") if "0" in words else ("1", "2")
    first, second = (names | {number} for names, number in zip(_SIDES, numbers, strict=True))

    def chosen(index: int) -> Decision:
        word = _word(choices[index])
        if word in _TIES:
            return True, TIE
        if word not in first | second:
            said = "missing" if not word else repr(word)[:40]
            raise ValueError(f"its choice is {said}; wanted is a or b, 1 or 2, 0 or 1, or tie")
        return word in first, 1.0

    return chosen


def _word(cell: object) -> str:
    if _missing(cell):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if isinstance(cell, bool):
        cell = int(cell)
    return str(cell).strip().lower()


def _facts(columns: Columns, cells: Cells, people: Sequence[object]) -> dict[str, dict[str, object]]:
    """The other columns, as facts of whoever gave the label; a person's first stated value counts."""
    used = {id(values) for values in cells.values()}
    found: dict[str, dict[str, object]] = {}
    if "annotator" not in cells:
        return found
    for name, values in columns.items():
        if id(values) in used:
            continue
        known = found.setdefault(name, {})
        for who, value in zip(people, values, strict=True):
            if not _missing(value) and not isinstance(value, (list, dict)):
                known.setdefault(_id(who), value)
    return found

"""PRISM (HannahRoseKirk/prism-alignment, arXiv 2404.16019): people who talk with models and score them.

`utterances` has a row for each response of a model, with the score from 1 to 100 and whether the person went
on with it; `survey` a row for each person. In every turn the response that was chosen is compared with each
other one: with an equal score as a tie, and where the other has the higher score the pair is left out and
counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefbench.data.annotated import TIE, Label, Read, Terms, facts_of
from prefbench.data.comparisons import existing
from prefbench.data.conversation import Turn, prompt_of
from prefbench.data.files import Columns, read_columns, refuse_way_out
from prefbench.data.label_source import from_hub, lacking
from prefbench.errors import UserError

HUB_ID = "HannahRoseKirk/prism-alignment"
TERMS = Terms(
    "PRISM (Kirk et al. 2024)",
    "texts by people CC-BY-4.0, texts by models CC-BY-NC-4.0",
    "Rows of it may be published for purposes that are not commercial, if its authors are named.",
)
_NEEDED = ("user_id", "conversation_id", "turn", "user_prompt", "model_response", "score", "if_chosen")
_SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
_MISSING: frozenset[str] = frozenset()
Row = dict[str, Any]


def tables(data: str) -> tuple[str, Columns, Columns]:
    """The source's name, and its tables of utterances and of people, which has no columns if it is not there.

    Args:
        data: the folder that holds `utterances` and `survey`, the file of utterances, or the id on the hub.

    Raises:
        UserError: they cannot be found or read.
    """
    if data == HUB_ID:
        return data, from_hub(data, "utterances"), from_hub(data, "survey")
    path = existing(data, f"the folder of PRISM with utterances.jsonl and survey.jsonl, or {HUB_ID}")
    folder = path if path.is_dir() else path.parent
    utterances = path if path.is_file() else _named(folder, "utterances")
    if utterances is None:
        raise UserError(f"{data!r:.300} has no utterances.jsonl: name the folder that PRISM was unpacked to.")
    survey = _named(folder, "survey")
    return (
        path.resolve().name,
        read_columns(utterances, "labels"),
        {} if survey is None else read_columns(survey),
    )


def _named(folder: Path, stem: str) -> Path | None:
    found = next((path for suffix in _SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)
    if found is not None:
        refuse_way_out(folder, found)
    return found


def read(source: str, utterances: Columns, survey: Columns) -> Read:
    """The labels and people of PRISM; parts of nested facts are named by both names with a dot between.

    Raises:
        UserError: a column is missing, or a score or turn is no number.
    """
    for name in _NEEDED:
        if name not in utterances:
            raise lacking(source, name, utterances, f"task.layout says that it is laid out as {HUB_ID}.")
    conversations: dict[tuple[str, str], dict[float, list[Row]]] = {}
    for index in range(len(utterances["user_id"])):
        row = {name: utterances[name][index] for name in _NEEDED}
        turn = _number(source, index, "turn", row["turn"])
        row["score"] = _number(source, index, "score", row["score"])
        key = (str(row["user_id"]), str(row["conversation_id"]))
        conversations.setdefault(key, defaultdict(list))[turn].append(row)
    left_out = {"chosen_below_another": 0, "turns_without_choice": 0}
    labels = [label for (who, _), turns in conversations.items() for label in _labels(who, turns, left_out)]
    return Read(labels, facts_of(_people(survey), _MISSING), left_out, TERMS)


def _labels(who: str, turns: Mapping[float, list[Row]], left_out: dict[str, int]) -> Iterator[Label]:
    """The pairs of one conversation, up to a turn in which nothing was chosen."""
    said: list[Turn] = []
    for number in sorted(turns):
        chosen = [row for row in turns[number] if _true(row["if_chosen"])]
        if len(chosen) != 1:
            left_out["turns_without_choice"] += 1
            return
        best = chosen[0]
        said.append(("user", str(best["user_prompt"])))
        for other in turns[number]:
            if other is best:
                continue
            if other["score"] > best["score"]:
                left_out["chosen_below_another"] += 1
                continue
            strength = TIE if other["score"] == best["score"] else 1.0
            yield Label(
                prompt_of(said), str(best["model_response"]), str(other["model_response"]), who, strength
            )
        said.append(("assistant", str(best["model_response"])))


def _people(survey: Columns) -> Iterator[tuple[str, dict[str, object]]]:
    for index, who in enumerate(survey.get("user_id", [])):
        told: dict[str, object] = {}
        for name, values in survey.items():
            value = values[index]
            if isinstance(value, Mapping):
                told |= {f"{name}.{part}": inner for part, inner in value.items() if _simple(inner)}
            elif name != "user_id" and _simple(value):
                told[name] = value
        yield str(who), told


def _simple(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _true(value: object) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "1.0")


def _number(source: str, index: int, column: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"{source!r}: row {index + 1} has the {column} {value!r:.40}, which is no number: mend it, or "
            "leave the row out."
        ) from None

"""A run's record held against its own evidence and specification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefbench.evaluate.regret import COLUMNS, regrets
from prefbench.record.evidence import read_items
from prefbench.record.files import DISTRIBUTION_FILE, HELD_OUT_FILE, PEOPLE_FILE, PROMPTED_FILE, read_record
from prefbench.record.schema import LATER_VERSION, MEASURED, ProxyRecord, Record, RegretRecord, TextRecord
from prefbench.record.schema_held_out import HeldOutRecord
from prefbench.record.schema_people import PeopleRecord
from prefbench.record.summary import summarise, summarise_prompted
from prefbench.record.summary_held_out import summarise_held_out
from prefbench.record.summary_people import summarise_people
from prefbench.spec import USUAL, digest


def comparable(record: Record) -> dict[str, Any]:
    """The record without what may differ between two runs of one specification: times, places and mishaps."""
    return record.model_dump(mode="json", exclude={"timings", "provenance", "notes"})


def spec_differs(record: Record) -> list[str]:
    """Disagreements of a record with its own specification: the hash, and what both name."""
    wrong = []
    if not digest(record.spec).startswith(record.spec_hash):
        wrong.append(f"spec_hash is {record.spec_hash}, the specification gives {digest(record.spec)[:16]}")
    for name in ("task", "aligner", "model", "data", "seed"):
        if record.spec.get(name) != getattr(record, name):
            wrong.append(f"{name} is {getattr(record, name)!r}, specified {record.spec.get(name)!r}")
    tuned = None if record.tuning is None else record.tuning.model_dump()
    for name, value in (("split", record.split), ("tuning", tuned)):
        specified = record.spec.get(name, USUAL[name])
        if value != specified:
            wrong.append(f"{name} is {value!r}, specified {specified!r}")
    wrong += _outside_differs(record)
    asked, shares = record.spec.get("minority_ratio"), [group.share for group in record.groups]
    # Of labels that a task brought along it is the share found; a run that failed shows no groups.
    if record.minority_ratio != asked and shares and record.minority_ratio != round(min(shares), 4):
        wrong.append(
            f"minority_ratio is {record.minority_ratio!r}, specified {asked!r} and found {min(shares):.4g}"
        )
    return wrong


def _outside_differs(record: Record) -> list[str]:
    """Disagreements of what a record says of a policy from outside with its specification."""
    said, specified = record.outside, record.spec.get("outside")
    if (said is None) != (specified is None) and record.status == "ok":
        return ["outside is missing in the record or in its specification"]
    if said is None or not isinstance(specified, dict):
        return []
    true: dict[str, Any] = {name: specified.get(name) for name in ("source", "trainer", "link")}
    true["kind"], _, true["name"] = record.aligner.partition(":")
    return [
        f"outside.{name} is {getattr(said, name)!r}, specified {value!r}"
        for name, value in true.items()
        if getattr(said, name) != value
    ]


def verify(folder: Path, tolerance: float = 1e-6) -> list[str]:
    """Sentences for what in a run's record does not follow from its items and its specification.

    Args:
        folder: of the run.
        tolerance: how far a number may be off. Sums in another order differ in the last digits.

    Returns:
        A sentence for each thing that differs; empty if the record is what the evidence gives.

    Raises:
        UserError: if the record or the items cannot be read.
    """
    record = read_record(folder)
    wrong = spec_differs(record)
    if record.status != "ok":
        return wrong
    items = read_items(folder)
    groups = [(group.name, group.share, group.is_minority) for group in record.groups]
    found = summarise(items, groups, record.seed)
    if record.schema_version >= LATER_VERSION:
        wrong += _later_differs(record, found, tolerance)
    wrong += _gains_differ(record, found, tolerance)
    for name in MEASURED:
        wrong += _differs(name, getattr(record, name), found[name], tolerance)
    for group, values in zip(record.groups, found["groups"], strict=True):
        for name, value in values.items():
            wrong += _differs(f"{group.name}.{name}", getattr(group, name), value, tolerance)
    wrong += _prompted_differs(record, folder, tolerance)
    wrong += _people_differ(record, folder, tolerance)
    wrong += _held_out_differs(record, folder, tolerance)
    wrong += _regret_differs(record, folder, tolerance)
    blank = items["response"].fillna("").str.strip() == ""
    unflagged = int((blank & ~items["empty"].astype(bool)).sum())
    if unflagged:
        wrong.append(f"{unflagged} responses without text are not marked empty")
    return wrong


def _later_differs(record: Record, found: Mapping[str, Any], tolerance: float) -> list[str]:
    """Fields that older versions lack, against the items."""
    wrong: list[str] = []
    for name in ("agreed", "retention"):
        wrong += _differs(name, getattr(record, name), found[name], tolerance)
    if record.text is None or found["text"] is None:
        if record.text is not None or found["text"] is not None:
            wrong.append("text is missing in the record or in the items")
        return wrong
    for name in TextRecord.model_fields:
        wrong += _differs(f"text.{name}", getattr(record.text, name), found["text"][name], tolerance)
    return wrong


def _gains_differ(record: Record, found: Mapping[str, Any], tolerance: float) -> list[str]:
    """Gains of the groups and of the learned rewards, against the items; older records do not have them."""
    wrong: list[str] = []
    if record.utility_gain is not None:
        wrong += _differs("utility_gain", record.utility_gain, found["utility_gain"], tolerance)
    if record.proxy is None or found["proxy"] is None:
        if record.proxy is not None or found["proxy"] is not None:
            wrong.append("proxy is missing in the record or in the items")
        return wrong
    said, true = record.proxy, ProxyRecord.model_validate(found["proxy"])
    if [each.name for each in said.rewards] != [each.name for each in true.rewards]:
        return [*wrong, "the rewards of proxy are not those of the items"]
    wrong += _differs("proxy.gain", said.gain, true.gain, tolerance)
    for ours, theirs in zip(said.rewards, true.rewards, strict=True):
        for name in ("mean", "reference"):
            wrong += _differs(
                f"proxy.{ours.name}.{name}", getattr(ours, name), getattr(theirs, name), tolerance
            )
    return wrong


def _prompted_differs(record: Record, folder: Path, tolerance: float) -> list[str]:
    """Disagreements of the entries on prompted policies with their responses."""
    told = {group.name: group.prompted for group in record.groups if group.prompted is not None}
    if not told and record.prompted_worst_group_win_rate is None:
        return []
    groups = [(group.name, group.share, group.is_minority) for group in record.groups]
    table = read_items(folder, PROMPTED_FILE)
    found, worst = summarise_prompted(table, groups, record.seed)
    wrong: list[str] = []
    if found.keys() != told.keys():
        return [f"prompted groups are {sorted(told)}, {PROMPTED_FILE} has {sorted(found)}"]
    for name, written in told.items():
        for field, value in found[name].items():
            wrong += _differs(f"{name}.prompted.{field}", getattr(written, field), value, tolerance)
    for field, value in worst.items():
        wrong += _differs(field, getattr(record, field), value, tolerance)
    blank = table["response"].fillna("").str.strip() == ""
    if (blank & ~table["empty"].astype(bool)).any():
        wrong.append(f"{PROMPTED_FILE} has responses without text that are not marked empty")
    return wrong


def _people_differ(record: Record, folder: Path, tolerance: float) -> list[str]:
    """Disagreements of the entries on people with their responses."""
    said = record.people
    if said is None:
        return []
    table = read_items(folder, PEOPLE_FILE)
    found = summarise_people(table, [group.name for group in record.groups], record.seed)
    scales = {"group_scales": said.group_scales, "taste_scales": said.taste_scales}
    for stratum, of_it in zip(said.strata, found["strata"], strict=False):
        if stratum.exact is None:  # older records have none
            of_it["exact"] = None
    true = PeopleRecord.model_validate({**scales, **found})
    wrong = _parts_differ("people", said.model_dump(), true.model_dump(), tolerance)
    blank = table["response"].fillna("").str.strip() == ""
    if (blank & ~table["empty"].astype(bool)).any():
        wrong.append(f"{PEOPLE_FILE} has responses without text that are not marked empty")
    return wrong


def _held_out_differs(record: Record, folder: Path, tolerance: float) -> list[str]:
    """Disagreements of the entry on held-out labels with their margins."""
    if record.held_out is None:
        return []
    table = read_items(folder, HELD_OUT_FILE)
    found = summarise_held_out(table, [group.name for group in record.groups], record.seed)
    true = HeldOutRecord.model_validate(found)
    return _parts_differ("held_out", record.held_out.model_dump(), true.model_dump(), tolerance)


def _parts_differ(name: str, written: Any, found: Any, tolerance: float) -> list[str]:
    """Disagreements of two values of which parts may be tables and lists of tables."""
    if isinstance(written, dict) and isinstance(found, dict):
        inner = [(key, written[key], found[key]) for key in written]
    elif isinstance(written, tuple) and isinstance(found, tuple) and any(isinstance(w, dict) for w in found):
        if len(written) != len(found):
            return [f"{name} has {len(written)} entries, the evidence gives {len(found)}"]
        inner = [(str(place), *both) for place, both in enumerate(zip(written, found, strict=True))]
    else:
        return _differs(name, written, found, tolerance)
    return [
        line for key, one, other in inner for line in _parts_differ(f"{name}.{key}", one, other, tolerance)
    ]


def _regret_differs(record: Record, folder: Path, tolerance: float) -> list[str]:
    """The regret block against the distribution that it was computed from."""
    if record.regret is None:
        return []
    names = [group.name for group in record.groups]
    distribution = read_items(folder, DISTRIBUTION_FILE)
    lacking = {*COLUMNS, *(f"utility/{name}" for name in names)} - set(distribution.columns)
    if lacking:
        return [f"{DISTRIBUTION_FILE} has no column {', '.join(sorted(lacking))}"]
    found = RegretRecord.model_validate(regrets(distribution, names, record.regret.beta))
    wrong: list[str] = []
    for name in ("max_regret", "egalitarian_regret", "pareto_distance", "kl", "certificate"):
        wrong += _differs(f"regret.{name}", getattr(record.regret, name), getattr(found, name), tolerance)
    if [group.name for group in record.regret.groups] != names:
        return [*wrong, "the groups of regret are not the record's"]
    for ours, theirs in zip(record.regret.groups, found.groups, strict=True):
        for name in ("value", "best", "regret"):
            wrong += _differs(
                f"regret.{ours.name}.{name}", getattr(ours, name), getattr(theirs, name), tolerance
            )
    return wrong


def _differs(name: str, written: Any, found: Any, tolerance: float) -> list[str]:
    if isinstance(written, tuple) and isinstance(found, tuple):
        same = all(abs(a - b) <= tolerance for a, b in zip(written, found, strict=True))
    elif isinstance(written, float) and isinstance(found, float):
        same = abs(written - found) <= tolerance * max(1.0, abs(found))
    else:
        same = bool(written == found)
    return [] if same else [f"{name} is {written}, the items give {found}"]

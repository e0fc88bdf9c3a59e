"""prefbench/estimate/timed.json: what each aligner's stages took, of records with default options.

    python leaderboard/scripts/timings.py SOURCE...

A source is a runs folder, a packed board or a record. Of sources that have runs of one aligner on one task
and model, the first counts: leaderboard/worlds/*.zip, leaderboard/reviews/10-1.zip, leaderboard/baseline and
docs/first-run.json. Runs may have other test prompts than the default number: what is sampled and scored is
taken to go with them.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from prefbench import registry
from prefbench.record.files import find_records, read_record
from prefbench.record.schema import Record
from prefbench.spec import defaults_of, get_model
from prefbench.sweep.plan import SHARED_STAGES

FILE = Path(__file__).parents[2] / "prefbench" / "estimate" / "timed.json"
PROMPTS = "test_prompts"
BY_PROMPT = ("samples", "scores", "candidates", "proxies")
"""Stages that take as long as there are test prompts."""
OTHERWISE = 2
"""Numerics from which groups are inferred as today: before, that was most of a run."""
Key = tuple[str, str, str]


def own_choices(record: Record) -> dict[str, Any] | None:
    """Options of a record that are not the defaults; None where those are not known."""
    found = {}
    entries = {
        "task": registry.find("task", record.task),
        "aligner": registry.find("aligner", record.aligner),
        "model": get_model(record.model),
    }
    for section, entry in entries.items():
        given = record.spec[f"{section}_options"]
        if record.defaults is not None:
            usual: Mapping[str, Any] = record.defaults.get(section, {})
        elif entry is not None:
            usual = defaults_of(entry.options, given, record.numerics)
        else:
            return None
        found |= {
            f"{section}.{name}": value for name, value in given.items() if usual.get(name, ...) != value
        }
    return found


def timings(record: Record) -> dict[str, float] | None:
    """Seconds by stage at the default number of test prompts; None of a run that is no usual one."""
    chosen = own_choices(record)
    infers = record.numerics is None or record.numerics < OTHERWISE
    if record.status != "ok" or chosen is None or (infers and "user_id" in record.needs):
        return None
    prompts = chosen.pop(f"task.{PROMPTS}", None)
    if chosen:
        return None
    usual = registry.get("task", record.task).options.model_fields
    share = 1.0 if prompts is None else usual[PROMPTS].default / prompts
    return {
        stage: seconds * (share if stage in BY_PROMPT else 1.0) for stage, seconds in record.timings.items()
    }


def typical(times: Iterable[float]) -> float:
    """The median of those that computed a stage: the others only read it."""
    times = list(times)
    return round(median(seconds for seconds in times if seconds >= max(times) / 10), 3)


def rows_of(sources: Iterable[Path]) -> list[dict[str, Any]]:
    """The rows of the table, by task, model and aligner."""
    kept: dict[Key, list[dict[str, float]]] = {}
    for source in sources:
        found: dict[Key, list[dict[str, float]]] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # records that are being written
            records = [(source, read_record(source))] if source.suffix == ".json" else find_records(source)
        for _, record in records:
            stages = timings(record)
            if stages is not None:
                found.setdefault((record.task, record.model, record.aligner), []).append(stages)
        kept = found | kept
    rows = []
    for (task, model, aligner), runs in sorted(kept.items()):
        stages = sorted({stage for run in runs for stage in run})
        medians = {stage: typical(run[stage] for run in runs if stage in run) for stage in stages}
        shared = {stage: seconds for stage, seconds in medians.items() if stage in SHARED_STAGES}
        own = {stage: seconds for stage, seconds in medians.items() if stage not in SHARED_STAGES}
        rows.append(
            {
                "task": task,
                "model": model,
                "aligner": aligner,
                "runs": len(runs),
                "shared": shared,
                "own": own,
            }
        )
    shared_by_all(rows)
    return rows


def shared_by_all(rows: list[dict[str, Any]]) -> None:
    """Give each row the longest time of a stage among rows of its task and model, where it was computed."""
    most: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        known = most.setdefault((row["task"], row["model"]), {})
        for stage, seconds in row["shared"].items():
            known[stage] = max(seconds, known.get(stage, 0.0))
    for row in rows:
        row["shared"] = most[row["task"], row["model"]]


def main() -> None:
    """Write the file."""
    registry.load_plugins()
    rows = rows_of(map(Path, sys.argv[1:]))
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    FILE.write_text(f'{{"hardware": "x86_64, one thread", "rows": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()

"""Specifications of tiny runs, and what such a run left behind."""

from pathlib import Path

from prefbench import registry
from prefbench.record.files import read_record
from prefbench.record.verify import comparable
from prefbench.spec import make_spec, parse_sets, run_name
from support.tiny import TINY_ALIGNER, TINY_SETS


def spec_of(aligner: str, **more):
    entry = registry.get("aligner", aligner)
    known = entry.options.model_fields
    several = ["task.labels_per_pair=3"] if "votes" in entry.needs else []
    sets = [f"aligner.{key}={value}" for key, value in TINY_ALIGNER.items() if key in known]
    task = "tulu_expertise" if "instruction" in entry.needs else "imdb_two_group"
    given = parse_sets([*TINY_SETS, *several, *sets])
    return make_spec(task=task, aligner=aligner, sets=given, **({"seed": 1} | more))


def evidence(runs: Path, spec) -> tuple[dict, bytes]:
    folder = runs / run_name(spec)
    return comparable(read_record(folder)), (folder / "items.parquet").read_bytes()

"""Specifications of tiny runs, and what such a run left behind."""

from pathlib import Path

from prefbench import registry
from prefbench.record.files import read_record
from prefbench.record.verify import comparable
from prefbench.spec import make_spec, parse_sets, run_name
from support.tiny import TINY_ALIGNER, TINY_SETS


def spec_of(aligner: str, **more):
    known = registry.get("aligner", aligner).options.model_fields
    sets = [f"aligner.{key}={value}" for key, value in TINY_ALIGNER.items() if key in known]
    return make_spec(
        task="imdb_two_group", aligner=aligner, sets=parse_sets([*TINY_SETS, *sets]), **({"seed": 1} | more)
    )


def evidence(runs: Path, spec) -> tuple[dict, bytes]:
    folder = runs / run_name(spec)
    return comparable(read_record(folder)), (folder / "items.parquet").read_bytes()

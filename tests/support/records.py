"""Records and runs that were never computed."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.record.evidence import write_items
from prefbench.record.files import write_record
from prefbench.record.schema import MEASURED, Record
from prefbench.record.summary import summarise
from prefbench.spec import digest

GROUPS = [("many", 0.8, False), ("few", 0.2, True)]


PROVENANCE = {
    "prefbench": "0.1.0",
    "git": None,
    "python": "3.12.0",
    "torch": "2.11.0",
    "transformers": None,
    "hardware": "cpu",
    "threads": 1,
    "started": "2026-01-02T03:04:05+00:00",
}


def make_items(rates, n=60, samples=1, seed=0, kl=0.5, draws=None):
    """Items in which each group is won at about its rate; one empty response in fifty."""
    rng = np.random.default_rng([seed, 17])
    size = n * samples
    empty = rng.random(size) < 0.02
    items = pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(n), samples),
            "sample": np.tile(np.arange(samples), n),
            "prompt": [f"prompt {i}" for i in np.repeat(np.arange(n), samples)],
            "response": ["" if e else "a response" for e in empty],
            "reference_response": "so it goes",
            "empty": empty,
            "words": np.where(empty, 0, 2),
            "reference_words": 3,
            "kl": kl if kl is None else np.full(size, float(kl)),
        }
    )
    luck = rng.random(size) if draws is None else draws
    for index, (name, rate) in enumerate(rates.items()):
        items[f"utility/{name}"] = np.where((luck + 0.37 * index) % 1 < rate, 1.0, -1.0)
    for name in rates:
        items[f"reference_utility/{name}"] = 0.0
    return items


def make_spec(**changes):
    spec = {
        "task": "toy",
        "aligner": "plain",
        "model": "nano",
        "data": "synthetic",
        "minority_ratio": 0.2,
        "seed": 0,
        "task_options": {},
        "aligner_options": {},
        "model_options": {},
        "evaluate_options": {},
    }
    return spec | changes


def make_record(items, groups=GROUPS, needs=(), started=PROVENANCE["started"], status="ok", **changes):
    made_by = {name: changes.pop(name, None) for name in ("numerics", "code", "defaults")}
    spec = make_spec(**changes)
    if status == "ok":
        measured = summarise(items, groups, spec["seed"])
        for group in measured["groups"]:
            group |= {"utility": "sentiment", "unit": "points", "reward_accuracy": None}
    else:
        measured = dict.fromkeys(MEASURED) | {"groups": []}
    return Record(
        status=status,
        spec=spec,
        spec_hash=digest(spec)[:16],
        task_version=1,
        needs=needs,
        **made_by,
        **{name: spec[name] for name in ("task", "aligner", "model", "data", "minority_ratio", "seed")},
        **measured,
        em=None,
        task_report={"conflict": 0.4},
        message=None if status == "ok" else "KL exploded",
        timings={"policy": 1.5},
        provenance=PROVENANCE | {"started": started},
    )


def make_run(runs, rates, n=60, samples=1, kl=0.5, draws=None, items_seed=None, columns=None, **changes):
    """A run's folder with a record and its items, some columns of which are given; returns the folder.

    The same run is computed once in a process: its files are written again wherever it is asked for.
    """
    seed = changes.get("seed", 0)
    items_seed = seed if items_seed is None else items_seed
    groups = changes.pop("groups", [(name, *rest) for name, *rest in GROUPS])
    asked = [rates, n, samples, kl, draws, items_seed, columns, groups, changes]
    name, files = _made(json.dumps(asked, default=_listed), asked, changes)
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def _listed(value):
    return sorted(value) if isinstance(value, set | frozenset) else np.asarray(value).tolist()


_files: dict[str, tuple[str, dict[str, bytes]]] = {}


def _made(key, asked, changes):
    """The name of a run's folder and what its files hold."""
    if key not in _files:
        rates, n, samples, kl, draws, items_seed, columns, groups, _ = asked
        items = make_items(rates, n, samples, items_seed, kl, draws).assign(**columns or {})
        made = make_record(items, groups, **changes)
        with tempfile.TemporaryDirectory() as folder:
            write_record(made, Path(folder))
            if made.status == "ok":
                write_items(items, Path(folder))
            files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        _files[key] = f"{made.aligner}-{made.spec_hash}", files
    return _files[key]


RATES = {"many": 0.9, "few": 0.4}

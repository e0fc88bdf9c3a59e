"""A forger's tools: runs like an honest one whose figures all follow from what it has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench import registry
from prefbench.evaluate.regret import regrets
from prefbench.evaluate.texts import count_nonwords
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import read_record, write_record
from prefbench.record.schema import Record
from prefbench.record.summary import summarise
from prefbench.record.verify import verify
from prefbench.spec import RunSpec, digest
from prefbench.text import count_words, is_empty

LIVELY = ["task.test_prompts=120", "model.steps=60", "model.policy_learning_rate=0.01"]
"""So that policies of a few steps leave the reference, as trained ones do."""


def forge(
    source: Path,
    into: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda items: items,
    *,
    spec: dict[str, Any] | None = None,
    groups: list[tuple[str, float, bool]] | None = None,
    distribution: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table,
    **fields: Any,
) -> Path:
    """A run like `source` with other items, options or groups, whose figures all follow from what it has."""
    plain = json.loads((source / "record.json").read_text())
    items = change(read_items(source))
    plain["spec"] = {**plain["spec"], **(spec or {})}
    plain |= {name: plain["spec"][name] for name in ("task", "aligner", "model", "minority_ratio", "seed")}
    plain["spec_hash"] = digest(plain["spec"])[:16]
    plain["defaults"] = RunSpec(**plain["spec"]).defaults()
    named = groups or [(group["name"], group["share"], group["is_minority"]) for group in plain["groups"]]
    measured = summarise(items, named, plain["seed"])
    for before, after in zip(plain["groups"], measured["groups"], strict=True):
        before.update(after)
    plain |= {name: value for name, value in measured.items() if name != "groups"}
    plain |= {"needs": sorted(registry.get("aligner", plain["aligner"]).needs)}
    folder = into / f"{source.name[:60]}-{plain['spec_hash'][:12]}"
    if plain["regret"] is not None:
        table = distribution(read_items(source, "distribution.parquet"))
        beta = fields.get("regret", plain["regret"])["beta"]
        plain["regret"] = regrets(table, [name for name, *_ in named], beta)
        fields.pop("regret", None)
        write_items(table, folder, "distribution.parquet")
    write_items(items, folder)
    write_record(Record.model_validate({**plain, **fields}), folder)
    assert verify(folder) == [] or "needs" in fields  # nothing is wrong with its own figures
    return folder


def problem_of(folder: Path, **changes: Any) -> Any:
    spec = {**read_record(folder).spec, **changes}
    function = registry.get("task", spec["task"]).function
    return function(spec["data"], spec["minority_ratio"], spec["seed"], **spec["task_options"])


def saying(folder: Path, texts: list[str], column: str = "response") -> Callable[..., pd.DataFrame]:
    """A change of items in which these texts are said, with everything that follows from them."""
    prefix = "" if column == "response" else "reference_"

    def change(items: pd.DataFrame) -> pd.DataFrame:
        items = items.assign(**{column: texts, f"{prefix}words": [count_words(text) for text in texts]})
        if column == "response":
            items["empty"] = [is_empty(text) for text in texts]
        problem = problem_of(folder)
        if problem.lexicon is not None:
            items[f"{prefix}nonwords"] = np.array(count_nonwords(texts, problem.lexicon), dtype=float)
        for group in problem.groups:
            items[f"{prefix}utility/{group.name}"] = group.utility(items["prompt"].tolist(), texts)
        return items

    return change

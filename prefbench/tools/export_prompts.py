"""The prompts of a task as a data set of their own, for policies that are trained or asked elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

from prefbench import __version__, registry
from prefbench.consent import without_keys
from prefbench.problem.brought import SPLITS
from prefbench.problem.problem import Problem
from prefbench.spec import RunSpec
from prefbench.tools.export_rows import MESSAGES, as_messages
from prefbench.tools.markdown import code, plain, table
from prefbench.tools.new_folder import check_free, new_folder


def export_prompts(spec: RunSpec, out: Path, *, messages: bool = False) -> dict[str, int]:
    """Write the prompts of each split to a new folder.

    A prompt's id is its place in its split; for test prompts it is the `prompt_id` of a run's evidence.

    Args:
        spec: whose prompts; no model is loaded.
        out: a folder that is not there yet, or is empty.
        messages: write each prompt as messages, the one format that TRL's trainers put into a model's chat
            template.

    Returns:
        Prompts of each split.

    Raises:
        UserError: the folder cannot be used, or the data cannot. Nothing was written to `out`.
    """
    import pandas as pd

    check_free(out)
    entry = registry.get("task", spec.task)
    problem: Problem = entry.function(
        spec.data, spec.minority_ratio, spec.seed, **without_keys(spec.task_options)
    )
    splits = {split: list(getattr(problem.prompts, split)) for split in SPLITS}
    with new_folder(out) as folder:
        (folder / "data").mkdir()
        for split, prompts in splits.items():
            rows = pd.DataFrame(
                {"prompt_id": range(len(prompts)), "prompt": pd.Series(prompts, dtype=object)}
            )
            written = as_messages(rows) if messages else rows
            written.to_parquet(folder / "data" / f"{split}.parquet", index=False)
        (folder / "README.md").write_text(_card(spec, entry, splits, messages), encoding="utf-8")
    return {split: len(prompts) for split, prompts in splits.items()}


def _card(spec: RunSpec, entry: registry.Entry, splits: dict[str, list[str]], messages: bool) -> str:
    known = f"{spec.task}@{entry.version}"
    files = "".join(f"      - split: {split}\n        path: data/{split}.parquet\n" for split in splits)
    counts = [[split, str(len(prompts)), str(len(set(prompts)))] for split, prompts in splits.items()]
    return (
        "---\n"
        f"pretty_name: {json.dumps(f'{known}, prompts')}\n"
        "license: other\n"
        "license_name: see-below\n"
        "tags:\n  - prompts\n  - alignment\n  - pluralism\n"
        f"configs:\n  - config_name: default\n    data_files:\n{files}"
        "---\n\n"
        f"# {plain(known)}: prompts\n\n{plain(entry.summary)}\n\n"
        f"{table(['split', 'prompts', 'different ones'], counts)}\n\n"
        "`prompt_id` (int64) is a prompt's place in its split: of test prompts the `prompt_id` in the "
        "evidence of a run with this specification. "
        f"`prompt` ({MESSAGES if messages else 'string'}) is what a response continues or answers. "
        "Policies are optimised on train prompts, each as often as it is here, and measured on test prompts."
        "\n\n"
        f"Made by prefbench {__version__} from {code(Path(spec.data).name)} at seed {spec.seed}.\n\n"
        "## Licence\n\n"
        f"Prompts derive from {code(Path(spec.data).name)}: its terms apply. Whoever publishes this "
        "has to see "
        "that they may, and states the licence here and in the header.\n"
    )

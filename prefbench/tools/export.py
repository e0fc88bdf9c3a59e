"""Preference data as a data set of its own: parquet for each split, and a card that says what it is.

The rows are TRL's explicit-prompt preference format (`prompt, chosen, rejected`) with `user_id` and `group`
beside them, so its trainers take the folder as it is. Nothing leaves the machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefbench import registry
from prefbench.errors import UserError
from prefbench.running.run import labelled_pairs
from prefbench.spec import RunSpec, make_spec
from prefbench.store.progress import Reporter
from prefbench.tools.card import card
from prefbench.tools.export_rows import SPLITS, as_messages, columns_of, votes_of
from prefbench.tools.new_folder import check_free, new_folder


def export_spec(**chosen: Any) -> RunSpec:
    """The specification whose labels are exported: `make_spec`'s arguments but for the aligner.

    Labels do not depend on who learns from them; a specification names an aligner all the same.
    """
    task = chosen.get("task")
    if task is None:
        raise UserError("--task is missing: name one from `prefbench list tasks`.")
    entry = registry.get("task", task)
    sections = chosen.get("sets") or {}
    if "aligner" in sections or "evaluate" in sections:
        raise UserError(
            "--set: only options of the task and of the model can change the data; leave the others out."
        )
    fits = [
        e
        for e in registry.entries("aligner")
        if entry.backbone in e.backbones
        and e.needs <= entry.provides
        and not any(field.is_required() for field in e.options.model_fields.values())
    ]
    if not fits:
        raise UserError(f"no aligner fits task '{task}': install one, as a specification has to name it.")
    # One that asks for nothing, such as utilities that a judge of pairs does not have.
    least = min(fits, key=lambda e: (e.role != "floor", len(e.needs)))
    return make_spec(aligner=least.name, **chosen)


def export(
    spec: RunSpec,
    out: Path,
    runs_dir: Path,
    reporter: Reporter | None = None,
    *,
    votes: bool = False,
    messages: bool = False,
) -> dict[str, int]:
    """Write the labelled pairs of a specification to a new folder.

    Args:
        spec: what to label; see `export_spec`.
        out: a folder that is not there yet, or is empty.
        runs_dir: where stages are kept: what a run has labelled is read and not labelled again.
        reporter: who is told how it goes.
        votes: write a row for each pair with the share of its votes, in place of one for each label.
        messages: write prompts and responses as messages, for models with a chat template.

    Returns:
        Rows of each split.

    Raises:
        UserError: the folder cannot be used, or the data or the model cannot, or no pair has votes to count.
            Nothing was written to `out`.
    """
    check_free(out)
    problem, labels = labelled_pairs(spec, runs_dir, reporter)
    rows = votes_of(labels) if votes else labels
    with new_folder(out) as beside:
        (beside / "data").mkdir()
        for split in SPLITS:
            part = rows.loc[rows["split"] == split, columns_of(rows)]
            written = as_messages(part) if messages else part
            written.to_parquet(beside / "data" / f"{split}.parquet", index=False)
        told = card(spec, problem, labels, rows, messages=messages)
        (beside / "README.md").write_text(told, encoding="utf-8")
    return {split: int((rows["split"] == split).sum()) for split in SPLITS}

"""Preference data as a data set of its own: parquet for each split, and a card that says what it is.

The rows are TRL's explicit-prompt preference format (`prompt, chosen, rejected`) with `user_id` and `group`
beside them, so its trainers take the folder as it is. Nothing leaves the machine unless `push` is called.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from prefbench import registry
from prefbench.errors import PrefbenchError, UserError
from prefbench.running.run import labelled_pairs
from prefbench.spec import RunSpec, make_spec
from prefbench.store.files import clear_disk_errors
from prefbench.store.progress import Reporter
from prefbench.tools.card import card
from prefbench.tools.export_rows import SPLITS, columns_of, votes_of


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
        raise UserError("--set: only options of the task and of the model can change the data.")
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
    spec: RunSpec, out: Path, runs_dir: Path, reporter: Reporter | None = None, *, votes: bool = False
) -> dict[str, int]:
    """Write the labelled pairs of a specification to a new folder.

    Args:
        spec: what to label; see `export_spec`.
        out: a folder that is not there yet, or is empty.
        runs_dir: where stages are kept: what a run has labelled is read and not labelled again.
        reporter: who is told how it goes.
        votes: write a row for each pair with the share of its votes, in place of one for each label.

    Returns:
        Rows of each split.

    Raises:
        UserError: the folder cannot be used, or the data or the model cannot, or no pair has votes to count.
            Nothing was written to `out`.
    """
    _check_free(out)
    problem, labels = labelled_pairs(spec, runs_dir, reporter)
    rows = votes_of(labels) if votes else labels
    with clear_disk_errors():
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
        try:
            (beside / "data").mkdir()
            for split in SPLITS:
                part = rows.loc[rows["split"] == split, columns_of(rows)]
                part.to_parquet(beside / "data" / f"{split}.parquet", index=False)
            (beside / "README.md").write_text(card(spec, problem, labels, rows), encoding="utf-8")
            beside.chmod(0o755)
            if out.is_dir():  # empty, or it would have been refused
                out.rmdir()
            os.replace(beside, out)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return {split: int((rows["split"] == split).sum()) for split in SPLITS}


def _check_free(out: Path) -> None:
    if (out.exists() or out.is_symlink()) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"'{out}' exists already: name a new folder with --out, or remove it.")


def push(folder: Path, repo: str, public: bool = False) -> str:
    """Send an exported folder to a data set on the hub; private unless said otherwise.

    The token is the hub library's own affair: its environment variable or login.

    Returns:
        The data set's address.

    Raises:
        PrefbenchError: the hub said no.
    """
    try:
        api = _hub().HfApi()
        made = api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repo, repo_type="dataset")
    except Exception as error:  # the network, the name, the token: whatever it is, one line
        raise PrefbenchError(
            f"'{repo}' could not be pushed ({_without_token(str(error))}): the data is in "
            f"'{folder}'; log in with "
            "`hf auth login` or set HF_TOKEN, and push it again."
        ) from None
    return str(made)


def _hub() -> Any:
    import huggingface_hub

    return huggingface_hub


def _without_token(text: str) -> str:
    secrets = [value for name, value in os.environ.items() if "TOKEN" in name and len(value) > 5]
    for secret in secrets:
        text = text.replace(secret, "***")
    return (text.strip().splitlines() or ["no reason given"])[0][:200]

"""Stage `proxies`: what an aligner's own rewards say of the responses that the groups judge.

An aligner optimises its learned rewards in the place of what people want. Where the rewards rise and the
groups' true utilities fall, it has optimised too much (Gao et al. 2023, arXiv 2210.10760).
"""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.errors import PrefbenchError
from prefbench.files import read_json
from prefbench.learn.interface import Backbone, Rewards
from prefbench.learn.rewards import load_rewards, save_rewards
from prefbench.record.evidence import PROXY, REFERENCE_PROXY
from prefbench.spec import digest
from prefbench.store.stages import Store, Work
from prefbench.store.tables import read_frame
from prefbench.text import message_line, text_digest

FOLDER = "rewards"
"""Folder within a policy's stage in which its rewards are kept."""
_SAID = "what the learned rewards say of the responses is not known: they cannot be"


def keep_rewards(rewards: Rewards, policy_folder: Path) -> None:
    """Keep the rewards of a policy beside it, so that they can be asked about its responses."""
    folder = policy_folder / FOLDER
    folder.mkdir(exist_ok=True)
    save_rewards(folder, rewards)


def forget_rewards(policy_folder: Path, error: BaseException) -> str:
    """Take away rewards that could not be kept, and say so."""
    shutil.rmtree(policy_folder / FOLDER, ignore_errors=True)
    return f"{_SAID} saved ({type(error).__name__}: {message_line(error)})"


def with_proxies(
    items: pd.DataFrame, policy_folder: Path, backbone: Backbone, store: Store
) -> tuple[pd.DataFrame, list[str]]:
    """The items with each learned reward of both responses, and notes on what is not known.

    Rewards are normalised as they were for the policy: zero mean and unit spread over reference responses.
    Columns as `record.evidence` says; none where the aligner returned no rewards.
    """
    folder = policy_folder / FOLDER
    if not folder.exists():
        return items, []
    files = read_json(policy_folder / "done.json", within=policy_folder)["files"]
    content = digest({name: of for name, of in files.items() if name.startswith(f"{FOLDER}/")})

    @functools.cache
    def read() -> Rewards | str:
        try:
            rewards = load_rewards(backbone, folder)
        except PrefbenchError as error:  # of a stranger's own kind, which only he can read
            return f"{_SAID} read back ({message_line(error)})"
        return rewards if len(set(rewards.names)) == len(rewards.names) else f"{_SAID} told apart by name"

    found = []
    asked = items["prompt"].tolist()
    for role, column, prefix in (
        ("policy", "response", PROXY),
        ("reference", "reference_response", REFERENCE_PROXY),
    ):
        said = items[column].tolist()
        key = {
            "rewards": content,
            "reference": backbone.digest,
            "training": dict(backbone.training),
            "responses": text_digest([*asked, *said]),
        }

        def compute(work: Work, said: list[str] = said) -> None:
            rewards = read()
            if isinstance(rewards, str):
                (work.path / "note.txt").write_text(rewards)
                return
            # Half the digits are all that a model computes, as of log-probabilities.
            with np.errstate(over="ignore"):
                values = rewards(asked, said).astype(np.float32)
            if not np.isfinite(values).all():
                (work.path / "note.txt").write_text(f"{_SAID} told: some are not finite")
                return
            frame = pd.DataFrame(values, columns=list(rewards.names))
            frame.to_parquet(work.path / "proxies.parquet", index=False)

        stage = store.stage("proxies", key, compute, part=role)
        if (stage / "note.txt").exists():
            return items, [(stage / "note.txt").read_text()]
        found.append(read_frame(stage / "proxies.parquet").add_prefix(prefix))
    return pd.concat([items, *found], axis=1), []

"""Exported folders sent to the Hugging Face hub: only if asked for, and private unless said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from prefbench.errors import PrefbenchError, UserError

Kind = Literal["dataset", "model"]


def check_online() -> None:
    """Refuse to push where the hub may not be asked.

    Raises:
        UserError: it may not.
    """
    if _hub().constants.HF_HUB_OFFLINE:
        raise UserError(
            "--push sends to the hub, and HF_HUB_OFFLINE says that it is not to be asked: leave one of them "
            "out."
        )


def push(folder: Path, repo: str, kind: Kind = "dataset", public: bool = False) -> str:
    """Send an exported folder to a data set or a model on the hub; private unless said otherwise.

    The token is the hub library's own affair: its environment variable or login.

    Returns:
        The address that it has there.

    Raises:
        UserError: it is there already and everybody can see it, which nobody asked for.
        PrefbenchError: the hub said no.
    """
    try:
        api = _hub().HfApi()
        made = api.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
        if not public and not api.repo_info(repo, repo_type=kind).private:
            raise UserError(
                f"'{repo}' is on the hub already, for everybody to see: say --public, or name another one. "
                f"Nothing was sent; it lies in '{folder}'."
            )
        api.upload_folder(folder_path=str(folder), repo_id=repo, repo_type=kind)
    except UserError:
        raise
    except Exception as error:  # the network, the name, the token: whatever it is, one line
        raise PrefbenchError(
            f"'{repo}' could not be pushed ({_without_token(str(error))}): it lies in '{folder}'; log in "
            "with `hf auth login` or set HF_TOKEN, and push it again."
        ) from None
    return str(made)


def _hub() -> Any:
    import huggingface_hub.constants

    return huggingface_hub


def _without_token(text: str) -> str:
    secrets = [value for name, value in os.environ.items() if "TOKEN" in name and len(value) > 5]
    for secret in secrets:
        text = text.replace(secret, "***")
    return (text.strip().splitlines() or ["no reason given"])[0][:200]

"""Trackers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from prefbench.errors import UserError
from prefbench.registry import suggest
from prefbench.tracking.interface import Tracker
from prefbench.tracking.to_trackio import Trackio
from prefbench.tracking.to_wandb import Wandb

TrackerName = Literal["trackio", "wandb"]
TRACKERS: Mapping[str, Callable[[], Tracker]] = {"trackio": Trackio, "wandb": Wandb}
"""Makers of the tracker of a run, by the name of the package that each imports."""
CALLS = ("started", "logged", "finished")


def tracker_of(track: str | Tracker) -> Tracker:
    """The tracker of a run: a new one by its name, or the one that was given.

    Raises:
        UserError: there is none of that name, its package is missing, or the object is no tracker.
    """
    if not isinstance(track, str):
        missing = [name for name in CALLS if not callable(getattr(track, name, None))]
        if missing:
            raise UserError(
                f"track {track!r:.80} is no tracker: it has no method {' and no '.join(missing)}: add it."
            )
        return track
    if track not in TRACKERS:
        raise UserError(f"unknown tracker '{track}'.{suggest(track, TRACKERS)}")
    try:
        return TRACKERS[track]()
    except ImportError as error:
        raise UserError(f"tracker {track} is missing ({error}): pip install 'prefbench[{track}]'.") from None

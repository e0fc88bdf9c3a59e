"""The way of packed runs to the project: a pull request that adds one folder or file, and its commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from prefbench.record.packed import SUFFIX

SUBMISSIONS = "leaderboard/submissions"
"""Folder of the project's repository that submissions are sent to, from its root."""
CHECK = "python leaderboard/scripts/check_submissions.py"
"""The check that a pull request makes, on one's own machine."""
WHERE = f"the repository that your prefbench comes from, under {SUBMISSIONS}/"
"""Address of submissions, in words: the project has no other that holds for every copy of it."""


def how_to_send(packed: Path) -> list[str]:
    """Lines that say where packed runs go, and the commands that take them there.

    Args:
        packed: folder or file that `submit` wrote.
    """
    name = (
        re.sub(r"[^A-Za-z0-9._-]+", "-", packed.name.removesuffix(SUFFIX)).strip(".-_")[:60] or "submission"
    )
    place = f"{SUBMISSIONS}/{name}{SUFFIX if packed.suffix == SUFFIX else ''}"
    copy = f"cp -r {shlex.quote(str(packed.absolute()))} {place}"
    there = packed.absolute().parts[-3:] == Path(place).parts
    commands = [
        f"git switch -c submit-{name}",
        *([] if there else [copy]),
        CHECK,
        f"git add {place}",
        f"git commit -m 'Results: {name}'",
        f"git push -u origin submit-{name}",
    ]
    return [
        f"send them as a pull request to {WHERE},",
        "that changes nothing else; in a checkout of your own fork of it:",
        *(f"  {command}" for command in commands),
        f"then open the pull request, which runs {CHECK} too",
    ]

"""Check the submissions in a folder as a pull request is checked: they are data, and nothing in them is run.

    python leaderboard/scripts/check_submissions.py                     # all in leaderboard/submissions
    python leaderboard/scripts/check_submissions.py SENT --known KNOWN  # those in SENT that KNOWN has not

Each is measured before anything of it is read, has to hold packed runs and nothing else, and is merged into a
board of its own that is thrown away: `prefbench leaderboard merge` verifies every run from its evidence, and
takes only what `prefbench leaderboard submit` packed. Exits with 1 if one is refused.
"""

from __future__ import annotations

import argparse
import filecmp
import itertools
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from prefbench.boards.sending import SUBMISSIONS
from prefbench.boards.submission import merge
from prefbench.errors import PrefbenchError, UserError
from prefbench.record.files import (
    DISTRIBUTION_FILE,
    HELD_OUT_FILE,
    ITEMS_FILE,
    PEOPLE_FILE,
    POLICIES_FILE,
    PROMPTED_FILE,
    RECORD_FILE,
)
from prefbench.record.packed import SUFFIX
from prefbench.registry import load_plugins
from prefbench.text import one_line

MOST_BYTES = 64 * 2**20
"""Bytes of one submission; the board of reviews at 10:1, 470 runs, takes seven million."""
MOST_FILES = 5_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BESIDE = {"README.md"}
"""Files of the folder of submissions that are none."""
FILES = {
    RECORD_FILE,
    ITEMS_FILE,
    PROMPTED_FILE,
    PEOPLE_FILE,
    POLICIES_FILE,
    HELD_OUT_FILE,
    DISTRIBUTION_FILE,
}
"""Files of a packed run."""


def entries(folder: Path, known: Path | None) -> list[Path]:
    """What lies in a folder of submissions and, byte for byte, not in the one that is known.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder '{folder}': name the folder that submissions lie in.")
    found = sorted(path for path in folder.iterdir() if path.name not in BESIDE)
    return [path for path in found if known is None or not same(path, known / path.name)]


def same(one: Path, other: Path) -> bool:
    """True if two submissions hold the same files with the same bytes, and no link."""
    if one.is_symlink() or not os.path.lexists(other):
        return False
    ours, theirs = (dict(files_of(path)) for path in (one, other))
    return ours.keys() == theirs.keys() and all(
        not path.is_symlink() and filecmp.cmp(path, theirs[name], shallow=False)
        for name, path in ours.items()
    )


def files_of(entry: Path) -> Iterator[tuple[str, Path]]:
    """Every file, link or empty folder of a submission, by its path within."""
    if entry.is_symlink() or not entry.is_dir():
        yield "", entry
        return
    found = list(itertools.islice(entry.rglob("*"), 2 * MOST_FILES + 1))
    if len(found) > 2 * MOST_FILES:
        raise UserError(f"'{entry.name}' holds more than {MOST_FILES:,} files: send it in several parts.")
    for path in sorted(found):
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir()):
            yield str(path.relative_to(entry)), path


def check_files(entry: Path) -> None:
    """Refuse what is no submission by its names, kinds and sizes; nothing is read.

    Raises:
        UserError: it says why.
    """
    if not NAME.fullmatch(entry.name):
        raise UserError("its name has other characters than letters, digits, dots, dashes and underscores.")
    if not entry.is_dir() and entry.suffix != SUFFIX:
        raise UserError(f"it is neither a folder of runs nor a board in one file ({SUFFIX}).")
    total = 0
    for number, (name, path) in enumerate(files_of(entry), start=1):
        parts = Path(name).parts
        if path.is_symlink() or not path.is_file():
            raise UserError(f"'{name}' is no regular file: only packed runs may be sent.")
        if name and (len(parts) != 2 or parts[1] not in FILES):
            raise UserError(f"'{name}' is no file of a packed run: pack the runs anew and send nothing else.")
        total += path.lstat().st_size
        if total > MOST_BYTES or number > MOST_FILES:
            raise UserError(
                f"it is larger than {MOST_BYTES:,} bytes or {MOST_FILES:,} files: send it in several parts."
            )


def checked(entry: Path) -> tuple[int, list[str]]:
    """Number of runs of a submission that follow from their evidence, and what could not be checked of them.

    Raises:
        PrefbenchError: it is refused.
    """
    check_files(entry)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = merge([entry], Path(folder) / f"board{SUFFIX}")
    folders = len(list(entry.iterdir())) if entry.is_dir() else len(runs)
    if folders != len(runs):
        raise UserError(f"{folders - len(runs)} of its {folders} folders hold no run: take them out.")
    return len(runs), [str(warning.message) for warning in caught if warning.category is UserWarning]


def main(arguments: list[str] | None = None) -> int:
    """Check, print a line for each submission, and give back the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sent", nargs="?", type=Path, default=Path(SUBMISSIONS), metavar="SENT")
    parser.add_argument("--known", type=Path, metavar="FOLDER", help="submissions that were checked before")
    given = parser.parse_args(arguments)
    load_plugins([])
    refused = 0
    try:
        found = entries(given.sent, given.known)
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    for entry in found:
        name = one_line(entry.name)
        try:
            runs, unchecked = checked(entry)
        except PrefbenchError as error:
            refused += 1
            print(f"{name}: refused: {one_line(str(error))}")
            continue
        for said in unchecked:
            print(f"{name}: {one_line(said)}")
        print(f"{name}: {runs} {'run follows' if runs == 1 else 'runs follow'} from the evidence")
    print(f"{len(found) - refused} of {len(found)} submissions can be taken in")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

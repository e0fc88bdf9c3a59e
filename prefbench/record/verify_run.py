"""One run held against everything that can be known here without its model.

What the record counts follows from its tables (`record.verify`). Beyond that the problem is built from the
specification: the tables must have its prompts, groups, shares and instructions, every utility that can be
computed is computed again from the texts, and a world's tables must be the world's. `record/fields.py` says
what is held against what; a run whose task, data or judge is not here is not checked so far, and says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import PrefbenchError, UserError
from prefbench.record.checked import Checked
from prefbench.record.evidence import read_items, sorted_items
from prefbench.record.files import DISTRIBUTION_FILE, HELD_OUT_FILE, PEOPLE_FILE, PROMPTED_FILE
from prefbench.record.problems import Problems
from prefbench.record.verify import verify
from prefbench.record.verify_problem import check_problem
from prefbench.record.verify_spec import check_spec
from prefbench.record.verify_texts import texts_differ
from prefbench.text import lower_words, message_line

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

COPIED = 0.9
"""Agreement of two runs' responses beyond chance (Cohen's kappa over rows) that is a copy. Of the published
runs, even those that shared draws and rewards agree to less than 0.5."""
MONOTONE = 0.5
"""Chance of two rows to agree above which policies hardly say more than one thing."""


def check_run(checked: Checked, problems: Problems, build: bool) -> None:
    """Fill in what is wrong with a run and what could not be checked.

    Args:
        checked: with its record.
        problems: those that the runs of a board share.
        build: false leaves out what needs the problem.
    """
    record = checked.record
    assert record is not None
    check_spec(checked, record)
    try:
        checked.wrong += verify(checked.folder)
        if record.status != "ok":
            return
        names = [group.name for group in record.groups]
        items, _ = sorted_items(read_items(checked.folder), names)
        checked.tables["items"] = items
        checked.wrong += texts_differ(items, record)
        if checked.wrong:
            return
        if record.prompted_worst_group_win_rate is not None:
            checked.tables["prompted"] = read_items(checked.folder, PROMPTED_FILE)
        if record.people is not None:
            checked.tables["people"] = read_items(checked.folder, PEOPLE_FILE)
        if record.held_out is not None:
            checked.tables["held_out"] = read_items(checked.folder, HELD_OUT_FILE)
        if record.regret is not None:
            checked.tables["distribution"] = read_items(checked.folder, DISTRIBUTION_FILE)
        theirs = items["reference_response"].tolist()
        checked.words = _of_words(items)
        if record.people is not None and record.sees:
            checked.people_words = _of_words(checked.tables["people"])
        checked.references = _hashes(theirs)
        if agreement(checked.words, _hashes([" ".join(lower_words(text)) for text in theirs])) >= COPIED:
            checked.wrong.append("its responses are its reference responses, which are drawn apart from them")
        if not checked.absent:
            check_problem(checked, record, problems, build)
    except UserError as error:
        checked.wrong.append(str(error))
    except PrefbenchError as error:  # exact optima that cannot be found for what the file says
        checked.wrong.append(f"'{checked.folder}': {error}")
    except (Exception, SystemExit) as error:  # there is no end of ways in which a stranger's table may be odd
        said = f"{type(error).__name__}: {message_line(error)}"
        checked.wrong.append(f"'{checked.folder}': its evidence cannot be evaluated ({said}): run it again.")


def agreement(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Cohen's kappa: how much more often two lists of words agree, row by row, than by chance.

    0 for policies that say much the same to everything: nothing can be told from their agreement.
    """
    both = np.unique(np.concatenate([one, other]), return_inverse=True)[1]
    counts = [np.bincount(part, minlength=both.max() + 1) / len(one) for part in np.split(both, 2)]
    chance = float(counts[0] @ counts[1])
    equal = float((one == other).mean())
    return 0.0 if chance > MONOTONE else (equal - chance) / (1 - chance)


def _of_words(table: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """Hash of each response's words."""
    return _hashes([" ".join(lower_words(text)) for text in table["response"].tolist()])


def _hashes(texts: list[str]) -> npt.NDArray[np.uint64]:
    import pandas as pd

    raw = np.array([text.encode("utf-8", "surrogatepass") for text in texts], dtype=object)
    return np.asarray(pd.util.hash_array(raw, categorize=True), dtype=np.uint64)

"""A run that is being checked, and what is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prefbench.record.problems import Unbuilt
from prefbench.record.schema import Record

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd


@dataclass
class Checked:
    """A run, what is wrong with it, and what could not be checked here."""

    folder: Path
    record: Record | None = None
    wrong: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """Remarks that a reader should know and that do not disprove the run."""
    absent: bool = False
    """True if its task or aligner is of a plug-in that was not given."""
    unbuilt: Unbuilt | None = None
    """The reason why its problem could not be built, so that none of its texts and utilities is checked."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Items in order, and the other evidence, while the run is being checked."""
    words: npt.NDArray[np.uint64] | None = None
    """Hash of each response's words."""
    people_words: npt.NDArray[np.uint64] | None = None
    """The same of the responses to people; None where everybody is answered alike."""
    references: npt.NDArray[np.uint64] | None = None
    """Hash of each reference response's text."""

    @property
    def too_large(self) -> bool:
        """True if nothing of its texts was checked because of a size that its own specification states."""
        return self.unbuilt is not None and self.unbuilt.large

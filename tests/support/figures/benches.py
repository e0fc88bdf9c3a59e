"""A bench: a problem, its labels and a backbone, on which aligners are tried."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench import registry
from prefbench.learn.interface import Aligned
from prefbench.problem.problem import Problem
from prefbench.problem.view import make_view
from prefbench.store.stages import Work


@dataclass(frozen=True)
class Bench:
    """A problem, its labels and a backbone."""

    problem: Problem
    rows: pd.DataFrame
    backbone: Any
    folder: Path

    def align(self, entry: registry.Entry, options: Mapping[str, Any]) -> Aligned:
        """What an aligner makes of it."""
        work = Path(tempfile.mkdtemp(dir=self.folder))
        view = make_view(self.rows, self.problem, entry.needs, seed=0)
        made = entry.function(view, self.backbone.at(Work("figures", work)), entry.options(**options))
        return made if isinstance(made, Aligned) else Aligned(made)

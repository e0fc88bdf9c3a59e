"""A bench: a problem, its labels and a backbone, on which aligners are tried."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench import registry
from prefbench.learn.interface import Aligned, Context, Personal, Policy
from prefbench.learn.rewards import pairs_of
from prefbench.problem.problem import Problem
from prefbench.problem.view import make_view
from prefbench.store.stages import Work
from support.figures.numbers import flat


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

    def answers(
        self, entry: registry.Entry, made: Aligned, figures: Callable[[Policy], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Figures of a policy; of a personal one those of its default, and of a person of each group."""
        if not isinstance(made.policy, Personal):
            return dict(figures(made.policy))
        found = {"default": figures(made.policy.default)}
        view = make_view(self.rows, self.problem, frozenset({"user_id", "group"}), seed=0)
        train = pairs_of(view.preferences["train"])
        assert train.group is not None and train.user_id is not None
        for group in self.problem.groups:
            mine = train[np.flatnonzero(train.group == group.name)[:4]]
            assert mine.user_id is not None
            known = {"pairs": mine, "user_id": mine.user_id.tolist()[0], "group": group.name}
            for field in sorted(entry.sees & known.keys()):
                told = made.policy.adapt(Context(**{field: known[field]}))
                found[f"{group.name} by {field}"] = figures(told)
        return flat(found)

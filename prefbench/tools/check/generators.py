"""The global random generators: watching whether a stranger's code moves them, and moving them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def untouched() -> Iterator[Callable[[], str | None]]:
    """A function that says which global generators were drawn from or seeded since; they are put back."""
    import torch

    def states() -> dict[str, bytes]:
        words: Any = np.random.get_state(legacy=True)  # noqa: NPY002  (the global state is the subject)
        return {
            "random": repr(random.getstate()).encode(),
            "numpy.random": repr((words[0], *words[2:])).encode() + words[1].tobytes(),
            "torch": torch.get_rng_state().numpy().tobytes(),
        }

    kept = random.getstate(), np.random.get_state(legacy=True), torch.get_rng_state()  # noqa: NPY002
    before = states()

    def changed() -> str | None:
        moved = [name for name, state in states().items() if state != before[name]]
        if not moved:
            return None
        return f"the global state of {', '.join(moved)} moved: draw from prefbench.seeds instead."

    try:
        yield changed
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])


def stir() -> None:
    """Put the global generators somewhere else."""
    import torch

    random.seed(4242)
    np.random.seed(4242)  # noqa: NPY002  (the global state is the subject)
    torch.manual_seed(4242)

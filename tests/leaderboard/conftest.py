"""Scripts of leaderboard/scripts, which are no package, as modules."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "leaderboard" / "scripts"


@pytest.fixture(scope="module")
def script():
    """A function that imports a script by its name, with its neighbours to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module

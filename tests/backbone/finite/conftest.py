"""What tests of the finite backbone get: one in a folder of its own."""

import pytest

from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.options import FiniteOptions
from prefbench.store.stages import Store, Work


@pytest.fixture
def finite(tmp_path):
    def make(world, **options):
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        return Finite(world, FiniteOptions(**options), Store(tmp_path), Work("policy", work), 0.5)

    return make

"""The simulations of the benchmarks folder, which is no package."""

import importlib.util
import sys
from functools import cache
from pathlib import Path


@cache
def simulation(name):
    """A module of benchmarks/ by its name."""
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def interval_coverage():
    """Coverage of intervals and size of tests."""
    return simulation("interval_coverage")

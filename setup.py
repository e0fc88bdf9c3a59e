"""The packages to install: all of prefbench, and two folders under the names that they are installed by."""

from setuptools import find_packages, setup

# In the folders tasks/ and baselines/. That is why pyproject.toml, which can find packages or list them and
# not both, cannot say this.
RENAMED = ["prefbench_tasks", "prefbench_baselines"]

setup(packages=[*find_packages(include=["prefbench", "prefbench.*"]), *RENAMED])

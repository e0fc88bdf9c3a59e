"""What pyproject.toml cannot say: which packages there are, and the commit that they were built from."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

root = Path(__file__).parent
sys.path.insert(0, str(root))

from prefbench.commit import FILE, commit_of  # noqa: E402  (the path above leads to it)

# In the folders tasks/ and baselines/. That is why pyproject.toml, which can find packages or list them and
# not both, cannot say this.
RENAMED = ["prefbench_tasks", "prefbench_baselines"]


def remember(package: Path) -> None:
    """Write the commit into a package's folder, where there is a checkout to ask."""
    found = commit_of(root) if (root / ".git").exists() else None
    if found is not None:
        (package / FILE).write_text(f"{found}\n", encoding="ascii")


class BuildPy(build_py):
    """Copies the modules and adds the commit; an editable install asks its checkout instead."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            remember(Path(self.build_lib) / "prefbench")


class Sdist(sdist):
    """Packs the sources with the commit."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy."""
        super().make_release_tree(base_dir, files)
        remember(Path(base_dir) / "prefbench")


setup(
    packages=[*find_packages(include=["prefbench", "prefbench.*"]), *RENAMED],
    cmdclass={"build_py": BuildPy, "sdist": Sdist},
)

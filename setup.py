"""What pyproject.toml cannot say: a wheel or an sdist remembers the commit that it was built from."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

root = Path(__file__).parent
sys.path.insert(0, str(root))

from prefbench.commit import FILE, commit_of  # noqa: E402  (the path above leads to it)


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


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})

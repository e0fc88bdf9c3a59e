"""Packages of somebody else."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "plugin_package"


def install(site: Path, name: str, module: str) -> None:
    """What pip leaves of a package that names `module` in the entry-point group."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[prefbench]\n{name} = {module}\n")

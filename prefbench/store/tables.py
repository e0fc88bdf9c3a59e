"""Tables that stages keep, read by whoever stored them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def read_frame(path: Path) -> pd.DataFrame:
    """A parquet file of a stage, its columns of the types that they were written with.

    It is read in one thread and past pandas' search for folders of files, which takes longer than most of
    these tables. What anybody may have written is read by `prefbench.files.read_table`.
    """
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        frame: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
    return frame

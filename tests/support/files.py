"""Files as a stranger may have left them."""

import os
from pathlib import Path

import pyarrow as pa


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def outside(path: Path) -> None:
    (path.parent.parent / "outside").write_text("{}")
    path.symlink_to("../outside")


def one_text_in_every_row(rows: int) -> pa.Table:
    text = pa.array(["x" * 1_000_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), text)
    return pa.table({"prompt_id": range(rows), "prompt": column})

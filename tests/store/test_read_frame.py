"""Tables of stages: what is read is what was written."""

import numpy as np
import pandas as pd
import pytest

from prefbench.store.tables import read_frame

TABLES = {
    "all kinds": pd.DataFrame(
        {
            "text": ["a", "", "\u00fc\n"],
            "lacking": ["a", None, "b"],
            "whole": np.array([1, -2, 2**62]),
            "number": [0.1, np.nan, -np.inf],
            "half": np.array([0.1, np.nan, 3], dtype=np.float32),
            "true": [True, False, True],
        }
    ),
    "no rows": pd.DataFrame({"text": pd.Series([], dtype=str), "number": pd.Series([], dtype=float)}),
    "no columns": pd.DataFrame(index=range(3)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_frame_is_what_pandas_reads(tmp_path, name):
    path = tmp_path / "table.parquet"
    TABLES[name].to_parquet(path, index=False)
    pd.testing.assert_frame_equal(read_frame(path), pd.read_parquet(path), check_exact=True)

"""What learned rewards and groups gained: by hand, and held against the items."""

import json

import numpy as np
import pytest

from prefbench.boards.pack import pack
from prefbench.errors import UserError
from prefbench.record.evidence import later_columns, read_items, write_items
from prefbench.record.files import read_record, write_record
from prefbench.record.schema import Record
from prefbench.record.summary import summarise
from prefbench.record.verify import verify
from support.records import GROUPS, RATES, make_items, make_run


def gains(**columns):
    return summarise(make_items(RATES, n=4).assign(**columns), GROUPS, 0)


BY_HAND = {
    "utility/many": [3.0, 4.0, 5.0, 4.0],
    "reference_utility/many": [1.0, 3.0, 1.0, 3.0],  # mean 2, spread 1
    "utility/few": [0.0, 0.0, 4.0, 4.0],
    "reference_utility/few": [0.0, 0.0, 8.0, 8.0],  # mean 4, spread 4
    "proxy/a": np.float32([1.0, 2.0, 3.0, 2.0]),
    "proxy/b": np.float32([0.5, 0.5, 0.5, 0.5]),
    "reference_proxy/a": np.float32([0.0, 0.0, 1.0, 1.0]),
    "reference_proxy/b": np.float32([-0.25, 0.25, 0.25, -0.25]),
}


def test_the_gains_by_hand():
    found = gains(**BY_HAND)
    assert found["utility_gain"] == min((4 - 2) / 1, (2 - 4) / 4) == -0.5
    assert found["proxy"] == {
        "rewards": [
            {"name": "a", "mean": 2.0, "reference": 0.5},
            {"name": "b", "mean": 0.5, "reference": 0.0},
        ],
        "gain": 0.5,
    }


def test_where_nothing_is_known_nothing_is_said():
    found = gains()  # whose reference responses are all alike
    assert (found["utility_gain"], found["proxy"]) == (None, None)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"proxy/a": 1.0}, "has reward 'a' of one side only"),
        ({"proxy/a": 1.0, "reference_proxy/b": 1.0}, "has reward 'a' of one side only"),
        ({"proxy/a": [1.0, 2.0, 3.0, np.inf], "reference_proxy/a": 0.0}, "proxy/a' has a value that is not"),
        ({"proxy/a": "much", "reference_proxy/a": 0.0}, "'proxy/a' is not numeric"),
    ],
)
def test_half_a_reward_is_refused(columns, said):
    with pytest.raises(UserError, match=said):
        gains(**columns)


@pytest.fixture
def folder(tmp_path):
    columns = {name: np.resize(values, 60) for name, values in BY_HAND.items()}
    return make_run(tmp_path / "runs", RATES, columns=columns)


def forged(folder, change):
    plain = json.loads((folder / "record.json").read_text())
    change(plain)
    write_record(Record.model_validate(plain), folder)
    return verify(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["proxy"].update(gain=0.9), "proxy.gain is 0.9, the items give 0.5"),
        (lambda r: r["proxy"]["rewards"][0].update(mean=3.0), "proxy.a.mean is 3.0, the items give 2.0"),
        (lambda r: r["proxy"]["rewards"][1].update(reference=-1.0), "proxy.b.reference is -1.0"),
        (lambda r: r["proxy"]["rewards"][1].update(name="c"), "the rewards of proxy are not those of"),
        (lambda r: r.update(proxy=None), "proxy is missing in the record or in the items"),
        (lambda r: r.update(utility_gain=0.5), "utility_gain is 0.5, the items give -0.5"),
    ],
)
def test_a_forged_gain_is_found(folder, change, said):
    assert verify(folder) == []
    (found,) = forged(folder, change)
    assert found.startswith(said)


def test_forged_or_missing_columns_are_found(folder):
    items = read_items(folder)
    write_items(items.assign(**{"proxy/b": items["proxy/b"] + 1}), folder)
    assert [line.split(" is ")[0] for line in verify(folder)] == ["proxy.gain", "proxy.b.mean"]
    write_items(items.drop(columns=[name for name in items if "proxy/" in name]), folder)
    assert verify(folder) == ["proxy is missing in the record or in the items"]


def test_a_record_from_before_they_were_kept_is_read_and_follows(tmp_path):
    folder = make_run(tmp_path, RATES)
    plain = json.loads((folder / "record.json").read_text())
    for name in ("proxy", "utility_gain"):
        del plain[name]
    (folder / "record.json").write_text(json.dumps(plain))
    record = read_record(folder)
    assert (record.proxy, record.utility_gain, verify(folder)) == (None, None, [])


def test_a_packed_board_keeps_them_and_shares_none_of_an_aligners_own(folder, tmp_path):
    runs = folder.parent
    other = {name: np.resize(values, 60) for name, values in BY_HAND.items()}
    other["reference_proxy/a"] = other["reference_proxy/a"] + np.float32(1)
    make_run(runs, RATES, columns=other, aligner="other")
    pack([runs], tmp_path / "board.zip")
    for run in runs.iterdir():
        kept, items = read_items(tmp_path / "board.zip" / run.name), read_items(run)
        columns = later_columns(items)
        assert columns == ["proxy/a", "proxy/b", "reference_proxy/a", "reference_proxy/b"]
        assert kept[columns].equals(items[columns])

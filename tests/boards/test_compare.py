"""Two aligners compared on the same prompts: who may be, and what is refused."""

import json

import numpy as np
import pytest

from prefbench.boards.compare import COMPARED, compare_aligners, comparison_rows
from prefbench.boards.names import config_hash
from prefbench.boards.rows import load_rows
from prefbench.errors import UserError
from prefbench.record.files import read_record
from support.boards import BAD, GOOD, board
from support.records import make_run


def test_two_aligners_on_the_same_prompts(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD})
    found = compare_aligners("good", "bad", tmp_path)
    by_name = {measure.measure: measure for measure in found.measures}
    assert list(by_name) == ["group/many", "group/few", *COMPARED]
    few = by_name["group/few"]
    rows = {row.first.aligner: row for row in load_rows(tmp_path)}
    scores = [np.concatenate(rows[name].metric_scores("group/few")) for name in ("good", "bad")]
    assert few.difference == pytest.approx(scores[0].mean() - scores[1].mean())
    assert (few.wins, few.losses) == ((scores[0] > scores[1]).sum(), (scores[0] < scores[1]).sum())
    assert few.wins + few.ties + few.losses == found.n_prompts == 180
    assert few.low < few.difference < few.high and few.low > 0 and few.p_value < 0.05
    # The minority is this group: one test, which the correction counts once.
    assert by_name["minority_win_rate"].p_value == few.p_value
    back = compare_aligners("bad", "good", tmp_path)
    assert [m.difference for m in back.measures] == pytest.approx([-m.difference for m in found.measures])
    json.dumps(found.to_dict(), allow_nan=False)
    title, header, cells = comparison_rows(found)
    assert "A good, B bad" in title and {len(row) for row in cells} == {len(header)}


def test_compared_are_runs_folders_of_runs_and_hashes(tmp_path):
    board(tmp_path / "one", {"good": GOOD})
    board(tmp_path / "two", {"bad": BAD}, seeds=(1, 2, 3))
    folder = next((tmp_path / "one").glob("good-*"))
    bad = next(f for f in (tmp_path / "two").glob("bad-*") if read_record(f).seed == 2)
    found = compare_aligners(str(tmp_path / "one"), str(tmp_path / "two"), tmp_path / "one")
    assert (found.seeds, found.left_out) == ((1, 2), (0, 3))
    name = config_hash(read_record(folder).spec)
    assert compare_aligners(name, str(tmp_path / "two"), tmp_path / "one") == found
    assert compare_aligners("good", str(bad), tmp_path / "one").seeds == (2,)
    assert compare_aligners(folder.name, str(folder), tmp_path / "one").measures[0].difference == 0


def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD}, seeds=(0,))
    board(tmp_path, {"good": GOOD, "bad": BAD}, seeds=(0,), minority_ratio=0.1)
    board(tmp_path, {"bad": BAD}, seeds=(0,), minority_ratio=0.1, aligner_options={"beta": 2})
    board(tmp_path, {"late": GOOD}, seeds=(5,))
    board(tmp_path, {"noisy": GOOD}, seeds=(0,), task_options={"noise": 2})
    make_run(tmp_path, GOOD, aligner="other", n=70)
    make_run(tmp_path, GOOD, aligner="wild", status="diverged")
    newer = json.loads((make_run(tmp_path, GOOD, aligner="newer") / "record.json").read_text())
    folder = next(tmp_path.glob("newer-*"))
    (folder / "record.json").write_text(json.dumps({**newer, "task_version": 2}))
    for names, options, said in [
        (("good", "bad"), {}, "meet on 2 boards"),
        (("good", "bad"), {"minority_ratio": 0.1}, "different options: say which by its hash"),
        (("good", "bad"), {"minority_ratio": 0.3}, "its runs are on toy@1 nano synthetic 0.1, toy@1"),
        (("good", "bad"), {"task": "toy@2"}, "was not run so"),
        (("good", "goood"), {}, "Did you mean 'good'"),
        (("good", "late"), {}, "no seed in common"),
        (("late", "noisy"), {}, "task.noise is None and 2"),
        (("good", "other"), {}, "their prompts differ at seed 0"),
        (("good", "wild"), {}, "it is diverged"),
        (("other", "newer"), {}, "versions 1 and 2 of toy"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            compare_aligners(*names, tmp_path, **options)
        assert "\n" not in str(caught.value)

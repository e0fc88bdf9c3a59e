"""Copies among policies for each person: a common default is none, and the same words to people are one."""

import numpy as np
import pytest

from prefbench import registry
from prefbench.boards.verify import _kind, runs_in, verify_board
from prefbench.record.checked import Checked
from prefbench.record.files import read_record
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.tiny import TINY_SETS
from support.told import told_run


@pytest.fixture
def told(tmp_path):
    """Two runs whose items are the same default, as they are checked; words of people are a test's."""

    def of(first, second):
        folders = [told_run(tmp_path, 0.5, aligner=name) for name in ("router", "deaf")]
        words = [None if each is None else np.array(each, np.uint64) for each in (first, second)]
        return [
            Checked(folder, read_record(folder), people_words=said)
            for folder, said in zip(folders, words, strict=True)
        ]

    return of


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (range(100), range(100, 200), None),
        (range(100), range(50), None),
        (range(100), range(100), "aligner"),
        (range(100), None, "aligner"),
        (None, None, "aligner"),
    ],
)
def test_what_is_said_to_people_tells_policies_apart(told, first, second, kind):
    assert _kind(*told(first, second)) == kind


def test_two_aligners_with_one_default_are_no_copies(tmp_path):
    registry.load_plugins()
    sets = parse_sets([*TINY_SETS, "task.unseen_annotators=4", "task.context_pairs=2"])
    for aligner in ("user_regression", "pebs"):
        run(make_spec(task="imdb_two_group", aligner=aligner, sets=sets), tmp_path)
    found = verify_board(runs_in(tmp_path))
    assert [each.wrong for each in found] == [[], []]
    one, other = found
    assert (one.words == other.words).mean() > 0.9, "else they had no default in common"

"""Boards of made-up runs: a good aligner, a bad one, and any others of given rates."""

from support.records import make_run

GOOD = {"many": 0.8, "few": 0.75}
BAD = {"many": 0.95, "few": 0.2}


def board(tmp_path, rows, seeds=(0, 1, 2), **changes):
    """Runs of several aligners over seeds: `rows` gives each one's rates."""
    for aligner, rates in rows.items():
        for seed in seeds:
            make_run(tmp_path, rates, aligner=aligner, seed=seed, **changes)
    return tmp_path


def only(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]

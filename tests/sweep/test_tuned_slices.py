"""What tuning tried, drawn: a panel for each option, and the chosen configuration."""

import json

import pytest

from prefbench.errors import UserError
from prefbench.sweep.tuned import Tuned, write_tuned
from prefbench.sweep.tuned_slices import tuned_slices
from support.commands import typed


def tried(index, options, scores):
    trials = [
        {"seed": seed, "status": "ok", "message": None, "spec_hash": "0" * 16, "scores": None, "kl": 1.0}
        for seed in range(len(scores))
    ]
    mean = (
        dict.fromkeys(("S0", "S1", "S2", "S3"), sum(scores) / len(scores)) if scores[0] is not None else None
    )
    return {"index": index, "options": options, "trials": trials, "scores": mean, "kl": 1.0, "tokens": None}


@pytest.fixture
def path(tmp_path):
    """Four configurations of DPO: the default, two that were drawn, and one that diverged."""
    found = {
        "name": "dpo",
        "needs": [],
        "rule": "S0",
        "measure": "share won",
        "code": "0" * 16,
        "space": {"beta": "log 0.01 to 1", "loss": "of two"},
        "fixed": {},
        "tokens": None,
        "tried": [
            tried(0, {}, [0.5, 0.5]),
            tried(1, {"beta": 0.02}, [0.6, 0.8]),
            tried(2, {"beta": 0.9}, [0.3]),
            tried(3, {"beta": 0.4}, [None]),
        ],
        "chosen": dict.fromkeys(("S0", "S1", "S2", "S3"), 1),
    }
    whole = {
        "prefbench": "0",
        "numerics": 1,
        "task": "imdb_two_group",
        "task_version": 2,
        "task_options": {},
        "model": "nano",
        "model_options": {},
        "data": "synthetic",
        "minority_ratio": 0.2,
        "evaluate_options": {},
        "configurations": 4,
        "seeds": [0, 1],
        "search_seed": 0,
        "aligners": [found],
    }
    write_tuned(Tuned.model_validate(whole), tmp_path / "found.tuned.json")
    return tmp_path / "found.tuned.json"


def test_configurations_have_their_scores_and_what_was_given_up_is_marked(path):
    (slices,) = tuned_slices(path)
    assert slices.label == "imdb_two_group@2, nano, synthetic, 4:1"
    drawn = [(each.score, each.chosen, each.whole) for each in slices.configurations]
    assert drawn == [(0.5, False, True), (pytest.approx(0.7), True, True), (0.3, False, False)]
    assert slices.varied() == ["beta"]
    with pytest.raises(UserError, match=r"has no aligner 'dpi'\. Did you mean 'dpo'"):
        tuned_slices(path, ["dpi"])


def test_command_line(path, tmp_path):
    out = tmp_path / "figures"
    words = ["plot", "--tuned", path, "--out", out, "--format", "svg", "--format", "png"]
    assert typed(*words).code == 0
    assert sorted(file.name for file in out.iterdir()) == ["slices-dpo.png", "slices-dpo.svg"]
    assert typed(*words, "--figure", "headline").code == 2
    refused = typed("plot", "--tuned", path, "--format", "bmp")
    assert refused.code == 2 and "no format 'bmp'" in refused.err
    plain = json.loads(path.read_text())
    plain["aligners"][0]["tried"] = plain["aligners"][0]["tried"][:1]
    plain["aligners"][0]["chosen"] = {}
    path.write_text(json.dumps(plain))
    refused = typed(*words)
    assert refused.code == 2 and "no option was given several values" in refused.err

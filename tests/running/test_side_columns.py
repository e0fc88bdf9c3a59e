"""A stranger's task that brings strength and side columns, and an aligner whose loss goes by them."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

import prefbench as pb
from prefbench import registry, seeds
from prefbench.errors import UserError
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.rewards import pairs_of
from prefbench.problem.labels import label_pairs
from prefbench.running.run import run
from prefbench.spec import make_spec
from prefbench.tools.export import export, export_spec
from prefbench_tasks.bandit_two_group import bandit_two_group


@dataclass(frozen=True)
class Ahead:
    """-log sigmoid(beta D - m)."""

    beta: float
    needs = ("margin",)

    def __call__(self, difference, side):
        import torch

        return -torch.nn.functional.logsigmoid(self.beta * difference - side["margin"])


@pytest.fixture(scope="module", autouse=True)
def plugged():
    with registry.lent():

        @pb.task("rated", provides={"user_id", "group", "side"}, backbone="finite")
        def rated(data: str, minority_ratio: float, seed: int, *, margins: bool = True) -> pb.Problem:
            """Labels of a world with how sure they are, and by how much the better one is ahead."""
            drawn = bandit_two_group("synthetic", minority_ratio, seed, annotators=10, pairs_per_annotator=6)
            rng = seeds.rng(seed, "rated")
            parts = {split: getattr(drawn.prompts, split) for split in ("train", "validation")}
            rows = [(split, prompt) for split, prompts in parts.items() for prompt in prompts]
            pairs = pd.DataFrame(rows, columns=["split", "prompt"])
            for column in ("response_a", "response_b"):
                texts = [drawn.world.responses[drawn.world.state[prompt]] for prompt in pairs["prompt"]]
                pairs[column] = [rng.choice(each) for each in texts]
            pairs = pairs[pairs["response_a"] != pairs["response_b"]].reset_index(drop=True)
            train = tuple(pairs.loc[pairs["split"] == "train", "prompt"])
            prompts = replace(drawn.prompts, train=train)
            each = replace(drawn, annotators=len(train), pairs_per_annotator=1, prompts=prompts)
            rows, _ = label_pairs(pairs, each, seed)
            rows["strength"] = rng.uniform(0.5, 1, len(rows))
            if margins:
                rows["side/margin"] = rng.uniform(0, 1, len(rows))
            return replace(drawn, given=rows)

        def fit(view, backbone, options):
            pairs, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
            return backbone.fit_pairwise(pairs, Ahead(0.2), options, seed=view.seed, held_out=held_out)

        @pb.aligner("ahead", needs={"side"})
        def ahead(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
            """DPO with margins."""
            return fit(view, backbone, options)

        @pb.aligner("blind_ahead")
        def blind_ahead(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
            """The same without a look at the columns."""
            return fit(view, backbone, options)

        yield


def test_a_run_gets_the_columns_and_its_record_says_that_it_did(tmp_path):
    _, record = run(make_spec(task="rated", aligner="ahead"), tmp_path)
    assert record.status == "ok", record.message
    assert record.needs == ("side",)


def test_an_aligner_that_does_not_need_them_is_not_shown_them(tmp_path):
    with pytest.raises(UserError, match="asks for the side column 'margin', and the pairs have none"):
        run(make_spec(task="rated", aligner="blind_ahead"), tmp_path)


def test_a_task_that_has_none_is_refused_at_once():
    with pytest.raises(UserError, match="'ahead' needs side, which task 'bandit_two_group' does not provide"):
        make_spec(task="bandit_two_group", aligner="ahead")


def test_they_are_exported(tmp_path):
    export(export_spec(task="rated"), tmp_path / "out", tmp_path / "runs")
    found = pd.read_parquet(tmp_path / "out" / "data" / "train.parquet")
    assert list(found.columns)[-2:] == ["strength", "side/margin"]
    assert found["strength"].between(0.5, 1).all() and np.isfinite(found["side/margin"]).all()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "how sure the label is" in card and "a further number of the pair" in card

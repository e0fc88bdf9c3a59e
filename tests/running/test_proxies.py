"""What an aligner's own rewards say of its responses: the numbers, where they are kept, what is shared."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from prefbench import registry
from prefbench.learn.interface import Aligned, Rewards
from prefbench.learn.rewards import load_rewards, save_rewards
from prefbench.record.evidence import later_columns, read_items
from prefbench.record.verify import verify
from prefbench.running.run import run
from prefbench.spec import make_spec

SMALL = {"test_prompts": "40"}


def world_run(runs, aligner="maxmin", **options):
    sets = {"task": SMALL, "aligner": {name: str(value) for name, value in options.items()}}
    return run(make_spec(task="bandit_two_group", aligner=aligner, sets=sets), runs)


def stage(runs, record, name):
    return runs / "stages" / name.partition("/")[0] / record.stages[name]


def test_items_have_the_rewards_that_the_policy_was_made_for(tmp_path):
    folder, record = world_run(tmp_path)
    items = read_items(folder)
    kept = stage(tmp_path, record, "policy") / "rewards"
    content = json.loads((kept / "rewards.json").read_text())
    task = registry.get("task", "bandit_two_group")
    world = task.function("synthetic", 0.2, 0, **record.spec["task_options"]).world
    rows = world.rows(items["prompt"].tolist())
    gains = []
    for k, name in enumerate(content["names"]):
        table = load_file(kept / f"reward-{k}.safetensors")["reward"]
        means = []
        for prefix, column in (("proxy", "response"), ("reference_proxy", "reference_response")):
            raw = table[rows, world.columns(rows, items[column].tolist())]
            expected = (raw - content["shift"][k]) / content["scale"][k]
            found = items[f"{prefix}/{name}"]
            assert found.dtype == np.float32
            assert found.to_numpy() == pytest.approx(expected, rel=1e-6, abs=1e-6)
            means.append(expected.mean())
        gains.append(means[0] - means[1])
        said = record.proxy.rewards[k]
        assert (said.name, said.mean, said.reference) == (name, *(pytest.approx(mean) for mean in means))
    assert record.proxy.gain == pytest.approx(min(gains), abs=1e-6)
    assert verify(folder) == []


def test_kept_rewards_take_no_room_and_are_asked_about_the_reference_once(tmp_path):
    (_, weak), (_, strong) = (world_run(tmp_path, kl_coefficient=beta) for beta in (1.0, 0.1))
    ours, theirs = (
        (stage(tmp_path, record, "policy") / "rewards" / "reward-0.safetensors").stat().st_ino
        for record in (weak, strong)
    )
    assert ours == theirs
    assert weak.stages["proxies/reference"] == strong.stages["proxies/reference"]
    assert weak.stages["proxies/policy"] != strong.stages["proxies/policy"]
    assert weak.proxy.gain < strong.proxy.gain


def test_a_second_run_reads_what_the_first_one_stored(tmp_path):
    folder, first = world_run(tmp_path)
    before = (folder / "items.parquet").read_bytes()
    _, again = world_run(tmp_path)
    assert (again.stages, again.proxy) == (first.stages, first.proxy)
    assert (folder / "items.parquet").read_bytes() == before


class Times(registry.Options):
    """A factor."""

    times: float = 1.0
    """Of the reward."""


def test_other_rewards_of_the_same_responses_are_never_served(tmp_path, monkeypatch):
    """Two runs say the same, one of them with rewards three times as large."""

    def scaled(view, backbone, options: Times):
        """The reference, and the first group's utility times a factor as its reward."""
        from prefbench.backbone.finite.policies import FiniteReward

        table = backbone.world.utilities[:, :, 0] * options.times
        reward = FiniteReward(backbone.world, table)
        return Aligned(backbone.reference, Rewards([reward], ["a"], np.zeros(1), np.ones(1)))

    entry = registry.Entry("aligner", "scaled", scaled, Times)
    monkeypatch.setitem(registry._entries, ("aligner", "scaled"), entry)
    (one, first), (three, second) = (world_run(tmp_path, "scaled", times=times) for times in (1.0, 3.0))
    assert read_items(one)["response"].equals(read_items(three)["response"])
    assert 3 * first.proxy.rewards[0].mean == pytest.approx(second.proxy.rewards[0].mean)
    assert 3 * first.proxy.gain == pytest.approx(second.proxy.gain)


def test_nothing_is_said_where_there_is_no_reward(tmp_path):
    folder, record = world_run(tmp_path, "dpo")
    assert record.proxy is None and record.utility_gain is not None
    assert later_columns(read_items(folder)) == []
    assert not [name for name in record.stages if name.startswith("proxies")]


class Unsaved:
    """A stranger's reward that can only be asked."""

    def score(self, prompts, responses):
        return np.array([float(len(text)) for text in responses])


class Unread(Unsaved):
    """One that is saved in a way that only its owner reads."""

    def save(self, path):
        path.write_text("mine")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Unsaved, "they cannot be saved (AttributeError"),
        (Unread, "they cannot be read back ("),
        (None, "they cannot be told apart by name"),
        (np.inf, "some are not finite"),
    ],
)
def test_a_run_goes_on_with_rewards_that_cannot_be_kept(tmp_path, monkeypatch, made, said):
    def strange(view, backbone, options: registry.NoOptions):
        """A policy with rewards of its own kind."""
        from prefbench.backbone.finite.policies import FiniteReward

        known = FiniteReward(backbone.world, backbone.world.utilities[:, :, 0])
        if made == np.inf:  # what no float32 holds
            known = FiniteReward(backbone.world, known.table * 1e60)
        models = [known, known] if made is None else [known] if made == np.inf else [made()]
        return Aligned(backbone.reference, Rewards(models, ["a"] * len(models), np.zeros(1), np.ones(1)))

    entry = registry.Entry("aligner", "strange", strange, registry.NoOptions)
    monkeypatch.setitem(registry._entries, ("aligner", "strange"), entry)
    folder, record = world_run(tmp_path, "strange")
    assert record.status == "ok" and record.proxy is None
    (note,) = [note for note in record.notes if "learned rewards say" in note]
    assert said in note
    assert record.groups[0].reward_accuracy is not None and verify(folder) == []


def test_rewards_are_linked_only_to_the_file_of_the_same_model(tmp_path, world_backbone):
    """A model that took the place of one that was read from a file is saved, and no other one's file is."""
    backbone, first, second = world_backbone
    made, again, other = tmp_path / "made", tmp_path / "again", tmp_path / "other"
    for folder in (made, again, other):
        folder.mkdir()
    save_rewards(made, Rewards([first], ["a"], np.zeros(1), np.ones(1)))
    read = load_rewards(backbone, made)
    save_rewards(again, read)
    save_rewards(again, read)  # as after a stop
    read.models[0] = second
    save_rewards(other, read)
    names = [folder / "reward-0.safetensors" for folder in (made, again, other)]
    assert names[0].samefile(names[1]) and not names[0].samefile(names[2])
    assert np.array_equal(load_file(names[0])["reward"], first.table)
    assert np.array_equal(load_file(names[2])["reward"], second.table)


@pytest.fixture
def world_backbone(tmp_path):
    from prefbench.backbone.finite.backbone import Finite
    from prefbench.backbone.finite.policies import FiniteReward
    from prefbench.backbone.options import FiniteOptions
    from prefbench.store.stages import Store, Work
    from support.worlds import make_world

    world, _ = make_world()
    backbone = Finite(world, FiniteOptions(), Store(tmp_path), Work("policy", tmp_path), 0.5)
    return backbone, *(FiniteReward(world, world.utilities[:, :, k]) for k in (0, 1))

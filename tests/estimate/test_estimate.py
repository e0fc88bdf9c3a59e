"""Estimates of models by name, of presets, folders and the hub, and how they are told."""

import json
import re
from pathlib import Path

import pytest

from prefbench import registry
from prefbench.backbone.shapes import SHAPES
from prefbench.estimate import estimate
from prefbench.estimate import setting as settings
from prefbench.estimate.setting import setting_of, shape_of
from prefbench.spec import make_spec
from support.commands import typed
from support.estimated import new_model, problem, shape_of_model, spec


def test_shapes_are_those_of_presets_folders_and_options(tmp_path):
    assert shape_of(spec()) == SHAPES["tulu2-7b"]
    (tmp_path / "config.json").write_text(json.dumps(new_model("llama").config.to_dict()))
    small = shape_of_model(new_model("llama"))
    assert shape_of(spec(str(tmp_path))) == small
    assert shape_of(spec(model={"path": str(tmp_path)})) == small
    (tmp_path / "config.json").write_text("{ no")
    assert shape_of(spec(str(tmp_path))) is None
    assert "no config.json" in settings.why_unknown(spec(str(tmp_path)))
    nano = spec("nano", model={"width": 32, "heads": 2, "vocabulary": 400, "context": 48})
    shape = shape_of(nano)
    assert shape is not None
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": 0, "eos_token_id": 0}
    built = GPT2LMHeadModel(
        GPT2Config(vocab_size=400, n_positions=48, n_embd=32, n_layer=2, n_head=2, **ends)
    )
    assert shape.parameters == sum(p.numel() for p in built.parameters())
    finite = make_spec(task="bandit_two_group", aligner="dpo")
    assert shape_of(finite) is None
    assert settings.why_unknown(finite).startswith("Nothing to estimate: model 'finite'")


def test_a_model_in_the_hubs_cache_is_known_without_a_network(tmp_path, monkeypatch):
    import huggingface_hub

    (tmp_path / "config.json").write_text(json.dumps(new_model("gpt2").config.to_dict()))
    stored = {"someone/small": str(tmp_path / "config.json")}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: stored.get(name))
    assert shape_of(spec("someone/small")) == shape_of_model(new_model("gpt2"))
    assert shape_of(spec("someone/else")) is None


def test_settings_follow_the_options():
    shape = SHAPES["tulu2-7b"]
    plain = setting_of(spec(), shape)
    assert (plain.bytes, plain.rank, plain.checkpointing, plain.context) == (2, 16, True, 1024)
    other = {"dtype": "float32", "lora": False, "gradient_checkpointing": False, "context": 100_000}
    full = setting_of(spec(model=other), shape)
    assert (full.bytes, full.rank, full.checkpointing, full.context) == (4, None, False, shape.positions)
    assert full.adapter == 0
    assert full.trained == shape.parameters
    assert setting_of(spec(model={"quantise": "4bit"}), shape).base_bytes < plain.base_bytes / 3


def test_an_example_needs_its_task_and_its_aligner(monkeypatch):
    chosen, found = estimate.example("tulu2-7b")
    assert chosen is not None and found is not None
    assert (chosen.task, chosen.aligner) == ("imdb_two_group", "maxmin")
    assert found.peak < 24e9
    assert estimate.example("finite") == (None, None)
    assert estimate.example("pretrained") == (None, None)
    without = {key: entry for key, entry in registry._entries.items() if entry.kind != "task"}
    monkeypatch.setattr(registry, "_entries", without)
    assert estimate.example("tulu2-7b") == (None, None)


def test_the_json_form_is_plain_and_adds_up():
    found = estimate.estimate(spec(), SHAPES["tulu2-7b"], problem())
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    parts = {name: size for name, size in said["memory"].items() if name not in ("peak", "least")}
    assert sum(parts.values()) == pytest.approx(said["memory"]["peak"]) == found.peak
    assert max(said["passes"].values()) == found.peak
    assert said["flops"] == pytest.approx(sum(stage["flops"] for stage in said["stages"]))
    assert said["parameters"] == 6_738_415_616
    for device in said["hardware"].values():
        assert 0 < device["least_hours"] <= device["most_hours"]
    assert said["sizes"]["train"] == 20


def test_the_page_shows_what_the_command_prints():
    page = (Path(__file__).parents[2] / "docs" / "large-models.md").read_text()
    shown = re.findall(r"```sh\nprefbench (run .*--dry-run .*)\n```\n\n```text\n((?:.*\n)*?)```", page)
    assert len(shown) == 2
    for words, text in shown:
        outcome = typed(*words.split())
        assert (outcome.code, outcome.out) == (0, text)
    (refusal,) = re.findall(r"^prefbench: error: (.*)$", page, re.M)
    large = ["--task", "imdb_two_group", "--aligner", "maxmin", "--model", "tulu2-7b"]
    tight = typed("run", *large, "--set", "model.lora=false", "--dry-run", "--hardware", "a100-80gb")
    assert (tight.code, tight.error) == (2, refusal)

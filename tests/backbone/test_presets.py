"""Presets of published models: their shapes, how they are named, and what they make of a folder."""

import json

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from prefbench import registry
from prefbench.backbone.options import PretrainedOptions
from prefbench.backbone.shapes import SHAPES, Shape, shape_of_config
from prefbench.errors import UserError
from prefbench.running.run import run
from prefbench.spec import get_model, make_spec, parse_sets
from prefbench.sweep.file import read_sweep
from support.commands import typed
from support.tiny import PPO, TINY_SETS, loaded, plain_problem, tiny_model, tiny_tokenizer

PRESETS = ["gpt2", "tulu2-7b"]

SMALL = {
    "vocab_size": 31,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 17,
}
GPT2 = {
    "vocab_size": 31,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "n_embd": 12,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 17,
}
MODELS = {
    "gpt2": (GPT2LMHeadModel, GPT2Config()),
    "tulu2-7b": (
        LlamaForCausalLM,
        LlamaConfig(intermediate_size=11008, max_position_embeddings=8192, vocab_size=32000),
    ),
    "gpt2 small": (GPT2LMHeadModel, GPT2Config(**GPT2)),
    "gpt2 untied, another inner size": (
        GPT2LMHeadModel,
        GPT2Config(**GPT2, n_inner=7, tie_word_embeddings=False),
    ),
    "llama": (LlamaForCausalLM, LlamaConfig(**SMALL)),
    "llama tied, own head width": (
        LlamaForCausalLM,
        LlamaConfig(**SMALL, head_dim=6, tie_word_embeddings=True),
    ),
    "mistral": (MistralForCausalLM, MistralConfig(**SMALL, head_dim=8)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SMALL)),
    "qwen2 tied": (Qwen2ForCausalLM, Qwen2Config(**SMALL, tie_word_embeddings=True)),
}


# --- shapes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_count_of_parameters_is_the_models(name):
    kind, config = MODELS[name]
    with torch.device("meta"):
        model = kind(config)
    expected = sum(weight.numel() for weight in model.parameters())
    shape = shape_of_config(config.to_dict())
    assert shape is not None and shape.parameters == shape.formula == expected
    if name in SHAPES:
        assert SHAPES[name].parameters == expected


def test_the_presets_have_the_published_numbers_of_parameters():
    assert SHAPES["gpt2"].parameters == 124_439_808
    assert SHAPES["tulu2-7b"].parameters == 6_738_415_616


def test_an_older_config_without_key_value_heads_has_one_for_each_head():
    config = LlamaConfig(**SMALL).to_dict()
    for key in ("num_key_value_heads", "head_dim", "tie_word_embeddings"):
        config.pop(key, None)
    assert shape_of_config(config) == Shape(3, 12, 4, 4, 20, 31, 17, tied=False, gated=True, biases=False)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mamba"},
        {"model_type": None},
        {"hidden_size": "4096"},
        {"hidden_size": 0},
        {"num_hidden_layers": True},
        {"vocab_size": None},
        {"num_hidden_layers": 10**9},
        {"num_attention_heads": None},
    ],
    ids=str,
)
def test_what_is_not_known_has_no_shape(change):
    assert shape_of_config(LlamaConfig(**SMALL).to_dict()) is not None
    assert shape_of_config({**LlamaConfig(**SMALL).to_dict(), **change}) is None
    assert shape_of_config({}) is None


# --- names ------------------------------------------------------------------------------------------------


def test_presets_and_folders_share_their_options():
    for name in PRESETS:
        options = registry.get("model", name).options
        assert issubclass(options, PretrainedOptions)
        assert set(options.model_fields) == {*PretrainedOptions.model_fields, "path"}
    assert set(SHAPES) == set(PRESETS)


def test_defaults_are_the_papers():
    gpt2, tulu2 = (get_model(name).options() for name in PRESETS)
    assert (gpt2.lora, gpt2.dtype, gpt2.chat_template) == (False, "float32", "none")
    assert (tulu2.lora, tulu2.lora_rank, tulu2.lora_alpha, tulu2.dtype) == (True, 16, 32, "bfloat16")
    assert (tulu2.policy_learning_rate, tulu2.reward_learning_rate) == (1.4e-5, 2e-5)
    assert tulu2.gradient_checkpointing and not gpt2.gradient_checkpointing


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("gpt2", "gpt2"),
        ("tulu2-7b", "tulu2-7b"),
        ("gpt2-xl", "pretrained"),
        ("distilgpt2", "pretrained"),
        ("openai-community/gpt2", "pretrained"),
        ("allenai/tulu-2-7b", "pretrained"),
    ],
)
def test_a_name_is_a_preset_or_a_hub_id(name, entry):
    assert get_model(name).name == entry


@pytest.mark.parametrize(
    ("name", "near"), [("gpt-2", "gpt2"), ("tulu-7b", "tulu2-7b"), ("tulu2", "tulu2-7b")]
)
def test_almost_a_presets_name_is_a_misspelling(name, near):
    with pytest.raises(UserError, match=f"Did you mean '{near}'"):
        get_model(name)


def test_the_command_line_shows_them():
    listed = {row["name"]: row for row in json.loads(typed("list", "models", "--json").out)}
    assert set(PRESETS) <= set(listed)
    (shown,) = json.loads(typed("show", "tulu2-7b", "--json").out)
    options = {option["name"]: option for option in shown["options"]}
    assert options["path"]["default"] is None and options["dtype"]["default"] == "bfloat16"
    assert all(option["doc"] for option in options.values())


def test_a_sweep_sets_options_of_one_preset(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(
        'task = "imdb_two_group"\naligner = "dpo"\nmodel = ["gpt2", "tulu2-7b"]\n'
        "[set.model.tulu2-7b]\nlora_rank = 8\n"
    )
    ranks = {spec.model: spec.model_options["lora_rank"] for spec in read_sweep(str(file)).expand()}
    assert ranks == {"gpt2": 16, "tulu2-7b": 8}


# --- folders ----------------------------------------------------------------------------------------------


def folder_of(architecture, tmp_path):
    folder = tmp_path / architecture
    tiny_model(architecture, len(tiny_tokenizer()), context=48, seed=0).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def preset(name, tmp_path, problem=None, **options):
    return loaded(name, tmp_path, problem or plain_problem(), **options)


def test_gpt2_from_a_folder_runs_with_every_weight_trained(tmp_path):
    sets = [item for item in TINY_SETS if item.startswith("task.")]
    sets += [*PPO, "model.threads=1", f"model.path={folder_of('gpt2', tmp_path)}"]
    spec = make_spec(
        task="imdb_two_group",
        aligner="single_reward",
        model="gpt2",
        sets=parse_sets(sets),
        minority_ratio=0.5,
    )
    folder, record = run(spec, tmp_path / "runs")
    assert record.status == "ok" and record.model == "gpt2"
    assert folder.name.startswith("imdb_two_group-single_reward-gpt2-r0.5-s0-")
    stages = tmp_path / "runs" / "stages" / "policy"
    assert list(stages.rglob("model.safetensors")) and not list(stages.rglob("adapter_config.json"))


def test_tulu2_from_a_folder_runs_with_adapters_and_checkpointing(tmp_path):
    sets = [item for item in TINY_SETS if item.startswith("task.")]
    sets += ["aligner.epochs=1", "model.threads=1", f"model.path={folder_of('llama', tmp_path)}"]
    spec = make_spec(task="imdb_two_group", aligner="dpo", model="tulu2-7b", sets=parse_sets(sets))
    _, record = run(spec, tmp_path / "runs")
    assert record.status == "ok" and record.model == "tulu2-7b"
    assert list((tmp_path / "runs" / "stages" / "policy").rglob("adapter_config.json"))


@pytest.mark.parametrize(("given", "used"), [({}, True), ({"gradient_checkpointing": False}, False)])
def test_checkpointing_is_the_presets_unless_it_is_said(tmp_path, given, used):
    path = folder_of("llama", tmp_path)
    assert preset("tulu2-7b", tmp_path, path=path, **given).gradient_checkpointing == used


def test_tulu2_from_a_folder_is_bfloat16_with_the_tulu_format(tmp_path):
    path = folder_of("llama", tmp_path)
    backbone = preset("tulu2-7b", tmp_path, plain_problem(chat=True), path=path)
    assert backbone.reference.model.dtype == torch.bfloat16
    assert backbone.lora == {"r": 16, "lora_alpha": 32}
    tokenizer = backbone.codec.tokenizer
    assert tokenizer.decode(backbone.codec.prompts(["a film"])[0]) == "<|user|>\na film\n<|assistant|>\n"
    assert backbone.codec.end == tokenizer.eos_token_id
    plain = preset("tulu2-7b", tmp_path, path=path)
    assert plain.codec.prompts(["a film"]) == [tokenizer("a film")["input_ids"]]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_without_its_folder_or_the_hub_says_what_to_set(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for path in (None, "nobody/no-such-model"):
        with pytest.raises(
            UserError, match=r"give the folder of a downloaded model with --set model\.path=FOLDER"
        ):
            preset(name, tmp_path, path=path)
    for path in ("./nowhere", "/no/where", "nowhere/"):
        with pytest.raises(UserError, match=f"model folder '{path}' does not exist"):
            preset(name, tmp_path, path=path)

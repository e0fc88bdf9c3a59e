"""Sizes of whatever transformers builds, counted without memory for weights, and a run's needs on it."""

import dataclasses
import json

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from prefbench import seeds
from prefbench.backbone.language.adapters import Adapted, Adapter, Base
from prefbench.backbone.shapes import Shape, shape_of_config
from prefbench.errors import UserError
from prefbench.estimate import advice
from prefbench.estimate.estimate import problem_of
from prefbench.estimate.setting import ModelSetting, shape_of
from prefbench.spec import make_spec
from support.decoders import SETTINGS

RANK = 4
KEPT = {"vocab_size": 60, "num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 172}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64}


@pytest.mark.parametrize("name", [*SETTINGS, "mixtral"])
def test_weights_and_adapters_are_those_of_the_model(name):
    settings = SETTINGS.get(name, SETTINGS["llama"])
    config = CONFIG_MAPPING[name](vocab_size=60, **settings)
    model = AutoModelForCausalLM.from_config(config)
    shape = shape_of_config(config.to_dict())
    if name in ("bloom", "jamba"):  # one states no positions, the other no layer is like the next
        assert shape is None or shape.parameters == sum(weight.numel() for weight in model.parameters())
        return
    assert shape is not None
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    setting, base = ModelSetting(shape, 4, rank=RANK), Base(model, "base")
    assert setting.matrices == sum(layer.weight.numel() for layer in base.layers.values())
    assert setting.adapter == sum(weight.numel() for weight in Adapter(base, RANK, 8.0, 0).parameters())


def test_of_experts_a_token_goes_through_some():
    config = CONFIG_MAPPING["mixtral"](vocab_size=60, **SETTINGS["llama"], num_local_experts=4)
    shape = shape_of_config(config.to_dict())
    assert shape is not None and shape.counted is not None
    assert shape.counted.experts == 2 * 2 * 3 * 16 * 24  # of two layers, two of four experts, three maps each
    idle = dataclasses.replace(shape, counted=dataclasses.replace(shape.counted, experts=0))
    more = ModelSetting(shape, 4).forward(10, 0, 0) - ModelSetting(idle, 4).forward(10, 0, 0)
    assert more == 10 * 2 * shape.counted.experts


@pytest.mark.parametrize("name", ["qwen3", "gemma3_text"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_autograd_keeps_of_them_follows_the_formula(name, dtype):
    with seeds.torch_seeded(0, "shapes"):
        config = CONFIG_MAPPING[name](**KEPT, **HEADS)
        model = AutoModelForCausalLM.from_config(config).to(dtype).requires_grad_(False)
    base = Base(model, "base")
    adapted = Adapted(base, Adapter(base, RANK, 8.0, 0))
    own = {t.untyped_storage().data_ptr() for m in (model, adapted) for t in [*m.parameters(), *m.buffers()]}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    ids = torch.arange(8 * 24).reshape(8, 24) % 60
    mask = torch.ones_like(ids)
    mask[0, 20:] = 0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = adapted(input_ids=ids, attention_mask=mask, use_cache=False).logits
    assert kept.requires_grad
    shape = shape_of_config(config.to_dict())
    assert shape is not None
    said, _ = ModelSetting(shape, dtype.itemsize, rank=RANK).activations(8 * 24, 24, all_states=False)
    assert said == pytest.approx(sum(size for size, _ in seen.values()), rel=0.15)


@pytest.mark.parametrize("name", ["qwen3", "gemma3_text"])
def test_a_large_one_is_refused_like_a_llama(tmp_path, monkeypatch, name):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG_MAPPING[name](num_hidden_layers=8).to_dict()))
    spec = make_spec(task="imdb_two_group", aligner="dpo", model=str(tmp_path))
    shape = shape_of(spec)
    assert isinstance(shape, Shape) and shape.parameters > advice.LEAST_PARAMETERS
    monkeypatch.setattr(advice, "free_memory", lambda device: ("a small device", 2e9))
    with pytest.raises(UserError, match=r"this run needs about .* free on a small device"):
        advice.check_memory(spec, problem_of(spec))

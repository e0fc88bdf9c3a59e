"""Damaged models and policies: each is refused in one line, and what does no harm is let be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from prefbench.errors import UserError
from support.commands import typed
from support.tiny import loaded, plain_problem, tiny_model, tiny_tokenizer


def drop_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])


def spread(folder, name, place):
    """The weights in another file, named in an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / place, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def change_config(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoil(folder, name, value):
    change_weights(folder, lambda weights: weights[name].view(-1)[3:4].fill_(value))


def rename(folder, old, new):
    change_weights(folder, lambda weights: weights.update({new: weights.pop(old)}))


def lose(folder, *names):
    for name in names:
        (folder / name).unlink()


DAMAGES = {
    "a weight is missing": (
        drop_weight,
        r"lack 1 of its weights, such as model\.layers\.1\.mlp\.up_proj\.weight",
    ),
    "weights are cut off": (cut_weights, r"could not be loaded .*\.safetensors weights"),
    "weights are missing": (lambda f: lose(f, "model.safetensors"), "safetensors"),
    "a part is missing": (
        lambda f: spread(f, "part-2.safetensors", "part-1.safetensors"),
        "part-2.safetensors",
    ),
    "weights lie elsewhere": (
        lambda f: spread(f, "../out.safetensors", "../out.safetensors"),
        r"names files outside of it \(\.\./out\.safetensors\)",
    ),
    "the index is damaged": (
        lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": 3}'),
        "index.json is damaged",
    ),
    "more layers than weights": (lambda f: change_config(f, num_hidden_layers=3), "lack 9 of its weights"),
    "fewer layers than weights": (
        lambda f: change_config(f, num_hidden_layers=1),
        r"hold 9 weights that the model of its config\.json does not have, such as model\.layers\.1\.",
    ),
    "a weight too many": (
        lambda f: change_weights(f, lambda w: w.update({"score.weight": torch.zeros(2)})),
        r"hold 1 weights .* such as score\.weight",
    ),
    "a weight has another name": (
        lambda f: rename(f, "model.norm.weight", "model.final_norm.weight"),
        r"lack 1 of its weights, such as model\.norm\.weight",
    ),
    "a weight is NaN": (
        lambda f: spoil(f, "model.layers.0.mlp.up_proj.weight", torch.nan),
        r"1 of its weights are NaN or infinite, such as model\.layers\.0\.mlp\.up_proj",
    ),
    "a weight is infinite": (
        lambda f: spoil(f, "lm_head.weight", -torch.inf),
        "NaN or infinite, such as lm_head",
    ),
    "sizes do not fit": (
        lambda f: change_config(f, intermediate_size=32),
        r"6 of its weights have other shapes .*down_proj\.weight: \[16, 24\] and not \[16, 32\]",
    ),
    "another vocabulary": (
        lambda f: change_config(f, vocab_size=310),
        r"have other shapes .* lm_head\.weight",
    ),
    "a size is text": (lambda f: change_config(f, hidden_size="x"), "hidden_size"),
    "heads do not fit": (lambda f: change_config(f, num_attention_heads=5), "not a multiple"),
    "an unknown model": (lambda f: change_config(f, model_type="nothing"), "nothing"),
    "code of its own": (
        lambda f: change_config(f, model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
        "custom code",
    ),
    "no causal model": (
        lambda f: change_config(f, model_type="bert"),
        "not those of a causal language model",
    ),
    "the config is cut off": (lambda f: (f / "config.json").write_text("{"), "not a valid JSON"),
    "the config is a list": (lambda f: (f / "config.json").write_text("[]"), "could not be loaded"),
    "no config": (lambda f: lose(f, "config.json"), "config.json"),
    "no tokenizer": (lambda f: lose(f, "tokenizer.json", "tokenizer_config.json"), "tokenizer"),
    "the tokenizer is damaged": (lambda f: (f / "tokenizer.json").write_text("{}"), "could not be loaded"),
    "adapters of another model": (
        lambda f: (f / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2"}'),
        "holds adapters, not a whole model",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line(model_folder, tmp_path, damage):
    change, said = DAMAGES[damage]
    change(model_folder)
    with pytest.raises(UserError, match=said) as error:
        loaded(model_folder, tmp_path, plain_problem())
    assert str(model_folder) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def gpt2_folder(tmp_path):
    tokenizer, folder = tiny_tokenizer(), tmp_path / "gpt2"
    tiny_model("gpt2", len(tokenizer), context=48, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


GPT2_DAMAGES = {
    "a weight is missing": (
        lambda f: change_weights(f, lambda w: w.pop("transformer.h.0.attn.c_attn.weight")),
        "lack 1 of its weights",
    ),
    "the embedding is missing": (
        lambda f: change_weights(f, lambda w: w.pop("transformer.wte.weight")),
        "lack 2 of its weights",
    ),
    "fewer layers than weights": (lambda f: change_config(f, n_layer=1), r"such as transformer\.h\.1\."),
    "fewer positions": (
        lambda f: change_config(f, n_positions=32),
        r"wpe\.weight: \[48, 16\] and not \[32, 16\]",
    ),
    "an output layer of its own that is not there": (
        lambda f: change_config(f, tie_word_embeddings=False),
        r"such as lm_head\.weight",
    ),
    "an embedding is NaN": (
        lambda f: spoil(f, "transformer.wte.weight", torch.nan),
        r"such as transformer\.wte",
    ),
}


@pytest.mark.parametrize("damage", GPT2_DAMAGES)
def test_a_damaged_gpt2_folder_is_refused_in_one_line(gpt2_folder, tmp_path, damage):
    change, said = GPT2_DAMAGES[damage]
    change(gpt2_folder)
    with pytest.raises(UserError, match=said) as error:
        loaded(gpt2_folder, tmp_path, plain_problem(), lora=False)
    assert "\n" not in str(error.value) and not (tmp_path / "runs").exists()


def prefixless(weights):
    for name in list(weights):
        weights[name.removeprefix("transformer.")] = weights.pop(name)


HARMLESS = {
    "masks": lambda w: w.update(
        {
            "transformer.h.0.attn.bias": torch.ones(1, 1, 48, 48),
            "transformer.h.0.attn.masked_bias": torch.ones(1),
        }
    ),
    "a tied output layer": lambda w: w.update({"lm_head.weight": w["transformer.wte.weight"].clone()}),
    "no prefix": prefixless,
}


@pytest.mark.parametrize("extra", HARMLESS)
def test_what_older_files_carry_along_changes_nothing(gpt2_folder, tmp_path, extra):
    texts = ["a joy", "the plot"], [" from start", " was dull"]
    before = loaded(gpt2_folder, tmp_path, plain_problem(), lora=False).reference.logprob(*texts)
    change_weights(gpt2_folder, HARMLESS[extra])
    after = loaded(gpt2_folder, tmp_path, plain_problem(), lora=False).reference.logprob(*texts)
    assert np.array_equal(before, after)


def test_rotary_frequencies_in_old_files_change_nothing(model_folder, tmp_path):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_weights(model_folder, lambda w: w.update({name: torch.ones(2)}))
    loaded(model_folder, tmp_path, plain_problem())


def test_a_damaged_folder_ends_the_command_with_2_and_one_line(model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil(model_folder, "model.norm.weight", torch.nan)
    outcome = typed("run", "--task", "imdb_two_group", "--aligner", "dpo", "--model", model_folder)
    assert outcome.code == 2 and "model.norm.weight" in outcome.error and not Path("runs").exists()


# --- policies of another model ----------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [False, True])
def test_a_policy_of_another_architecture_is_refused_before_it_is_built(
    gpt2_folder, model_folder, tmp_path, lora
):
    """A Llama of GPT-2's configuration would have 6.7 billion random weights."""
    backbone = loaded(model_folder, tmp_path, plain_problem(), lora=lora)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "from_pretrained", lambda *a, **k: pytest.fail("it was built"))
        with pytest.raises(
            UserError, match="of the architecture gpt2, but the reference is of llama"
        ) as error:
            backbone.load_policy(gpt2_folder)
    assert "\n" not in str(error.value)


POLICY_DAMAGES = {
    "other sizes": (
        lambda f: change_config(f, num_hidden_layers=1),
        "num_hidden_layers=1, but the reference has 2",
    ),
    "huge": (lambda f: change_config(f, hidden_size=65536), "hidden_size=65536"),
    "a weight is missing": (drop_weight, "lack 1 of its weights"),
    "a weight too many": (
        lambda f: change_weights(f, lambda w: w.update({"score.weight": torch.zeros(2)})),
        "hold 1 weights",
    ),
    "another shape": (
        lambda f: change_weights(f, lambda w: w.update({"model.norm.weight": torch.ones(8)})),
        r"model\.norm\.weight: \[8\] and not \[16\]",
    ),
    "a weight is NaN": (lambda f: spoil(f, "model.norm.weight", torch.nan), "NaN or infinite"),
    "weights are cut off": (cut_weights, "could not be loaded as a policy"),
    "weights are missing": (lambda f: lose(f, "model.safetensors"), "could not be loaded as a policy"),
    "no config": (lambda f: lose(f, "config.json"), "no config.json"),
    "the config is cut off": (
        lambda f: (f / "config.json").write_text("{"),
        "no config.json that can be read",
    ),
    "an unknown kind": (lambda f: (f / "policy.json").write_text('{"kind": "wise"}'), "unknown kind 'wise'"),
    "no kind": (lambda f: (f / "policy.json").write_text("[]"), "damaged"),
    "no powers": (lambda f: (f / "log_linear.json").write_text("{"), "no JSON"),
    "no adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "are no rank and scale"),
}


@pytest.mark.parametrize("damage", POLICY_DAMAGES)
def test_a_damaged_policy_is_refused_in_one_line(model_folder, tmp_path, damage):
    backbone = loaded(model_folder, tmp_path, plain_problem(), lora=damage == "no adapter")
    change, said = POLICY_DAMAGES[damage]
    backbone.load_policy(model_folder)  # whole, it is one
    change(model_folder)
    with pytest.raises(UserError, match=said) as error:
        backbone.load_policy(model_folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("tokenizer_config.json", "model_max_length", "long"),
        ("generation_config.json", "eos_token_id", [[1]]),
    ],
)
def test_settings_that_make_no_sense_are_one_line(model_folder, tmp_path, file, name, value):
    path = model_folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(UserError, match="could not be loaded"):
        loaded(model_folder, tmp_path, plain_problem())

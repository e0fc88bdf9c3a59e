"""Learned rewards as transformers' classifiers: the same number, whatever the model, adapters and head."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from prefbench.backbone.language import classifier
from prefbench.backbone.language.classifier import save_classifier
from prefbench.backbone.language.policies import LMReward
from prefbench.errors import UserError

LORA = {"r": 2, "lora_alpha": 8}
PROMPTS = ["the film", "a", "my sister said the plot", "the film"]
RESPONSES = [" was a joy", "", " was worse and the music was dull", " is fine."]
SHIFT, SCALE = -1.5, 2.5


def fitted(backbone, seed=0) -> LMReward:
    """A reward whose every trained weight has been moved, as training does."""
    model = backbone.new_reward(seed)
    stir = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in filter(lambda each: each.requires_grad, model.parameters()):
            weight += 0.1 * torch.randn(weight.shape, generator=stir)
    return LMReward(model, backbone)


@pytest.mark.parametrize("pooling", ["last", "sum"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_transformers_gives_the_normalised_reward(tiny_backbone, tmp_path, architecture, lora, pooling):
    backbone = tiny_backbone(architecture, lora=lora, pooling=pooling)
    reward = fitted(backbone)
    before = reward.score(PROMPTS, RESPONSES)
    off = save_classifier(reward, SHIFT, SCALE, "somebody", tmp_path, (PROMPTS, RESPONSES))
    assert off < 1e-5
    np.testing.assert_array_equal(reward.score(PROMPTS, RESPONSES), before, "the reward itself is left alone")
    kind = AutoModelForSequenceClassification if pooling == "last" else AutoModelForTokenClassification
    model = kind.from_pretrained(tmp_path).eval()
    settings = model.config.prefbench
    found = []
    for p, r in zip(backbone.codec.prompts(PROMPTS), backbone.codec.responses(RESPONSES), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([p + r])).logits
        found.append(float(logits[0, 0] if pooling == "last" else logits[0, len(p) :, 0].sum()))
    expected = (before - SHIFT) / SCALE
    np.testing.assert_allclose(np.array(found) + settings["shift"], expected, atol=1e-5)
    folded = architecture == "gpt2" and pooling == "last"
    assert (settings["shift"] == 0.0) == folded
    assert settings["reward"] == "somebody" and settings["pooling"] == pooling


def test_the_padding_token_is_new_where_the_old_one_ends_texts(tiny_backbone, tmp_path):
    backbone = tiny_backbone("gpt2", pooling="last")
    rows = backbone.reference.model.get_input_embeddings().num_embeddings
    save_classifier(fitted(backbone), SHIFT, SCALE, "a", tmp_path, (PROMPTS, RESPONSES))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["pad_token_id"] == rows and config["vocab_size"] == rows + 1
    assert config["prefbench"]["end_token_id"] == backbone.codec.tokenizer.eos_token_id
    assert backbone.codec.tokenizer.pad_token == backbone.codec.tokenizer.eos_token, "ours is as it was"
    weights = load_file(tmp_path / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_weights_in_bfloat16_are_merged_in_float32(tiny_backbone, tmp_path):
    backbone = tiny_backbone("llama", pooling="last", lora=None)
    backbone.reference.model.to(torch.bfloat16)
    reward = fitted(backbone)
    off = save_classifier(reward, 0.0, 1.0, "a", tmp_path, (PROMPTS, RESPONSES))
    assert 1e-6 < off < classifier.MOST_OFF[torch.bfloat16]
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path).dtype == torch.float32


def test_a_classifier_that_computes_something_else_is_refused(tiny_backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "_final_norm", lambda trunk: trunk.h[0].ln_1)
    reward = fitted(tiny_backbone("gpt2", pooling="last"))
    with pytest.raises(UserError, match="computes something else than the reward that was learned"):
        save_classifier(reward, SHIFT, SCALE, "a", tmp_path, (PROMPTS, RESPONSES))
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_without_a_classifier_is_one_line(tiny_backbone, tmp_path, monkeypatch):
    def none_such(kind, settings):
        raise ValueError("Unrecognized configuration class\nfor this kind of AutoModel")

    monkeypatch.setattr(classifier, "built", none_such)
    reward = fitted(tiny_backbone("gpt2", pooling="last"))
    with pytest.raises(UserError, match="transformers has no AutoModelForSequenceClassification") as error:
        save_classifier(reward, SHIFT, SCALE, "a", tmp_path, (PROMPTS, RESPONSES))
    assert "\n" not in str(error.value)

"""Language models combined: averaged weights, products, mixtures, and means over their samples."""

import numpy as np
import pytest
import torch

from prefbench import seeds
from prefbench.backbone.language import forward
from prefbench.backbone.language.policies import LMPolicy
from prefbench.learn.simple_policies import MixturePolicy

PROMPTS = ["the film", "my sister said", "the acting is"] * 4
RESPONSES = [" was a joy.", " the plot was dull.", " fine."] * 4


def moved(backbone, seed: int, by: float = 0.1) -> LMPolicy:
    """A policy some way from the reference, in what training would change."""
    model = backbone.trainable_copy(0)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += by * torch.randn(weight.shape, generator=noise)
    return LMPolicy(model.eval().requires_grad_(False), backbone)


@pytest.fixture(params=["gpt2", "llama"])
def backbone(request, tmp_path, tiny_backbone):
    return tiny_backbone(request.param, folder=tmp_path)


def test_a_product_with_one_factor_is_that_factor(backbone):
    first, second = moved(backbone, 1), moved(backbone, 2)
    product = backbone.log_linear([first, second], [1.0, 0.0])
    assert np.allclose(product.logprob(PROMPTS, RESPONSES), first.logprob(PROMPTS, RESPONSES), atol=1e-5)
    drawn = [policy.sample(PROMPTS, 2, seeds.child(0, "s")) for policy in (product, first)]
    assert drawn[0] == drawn[1]


def test_a_product_is_normalised_at_every_token(backbone):
    """The chance of every first token, from the definition."""
    first, second = moved(backbone, 1), moved(backbone, 2)
    product = backbone.log_linear([first, second], [0.3, 0.7])
    ids = torch.tensor([backbone.codec.prompts(["the film"])[0]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "position_ids": torch.arange(ids.shape[1])[None],
    }
    logs = [policy.model(**inputs).logits[0, -1].log_softmax(-1) for policy in (first, second)]
    expected = (0.3 * logs[0] + 0.7 * logs[1]).log_softmax(-1)
    found = forward.reader(product.model, ids.tolist(), 1, 1, backbone.device).logits[0].log_softmax(-1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_products_samples_follow_its_probabilities(backbone):
    """E over samples of p_other / p is one for any other distribution; here the reference."""
    product = backbone.log_linear([moved(backbone, 1, 0.05), moved(backbone, 2, 0.05)], [0.5, 0.5])
    texts = [row[0] for row in product.sample(["the film"] * 600, 1, seeds.child(0, "s"))]
    # Text does not always encode back to the tokens that were drawn, so only a near match can be asked for.
    ratio = np.exp(
        backbone.reference.logprob(["the film"] * 600, texts) - product.logprob(["the film"] * 600, texts)
    )
    assert 0.6 < np.median(ratio) < 1.7


@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_alpha": 4}])
def test_an_average_lies_between_and_touches_nothing_else(lora, tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path, lora=lora)
    first, second = moved(backbone, 1), moved(backbone, 2)
    soup = backbone.average([first, second], [0.25, 0.75])
    parts = (dict(policy.model.named_parameters()) for policy in (first, second, soup))
    for (name, a), b, mixed in zip(
        *(part.items() if i == 0 else part.values() for i, part in enumerate(parts)), strict=True
    ):
        expected = 0.25 * a + 0.75 * b if lora is None or "lora_" in name else a
        assert torch.allclose(mixed, expected, atol=1e-6), name
    alone = backbone.average([first], [1.0])
    assert np.allclose(alone.logprob(PROMPTS, RESPONSES), first.logprob(PROMPTS, RESPONSES))


@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_alpha": 4}])
def test_products_and_mixtures_come_back_from_disk(lora, tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path, lora=lora)
    first, second = moved(backbone, 1), moved(backbone, 2)
    for number, policy in enumerate(
        (backbone.log_linear([first, second], [0.4, 0.6]), MixturePolicy((first, second), (0.4, 0.6)))
    ):
        folder = tmp_path / f"saved-{number}"
        folder.mkdir()
        policy.save(folder)
        again = backbone.load_policy(folder)
        assert np.allclose(again.logprob(PROMPTS, RESPONSES), policy.logprob(PROMPTS, RESPONSES), atol=1e-6)
        assert again.sample(PROMPTS, 2, seeds.child(0, "s")) == policy.sample(PROMPTS, 2, seeds.child(0, "s"))


def test_a_mixtures_probability_is_the_weighted_sum(backbone):
    first, second = moved(backbone, 1), moved(backbone, 2)
    mixture = MixturePolicy((first, second), (0.4, 0.6))
    parts = [np.exp(policy.logprob(PROMPTS, RESPONSES)) for policy in (first, second)]
    assert np.allclose(np.exp(mixture.logprob(PROMPTS, RESPONSES)), 0.4 * parts[0] + 0.6 * parts[1])


def test_expectations_are_means_over_a_named_draw(backbone):
    def words(prompts, responses):
        return np.array([[len(text.split()), 1.0] for text in responses])

    def mean(batch, name):
        return backbone.expect(backbone.reference, PROMPTS, words, batch=batch, seed=0, names=(name,))

    assert mean(5, "a")[1] == 1.0
    assert (mean(12, "a") == mean(12, "a")).all()
    assert mean(12, "a")[0] != mean(12, "b")[0]

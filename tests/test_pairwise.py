"""DPO's loss against TRL's and by hand, and that training on it does what it says."""

import math

import numpy as np
import pytest
import torch

from prefbench.backbone.base import Pairs
from prefbench.backbone.causal_lm import LMPolicy
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import dpo_loss, train
from prefbench.store import Work


def test_by_hand():
    assert dpo_loss(torch.zeros(1), 0.1).item() == pytest.approx(math.log(2))
    # beta D = 2: -log sigmoid(2) = log(1 + e^-2)
    assert dpo_loss(torch.tensor([4.0]), 0.5).item() == pytest.approx(math.log1p(math.exp(-2)))
    # with a tenth of the labels flipped: 0.9 log(1 + e^-2) + 0.1 log(1 + e^2)
    smoothed = 0.9 * math.log1p(math.exp(-2)) + 0.1 * math.log1p(math.exp(2))
    assert dpo_loss(torch.tensor([4.0]), 0.5, 0.1).item() == pytest.approx(smoothed)


@pytest.mark.parametrize(("seed", "beta"), [(0, 0.3), (1, 0.1), (2, 0.05)])
def test_the_loss_is_trls(seed, beta, tmp_path, tiny_backbone):
    """TRL's own trainer computes the loss of a batch of random models; ours goes from text to loss.

    TRL's sigmoid loss has no label smoothing; that is checked by hand above.
    """
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    backbone = tiny_backbone(folder=tmp_path, response_tokens=40, context=64, seed=seed)
    prompts = ["the film", "my sister said", "the acting is", "it runs"]
    chosen = [" was a joy.", " the plot was dull.", " fine.", " for three hours."]
    rejected = [" was worse.", " one of them sings.", " a mess, but fine.", " after one."]
    model = backbone.trainable_copy(0)
    with torch.no_grad():  # the policy must differ from the reference, or every D is zero
        for number, weight in enumerate(model.parameters()):
            weight += 0.05 * torch.randn(
                weight.shape, generator=torch.Generator().manual_seed(100 * seed + number)
            )
    config = trl.DPOConfig(
        output_dir=str(tmp_path / "trl"),
        beta=beta,
        loss_type=["sigmoid"],
        per_device_train_batch_size=len(prompts),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        disable_dropout=True,
    )
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=backbone.reference.model,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts, "chosen": chosen, "rejected": rejected}),
        processing_class=backbone.codec.tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    model.eval()
    with torch.no_grad():
        theirs = float(trainer.compute_loss(model, batch))
    policy = LMPolicy(model, backbone)
    reference = backbone.reference
    difference = (policy.logprob(prompts, chosen) - policy.logprob(prompts, rejected)) - (
        reference.logprob(prompts, chosen) - reference.logprob(prompts, rejected)
    )
    assert np.abs(difference).max() > 0.1
    ours = float(dpo_loss(torch.from_numpy(difference), beta).mean())
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_training_raises_the_chosen_over_the_rejected(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    pairs = Pairs(["the film"] * 32, [" was a joy."] * 32, [" was dull."] * 32)
    policy = train(
        backbone.at(Work("policy", tmp_path)),
        pairs,
        lambda difference: dpo_loss(difference, 0.1),
        PairwiseOptions(epochs=5, batch=8),
        seed=0,
    )

    def margin(model):
        return (model.logprob(["the film"], [" was a joy."]) - model.logprob(["the film"], [" was dull."]))[0]

    assert margin(policy) > margin(backbone.reference) + 1.0

"""KTO's loss of a batch against TRL's, and the divergence that training estimates on the way."""

import numpy as np
import pytest
import torch

from prefbench.backbone.language.batches import Part
from prefbench.backbone.language.held_out import pairwise_score
from prefbench.backbone.language.pairwise import Drift
from prefbench.backbone.language.training import PairBatches
from prefbench.errors import UserError
from prefbench.learn.interface import Pairs, PairwiseRequest
from prefbench.learn.options import PairTrainingOptions
from prefbench_baselines.kto import KTO

PAIRS = Pairs(
    ["the film", "my sister said", "the acting is", "it runs"],
    [" was a joy.", " the plot was dull.", " fine.", " for three hours."],
    [" was worse.", " one of them sings.", " a mess, but fine.", " after one."],
)


def moved(backbone, seed: int, by: float = 0.05):
    """A copy of the reference that differs from it, or every log-ratio is zero."""
    model = backbone.trainable_copy(0)
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(100 * seed + number)
            weight += by * torch.randn(weight.shape, generator=generator)
    return model


def estimated(backbone, model) -> torch.Tensor:
    """The divergence that training would take for all pairs at once, in two parts."""
    order = PairBatches(backbone, PAIRS, len(PAIRS.prompts), 1, 0, "pairwise")
    drift = Drift(backbone, model, PAIRS, order)
    return drift.divergence(0, [Part(np.array([0, 2])), Part(np.array([1, 3]))])


@pytest.mark.parametrize(("seed", "beta"), [(2, 0.1), (7, 0.5)])
def test_the_loss_is_trls(seed, beta, tmp_path, tiny_backbone):
    """Chosen and then rejected in one batch of singles: its responses go to the prompts after theirs."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    backbone = tiny_backbone(folder=tmp_path, response_tokens=40, context=64, seed=seed)
    model = moved(backbone, seed)
    order = PairBatches(backbone, PAIRS, 4, 1, 0, "pairwise").rows[0]
    given = PAIRS[order]
    config = trl.KTOConfig(
        output_dir=str(tmp_path / "trl"),
        beta=beta,
        per_device_train_batch_size=2 * len(given),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        disable_dropout=True,
    )
    singles = {
        "prompt": [*given.prompts, *given.prompts],
        "completion": [*given.chosen, *given.rejected],
        "label": [True] * len(given) + [False] * len(given),
    }
    trainer = trl.KTOTrainer(
        model=model,
        ref_model=backbone.reference.model,
        args=config,
        train_dataset=Dataset.from_dict(singles),
        processing_class=backbone.codec.tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    model.eval()
    with torch.no_grad():
        theirs = float(trainer.compute_loss(model, batch))
    kl = estimated(backbone, model)
    assert float(kl) > 0.1
    assert float(kl) == pytest.approx(trainer._metrics["eval"]["kl"][0], abs=1e-5)
    request = PairwiseRequest(
        given, KTO(beta, 1.0, 1.0), PairTrainingOptions(checkpoint="best"), seed=0, held_out=given
    )
    with torch.no_grad():
        assert -pairwise_score(backbone, model, request)() == pytest.approx(theirs, abs=1e-5)


def test_training_raises_the_chosen_and_lowers_the_rejected(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    options = PairTrainingOptions(epochs=10, batch=4)
    policy = backbone.fit_pairwise(PAIRS, KTO(0.3, 1.0, 1.0), options, seed=0)
    for side, sign in ((PAIRS.chosen, 1), (PAIRS.rejected, -1)):
        moved_by = policy.logprob(PAIRS.prompts, side) - backbone.reference.logprob(PAIRS.prompts, side)
        assert sign * moved_by.mean() > 0.5


def test_soft_tokens_take_a_loss_of_differences(tmp_path, tiny_backbone):
    with pytest.raises(UserError, match="need a loss of the difference"):
        tiny_backbone(folder=tmp_path).fit_soft_tokens(
            PAIRS,
            KTO(0.3, 1.0, 1.0),
            PairTrainingOptions(),
            seed=0,
            tokens=1,
            clusters=0,
            user_weight=0.5,
        )

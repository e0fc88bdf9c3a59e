"""Comparisons that are read from files of personas."""

import json
from collections import Counter
from pathlib import Path

import pytest

from prefbench.data.personas import read_personas
from support.refusals import refusal

PERSONAS = Path(__file__).parent / "personas"


def rows_of(prompt="p", a="one", b="two") -> dict[str, str]:
    return {"user_input": prompt, "completion_a": a, "completion_b": b}


def persona(folder: Path, text, code="P1A") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = text if isinstance(text, str) else json.dumps(text)
    (folder / f"{code}.json").write_text(text, encoding="utf-8")
    return folder


def test_repeats_are_removed_and_contradictions_dropped():
    loaded = read_personas(str(PERSONAS), ["P1A", "P1B"])
    assert loaded.source == "personas"
    common = {"transcripts_differ": 0, "without_text": 0, "same_response": 0, "prompts": 60}
    first = common | {"rows": 152, "repeated": 31, "contradictory": 2, "comparisons": 119}
    second = common | {"rows": 152, "repeated": 32, "contradictory": 0, "comparisons": 120}
    assert loaded.report == {"source": "personas", "read": {"P1A": first, "P1B": second}}
    assert Counter(loaded.rows["group"]) == {"P1A": 119, "P1B": 120}
    assert not loaded.rows.duplicated().any()
    written = json.loads((PERSONAS / "rm_training" / "P1A.json").read_text())
    kept = {tuple(row.values()) for row in written}
    there = set(zip(*(loaded.rows[c] for c in ("prompt", "chosen", "rejected")), strict=True))
    mine = loaded.rows["group"] == "P1A"
    assert (
        set(zip(*(loaded.rows.loc[mine, c] for c in ("prompt", "chosen", "rejected")), strict=True)) <= kept
    )
    assert len(kept - there) <= 2  # both directions of the contradicted one, if P1B has neither


def test_every_place_and_both_forms_give_the_same(tmp_path):
    rows = [rows_of(), rows_of("q"), rows_of()]
    array = persona(tmp_path / "a" / "rm_training", rows).parent
    lines = "\n".join(map(json.dumps, rows)) + "\n\n"
    deeper = persona(tmp_path / "b" / "data" / "rm_training", "\ufeff" + lines).parents[1]
    flat = persona(tmp_path / "c", lines)
    loaded = [read_personas(str(folder), ["P1A"]) for folder in (array, deeper, flat, array / "rm_training")]
    assert len({each.digest for each in loaded}) == 1
    assert loaded[0].rows["prompt"].tolist() == ["p", "q"]
    # A persona named twice is read once.
    assert read_personas(str(flat), ["P1A", "P1A"]).report["read"]["P1A"]["rows"] == 3


def test_what_is_no_comparison_is_counted(tmp_path):
    rows = [
        rows_of(),
        rows_of(a=" one", b="one"),
        rows_of(b=" \n"),
        rows_of(prompt=""),
        rows_of("q", "y", "n"),
    ]
    rows += [rows_of("q", "n", "y")] * 2
    loaded = read_personas(str(persona(tmp_path, rows)), ["P1A"])
    assert loaded.report["read"]["P1A"] == {
        "rows": 7,
        "transcripts_differ": 0,
        "without_text": 2,
        "same_response": 1,
        "repeated": 1,
        "contradictory": 2,
        "comparisons": 1,
        "prompts": 1,
    }
    assert "no usable comparison" in refusal(
        read_personas, str(persona(tmp_path / "none", rows[1:])), ["P1A"]
    )


def test_half_a_surrogate_pair_becomes_encodable(tmp_path):
    text = '[{"user_input": "a \\ud83d", "completion_a": "b", "completion_b": "c"}]'
    loaded = read_personas(str(persona(tmp_path, text)), ["P1A"])
    assert loaded.rows["prompt"].tolist() == ["a ?"] and loaded.digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows"),
        ("[]", "has no rows"),
        ("[{]", "is not readable as JSON ("),
        ('{"user_input"', "line 1: "),
        ("\n" + json.dumps(rows_of()) + "\n{", "line 3: "),
        ("[" * 100_000, "is not readable as JSON (it has more than 64 levels"),
        ([rows_of(), "p"], "row 2 is not an object but 'p'"),
        ([rows_of(), {"user_input": "p", "completion_a": "x"}], "row 2 has no 'completion_b'"),
        ([rows_of(), rows_of(a=None)], "row 2 has None as 'completion_a'"),
        ([rows_of(prompt=["p"])], "row 1 has ['p'] as 'user_input'"),
    ],
)
def test_damaged_persona_files(tmp_path, text, said):
    message = refusal(read_personas, str(persona(tmp_path, text)), ["P1A"])
    assert said in message and message.startswith("'P1A.json'")


def test_persona_files_that_are_not_text(tmp_path):
    (tmp_path / "P1A.json").write_bytes(b"[\xff]")
    assert "not readable as JSON ('utf-8' codec" in refusal(read_personas, str(tmp_path), ["P1A"])
    (tmp_path / "P1B.json").mkdir()
    assert "has no P1B.json" in refusal(read_personas, str(tmp_path), ["P1B"])


def test_missing_folders_and_personas(tmp_path):
    assert "no such file or folder" in refusal(read_personas, str(tmp_path / "x"), ["P1A"])
    assert "no such file or folder" in refusal(read_personas, "a\0b", ["P1A"])
    assert "no such file or folder" in refusal(read_personas, "", ["P1A"])
    assert "has no P1C.json, nor have rm_training" in refusal(read_personas, str(PERSONAS), ["P1A", "P1C"])
    path = persona(tmp_path, [rows_of()]) / "P1A.json"
    assert "is a file: name the folder" in refusal(read_personas, str(path), ["P1A"])
    for code in ("../P1A", "P1A/x", "", "P1A\n", "P 1"):
        assert "is no code: use letters" in refusal(read_personas, str(PERSONAS), [code])


def test_links_out_of_the_persona_folder_are_refused(tmp_path):
    outside = persona(tmp_path / "out", [rows_of()])
    inside = tmp_path / "in" / "rm_training"
    inside.mkdir(parents=True)
    (inside / "P1A.json").symlink_to(outside / "P1A.json")
    assert "is a link out of the folder" in refusal(read_personas, str(tmp_path / "in"), ["P1A"])
    (tmp_path / "in2").mkdir()
    (tmp_path / "in2" / "rm_training").symlink_to(outside)
    assert "is a link out of the folder" in refusal(read_personas, str(tmp_path / "in2"), ["P1A"])
    (inside / "P1A.json").unlink()
    persona(inside, [rows_of()], "P1B")
    (inside / "P1A.json").symlink_to(inside / "P1B.json")
    assert len(read_personas(str(tmp_path / "in"), ["P1A"]).rows) == 1

import gzip
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prefbench.data import given as given_module
from prefbench.data.comparisons import Comparisons
from prefbench.data.given import LEAST_GOLD_PAIRS, Given, assemble
from prefbench.data.hh import read_hh
from prefbench.data.personas import read_personas
from prefbench.errors import UserError

DATA = Path(__file__).parents[1] / "data"
PERSONAS = DATA / "personas"
HH = DATA / "hh"
REAL = Path(__file__).parents[3] / "shared" / "data" / "hh_two_group"


def refusal(function, *args, **more) -> str:
    with pytest.raises(UserError) as caught:
        function(*args, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- personas


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
        assert "is no code of letters" in refusal(read_personas, str(PERSONAS), [code])


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


# --- HH-RLHF


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


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/hh_two_group is not here")
def test_real_comparisons_dealt_out():
    dealt = assemble(
        read_hh(str(REAL / "both_test.jsonl.gz")),
        {"helpful": 0.8, "harmless": 0.2},
        annotators=40,
        pairs_per_annotator=25,
        test_prompts=300,
        gold_annotators=20,
        seed=0,
    )
    assert dealt.report["pairs"]["train"] == {"helpful": 800, "harmless": 200}
    assert dealt.report["pairs"]["validation"] == {"helpful": 160, "harmless": 40}
    assert min(dealt.report["pairs"]["gold"].values()) > 400
    # Each of these was labelled for one of the two alone.
    assert dealt.report["pairs_disagreed_on"] == {"helpful vs harmless": {"comparisons": 0, "share": None}}


# --- dealing out


def made(groups: dict[str, int], prompts: int, seed: int = 0, source: str = "made") -> Comparisons:
    """Comparisons of so many pairs of each group, over prompts that all of them may share."""
    rng = np.random.default_rng(seed)
    rows = []
    for group, pairs in groups.items():
        for index in range(pairs):
            sides = [f"answer {index}", f"reply {index}"]
            first = int(rng.integers(2))
            rows.append((f"prompt {rng.integers(prompts)}", sides[first], sides[1 - first], group))
    frame = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected", "group"], dtype=object)
    return Comparisons(source, frame, {"source": source, "read": {}})


def dealt(comparisons: Comparisons, shares=None, **more) -> Given:
    sizes = {
        "annotators": 5,
        "pairs_per_annotator": 4,
        "test_prompts": 10,
        "gold_annotators": 2,
        "seed": 0,
    } | more
    return assemble(comparisons, shares or {"a": 0.8, "b": 0.2}, **sizes)


@settings(max_examples=30)
@given(
    prompts=st.sampled_from([120, 400, 5000]),
    seed=st.integers(0, 2**30),
    sizes=st.tuples(st.integers(2, 12), st.integers(1, 8), st.integers(10, 40), st.integers(1, 30)),
    ratio=st.sampled_from([0.1, 0.2, 0.25, 1 / 3, 0.5]),
    held_out=st.integers(0, 60),
    names=st.permutations(["a", "b", "c"]),
    groups=st.integers(2, 3),
)
def test_whatever_is_asked_for(prompts, seed, sizes, ratio, held_out, names, groups):
    annotators, each, testing, gold = sizes
    names = names[:groups]
    shares = dict.fromkeys(names[1:], round(ratio / (groups - 1), 6))
    shares = {names[0]: round(1 - sum(shares.values()), 6)} | shares
    comparisons = made({"a": 400, "b": 300, "c": 500}, prompts, seed)
    more = {"annotators": annotators, "pairs_per_annotator": each, "test_prompts": testing}
    try:
        result = assemble(
            comparisons, shares, **more, gold_annotators=gold, held_out_pairs=held_out, seed=seed
        )
    except UserError as error:
        # 300 pairs of the smallest group bear all but the largest of these sizes.
        assert "leave a group without any" in str(error) or annotators * each > 30
        assume(False)
    rows = result.preferences
    parts = {name: rows[rows["split"] == name] for name in ("train", "validation", "test")}
    asked = {name: set(part["prompt"]) for name, part in parts.items()}
    asked["test"] = set(result.prompts.test)
    asked["gold"] = {prompt for triple in result.gold.values() for prompt in triple[0]}
    for one, other in itertools.combinations(asked, 2):
        assert not asked[one] & asked[other]
    assert asked["test"] >= set(parts["test"]["prompt"]) and len(result.prompts.test) == testing
    assert list(result.prompts.train) == parts["train"]["prompt"].tolist()
    assert sorted(result.prompts.validation) == sorted(asked["validation"])

    # Nothing is invented and nothing is used twice.
    columns = ["prompt", "chosen", "rejected", "group"]
    known = Counter(comparisons.rows[columns].itertuples(index=False, name=None))
    golden = [(*row, name) for name, triple in result.gold.items() for row in zip(*triple, strict=True)]
    used = Counter([*rows[columns].itertuples(index=False, name=None), *golden])
    assert not used - known

    # Every annotator has one group and as many train pairs as asked for; shares are by largest remainder.
    assert len(parts["train"]) == annotators * each
    assert set(Counter(parts["train"]["user_id"]).values()) == {each}
    assert set(rows["user_id"]) == set(range(annotators))
    assert (rows.groupby("user_id")["group"].nunique() == 1).all()
    seats = parts["train"].groupby("group")["user_id"].nunique().reindex(names).to_numpy()
    exact = np.array(list(shares.values())) * annotators
    assert seats.sum() == annotators and (np.abs(seats - exact) < 1).all()
    for part in parts.values():
        per_group = part.groupby("group")["user_id"].value_counts()
        for name in part["group"].unique():
            assert per_group[name].max() - per_group[name].reindex(part["user_id"].unique()).min() <= 1

    # Validation: a fifth in the same shares, or less.
    checked = Counter(parts["validation"]["group"])
    total = annotators * each // 5
    for name, count in zip(names, seats.tolist(), strict=True):
        assert 1 <= checked[name] <= max(1, total * count / annotators)
    # Test: groups take turns until one has no more.
    on_test = comparisons.rows[comparisons.rows["prompt"].isin(asked["test"])]
    there = Counter(on_test.loc[on_test["group"].isin(names), "group"])
    tested = Counter(parts["test"]["group"])
    assert sum(tested.values()) == min(held_out, sum(there.values()))
    for one, other in itertools.permutations(names, 2):
        assert tested[one] <= tested[other] + 1 or tested[other] == there[other]
    # Gold: what was asked for, or a quarter of what is not on test prompts.
    for name in names:
        most = int((comparisons.rows["group"] == name).sum() - there[name]) // 4
        assert len(result.gold[name][0]) == min(max(gold * each, LEAST_GOLD_PAIRS), most)
    assert result.report["pairs"]["train"] == {
        name: int(n) * each for name, n in zip(names, seats, strict=True)
    }
    texts = {prompt + side for prompt, *sides in parts["train"][columns[:3]].to_numpy() for side in sides}
    assert set(result.corpus) >= texts and len(result.corpus) == len(set(result.corpus))
    kept = comparisons.rows[~comparisons.rows["prompt"].isin(asked["test"] | asked["gold"])]
    kept = kept[kept["group"].isin(names)]
    assert set(result.corpus) == {*(kept["prompt"] + kept["chosen"]), *(kept["prompt"] + kept["rejected"])}


def test_the_same_seed_deals_the_same_and_another_seed_does_not():
    comparisons = made({"a": 300, "b": 300}, 100)
    one, same, other = (dealt(comparisons, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one.preferences, same.preferences)
    assert (one.prompts, one.gold, one.corpus, one.report) == (
        same.prompts,
        same.gold,
        same.corpus,
        same.report,
    )
    assert one.prompts.test != other.prompts.test
    # The order of the rows that were read does not matter.
    turned = Comparisons("made", comparisons.rows.iloc[::-1].reset_index(drop=True), comparisons.report)
    pd.testing.assert_frame_equal(dealt(turned, seed=3).preferences, one.preferences)


def test_test_prompts_and_gold_pairs_do_not_depend_on_the_annotators():
    comparisons = made({"a": 400, "b": 400}, 150)
    base = dealt(comparisons)
    for more in ({"shares": {"b": 0.6, "a": 0.4}}, {"annotators": 10}, {"shares": {"a": 0.5, "b": 0.5}}):
        changed = dealt(comparisons, **more)
        assert changed.prompts.test == base.prompts.test
        assert changed.gold == base.gold
        assert changed.corpus == base.corpus


def test_neither_user_ids_nor_the_order_of_rows_tell_the_group():
    comparisons = made({"a": 1200, "b": 1200}, 2000)
    places, first = [], []
    for seed in range(20):
        rows = dealt(comparisons, annotators=10, pairs_per_annotator=30, seed=seed).preferences
        places.append(rows.loc[rows["group"] == "b", "user_id"].unique())
        train = rows[rows["split"] == "train"]["group"].to_numpy()
        first.append((train[: len(train) // 2] == "b").mean())
    # Two of ten annotators in twenty runs: the mean id of 40 draws has a standard error of about 0.43.
    assert abs(np.concatenate(places).mean() - 4.5) < 1.2
    assert abs(np.mean(first) - 0.2) < 0.02


def test_validation_gives_way_to_training_and_keeps_the_shares():
    # b has a hundred pairs: a quarter for gold, 60 for training, and so fifteen at most to validate on.
    comparisons = made({"a": 4000, "b": 110}, 100_000)
    result = dealt(comparisons, {"a": 0.9, "b": 0.1}, annotators=10, pairs_per_annotator=70)
    report = result.report["pairs"]
    left = 110 - report["test"]["b"] - report["gold"]["b"] - 70
    assert 0 < left < 14
    assert report["validation"] == {"a": left * 9, "b": left}


def test_disagreement_counts_what_both_labelled():
    rows = []
    for index in range(200):
        rows.append((f"p{index}", "x", "y", "a"))
        if index % 2 == 0:  # b labelled half of them, and every fourth of those the other way round
            rows.append((f"p{index}", *(("y", "x") if index % 8 == 0 else ("x", "y")), "b"))
        rows.append((f"p{index}", "x", "z", "b"))
    frame = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected", "group"], dtype=object)
    result = dealt(Comparisons("made", frame, {}))
    assert result.report["pairs_disagreed_on"] == {"a vs b": {"comparisons": 100, "share": 0.25}}


def test_a_corpus_has_an_end(monkeypatch):
    monkeypatch.setattr(given_module, "CORPUS_TEXTS", 30)
    short = dealt(made({"a": 300, "b": 300}, 5000)).corpus
    monkeypatch.undo()
    whole = dealt(made({"a": 300, "b": 300}, 5000)).corpus
    assert len(short) == 30 and short == whole[:30] and len(whole) > 500


def test_the_fixture_is_enough_for_a_small_problem():
    loaded = read_personas(str(PERSONAS), ["P1A", "P1B"])
    result = dealt(loaded, {"P1A": 0.75, "P1B": 0.25}, annotators=8, pairs_per_annotator=6)
    assert result.report["pairs"]["train"] == {"P1A": 36, "P1B": 12}
    told = result.report["pairs_disagreed_on"]["P1A vs P1B"]
    assert told["comparisons"] > 100 and told["share"] > 0.7
    assert json.loads(json.dumps(result.report)) == result.report


def test_too_few_comparisons():
    missing = refusal(dealt, made({"a": 500}, 200))
    assert missing == "'made' has no comparison of group 'b': name data that has both groups'."
    prompts = refusal(dealt, made({"a": 500, "b": 500}, 10))
    assert "comparisons of 10 different prompts, and 10 are asked for" in prompts
    assert "lower task.test_prompts" in prompts
    gold = refusal(dealt, made({"a": 500, "b": 79}, 10_000))
    assert "pairs of group 'b' on other than test prompts, and 80 are needed" in gold
    train = refusal(dealt, made({"a": 600, "b": 100}, 10_000), annotators=50, pairs_per_annotator=10)
    assert "pairs of group 'b' to train on" in train and "and 100 are needed" in train
    assert "lower task.annotators, task.pairs_per_annotator or task.test_prompts" in train
    # Exactly as many as training takes leaves none to validate on.
    comparisons = made({"a": 600, "b": 100}, 10_000)
    all_gold = {"gold_annotators": 1000}
    report = dealt(comparisons, **all_gold).report["pairs"]
    rest = 100 - report["test"]["b"] - report["gold"]["b"]
    even = {"a": 0.5, "b": 0.5}
    none = refusal(dealt, comparisons, even, annotators=2, pairs_per_annotator=rest, **all_gold)
    assert "no pair of group 'b' left to validate on" in none
    assert "leave a group without any" in refusal(dealt, comparisons, {"a": 0.95, "b": 0.05})


def test_every_split_is_listed_in_the_report():
    report = dealt(made({"a": 300, "b": 300}, 400)).report
    assert set(report["pairs"]) == set(report["different_prompts"]) == {"train", "validation", "test", "gold"}
    assert report["different_prompts"]["test"] == 10
    assert report["comparisons"] == made({"a": 300, "b": 300}, 400).digest[:16]

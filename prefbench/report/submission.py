"""Results that change hands: checked against their evidence, packed without a trace of the machine, merged.

Whatever comes from a stranger is data here and nothing else: it is parsed by a schema, recomputed from its
items and written anew, so that a file that was sent is never copied. A text that cannot be parsed is the
sender's mistake and ends as one line.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError
from prefbench.files import open_regular
from prefbench.report.leaderboard import (
    COLUMNS,
    LATER,
    board_key,
    config_hash,
    frame_of,
    read_csv,
    rows_of,
)
from prefbench.report.record import (
    DISTRIBUTION_FILE,
    ITEMS_FILE,
    PROMPTED_COLUMNS,
    PROMPTED_FILE,
    RECORD_FILE,
    Record,
    comparable,
    find_records,
    item_columns,
    read_evidence,
    read_items,
    read_record,
    verify,
    write_record,
)

if TYPE_CHECKING:
    import pandas as pd

MOST_FILES = 10_000
"""In a folder of data or of a model; one with more is not named by its content."""
TOLERANCE = 1e-6
"""How far a number of the CSV may be from what the runs give: the digits that it is rounded to."""


# ----------------------------------------------------------------------------------------- verifying


def verify_run(folder: Path) -> list[str]:
    """What in a run does not follow from its items, its specification or what is installed here.

    Beyond `record.verify`: the task and its version are known, the aligner needs what the record says,
    the items have no group that the record lacks, and what follows from the texts does (words, empty).

    Returns:
        A sentence for each thing that is wrong; empty if nothing is.

    Raises:
        UserError: if a file is missing or cannot be read.
    """
    from prefbench.errors import PrefbenchError

    folder = Path(folder)
    record = read_record(folder)
    wrong = _unknown(record)
    try:
        wrong += verify(folder)
        if record.status == "ok":
            wrong += _texts_differ(read_items(folder), record)
    except UserError:
        raise
    except PrefbenchError as error:  # exact optima that cannot be found for what the file says
        raise UserError(f"'{folder}': {error}") from None
    except Exception as error:  # there is no end of ways in which a stranger's table may be odd
        raise UserError(
            f"'{folder}': its evidence cannot be evaluated ({type(error).__name__}: {_short(error)}): "
            "run it again."
        ) from None
    return wrong


def _short(error: object) -> str:
    return " ".join(str(error).split())[:100]


def _unknown(record: Record) -> list[str]:
    """What the registry does not know, or knows otherwise."""
    from prefbench.registry import entries

    task = next((entry for entry in entries("task") if entry.name == record.task), None)
    if task is None:
        return [f"task '{record.task}' is not known here: load its file with --plugin"]
    wrong = []
    if record.task_version > task.version:
        wrong.append(f"{record.task}@{record.task_version} is unknown, the newest here is {task.version}")
    aligner = next((entry for entry in entries("aligner") if entry.name == record.aligner), None)
    if aligner is not None and sorted(aligner.needs) != sorted(record.needs):
        said, true = (", ".join(sorted(needs)) or "nothing" for needs in (record.needs, aligner.needs))
        wrong.append(f"needs is {said}, {record.aligner} needs {true}")
    return wrong


def _texts_differ(items: pd.DataFrame, record: Record) -> list[str]:
    from pandas.api.types import infer_dtype

    from prefbench.text import count_words, is_empty

    for name in ("prompt", "response", "reference_response"):
        if infer_dtype(items[name], skipna=True) not in ("string", "empty"):
            return [f"column {name} of the items is not text"]
    wrong = []
    known = {f"utility/{group.name}" for group in record.groups}
    extra = sorted(name for name in items.columns if str(name).startswith("utility/") and name not in known)
    if extra:
        wrong.append(f"the items have {', '.join(extra)}, the record lacks that group")
    for text, words in (("response", "words"), ("reference_response", "reference_words")):
        counted = [count_words(value) for value in items[text].fillna("").tolist()]
        differing = int((items[words].to_numpy() != counted).sum())
        if differing:
            wrong.append(f"{words} is not the number of words of {text} in {differing} rows")
    empty = [is_empty(value) for value in items["response"].fillna("").tolist()]
    differing = int((items["empty"].to_numpy(dtype=bool) != empty).sum())
    if differing:
        wrong.append(f"empty does not fit the response in {differing} rows")
    return wrong


def verify_runs(runs_dir: Path) -> dict[Path, list[str]]:
    """Check every run of a folder, by itself and against the others of its board.

    Runs of one board and seed answer the same prompts. Where some do not, those that differ from the
    majority are named (from the first, where there is none).

    Returns:
        What is wrong with each run's folder; an empty list where nothing is.

    Raises:
        UserError: if there is no record.
    """
    folders = [path.parent for path in sorted(Path(runs_dir).glob(f"*/{RECORD_FILE}"))]
    if not folders:
        raise UserError(f"no record in '{runs_dir}': name a runs folder with --runs-dir.")
    found: dict[Path, list[str]] = {}
    prompts: dict[tuple[str, int], dict[Path, str]] = {}
    for folder in folders:
        try:
            found[folder] = verify_run(folder)
            record = read_record(folder)
            if record.status == "ok" and not found[folder]:
                asked = prompts.setdefault((board_key(record), record.seed), {})
                asked[folder] = _prompts_digest(folder)
        except UserError as error:
            found[folder] = [str(error)]
    for asked in prompts.values():
        usual = Counter(asked.values()).most_common(1)[0][0]
        for folder, digest in asked.items():
            if digest != usual:
                found[folder].append("its prompts are not those of the other runs of its board and seed")
    return found


def _prompts_digest(folder: Path) -> str:
    """Names the prompts and their ids, in order of ids, however many samples each has."""
    import pandas as pd

    items = read_evidence(folder, columns=["prompt_id", "prompt"]).to_pandas()
    once = items.drop_duplicates("prompt_id").sort_values("prompt_id")
    return hashlib.sha256(pd.util.hash_pandas_object(once, index=False).to_numpy().tobytes()).hexdigest()


def verify_csv(path: Path, runs_dir: Path) -> dict[str, list[str]]:
    """Check that every row of a leaderboard follows from the runs in a folder.

    Runs that the file does not name (another configuration, another seed) are left out first, as ranks
    and gaps are relative to what is there. The runs themselves are not checked: see `verify_runs`.

    Returns:
        What is wrong with each row, by task, aligner and configuration; empty where nothing is.

    Raises:
        UserError: if the file or the runs cannot be read.
    """
    import pandas as pd

    published = read_csv(path)
    seeds: dict[str, set[str]] = {}
    for row in published.to_dict("records"):
        seeds.setdefault(row["config_hash"], set()).update(row["seeds"].split())
    runs = [
        (folder, record)
        for folder, record in find_records(Path(runs_dir))
        if str(record.seed) in seeds.get(config_hash(record.spec), ())
    ]
    rows = frame_of(rows_of(runs)).to_dict("records") if runs else []
    built = {row["config_hash"]: row for row in rows}
    blank = {name for name in LATER if published[name].isna().all()}
    result: dict[str, list[str]] = {}
    for number, row in enumerate(published.to_dict("records"), start=2):
        name = (
            f"row {number}, {row['task']} {row['minority_ratio']:g} {row['aligner']} ({row['config_hash']})"
        )
        ours = built.get(row["config_hash"])
        wrong = result.setdefault(name, [])
        if ours is None:
            wrong.append(f"no run of it in '{runs_dir}'")
            continue
        for column in COLUMNS:
            written, computed = row[column], ours[column]
            if column in blank or (pd.isna(written) and pd.isna(computed)):
                continue
            if isinstance(computed, str) or pd.isna(written) or pd.isna(computed):
                same = not pd.isna(written) and not pd.isna(computed) and written == computed
            else:
                same = abs(written - computed) <= TOLERANCE * max(1.0, abs(computed))
            if not same:
                wrong.append(f"{column} is {_cell(written)}, the runs give {_cell(computed)}")
    return result


def _cell(value: Any) -> str:
    import pandas as pd

    return "empty" if pd.isna(value) else str(value)


# ----------------------------------------------------------------------------------------- anonymous

_PATH = re.compile(
    r"(?<![\w/.~\\])(?:~?/(?!/)|file://|[A-Za-z]:[\\/]|\\\\)[^\s'\"<>|:;,()]*[^\s'\"<>|:;,().]"
)
"""An absolute path within a text: of a Unix, below a home, a URL to a file, of Windows or a network share."""
_ARCHITECTURES = (
    (("nvidia", "cuda", "geforce", "tesla", "quadro"), "cuda"),
    (("radeon", "instinct", "rocm"), "rocm"),
    (("aarch64", "arm", "apple"), "arm64"),
    (("x86", "amd64", "intel", "amd", "i386", "i686"), "x86_64"),
)


def anonymous(record: Record) -> Record:
    """The record without what names the machine that it was made on.

    A local path in the specification becomes its base name and, where the path still exists, twelve
    digits of its content's SHA-256, so that two data sets of one name stay apart. `spec_hash` is then the
    changed specification's. Absolute paths in other texts become base names; the commit is dropped, the
    start keeps its day, the hardware its architecture and versions their public part.

    Doing it twice changes nothing more.
    """
    from prefbench.spec import digest

    plain = record.model_dump(mode="json")
    spec = {key: _named_by_content(value) for key, value in record.spec.items()}
    provenance = plain["provenance"]
    for name in ("prefbench", "python", "torch", "transformers"):
        if provenance[name] is not None:  # what follows a plus is the builder's own
            provenance[name] = provenance[name].split("+")[0]
    day = re.match(r"\d{4}-\d{2}-\d{2}", provenance["started"])
    provenance |= {
        "git": None,
        "hardware": _architecture(provenance["hardware"]),
        "started": day[0] if day else "",
    }
    changed = {name: spec[name] for name in ("model", "data") if name in spec}
    plain = _without_paths({**plain, **changed, "spec": None})
    plain |= {"spec": spec, "spec_hash": digest(spec)[:16]}
    return Record.model_validate(plain)


def _architecture(hardware: str) -> str:
    said = hardware.lower()
    return next((name for words, name in _ARCHITECTURES if any(word in said for word in words)), "other")


def _named_by_content(value: Any) -> Any:
    """A specification's value with local paths replaced, at any depth."""
    if isinstance(value, Mapping):
        return {_without_paths(key): _named_by_content(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_named_by_content(item) for item in value]
    if not isinstance(value, str):
        return value
    if not _is_local(value):
        return _without_paths(value)
    name = _base_name(value)
    content = _content_digest(Path(value).expanduser())
    return f"{name}@{content}" if content else name


def _is_local(text: str) -> bool:
    """Whether a text is a path on this or some machine, rather than a word or a hub's `owner/name`."""
    if "\n" in text or len(text) > 4096:
        return False
    if re.match(r"(?:[/~.\\]|file:|[A-Za-z]:[\\/])", text):
        return len(text) > 1
    if "\\" in text:
        return True
    try:
        return ("/" in text or "." in text) and Path(text).exists()
    except (OSError, ValueError):
        return False


def _base_name(text: str) -> str:
    return PureWindowsPath(text).name.lstrip("~") or "path"  # it parts at both kinds of slash


def _content_digest(path: Path) -> str:
    """Twelve digits of the SHA-256 of a file, or of a folder's names and files; empty if there is none."""
    try:
        if path.is_file():
            with open_regular(path) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:12]
        if not path.is_dir():
            return ""
        total = hashlib.sha256()
        parts = list(itertools.islice((p for p in path.rglob("*") if p.is_file()), MOST_FILES + 1))
        if len(parts) > MOST_FILES:  # a record may name any folder, the root of the disk too
            return ""
        for part in sorted(parts):
            with open_regular(part) as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{part.relative_to(path).as_posix()}\0{content}\n".encode())
        return total.hexdigest()[:12]
    except (OSError, ValueError):
        return ""


def _without_paths(value: Any) -> Any:
    """Absolute paths within texts, at any depth and in keys too, as their base names."""
    if isinstance(value, str):
        return _PATH.sub(lambda found: _base_name(found[0]), value)
    if isinstance(value, Mapping):
        return {_without_paths(key): _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return value


def _traces(record: Record, items: Iterable[pd.DataFrame]) -> list[str]:
    """What of this machine is still in a packed run: its home folder, its host's and its user's name."""
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False)
    home = str(Path.home())
    said = []
    host = platform.node()
    # Short names are words: an "ada" in a record accuses nobody.
    if len(host) > 3 and re.search(rf"\b{re.escape(host)}\b", text):
        said.append("the host's name")
    if len(home) > 4 and home in text:
        said.append("the home folder")
    user = Path.home().name
    if len(user) > 4 and re.search(rf"[/\\]{re.escape(user)}\b", text):
        said.append("the user's name")
    for frame in items:
        for name in frame.columns:
            if frame[name].dtype.kind in "biuf":
                continue
            column = frame[name].dropna().astype(str)
            if len(home) > 4 and column.str.contains(home + os.sep, regex=False).any():
                said.append(f"the home folder in {name} of the items")
    return said


# ---------------------------------------------------------------------------- packing and merging


def submit(folders: Sequence[Path], out: Path) -> list[Path]:
    """Pack runs into a folder that is ready for a pull request.

    Each run is verified, rewritten without what names this machine (`anonymous`; only the columns that
    `ITEM_COLUMNS` lists, no metadata) and verified again as packed. Nothing is written unless all pass.

    Args:
        folders: of runs, or folders with runs directly inside.
        out: where the packed runs go; it need not exist.

    Returns:
        The packed runs' folders.

    Raises:
        UserError: if a run does not verify, did not end well, or another run of its specification is in
            `out` with other content.
    """
    return _write_all(_expand(folders), Path(out), packed_before=False)


def merge(folders: Sequence[Path], into: Path) -> list[Path]:
    """Take packed runs into a folder of records, after verifying each.

    Args:
        folders: that `submit` wrote, or single runs of one.
        into: such as `leaderboard/records`; it need not exist.

    Returns:
        The folders that are new; a run that is already there with the same content is passed over.

    Raises:
        UserError: if a run does not verify, was not packed by `submit`, or is already there with other
            content. Nothing was written then.
    """
    return _write_all(_expand(folders), Path(into), packed_before=True)


def _expand(folders: Sequence[Path]) -> list[Path]:
    runs: list[Path] = []
    for folder in map(Path, folders):
        if (folder / RECORD_FILE).is_file():
            runs.append(folder)
            continue
        inside = [path.parent for path in sorted(folder.glob(f"*/{RECORD_FILE}"))]
        if not inside:
            raise UserError(f"no {RECORD_FILE} in '{folder}': name a run's folder.")
        runs += inside
    if not runs:
        raise UserError("no runs: name at least one run's folder.")
    return runs


def _write_all(folders: Sequence[Path], out: Path, packed_before: bool) -> list[Path]:
    """Pack every run beside `out`, and move them in only when all are good."""
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file: name a folder.")
    existing = _by_hash(out)
    beside = next(parent for parent in out.absolute().parents if parent.is_dir())  # so a move is a rename
    new: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(dir=beside, prefix=f".{out.name}.") as temporary:
        for folder in folders:
            packed = _pack(folder, Path(temporary), packed_before)
            known = existing.get(packed.name.rpartition("-")[2]) or new.get(packed.name)
            if known is None:
                new[packed.name] = packed
            elif known != packed and not _same(packed, known):
                raise UserError(
                    f"'{folder}': '{known.name}' is already there with other content: "
                    "keep one of the two and take the other away."
                )
        out.mkdir(parents=True, exist_ok=True)
        moved = []
        for name, packed in new.items():
            shutil.move(packed, out / name)
            moved.append(out / name)
    return moved


def _by_hash(out: Path) -> dict[str, Path]:
    """Runs that are in a folder already, by the part of their specification's hash in their names."""
    return {read_record(path).spec_hash[:12]: path.parent for path in sorted(out.glob(f"*/{RECORD_FILE}"))}


def _same(one: Path, other: Path) -> bool:
    if comparable(read_record(one)) != comparable(read_record(other)):
        return False
    for name in (ITEMS_FILE, PROMPTED_FILE, DISTRIBUTION_FILE):
        if (one / name).is_file() != (other / name).is_file():
            return False
        if (one / name).is_file() and not read_items(one, name).equals(read_items(other, name)):
            return False
    return True


def _pack(folder: Path, into: Path, packed_before: bool) -> Path:
    """Verify one run, write it anew, and verify what was written."""
    _refuse(verify_run(folder), folder)
    record = read_record(folder)
    if record.status != "ok":
        raise UserError(f"'{folder}' ended as {record.status}: only runs that ended well can be handed in.")
    packed = anonymous(record)
    if packed_before and packed != record:
        raise UserError(f"'{folder}' names a machine: pack it with `prefbench leaderboard submit` first.")
    frames = {ITEMS_FILE: read_items(folder)[item_columns(group.name for group in record.groups)]}
    if record.prompted_worst_group_win_rate is not None:
        frames[PROMPTED_FILE] = read_items(folder, PROMPTED_FILE)[list(PROMPTED_COLUMNS)]
    if record.regret is not None:
        from prefbench.evaluate.regret import COLUMNS as STATES

        columns = [*STATES, *(f"utility/{group.name}" for group in record.groups)]
        frames[DISTRIBUTION_FILE] = read_items(folder, DISTRIBUTION_FILE)[columns]
    traces = _traces(packed, frames.values())
    if traces:
        raise UserError(f"'{folder}' still holds {', '.join(traces)}: take it out of the data, run it again.")
    target = into / _folder_name(packed)
    if target.exists():
        target = into / f"again-{len(list(into.iterdir()))}" / _folder_name(packed)
    write_record(packed, target)
    for name, frame in frames.items():
        _write_bare(frame, target / name)
    _refuse(verify_run(target), folder)
    return target


def _refuse(wrong: Sequence[str], folder: Path) -> None:
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"'{folder}' does not verify: {wrong[0]}{more}: run it again.")


def _write_bare(frame: pd.DataFrame, path: Path) -> None:
    """Parquet with the columns and nothing else: no index, and no metadata of pandas' or anybody's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [pa.field(field.name, field.type) for field in table.schema]
    pq.write_table(
        table.cast(pa.schema(fields)).replace_schema_metadata(None),
        path,
        store_schema=False,
        compression="zstd",
        compression_level=19,
    )


def _folder_name(record: Record) -> str:
    """As a run's own folder is called, whatever the names hold."""
    parts = [
        record.task,
        record.aligner,
        record.model,
        f"r{record.minority_ratio:g}",
        f"s{record.seed}",
    ]
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part).strip("._")[:40] for part in parts)
    return f"{readable}-{record.spec_hash[:12]}"

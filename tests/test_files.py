"""Files that anybody may have written: what is opened, what is read, what is refused, and how soon."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prefbench import files
from prefbench.files import UnfitFile
from prefbench.parquet_pages import page_sizes, pieces_of
from prefbench.text import one_line, visible
from support.files import one_text_in_every_row, outside, pipe, zero


def folder(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


SPECIAL = [
    (pipe, "a pipe"),
    (zero, "a link out of its folder"),
    (folder, "a folder"),
    (unix_socket, "a socket"),
    (outside, "a link out of its folder"),
]


@pytest.mark.parametrize(("make", "said"), SPECIAL)
def test_only_regular_files_within_the_folder_are_opened(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "record.json"
    make(path)
    started = time.monotonic()
    for read in (files.read_json, files.read_table):
        with pytest.raises(UnfitFile, match=said):
            read(path, within=path.parent)  # type: ignore[operator]
    assert time.monotonic() - started < 5 and not files.is_regular(path, path.parent)


def test_a_device_and_a_lost_link_are_said(tmp_path: Path) -> None:
    zero(tmp_path / "a")
    with pytest.raises(UnfitFile, match="a device"):
        files.read_bytes(tmp_path / "a", 10)
    (tmp_path / "b").symlink_to("b")
    with pytest.raises(UnfitFile, match="leads nowhere"):
        files.read_bytes(tmp_path / "b", 10)
    (tmp_path / "c").symlink_to("gone")
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "c", 10)


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("[1]")
    (tmp_path / "a.json").symlink_to("kept")
    assert files.read_json(tmp_path / "a.json", within=tmp_path) == [1]


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no disk
    with pytest.raises(UnfitFile, match="more than 16 MiB"):
        files.read_json(path)
    assert len(files.read_bytes(Path("/proc/self/status"), 1 << 20)) > 100  # which says that it is empty
    with pytest.raises(UnfitFile, match="more than 10 B"):
        files.read_bytes(Path("/proc/self/status"), 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "more than 64 levels"),
        ("[" * 70 + "]" * 70, "more than 64 levels"),
        ('{"a":' * 70 + "1" + "}" * 70, "more than 64 levels"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"\\ud800": 1}', "half a surrogate pair"),
        ('["\\uDC00"]', "half a surrogate pair"),
        ("[" + "0," * 10_000_001 + "0]", "more than 16 MiB"),
        ("9" * 5000, "integer string conversion"),
        ('"\xff', "Unterminated string"),
    ],
)
def test_json_that_nothing_could_be_done_with(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        files.read_json(path)


def test_whole_surrogate_pairs_and_depth_within_bounds_are_fine(tmp_path: Path) -> None:
    text = '["\\ud83d\\ude00", ' + "[" * 60 + "]" * 61
    (tmp_path / "a.json").write_text(text)
    assert files.read_json(tmp_path / "a.json")[0] == "\U0001f600"
    assert files.parse_json('"\\ud800"', wanted_unicode=False) == "\ud800"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (".".join(["a"] * 60_000) + " = 1", "1,000 dots"),
        ("a = " + "[" * 50_000, "levels"),
        ("a = " + "[" * 70 + "]" * 70, "levels"),
        (".".join(["a"] * 70) + " = 1", "levels"),
        ("a = 1\n" * 50_000, "more than 128 KiB"),
    ],
)
def test_toml_that_would_take_for_ever(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    started = time.monotonic()
    with pytest.raises(UnfitFile, match=said):
        files.read_toml(tmp_path / "a.toml")
    assert time.monotonic() - started < 20


def test_compressed_data_is_measured_as_it_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"x" * 10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(UnfitFile, match="more than 1 MiB"), files.open_data(path, 1 << 20) as file:
        file.read()
    with files.open_data(path) as file, pytest.raises(UnfitFile, match="line 1 of it has more than 1 KiB"):
        next(files.read_lines(file, longest=1024))
    (tmp_path / "b.jsonl").write_bytes(b"\xef\xbb\xbfone\ntwo")
    with files.open_data(tmp_path / "b.jsonl") as file:
        assert list(files.read_lines(file)) == ["one\n", "two"]


# ------------------------------------------------------------------------------------------- parquet


def test_five_kilobytes_do_not_become_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(one_text_in_every_row(7500), path, compression="zstd")
    assert path.stat().st_size < 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnfitFile, match="512 MiB of content once it is decoded"):
        files.read_table(path)
    assert files.read_table(path, {"prompt_id"}.__contains__).num_rows == 7500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({f"{i}" + "c" * 10_000: [1] for i in range(500)}), "its footer has more than 4 MiB"),
        (pa.table({f"c{i}": [1] for i in range(600)}), "600 columns, at most 512"),
        (pa.table({"a": pa.nulls(3_000_000)}), "3,000,000 rows, at most 2,000,000"),
        (pa.table({"prompt": [["a"], ["b"]]}), "'prompt' holds list<.*, not simple values"),
        (pa.table({"prompt": [{"a": 1}]}), "'prompt' holds struct<.*, not simple values"),
        (pa.table([[1], [2]], names=["a", "a"]), "two columns 'a'"),
        (pa.table({"a": pa.array([b"\xff"]).cast(pa.binary()).view(pa.string())}), "not readable parquet"),
    ],
)
def test_tables_that_are_not_read(tmp_path: Path, table: pa.Table, said: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression="zstd")
    with pytest.raises(UnfitFile, match=said):
        files.read_table(path)


def varint(value: int, length: int | None = None) -> bytes:
    """A whole number as Thrift writes it, in more bytes than it needs where a length is given."""
    value, parts = 2 * value, bytearray()
    while value > 127 or (length is not None and len(parts) < length - 1):
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def test_a_footer_that_lies_does_not_help(tmp_path: Path) -> None:
    """The pages of a column say how large they become, and the footer's word is not taken for it."""
    path = tmp_path / "a.parquet"
    text = pa.array([b"x" * 600_000_000]).view(pa.string())
    quick = {"use_dictionary": False, "write_statistics": False}  # the smallest of these takes ten seconds
    pq.write_table(pa.table({"prompt": text}), path, compression="zstd", **quick)
    size = pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size
    content = path.read_bytes()
    end = len(content) - int.from_bytes(content[-8:-4], "little") - 8
    assert content[end:].count(varint(size)) >= 1 and len(content) < 1_000_000
    path.write_bytes(content[:end] + content[end:].replace(varint(size), varint(1000, len(varint(size)))))
    assert pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size == 1000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnfitFile, match="more than 512 MiB of content"):
        files.read_table(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_add_up_to_what_an_honest_footer_says(tmp_path: Path, compression: str, version: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"text {i} " * 20 for i in range(5000)], "number": range(5000)})
    pq.write_table(
        table,
        path,
        compression=compression,
        data_page_version=version,
        data_page_size=10_000,
        row_group_size=2000,
    )
    facts = pq.read_metadata(path)
    with path.open("rb") as file:
        for group in range(facts.num_row_groups):
            for column in range(facts.num_columns):
                piece = facts.row_group(group).column(column)
                start = min(filter(None, (piece.dictionary_page_offset, piece.data_page_offset)))
                sizes = list(page_sizes(file, start, piece.total_compressed_size))
                headers = piece.total_uncompressed_size - sum(sizes)
                assert len(sizes) > 1 and 0 < headers < 600 * len(sizes)


def field(number: int, kind: int, value: bytes) -> bytes:
    """A field of Thrift's compact protocol."""
    return bytes([number << 4 | kind]) + value


FIELDS = st.lists(
    st.builds(
        field,
        st.integers(1, 3),
        st.integers(0, 15),
        st.one_of(st.binary(max_size=6), st.integers(0, 127).map(lambda n: bytes([n]))),
    ),
    max_size=8,
)


@given(FIELDS, st.integers(0, 2))
@example([field(2, 8, b"\x02ab"), field(3, 5, b"\x04")], 0)  # a text where a size is wanted
@example([field(2, 5, b"\x04"), field(3, 12, b"\0")], 0)
def test_a_header_of_anything_is_sizes_or_damaged(fields: list[bytes], start: int) -> None:
    content = b"".join(fields) + b"\0"
    with contextlib.suppress(ValueError):
        assert all(size >= 0 for size in page_sizes(io.BytesIO(content), start, len(content)))
    with contextlib.suppress(ValueError):
        assert all(isinstance(piece.start, int) for group in pieces_of(content) for piece in group)


def test_many_row_groups_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": range(5000)}), path, row_group_size=1)
    with pytest.raises(UnfitFile, match="5,000 row groups, at most 4,096"):
        files.read_table(path)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" * 3, b"x" * 100, b"PAR1\0\0\0\0\xff\xff\xff\x7fPAR1"]
)
def test_what_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(UnfitFile, match="not readable parquet"):
        files.read_table(path)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "text": ["a", None, "\U0001f600", "a"],
            "coded": pa.array(["x", "y", "x", None]).dictionary_encode(),
            "number": [1, 2, None, 4],
            "many": [[1], [2], [3], [4]],
        }
    )
    pq.write_table(table, path)
    read = files.read_table(path, lambda name: name != "many")
    assert read.to_pydict() == {name: table[name].to_pylist() for name in ("text", "coded", "number")}
    assert files.read_table(path, simple_only=True).column_names == ["text", "coded", "number"]


# ------------------------------------------------------------------------------------------ printing


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, \u00e9\u4e2d\U0001f600", "plain text, \u00e9\u4e2d\U0001f600"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\ud800", "\\ud800"),
        ("a\u202eb\u200b", "a\\u202eb\\u200b"),
        ("a\u00a0b", "a b"),
        ("a\nb", "a\\nb"),
    ],
)
def test_what_moves_a_cursor_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line_has_no_breaks() -> None:
    assert one_line(" a\n b\x1b\tc ") == "a b\\x1b c"
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


# --------------------------------------------------------------------------------------------- models


def test_a_models_folder_is_looked_at_before_it_is_loaded(tmp_path: Path) -> None:
    home = tmp_path / "models--x"
    snapshot = home / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir()
    (home / "blobs" / "1").write_text(json.dumps({}))
    (snapshot / "config.json").symlink_to("../../blobs/1")  # as the hub's cache lays them out
    os.mkfifo(snapshot / "notes.md")  # nobody reads it
    files.refuse_odd_files(snapshot, files.MODEL_FILES)
    os.mkfifo(snapshot / "tokenizer.json")
    with pytest.raises(UnfitFile, match=r"tokenizer.json: it is a pipe"):
        files.refuse_odd_files(snapshot, files.MODEL_FILES)
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "chat_template.jinja").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(UnfitFile, match=r"chat_template.jinja: it has more than 1 MiB"):
        files.refuse_odd_files(snapshot, files.MODEL_FILES)
    (snapshot / "chat_template.jinja").unlink()
    (snapshot / "generation_config.json").symlink_to("/etc/hostname")
    with pytest.raises(UnfitFile, match=r"generation_config.json: it is a link out"):
        files.refuse_odd_files(snapshot, files.MODEL_FILES)


def test_a_lock_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        files.open_lock(tmp_path / "a.lock")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_is_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.lock")
    with pytest.raises(OSError, match="not a regular file"):
        files.open_lock(tmp_path / "a.lock")


def test_facts_of_a_column_that_contradict_each_other_end_no_process(tmp_path):
    """A column that is called required has no counts of missing values; pyarrow aborts on looking at it."""
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"text": ["a", None, "b"]}), path)
    content = path.read_bytes()
    optional, required = b"\x15\x0c\x25\x02", b"\x15\x0c\x25\x00"  # a text column's element of the schema
    assert content.count(optional) == 1
    path.write_bytes(content.replace(optional, required))
    code = (
        "from pathlib import Path; from prefbench.files import UnfitFile, read_table\n"
        f"try: print(read_table(Path({str(path)!r})).num_rows)\nexcept UnfitFile as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith("it is not readable parquet")

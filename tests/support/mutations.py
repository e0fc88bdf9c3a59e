"""Mutations of a file: bits, bytes, values, columns, and something else in its place."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0),
    *(1e308, 5e-324, float("nan"), float("inf"), "", " ", "x", "x" * 20000, "\ud800", "\x1b[2J\x1b[31mred"),
    *("[red]bold[/red]", "\0", "\r\n", "=1+1", "../../etc/passwd", "/dev/zero", "nan", "1e999", "true", "ok"),
    *(
        [],
        {},
        [[]],
        [{}],
        {"": {}},
        [None] * 50,
        ["a", 1, None],
        {"a": "b"},
        [1, 2, 3],
        "\u202e",
        "\U0001f600",
    ),
]
BYTES = [
    *(
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\x1b[31m",
        b"NaN",
        b"Infinity",
        b"1e999",
        b'"\\ud800"',
        b"[" * 5000,
    ),
    *(
        b'{"a":' * 500,
        b"9" * 5000,
        b"\r",
        b"\n",
        b'"',
        b"'",
        b",",
        b"=",
        b"PAR1",
        b"\xef\xbb\xbf",
        b"\x7f" * 9,
    ),
]
TOML = [
    *(
        "1",
        "-1",
        "0.5",
        "nan",
        "inf",
        "''",
        "'x'",
        "[]",
        "[1, 'a']",
        "{}",
        "{a = 1}",
        "true",
        "9223372036854775807",
    ),
    *("1979-05-27", "'''\n'''", "[[1]]", "'\\u001b[31m'", '"\\u001b[31m"', "9" * 4000, "[" * 300 + "]" * 300),
    *(
        "10000000",
        "{start = 0}",
        "'0.2'",
        "'4:1'",
        "['maxmin', 'nobody']",
        "'../../etc/passwd'",
        "'/dev/zero'",
    ),
]


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Some bits are others."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(content: bytes, draw: random.Random) -> bytes:
    """A part is missing."""
    low, high = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return draw.choice([content[:low], content[high:], content[:low] + content[high:]])


def spliced(content: bytes, draw: random.Random) -> bytes:
    """Something stands where it does not belong."""
    low, high = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    piece = draw.choice([*BYTES, content[low:high]])
    place = draw.randrange(len(content) + 1)
    return content[:place] + piece + content[place + draw.choice([0, len(piece)]) :]


def json_changed(content: bytes, draw: random.Random) -> bytes:
    """One to three values, anywhere, are others, gone, or under another name."""
    plain = json.loads(content)
    for _ in range(draw.randint(1, 3)):
        place, step = [plain], 0
        while isinstance(place[step], dict | list) and place[step] and (step == 0 or draw.random() < 0.8):
            inner = place[step]
            step = draw.choice(list(inner) if isinstance(inner, dict) else list(range(len(inner))))
            place = inner
        action = draw.random()
        if place[step] is plain or (action < 0.15 and isinstance(place, list) and len(place) < 2):
            continue
        if action < 0.15:
            del place[step]
        elif action < 0.25 and isinstance(place, dict):
            place[draw.choice(["x", "", "\x1b[31m", "\ud800", step + " "])] = place.pop(step)
        elif action < 0.32:
            value: Any = place[step]
            for _ in range(draw.choice([3, 70, 400])):
                value = [value]
            place[step] = value
        else:
            place[step] = draw.choice(VALUES)
    return json.dumps(plain).encode()


def toml_changed(content: bytes, draw: random.Random) -> bytes:
    """A value is another, a line is twice there, gone or elsewhere."""
    lines = content.decode().split("\n")
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(lines))
        name, equals, _ = lines[at].partition("=")
        action = draw.random()
        if equals and action < 0.7:
            lines[at] = f"{name}= {draw.choice(TOML)}"
        elif action < 0.8:
            lines.insert(draw.randrange(len(lines)), lines[at])
        elif action < 0.9:
            del lines[at]
            lines = lines or [""]
        else:
            lines.insert(
                at, draw.choice(["[set.task]", "[[grid]]", "[set]", "x = 1", "[a.b.c]", "seeds = 3"])
            )
    return "\n".join(lines).encode()


def csv_changed(content: bytes, draw: random.Random) -> bytes:
    """Cells are others, columns change their places."""
    rows = [line.split(",") for line in content.decode().split("\n")]
    for _ in range(draw.randint(1, 3)):
        row = draw.choice(rows)
        at = draw.randrange(len(row))
        row[at] = draw.choice(
            [*(str(value)[:300] for value in VALUES if value != "\ud800"), '"', '""', '"a\nb"', "-1", "0,1"]
        )
        if draw.random() < 0.1:
            draw.shuffle(rows[0])
    return "\n".join(",".join(row) for row in rows).encode()


def _column(draw: random.Random, n: int, old: pa.ChunkedArray) -> pa.Array:
    values = draw.choice(
        [
            *(
                [None],
                ["x"],
                ["\x1b[31mred"],
                [""],
                [2**62],
                [-1],
                [0],
                [0.5],
                [float("nan")],
                [float("inf")],
            ),
            *(
                [True],
                [b"\xff"],
                [[1, 2]],
                [["a"]],
                [{"a": 1}],
                [1, None],
                ["a", None],
                ["x" * 5000],
                [1e308],
            ),
        ]
    )
    kind = draw.random()
    if kind < 0.15:
        return pa.array([2**63 + i for i in range(n)], pa.uint64())
    if kind < 0.25:
        return pa.array((list(range(n)) * 2)[1 : n + 1], pa.int64())
    if kind < 0.35:
        return pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), pa.array(["x" * 100_000]))
    if kind < 0.45:
        return old.combine_chunks().take(pa.array(draw.sample(range(n), n), pa.int64()))
    if kind < 0.5:
        return pa.array(pd.date_range("2026-01-01", periods=n))
    return pa.array((values * n)[:n])


def parquet_changed(content: bytes, draw: random.Random) -> bytes:
    """Columns are others, gone, new or many; rows are fewer, twice there or in another order."""
    table = pq.read_table(pa.BufferReader(content))
    action = draw.random()
    at = draw.randrange(table.num_columns)
    if action < 0.1:
        table = table.remove_column(at)
    elif action < 0.2:
        names = list(table.column_names)
        names[at] = draw.choice(["x", "", "utility/other", "\x1b[31m", names[0], "a.b"])
        table = table.rename_columns(names)
    elif action < 0.3:
        rows = [draw.randrange(max(table.num_rows, 1)) for _ in range(draw.choice([0, 1, table.num_rows]))]
        table = table.take(pa.array(rows, pa.int64()))
    elif action < 0.35:
        many = {f"{draw.choice(['c', 'utility/'])}{i}": [0] * table.num_rows for i in range(700)}
        for name, column in many.items():
            table = table.append_column(name, pa.array(column))
    elif action < 0.4:
        table = pa.concat_tables([table] * draw.choice([2, 300]))
    else:
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(table.num_columns)
            column = _column(draw, table.num_rows, table.column(at))
            table = table.set_column(at, table.column_names[at], column)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression=draw.choice(["snappy", "zstd", "gzip", "none"]),
        row_group_size=draw.choice([1, 7, 1000]) if table.num_rows < 500 else 1000,
    )
    return sink.getvalue().to_pybytes()


def footer_changed(content: bytes, draw: random.Random) -> bytes:
    """Bytes of the footer, and of what begins each page, are others."""
    changed = bytearray(content)
    length = int.from_bytes(content[-8:-4], "little")
    for _ in range(draw.randint(1, 6)):
        inside = draw.randrange(max(len(content) - 8 - length, 0), len(content) - 4)
        place = draw.choice([inside, draw.randrange(min(len(content), 60))])
        changed[place] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
    return bytes(changed)


def special(path: Path, draw: random.Random) -> str:
    """Something else than a file lies there; says what."""
    kind = draw.choice(
        ["pipe", "zero", "passwd", "folder", "socket", "nowhere", "itself", "empty", "outside"]
    )
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path may not be long
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
        os.chdir(here)
    elif kind == "empty":
        path.touch()
    else:
        targets = {"zero": "/dev/zero", "passwd": "/etc/passwd", "nowhere": "gone", "itself": path.name}
        outside = path.parent.parent / "outside.json"
        outside.write_text("{}")
        path.symlink_to(targets.get(kind, outside))
    return kind


Mutation = Callable[[bytes, random.Random], bytes]
PLAIN: list[Mutation] = [flipped, cut, spliced]


def zip_changed(content: bytes, draw: random.Random) -> bytes:
    """A member is another one, under a checksum that fits."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(list(members))
    ending = Path(name).suffix
    change = draw.choice([flipped, cut, *([json_changed] * 3 if ending == ".json" else [])])
    members[name] = change(members[name], draw)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for each, value in members.items():
            archive.writestr(each, value)
    return sink.getvalue()


OWN: dict[str, list[Mutation]] = {
    ".json": [json_changed, json_changed, json_changed, json_changed],
    ".toml": [toml_changed, toml_changed, toml_changed],
    ".csv": [csv_changed, csv_changed, csv_changed],
    ".parquet": [parquet_changed, parquet_changed, parquet_changed, footer_changed, footer_changed],
    ".jsonl": [csv_changed],
    ".gz": [],
    ".zip": [zip_changed, zip_changed, zip_changed, zip_changed, zip_changed],
}


def mutate(path: Path, draw: random.Random) -> str:
    """Change a file in place; says how."""
    if draw.random() < 0.04:
        return special(path, draw)
    content = path.read_bytes()
    mutations = PLAIN + OWN[path.suffix]
    chosen = draw.choice(mutations)
    content = chosen(content, draw)
    if draw.random() < 0.1:
        content = draw.choice(PLAIN)(content, draw)
    path.write_bytes(content)
    return chosen.__name__

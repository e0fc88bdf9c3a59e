"""Mutated files of strangers, and what is to become of each: a result, or one line that says what is wrong.

`python tests/fuzzing.py FOLDER SEED START END [KIND...]` judges the inputs with these numbers in this process
and prints a line of JSON for each that fails. Every input is made from its number alone. The process may take
two GiB beyond what it has imported, and ends itself when an input takes more than thirty seconds.
"""

from __future__ import annotations

import faulthandler
import gzip
import json
import os
import random
import resource
import shutil
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
"""More on a machine that others keep busy."""
MEMORY = 2 << 30
RUN = "runs/run-a"

# ------------------------------------------------------------------------------------------- mutations

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
OWN: dict[str, list[Mutation]] = {
    ".json": [json_changed, json_changed, json_changed, json_changed],
    ".toml": [toml_changed, toml_changed, toml_changed],
    ".csv": [csv_changed, csv_changed, csv_changed],
    ".parquet": [parquet_changed, parquet_changed, parquet_changed, footer_changed, footer_changed],
    ".jsonl": [csv_changed],
    ".gz": [],
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


# ------------------------------------------------------------------------------------ what is judged


def _tried(*calls: Callable[[], object]) -> None:
    """Each call ends well, or with a line."""
    from prefbench.errors import PrefbenchError, says_no_memory

    for call in calls:
        try:
            call()
        except PrefbenchError as error:
            assert str(error).strip()
        except Exception as error:  # the command line makes one line of it
            if not says_no_memory(error):
                raise


def judge_run(root: Path, draw: random.Random) -> None:
    """One of the commands that read a runs folder; the other run in it is still there."""
    from prefbench.boards import gate, submission
    from prefbench.boards.compare import compare_aligners
    from prefbench.boards.show import show
    from prefbench.boards.table import build
    from prefbench.boards.verify import runs_in, verify_board
    from prefbench.record.files import find_records
    from prefbench.report import page
    from prefbench.report.figures import collect, training_curves
    from prefbench.tools import cache

    runs = root / "runs"

    def figures() -> None:
        _, settings = collect(runs)
        for setting in settings:
            training_curves(setting.cells)

    def table() -> None:
        found = build(runs)
        for fmt in ("rich", "markdown", "csv"):
            said = show(found, fmt)  # type: ignore[arg-type]
            assert not any(ord(c) < 32 and c not in "\n" for c in said), repr(said)
        assert "good" in set(found["aligner"])

    def verified() -> None:
        wrong = {run.folder: run.wrong for run in verify_board(runs_in(runs))}
        assert wrong[root / "runs/run-b"] == []

    def submitted() -> None:
        try:
            submission.submit([root / RUN], root / "packed")
        finally:
            shutil.rmtree(root / "packed", ignore_errors=True)

    assert any(one.aligner == "good" for _, one in find_records(runs))
    checks: list[Callable[[], object]] = [
        *(table, figures, verified, verified, submitted, lambda: [cache.users(runs), *cache.verify(runs)]),
        lambda: page.page(runs, 2),
        lambda: gate.gate(root / "board.csv", runs),
        lambda: compare_aligners("a", "good", runs),
    ]
    _tried(lambda: verify_board([root / RUN]), draw.choice(checks))


def judge_board(root: Path, draw: random.Random) -> None:
    """What reads a leaderboard."""
    from prefbench.boards import gate
    from prefbench.boards.csv_file import read_csv
    from prefbench.boards.show import show
    from prefbench.boards.verify_csv import verify_csv

    def shown() -> None:
        frame = read_csv(root / "board.csv")
        for fmt in ("rich", "markdown", "csv"):
            said = show(frame, fmt)  # type: ignore[arg-type]
            assert not any(ord(c) < 32 and c not in "\n" for c in said), repr(said)

    others: list[Callable[[], object]] = [
        lambda: verify_csv(root / "board.csv", root / "runs"),
        lambda: gate.gate(root / "board.csv", root / "runs"),
    ]
    _tried(shown, draw.choice(others))


def judge_toml(root: Path, draw: random.Random) -> None:
    """Files of runs, sweeps and gates; nothing in them is run."""
    from prefbench.boards.gate_file import read_gate_file
    from prefbench.cli.run_file import read_config, specs_of
    from prefbench.sweep.file import read_sweep

    def run() -> None:
        settings = read_config(str(root / "run.toml"))
        if not settings.get("plugin"):
            specs_of({**settings, "set": settings.get("set", {})})

    def grid() -> None:
        read_sweep(str(root / "sweep.toml")).expand()

    _tried(run, grid, lambda: read_gate_file(root / "gate.toml"))


def judge_data(root: Path, draw: random.Random) -> None:
    """Data sets in every layout."""
    from prefbench.data.generate import read_prompts
    from prefbench.data.hh import read_hh
    from prefbench.data.personas import read_personas
    from prefbench.data.pool import read_answers
    from prefbench.data.reviews import load_reviews

    folder = root / "data"
    _tried(
        *(lambda name=name: load_reviews(str(folder / name), 3) for name in REVIEWS),  # type: ignore[misc]
        lambda: read_hh(str(folder / "helpful-base.jsonl")),
        lambda: read_hh(str(folder / "hh.parquet")),
        lambda: read_personas(str(folder), ["P1A"]),
        lambda: read_answers(str(folder / "answers.parquet"), ("instruction", "generator", "output")),
        lambda: read_prompts(str(folder / "prompts.json")),
        lambda: read_prompts(str(folder / "reviews.csv")),
    )


def judge_config(root: Path, draw: random.Random) -> None:
    """A model's folder, as far as it is read without its weights."""
    from prefbench.estimate.setting import _read_shape
    from prefbench.files import MODEL_FILES, UnfitFile, refuse_odd_files

    _read_shape(str(root / "model"))
    try:
        refuse_odd_files(root / "model", MODEL_FILES)
    except UnfitFile as error:
        assert str(error)


def judge_model(root: Path, draw: random.Random) -> None:
    """A model's folder, loaded."""
    import torch

    from prefbench.backbone.options import ModelRequest
    from prefbench.problem.problem import Group, Problem, Prompts
    from prefbench.problem.utilities.content import Conciseness
    from prefbench.spec import get_model
    from prefbench.store.stages import Store

    torch.set_num_threads(1)
    name = str(root / "model")
    groups = tuple(Group(n, s, Conciseness(empty=-9.0)) for n, s in (("a", 0.8), ("b", 0.2)))
    problem = Problem(
        groups=groups,
        prompts=Prompts(("p",) * 5, (), ("q",)),
        corpus=("a joy .",),
        annotators=5,
        pairs_per_annotator=1,
        temperature=1.0,
        response_tokens=6,
        chat=True,
    )

    def load() -> None:
        entry = get_model(name)
        entry.function(ModelRequest(name, problem, Store(root / "runs"), 0), entry.options(threads=1))

    _tried(load)


REVIEWS = ("reviews.csv", "reviews.jsonl", "reviews.jsonl.gz", "reviews.parquet")
KINDS: dict[str, tuple[list[str], Callable[[Path, random.Random], None]]] = {
    "record": ([f"{RUN}/record.json"], judge_run),
    "evidence": (
        [
            *(f"{RUN}/items.parquet", f"{RUN}/prompted.parquet", f"{RUN}/distribution.parquet"),
            *(f"{RUN}/history.json", "runs/stages/policy/0123456789abcdef0123456789abcdef/done.json"),
        ],
        judge_run,
    ),
    "board": (["board.csv"], judge_board),
    "toml": (["run.toml", "sweep.toml", "gate.toml"], judge_toml),
    "data": (
        [f"data/{name}" for name in (*REVIEWS, "helpful-base.jsonl", "hh.parquet", "P1A.json")]
        + [f"data/{name}" for name in ("answers.parquet", "prompts.json")],
        judge_data,
    ),
    "config": (["model/config.json", "model/model.safetensors.index.json"], judge_config),
    "model": (
        [f"model/{name}.json" for name in ("config", "tokenizer_config", "tokenizer", "generation_config")],
        judge_model,
    ),
}


# --------------------------------------------------------------------------------------------- seeds


def make_seeds(root: Path) -> None:
    """A folder with a valid file of every kind."""
    import numpy as np

    from prefbench.boards.csv_file import write_csv
    from prefbench.boards.table import build
    from prefbench.record.evidence import PROMPTED_COLUMNS, read_items, write_items
    from prefbench.record.files import DISTRIBUTION_FILE, PROMPTED_FILE, write_record
    from prefbench.record.schema import Record
    from prefbench.record.summary import summarise_prompted
    from support.records import make_items, make_record

    rates = {"many": 0.8, "few": 0.6}
    for name, aligner, seed in (("run-a", "a", 0), ("run-b", "good", 0)):
        items = make_items(rates, n=12, seed=seed)
        groups = [("many", 0.8, False), ("few", 0.2, True)]
        made = make_record(items, groups, aligner=aligner, seed=seed)
        write_record(made, root / "runs" / name)
        write_items(items, root / "runs" / name)
    folder = root / RUN
    items = read_items(folder)
    prompted = pd.concat(
        items[["prompt_id", "sample", "prompt", "response", "reference_response", "empty"]].assign(
            group=group, reference_empty=False, utility=items[f"utility/{group}"], reference_utility=0.0
        )
        for group in rates
    )
    write_items(prompted[list(PROMPTED_COLUMNS)], folder, PROMPTED_FILE)
    states = pd.DataFrame(
        {
            "state": [0, 0, 1, 1],
            "state_weight": 0.5,
            "response": ["x", "y"] * 2,
            "reference": 0.5,
            "policy": 0.5,
        }
        | {f"utility/{name}": [0.0, 1.0, 1.0, 0.0] for name in rates}
    )
    write_items(states, folder, DISTRIBUTION_FILE)
    from prefbench.evaluate.regret import regrets

    plain = json.loads((folder / "record.json").read_text())
    by_group, worst = summarise_prompted(prompted, [("many", 0.8, False), ("few", 0.2, True)], 0)
    for group in plain["groups"]:
        group["prompted"] = by_group[group["name"]]
    plain |= worst | {"regret": regrets(states, list(rates), 0.15)}
    write_record(Record.model_validate(plain), folder)
    (folder / "history.json").write_text(json.dumps([{"reward": 0.1 * i, "kl": 0.2 * i} for i in range(5)]))
    stage = root / "runs/stages/policy/0123456789abcdef0123456789abcdef"
    stage.mkdir(parents=True)
    (stage / "done.json").write_text(
        json.dumps({"stage": "policy", "key": {"aligner": "a", "seed": 0}, "files": {}, "within": {}})
    )
    write_csv(build(root / "runs"), root / "board.csv")
    (root / "run.toml").write_text(
        'task = "bandit_two_group"\naligner = "maxmin"\ndata = "synthetic"\nminority_ratio = "4:1"\n'
        'seed = 0\nseeds = 2\nruns_dir = "runs"\n[set.task]\nannotators = 20\n[set.evaluate]\nsamples = 2\n'
    )
    (root / "sweep.toml").write_text(
        'task = "bandit_two_group"\naligner = ["maxmin", "dpo"]\nminority_ratio = [0.2, "10:1"]\nseeds = 2\n'
        'runs_dir = "runs"\n[set.task]\nannotators = [20, 40]\n[resources]\ncpus = 1\n[[grid]]\n'
        '[[grid]]\naligner = "single_reward"\n[[exclude]]\naligner = "dpo"\nminority_ratio = 0.2\n'
    )
    (root / "gate.toml").write_text(
        'level = 0.05\nstrict = true\n[[check]]\nmetric = "minority_win_rate"\nmargin = 0.03\ntask = "toy"\n'
        'minority_ratio = "4:1"\n'
    )
    _make_data(root / "data")
    _make_model(root / "model")
    assert np.isfinite(states["policy"]).all()


def _make_data(folder: Path) -> None:
    folder.mkdir()
    reviews = pd.DataFrame({"text": [f"a review, number {i}" for i in range(8)], "label": [0, 1] * 4})
    reviews.to_csv(folder / "reviews.csv", index=False)
    reviews.to_parquet(folder / "reviews.parquet", index=False)
    lines = reviews.to_json(orient="records", lines=True).encode()
    (folder / "reviews.jsonl").write_bytes(lines)
    (folder / "reviews.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    turn = "Human: hello {}\n\nAssistant: "
    pairs = [{"chosen": turn.format(i) + "yes", "rejected": turn.format(i) + "no"} for i in range(6)]
    (folder / "helpful-base.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    pd.DataFrame(pairs).assign(objective="helpful").to_parquet(folder / "hh.parquet", index=False)
    rows = [{"user_input": f"p{i}", "completion_a": "x", "completion_b": "y"} for i in range(4)]
    (folder / "P1A.json").write_text(json.dumps(rows))
    (folder / "prompts.json").write_text(json.dumps([{"prompt": f"p{i}"} for i in range(4)]))
    answers = [{"instruction": f"i{i}", "generator": m, "output": f"{m} {i}"} for i in range(4) for m in "ab"]
    pd.DataFrame(answers).to_parquet(folder / "answers.parquet", index=False)


def _make_model(folder: Path) -> None:
    """A tiny Llama with a chat template, and an index of its weights beside them."""
    from support.tiny import CHATML, chat_tokenizer, tiny_model

    tokenizer = chat_tokenizer(CHATML)
    tiny_model("llama", len(tokenizer), 96, 0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"model.embed_tokens.weight": "model.safetensors"}})
    )


# --------------------------------------------------------------------------------------------- the loop


def judge(root: Path, seed: int, number: int, kinds: list[str]) -> dict[str, Any] | None:
    """Mutate one file, judge what came of it and put the file back; what is wrong, if anything."""
    draw = random.Random(f"{seed}/{number}")
    kind = draw.choice(kinds)
    names, verdict = KINDS[kind]
    path = root / draw.choice(names)
    good = path.read_bytes()
    how = mutate(path, draw)
    try:
        verdict(root, draw)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        trace = traceback.format_exception(error)
        return {
            "number": number,
            "file": str(path.relative_to(root)),
            "how": how,
            "trace": "".join(trace[-4:]),
        }
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.write_bytes(good)
    return None


def main() -> None:
    """Judge a range of inputs."""
    source, seed, start, end, *kinds = sys.argv[1:]
    from prefbench import registry
    from prefbench.registry import Entry, Options

    registry.load_plugins()
    registry._entries[("task", "toy")] = Entry("task", "toy", len, Options)

    warnings.simplefilter("ignore")
    root = Path(source)
    # Good files first: what a verdict imports is not what an input takes.
    for kind in kinds:
        KINDS[kind][1](root, random.Random(0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(int(start), int(end)):
        print(json.dumps({"begun": number}), flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        found = judge(root, int(seed), number, kinds)
        faulthandler.cancel_dump_traceback_later()
        if found is not None:
            print(json.dumps(found), flush=True)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"megabytes": (after - before) // 1024}), flush=True)


if __name__ == "__main__":
    main()

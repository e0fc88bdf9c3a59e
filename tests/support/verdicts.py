"""Verdicts on files of strangers, by kind: whatever they hold, they are read or refused in a line."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

RUN = "runs/run-a"
"""The folder of the run whose files are mutated; the other one stays good."""


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
        _, _, settings = collect(runs)
        for setting in settings:
            training_curves(setting.cells)

    def table() -> None:
        found = build(runs)
        for fmt in ("table", "markdown", "latex", "html", "csv"):
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
        for fmt in ("table", "markdown", "latex", "html", "csv"):
            said = show(frame, fmt)  # type: ignore[arg-type]
            assert not any(ord(c) < 32 and c not in "\n" for c in said), repr(said)

    others: list[Callable[[], object]] = [
        lambda: verify_csv(root / "board.csv", root / "runs"),
        lambda: gate.gate(root / "board.csv", root / "runs"),
    ]
    _tried(shown, draw.choice(others))


def judge_packed(root: Path, draw: random.Random) -> None:
    """What reads a board in one file."""
    from prefbench.boards.table import build
    from prefbench.boards.verify import runs_in, verify_board
    from prefbench.report import page

    board = root / "packed.zip"
    others: list[Callable[[], object]] = [lambda: build(board), lambda: page.page(board, 2)]
    _tried(lambda: verify_board(runs_in(board)), draw.choice(others))


def judge_toml(root: Path, draw: random.Random) -> None:
    """Files of runs, sweeps, tuning and gates; nothing in them is run."""
    from prefbench.boards.gate_file import read_gate_file
    from prefbench.cli.run_file import read_config, specs_of
    from prefbench.sweep.extending import choice_rows
    from prefbench.sweep.file import read_sweep
    from prefbench.sweep.tune_file import read_tune
    from prefbench.sweep.tuned import make_tuned_spec, read_tuned

    def run() -> None:
        settings = read_config(str(root / "run.toml"))
        if not settings.get("plugin"):
            specs_of({**settings, "set": settings.get("set", {})})

    def grid() -> None:
        read_sweep(str(root / "sweep.toml")).expand()

    def tuned() -> None:
        found = read_tuned(root / "tuned.json")
        make_tuned_spec(("tuned.json", found), task="bandit_two_group", aligner="dpo", sets={})
        choice_rows(found)

    gate = [lambda: read_gate_file(root / "gate.toml"), lambda: read_tune(str(root / "tune.toml"))]
    _tried(run, grid, *gate, tuned)


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
    "packed": (["packed.zip"], judge_packed),
    "toml": (["run.toml", "sweep.toml", "gate.toml", "tune.toml", "tuned.json"], judge_toml),
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

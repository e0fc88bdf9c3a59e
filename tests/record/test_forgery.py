"""Forged runs over a real board: every kind is refused by `verify` and by `merge`, or named by `--rerun`.

A forger writes a record whose counts, rates and intervals follow from the tables that he wrote, and which
names no machine, so that only what is held against the problem, the registry and the other runs finds him.
"""

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prefbench import registry
from prefbench.boards.submission import merge, submit
from prefbench.boards.verify import runs_in, verify_board
from prefbench.errors import UserError
from prefbench.problem.problem import apportion
from prefbench.record.evidence import read_items
from prefbench.record.files import read_record
from prefbench.record.problems import Problems
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.tools.rerun import draw, rerun
from support.evaluated_once import evaluated_once
from support.forging import LIVELY, forge, problem_of, saying
from support.tiny import TINY_ALIGNER, TINY_SETS


@pytest.fixture(autouse=True, scope="module")
def tables_evaluated_once():
    """Here few tables stand beside many records."""
    with evaluated_once():
        yield


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Honest runs, packed: `{"maxmin 0": folder, ..., "world dpo": folder}`."""
    runs, packed = (tmp_path_factory.mktemp(name) for name in ("runs", "packed"))
    made = {}
    for seed, aligners in ((0, ("reference", "dpo", "maxmin", "gold_maxmin")), (1, ("reference", "maxmin"))):
        for aligner in aligners:
            known = registry.get("aligner", aligner).options.model_fields
            tiny = [f"aligner.{key}={value}" for key, value in TINY_ALIGNER.items() if key in known]
            sets = parse_sets([*TINY_SETS, *LIVELY, *tiny])
            spec = make_spec(task="imdb_two_group", aligner=aligner, seed=seed, sets=sets)
            made[f"{aligner} {seed}"] = run(spec, runs)[0]
    for aligner in ("reference", "dpo", "gold_maxmin"):
        made[f"world {aligner}"] = run(make_spec(task="bandit_two_group", aligner=aligner), runs)[0]
    submit([runs], packed)
    by_spec = {json.dumps(read_record(folder).spec): folder for folder in packed.iterdir()}
    return {name: by_spec[json.dumps(read_record(folder).spec)] for name, folder in made.items()}


def worst_rows(items: pd.DataFrame) -> Any:
    """Rows that some group loses."""
    lost = [items[f"utility/{g}"] < items[f"reference_utility/{g}"] for g in ("sentiment", "conciseness")]
    return np.logical_or.reduce(lost)


@dataclasses.dataclass(frozen=True)
class Forgery:
    """What a forger made, and the honest runs that it lies among."""

    forged: list[Path]
    among: list[Path]
    honest: bool = True
    """Whether the honest runs beside it must stay unnamed; the original of a copy is named with it."""


Board = dict[str, Path]
SIDES = ("", "reference_")
FORGERIES: dict[str, tuple[Callable[[Board, Path], Forgery], str]] = {}
"""By kind: how it is made, and what `verify` says of it."""


def forgery(kind: str, said: str) -> Callable[..., Any]:
    def register(function: Callable[[Board, Path], Forgery]) -> Callable[..., Any]:
        FORGERIES[kind] = (function, said)
        return function

    return register


def nano(board: Board, *without: str) -> list[Path]:
    return [folder for name, folder in board.items() if not name.startswith("world") and name not in without]


# ------------------------------------------------------------------------------- kinds of forgery
# "was found" and "passed" say what 0.1.0's verify made of each on this board.


@forgery("utilities shifted", "utility of sentiment is not what the task computes")  # passed
def shifted(board: Board, into: Path) -> Forgery:
    columns = ["utility/sentiment", "utility/conciseness"]
    made = forge(board["maxmin 0"], into, lambda items: items.assign(**(items[columns] + 100)))
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("utilities scaled for one group", "utility of conciseness is not what the task computes")  # passed
def scaled(board: Board, into: Path) -> Forgery:
    column = "utility/conciseness"
    made = forge(board["maxmin 0"], into, lambda items: items.assign(**{column: items[column] * 0.5}))
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("ties broken by a hair", "utility of conciseness is not what the task computes")  # passed
def hair(board: Board, into: Path) -> Forgery:
    column = "utility/conciseness"
    made = forge(board["maxmin 0"], into, lambda items: items.assign(**{column: items[column] + 1e-8}))
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("non-words hidden", "nonwords is not what the task's lexicon says")  # not recorded then
def nonsense_hidden(board: Board, into: Path) -> Forgery:
    made = forge(board["dpo 0"], into, lambda items: items.assign(nonwords=0.0))
    return Forgery([made], nano(board, "dpo 0"))


@forgery("responses replaced by the reference's", "its responses are its reference responses")  # passed
def echoed(board: Board, into: Path) -> Forgery:
    source = board["dpo 0"]
    texts = read_items(source)["reference_response"].tolist()
    return Forgery([forge(source, into, saying(source, texts))], nano(board, "dpo 0"))


@forgery("items copied between aligners", "of another aligner")  # passed
def copied(board: Board, into: Path) -> Forgery:
    made = forge(board["dpo 0"], into, spec=as_aligner("gr_dpo"))
    return Forgery([made], nano(board), honest=False)


@forgery("an oracle's items under a learner's name", "of another aligner")  # passed
def oracle(board: Board, into: Path) -> Forgery:
    spec = read_record(board["maxmin 0"]).spec
    made = forge(board["gold_maxmin 0"], into, spec=spec)
    return Forgery([made], nano(board, "maxmin 0"), honest=False)


@forgery("a copy in capitals", "of another aligner")  # passed
def disguised(board: Board, into: Path) -> Forgery:
    source = board["gold_maxmin 0"]
    texts = [f"{text.upper()} !" for text in read_items(source)["response"].tolist()]
    made = forge(source, into, saying(source, texts), spec=read_record(board["maxmin 0"]).spec)
    return Forgery([made], nano(board, "maxmin 0"), honest=False)


@forgery("references emptied", "lean to one side")  # passed
def emptied(board: Board, into: Path) -> Forgery:
    source = board["maxmin 0"]
    texts = [""] * len(read_items(source))
    made = forge(source, into, saying(source, texts, "reference_response"))
    return Forgery([made], nano(board, "maxmin 0"), honest=False)


@forgery("references made worse", "lean to one side")  # passed
def worsened(board: Board, into: Path) -> Forgery:
    source = board["maxmin 0"]
    items = read_items(source)
    bad = " awful" * 30
    texts = [
        text + bad if lost else text
        for text, lost in zip(items["reference_response"], worst_rows(items), strict=True)
    ]
    made = forge(source, into, saying(source, texts, "reference_response"))
    return Forgery([made], nano(board, "maxmin 0"), honest=False)


@forgery("losing prompts dropped", "test prompts")  # was found, by its prompts' being other than the others'
def dropped(board: Board, into: Path) -> Forgery:
    made = forge(board["maxmin 0"], into, lambda items: items[~worst_rows(items)])
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("winning prompts in place of losing ones", "its prompts are not the task's")  # was found so too
def doubled(board: Board, into: Path) -> Forgery:
    def change(items: pd.DataFrame) -> pd.DataFrame:
        lost = worst_rows(items)
        won = np.flatnonzero(~lost)
        rows = np.where(lost, won[np.arange(len(items)) % len(won)], np.arange(len(items)))
        return items.iloc[rows].reset_index(drop=True).assign(prompt_id=items["prompt_id"])

    return Forgery([forge(board["maxmin 0"], into, change)], nano(board, "maxmin 0"))


@forgery("easier prompts", "its prompts are not the task's")  # was found so too
def easier(board: Board, into: Path) -> Forgery:
    made = forge(board["maxmin 0"], into, lambda items: items.assign(prompt="a joy : " + items["prompt"]))
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("outvoting", "its prompts are not the task's")  # passed, and the honest runs were named
def outvoting(board: Board, into: Path) -> Forgery:
    made = [
        forge(
            source,
            into,
            lambda items: items.assign(prompt="a joy : " + items["prompt"]),
            spec={"aligner_options": {**read_record(source).spec["aligner_options"], "beta": beta}},
        )
        for source in [board["dpo 0"]]
        for beta in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    ]
    return Forgery(made, nano(board))


@forgery("shares edited", "share of sentiment is 0.5")  # passed
def shares(board: Board, into: Path) -> Forgery:
    groups = [("sentiment", 0.5, False), ("conciseness", 0.5, True)]
    return Forgery([forge(board["maxmin 0"], into, groups=groups)], nano(board, "maxmin 0"))


@forgery("minority and majority exchanged", "is_minority of sentiment")  # passed
def exchanged(board: Board, into: Path) -> Forgery:
    groups = [("sentiment", 0.2, True), ("conciseness", 0.8, False)]
    return Forgery([forge(board["maxmin 0"], into, groups=groups)], nano(board, "maxmin 0"))


@forgery("groups renamed", "groups are conciseness, sentiment")  # passed
def renamed(board: Board, into: Path) -> Forgery:
    def change(items: pd.DataFrame) -> pd.DataFrame:
        both = {"sentiment": "conciseness", "conciseness": "sentiment"}
        sides = [
            (f"{side}utility/{a}", f"{side}utility/{both[a]}") for a in both for side in ("", "reference_")
        ]
        return items.rename(columns=dict(sides))

    groups = [("conciseness", 0.8, False), ("sentiment", 0.2, True)]
    return Forgery([forge(board["maxmin 0"], into, change, groups=groups)], nano(board, "maxmin 0"))


@forgery("one seed for five", "under another seed")  # passed
def one_seed(board: Board, into: Path) -> Forgery:
    source = board["maxmin 0"]
    made = []
    for seed in (1, 2, 3, 4):
        # He looks up what the prompts of each seed are, and what its task says of itself.
        problem = problem_of(source, seed=seed)
        test = list(problem.prompts.test)
        said = {**read_record(source).task_report, **problem.report}
        asked = lambda items, test=test: items.assign(prompt=test)  # noqa: E731
        made.append(forge(source, into, asked, spec={"seed": seed}, task_report=said))
    return Forgery(made, nano(board, "maxmin 1", "reference 1"), honest=False)


@forgery("options that do not exist", "unknown option aligner.magic")  # passed
def magic(board: Board, into: Path) -> Forgery:
    options = {**read_record(board["maxmin 0"]).spec["aligner_options"], "magic": 1}
    made = forge(board["maxmin 0"], into, spec={"aligner_options": options})
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("options that no run can have", "option aligner.kl_coefficient")  # passed
def impossible(board: Board, into: Path) -> Forgery:
    options = {**read_record(board["maxmin 0"]).spec["aligner_options"], "kl_coefficient": "little"}
    made = forge(board["maxmin 0"], into, spec={"aligner_options": options})
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("options left out", "the specification lacks aligner.kl_coefficient")  # passed
def left_out(board: Board, into: Path) -> Forgery:
    options = {**read_record(board["maxmin 0"]).spec["aligner_options"]}
    del options["kl_coefficient"]
    made = forge(board["maxmin 0"], into, spec={"aligner_options": options})
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("a choice among the defaults", "the default of aligner.kl_coefficient is")  # not recorded then
def chosen_by_default(board: Board, into: Path) -> Forgery:
    record = read_record(board["maxmin 0"])
    options = {**record.spec["aligner_options"], "kl_coefficient": 0.7}
    usual = {**record.defaults, "aligner": {**record.defaults["aligner"], "kl_coefficient": 0.7}}
    made = forge(board["maxmin 0"], into, spec={"aligner_options": options}, defaults=usual)
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("task options edited", "n_prompts is 120, the task has 60")  # passed
def fewer(board: Board, into: Path) -> Forgery:
    options = {**read_record(board["maxmin 0"]).spec["task_options"], "test_prompts": 60}
    return Forgery([forge(board["maxmin 0"], into, spec={"task_options": options})], nano(board, "maxmin 0"))


@forgery("ratio edited", "under another ratio")  # passed
def ratio(board: Board, into: Path) -> Forgery:
    few = apportion([0.7, 0.3], 8)[1] / 8
    groups = [("sentiment", 1 - few, False), ("conciseness", few, True)]
    made = forge(board["maxmin 0"], into, spec={"minority_ratio": 0.3}, groups=groups)
    return Forgery([made], nano(board), honest=False)


@forgery("needs understated", "needs is nothing, gold_maxmin needs oracle")  # was found
def modest(board: Board, into: Path) -> Forgery:
    return Forgery([forge(board["gold_maxmin 0"], into, needs=[])], nano(board, "gold_maxmin 0"))


@forgery("words edited", "words is not the number of words")  # was found
def wordy(board: Board, into: Path) -> Forgery:
    made = forge(board["maxmin 0"], into, lambda items: items.assign(words=items["words"] + 1))
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("emptiness hidden", "empty does not fit the response")  # was found
def hidden(board: Board, into: Path) -> Forgery:
    source = board["maxmin 0"]
    silent = saying(source, ["..."] * len(read_items(source)))
    made = forge(source, into, lambda items: silent(items).assign(empty=False))
    return Forgery([made], nano(board, "maxmin 0"))


@forgery("the task's report edited", "task_report.reviews")  # passed
def report(board: Board, into: Path) -> Forgery:
    said = {**read_record(board["maxmin 0"]).task_report, "reviews": 20000}
    return Forgery([forge(board["maxmin 0"], into, task_report=said)], nano(board, "maxmin 0"))


@forgery("a world's kl edited", "kl is not that of distribution.parquet")  # passed
def cheap(board: Board, into: Path) -> Forgery:
    made = forge(board["world dpo"], into, lambda items: items.assign(kl=items["kl"] / 10))
    return Forgery([made], [board["world reference"]])


@forgery("a world's utilities edited", "utility of")  # passed
def richer(board: Board, into: Path) -> Forgery:
    def change(items: pd.DataFrame) -> pd.DataFrame:
        names = [name for name in items.columns if name.startswith("utility/")]
        return items.assign(**(items[names] + 1))

    return Forgery([forge(board["world dpo"], into, change)], [board["world reference"]])


@forgery("an oracle's distribution beside a learner's items", "was not drawn from its policy")  # passed
def borrowed(board: Board, into: Path) -> Forgery:
    better = read_items(board["world gold_maxmin"], "distribution.parquet")
    made = forge(
        board["world dpo"], into, lambda items: items.assign(kl=np.nan), distribution=lambda table: better
    )
    return Forgery([made], [board["world reference"]])


@forgery("a distribution of another world", "utility/")  # passed
def elsewhere(board: Board, into: Path) -> Forgery:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        names = [name for name in table.columns if name.startswith("utility/")]
        return table.assign(**{name: np.log(table["policy"] / table["reference"]) for name in names})

    return Forgery([forge(board["world dpo"], into, distribution=change)], [board["world reference"]])


@forgery("another price of divergence", "regret.beta is")  # passed
def priced(board: Board, into: Path) -> Forgery:
    return Forgery([forge(board["world dpo"], into, regret={"beta": 9.0})], [board["world reference"]])


def as_aligner(name: str) -> dict[str, Any]:
    spec = make_spec(task="imdb_two_group", aligner=name).to_dict()
    return {key: spec[key] for key in ("aligner", "aligner_options")}


# ------------------------------------------------------------------------------- they are found


def test_honest_runs_pass(board, tmp_path):
    found = verify_board(list(board.values()))
    assert [(each.wrong, each.odd, each.unchecked) for each in found] == [([], [], [])] * len(board)
    assert len(merge(list(board.values()), tmp_path / "records")) == len(board)


def test_a_problem_is_built_once_for_all_runs_that_share_it(board, monkeypatch):
    entry, built = registry.get("task", "imdb_two_group"), []

    def function(data, ratio, seed, **options):
        built.append(seed)
        return entry.function(data, ratio, seed, **options)

    counting = dataclasses.replace(entry, function=functools.wraps(entry.function)(function))
    monkeypatch.setitem(registry._entries, ("task", "imdb_two_group"), counting)
    monkeypatch.setattr(Problems, "_build", Problems._build.__wrapped__)  # as it is, which keeps none
    assert not any(each.wrong for each in verify_board(nano(board)))
    assert sorted(built) == [0, 1]
    verify_board(nano(board), sample=1)
    assert len(built) == 3


def test_a_reference_that_differs_once_is_odd_and_on_one_machine_an_edit(board, tmp_path):
    source = board["maxmin 0"]
    texts = read_items(source)["reference_response"].tolist()
    other = saying(source, [texts[1], *texts[1:]], "reference_response")
    odd = forge(source, tmp_path / "odd", other)
    honest, found = verify_board([board["dpo 0"], odd])
    for each in (honest, found):
        assert each.wrong == [] and "another machine, or edited" in each.odd[0]
    made = read_record(source).provenance.model_copy(update={"hardware": "NVIDIA H200"})
    same = [
        forge(board["dpo 0"], tmp_path / "a", provenance=made),
        forge(source, tmp_path / "b", other, provenance=made),
    ]
    for each in verify_board(same):
        assert "made on the same machine: one of them was edited" in each.wrong[0]


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_run_is_refused_by_verify_and_merge(board, tmp_path, kind):
    make, said = FORGERIES[kind]
    made = make(board, tmp_path / "forged")
    found = verify_board([*made.among, *made.forged])
    for each in found[len(made.among) :]:
        assert any(said in sentence for sentence in each.wrong), (each.folder.name, each.wrong)
    if made.honest:
        assert [each.wrong for each in found[: len(made.among)]] == [[]] * len(made.among)
    records = tmp_path / "records"
    records.mkdir()
    for folder in made.among:
        shutil.copytree(folder, records / folder.name)
    before = sorted(path.name for path in records.iterdir())
    with pytest.raises(UserError, match="does not verify"):
        merge([tmp_path / "forged"], records)
    assert sorted(path.name for path in records.iterdir()) == before


def test_what_content_cannot_tell_is_named_by_computing_it_anew(board, tmp_path):
    """Invented texts, a language model's kl or rewards, and copies or edits whose originals are not there."""
    source = board["maxmin 0"]
    rng = np.random.default_rng(0)
    nice = [" ".join(rng.choice(["lovely", "fine", "great", "film"], 3)) for _ in range(120)]
    options = {**read_record(source).spec["aligner_options"], "kl_coefficient": 5.0}
    forge(source, tmp_path / "a", saying(source, nice))
    forge(source, tmp_path / "b", lambda items: items.assign(kl=items["kl"] / 10))
    forge(source, tmp_path / "c", spec={"aligner_options": options})
    learner = read_record(source)
    forge(board["gold_maxmin 0"], tmp_path / "d", spec=learner.spec, code=learner.code)
    forge(source, tmp_path / "e", lambda items: items.assign(**{"proxy/cluster 1": 9.0}))
    checked = [each for name in "abcde" for each in verify_board(runs_in(tmp_path / name))]
    assert [each.wrong for each in checked] == [[]] * 5  # each by itself looks well
    honest = verify_board([board["maxmin 0"], board["world dpo"]])
    again = list(rerun(draw([*checked, *honest], 7, seed=0)[0]))
    by_folder = {str(each.folder): each for each in again}
    for each, said in zip(
        checked,
        (
            "responses are not",
            "kl is not",
            "responses are not",
            "responses are not",
            "proxy/cluster 1 is not what the code gives",
        ),
        strict=True,
    ):
        found = by_folder[str(each.folder)]
        assert found.said == "text by text" and said in found.wrong[0], found
    assert [by_folder[str(each.folder)].wrong for each in honest] == [(), ()]

"""Two models on the same prompts, for groups that want different things."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from prefbench import registry
from prefbench.api.shown import Shown, know_plugins, path_of
from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.boards.models_output import HEADER, models_rows, models_sentences, models_title
from prefbench.boards.rows import Row
from prefbench.data.generate import read_prompts
from prefbench.errors import UserError
from prefbench.evaluate.models import LEVEL, ModelAnswers, ModelComparison, compare_answers
from prefbench.evaluate.wishes import MARGIN, FunctionUtility, Wish, read_wishes
from prefbench.problem.problem import prompts_alone
from prefbench.problem.utilities.named import utility_named
from prefbench.problem.utilities.protocol import Utility
from prefbench.report.models_page import write_models_page
from prefbench.report.tables import rows_table
from prefbench.seeds import child
from prefbench.spec import name_outside, resolve
from prefbench.store.progress import Reporter
from prefbench.store.stages import Store

Model = str | Mapping[str, str | Sequence[str]]
"""`KIND:SOURCE`, such as `responses:outputs.jsonl`, or responses by prompt."""
Groups = str | os.PathLike[str] | Mapping[str, Utility | str | Callable[..., Any]]
"""A groups file, or by name of the group a utility, its name, or a function of prompts and responses."""
RESPONSE_TOKENS = 512
"""Longest response of a model that is asked, unless its option max_tokens says otherwise."""


class ComparedModels(Shown):
    """The new model against the old one, group by group: what `compare_models` returns."""

    def __init__(self, comparison: ModelComparison) -> None:
        self.statistics = comparison
        """All numbers, and the responses behind them."""

    @property
    def exit_code(self) -> int:
        """1 if a group loses, or if nothing was decided; else 0."""
        return self.statistics.exit_code

    def write_page(self, path: str | os.PathLike[str]) -> None:
        """Write the page that `prefbench compare-models --page` writes."""
        write_models_page(self.statistics, path_of(path, "path"))

    def _tables(self) -> list[Table]:
        title = models_title(self.statistics)
        return [rows_table(title, list(HEADER), models_rows(self.statistics))]

    def _sentences(self) -> list[str]:
        return models_sentences(self.statistics)

    def _rows(self) -> list[Row]:
        raise UserError(
            "two models compared have no leaderboard to draw: use write_page, which makes their page."
        )


def compare_models(
    old: Model,
    new: Model,
    *,
    groups: Groups,
    prompts: str | os.PathLike[str] | Sequence[str] | None = None,
    samples: int = 1,
    seed: int = 0,
    sets: Mapping[str, Mapping[str, Any]] | None = None,
    margin: float | None = None,
    level: float | None = None,
    strict: bool | None = None,
    allow_undecided: bool | None = None,
    allow_plugins: bool = False,
    runs_dir: str | os.PathLike[str] = "runs",
    reporter: Reporter | None = None,
) -> ComparedModels:
    """Compare two models for groups that want different things: no task, no annotators, no training.

    Args:
        old: the model that is in use.
        new: the model that is to take its place.
        groups: what each group wants.
        prompts: a file of prompts or the prompts themselves; those of `old`, where its responses are given.
        samples: responses to each prompt.
        seed: of what is sampled.
        sets: options of each side's kind, `{"old": {...}, "new": {...}}`.
        margin: the share below one half that is tolerated, of groups that name none; the file's, else 0.03.
        level: one-sided significance level of all groups together; the file's, else 0.05.
        strict: count also what is undecided as a loss; the file's, else False.
        allow_undecided: let pass where nothing was decided; the file's, else False.
        allow_plugins: run the Python files that a groups file names.
        runs_dir: where answers of servers and judges are kept.
        reporter: who is told how it goes.

    Raises:
        UserError: one line on the first thing that is wrong.
    """
    know_plugins()
    folder = path_of(runs_dir, "runs_dir")
    for model in (old, new):
        if isinstance(model, str):
            name_outside(model)  # what is no kind is said before anything is read
    said, wishes = _wishes(groups, allow_plugins, folder, margin)
    asked = _prompts(prompts, old)
    for side in sets or {}:
        if side not in ("old", "new"):
            raise UserError(f"unknown section '{side}' of options: the sides are old and new.")
    options = {side: (sets or {}).get(side, {}) for side in ("old", "new")}
    store = Store(folder, reporter)
    before, after = (
        _answers(model, side, asked, samples, seed, options[side], store)
        for side, model in (("old", old), ("new", new))
    )
    chosen: dict[str, Any] = {
        "level": said.get("level", LEVEL) if level is None else level,
        "strict": said.get("strict", False) if strict is None else strict,
        "allow_undecided": said.get("allow_undecided", False) if allow_undecided is None else allow_undecided,
    }
    return ComparedModels(compare_answers(asked, before, after, wishes, **chosen))


def _wishes(
    groups: Groups, allow_plugins: bool, folder: Path, margin: float | None
) -> tuple[dict[str, Any], tuple[Wish, ...]]:
    if isinstance(groups, str | os.PathLike):
        said, wishes = read_wishes(path_of(groups, "groups"), allow_plugins, folder / "verdicts", margin)
        return said.given(), wishes
    tolerated = MARGIN if margin is None else margin
    return {}, tuple(Wish(name, _utility(name, wish), tolerated) for name, wish in groups.items())


def _utility(name: str, wish: Utility | str | Callable[..., Any]) -> Utility:
    if isinstance(wish, Utility):
        return wish
    return utility_named(wish) if isinstance(wish, str) else FunctionUtility(f"function of {name}", wish)


def _prompts(prompts: str | os.PathLike[str] | Sequence[str] | None, old: Model) -> tuple[str, ...]:
    """The prompts, each once, in the order given."""
    if prompts is None:
        if not isinstance(old, str):
            return tuple(old)
        kind, _, source = old.partition(":")
        if kind != "responses":
            raise UserError(f"'{old}' is to be asked, but nothing says what: give --prompts FILE.")
        prompts = source
    if isinstance(prompts, str | os.PathLike):
        return tuple(dict.fromkeys(read_prompts(str(path_of(prompts, "prompts")))))
    return tuple(dict.fromkeys(prompts))


def _answers(
    model: Model,
    side: str,
    prompts: tuple[str, ...],
    samples: int,
    seed: int,
    options: Mapping[str, Any],
    store: Store,
) -> ModelAnswers:
    if isinstance(model, Mapping):
        missing = [prompt for prompt in prompts if prompt not in model]
        if missing:
            raise UserError(
                f"{side} lacks responses to {len(missing)} prompts, the first is {missing[0]!r:.60}"
                ": add them, or give --prompts without them."
            )
        rows = [model[prompt] for prompt in prompts]
        return ModelAnswers(side, [[row] if isinstance(row, str) else list(row) for row in rows])
    name, outside = name_outside(model)
    entry = registry.get("policy", name.partition(":")[0])
    problem = prompts_alone(prompts, RESPONSE_TOKENS)
    request = PolicyRequest(outside["source"], problem, samples, store, side, "--samples")
    checked = entry.options(**resolve(entry.options, options, side, entry.name))
    made = Outside.of(entry.function(request, checked))
    said = made.policy.sample(prompts, samples, child(seed, "compare", side))
    return ModelAnswers(made.writer or name.partition(":")[2], said)

"""Groups of people as a groups file states them: a name and, in one of four ways, a wish."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prefbench import consent
from prefbench.chat.server import Server
from prefbench.config import GroupsFile, JudgeTable, WishTable, read
from prefbench.errors import UserError
from prefbench.evaluate.judge import Judge
from prefbench.evaluate.reward_model import load_reward_model
from prefbench.file_plugins import load_module, plugins_of_file
from prefbench.files import TOML_BYTES, read_bytes
from prefbench.problem.utilities.combined import Negated
from prefbench.problem.utilities.named import utility_named
from prefbench.problem.utilities.protocol import Scores, Utility
from prefbench.text import message_or_type

Function = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""Prompts `[n]` and responses `[n]` to a number for each, larger is better."""
MARGIN = 0.03
EMPTY = -1e9
"""Utility of a response without a word by an opposite: less than anything."""
WAYS = ("utility", "judge", "reward_model", "function")


@dataclass(frozen=True)
class Wish:
    """A group that is asked which of two responses it likes better."""

    name: str
    utility: Utility
    margin: float = MARGIN
    """The share below one half that it may be won by less often before that is a loss."""


@dataclass(frozen=True)
class FunctionUtility(Utility):
    """The numbers that somebody's function gives.

    Attributes:
        name: the function's name, and a digest of the file that it stands in where it came in one.
        function: asked for all responses at once.
    """

    name: str
    function: Function = field(repr=False, compare=False)
    unit: str = "the function's"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Number that the function gives each response.

        Raises:
            UserError: it fails, or gives something else than a finite number for each.
        """
        try:
            scores = np.asarray(self.function(list(prompts), list(responses)), dtype=np.float64)
        except Exception as error:  # a stranger's function may raise anything
            raise UserError(f"{self.name} failed: {message_or_type(error)}; mend it.") from error
        if scores.shape != (len(responses),) or not np.isfinite(scores).all():
            raise UserError(
                f"{self.name} has to give one finite number for each of {len(responses)} responses, and gave "
                f"{'numbers that are not finite' if scores.shape == (len(responses),) else scores.shape}."
            )
        return scores


def read_wishes(
    path: Path, allow_plugins: bool, cache: Path, margin: float | None = None
) -> tuple[GroupsFile, tuple[Wish, ...]]:
    """The groups of a file, each ready to be asked.

    Args:
        path: of the TOML file; functions are looked up from its folder.
        allow_plugins: run the Python files that it names.
        cache: folder for the answers of a judge.
        margin: of groups that name none; the file's if left out.

    Raises:
        UserError: one line on the first thing that is wrong.
    """
    where = f"--groups {path}"
    said = read(GroupsFile, str(path), "--groups ")
    if not said.group:
        raise UserError(f"{where}: there is no group: write [[group]] and below it a name and a wish.")
    names = [table.name for table in said.group]
    for name in names:
        if not name.strip() or not name.isprintable():
            raise UserError(f"{where}: {name!r} is no name for a group: give it a word.")
        if names.count(name) > 1:
            raise UserError(f"{where}: two groups are called '{name}': name each another way.")
    files = [path.parent / _place(table, where)[0] for table in said.group if table.function is not None]
    if not allow_plugins:
        plugins_of_file([str(file) for file in files], (), where, "refuse")
    if margin is None:
        margin = MARGIN if said.margin is None else said.margin
    wishes = []
    for table in said.group:
        own = margin if table.margin is None else table.margin
        if not 0 <= own < 0.5:
            raise UserError(f"{where}: margin {own} is not in [0, 0.5): three points are 0.03.")
        wishes.append(Wish(table.name, _utility(table, said.judge, path, where, cache), own))
    return said, tuple(wishes)


def _utility(table: WishTable, server: JudgeTable | None, path: Path, where: str, cache: Path) -> Utility:
    given = [way for way in WAYS if getattr(table, way) is not None]
    group = f"{where}: group '{table.name}'"
    if len(given) != 1:
        raise UserError(
            f"{group} has {' and '.join(given) if given else 'no wish'}: give it one of {', '.join(WAYS)}."
        )
    if table.judge is not None:
        if table.less:
            raise UserError(f"{group}: less turns numbers round, and a judge gives none: say it in words.")
        return _judge(table.judge, server, where, cache)
    utility: Utility
    if table.utility is not None:
        try:
            utility = utility_named(table.utility)
        except UserError as error:
            raise UserError(f"{group}: {error}") from None
    elif table.reward_model is not None:
        utility = load_reward_model(table.reward_model)
    else:
        utility = _function(path.parent, _place(table, where), group)
    return Negated(utility, EMPTY) if table.less else utility


def _judge(sentence: str, server: JudgeTable | None, where: str, cache: Path) -> Judge:
    if server is None:
        raise UserError(f"{where}: a sentence needs a judge: write [judge] and below it model and url.")
    consent.variable_of(server.url, f"{where}: the judge at {server.url!r}")
    chat = Server(server.url, server.model, cache, concurrency=server.concurrency)
    return Judge(chat, sentence, server.max_tokens)


def _place(table: WishTable, where: str) -> tuple[str, str]:
    """File and name of a function."""
    file, colon, name = str(table.function).rpartition(":")
    if not (colon and file.endswith(".py") and name.isidentifier()):
        raise UserError(f"{where}: group '{table.name}': function = {table.function!r} is not FILE.py:NAME.")
    return file, name


def _function(folder: Path, place: tuple[str, str], group: str) -> FunctionUtility:
    file, name = folder / place[0], place[1]
    function = getattr(load_module(str(file), f"{group}: "), name, None)
    if not callable(function):
        raise UserError(f"{group}: {place[0]} has no function called {name}: write one, or name another.")
    content = hashlib.sha256(read_bytes(file, TOML_BYTES)).hexdigest()
    return FunctionUtility(f"function/1:{name}:{content[:12]}", function)

"""Contract checks for anyone's task or aligner: what the harness takes for granted, tried out.

A task is built at several ratios and seeds and its utilities are called; nothing is trained but one tiny
model for a run from end to end. An aligner is run on a tiny task of our own, on every backbone that it
applies to, and run again under conditions that must not change what it does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel

from prefbench import registry, seeds
from prefbench.errors import PrefbenchError, UserError
from prefbench.learn.interface import Backbone, Policy
from prefbench.problem.problem import Group, Problem, Prompts, apportion
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.view import View
from prefbench.registry import Entry, NoOptions
from prefbench.sources import path_digest
from prefbench.spec import RunSpec, make_spec, resolve
from prefbench.text import text_digest

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.problem.world import World

Status = Literal["passed", "warned", "failed", "left out"]

RATIOS = (0.2, 0.5, 0.1)
SEEDS = (0, 1)
LOW_DIVERSITY = 0.05
"""Mean difference of two groups' preference probabilities below which hardly any pair tells them apart."""
SCORED = 200
"""Responses that a utility is tried on."""
ALONE = 20
"""Of these, how many are scored one by one too."""
SEARCHED = 4e9
"""Characters of corpus times test prompts beyond which fewer prompts are looked for."""
TASKS = {"causal_lm": "check_words", "finite": "check_world"}
"""Names of the tiny tasks, known to the registry while a check runs."""
FLOOR = "check_reference"
FACTORS = (0.1, 1e-6, 10.0, 1e-3)
"""What a number is multiplied by to see whether that makes a difference, one after the other."""
SOON = 2
"""Values of an option that are tried first, before others and other switches."""

TINY_MODEL = {
    "device": "cpu",
    "steps": 10,
    "width": 16,
    "layers": 1,
    "heads": 2,
    "vocabulary": 300,
    "batch": 16,
}
TINY_ALIGNER = {
    "iterations": 2,
    "batch": 16,
    "epochs": 1,
    "minibatches": 2,
    "reward_epochs": 1,
    "reward_group_epochs": 1,
    "em_restarts": 1,
    "em_iterations": 2,
}
"""Values that make common options quick; what an aligner does not have, or does not allow, is left alone."""

Sets = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Finding:
    """One check and how it went."""

    words: str
    """What should hold."""
    status: Status
    detail: str = ""
    """What is wrong and how to mend it."""


class _Checks:
    """Tries one check after the other, whatever becomes of the earlier ones."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.findings: list[Finding] = []
        self._tell = tell

    def add(self, words: str, status: Status, detail: str = "") -> None:
        finding = Finding(words, status, " ".join(detail.split()))
        self.findings.append(finding)
        self._tell(finding)

    def that(
        self, words: str, wrong: Callable[[], str | None], otherwise: Literal["failed", "warned"] = "failed"
    ) -> bool:
        """Whether `wrong`, which says what is wrong, says nothing and raises nothing."""
        try:
            detail = wrong()
        except Exception as error:  # a stranger's code may raise anything
            self.add(words, "failed", _raised(error))
            return False
        self.add(words, "passed" if detail is None else otherwise, detail or "")
        return detail is None


def _raised(error: Exception) -> str:
    return str(error) if isinstance(error, PrefbenchError) else f"{type(error).__name__}: {error}"


def find(name: str, plugins: Sequence[str] = ()) -> tuple[list[Entry], dict[str, str]]:
    """What `prefbench check NAME` is about: every task and aligner of that name, or of that file.

    Returns:
        The entries, and which installed plug-ins failed to import and why.

    Raises:
        UserError: there is none.
    """
    broken = registry.load_plugins(plugins)
    if name.endswith(".py") or Path(name).is_file():
        return _of_file(name), broken
    everything = _tasks_and_aligners()
    found = [e for e in everything if e.name == name]
    if not found:
        near = registry.suggest(name, (e.name for e in everything))
        raise UserError(f"no task or aligner is called '{name}'.{near}")
    return found, broken


def _tasks_and_aligners() -> list[Entry]:
    return [*registry.entries("task"), *registry.entries("aligner")]


def _of_file(name: str) -> list[Entry]:
    path = Path(name)
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"'{name}' is no Python file: name one, or a task or aligner that is registered.")
    path = path.resolve()
    # A file of an installed package is known already, and nothing may be registered twice.
    if not any(_file_of(entry) == path for entry in _tasks_and_aligners()):
        registry.load_plugins([name])
    found = [entry for entry in _tasks_and_aligners() if _file_of(entry) == path]
    if not found:
        raise UserError(
            f"'{name}' registers no task and no aligner: decorate one with @task(...) or @aligner(...)."
        )
    return found


def _file_of(entry: Entry) -> Path | None:
    file = getattr(sys.modules.get(entry.function.__module__), "__file__", None)
    return None if file is None else Path(file).resolve()


def check(
    entry: Entry,
    *,
    task: str | None = None,
    data: str = "synthetic",
    sets: Sets | None = None,
    plugins: Sequence[str] = (),
    tell: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Check one task or aligner.

    Args:
        entry: what to check.
        task: for an aligner, the task to try it on instead of our own tiny ones.
        data: what a task is to read.
        sets: options by section, as `prefbench.spec.make_spec` takes them.
        plugins: files that another process has to load to know `entry`.
        tell: called with each finding as it comes.

    Raises:
        UserError: an option is wrong, or the task cannot be built from this data.
    """
    resolve(entry.options, (sets or {}).get(entry.kind, {}), entry.kind, entry.name)
    checks = _Checks(tell)
    with _lent(), tempfile.TemporaryDirectory(prefix="prefbench-check-") as folder:
        if entry.kind == "task":
            _check_task(checks, entry, data, sets or {}, plugins, Path(folder))
        else:
            _check_aligner(checks, entry, task, data, sets or {}, Path(folder))
    return checks.findings


# ------------------------------------------------------------------------------------------ both


def _check_words(checks: _Checks, entry: Entry) -> None:
    checks.that(
        "has a docstring, whose first line is its summary",
        lambda: None if entry.summary.strip() else "write one: `prefbench list` shows its first line.",
    )
    checks.that("every option says what it means", lambda: _undescribed(entry))


def _undescribed(entry: Entry) -> str | None:
    silent = [
        name for name, field in entry.options.model_fields.items() if not (field.description or "").strip()
    ]
    if not silent:
        return None
    how = "Field(description=...)" if entry.kind == "task" else "a docstring under it"
    return f"{', '.join(silent)} without a description: give it {how}."


@contextlib.contextmanager
def _untouched() -> Iterator[Callable[[], str | None]]:
    """A function that says which global generators were drawn from or seeded since; they are put back."""
    import torch

    def states() -> dict[str, bytes]:
        words: Any = np.random.get_state(legacy=True)  # noqa: NPY002  (the global state is the subject)
        return {
            "random": repr(random.getstate()).encode(),
            "numpy.random": repr((words[0], *words[2:])).encode() + words[1].tobytes(),
            "torch": torch.get_rng_state().numpy().tobytes(),
        }

    kept = random.getstate(), np.random.get_state(legacy=True), torch.get_rng_state()  # noqa: NPY002
    before = states()

    def changed() -> str | None:
        moved = [name for name, state in states().items() if state != before[name]]
        if not moved:
            return None
        return f"the global state of {', '.join(moved)} moved: draw from prefbench.seeds instead."

    try:
        yield changed
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])


@contextlib.contextmanager
def _lent() -> Iterator[None]:
    """Our own tiny tasks and an aligner that does nothing, registered for as long as this lasts."""
    known = dict(registry._entries)
    registry.task(TASKS["causal_lm"])(_words_task)
    registry.task(TASKS["finite"], backbone="finite")(_world_task)
    registry.aligner(FLOOR)(_reference)
    try:
        yield
    finally:
        registry._entries.clear()
        registry._entries.update(known)


# ------------------------------------------------------------------------------------------ tasks


def _check_task(
    checks: _Checks, entry: Entry, data: str, sets: Sets, plugins: Sequence[str], folder: Path
) -> None:
    options = resolve(entry.options, sets.get("task", {}), "task", entry.name)

    def build(ratio: float, seed: int) -> Problem:
        made = entry.function(data, ratio, seed, **options)
        if not isinstance(made, Problem):
            raise TypeError(f"it returned {type(made).__name__}, not a prefbench.Problem.")
        return made

    _check_words(checks, entry)
    problems, refused = _built(checks, build)
    if not problems:
        return
    if refused:
        checks.add(
            f"builds at a minority ratio of {', '.join(refused)}", "left out", "; ".join(refused.values())
        )
    first_ratio, first_seed = next(iter(problems))
    problem = problems[first_ratio, first_seed]
    checks.that("the minority has exactly the share that was asked for", lambda: _inexact(problems))
    checks.that(
        "no prompt is in two splits, and every split has prompts", lambda: _overlap(problems.values())
    )
    checks.that("no test prompt is in the corpus", lambda: _leak(problem))
    checks.that("fits the backbone that it is registered for", lambda: _misfit(entry, problem))
    checks.that(
        "the same seed gives the same problem",
        lambda: _differs(problem_digest(build(first_ratio, first_seed)), problem_digest(problem)),
    )
    _check_fresh_process(checks, entry, data, first_ratio, first_seed, options, plugins, problem)
    _check_other_seed(checks, problems)
    checks.that(
        "another minority ratio has the same prompts and the same corpus, so that results can be paired",
        lambda: _moved_with_ratio(problems),
        otherwise="warned",
    )
    with _untouched():
        _stir()
        with _untouched() as changed:
            build(first_ratio, first_seed)
            checks.that("leaves the global random state alone", changed)
    _check_utilities(checks, problem, build(first_ratio, first_seed))
    _check_run(checks, entry, data, first_ratio, sets, problem, folder)


def _built(
    checks: _Checks, build: Callable[[float, int], Problem]
) -> tuple[dict[tuple[float, int], Problem], dict[str, str]]:
    """Problems by ratio and seed, and why a ratio was refused."""
    problems: dict[tuple[float, int], Problem] = {}
    refused: dict[str, str] = {}

    def wrong() -> str | None:
        for ratio in RATIOS:
            try:
                for seed in SEEDS:
                    made = build(ratio, seed)
                    apportion([group.share for group in made.groups], made.annotators)
                    problems[ratio, seed] = made
            except UserError as error:
                # A number of groups or of annotators may leave no room for a ratio.
                refused[f"{ratio:g}"] = str(error)
        if not problems:
            raise UserError(next(iter(refused.values())))
        return None

    if not checks.that(
        f"builds at minority ratios {', '.join(f'{r:g}' for r in RATIOS)} with two seeds", wrong
    ):
        if len(refused) == len(RATIOS):  # nothing is wrong with the task, but with what it was given
            raise UserError(next(iter(refused.values())))
        problems.clear()
    return problems, refused


def _inexact(problems: Mapping[tuple[float, int], Problem]) -> str | None:
    for (ratio, _), problem in problems.items():
        if problem.given is not None:
            continue  # people are who they are; a run says where that is not what was asked for
        shares = [group.share for group in problem.groups]
        minority = next(group for group in problem.groups if group.name == problem.minority)
        if abs(sum(shares) - 1) > 1e-6:
            return f"at {ratio:g} the groups' shares sum to {sum(shares):g}."
        if abs(minority.share - ratio) > 1e-9:
            return f"at {ratio:g} the smallest group, '{minority.name}', has a share of {minority.share:g}."
        rows = _labels_of(problem, _prompt_pairs(problem))
        seats = apportion(shares, problem.annotators)
        found = rows.groupby("group")["user_id"].nunique()
        counts = [int(found.get(group.name, 0)) for group in problem.groups]
        if counts != seats:
            return f"at {ratio:g} there are {counts} annotators, and the largest remainder gives {seats}."
        pairs = rows[rows["split"] == "train"].groupby("user_id").size()
        if set(pairs) != {problem.pairs_per_annotator}:
            return f"at {ratio:g} annotators label between {pairs.min()} and {pairs.max()} train pairs."
    return None


def _overlap(problems: Iterable[Problem]) -> str | None:
    for problem in problems:
        splits = {name: set(getattr(problem.prompts, name)) for name in ("train", "validation", "test")}
        for name, prompts in splits.items():
            if not prompts:
                return f"{name} has no prompt."
            if not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts):
                return f"{name} has an empty prompt."
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            shared = splits[one] & splits[other]
            if shared:
                return f"{min(shared)!r:.60} is in {one} and in {other}: de-duplicate before splitting."
    return None


def _leak(problem: Problem) -> str | None:
    corpus = "\n".join(problem.corpus)
    most = max(50, int(SEARCHED / max(1, len(corpus))))
    for prompt in problem.prompts.test[:most]:
        if prompt in corpus and re.search(rf"(?<!\w){re.escape(prompt)}(?!\w)", corpus):
            return f"{prompt!r:.60} is: split first, and make the corpus of what is no test prompt."
    return None


def _misfit(entry: Entry, problem: Problem) -> str | None:
    if entry.backbone == "finite":
        if problem.world is None:
            return "its Problem has no world: give it one, or register the task without backbone='finite'."
        prompts = [*problem.prompts.train, *problem.prompts.validation, *problem.prompts.test]
        unknown = [prompt for prompt in prompts if prompt not in problem.world.state]
        return f"the world does not know the prompt {unknown[0]!r:.60}." if unknown else None
    return None


def _differs(one: str, other: str) -> str | None:
    if one == other:
        return None
    return "built twice it differs: draw from prefbench.seeds only, and do not iterate over a set."


def problem_digest(problem: Problem) -> str:
    """Names everything of a problem that can move a number."""
    groups = [[g.name, g.share, g.utility.name, g.utility.unit] for g in problem.groups]
    numbers = [
        problem.annotators,
        problem.pairs_per_annotator,
        problem.temperature,
        problem.response_tokens,
    ]
    world = None if problem.world is None else problem.world.digest
    given = None if problem.given is None else text_digest(problem.given.astype(str).to_numpy().ravel())
    facts = json.dumps([groups, numbers, _texts_digest(problem), world, given], default=str)
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _texts_digest(problem: Problem) -> str:
    prompts = problem.prompts
    world = () if problem.world is None else (problem.world.digest,)
    sizes = (str(len(prompts.train)), str(len(prompts.validation)))
    # Pairs that a task brings along are a group's, and so are their prompts.
    drawn = () if problem.given is not None else (*sizes, *prompts.train, *prompts.validation)
    return text_digest([*drawn, *prompts.test, *problem.corpus, *world])


FRESH = """
import json, sys
name, data, ratio, seed, options, plugins, sys.path = json.loads(sys.argv[1])
from prefbench import registry
from prefbench.tools.check import problem_digest
registry.load_plugins(plugins)
if ("task", name) not in registry._entries:
    raise SystemExit(99)
sys.stdout.write("\\n" + problem_digest(registry.get("task", name).function(data, ratio, seed, **options)))
"""


def _check_fresh_process(
    checks: _Checks,
    entry: Entry,
    data: str,
    ratio: float,
    seed: int,
    options: Mapping[str, Any],
    plugins: Sequence[str],
    problem: Problem,
) -> None:
    words = "a fresh process builds the same problem"
    files = [str(Path(p).resolve()) for p in plugins]
    facts = json.dumps([entry.name, data, ratio, seed, options, files, sys.path])
    done = subprocess.run(
        # -P: a file in the working folder must not stand in for a library.
        [sys.executable, "-P", "-c", FRESH, facts],
        capture_output=True,
        text=True,
        # Another order of sets and of dictionaries keyed by text must not show.
        env={**os.environ, "PYTHONHASHSEED": "4242"},
    )
    if done.returncode == 99:
        checks.add(words, "left out", "this process alone knows it.")
    elif done.returncode:
        checks.add(words, "failed", (done.stderr.strip().splitlines() or ["it fails there."])[-1])
    else:
        same = done.stdout.splitlines()[-1] == problem_digest(problem)
        hint = "it differs: something depends on the order of a set, the time or the machine."
        checks.add(words, "passed" if same else "failed", "" if same else hint)


def _check_other_seed(checks: _Checks, problems: Mapping[tuple[float, int], Problem]) -> None:
    words = "another seed has other prompts"
    ratio = next(ratio for ratio, _ in problems)
    one, other = problems[ratio, SEEDS[0]], problems[ratio, SEEDS[1]]
    if one.world is not None:
        # A world may be the same for every seed: only its labels and samples are drawn again.
        changed = _texts_digest(one) != _texts_digest(other)
        detail = (
            "the world changes with it." if changed else "the world is the same; labels and samples differ."
        )
        checks.add(words, "left out", detail)
        return
    same = set(one.prompts.test) == set(other.prompts.test)
    hint = "the test prompts are the same: shuffle with seeds.rng(seed, ...) before splitting."
    checks.add(words, "failed" if same else "passed", hint if same else "")


def _moved_with_ratio(problems: Mapping[tuple[float, int], Problem]) -> str | None:
    found = {ratio: _texts_digest(problem) for (ratio, seed), problem in problems.items() if seed == SEEDS[0]}
    if len(set(found.values())) == 1:
        return None
    return "they change with it: the reference and the pairs are then made anew for every ratio."


# -------------------------------------------------------------------------- utilities and labels


def _check_utilities(checks: _Checks, problem: Problem, again: Problem) -> None:
    prompts, responses = _responses(problem)
    if not responses:
        checks.add(
            "utilities and labels", "left out", "it has neither a corpus nor a world to take texts from."
        )
        return
    silent = [] if problem.world is not None else ["", " ", "?!", "caf\u00e9 \U0001f600\n\n" * 3]
    asked = prompts + prompts[:1] * len(silent)
    answers = responses + silent
    for group in problem.groups:
        if not _check_utility(checks, group, again, asked, answers):
            return  # nothing can be labelled with it
        if silent:
            _check_silence(checks, group, prompts, responses)
    pairs = _pairs_of_responses(problem)
    labelled = checks.that(
        "labels have the columns and the rows that they should", lambda: _bad_labels(problem, pairs)
    )
    checks.that("swapping the two responses swaps their chances", lambda: _asymmetric(problem, pairs))
    if labelled:
        _check_conflict(checks, problem, pairs)


def _check_utility(
    checks: _Checks, group: Group, again: Problem, prompts: Sequence[str], responses: Sequence[str]
) -> bool:
    quoted = f"utility of '{group.name}'"

    def unsound() -> str | None:
        return _unsound(np.asarray(group.utility(prompts, responses)), prompts)

    if not checks.that(f"{quoted}: one finite number for each response", unsound):
        return False
    checks.that(
        f"{quoted}: the same twice, one by one, and in another order",
        lambda: _unsteady(group, prompts, responses),
    )
    checks.that(f"{quoted}: its name is one line and stands still", lambda: _bad_name(group, again))
    return True


def _responses(problem: Problem) -> tuple[list[str], list[str]]:
    """Prompts and something that could be answered to each."""
    pairs = _pairs_of_responses(problem)
    half = len(pairs) if problem.world is not None else SCORED // 2
    pairs = pairs.iloc[:half].iloc[:SCORED]
    return [*pairs["prompt"], *pairs["prompt"]], [*pairs["response_a"], *pairs["response_b"]]


def _prompt_pairs(problem: Problem) -> pd.DataFrame:
    """A row for each prompt, with nothing to label yet."""
    import pandas as pd

    splits = {name: getattr(problem.prompts, name) for name in ("train", "validation", "test")}
    return pd.DataFrame(
        {
            "split": [name for name, prompts in splits.items() for _ in prompts],
            "prompt": [prompt for prompts in splits.values() for prompt in prompts],
        }
    )


def _pairs_of_responses(problem: Problem) -> pd.DataFrame:
    """Two responses to each prompt: of a world's reference policy, or what texts of the corpus go on with."""
    pairs = _prompt_pairs(problem)
    rng = seeds.rng(0, "check", "responses")
    if problem.world is not None:
        from prefbench.backbone.finite.backbone import FinitePolicy

        policy = FinitePolicy(problem.world, np.log(problem.world.reference))
        drawn = policy.sample(pairs["prompt"].tolist(), 2, seeds.child(0, "check", "responses"))
        texts = [text for row in drawn for text in row]
    elif problem.corpus:
        tails = _tails(problem)
        texts = [tails[i] for i in rng.integers(len(tails), size=2 * len(pairs))]
    else:
        return pairs.iloc[:0].assign(response_a=[], response_b=[])
    return pairs.assign(response_a=texts[::2], response_b=texts[1::2])


def _tails(problem: Problem) -> list[str]:
    """What texts of the corpus say after their prompt, where they begin with one, else their second half."""
    lengths = sorted({len(prompt) for prompt in problem.prompts.train}, reverse=True)
    known = set(problem.prompts.train) | set(problem.prompts.validation)
    tails = []
    for text in problem.corpus[:5000]:
        length = next((n for n in lengths if text[:n] in known), None)
        words = text.split() if length is None else text[length:].split()
        start = len(words) // 2 if length is None else 0
        tails.append(" " + " ".join(words[start : start + problem.response_tokens]))
    return tails


def _unsound(values: np.ndarray, prompts: Sequence[str]) -> str | None:
    if values.shape != (len(prompts),):
        return f"{len(prompts)} responses gave an array of shape {values.shape}."
    if not np.issubdtype(values.dtype, np.floating):
        return f"it returns {values.dtype}: return float64."
    return None if np.isfinite(values).all() else "some are not finite."


def _unsteady(group: Group, prompts: Sequence[str], responses: Sequence[str]) -> str | None:
    values = np.asarray(group.utility(prompts, responses))
    if not np.array_equal(values, np.asarray(group.utility(prompts, responses))):
        return "a second call gives other numbers."
    few = np.linspace(0, len(responses) - 1, min(ALONE, len(responses))).astype(int)
    alone = np.concatenate([np.asarray(group.utility([prompts[i]], [responses[i]])) for i in few])
    if not np.allclose(alone, values[few], rtol=1e-5, atol=1e-6):
        return "a response scored alone gets another number than among others."
    turned = np.asarray(group.utility(prompts[::-1], responses[::-1]))[::-1]
    return (
        None if np.allclose(turned, values, rtol=1e-5, atol=1e-6) else "the order of the responses matters."
    )


def _bad_name(group: Group, again: Problem) -> str | None:
    name, unit = group.utility.name, group.utility.unit
    if not (isinstance(name, str) and name.strip()) or "\n" in name:
        return f"{name!r:.60}: make it one line that holds everything which can move a number."
    if not (isinstance(unit, str) and unit.strip()):
        return "its unit is empty: say what one unit of it is."
    if re.search(r"0x[0-9a-f]{6,}", name):
        return f"{name!r:.60} holds an address in memory, which differs from run to run."
    others = [other.utility.name for other in again.groups if other.name == group.name]
    return None if others == [name] else f"it was {name!r:.60} and is {others!r:.80} when built again."


def _check_silence(checks: _Checks, group: Group, prompts: Sequence[str], responses: Sequence[str]) -> None:
    words = f"utility of '{group.name}': an empty response is not liked"
    try:
        values = np.asarray(group.utility(prompts, responses))
        nothing = float(np.asarray(group.utility(prompts[:1], [""]))[0])
    except Exception as error:  # a stranger's code may raise anything
        checks.add(words, "failed", _raised(error))
        return
    better = float((values < nothing).mean())
    detail = f"it earns {nothing:g}, more than {better:.0%} of texts: make it as bad as the worst of them."
    status: Status = "failed" if better > 0.5 else "warned" if better > 0.1 else "passed"
    checks.add(words, status, "" if status == "passed" else detail)


def _labels_of(problem: Problem, prompts: pd.DataFrame) -> pd.DataFrame:
    """Who labels what, for prompts with any two responses; their utilities are not asked for."""
    from prefbench.problem.labels import label_pairs

    plain = tuple(replace(group, utility=_Flat()) for group in problem.groups)
    rows, _ = label_pairs(prompts.assign(response_a="a", response_b="b"), replace(problem, groups=plain), 0)
    return rows


@dataclass(frozen=True)
class _Flat(Utility):
    """Likes everything alike."""

    name: str = "flat"
    unit: str = "nothing"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.zeros(len(responses))


def _bad_labels(problem: Problem, pairs: pd.DataFrame) -> str | None:
    from prefbench.problem.labels import label_pairs

    rows, _ = label_pairs(pairs, problem, 0)
    expected = {"split", "prompt", "chosen", "rejected", "user_id", "group"}
    expected |= {f"{side}_utility/{g.name}" for side in ("chosen", "rejected") for g in problem.groups}
    if set(rows.columns) != expected:
        return f"columns {sorted(set(rows.columns) ^ expected)} are missing or too many."
    if (rows.groupby("user_id")["group"].nunique() != 1).any():
        return "an annotator belongs to two groups."
    offered = [{a, b} for a, b in zip(pairs["response_a"], pairs["response_b"], strict=True)]
    labelled = [{a, b} for a, b in zip(rows["chosen"], rows["rejected"], strict=True)]
    return None if offered == labelled else "a label is about other responses than its pair's."


def _asymmetric(problem: Problem, pairs: pd.DataFrame) -> str | None:
    from prefbench.problem.labels import preference_probability

    if not (problem.temperature >= 0 and math.isfinite(problem.temperature)):
        return f"a temperature of {problem.temperature} is no preference noise: give it 0 or more."
    pairs = pairs.iloc[:SCORED]
    prompts = pairs["prompt"].tolist()
    a, b = pairs["response_a"].tolist(), pairs["response_b"].tolist()
    for group in problem.groups:
        there = np.asarray(group.utility(prompts * 2, [*a, *b]))
        back = np.asarray(group.utility(prompts * 2, [*b, *a]))
        n = len(prompts)
        temperature = problem.temperature * np.maximum([there.std()], 1e-9)
        chances = preference_probability((there[:n] - there[n:])[:, None], temperature)
        swapped = preference_probability((back[:n] - back[n:])[:, None], temperature)
        if not np.allclose(chances + swapped, 1, atol=1e-6):
            return f"'{group.name}' prefers by position: its utility must not depend on what else is scored."
    return None


def _check_conflict(checks: _Checks, problem: Problem, pairs: pd.DataFrame) -> None:
    from prefbench.problem.labels import label_pairs

    _, conflict = label_pairs(pairs, problem, 0)
    where = "" if problem.world is not None else " on texts of its corpus"
    for names, found in conflict.items():
        words = f"{names}: the groups want different things{where}"
        amount = f"their chances of preferring one response differ by {found['diversity']:.2g} on average"
        if found["diversity"] <= 1e-9:
            checks.add(words, "failed", "they never differ: give the groups different utilities.")
        elif found["diversity"] < LOW_DIVERSITY:
            checks.add(words, "warned", f"{amount}: hardly a pair tells them apart.")
        else:
            checks.add(words, "passed", amount)


def _check_run(
    checks: _Checks, entry: Entry, data: str, ratio: float, sets: Sets, problem: Problem, folder: Path
) -> None:
    from prefbench.record.record import verify
    from prefbench.running.run import run

    tiny: dict[str, Any] = {}
    if entry.backbone == "causal_lm":
        tiny = {**TINY_MODEL, "context": max(64, problem.response_tokens + 32)}
    sections = {"task": sets.get("task", {}), "model": {**tiny, **sets.get("model", {})}}
    spec = make_spec(task=entry.name, aligner=FLOOR, data=data, minority_ratio=ratio, sets=sections)

    def wrong() -> str | None:
        made, record = run(spec, folder)
        if record.status != "ok":
            return str(record.message)
        return "; ".join(verify(made)) or None

    checks.that("a run from end to end gives a record that follows from its evidence", wrong)


# --------------------------------------------------------------------------------------- aligners


def _check_aligner(
    checks: _Checks, entry: Entry, task: str | None, data: str, sets: Sets, folder: Path
) -> None:
    _check_words(checks, entry)
    if task is not None:
        backbone = registry.get("task", task).backbone
        trial = _on_backbone(checks, entry, backbone, [task], data, sets, folder / backbone)
        _check_options(checks, entry, [trial])
        return
    trials = []
    for backbone in sorted(entry.backbones, reverse=True):  # the quick one first
        others = [e.name for e in registry.entries("task") if e.backbone == backbone == "finite"]
        # Our own first; an aligner for a special kind of world may refuse it and take a registered one.
        names = [TASKS[backbone], *(name for name in others if name not in TASKS.values())]
        trials.append(_on_backbone(checks, entry, backbone, names, data, sets, folder / backbone))
    _check_options(checks, entry, trials)


def _on_backbone(
    checks: _Checks, entry: Entry, backbone: str, tasks: Sequence[str], data: str, sets: Sets, folder: Path
) -> _Trial | None:
    """Check an aligner on one backbone; what further tries start from, if it runs there at all."""
    from prefbench.record.record import verify
    from prefbench.running.run import run

    model = registry.BACKBONES[backbone]
    ran: dict[str, Any] = {}

    def runs() -> str | None:
        for name in tasks:
            spec = _tiny_spec(entry, name, data, sets)
            try:
                made, record = run(spec, folder / "runs")
            except UserError as error:
                ran.setdefault("refusal", str(error))
                continue
            ran.update(spec=spec, folder=made, record=record)
            if record.status == "ok":
                return None
            return f"{record.message}{_wants_more(entry, spec, folder)}"
        return str(ran["refusal"])

    if not checks.that(f"runs on the {model} model", runs):
        return None
    trial = _Trial(entry, ran["spec"], folder)
    checks.that(
        f"{model}: the record follows from its evidence", lambda: "; ".join(verify(ran["folder"])) or None
    )
    # Training once more must not see what the global generators hold, nor move them.
    policy = None
    with _untouched():
        _stir()
        with _untouched() as moved:
            try:
                policy = trial.align(entry.needs, "again")
                touched = moved()
            except Exception as error:  # a stranger's code may raise anything
                checks.add(f"{model}: runs a second time", "failed", _raised(error))
    if policy is None:
        return None
    checks.that(f"{model}: leaves the global random state alone", lambda: touched)
    loaded = trial.reloaded(policy)
    checks.that(
        f"{model}: a policy that was saved and loaded answers as before",
        lambda: trial.difference(policy, loaded, "saved and loaded it"),
    )
    checks.that(
        f"{model}: the same seed gives the same policy",
        lambda: trial.difference(trial.stored(), loaded, "trained again from the same seed it"),
    )
    checks.that(
        f"{model}: samples are texts, and their log-probabilities are none or at most 0",
        lambda: trial.odd(loaded),
    )
    _check_needs(checks, entry, model, trial, loaded)
    return trial


def _check_options(checks: _Checks, entry: Entry, trials: Sequence[_Trial | None]) -> None:
    """Warn of options that change nothing, alone or where a switch among the others is set otherwise."""
    ran = [trial for trial in trials if trial is not None]
    if len(ran) < len(trials) or not entry.options.model_fields:
        return
    words = "every option makes a difference"
    silent = sorted(entry.options.model_fields)
    # The quick search on the quick backbone first; what is left is most often heard by a language model.
    for search in (_Trial.soon_heeds, _Trial.heeds, _Trial.heeds_with_another):
        for trial in ran if search is _Trial.soon_heeds else reversed(ran):
            silent = [name for name in silent if not search(trial, name)]
    if not silent:
        checks.add(words, "passed")
        return
    make = "makes" if len(silent) == 1 else "make"
    if len(ran) < len(entry.backbones) and "causal_lm" in entry.backbones - {_backbone_of(ran[0])}:
        checks.add(
            words, "left out", f"{', '.join(silent)} {make} none on a world; language models were not tried."
        )
        return
    checks.add(
        words,
        "warned",
        f"{', '.join(silent)} {make} none here, alone or with another option switched: use what is declared, "
        "or declare less (and see that a key given to backbone.cached holds every option that counts).",
    )


def _backbone_of(trial: _Trial) -> str:
    return registry.get("task", trial.spec.task).backbone


def _others(options: type[BaseModel], name: str, value: Any) -> list[Any]:
    """Other values that an option might have, near ones first; whether they are allowed is not asked."""
    annotation = options.model_fields[name].annotation
    kinds = set(typing.get_args(annotation)) if type(None) in typing.get_args(annotation) else {annotation}
    found: list[Any] = [] if value is None or type(None) not in kinds else [None]
    for kind in kinds:
        if typing.get_origin(kind) is Literal:
            found += [other for other in typing.get_args(kind) if other != value]
        elif kind is bool:
            found.append(not value)
        elif kind is int:
            found += [1, 2, 3] if value is None else [value - 1, value + 1, 2 * value + 1]
        elif kind is float:
            found += [value * factor for factor in FACTORS] if value else [0.01, 0.1, 1e-6, 1.0]
        elif kind is str:
            found.append(f"{value or ''} x")
    return found


def _tiny_spec(entry: Entry, task: str, data: str, sets: Sets) -> RunSpec:
    """A run of seconds, but for what `sets` says."""
    nano = registry.get("task", task).backbone == "causal_lm"
    quick: dict[str, Any] = {}
    for name, value in TINY_ALIGNER.items() if nano else ():
        if name in entry.options.model_fields:
            with contextlib.suppress(UserError):  # outside its limits: then its default
                resolve(entry.options, {**sets.get("aligner", {}), name: value}, "aligner", entry.name)
                quick[name] = value
    sections = {
        "task": {} if task in TASKS.values() else sets.get("task", {}),
        "aligner": {**quick, **sets.get("aligner", {})},
        "model": {**(TINY_MODEL if nano else {}), **(sets.get("model", {}) if nano else {})},
    }
    return make_spec(task=task, aligner=entry.name, data=data, minority_ratio=0.25, seed=1, sets=sections)


def _wants_more(entry: Entry, spec: RunSpec, folder: Path) -> str:
    """A hint where an aligner would do with more than it declares."""
    trial = _Trial(entry, spec, folder)
    for need in sorted(registry.NEEDS - entry.needs):
        try:
            trial.align(entry.needs | {need}, f"with-{need}")
        except Exception:  # it wants something else, or is just wrong
            continue
        names = ", ".join(repr(name) for name in sorted(entry.needs | {need}))
        return f" With {need} it runs: declare needs={{{names}}}."
    return ""


def _check_needs(checks: _Checks, entry: Entry, model: str, trial: _Trial, policy: Policy) -> None:
    for need in sorted(entry.needs):

        def unused(need: str = need) -> str | None:
            try:
                without = trial.align(entry.needs - {need}, f"without-{need}")
            except Exception:  # it cannot do without
                return None
            same = trial.difference(policy, trial.reloaded(without), "") is None
            return "the policy is the same without it: declare less." if same else None

        checks.that(f"{model}: makes use of {need}, which it declares", unused, otherwise="warned")
    if trial.problem.world is None or "oracle" in entry.needs:
        return
    world = trial.problem.world
    # The backbone of a world knows the utilities: only one who declares the oracle may look.
    hidden = replace(trial.problem, world=replace(world, utilities=-world.utilities))

    def peeked() -> str | None:
        try:
            made = trial.reloaded(trial.align(entry.needs, "hidden", hidden))
        except Exception as error:
            return f"with other utilities behind the same labels it fails: {_raised(error)}"
        return trial.difference(policy, made, "with other utilities behind the same labels it")

    checks.that(f"{model}: looks at no utility behind the labels", peeked)


def _is_switch(options: type[BaseModel], name: str) -> bool:
    """Whether an option is one of a few words, on or off, or something or none."""
    annotation = options.model_fields[name].annotation
    return annotation is bool or bool(typing.get_args(annotation))


class _Trial:
    """One aligner on one problem, under whatever conditions a check wants."""

    def __init__(self, entry: Entry, spec: RunSpec, folder: Path) -> None:
        from prefbench.running.run import labelled_pairs

        self.entry, self.spec, self.folder = entry, spec, folder
        self._outcomes: dict[str, str] = {}
        self.problem, self.rows = labelled_pairs(spec, folder / "runs")
        self.prompts = list(self.problem.prompts.test[:12])

    def backbone(self, name: str, problem: Problem) -> Backbone:
        """The backbone with a store of its own: nothing but the reference is read from another try."""
        from prefbench.backbone.presets import ModelRequest
        from prefbench.spec import get_model
        from prefbench.store.stages import Store

        reference = self.folder / "runs" / "stages" / "reference"
        target = self.folder / name / "stages" / "reference"
        if reference.is_dir() and not target.exists():
            shutil.copytree(reference, target)
        model = get_model(self.spec.model)
        request = ModelRequest(self.spec.model, problem, Store(self.folder / name), self.spec.seed)
        made: Backbone = model.function(request, model.options(**self.spec.model_options))
        return made

    def align(self, needs: frozenset[str], name: str, problem: Problem | None = None) -> Policy:
        """What the aligner makes of the labels when it sees what `needs` says."""
        from prefbench.learn.interface import Aligned
        from prefbench.problem.view import make_view
        from prefbench.store.stages import Work

        view = make_view(self.rows, self.problem, needs, self.spec.seed)
        path = self.folder / name / "work"
        path.mkdir(parents=True, exist_ok=True)
        backbone = self.backbone(name, problem or self.problem).at(Work("policy", path))
        made = self.entry.function(view, backbone, self.entry.options(**self.spec.aligner_options))
        policy: Policy = made.policy if isinstance(made, Aligned) else made
        return policy

    def heeds(self, name: str, most: int | None = None, **given: Any) -> bool:
        """Whether one of (the first few) other values of an option makes a difference, given others."""
        before = self.outcome(given)
        tried = [other for other in self.values(name) if self.allowed({**given, name: other})]
        return any(self.outcome({**given, name: other}) != before for other in tried[:most])

    def soon_heeds(self, name: str) -> bool:
        """Whether one of the first values does."""
        return self.heeds(name, SOON)

    def heeds_with_another(self, name: str) -> bool:
        """Whether it does so where another option, a switch, is set otherwise."""
        return any(
            self.heeds(name, SOON, **{switch: value})
            for switch in reversed(self.entry.options.model_fields)  # an aligner's own come last
            if switch != name
            for value in self.values(switch)[:3]
            if _is_switch(self.entry.options, switch) and self.allowed({switch: value})
        )

    def values(self, name: str) -> list[Any]:
        """Other values of an option than the one that it has in these tries."""
        return _others(self.entry.options, name, self.options[name])

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """The options of these tries, by name."""
        return dict(self.entry.options(**self.spec.aligner_options))

    def allowed(self, given: Mapping[str, Any]) -> bool:
        """Whether these values may be set."""
        try:
            self.entry.options(**{**self.options, **given})
        except ValueError:
            return False
        return True

    def outcome(self, given: Mapping[str, Any]) -> str:
        """A digest of the policy and of what is told of the rewards, or of the error that it ended in.

        Rewards and whatever else the aligner keeps by `backbone.cached` are shared between tries, as they
        are between runs: an option that its key forgets makes no difference there either.
        """
        key = json.dumps(sorted(given.items()), default=str)
        if key not in self._outcomes:
            with _untouched():
                self._outcomes[key] = self._outcome(given)
        return self._outcomes[key]

    def _outcome(self, given: Mapping[str, Any]) -> str:
        from prefbench.learn.interface import Aligned
        from prefbench.problem.view import make_view
        from prefbench.store.stages import Work

        view = make_view(self.rows, self.problem, self.entry.needs, self.spec.seed)
        options = self.entry.options(**{**self.options, **given})
        with tempfile.TemporaryDirectory(dir=self.folder) as work, tempfile.TemporaryDirectory() as saved:
            try:
                backbone = self.backbone("options", self.problem).at(Work("policy", Path(work)))
                made = self.entry.function(view, backbone, options)
                aligned = made if isinstance(made, Aligned) else Aligned(made)
                aligned.policy.save(Path(saved))
            except Exception as error:  # an option that ends in an error is not without effect
                return _raised(error)
            rewards = aligned.rewards
            told = None if rewards is None else [rewards.names, rewards.assignment, rewards.em]
            return f"{path_digest(Path(saved))} {told}"

    def reloaded(self, policy: Policy) -> Policy:
        """The policy, saved and loaded."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        policy.save(folder)
        return self.backbone("loading", self.problem).load_policy(folder)

    def stored(self) -> Policy:
        """The policy of the whole run before."""
        (folder,) = [p.parent for p in (self.folder / "runs/stages/policy").glob("*/done.json")]
        return self.backbone("loading", self.problem).load_policy(folder)

    def difference(self, one: Policy, other: Policy, what: str) -> str | None:
        """How two policies differ in what they say and in how likely it is to them."""
        draw = seeds.child(self.spec.seed, "check", "samples")
        first, second = one.sample(self.prompts, 2, draw), other.sample(self.prompts, 2, draw)
        if first != second:
            return f"{what} says other things from the same draw."
        texts = _flat(self.prompts, first)
        here, there = one.logprob(*texts), other.logprob(*texts)
        if here is None and there is None:
            return None
        if here is None or there is None:
            return f"{what} has log-probabilities once and once not."
        if not np.allclose(here, there, rtol=0, atol=1e-5, equal_nan=True):
            return f"{what} gives the same texts other log-probabilities."
        return None

    def odd(self, policy: Policy) -> str | None:
        """What is no answer, or no log-probability."""
        samples = policy.sample(self.prompts, 2, seeds.child(self.spec.seed, "check", "samples"))
        if len(samples) != len(self.prompts) or any(len(row) != 2 for row in samples):
            return "two samples for each prompt were asked for and not given."
        if not all(isinstance(text, str) for row in samples for text in row):
            return "a sample is not a string."
        logs = policy.logprob(*_flat(self.prompts, samples))
        if logs is None:
            return None
        values = np.asarray(logs)
        if values.shape != (2 * len(self.prompts),):
            return f"log-probabilities have the shape {values.shape}."
        if not np.isfinite(values).all() or (values > 1e-6).any():
            return "a text that it says has a log-probability that is above 0 or not finite."
        return None


def _flat(prompts: Sequence[str], samples: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    return [p for p, row in zip(prompts, samples, strict=True) for _ in row], [
        t for row in samples for t in row
    ]


def _stir() -> None:
    """Put the global generators somewhere else."""
    import torch

    random.seed(4242)
    np.random.seed(4242)  # noqa: NPY002  (the global state is the subject)
    torch.manual_seed(4242)


# ------------------------------------------------------------------------------- our own tiny tasks

SUBJECTS = "the cat|a dog|my aunt|one bird|the king|a child|our boat|this road".split("|")
VERBS = "sees|finds|likes|paints|hears|follows|forgets|wants".split("|")
OBJECTS = "a red apple|the old oak and an egg|blue water|an open gate|the last train home|a song|ice".split(
    "|"
)


@dataclass(frozen=True)
class _Letters(Utility):
    """How many letters of a kind a response has, for each of its words."""

    letters: str
    unit: str = "letters"

    @property
    def name(self) -> str:
        return f"check_letters/1:{self.letters}"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        counts = [sum(text.count(letter) for letter in self.letters) for text in responses]
        return np.array(counts, dtype=np.float64)


def _words_task(data: str, minority_ratio: float, seed: int) -> Problem:
    """Half-sentences: one group likes the letter e, the other one a and o."""
    every = [f"{subject} {verb} {number} :" for subject in SUBJECTS for verb in VERBS for number in range(3)]
    prompts = [every[i] for i in seeds.rng(seed, "prompts").permutation(len(every))]
    train, validation, test = prompts[:96], prompts[96:116], prompts[116:146]
    return Problem(
        groups=(
            Group("e", 1 - minority_ratio, _Letters("e")),
            Group("a and o", minority_ratio, _Letters("ao")),
        ),
        prompts=Prompts(tuple(train), tuple(validation), tuple(test)),
        corpus=tuple(f"{prompt} {thing}." for prompt in train for thing in OBJECTS),
        annotators=8,
        pairs_per_annotator=12,
        temperature=0.3,
        response_tokens=6,
    )


def _world_task(data: str, minority_ratio: float, seed: int) -> Problem:
    """Four answers to everything: a favourite of each group, a compromise, and one that nobody wants."""
    from prefbench.problem.finite import finite_problem, numbered_prompts

    prompts, state = numbered_prompts("question", (i % 3 for i in range(240)), (0, 1, 2) * 10, (0, 1, 2) * 10)
    world = _tiny_world(state)
    groups = [("first", 1 - minority_ratio, "points"), ("second", minority_ratio, "points")]
    return finite_problem(world, prompts, groups, annotators=8, pairs_per_annotator=30, temperature=0.3)


def _tiny_world(state: Mapping[str, int]) -> World:
    from prefbench.problem.world import World

    worth = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.8], [-1.0, -1.0]])
    return World(
        state=state,
        responses=(("one", "the other one", "some of both of them", "none"),) * 3,
        features=np.broadcast_to(np.eye(4), (3, 4, 4)).copy(),
        utilities=np.stack([worth, worth * 1.5, worth * 0.5 + 0.1]),
        reference=np.full((3, 4), 0.25),
        beta=0.15,
    )


def _reference(view: View, backbone: Backbone, options: NoOptions) -> Policy:
    """The reference policy."""
    from prefbench.learn.simple_policies import ReferencePolicy

    return ReferencePolicy(backbone.reference)

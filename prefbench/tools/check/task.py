"""Checks of a task, which is built at several ratios and seeds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError
from prefbench.problem.labels import label_pairs
from prefbench.problem.problem import Problem, apportion
from prefbench.problem.utilities.protocol import Utility
from prefbench.record.verify import verify
from prefbench.registry import Entry
from prefbench.running.run import run
from prefbench.spec import make_spec, resolve
from prefbench.text import lower_words
from prefbench.tools.check.digest import problem_digest, texts_digest
from prefbench.tools.check.findings import Checks
from prefbench.tools.check.generators import stir, untouched
from prefbench.tools.check.tiny import FLOOR, TINY_MODEL, Sets
from prefbench.tools.check.utilities import check_utilities, prompt_pairs
from prefbench.tools.check.words import check_words

if TYPE_CHECKING:
    import pandas as pd

RATIOS = (0.2, 0.5, 0.1)
SEEDS = (0, 1)

SEARCHED_CHARACTERS = 4e9
"""Characters of corpus times test prompts beyond which fewer prompts are looked for."""


def check_task(
    checks: Checks, entry: Entry, data: str, sets: Sets, plugins: Sequence[str], folder: Path
) -> None:
    """Everything that a task promises, and one run from end to end in `folder`."""
    options = resolve(entry.options, sets.get("task", {}), "task", entry.name)

    def build(ratio: float, seed: int) -> Problem:
        made = entry.function(data, ratio, seed, **options)
        if not isinstance(made, Problem):
            raise TypeError(f"it returned {type(made).__name__}, not a prefbench.Problem.")
        return made

    check_words(checks, entry)
    problems, refused = _built(checks, build)
    if not problems:
        return
    _tell_ratios(checks, problems, refused)
    if not problems:
        return
    first_ratio, first_seed = next(iter(problems))
    problem = problems[first_ratio, first_seed]
    checks.that("the minority has exactly the share that was asked for", lambda: _inexact(problems))
    checks.that(
        "no prompt is in two splits, and every split has prompts", lambda: _overlap(problems.values())
    )
    checks.that("no test prompt is in the corpus", lambda: _leak(problem))
    if problem.lexicon is not None:
        checks.that("every word of the corpus is in the lexicon", lambda: _unlisted(problem))
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
    with untouched():
        stir()
        with untouched() as changed:
            build(first_ratio, first_seed)
            checks.that("leaves the global random state alone", changed)
    check_utilities(checks, problem, build(first_ratio, first_seed))
    _check_run(checks, entry, data, first_ratio, sets, problem, folder)


def _tell_ratios(
    checks: Checks, problems: dict[tuple[float, int], Problem], refused: Mapping[str, str]
) -> None:
    """Tell which ratios the task refuses, and of several groups why the smallest cannot have them.

    Problems of ratios above an equal share, where another group is the smallest, are taken out.
    """
    count = len(next(iter(problems.values())).groups)
    why = f"the smallest of {count} groups has a share of 1/{count} at most"
    if refused:
        more = f" ({why})" if count > 2 and any(float(ratio) > 1 / count for ratio in refused) else ""
        said = "; ".join(each.rstrip(".") for each in refused.values())
        checks.add(f"builds at a minority ratio of {', '.join(refused)}", "left out", f"{said}{more}")
    above = {ratio for (ratio, _), problem in problems.items() if ratio > 1 / count and problem.given is None}
    if above:
        checks.add(
            f"refuses a minority ratio of {', '.join(f'{ratio:g}' for ratio in sorted(above))}",
            "warned",
            f"{why}, so that there another group is the minority: raise pb.UserError above "
            f"{int(100 / count) / 100:g}. The checks go on without it.",
        )
    for key in [key for key in problems if key[0] in above]:
        del problems[key]


def _unlisted(problem: Problem) -> str | None:
    """The first word of the corpus that the lexicon lacks."""
    assert problem.lexicon is not None
    for text in problem.corpus:
        for word in lower_words(text):
            if word not in problem.lexicon:
                return f"{word!r:.40} is not: responses with it would count as ones with a non-word."
    return None


def _built(
    checks: Checks, build: Callable[[float, int], Problem]
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
        rows = _labels_of(problem, prompt_pairs(problem))
        seats = apportion(shares, problem.annotators)
        found = rows.groupby("group")["user_id"].nunique()
        counts = [int(found.get(group.name, 0)) for group in problem.groups]
        if counts != seats:
            return f"at {ratio:g} there are {counts} annotators, and the largest remainder gives {seats}."
        pairs = rows[rows["split"] == "train"].groupby("user_id").size()
        if set(pairs) != {problem.pairs_per_annotator * problem.population.labels_per_pair}:
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
    most = max(50, int(SEARCHED_CHARACTERS / max(1, len(corpus))))
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


FRESH = """
import json, sys
name, data, ratio, seed, options, plugins, sys.path = json.loads(sys.argv[1])
from prefbench import registry
from prefbench.tools.check.digest import problem_digest
registry.load_plugins(plugins)
if name not in [entry.name for entry in registry.entries("task")]:
    raise SystemExit(99)
sys.stdout.write("\\n" + problem_digest(registry.get("task", name).function(data, ratio, seed, **options)))
"""


def _check_fresh_process(
    checks: Checks,
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


def _check_other_seed(checks: Checks, problems: Mapping[tuple[float, int], Problem]) -> None:
    words = "another seed has other prompts"
    ratio = next(ratio for ratio, _ in problems)
    one, other = problems[ratio, SEEDS[0]], problems[ratio, SEEDS[1]]
    if one.world is not None:
        # A world may be the same for every seed: only its labels and samples are drawn again.
        changed = texts_digest(one) != texts_digest(other)
        detail = (
            "the world changes with it." if changed else "the world is the same; labels and samples differ."
        )
        checks.add(words, "left out", detail)
        return
    same = set(one.prompts.test) == set(other.prompts.test)
    hint = "the test prompts are the same: shuffle with seeds.rng(seed, ...) before splitting."
    checks.add(words, "failed" if same else "passed", hint if same else "")


def _moved_with_ratio(problems: Mapping[tuple[float, int], Problem]) -> str | None:
    found = {ratio: texts_digest(problem) for (ratio, seed), problem in problems.items() if seed == SEEDS[0]}
    if len(set(found.values())) == 1:
        return None
    return "they change with it: the reference and the pairs are then made anew for every ratio."


def _labels_of(problem: Problem, prompts: pd.DataFrame) -> pd.DataFrame:
    """Labels, with who gave them, for prompts with any two responses; utilities are not asked for."""
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


def _check_run(
    checks: Checks, entry: Entry, data: str, ratio: float, sets: Sets, problem: Problem, folder: Path
) -> None:
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

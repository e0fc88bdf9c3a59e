"""One run held against everything that can be known here without its model.

What the record counts follows from its tables (`record.verify`). Beyond that the problem is built from the
specification: the tables must have its prompts, groups, shares and instructions, every utility that can be
computed is computed again from the texts, and a world's tables must be the world's. `record/fields.py` says
what is held against what; a run whose task, data or judge is not here is not checked so far, and says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench import registry
from prefbench.boards.anonymous import without_paths
from prefbench.errors import PrefbenchError, UserError
from prefbench.identity import Identity
from prefbench.numerics import NUMERICS
from prefbench.problem.problem import Problem, apportion, with_instruction
from prefbench.record.record import (
    DISTRIBUTION_FILE,
    PROMPTED_FILE,
    Record,
    read_items,
    sorted_items,
    verify,
)
from prefbench.spec import EvaluateOptions, RunSpec, digest, parse_ratio, refuse_misfit, resolve
from prefbench.text import count_words, is_empty, lower_words, message_line

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from prefbench.problem.problem import Group
    from prefbench.stats.intervals import Floats

TOLERANCE = 1e-6
"""How far a stored number may be from the computed one, relative where that is above 1. Fitted classifiers
differ so much between machines; who won must be the same to the last digit."""
TIE = 1e-9
"""Utilities as near as this are a tie, as in `evaluate.win_rate`."""
LARGER = 10
"""A problem is not built for a stranger where a whole number among its options is more than so many times the
default."""
RARE = math.log(2 / 1e-6)
"""Of draws that lie further from their mean than this allows by Bernstein's bound, honest ones are one in a
million at most."""
COPIED = 0.9
"""Agreement of two runs' responses beyond chance (Cohen's kappa over rows) that is a copy. Of the published
runs, even those that shared draws and rewards agree to less than 0.5."""
MONOTONE = 0.5
"""Chance of two rows to agree above which policies hardly say more than one thing."""

MEASURED_REPORTS = ("conflict", "utilities")
"""Of `task_report`: what the run finds out, beside what the task says of itself."""


@dataclass
class Checked:
    """A run, what is wrong with it, and what could not be checked here."""

    folder: Path
    record: Record | None = None
    wrong: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """What a reader should know and what does not disprove the run."""
    absent: bool = False
    """Whether its task or aligner is of a plug-in that was not given."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Items in order, and the other evidence, while the run is being checked."""
    words: npt.NDArray[np.uint64] | None = None
    """Of each response, a hash of its words."""
    references: npt.NDArray[np.uint64] | None = None
    """Of each reference response, a hash of the text."""


class Problems:
    """Problems by what they are stated with; the last one is kept, so ask for equal ones in a row.

    Args:
        fetch: also build those whose data or options name something that is to be fetched or is a file.
    """

    def __init__(self, fetch: bool = False) -> None:
        self._fetch = fetch
        self._key = ""
        self._found: Problem | str = ""

    @staticmethod
    def key(record: Record) -> str:
        """Names the problem that a record's specification states."""
        spec = record.spec
        named = ("task", "data", "minority_ratio", "seed", "task_options")
        return digest([record.task_version, *(spec.get(name) for name in named)])

    def of(self, record: Record) -> Problem | str:
        """The problem, or why it is not built here.

        Raises:
            UserError: the specification states none.
        """
        key = self.key(record)
        if key != self._key:
            self._found = not_built(record, self._fetch) or self._build(record)
            self._key = key
        return self._found

    def _build(self, record: Record) -> Problem | str:
        function = registry.get("task", record.task).function
        try:
            built: Problem = function(
                record.data, record.spec["minority_ratio"], record.seed, **record.spec["task_options"]
            )
            apportion([group.share for group in built.groups], built.annotators)
        except Exception as error:  # a plug-in's task may raise anything
            said = f"its problem cannot be built ({type(error).__name__}: {message_line(error)})"
            if record.data == "synthetic" and not isinstance(error, MemoryError):
                raise UserError(said) from None
            return said
        return built


def not_built(record: Record, fetch: bool) -> str | None:
    """Why the problem of a valid specification is not built for a stranger; None where it is.

    Args:
        fetch: whether what is to be fetched, and files, may be used.
    """
    entry = registry.get("task", record.task)
    options = record.spec["task_options"]
    if record.task_version != entry.version:
        return f"{record.task}@{record.task_version} is not here, this is @{entry.version}"
    for name, value in options.items():
        default = entry.options.model_fields[name].get_default(call_default_factory=True)
        whole = isinstance(value, int) and not isinstance(value, bool)
        usual = default if isinstance(default, int) else 1000
        if whole and value > LARGER * max(usual, 10):
            return f"task.{name}={value} is more than {LARGER} times the default: too large a problem"
        place = isinstance(value, str) and value != default and any(sign in value for sign in "/\\")
        if place and not fetch:
            return f"task.{name} names a file or an address: say --fetch if you trust it"
    local = Path(record.data).is_file() or Path(record.data).is_dir()
    if record.data != "synthetic" and not local and not fetch:
        return "its data are not here and verifying fetches none: say --fetch if you trust it"
    return None


def check_run(checked: Checked, problems: Problems | None) -> None:
    """Fill in what is wrong with a run and what could not be checked.

    Args:
        checked: with its record.
        problems: None leaves out what needs the problem.
    """
    record = checked.record
    assert record is not None
    _check_spec(checked, record)
    try:
        checked.wrong += verify(checked.folder)
        if record.status != "ok":
            return
        names = [group.name for group in record.groups]
        items, _ = sorted_items(read_items(checked.folder), names)
        checked.tables["items"] = items
        checked.wrong += _texts_differ(items, record)
        if checked.wrong:
            return
        if record.prompted_worst_group_win_rate is not None:
            checked.tables["prompted"] = read_items(checked.folder, PROMPTED_FILE)
        if record.regret is not None:
            checked.tables["distribution"] = read_items(checked.folder, DISTRIBUTION_FILE)
        theirs = items["reference_response"].tolist()
        checked.words = _hashes([" ".join(lower_words(text)) for text in items["response"].tolist()])
        checked.references = _hashes(theirs)
        if agreement(checked.words, _hashes([" ".join(lower_words(text)) for text in theirs])) >= COPIED:
            checked.wrong.append("its responses are its reference responses, which are drawn apart from them")
        if problems is not None and not checked.absent:
            _check_problem(checked, record, problems)
    except UserError as error:
        checked.wrong.append(str(error))
    except PrefbenchError as error:  # exact optima that cannot be found for what the file says
        checked.wrong.append(f"'{checked.folder}': {error}")
    except Exception as error:  # there is no end of ways in which a stranger's table may be odd
        said = f"{type(error).__name__}: {message_line(error)}"
        checked.wrong.append(f"'{checked.folder}': its evidence cannot be evaluated ({said}): run it again.")


def agreement(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Cohen's kappa: how much more often two lists of words agree, row by row, than by chance.

    0 for policies that say much the same to everything: nothing can be told from their agreement.
    """
    both = np.unique(np.concatenate([one, other]), return_inverse=True)[1]
    counts = [np.bincount(part, minlength=both.max() + 1) / len(one) for part in np.split(both, 2)]
    chance = float(counts[0] @ counts[1])
    equal = float((one == other).mean())
    return 0.0 if chance > MONOTONE else (equal - chance) / (1 - chance)


def _hashes(texts: list[str]) -> npt.NDArray[np.uint64]:
    import pandas as pd

    raw = np.array([text.encode("utf-8", "surrogatepass") for text in texts], dtype=object)
    return np.asarray(pd.util.hash_array(raw, categorize=True), dtype=np.uint64)


# ---------------------------------------------------------------------------- the specification


def _check_spec(checked: Checked, record: Record) -> None:
    """The specification against the registry, and the record against both."""
    known = set(RunSpec.__dataclass_fields__)
    if set(record.spec) != known:
        apart = ", ".join(sorted(set(record.spec) ^ known))
        checked.wrong.append(f"the specification has too much or too little: {apart}")
        return
    if record.numerics is not None and record.numerics > NUMERICS:
        checked.wrong.append(f"numerics {record.numerics} are unknown, the newest here are {NUMERICS}")
    try:
        asked = record.spec["minority_ratio"]
        if isinstance(asked, bool) or parse_ratio(asked) != asked:
            checked.wrong.append(f"minority_ratio {asked!r:.80} is no share of at most four decimals")
    except UserError as error:
        checked.wrong.append(str(error))
    task = _entry("task", record.task)
    aligner = _entry("aligner", record.aligner)
    model = _entry("model", record.model) or _entry("model", "pretrained")
    for kind, name, entry in (("task", record.task, task), ("aligner", record.aligner, aligner)):
        if entry is None:
            checked.absent = True
            checked.unchecked.append(f"{kind} '{name}' is not here, name it with --plugin")
    if task is not None and record.task_version > task.version:
        checked.wrong.append(
            f"{record.task}@{record.task_version} is unknown, the newest here is {task.version}"
        )
    if aligner is not None and sorted(aligner.needs) != sorted(record.needs):
        said, true = (", ".join(sorted(needs)) or "nothing" for needs in (record.needs, aligner.needs))
        checked.wrong.append(f"needs is {said}, {record.aligner} needs {true}")
    for section, entry in (("task", task), ("aligner", aligner), ("model", model), ("evaluate", None)):
        if entry is not None or section == "evaluate":
            _check_options(checked, record, section, entry)
    if task is not None and aligner is not None and model is not None and not checked.wrong:
        try:
            refuse_misfit(task, aligner, model, record.model)
        except UserError as error:
            checked.wrong.append(str(error))


def _entry(kind: registry.Kind, name: str) -> registry.Entry | None:
    return next((entry for entry in registry.entries(kind) if entry.name == name), None)


def _check_options(checked: Checked, record: Record, section: str, entry: registry.Entry | None) -> None:
    """One section of options, which the option class must take and leave as it is."""
    given = record.spec[f"{section}_options"]
    if not isinstance(given, dict):
        checked.wrong.append(f"{section} options are no table")
        return
    older = section == "task" and entry is not None and record.task_version < entry.version
    options = EvaluateOptions if entry is None else entry.options
    try:
        resolved = resolve(options, given, section, entry.name if entry is not None else "evaluator")
    except UserError as error:
        if section == "model" and entry is not None and entry.name != record.model:
            checked.unchecked.append(f"model '{record.model}' is not here, name it with --plugin")
        elif not older:
            checked.wrong.append(str(error))
        return
    for name, value in given.items():
        if not _same(value, resolved[name]):
            checked.wrong.append(f"option {section}.{name}={value!r:.80} is {resolved[name]!r:.80} here")
    missing = sorted(set(resolved) - set(given))
    if missing and _is_by_this_code(record):
        checked.wrong.append(f"the specification lacks {section}.{missing[0]}")


def _is_by_this_code(record: Record) -> bool:
    """Whether the code that is here made a record; that of another version may have had fewer options."""
    entries = [_entry("task", record.task), _entry("aligner", record.aligner), _entry("model", record.model)]
    if record.code is None or any(entry is None for entry in entries):
        return False
    task, aligner, model = (entry for entry in entries if entry is not None)
    return Identity(task, aligner, model, {}, {}, {}).code == record.code


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is not 1 and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


# ---------------------------------------------------------------------------- the texts


def _texts_differ(items: pd.DataFrame, record: Record) -> list[str]:
    """What follows from the texts alone: words, empty; and no column of a group that is not there."""
    for name in ("prompt", "response", "reference_response"):
        if not all(isinstance(text, str) for text in items[name].tolist()):
            return [f"column {name} of the items is not text"]
    wrong = []
    known = {f"utility/{group.name}" for group in record.groups}
    extra = sorted(name for name in items.columns if str(name).startswith("utility/") and name not in known)
    if extra:
        wrong.append(f"the items have {', '.join(extra)}, the record lacks that group")
    for text, words in (("response", "words"), ("reference_response", "reference_words")):
        counted = [count_words(value) for value in items[text].tolist()]
        differing = int((items[words].to_numpy() != counted).sum())
        if differing:
            wrong.append(f"{words} is not the number of words of {text} in {differing} rows")
    return wrong + _empty_differs(items, "response", "empty")


def _empty_differs(table: pd.DataFrame, text: str, flag: str) -> list[str]:
    empty = [is_empty(value) for value in table[text].tolist()]
    differing = int((table[flag].to_numpy(dtype=bool) != empty).sum())
    return [f"{flag} does not fit the {text} in {differing} rows"] if differing else []


# ---------------------------------------------------------------------------- the problem


def _check_problem(checked: Checked, record: Record, problems: Problems) -> None:
    """The record and its tables against the problem that the specification states."""
    problem = problems.of(record)
    if isinstance(problem, str):
        checked.unchecked.append(f"problem and utilities: {problem}")
        return
    items = checked.tables["items"]
    wrong = _groups_differ(record, problem) or _prompts_differ(items, record, problem)
    wrong += _em_differs(record, problem)
    extra = sorted(record.task_report.keys() - {*problem.report, *MEASURED_REPORTS})
    wrong += [f"task_report.{name} is nothing that the task says of itself" for name in extra]
    for name, value in problem.report.items():
        said = record.task_report.get(name)
        if not _alike(said, value) and not _alike(said, without_paths(value)):
            wrong.append(f"task_report.{name} is not what the task says of itself")
    checked.wrong += wrong
    if checked.wrong:
        return
    asked = items["prompt"].tolist()
    for group in problem.groups:
        columns = (f"utility/{group.name}", f"reference_utility/{group.name}")
        _check_utility(checked, group, items, asked, columns, group.name)
    _check_prompted(checked, record, problem)
    _check_world(checked, record, problem)


def _groups_differ(record: Record, problem: Problem) -> list[str]:
    names = [group.name for group in problem.groups]
    if [group.name for group in record.groups] != names:
        return [f"groups are {', '.join(g.name for g in record.groups)}, the task has {', '.join(names)}"]
    wrong = []
    ratio = problem.ratio(record.spec["minority_ratio"])
    if record.minority_ratio != ratio:
        wrong.append(f"minority_ratio is {record.minority_ratio:g}, the problem has {ratio:g}")
    counts = apportion([group.share for group in problem.groups], problem.annotators)
    for said, group, count in zip(record.groups, problem.groups, counts, strict=True):
        share = count / problem.annotators
        if abs(said.share - share) > 1e-9:
            wrong.append(f"share of {said.name} is {said.share:g}, the specification gives {share:g}")
        if said.is_minority != (group.name == problem.minority):
            wrong.append(f"is_minority of {said.name} is {said.is_minority}, the task says otherwise")
        # A utility that the run has made ready has more behind its name.
        named = said.utility == group.utility.name
        if group.utility.is_prepared:
            named = named or said.utility.startswith(f"{group.utility.name}:")
        if not named:
            wrong.append(
                f"utility of {said.name} is {said.utility:.80}, the task's is {group.utility.name:.80}"
            )
        if said.unit != group.utility.unit:
            wrong.append(f"unit of {said.name} is {said.unit:.80}, the task's is {group.utility.unit:.80}")
        if (group.instruction is None) != (said.prompted is None):
            wrong.append(f"{said.name} is prompted or not, the task says otherwise")
    return wrong


def _prompts_differ(items: pd.DataFrame, record: Record, problem: Problem) -> list[str]:
    test = problem.prompts.test
    samples = record.spec["evaluate_options"].get("samples", record.samples_per_prompt)
    if record.samples_per_prompt != samples:
        return [f"samples_per_prompt is {record.samples_per_prompt}, specified {samples}"]
    if record.n_prompts != len(test):
        return [f"n_prompts is {record.n_prompts}, the task has {len(test)} test prompts"]
    ids = np.repeat(np.arange(len(test)), record.samples_per_prompt or 1)
    if (items["prompt_id"].to_numpy() != ids).any():
        return ["prompt_id does not count the test prompts"]
    differing = sum(text != test[index] for text, index in zip(items["prompt"].tolist(), ids, strict=True))
    return [f"its prompts are not the task's in {differing} rows"] if differing else []


def _em_differs(record: Record, problem: Problem) -> list[str]:
    em = record.em
    if em is None:
        return []
    wrong = []
    if len(em.cluster_sizes) != em.clusters:
        wrong.append(f"em.clusters is {em.clusters}, em.cluster_sizes has {len(em.cluster_sizes)}")
    if sum(em.cluster_sizes) != problem.annotators:
        wrong.append(f"em.cluster_sizes do not sum to the task's {problem.annotators} annotators")
    return wrong


def _alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same up to the last digits of their numbers."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == {str(key) for key in other} and all(
            _alike(one[str(key)], value) for key, value in other.items()
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return _same(one, other)


# ---------------------------------------------------------------------------- utilities


def _check_utility(
    checked: Checked,
    group: Group,
    table: pd.DataFrame,
    asked: list[str],
    columns: tuple[str, str],
    called: str,
) -> None:
    """A group's utilities of both responses, computed again from the texts."""
    utility = group.utility
    ours, theirs = table["response"].tolist(), table["reference_response"].tolist()
    found = utility.recalled(checked.folder.parent, asked, ours, theirs)
    if found is None:
        checked.unchecked.append(f"utility of {called}: it is fitted by the run, on the run's own model")
        return
    known = ~np.isnan(found[0])
    if not known.all():
        said = f"utility of {called}: {int((~known).sum())} of {len(known)} verdicts are not beside the runs"
        checked.unchecked.append(said)
    if not known.any():
        return
    stored = [table[name].to_numpy(dtype=np.float64)[known] for name in columns]
    computed = [np.asarray(values, dtype=np.float64)[known] for values in found]
    apart = np.zeros(len(stored[0]), dtype=bool)
    for written, value in zip(stored, computed, strict=True):
        apart |= ~(np.abs(written - value) <= TOLERANCE * np.maximum(1.0, np.abs(value)))
    apart |= _won(*stored) != _won(*computed)
    if apart.any():
        checked.wrong.append(
            f"utility of {called} is not what the task computes from the texts in {int(apart.sum())} rows"
        )


def _won(ours: Floats, theirs: Floats) -> Floats:
    """1 where the first is larger, -1 where the second is, 0 at a tie."""
    difference = ours - theirs
    return np.where(np.abs(difference) <= TIE, 0.0, np.sign(difference))


def _check_prompted(checked: Checked, record: Record, problem: Problem) -> None:
    told = [group for group in problem.groups if group.instruction is not None]
    if not told or "prompted" not in checked.tables:
        return
    table = checked.tables["prompted"]
    test = np.asarray(problem.prompts.test, dtype=object)
    for group in told:
        mine = table[table["group"] == group.name].sort_values(["prompt_id", "sample"], kind="stable")
        called = f"{group.name}, prompted,"
        ids = np.repeat(np.arange(len(test)), record.samples_per_prompt or 1)
        if len(mine) != len(ids) or (mine["prompt_id"].to_numpy() != ids).any():
            checked.wrong.append(f"{PROMPTED_FILE} does not count the test prompts for {group.name}")
            continue
        for name in ("prompt", "response", "reference_response"):
            if not all(isinstance(text, str) for text in mine[name].tolist()):
                checked.wrong.append(f"column {name} of {PROMPTED_FILE} is not text")
                return
        asked = test[ids].tolist()
        put = [with_instruction(prompt, str(group.instruction)) for prompt in asked]
        if mine["prompt"].tolist() != put:
            checked.wrong.append(f"the prompts of {called} are not the task's with its instruction")
        for text, flag in (("response", "empty"), ("reference_response", "reference_empty")):
            checked.wrong += [f"{PROMPTED_FILE}: {said}" for said in _empty_differs(mine, text, flag)]
        _check_utility(checked, group, mine, asked, ("utility", "reference_utility"), called)


# ---------------------------------------------------------------------------- worlds


def _check_world(checked: Checked, record: Record, problem: Problem) -> None:
    """A world's tables: what is listed is the world's, and what was drawn could come of it."""
    world = problem.world
    if world is None:
        if record.regret is not None:
            checked.wrong.append("it has regret, but the task has no world")
        return
    listed = world.listed(problem.prompts.test)
    names = [group.name for group in problem.groups]
    listed = listed.rename(columns={f"utility/{i}": f"utility/{name}" for i, name in enumerate(names)})
    items = checked.tables["items"]
    choices = world.reference.shape[1]
    rows = world.rows(items["prompt"].tolist())
    states, position = np.unique(rows, return_inverse=True)

    def places(texts: list[str]) -> npt.NDArray[np.int64]:
        return np.asarray(position * choices + world.columns(rows, texts), dtype=np.int64)

    _check_draws(checked, listed, listed["reference"].to_numpy(), places, "reference_response", names)
    if record.regret is None:
        return
    if record.regret.beta != world.beta:
        checked.wrong.append(f"regret.beta is {record.regret.beta:g}, the world's is {world.beta:g}")
    table = checked.tables["distribution"]
    if len(table) != len(listed):
        checked.wrong.append(f"{DISTRIBUTION_FILE} does not list the responses of the world")
        return
    for name in listed.columns:
        written, value = table[name], listed[name]
        same = (
            written.tolist() == value.tolist()
            if name in ("state", "response")
            else np.allclose(written.to_numpy(dtype=np.float64), value, rtol=1e-9, atol=1e-12)
        )
        if not same:
            checked.wrong.append(f"{name} of {DISTRIBUTION_FILE} is not the world's")
    policy = table["policy"].to_numpy(dtype=np.float64)
    sums = policy.reshape(len(states), choices).sum(axis=1)
    if not (policy >= 0).all() or not np.allclose(sums, 1, atol=1e-6):
        checked.wrong.append(f"policy of {DISTRIBUTION_FILE} is no distribution over responses")
        return
    _check_draws(checked, listed, policy, places, "response", names)
    if items["kl"].notna().all():
        at = places(items["response"].tolist())
        with np.errstate(divide="ignore"):
            cost = np.log(policy[at]) - np.log(listed["reference"].to_numpy()[at])
        differing = int((~(np.abs(items["kl"].to_numpy() - cost) <= TOLERANCE)).sum())
        if differing:
            checked.wrong.append(f"kl is not that of {DISTRIBUTION_FILE} in {differing} rows")


def _check_draws(
    checked: Checked, listed: pd.DataFrame, chance: Floats, places: Any, column: str, names: list[str]
) -> None:
    """Whether responses can have been drawn with these chances: none is impossible, no mean is far off."""
    items = checked.tables["items"]
    at = places(items[column].tolist())
    if (chance[at] <= 0).any():
        checked.wrong.append(f"{column} of the items has what its policy never says")
        return
    size, choices = len(items), len(listed) // listed["state"].nunique()
    chances = chance.reshape(-1, choices)
    weight = listed["state_weight"].to_numpy().reshape(-1, choices)[:, 0]
    for name in names:
        utility = listed[f"utility/{name}"].to_numpy().reshape(-1, choices)
        mean = (chances * utility).sum(axis=1)
        spread = math.sqrt(float(weight @ (chances * (utility - mean[:, None]) ** 2).sum(axis=1)))
        width = float((utility.max(axis=1) - utility.min(axis=1)).max())
        far = abs(float(utility.ravel()[at].mean()) - float(weight @ mean))
        if far > math.sqrt(2 * RARE / size) * spread + 2 / 3 * RARE * width / size:
            checked.wrong.append(f"{column} of the items was not drawn from its policy: {name} is far off")
            return

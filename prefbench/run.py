"""One run, stage by stage, from a specification to a record."""

from __future__ import annotations

import errno
import functools
import hashlib
import inspect
import json
import platform
import re
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

import prefbench
from prefbench import registry, seeds
from prefbench.backbone.base import Aligned, Backbone, Policy
from prefbench.backbone.estimate import check_memory
from prefbench.backbone.models import ModelRequest
from prefbench.backbone.parallel import is_lost, team
from prefbench.errors import Diverged, JudgeFailed, PrefbenchError, UserError
from prefbench.problem import HELD_OUT_PAIRS, Problem, apportion, text_digest, with_instruction
from prefbench.problem.gold import FittedGold
from prefbench.problem.preferences import (
    compared,
    given_pairs,
    label_pairs,
    utilities_of_pairs,
)
from prefbench.problem.utilities import count_words, is_empty
from prefbench.problem.view import check_oracle, make_view
from prefbench.report.record import (
    DISTRIBUTION_FILE,
    HISTORY_FILE,
    ITEMS_FILE,
    PROMPTED_FILE,
    Record,
    summarise,
    summarise_prompted,
    write_items,
    write_record,
)
from prefbench.spec import RunSpec, digest, get_model
from prefbench.store import Reporter, Store, Work, content_digest, write_atomically


def run(spec: RunSpec, runs_dir: Path, reporter: Reporter | None = None) -> tuple[Path, Record]:
    """Run a specification, continuing whatever of it is already stored.

    Args:
        spec: what to run; `prefbench.spec.make_spec` has checked it.
        runs_dir: where stages and records are kept.
        reporter: who is told how it goes.

    Returns:
        The run's folder and its record. A run that diverged or whose aligner failed has a record that
        says so. Of several processes (`prefbench.backbone.parallel`) all return it and the first writes it.

    Raises:
        UserError: the data or the model cannot be used. Nothing was written.
    """
    started = datetime.now(UTC)
    entry = registry.get("task", spec.task)
    problem, backbone, store = _open(spec, runs_dir, reporter)
    folder = runs_dir / run_name(spec)
    base = _base_fields(spec, entry, started)
    found: _Found | None = None
    trace: str | None = None
    try:
        problem = _prepared(problem, backbone, store, spec.seed)
        found = _measure(spec, problem, backbone, store)
        measured = found.measured | {"notes": _notes(problem, backbone)}
        record = Record(status="ok", message=None, **base, **measured, timings=_timings(store))
    except (Diverged, _AlignerFailed, JudgeFailed) as error:
        status: Literal["diverged", "failed"] = "diverged" if isinstance(error, Diverged) else "failed"
        record = Record(status=status, message=str(error), **base, **_unmeasured(), timings=_timings(store))
        trace = error.trace if isinstance(error, _AlignerFailed) else None
    if team().rank == 0:
        _write(folder, record, found, trace)
    return folder, record


def _write(folder: Path, record: Record, found: _Found | None, trace: str | None) -> None:
    """A run's record with its evidence, or with the trace of what failed."""
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        for evidence in (ITEMS_FILE, PROMPTED_FILE, DISTRIBUTION_FILE, HISTORY_FILE):
            (folder / evidence).unlink(missing_ok=True)
        if trace is not None:
            (folder / "error.txt").write_text(trace)
    else:
        write_items(found.items, folder)
        for evidence, table in ((PROMPTED_FILE, found.prompted), (DISTRIBUTION_FILE, found.distribution)):
            if table is not None:
                write_items(table, folder, evidence)
        if found.history is not None:
            write_atomically(folder / HISTORY_FILE, found.history)
        (folder / "error.txt").unlink(missing_ok=True)
    write_record(record, folder)


def labelled_pairs(
    spec: RunSpec, runs_dir: Path, reporter: Reporter | None = None
) -> tuple[Problem, pd.DataFrame]:
    """The problem of a specification and its labelled pairs, from the stages that its run would share.

    Returns:
        The problem, and the rows of all splits as `prefbench.problem.preferences.label_pairs` gives them.

    Raises:
        UserError: the data or the model cannot be used. Nothing was written.
    """
    problem, backbone, store = _open(spec, runs_dir, reporter)
    problem = _prepared(problem, backbone, store, spec.seed)
    return problem, _labels(spec, problem, backbone, store).rows


def _open(spec: RunSpec, runs_dir: Path, reporter: Reporter | None) -> tuple[Problem, Backbone, Store]:
    """The problem, the model with its reference policy, and where stages go."""
    task = registry.get("task", spec.task)
    problem: Problem = task.function(spec.data, spec.minority_ratio, spec.seed, **spec.task_options)
    apportion([group.share for group in problem.groups], problem.annotators)  # an impossible share fails here
    store = Store(runs_dir, reporter)
    if "oracle" in registry.get("aligner", spec.aligner).needs:
        check_oracle(problem, spec.aligner)
    model = get_model(spec.model)
    if team().size > 1 and model.backbone == "finite":
        raise UserError(f"model '{spec.model}' has nothing to share out: run it in one process.")
    # With FSDP the weights are in no one place, and the estimate knows only of one.
    note = None if team().sharded else check_memory(spec, problem)
    if note is not None:
        store.reporter.note(note)
    request = ModelRequest(spec.model, problem, store, spec.seed)
    return problem, model.function(request, model.options(**spec.model_options)), store


def _prepared(problem: Problem, backbone: Backbone, store: Store, seed: int) -> Problem:
    """The problem with utilities that are ready: some are fitted on the model, some keep their verdicts."""
    ready = []
    for group in problem.groups:
        if hasattr(group.utility, "prepare"):
            group = replace(group, utility=group.utility.prepare(backbone, store.root, seed))
        ready.append(group)
    return replace(problem, groups=tuple(ready))


class _AlignerFailed(PrefbenchError):
    """The aligner raised something that is not ours."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


def run_name(spec: RunSpec) -> str:
    """The run's folder: readable, safe whatever the names hold, and unique by the specification's hash."""
    parts = [spec.task, spec.aligner, Path(spec.model).name, f"r{spec.minority_ratio:g}", f"s{spec.seed}"]
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part).strip("._") for part in parts)
    return f"{readable}-{spec.hash[:12]}"


def _timings(store: Store) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in store.timings.items()}


@dataclass(frozen=True)
class _Found:
    """What a run found out."""

    measured: dict[str, Any]
    """The record's measured fields."""
    items: pd.DataFrame
    prompted: pd.DataFrame | None
    distribution: pd.DataFrame | None
    history: str | None
    """The policy's training, iteration by iteration, as JSON."""


@dataclass(frozen=True)
class _Labels:
    """Labelled pairs and where they are stored."""

    rows: pd.DataFrame
    conflict: dict[str, Any]
    digest: str


def _measure(spec: RunSpec, problem: Problem, backbone: Backbone, store: Store) -> _Found:
    """Everything after the reference."""
    labels = _labels(spec, problem, backbone, store)
    policy, policy_folder = _policy(spec, problem, backbone, labels, store)
    speakers = (
        _Speaker("policy", policy, content_digest(policy_folder)),
        _Speaker("reference", backbone.reference, backbone.digest),
    )
    prompts = list(problem.prompts.test)
    ours, theirs = (_samples(spec, problem, prompts, backbone, speaker, store) for speaker in speakers)
    items = _scores(problem, ours, theirs, store)
    prompted = _prompted(spec, problem, backbone, speakers, store)
    counts = apportion([group.share for group in problem.groups], problem.annotators)
    groups = [
        (group.name, count / problem.annotators, group.name == problem.minority)
        for group, count in zip(problem.groups, counts, strict=True)
    ]
    measured = summarise(items, groups, spec.seed)
    if prompted is not None:
        apart, worst = summarise_prompted(prompted, groups, spec.seed)
        for row in measured["groups"]:
            row["prompted"] = apart.get(row["name"])
        measured |= worst
    evidence = json.loads((policy_folder / "evidence.json").read_text())
    accuracy = _reward_accuracy(problem, labels.rows, policy_folder, evidence)
    for row, group in zip(measured["groups"], problem.groups, strict=True):
        row.update(utility=group.utility.name, unit=group.utility.unit, reward_accuracy=accuracy[group.name])
    measured["em"] = _em_report(labels.rows, evidence)
    reports = _utility_reports(problem, labels.rows, items, prompted)
    measured["task_report"] = {**problem.report, "conflict": labels.conflict, **reports}
    distribution = backbone.distribution(policy, problem.prompts.test)
    measured["regret"] = None
    if distribution is not None and problem.world is not None:
        from prefbench.evaluate.regret import regrets

        columns = {f"utility/{i}": f"utility/{group.name}" for i, group in enumerate(problem.groups)}
        distribution = distribution.rename(columns=columns)
        names = [group.name for group in problem.groups]
        measured["regret"] = regrets(distribution, names, problem.world.beta)
    history = policy_folder / HISTORY_FILE
    course = history.read_text() if history.exists() else None
    return _Found(measured, items, prompted, distribution, course)


def _notes(problem: Problem, backbone: Backbone) -> list[str]:
    """What went otherwise than it was meant to, and rewards that are no measure."""
    notes = list(dict.fromkeys(getattr(backbone, "notes", ())))
    for group in problem.groups:
        if isinstance(group.utility, FittedGold) and not group.utility.is_better_than_chance:
            notes.append(
                f"the gold reward of {group.name} orders {group.utility.accuracy:.0%} of "
                f"{group.utility.held_out} held-out pairs as labelled, as a coin might: "
                "win rates by it say nothing"
            )
    return notes


def _utility_reports(
    problem: Problem, labels: pd.DataFrame, items: pd.DataFrame, prompted: pd.DataFrame | None
) -> dict[str, Any]:
    """What utilities that were fitted or asked for have to say of themselves."""
    # Labels that a task brought along were not asked for.
    asked = [items] if problem.given is not None else [labels, items]
    reports = {}
    for group in problem.groups:
        if hasattr(group.utility, "recall"):
            told = [] if prompted is None else [prompted[prompted["group"] == group.name]]
            for table in [*asked, *told]:
                group.utility.recall(*_compared_in(table, problem))
        if hasattr(group.utility, "report"):
            reports[group.name] = group.utility.report()
    return {"utilities": reports} if reports else {}


def _pairs(spec: RunSpec, problem: Problem, backbone: Backbone, store: Store) -> tuple[pd.DataFrame, str]:
    """Two reference responses to each train, validation and held-out prompt."""
    split_prompts = {
        "train": problem.prompts.train,
        "validation": problem.prompts.validation,
        "test": problem.prompts.test[:HELD_OUT_PAIRS],
    }
    prompts = [prompt for members in split_prompts.values() for prompt in members]
    key = {
        "reference": backbone.digest,
        "prompts": text_digest(prompts),
        "response_tokens": problem.response_tokens,
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        sampled = backbone.at(work).reference.sample(prompts, 2, seeds.child(spec.seed, "pairs"))
        frame = pd.DataFrame(
            {
                "split": [name for name, members in split_prompts.items() for _ in members],
                "prompt": prompts,
                "response_a": [row[0] for row in sampled],
                "response_b": [row[1] for row in sampled],
            }
        )
        frame.to_parquet(work.path / "pairs.parquet", index=False)

    folder = store.stage("pairs", key, compute)
    return pd.read_parquet(folder / "pairs.parquet"), content_digest(folder)


def _labels(spec: RunSpec, problem: Problem, backbone: Backbone, store: Store) -> _Labels:
    """Annotators' labels, and how much the groups disagree."""
    if problem.given is not None:
        rows, conflict = given_pairs(problem)
        return _Labels(rows, conflict, digest(rows.to_dict("list")))
    pairs, pairs_digest = _pairs(spec, problem, backbone, store)
    key = {
        "pairs": pairs_digest,
        "groups": [[group.name, group.utility.name] for group in problem.groups],
        "task": _code_digest(registry.get("task", spec.task)),
        "annotators": apportion([group.share for group in problem.groups], problem.annotators),
        "temperature": problem.temperature,
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        rows, conflict = label_pairs(pairs, problem, spec.seed)
        rows.to_parquet(work.path / "labels.parquet", index=False)
        (work.path / "conflict.json").write_text(json.dumps(conflict, indent=1))

    folder = store.stage("labels", key, compute)
    conflict = json.loads((folder / "conflict.json").read_text())
    return _Labels(pd.read_parquet(folder / "labels.parquet"), conflict, content_digest(folder))


def _policy(
    spec: RunSpec, problem: Problem, backbone: Backbone, labels: _Labels, store: Store
) -> tuple[Policy, Path]:
    """The aligner's policy, and what its rewards say about held-out pairs."""
    entry = registry.get("aligner", spec.aligner)
    key = {
        "aligner": entry.name,
        "code": _code_digest(entry),
        "options": dict(spec.aligner_options),
        "reference": backbone.digest,
        "training": dict(backbone.training),
        "labels": labels.digest,
        "prompts": text_digest(problem.prompts.train),
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        view = make_view(labels.rows, problem, entry.needs, spec.seed)
        try:
            made = entry.function(view, backbone.at(work), entry.options(**spec.aligner_options))
        except PrefbenchError:
            raise
        except Exception as error:  # a stranger's aligner may raise anything
            if _is_environment(error):
                raise
            line = f"aligner '{entry.name}' failed with {type(error).__name__}: {error}".replace("\n", " ")
            raise _AlignerFailed(line, traceback.format_exc()) from error
        aligned = made if isinstance(made, Aligned) else Aligned(made)
        aligned.policy.save(work.path)
        rewards = aligned.rewards
        evidence: dict[str, Any] = {"rewards": None, "assignment": None, "em": None}
        if rewards is not None:
            held_out = labels.rows[labels.rows["split"] == "test"]
            prompts = held_out["prompt"].tolist()
            margins = rewards(prompts, held_out["chosen"].tolist()) - rewards(
                prompts, held_out["rejected"].tolist()
            )
            frame = pd.DataFrame(margins, columns=[f"margin/{i}" for i in range(margins.shape[1])])
            frame.to_parquet(work.path / "margins.parquet", index=False)
            assignment = None if rewards.assignment is None else sorted(rewards.assignment.items())
            evidence = {"rewards": rewards.names, "assignment": assignment, "em": rewards.em}
        (work.path / "evidence.json").write_text(json.dumps(evidence, indent=1))

    folder = store.stage("policy", key, compute)
    return backbone.load_policy(folder), folder


def _is_environment(error: Exception) -> bool:
    """Troubles that are the machine's and not the aligner's: they go up unchanged."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return full or isinstance(error, MemoryError) or is_lost(error)


@dataclass(frozen=True)
class _Speaker:
    """A policy that is asked; `role` keeps the reference's own samples apart from an aligner's."""

    role: str
    policy: Policy
    digest: str


def _samples(
    spec: RunSpec,
    problem: Problem,
    prompts: list[str],
    backbone: Backbone,
    speaker: _Speaker,
    store: Store,
    *,
    prompted: bool = False,
) -> pd.DataFrame:
    """Responses to test prompts, and what the policy's cost in KL where they were put as they are."""
    n, role = spec.evaluate_options["samples"], speaker.role
    key = {
        "policy": speaker.digest,
        "role": role,
        "prompts": text_digest(prompts),
        "samples": n,
        "response_tokens": problem.response_tokens,
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        sampled = speaker.policy.sample(prompts, n, seeds.child(spec.seed, "samples", role))
        frame = pd.DataFrame(
            {
                "prompt_id": np.repeat(np.arange(len(prompts)), n),
                "sample": np.tile(np.arange(n), len(prompts)),
                "prompt": np.repeat(np.asarray(prompts, dtype=object), n),
                "response": [text for row in sampled for text in row],
            }
        )
        if role == "policy" and not prompted:
            texts = frame["prompt"].tolist(), frame["response"].tolist()
            ours = speaker.policy.logprob(*texts)
            reference = None if ours is None else backbone.reference.logprob(*texts)
            frame["kl"] = np.nan if ours is None or reference is None else ours - reference
        frame.to_parquet(work.path / "samples.parquet", index=False)

    folder = store.stage("samples", key, compute)
    return pd.read_parquet(folder / "samples.parquet")


def _scores(problem: Problem, ours: pd.DataFrame, theirs: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Every group's utility of every response: the evidence behind the record."""
    key = {
        "samples": text_digest(
            [*ours["prompt"], *ours["response"], *theirs["response"], ours["kl"].to_json(double_precision=15)]
        ),
        "groups": [[group.name, group.utility.name] for group in problem.groups],
    }

    def compute(work: Work) -> None:
        items = ours[["prompt_id", "sample", "prompt", "response"]].copy()
        items["reference_response"] = theirs["response"]
        items["empty"] = [is_empty(text) for text in items["response"]]
        items["words"] = [count_words(text) for text in items["response"]]
        items["reference_words"] = [count_words(text) for text in items["reference_response"]]
        items["kl"] = ours["kl"]
        values = utilities_of_pairs(problem, *_compared_in(items, problem))
        for prefix, matrix in zip(("utility", "reference_utility"), values, strict=True):
            for index, group in enumerate(problem.groups):
                items[f"{prefix}/{group.name}"] = matrix[:, index]
        items.to_parquet(work.path / "items.parquet", index=False)

    return pd.read_parquet(store.stage("scores", key, compute) / "items.parquet")


def _prompted(
    spec: RunSpec, problem: Problem, backbone: Backbone, speakers: tuple[_Speaker, _Speaker], store: Store
) -> pd.DataFrame | None:
    """The same comparison with each group's instruction in the prompt, judged by that group alone."""
    told = [group for group in problem.groups if group.instruction is not None]
    if not told:
        return None
    sampled = []
    for group in told:
        prompts = [with_instruction(prompt, str(group.instruction)) for prompt in problem.prompts.test]
        sampled.append(
            [
                _samples(spec, problem, prompts, backbone, speaker, store, prompted=True)
                for speaker in speakers
            ]
        )
    texts = [text for ours, theirs in sampled for text in (*ours["response"], *theirs["response"])]
    key = {
        "samples": text_digest([*problem.prompts.test, *texts]),
        "groups": [[group.name, group.utility.name, group.instruction] for group in told],
    }

    def compute(work: Work) -> None:
        tables = []
        for group, (ours, theirs) in zip(told, sampled, strict=True):
            table = ours[["prompt_id", "sample", "prompt", "response"]].copy()
            table.insert(0, "group", group.name)
            table["reference_response"] = theirs["response"]
            table["empty"] = [is_empty(text) for text in table["response"]]
            table["reference_empty"] = [is_empty(text) for text in table["reference_response"]]
            table["utility"], table["reference_utility"] = compared(
                group.utility, *_compared_in(table, problem)
            )
            tables.append(table)
        pd.concat(tables, ignore_index=True).to_parquet(work.path / PROMPTED_FILE, index=False)

    return pd.read_parquet(store.stage("prompted", key, compute) / PROMPTED_FILE)


def _compared_in(table: pd.DataFrame, problem: Problem) -> list[list[str]]:
    """Prompts and the two responses to each that a table of labels or of samples compares."""
    if "chosen" in table:
        return [table[column].tolist() for column in ("prompt", "chosen", "rejected")]
    # Said or unsaid, an instruction is no part of what the group asked about.
    asked = np.asarray(problem.prompts.test, dtype=object)[table["prompt_id"]].tolist()
    return [asked, table["response"].tolist(), table["reference_response"].tolist()]


def _reward_accuracy(
    problem: Problem, rows: pd.DataFrame, policy_folder: Path, evidence: Mapping[str, Any]
) -> dict[str, float | None]:
    """Share of held-out pairs that a reward orders as the group's utility does, ties one half.

    A group is held against the reward that serves it: the only one, the one of its name, or the one of
    the cluster that most of its annotators were placed in. Pairs that the group is indifferent about
    do not count.
    """
    names = [group.name for group in problem.groups]
    if evidence["rewards"] is None:
        return dict.fromkeys(names)
    margins = pd.read_parquet(policy_folder / "margins.parquet").to_numpy()
    held_out = rows[rows["split"] == "test"]
    result: dict[str, float | None] = {}
    for name in names:
        gain = held_out[f"chosen_utility/{name}"] - held_out[f"rejected_utility/{name}"]
        preferred = np.sign(gain.to_numpy())
        margin = margins[:, _serving(name, rows, evidence)]
        counted = preferred != 0
        agree = (np.sign(margin) * preferred + 1) / 2
        result[name] = float(agree[counted].mean()) if counted.any() else None
    return result


def _serving(group: str, rows: pd.DataFrame, evidence: Mapping[str, Any]) -> int:
    if evidence["assignment"] is not None:
        cluster = dict(evidence["assignment"])
        members = rows.loc[rows["group"] == group, "user_id"].unique()
        return int(np.bincount([cluster[user] for user in members if user in cluster]).argmax())
    names = evidence["rewards"]
    return names.index(group) if group in names else 0


def _em_report(rows: pd.DataFrame, evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    """How EM went, with the agreement between its clusters and the true groups."""
    if evidence["em"] is None:
        return None
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score

    cluster = dict(evidence["assignment"])
    truth = rows.drop_duplicates("user_id").set_index("user_id")["group"]
    users = sorted(cluster)
    groups = pd.factorize(truth.loc[users])[0]
    found = np.array([cluster[user] for user in users])
    table = np.zeros((groups.max() + 1, found.max() + 1))
    np.add.at(table, (groups, found), 1)
    matched = linear_sum_assignment(table, maximize=True)
    return {
        **evidence["em"],
        "adjusted_rand_index": float(adjusted_rand_score(groups, found)),
        "accuracy": float(table[matched].sum() / len(users)),
    }


def _base_fields(spec: RunSpec, entry: registry.Entry, started: datetime) -> dict[str, Any]:
    return {
        "spec": spec.to_dict(),
        "spec_hash": spec.hash,
        "task": spec.task,
        "task_version": entry.version,
        "aligner": spec.aligner,
        "needs": sorted(registry.get("aligner", spec.aligner).needs),
        "model": spec.model,
        "data": spec.data,
        "minority_ratio": spec.minority_ratio,
        "seed": spec.seed,
        "provenance": _provenance(started),
    }


def _unmeasured() -> dict[str, Any]:
    from prefbench.report.record import MEASURED

    return {**dict.fromkeys(MEASURED), "groups": [], "em": None, "regret": None, "task_report": {}}


def _provenance(started: datetime) -> dict[str, Any]:
    from importlib.metadata import version

    # A run that needed no torch is not made to wait for it now.
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    return {
        "prefbench": prefbench.__version__,
        "git": _git_commit(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "hardware": gpu or platform.processor() or platform.machine(),
        "threads": 1 if torch is None else torch.get_num_threads(),
        "processes": team().size,
        "started": started.isoformat(timespec="seconds"),
    }


@functools.cache
def _git_commit() -> str | None:
    """The commit of prefbench's own source tree, where it runs from one."""
    source = Path(prefbench.__file__).parent.parent
    if not (source / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _code_digest(entry: registry.Entry) -> str:
    """Of the file that defines a task or an aligner: an edited plug-in is never served a stale result."""
    file = inspect.getsourcefile(sys.modules[entry.function.__module__])
    assert file is not None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]

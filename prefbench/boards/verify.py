"""Many runs held against each other.

`verify_board` is what `verify`, `submit` and `merge` all ask. Nothing is put to a vote: where two runs cannot
both be right, both are named, so that a board cannot be flooded until the honest ones look odd.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefbench import registry
from prefbench.boards.names import board_key, config_hash
from prefbench.errors import UserError
from prefbench.record.anonymous import ARCHITECTURES
from prefbench.record.checked import Checked
from prefbench.record.divergence import divergence_of
from prefbench.record.files import read_record, run_folders
from prefbench.record.problems import Problems
from prefbench.record.schema import Record
from prefbench.record.verify_run import COPIED, agreement, check_run
from prefbench.seeds import rng

STILL_NATS = 0.05
"""Nats: policies that both stay this near to the reference say what it says."""
UNLIKELY_ERRORS = 4.5
"""Standard errors of a paired difference that no rounding of another machine explains."""


def verify_board(
    folders: Sequence[Path],
    *,
    sample: int | None = None,
    seed: int = 0,
    fetch: bool = False,
    large: bool = False,
) -> list[Checked]:
    """Check every run by itself and against the others.

    Args:
        folders: of the runs.
        sample: build the problems of so many runs only, drawn at random; all are checked for the rest.
        seed: of that draw.
        fetch: see `Problems`.
        large: see `Problems`.

    Returns:
        What was found, in the order of `folders`.
    """
    runs = [Checked(Path(folder)) for folder in folders]
    for run in runs:
        try:
            run.record = read_record(run.folder)
        except UserError as error:
            run.wrong.append(str(error))
    read = [run for run in runs if run.record is not None]
    drawn = range(len(read))
    if sample is not None and sample < len(read):
        drawn = rng(seed, "verify").choice(len(read), size=sample, replace=False).tolist()
    chosen = {id(read[index]) for index in drawn}
    problems = Problems(fetch, large)
    for run in sorted(read, key=_problem_key):
        check_run(run, problems, build=id(run) in chosen)
        _keep_little(run)
    _name_twice(read)
    whole = [run for run in read if run.words is not None and not run.wrong]
    _compare_references(whole)
    _name_copies(whole)
    _name_mixed(read)
    return runs


def runs_in(folder: Path) -> list[Path]:
    """The folders of runs directly inside a folder or in a packed board, by name.

    Raises:
        UserError: there is none.
    """
    folders = run_folders(Path(folder))
    if not folders:
        raise UserError(f"no record in '{folder}': name a runs folder with --runs-dir.")
    return folders


def _problem_key(run: Checked) -> str:
    return Problems.key(_record(run))


def _record(run: Checked) -> Record:
    assert run.record is not None
    return run.record


def _keep_little(run: Checked) -> None:
    """Keep of a run's tables what the board compares: every row has its place, but no text."""
    items = run.tables.get("items")
    run.tables.clear()
    if items is not None:
        kept = [name for name in items.columns if str(name).startswith("reference_utility/")]
        run.tables["references"] = items[["reference_words", *kept]]


def _name_twice(runs: Sequence[Checked]) -> None:
    """One specification has one run."""
    found: dict[str, list[Checked]] = defaultdict(list)
    for run in runs:
        found[config_hash(_record(run).spec) + f" {_record(run).seed}"].append(run)
    for same in found.values():
        if len(same) > 1:
            for run in same:
                other = next(each for each in same if each is not run)
                run.wrong.append(f"'{other.folder.name}' is a run of the same specification: keep one")


def _compare_references(runs: Iterable[Checked]) -> None:
    """Runs of one board, seed and numerics were compared with the same reference responses."""
    sharing: dict[tuple[Any, ...], list[Checked]] = defaultdict(list)
    for run in runs:
        record = _record(run)
        assert run.references is not None
        sharing[board_key(record), record.seed, record.numerics, len(run.references)].append(run)
    for same in sharing.values():
        by_content: dict[bytes, list[Checked]] = defaultdict(list)
        for run in same:
            assert run.references is not None
            by_content[run.references.tobytes()].append(run)
        kinds = list(by_content.values())
        for index, ours in enumerate(kinds):
            for theirs in kinds[:index]:
                _tell_apart(ours, theirs)


def _tell_apart(ours: Sequence[Checked], theirs: Sequence[Checked]) -> None:
    """Two sets of runs whose references differ where they should not.

    Other processors round otherwise, and a sampler then says something else now and then, but nothing that
    is better or worse on average. On one machine, or with a lean to one side, one of the two was edited.
    """
    lean = _lean(ours[0], theirs[0])
    machines = {_machine(run) for run in ours} & {_machine(run) for run in theirs}
    known = any(machine[0] not in ARCHITECTURES for machine in machines)
    for mine, others in ((ours, theirs), (theirs, ours)):
        other = others[0].folder.name
        for run in mine:
            said = f"its reference responses are not those of '{other}' (and {len(others) - 1} more)"
            if lean is not None:
                run.wrong.append(f"{said}, and lean to one side in {lean}: one of them was edited")
            elif known:
                run.wrong.append(f"{said}, made on the same machine: one of them was edited")
            else:
                run.odd.append(f"{said}: another machine, or edited; --rerun tells")


def _machine(run: Checked) -> tuple[Any, ...]:
    made = _record(run).provenance
    return (made.hardware, made.torch, made.transformers, made.threads, made.processes)


def _lean(one: Checked, other: Checked) -> str | None:
    """The column of the references that one run has more of than chance would give it."""
    ours, theirs = one.tables["references"], other.tables["references"]
    for name in ours.columns:
        if name not in theirs.columns:
            return str(name)
        difference = ours[name].to_numpy(dtype=np.float64) - theirs[name].to_numpy(dtype=np.float64)
        error = float(difference.std()) / np.sqrt(len(difference))
        if abs(float(difference.mean())) > UNLIKELY_ERRORS * max(error, 1e-12):
            return str(name)
    return None


def _name_copies(runs: Sequence[Checked]) -> None:
    """Name runs that say the same: an aligner's under another's name, or one seed's for another."""
    by_size: dict[tuple[str, int], list[Checked]] = defaultdict(list)
    for run in runs:
        assert run.words is not None
        by_size[_record(run).task, len(run.words)].append(run)
    for same in by_size.values():
        rows = np.stack([run.words for run in same if run.words is not None])
        _, codes = np.unique(rows, return_inverse=True)
        table = codes.reshape(rows.shape).astype(np.int32)
        named: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for index in range(1, len(same)):
            equal = (table[:index] == table[index]).mean(axis=1)
            for other in np.flatnonzero(equal >= COPIED).tolist():
                if agreement(table[index], table[other]) < COPIED:
                    continue
                kind = _kind(same[index], same[other])
                if kind is not None:
                    named[index].append((kind, other))
                    named[other].append((kind, index))
        for index, found in named.items():
            _tell_copies(same[index], [(kind, same[other]) for kind, other in found])


def _kind(one: Checked, other: Checked) -> str | None:
    """The oddity of two runs that say the same; None if they well may.

    What an aligner learns depends on the seed, and on the ratio unless it sees no labels. Different aligners
    may do the same thing where their code is the same, and in a world where both are exact. Policies for each
    person may have one default in common, and are the same only if they say the same to people.
    """
    ours, theirs = _record(one), _record(other)
    if all(_is_still(record) for record in (ours, theirs)):
        return None
    if ours.seed != theirs.seed:
        return "seed"
    if ours.aligner != theirs.aligner:
        if _tell_people_apart(one, other):
            return None
        return "options" if _is_exact(ours) or _share_code(ours, theirs) else "aligner"
    if ours.minority_ratio != theirs.minority_ratio:
        blind = registry.role_of(ours.aligner, ours.needs) is not None
        return None if blind else "options" if _is_exact(ours) else "ratio"
    return "options"


def _tell_people_apart(one: Checked, other: Checked) -> bool:
    """True of two policies for each person that say different things to people."""
    if one.people_words is None or other.people_words is None:
        return False
    if one.people_words.shape != other.people_words.shape:
        return True
    return agreement(one.people_words, other.people_words) < COPIED


def _is_exact(record: Record) -> bool:
    """True if responses can be listed, so that aligners find optima that may be the same."""
    found = [entry for entry in registry.entries("task") if entry.name == record.task]
    return record.regret is not None or any("finite" in entry.backbones for entry in found)


def _is_still(record: Record) -> bool:
    divergence = divergence_of(record)
    return divergence is not None and abs(divergence[0]) < STILL_NATS


def _share_code(ours: Record, theirs: Record) -> bool:
    """True if two aligners see the same and are of one file."""
    entries = {entry.name: entry for entry in registry.entries("aligner")}
    mine, other = entries.get(ours.aligner), entries.get(theirs.aligner)
    if mine is None or other is None or ours.needs != theirs.needs:
        return False
    return mine.origin.module == other.origin.module and mine.origin.digest == other.origin.digest


_SAID = {
    "seed": "under another seed",
    "aligner": "of another aligner",
    "ratio": "under another ratio",
}


def _tell_copies(run: Checked, found: Sequence[tuple[str, Checked]]) -> None:
    kinds = Counter(kind for kind, _ in found)
    for kind, count in sorted(kinds.items()):
        other = next(each for name, each in found if name == kind)
        more = f" and {count - 1} more" if count > 1 else ""
        said = f"its responses are those of '{other.folder.name}'{more}"
        if kind == "options":
            run.odd.append(f"{said}: both may do the same; --rerun tells")
        else:
            run.wrong.append(
                f"{said}, {_SAID[kind]}: one of them is a copy, or the two do the same and one is to go"
            )


def _name_mixed(runs: Iterable[Checked]) -> None:
    """A row whose seeds were made by different code is no row of one aligner."""
    rows: dict[str, list[Checked]] = defaultdict(list)
    for run in runs:
        record = _record(run)
        rows[f"{record.task_version} {config_hash(record.spec)}"].append(run)
    for same in rows.values():
        made: dict[tuple[int | None, str | None], list[int]] = defaultdict(list)
        for run in same:
            record = _record(run)
            made[record.numerics, record.code].append(record.seed)
        if len(made) < 2:
            continue
        parts = [
            f"numerics {numerics or 'unknown'} and code {code or 'unknown'} made seed {_join(seeds)}"
            for (numerics, code), seeds in made.items()
        ]
        for run in same:
            run.odd.append(f"its row is mixed: {'; '.join(parts)}")


def _join(numbers: Iterable[int]) -> str:
    return " ".join(map(str, sorted(numbers)))

"""A run's specification held against the registry, and its record against both."""

from __future__ import annotations

from typing import Any, cast

from prefbench import registry
from prefbench.errors import UserError
from prefbench.identity import Identity
from prefbench.numerics import NUMERICS
from prefbench.record.alike import same
from prefbench.record.anonymous import named_by_content
from prefbench.record.checked import Checked
from prefbench.record.schema import DEFAULTS_VERSION, PEOPLE_VERSION, Record
from prefbench.spec import (
    USUAL,
    EvaluateOptions,
    RunSpec,
    defaults_of,
    parse_ratio,
    refuse_misfit,
    renamed,
    resolve,
)


def check_spec(checked: Checked, record: Record) -> None:
    """The specification against the registry, and the record against both."""
    known = set(RunSpec.__dataclass_fields__) - (USUAL.keys() - record.spec.keys())
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
    if (
        aligner is not None
        and record.schema_version >= PEOPLE_VERSION
        and sorted(aligner.sees) != [*record.sees]
    ):
        said, true = (", ".join(sorted(sees)) or "nothing" for sees in (record.sees, aligner.sees))
        checked.wrong.append(f"sees is {said}, the policy of {record.aligner} sees {true}")
    for section, entry in (("task", task), ("aligner", aligner), ("model", model), ("evaluate", None)):
        if entry is not None or section == "evaluate":
            _check_options(checked, record, section, entry)
    if task is not None and aligner is not None and model is not None and not checked.wrong:
        try:
            refuse_misfit(task, aligner, model, record.model, record.spec["task_options"])
        except UserError as error:
            checked.wrong.append(str(error))


def _entry(kind: registry.EntryKind, name: str) -> registry.Entry | None:
    return registry.find(kind, name)


def _check_options(checked: Checked, record: Record, section: str, entry: registry.Entry | None) -> None:
    """One section of options, which the option class must take and leave as it is."""
    given = record.spec[f"{section}_options"]
    if not isinstance(given, dict):
        checked.wrong.append(f"{section} options are no table")
        return
    older = section == "task" and entry is not None and record.task_version < entry.version
    options = EvaluateOptions if entry is None else entry.options
    given = renamed(options, given)
    try:
        resolved = resolve(options, given, section, entry.name if entry is not None else "evaluator")
    except UserError as error:
        if section == "model" and entry is not None and entry.name != record.model:
            checked.unchecked.append(f"model '{record.model}' is not here, name it with --plugin")
        elif not older:
            checked.wrong.append(str(error))
        return
    for name, value in given.items():
        if name not in resolved:
            checked.wrong.append(f"option {section}.{name}={value!r:.80} is its default, which nobody writes")
        elif not same(value, resolved[name]):
            checked.wrong.append(f"option {section}.{name}={value!r:.80} is {resolved[name]!r:.80} here")
    missing = sorted(set(resolved) - set(given))
    if missing and _is_by_this_code(record):
        checked.wrong.append(f"the specification lacks {section}.{missing[0]}")
    if record.schema_version >= DEFAULTS_VERSION and not older:
        _check_defaults(checked, record, section, entry)


def _check_defaults(checked: Checked, record: Record, section: str, entry: registry.Entry | None) -> None:
    """The defaults that a record states for a section of options, against those that are declared here."""
    options = EvaluateOptions if entry is None else entry.options
    names = renamed(options, record.spec[f"{section}_options"])
    said = renamed(options, dict(record.defaults or {}).get(cast(Any, section), {}))
    of_then, of_now = defaults_of(options, names, record.numerics), defaults_of(options, names)
    wrong = []
    for name, value in said.items():
        declared = [each[name] for each in (of_now, of_then) if name in each]
        if not any(same(value, here) for usual in declared for here in (usual, named_by_content(usual))):
            here = f"is {declared[0]!r:.80}" if declared else "none"
            wrong.append(f"the default of {section}.{name} is {here} here, the record says {value!r:.80}")
    missing = sorted(of_now.keys() - said.keys())
    if missing and (record.defaults is None or _is_by_this_code(record)):
        wrong.append(f"the record lacks the default of {section}.{missing[0]}")
    if wrong and entry is not None and _is_another(record, entry):
        checked.unchecked.append(f"defaults of {section} '{entry.name}' are those of other code of it")
    else:
        checked.wrong += wrong


def _is_another(record: Record, entry: registry.Entry) -> bool:
    """True if an entry may be of other code than a record: a plug-in's, or in place of a plug-in's model."""
    made_by = {plugin.digest for plugin in record.plugins}
    if entry.origin.plugin is None:
        return entry.kind == "model" and entry.name != record.model and bool(made_by)
    return (entry.origin.digest or "")[:16] not in made_by


def _is_by_this_code(record: Record) -> bool:
    """True if the code that is here made a record; that of another version may have had fewer options."""
    entries = [_entry("task", record.task), _entry("aligner", record.aligner), _entry("model", record.model)]
    if record.code is None or any(entry is None for entry in entries):
        return False
    task, aligner, model = (entry for entry in entries if entry is not None)
    return Identity(task, aligner, model, {}, {}, {}).code == record.code

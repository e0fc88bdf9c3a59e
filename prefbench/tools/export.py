"""Preference data as a data set of its own: parquet for each split, and a card that says what it is.

The rows are TRL's explicit-prompt preference format (`prompt, chosen, rejected`) with `user_id` and `group`
beside them, so its trainers take the folder as it is. Nothing leaves the machine unless `push` is called.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench import __version__, registry
from prefbench.errors import PrefbenchError, UserError
from prefbench.problem.brought import SIDE, STRENGTH
from prefbench.problem.labels import given_pairs, preference_probability
from prefbench.running.run import labelled_pairs
from prefbench.spec import RunSpec, make_spec
from prefbench.store.files import clear_disk_errors
from prefbench.store.progress import Reporter
from prefbench.text import count_words, is_empty, one_line

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.problem.problem import Problem

COLUMNS = ("prompt", "chosen", "rejected", "user_id", "group")
SPLITS = ("train", "validation", "test")


def export_spec(**chosen: Any) -> RunSpec:
    """The specification whose labels are exported: `make_spec`'s arguments but for the aligner.

    Labels do not depend on who learns from them; a specification names an aligner all the same.
    """
    task = chosen.get("task")
    if task is None:
        raise UserError("--task is missing: name one from `prefbench list tasks`.")
    entry = registry.get("task", task)
    sections = chosen.get("sets") or {}
    if "aligner" in sections or "evaluate" in sections:
        raise UserError("--set: only options of the task and of the model can change the data.")
    fits = [
        e
        for e in registry.entries("aligner")
        if entry.backbone in e.backbones
        and e.needs <= entry.provides
        and not any(field.is_required() for field in e.options.model_fields.values())
    ]
    if not fits:
        raise UserError(f"no aligner fits task '{task}': install one, as a specification has to name it.")
    # One that asks for nothing, such as utilities that a judge of pairs does not have.
    least = min(fits, key=lambda e: (e.role != "floor", len(e.needs)))
    return make_spec(aligner=least.name, **chosen)


def export(spec: RunSpec, out: Path, runs_dir: Path, reporter: Reporter | None = None) -> dict[str, int]:
    """Write the labelled pairs of a specification to a new folder.

    Args:
        spec: what to label; see `export_spec`.
        out: a folder that is not there yet, or is empty.
        runs_dir: where stages are kept: what a run has labelled is read and not labelled again.
        reporter: who is told how it goes.

    Returns:
        Rows of each split.

    Raises:
        UserError: the folder cannot be used, or the data or the model cannot. Nothing was written to `out`.
    """
    _check_free(out)
    problem, rows = labelled_pairs(spec, runs_dir, reporter)
    with clear_disk_errors():
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
        try:
            (beside / "data").mkdir()
            for split in SPLITS:
                part = rows.loc[rows["split"] == split, _columns(rows)]
                part.to_parquet(beside / "data" / f"{split}.parquet", index=False)
            (beside / "README.md").write_text(card(spec, problem, rows), encoding="utf-8")
            beside.chmod(0o755)
            if out.is_dir():  # empty, or it would have been refused
                out.rmdir()
            os.replace(beside, out)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return {split: int((rows["split"] == split).sum()) for split in SPLITS}


def _columns(rows: pd.DataFrame) -> list[str]:
    """The columns that are exported: `strength` and side columns where there are any."""
    return [*COLUMNS, *(name for name in rows.columns if name == STRENGTH or name.startswith(SIDE))]


def _check_free(out: Path) -> None:
    if (out.exists() or out.is_symlink()) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"'{out}' exists already: name a new folder with --out, or remove it.")


# --------------------------------------------------------------------------------------- the card


def card(spec: RunSpec, problem: Problem, rows: pd.DataFrame) -> str:
    """The data set's README: a header that the hub reads, and what a reader has to know."""
    entry = registry.get("task", spec.task)
    known = f"{spec.task}@{entry.version}"
    sections = [
        _header(known, spec, problem.ratio(spec.minority_ratio), rows),
        f"# {_plain(known)}: preferences of groups that disagree",
        f"{_plain(entry.summary)}\n\nEach row is a pair of responses to a prompt and which of them "
        f"{_whoever(problem)} preferred. Annotators belong to groups with conflicting wishes; a policy that "
        "follows the pooled labels follows the larger group.",
        "## Who drew it\n\n" + _drawn(spec, problem),
        "## Fields\n\n" + _table(["column", "type", "meaning"], _fields(problem, rows)),
        "## Splits\n\n" + _table(["split", "pairs", "prompts", "annotators"], _splits(rows)) + _SPLITS_NOTE,
        "## Groups\n\n" + _groups(spec, problem, rows),
        "## How it was made\n\n" + _making(spec, problem, known),
        "## Licence\n\n" + _licence(spec, problem),
        "## Limits\n\n" + _limits(problem),
        "## Use\n\n" + _USE,
    ]
    return "\n\n".join(sections) + "\n"


def _whoever(problem: Problem) -> str:
    """The person whose preference a row is, in words."""
    if problem.given is None:
        return "a simulated annotator"
    return "somebody of a group" if problem.origin.invented_ids else "an annotator"


def _drawn(spec: RunSpec, problem: Problem) -> str:
    """The origin of responses, labels, ids and groups, as rows of a table."""
    source = _code(Path(spec.data).name)
    if problem.given is None:
        model = _code(Path(spec.model).name)
        world = (
            "the reference policy of the task's world" if problem.world is not None else f"the model {model}"
        )
        rows = [
            ["responses", f"drawn by a model: the reference policy, which is {world}"],
            ["labels", "drawn by a model of choice from the groups' utilities; no person gave one"],
            ["`user_id`", "invented: simulated annotators"],
            ["`group`", "invented: it says which utility the label was drawn from"],
        ]
    else:
        origin = problem.origin
        ids = (
            "invented by the task, as it is not known who gave which label: each group's were dealt out "
            f"to made-up annotators, {problem.annotators} in all"
            if origin.invented_ids
            else "brought along: one id is one annotator"
        )
        rows = [
            [
                "responses",
                f"brought along with {source}, written by {_plain(origin.responses)}; none is drawn here",
            ],
            ["labels", f"brought along with {source}, given by {_plain(origin.labels)}; none is drawn here"],
            ["`user_id`", ids],
            ["`group`", f"brought along with {source}"],
        ]
    return _table(["what", "from whom"], rows)


def _fields(problem: Problem, rows: pd.DataFrame) -> list[list[str]]:
    text = problem.given is not None and problem.given["user_id"].dtype == object
    if problem.given is None:
        who = "the simulated annotator; numbers say nothing about the group"
    elif problem.origin.invented_ids:
        who = "an invented annotator; numbers say nothing about the group"
    else:
        who = "whoever gave the label, by the id that was brought along"
    return [
        ["`prompt`", "string", "what both responses answer or continue"],
        ["`chosen`", "string", "the response that was preferred"],
        ["`rejected`", "string", "the other one"],
        ["`user_id`", "string" if text else "int64", who],
        ["`group`", "string", "whose wish it is, which a method may or may not be allowed to see"],
        *([_code(name), "float64", _meaning(name)] for name in _columns(rows)[len(COLUMNS) :]),
    ]


def _meaning(column: str) -> str:
    if column == STRENGTH:
        return "how sure the label is, as a probability or share of votes: 1 is certain, 0.5 a tie"
    return "a further number of the pair"


_SPLITS_NOTE = "\n\nNo prompt is in two splits."
_TRUTH = "- `group` is the truth behind the labels. A method that reads it is no rival of one that does not."
_DRAWN_LIMITS = (
    "- Labels are draws from a model of choice, not from people: real annotators tire, "
    "misunderstand and change "
    "their minds.\n"
    "- Utilities are computed, and stand for a wish only as far as the computation does.\n"
    "- Responses come from the reference policy named above and are only as good as that is.\n"
)
_BROUGHT_LIMITS = (
    "- Labels are what was given: some are mistakes, and what a group wants is known from them alone.\n"
)
_INVENTED_LIMITS = "- Annotators are invented: how members of one group differ cannot be learned from them.\n"


def _limits(problem: Problem) -> str:
    if problem.given is None:
        return _DRAWN_LIMITS + _TRUTH
    return _BROUGHT_LIMITS + (_INVENTED_LIMITS if problem.origin.invented_ids else "") + _TRUTH


_USE = """\
```python
from datasets import load_dataset
from trl import DPOConfig, DPOTrainer

pairs = load_dataset("path/to/this/folder")
trainer = DPOTrainer(model="...", args=DPOConfig(output_dir="out"), train_dataset=pairs["train"])
```"""


def _header(known: str, spec: RunSpec, ratio: float, rows: pd.DataFrame) -> str:
    # JSON strings are YAML strings too, whatever they hold.
    files = "".join(f"      - split: {split}\n        path: data/{split}.parquet\n" for split in SPLITS)
    return (
        "---\n"
        f"pretty_name: "
        f"{json.dumps(f'{known}, minority ratio {ratio:g}, seed {spec.seed}')}\n"
        "license: other\n"
        "license_name: see-below\n"
        f"size_categories:\n  - {_size(len(rows))}\n"
        "tags:\n  - preference\n  - alignment\n  - pluralism\n  - trl\n"
        f"configs:\n  - config_name: default\n    data_files:\n{files}"
        "---"
    )


def _size(n: int) -> str:
    limits = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for limit, name in limits if n < limit), "1M<n<10M")


def _splits(rows: pd.DataFrame) -> list[list[str]]:
    parts = [(split, rows[rows["split"] == split]) for split in SPLITS]
    return [
        [split, str(len(part)), str(part["prompt"].nunique()), str(part["user_id"].nunique())]
        for split, part in parts
    ]


def _groups(spec: RunSpec, problem: Problem, rows: pd.DataFrame) -> str:
    if problem.given is not None:
        return _brought_groups(spec, problem, rows)
    table = []
    for group in problem.groups:
        own = rows[rows["group"] == group.name]
        gain = own[f"chosen_utility/{group.name}"] - own[f"rejected_utility/{group.name}"]
        agreed = (np.sign(gain) + 1) / 2
        chosen = own[f"chosen_utility/{group.name}"].mean()
        rejected = own[f"rejected_utility/{group.name}"].mean()
        table.append(
            [
                _plain(group.name) + (" (minority)" if group.name == problem.minority else ""),
                str(own["user_id"].nunique()),
                f"{len(own)} ({len(own) / len(rows):.1%})",
                _plain(group.utility.unit),
                f"{chosen:.3g} / {rejected:.3g}",
                f"{agreed.mean():.1%}",
            ]
        )
    header = [
        "group",
        "annotators",
        "pairs",
        "unit of its utility",
        "mean utility chosen / rejected",
        "agree",
    ]
    lines = [
        f"The minority ratio is {spec.minority_ratio:g}: the minority's share of annotators, met "
        f"exactly. *agree* is "
        "the share of a group's labels in which the preferred response is the one of larger "
        "utility, ties one half; "
        "the rest is preference noise. Larger utilities are better.",
        _table(header, table),
        *_conflict(problem, rows),
        _words(rows),
    ]
    return "\n\n".join(lines)


def _words(rows: pd.DataFrame) -> str:
    texts = [*rows["chosen"], *rows["rejected"]]
    words = np.array([count_words(text) for text in texts])
    empty = np.mean([is_empty(text) for text in texts])
    return f"Responses have {words.mean():.1f} words on average ({empty:.1%} have none)."


def _brought_groups(spec: RunSpec, problem: Problem, rows: pd.DataFrame) -> str:
    """The groups of brought labels: nothing but the labels says what they want."""
    invented = "invented annotators" if problem.origin.invented_ids else "annotators"
    table = []
    for group in problem.groups:
        own = rows[rows["group"] == group.name]
        each = own[own["split"] == "train"].groupby("user_id").size()
        name = _plain(group.name) + (" (minority)" if group.name == problem.minority else "")
        each_has = f"{each.min()}" if each.min() == each.max() else f"{each.min()} to {each.max()}"
        table.append([name, str(len(each)), each_has, f"{len(own)} ({len(own) / len(rows):.1%})"])
    missed = problem.ratio_missed(spec.minority_ratio)
    ratio = problem.ratio(spec.minority_ratio)
    found = f"The minority ratio found is {ratio:g}: the minority's share of {invented}."
    told = [
        f"{_plain(names)}: of the {facts['pairs_shared']} pairs that both labelled they disagree on "
        f"{facts['pairs_disagreed_on']:.1%}."
        if facts["pairs_shared"]
        else f"{_plain(names)}: no pair was labelled by both, so that how much they disagree is not known."
        for names, facts in given_pairs(problem)[1].items()
    ]
    return "\n\n".join(
        [
            found if missed is None else f"{found} Note: {_plain(missed)}.",
            _table(["group", invented, "train pairs of each", "pairs"], table),
            *(told if len(told) <= 3 else []),
            _words(rows),
        ]
    )


def _conflict(problem: Problem, rows: pd.DataFrame) -> list[str]:
    """The disagreement of each two groups, one sentence each; for many groups only the extremes."""
    columns = [
        [rows[f"{side}_utility/{g.name}"].to_numpy() for g in problem.groups]
        for side in ("chosen", "rejected")
    ]
    chosen, rejected = (np.stack(side, axis=1) for side in columns)
    spread = np.maximum(np.concatenate([chosen, rejected]).std(axis=0), 1e-9)
    chance = preference_probability(chosen - rejected, problem.temperature * spread)
    names = [group.name for group in problem.groups]
    found = sorted(
        (float(np.abs(chance[:, i] - chance[:, j]).mean()), names[i], names[j])
        for i in range(len(names))
        for j in range(i + 1, len(names))
    )
    kept = found if len(found) <= 3 else [found[0], found[-1]]
    return [
        f"{_plain(one)} and {_plain(other)} differ by {amount:.3f} on average in their chance of "
        f"preferring one "
        "response of a pair (0: they agree; 1: they never do)."
        for amount, one, other in kept
    ]


def _making(spec: RunSpec, problem: Problem, known: str) -> str:
    drawn = {
        "model of the responses": Path(spec.model).name,
        "train pairs for each annotator": problem.pairs_per_annotator,
        "preference noise (temperature)": f"{problem.temperature:g}",
        **{f"model.{name}": _shown(value) for name, value in spec.model_options.items()},
    }
    facts = {
        "task": known,
        "data": Path(spec.data).name,  # the rest of a path is the exporter's own
        "minority ratio asked for"
        if problem.given is not None
        else "minority ratio": f"{spec.minority_ratio:g}",
        "seed": spec.seed,
        "annotators": problem.annotators,
        "prefbench": __version__,
        **{f"task.{name}": _shown(value) for name, value in spec.task_options.items()},
        **(drawn if problem.given is None else {}),
    }
    rows = [[_plain(name), _code(str(value))] for name, value in facts.items()]
    if problem.given is not None:
        return (
            "The task read the pairs and their labels from its data, and split them by prompt.\n\n"
            + _table(["what", "value"], rows)
        )
    text = (
        "Two responses to each prompt were drawn from a reference policy. An annotator of group g "
        "then preferred a "
        "to b with probability sigmoid((u_g(a) - u_g(b)) / (temperature x spread)), where spread is "
        "the standard "
        "deviation of u_g over all responses; at temperature 0 without noise. The utilities are\n\n"
    )
    utilities = "\n".join(
        f"- {_plain(group.name)}: {_code(group.utility.name)}, in {_plain(group.utility.unit)}"
        for group in problem.groups
    )
    return (
        text
        + utilities
        + "\n\n"
        + _table(["what", "value"], rows)
        + (
            "\n\nThe same specification gives the same rows on the same kind of machine with the "
            "same versions of "
            "the packages."
        )
    )


def _shown(value: Any) -> Any:
    """An option's value; of a path only its last part, as the rest is the exporter's own."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _licence(spec: RunSpec, problem: Problem) -> str:
    if problem.given is not None:
        known = f"{_plain(problem.origin.terms)}\n\n" if problem.origin.terms else ""
        return known + (
            f"Prompts, responses and labels are those of {_code(Path(spec.data).name)}: its terms apply, and "
            "whatever those who labelled were promised. Whoever publishes this has to see that they may, and "
            "states the licence here and in the header."
        )
    if spec.data == "synthetic" and spec.model in registry.BACKBONES.values():
        return (
            "Prompts come from the task's own generator and responses from a model trained on "
            "nothing else, or "
            "from the task's own list: no third party's text is in here, unless the task brought "
            "it. Whoever "
            "publishes this states the licence here and in the header."
        )
    return (
        f"Prompts and responses derive from {_code(Path(spec.data).name)} and from the model "
        f"{_code(Path(spec.model).name)}: the terms of both apply. Whoever publishes this has to "
        f"see that they may, "
        "and states the licence here and in the header."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text of others as one line that Markdown leaves alone."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in one_line(text))


def _code(text: str) -> str:
    return "`" + one_line(text).replace("`", "'").replace("|", "\\|") + "`"


# ------------------------------------------------------------------------------------------ push


def push(folder: Path, repo: str, public: bool = False) -> str:
    """Send an exported folder to a data set on the hub; private unless said otherwise.

    The token is the hub library's own affair: its environment variable or login.

    Returns:
        The data set's address.

    Raises:
        PrefbenchError: the hub said no.
    """
    try:
        api = _hub().HfApi()
        made = api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repo, repo_type="dataset")
    except Exception as error:  # the network, the name, the token: whatever it is, one line
        raise PrefbenchError(
            f"'{repo}' could not be pushed ({_without_token(str(error))}): the data is in "
            f"'{folder}'; log in with "
            "`hf auth login` or set HF_TOKEN, and push it again."
        ) from None
    return str(made)


def _hub() -> Any:
    import huggingface_hub

    return huggingface_hub


def _without_token(text: str) -> str:
    secrets = [value for name, value in os.environ.items() if "TOKEN" in name and len(value) > 5]
    for secret in secrets:
        text = text.replace(secret, "***")
    return (text.strip().splitlines() or ["no reason given"])[0][:200]

"""The card of exported preference data: what it is, who or what drew it, and what its numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prefbench import __version__, registry
from prefbench.population import Population
from prefbench.problem.brought import STRENGTH
from prefbench.problem.labels import given_pairs, preference_probability
from prefbench.spec import RunSpec
from prefbench.text import count_words, is_empty
from prefbench.tools.export_rows import MESSAGES, SPLITS, VOTES, columns_of
from prefbench.tools.markdown import code, plain, shown, table

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.problem.problem import Problem


def card(
    spec: RunSpec,
    problem: Problem,
    rows: pd.DataFrame,
    written: pd.DataFrame | None = None,
    *,
    messages: bool = False,
) -> str:
    """The data set's README: a header that the hub reads, and what a reader has to know.

    Args:
        spec: what was labelled.
        problem: that it states.
        rows: the labels.
        written: the rows that are exported, where they are others, as of votes.
        messages: prompts and responses are exported as messages.
    """
    listed = rows if written is None else written
    entry = registry.get("task", spec.task)
    known = f"{spec.task}@{entry.version}"
    sections = [
        _header(known, spec, problem.ratio(spec.minority_ratio), listed),
        f"# {plain(known)}: preferences of groups that disagree",
        f"{plain(entry.summary)}\n\nEach row is a pair of responses to a prompt and which of them "
        f"{_whoever(problem, listed)} preferred. Annotators belong to groups with conflicting wishes; a "
        "policy that follows the pooled labels follows the larger group.",
        "## Who drew it\n\n" + _drawn(spec, problem, listed),
        "## Fields\n\n" + table(["column", "type", "meaning"], _fields(problem, listed, messages)),
        "## Splits\n\n"
        + table(["split", "pairs", "prompts", "annotators"], _splits(rows, listed))
        + _SPLITS_NOTE,
        "## Groups\n\n" + _groups(spec, problem, rows),
        *([f"## People\n\n{said}"] if (said := _people(problem, listed)) else []),
        "## How it was made\n\n" + _making(spec, problem, known),
        "## Licence\n\n" + _licence(spec, problem),
        "## Limits\n\n" + _limits(problem),
        "## Use\n\n" + _USE,
    ]
    return "\n\n".join(sections) + "\n"


def _whoever(problem: Problem, rows: pd.DataFrame) -> str:
    """Person whose preference a row is, in words."""
    if VOTES in rows:
        return "most of the annotators who labelled it"
    if problem.given is None:
        return "a simulated annotator"
    return "somebody of a group" if problem.origin.invented_ids else "an annotator"


def _drawn(spec: RunSpec, problem: Problem, written: pd.DataFrame) -> str:
    """The origin of responses, labels, ids and groups, as rows of a table."""
    source = code(Path(spec.data).name)
    if problem.given is None:
        model = code(Path(spec.model).name)
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
                f"brought along with {source}, written by {plain(origin.responses)}; none is drawn here",
            ],
            ["labels", f"brought along with {source}, given by {plain(origin.labels)}; none is drawn here"],
            ["`user_id`", ids],
            ["`group`", f"brought along with {source}"],
        ]
    # The labels of a pair that are counted as votes are in no single person's name.
    return table(["what", "from whom"], rows[:2] if VOTES in written else rows)


def _fields(problem: Problem, rows: pd.DataFrame, messages: bool) -> list[list[str]]:
    said = MESSAGES if messages else "string"
    text = problem.given is not None and problem.given["user_id"].dtype == object
    if problem.given is None:
        who = "the simulated annotator; numbers say nothing about the group"
    elif problem.origin.invented_ids:
        who = "an invented annotator; numbers say nothing about the group"
    else:
        who = "whoever gave the label, by the id that was brought along"
    meanings = {
        "prompt": [said, "what both responses answer or continue"],
        "chosen": [said, "the response that was preferred"],
        "rejected": [said, "the other one"],
        "user_id": ["string" if text else "int64", who],
        "group": ["string", "whose wish it is, which a method may or may not be allowed to see"],
        VOTES: ["int64", "labels that the pair has, of people of any group"],
    }
    return [[code(name), *meanings.get(name, ["float64", _meaning(name)])] for name in columns_of(rows)]


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


def _splits(rows: pd.DataFrame, written: pd.DataFrame) -> list[list[str]]:
    parts = [(split, rows[rows["split"] == split]) for split in SPLITS]
    return [
        [
            split,
            str(int((written["split"] == split).sum())),
            str(part["prompt"].nunique()),
            str(part["user_id"].nunique()),
        ]
        for split, part in parts
    ]


def _people(problem: Problem, written: pd.DataFrame) -> str:
    """Sentences on people and on how they label, where a task sets it or votes are counted."""
    people, said = problem.population, []
    if people.spread:
        said.append(
            f"Members of a group differ (`task.spread={people.spread:g}`): each one's own utility is her "
            f"group's and something of her own, {people.spread:g} standard deviations of it away. Labels are "
            "by her own."
        )
    if people.labels_per_pair > 1:
        said.append(
            f"{people.labels_per_pair} different annotators labelled each pair "
            f"(`task.labels_per_pair={people.labels_per_pair}`)."
        )
    if people.reliability < 1:
        said.append(
            f"An annotator means {people.reliability:.0%} of her labels "
            f"(`task.reliability={people.reliability:g}`); the others are a fair coin's, and no row tells."
        )
    if people.tie_band:
        said.append(
            f"Two utilities nearer to each other than {people.tie_band:g} standard deviations are a tie "
            f"(`task.tie_band={people.tie_band:g}`): its strength is 0.5, and what is chosen a fair coin's."
        )
    for group, report in people.reporting.items():
        told = f"what {plain(report)} wants" if isinstance(report, str) else f"{report:g} times its utility"
        number = people.reporters.get(group)
        who = f"{plain(group)} does not label by what it wants"
        if number is not None:
            who = f"{number} of the annotators of {plain(group)} do not label by what it wants"
        said.append(f"{who}, but by {told} (`task.reporting`).")
    if people.unseen_annotators:
        said.append(
            f"{people.unseen_annotators} more people have no label here (`task.unseen_annotators`): policies "
            f"are measured on them, knowing up to {people.context_pairs} pairs of each."
        )
    if VOTES in written:
        said.append(
            "The labels of a pair are one row here: `strength` is the share of its votes for the chosen "
            "response, and of as many votes the first label's is chosen. Votes are of people of all groups, "
            "so that their majority is the majority's. The table of groups above counts labels, not pairs."
        )
    return "\n".join(f"- {sentence}" for sentence in said)


def _groups(spec: RunSpec, problem: Problem, rows: pd.DataFrame) -> str:
    if problem.given is not None:
        return _brought_groups(spec, problem, rows)
    cells = []
    for group in problem.groups:
        own = rows[rows["group"] == group.name]
        gain = own[f"chosen_utility/{group.name}"] - own[f"rejected_utility/{group.name}"]
        agreed = (np.sign(gain) + 1) / 2
        chosen = own[f"chosen_utility/{group.name}"].mean()
        rejected = own[f"rejected_utility/{group.name}"].mean()
        cells.append(
            [
                plain(group.name) + (" (minority)" if group.name == problem.minority else ""),
                str(own["user_id"].nunique()),
                f"{len(own)} ({len(own) / len(rows):.1%})",
                plain(group.utility.unit),
                f"{chosen:.3g} / {rejected:.3g}",
                f"{agreed.mean():.1%}",
            ]
        )
    several = problem.population.labels_per_pair > 1
    header = [
        "group",
        "annotators",
        "labels" if several else "pairs",
        "unit of its utility",
        "mean utility chosen / rejected",
        "agree",
    ]
    lines = [
        f"The minority ratio is {spec.minority_ratio:g}: the minority's share of annotators, met "
        f"exactly. *agree* is "
        "the share of a group's labels in which the preferred response is the one of larger "
        "utility, ties one half; "
        f"the rest is {'what the section People says, and ' if problem.population != Population() else ''}"
        "preference noise. Larger utilities are better.",
        table(header, cells),
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
    cells = []
    for group in problem.groups:
        own = rows[rows["group"] == group.name]
        each = own[own["split"] == "train"].groupby("user_id").size()
        name = plain(group.name) + (" (minority)" if group.name == problem.minority else "")
        each_has = f"{each.min()}" if each.min() == each.max() else f"{each.min()} to {each.max()}"
        cells.append([name, str(len(each)), each_has, f"{len(own)} ({len(own) / len(rows):.1%})"])
    missed = problem.ratio_missed(spec.minority_ratio)
    ratio = problem.ratio(spec.minority_ratio)
    found = f"The minority ratio found is {ratio:g}: the minority's share of {invented}."
    told = [
        f"{plain(names)}: of the {facts['pairs_shared']} pairs that both labelled they disagree on "
        f"{facts['pairs_disagreed_on']:.1%}."
        if facts["pairs_shared"]
        else f"{plain(names)}: no pair was labelled by both, so that how much they disagree is not known."
        for names, facts in given_pairs(problem)[1].items()
    ]
    return "\n\n".join(
        [
            found if missed is None else f"{found} Note: {plain(missed)}.",
            table(["group", invented, "train pairs of each", "pairs"], cells),
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
        f"{plain(one)} and {plain(other)} differ by {amount:.3f} on average in their chance of "
        f"preferring one "
        "response of a pair (0: they agree; 1: they never do)."
        for amount, one, other in kept
    ]


def _making(spec: RunSpec, problem: Problem, known: str) -> str:
    drawn = {
        "model of the responses": Path(spec.model).name,
        "train pairs for each annotator": problem.pairs_per_annotator,
        "preference noise (temperature)": f"{problem.temperature:g}",
        **{f"model.{name}": shown(value) for name, value in spec.model_options.items()},
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
        **{f"task.{name}": shown(value) for name, value in spec.task_options.items()},
        **(drawn if problem.given is None else {}),
    }
    rows = [[plain(name), code(str(value))] for name, value in facts.items()]
    if problem.given is not None:
        return (
            "The task read the pairs and their labels from its data, and split them by prompt.\n\n"
            + table(["what", "value"], rows)
        )
    text = (
        "Two responses to each prompt were drawn from a reference policy. An annotator of group g "
        "then preferred a "
        "to b with probability sigmoid((u_g(a) - u_g(b)) / (temperature x spread)), where spread is "
        "the standard "
        "deviation of u_g over all responses; at temperature 0 without noise"
        f"{'; the section People says what else there is' if problem.population != Population() else ''}. "
        "The utilities are\n\n"
    )
    utilities = "\n".join(
        f"- {plain(group.name)}: {code(group.utility.name)}, in {plain(group.utility.unit)}"
        for group in problem.groups
    )
    return (
        text
        + utilities
        + "\n\n"
        + table(["what", "value"], rows)
        + (
            "\n\nThe same specification gives the same rows on the same kind of machine with the "
            "same versions of "
            "the packages."
        )
    )


def _licence(spec: RunSpec, problem: Problem) -> str:
    if problem.given is not None:
        known = f"{plain(problem.origin.terms)}\n\n" if problem.origin.terms else ""
        return known + (
            f"Prompts, responses and labels are those of {code(Path(spec.data).name)}: its terms apply, and "
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
        f"Prompts and responses derive from {code(Path(spec.data).name)} and from the model "
        f"{code(Path(spec.model).name)}: the terms of both apply. Whoever publishes this has to "
        f"see that they may, "
        "and states the licence here and in the header."
    )

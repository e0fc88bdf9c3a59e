"""Stage `people`: responses of a policy to each person, judged by her."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench import seeds
from prefbench.evaluate.people import Shown, is_default, plan, takes_place
from prefbench.learn.interface import Context, Pairs, Personal, Policy
from prefbench.problem.brought import STRENGTH
from prefbench.problem.people import Person, own_utilities, people_of
from prefbench.problem.problem import Problem
from prefbench.running.labels import Contexts, Labels
from prefbench.spec import RunSpec
from prefbench.store.stages import Store, Work, content_digest
from prefbench.text import is_empty, text_digest

PERSONAL_FILE = "personal.parquet"
"""Responses of a personal policy, beside its default: `row` of the plan, `sample`, `response`, `kl`."""


@dataclass(frozen=True)
class Briefing:
    """People as policies are told of them: all that an aligner sees, and nothing else."""

    problem: Problem
    people: list[Person]
    labels: pd.DataFrame
    unseen: pd.DataFrame | None
    sees: frozenset[str]
    seed: int

    def context(self, person: Person, n: int, shown: Shown = "own") -> Context:
        """The context of a person of whom n pairs are known, or one that is shown in its place."""
        if is_default(person.seen, n):
            return Context()
        who = self._whose(person, shown)
        group = self.problem.groups[who.group]
        return Context(
            pairs=self._pairs(who, n, shown == "shuffled") if "pairs" in self.sees else None,
            user_id=who.id if "user_id" in self.sees and who.seen else None,
            group=group.name if "group" in self.sees else None,
            instruction=group.instruction if "instruction" in self.sees else None,
        )

    def _whose(self, person: Person, shown: Shown) -> Person:
        if shown in ("own", "shuffled"):
            return person
        other = shown == "other group"
        rest = [
            who
            for who in self.people
            if not who.seen and who != person and (who.group != person.group) == other
        ]
        return rest[int(seeds.rng(self.seed, "people", shown, _named(person)).integers(len(rest)))]

    def _pairs(self, person: Person, n: int, shuffled: bool) -> Pairs:
        mine = self._rows[person.id][:n]
        prompts, won, lost = (mine[name].to_numpy(dtype=object) for name in ("prompt", "chosen", "rejected"))
        if shuffled:
            flipped = seeds.rng(self.seed, "people", "shuffled", _named(person)).random(len(mine)) < 0.5
            won, lost = np.where(flipped, lost, won), np.where(flipped, won, lost)
        strength = mine[STRENGTH].to_numpy() if STRENGTH in mine else None
        return Pairs(prompts.tolist(), won.tolist(), lost.tolist(), strength=strength)

    @cached_property
    def _rows(self) -> dict[int | str, pd.DataFrame]:
        """Each one's labelled pairs, in order."""
        train = self.labels[self.labels["split"] == "train"]
        found: dict[int | str, pd.DataFrame] = {}
        for table in [train] if self.unseen is None else [train, self.unseen]:
            code, users = pd.factorize(table["user_id"])
            ends = np.cumsum(np.bincount(code))
            parts = np.split(np.argsort(code, kind="stable"), ends[:-1])
            found |= {user: table.iloc[rows] for user, rows in zip(users.tolist(), parts, strict=True)}
        return found


def _named(person: Person) -> int | str:
    """Name of a person's own stream of draws."""
    return person.id if isinstance(person.id, int) and person.id >= 0 else str(person.id)


def briefing_of(
    spec: RunSpec, problem: Problem, labels: Labels, contexts: Contexts, sees: frozenset[str]
) -> Briefing:
    """A run's people as its policies are told of them."""
    return Briefing(problem, people_of(problem, spec.seed), labels.rows, contexts.rows, sees, spec.seed)


def personal_key(spec: RunSpec, problem: Problem, contexts: Contexts) -> dict[str, Any]:
    """Key of a personal policy's responses, beside that of its default."""
    return {
        "prompts": text_digest(problem.measured),
        "contexts": contexts.digest,
        "population": problem.population.model_dump(),
        "instructions": [group.instruction for group in problem.groups],
        "samples": spec.evaluate_options["samples"],
        "response_tokens": problem.response_tokens,
    }


def personal_responses(policy: Personal, briefing: Briefing, reference: Policy, samples: int) -> pd.DataFrame:
    """Responses of a personal policy to each person of the plan of whom something is known.

    A person's responses come from one stream whatever is known of her, so that contexts are compared by what
    they say and not by luck.

    Returns:
        Rows `row` (of the plan), `sample`, `response`, `kl`, which is NaN where a policy has no probability.
    """
    prompts = np.asarray(briefing.problem.measured, dtype=object)
    asked = plan(briefing.problem, briefing.people, briefing.sees, briefing.seed)
    cases: dict[tuple[int, bool, int, Shown], list[int]] = {}
    columns = (asked[name].tolist() for name in ("place", "seen", "n", "context"))
    for row, case in enumerate(zip(*columns, strict=True)):
        cases.setdefault(case, []).append(row)
    tables = []
    for (place, seen, n, shown), rows in cases.items():
        if is_default(seen, n):
            continue
        person = briefing.people[place]
        adapted = policy.adapt(briefing.context(person, n, shown))
        draw = seeds.child(briefing.seed, "people", "samples", str(person.id))
        here = prompts[asked["prompt_id"].to_numpy()[rows]]
        said = [text for row in adapted.sample(here.tolist(), samples, draw) for text in row]
        put = np.repeat(here, samples).tolist()
        ours = adapted.logprob(put, said)
        theirs = None if ours is None else reference.logprob(put, said)
        tables.append(
            pd.DataFrame(
                {
                    "row": np.repeat(rows, samples),
                    "sample": np.tile(np.arange(samples), len(rows)),
                    "response": said,
                    "kl": np.nan if ours is None or theirs is None else ours - theirs,
                }
            )
        )
    return pd.concat(tables, ignore_index=True).sort_values(["row", "sample"], ignore_index=True)


def people_scores(
    spec: RunSpec,
    problem: Problem,
    labels: Labels,
    sees: Collection[str],
    policy_folder: Path,
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    store: Store,
) -> pd.DataFrame | None:
    """The evidence on people; None where it matters to nobody who is answered.

    Args:
        spec: the run's.
        problem: its people and what they want.
        labels: with the scales of own utilities.
        sees: what the policy is told of people.
        policy_folder: of the stage `policy`, with what it says to people if it is personal.
        ours: the policy's samples, which everybody is given where it is not, and the unknown if it is.
        theirs: the reference's.
        store: where the stage is kept.
    """
    if not takes_place(problem, sees):
        return None
    people = people_of(problem, spec.seed)
    personal = policy_folder / PERSONAL_FILE
    key = {
        "samples": text_digest([*ours["prompt"], *ours["response"], *theirs["response"]]),
        "personal": content_digest(policy_folder) if personal.exists() else None,
        "people": [[person.id, person.group, person.labelled] for person in people],
        "population": problem.population.model_dump(),
        "groups": [[group.name, group.utility.name] for group in problem.groups],
        "tastes": [taste.name for taste in problem.tastes],
        "scales": None if labels.scales is None else asdict(labels.scales),
        "sees": sorted(sees),
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        asked = plan(problem, people, sees, spec.seed)
        samples = int(ours["sample"].max()) + 1
        row = np.repeat(np.arange(len(asked)), samples)
        sample = np.tile(np.arange(samples), len(asked))
        items = asked["prompt_id"].to_numpy()[row] * samples + sample
        said, kl = ours["response"].to_numpy(dtype=object)[items], ours["kl"].to_numpy()[items]
        if personal.exists():
            own = pd.read_parquet(personal)
            places = own["row"].to_numpy() * samples + own["sample"].to_numpy()
            said[places], kl[places] = own["response"], own["kl"]
        who = [people[place] for place in asked["place"]]
        table = pd.DataFrame(
            {
                "prompt_id": asked["prompt_id"].to_numpy()[row],
                "sample": sample,
                "prompt": ours["prompt"].to_numpy(dtype=object)[items],
                "person": [str(who[place].id) for place in row],
                "group": [problem.groups[who[place].group].name for place in row],
                **{name: asked[name].to_numpy()[row] for name in ("seen", "n", "context")},
                "response": said,
                "reference_response": theirs["response"].to_numpy(dtype=object)[items],
            }
        )
        table["empty"] = [is_empty(text) for text in table["response"]]
        table["reference_empty"] = [is_empty(text) for text in table["reference_response"]]
        table["kl"] = kl.astype(np.float64)
        # Most policies say the same to a person whatever is known of her.
        texts = ["prompt", "response", "reference_response"]
        once = table.drop_duplicates(["person", *texts])
        judges = [who[place] for place in row[once.index]]
        compared = (once["prompt"].tolist(), once["response"].tolist(), once["reference_response"].tolist())
        values = own_utilities(problem, spec.seed, labels.scales, judges, compared)
        assert values is not None
        known = once[["person", *texts]].assign(utility=values[0], reference_utility=values[1])
        table.merge(known, how="left", on=["person", *texts]).to_parquet(
            work.path / "people.parquet", index=False
        )

    return pd.read_parquet(store.stage("people", key, compute) / "people.parquet")

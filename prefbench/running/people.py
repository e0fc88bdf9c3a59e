"""Stage `people`: responses of a policy to each person, judged by her."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench import seeds
from prefbench.arrays import Floats
from prefbench.evaluate.own_values import CASE, Case, GivenPolicies, cases_in, policies_in, values_of_people
from prefbench.learn.interface import Backbone, Context, Pairs, Personal
from prefbench.problem.brought import STRENGTH
from prefbench.problem.people import Person, own_utilities, people_of
from prefbench.problem.problem import Problem
from prefbench.problem.strata import Shown, is_default, plan, takes_place
from prefbench.record.files import POLICIES_FILE
from prefbench.running.labels import Contexts, Labels
from prefbench.spec import RunSpec
from prefbench.store.stages import Store, Work, content_digest
from prefbench.store.tables import read_frame
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
            pairs=self._pairs(who, n, shown == "shuffled") if n and "pairs" in self.sees else None,
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


def personal_answers(
    policy: Personal, briefing: Briefing, backbone: Backbone, samples: int
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Answers of a personal policy to each person of the plan of whom something is known.

    A person's responses come from one stream whatever is known of her, so that contexts are compared by what
    they say and not by luck.

    Returns:
        Rows `row` (of the plan), `sample`, `response`, `kl`, which is NaN where a policy has no probability;
        and, where responses can be listed, rows as `POLICY_COLUMNS` says.
    """
    prompts = np.asarray(briefing.problem.measured, dtype=object)
    asked = plan(briefing.problem, briefing.people, briefing.sees, briefing.seed)
    cases: dict[tuple[int, bool, int, Shown], list[int]] = {}
    columns = (asked[name].tolist() for name in ("place", "seen", "n", "context"))
    for row, case in enumerate(zip(*columns, strict=True)):
        cases.setdefault(case, []).append(row)
    tables, policies = [], []
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
        theirs = None if ours is None else backbone.reference.logprob(put, said)
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
        listed = backbone.distribution(adapted, briefing.problem.measured)
        if listed is not None:
            whose = dict(zip(CASE, (str(person.id), seen, n, shown), strict=True))
            policies.append(pd.DataFrame({**whose, "policy": listed["policy"].to_numpy()}))
    answers = pd.concat(tables, ignore_index=True).sort_values(["row", "sample"], ignore_index=True)
    return answers, pd.concat(policies, ignore_index=True) if policies else None


def given_policies(policy_folder: Path, listed: Floats) -> GivenPolicies:
    """The policies that people are given by the stage `policy`, `listed` [S, R] being the default."""
    if not (policy_folder / PERSONAL_FILE).exists():
        return GivenPolicies(listed, None)
    file = policy_folder / POLICIES_FILE
    return GivenPolicies(listed, policies_in(read_frame(file), listed.shape) if file.exists() else {})


def people_scores(
    spec: RunSpec,
    problem: Problem,
    labels: Labels,
    sees: Collection[str],
    policy_folder: Path,
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    listed: Floats | None,
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
        listed: probabilities of all responses under the policy that gave the samples, [S, R] over the states
            of the measured prompts; None where they cannot be listed.
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
        "listed": None if listed is None else hashlib.sha256(listed.tobytes()).hexdigest(),
    }

    def compute(work: Work) -> None:
        asked = plan(problem, people, sees, spec.seed)
        samples = int(ours["sample"].max()) + 1
        row = np.repeat(np.arange(len(asked)), samples)
        sample = np.tile(np.arange(samples), len(asked))
        items = asked["prompt_id"].to_numpy()[row] * samples + sample
        said, kl = ours["response"].to_numpy(dtype=object)[items], ours["kl"].to_numpy()[items]
        if personal.exists():
            answers = read_frame(personal)
            places = answers["row"].to_numpy() * samples + answers["sample"].to_numpy()
            said[places], kl[places] = answers["response"], answers["kl"]
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
        own = own_utilities(problem, spec.seed, labels.scales, judges, compared)
        assert own is not None
        known = once[["person", *texts]].assign(utility=own[0], reference_utility=own[1])
        table = table.merge(known, how="left", on=["person", *texts])
        cases = cases_in(table)
        exact: Mapping[Case, tuple[float, float]] = {}
        if listed is not None:
            given = given_policies(policy_folder, listed)
            met = ((who[place], case) for place, case in zip(row.tolist(), cases, strict=True))
            exact = values_of_people(problem, spec.seed, labels.scales, met, given)
        values = np.array([exact.get(case, (np.nan, np.nan)) for case in cases])
        table["value"], table["best_value"] = values[:, 0], values[:, 1]
        table.to_parquet(work.path / "people.parquet", index=False)

    return read_frame(store.stage("people", key, compute) / "people.parquet")

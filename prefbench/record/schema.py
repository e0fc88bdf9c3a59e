"""The record of a run: what was run and what came out for each group.

`record.json` is described by the models below and by the JSON Schema made from them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from prefbench.record.parts import Bounds, Count, RateShare, StrictPart
from prefbench.record.schema_held_out import HeldOutRecord
from prefbench.record.schema_outside import OutsideRecord
from prefbench.record.schema_people import PeopleRecord
from prefbench.spec import SECTIONS

SCHEMA_VERSION = 8
READABLE_VERSIONS = (1, 2, 3, 4, 5, 6, 7, 8)
"""Version 1 had no `regret` and two fields less in `em`, version 2 nothing `prompted`, version 3 neither
`numerics` nor `code`, `plugins` and `stages`, version 4 neither `agreed` and `retention` nor `text`,
version 5 neither `sees` nor `people`, version 6 no `outside`, version 7 no `defaults`; all have defaults."""


class _ComparisonRecord(StrictPart):
    """A group's responses by the policy against those by the reference policy."""

    wins: Count
    """Comparisons won against the reference policy, over prompts x samples."""
    ties: Count
    """Comparisons tied (utilities within 1e-9)."""
    losses: Count
    """Comparisons lost, every empty response among them."""
    win_rate: RateShare
    """(wins + ties / 2) / comparisons."""
    ci_low: RateShare
    """Lower end of the 95% interval: Wilson for one sample per prompt, else a bootstrap over prompts."""
    ci_high: RateShare
    """Upper end of that interval."""
    mean_utility: float | None
    """Mean utility of the policy's responses, in the group's unit."""
    reference_utility: float | None
    """Mean utility of the reference policy's responses that they were compared with, in the group's unit."""


class PromptedRecord(_ComparisonRecord):
    """The same comparison with the group's instruction in the prompt of both policies."""


class _DescribedGroup(StrictPart):
    """A group, and what it was asked about."""

    name: str
    """Name that the task gives it."""
    share: RateShare
    """Share of annotators, and so of preference pairs."""
    is_minority: bool
    """True if the task calls it a minority."""
    utility: str
    """Name of the group's utility."""
    unit: str
    """Unit of the utility."""
    n_prompts: int = Field(ge=1)
    """Test prompts, none left out."""


class GroupRecord(_ComparisonRecord, _DescribedGroup):  # whose fields come first
    """One group's result."""

    reward_accuracy: RateShare | None = None
    """Share of held-out pairs that the learned reward orders as this group does; null without a reward."""
    prompted: PromptedRecord | None = None
    """Result with the group's instruction in the test prompts; null where the task has none."""

    @model_validator(mode="after")
    def _add_up(self) -> GroupRecord:
        compared = self.wins + self.ties + self.losses
        if compared == 0 or compared % self.n_prompts:
            raise ValueError(f"{compared} comparisons do not divide among {self.n_prompts} prompts")
        if abs(self.win_rate - (self.wins + self.ties / 2) / compared) > 1e-9:
            raise ValueError("win_rate is not (wins + ties / 2) / comparisons")
        if self.ci_low > self.ci_high:
            raise ValueError("ci_low is above ci_high")
        return self


class EmRecord(StrictPart):
    """Search for the mixture of annotators."""

    clusters: int = Field(ge=1)
    """Mixture components fitted."""
    iterations: Count
    """Rounds of fitting reward models and placing annotators anew."""
    log_likelihood: tuple[float, ...]
    """Nats per pair under each annotator's own cluster, after every M-step and every E-step that moved
    somebody."""
    start: Literal["spectral", "random"]
    """Beginning of the chosen restart."""
    restarts: int = Field(ge=1)
    """Starts tried."""
    chosen_restart: Count
    """Index of the one with the largest likelihood."""
    cluster_sizes: tuple[Count, ...]
    """Annotators in each cluster."""
    adjusted_rand_index: float | None
    """Agreement of clusters and true groups, 1 perfect, 0 chance; null if the truth is unknown."""
    accuracy: RateShare | None
    """Share of annotators placed rightly under the best matching of clusters to groups."""
    stopped: str
    """Reason why iteration ended."""
    assignment: Literal["hard", "soft"] = "hard"
    """Each annotator wholly in one cluster, or in all by posterior probability."""
    unit: Literal["annotator", "pair"] = "annotator"
    """Unit that was placed in clusters; pairs by themselves are the control."""
    held_out: tuple[float, ...] | None = None
    """Log-likelihood of held-out pairs with 1, 2, ... clusters, nats per pair, where that chose their
    number."""


class GroupRegret(StrictPart):
    """Loss of one group against its own exact optimum, in standard deviations of its utility."""

    name: str
    """Name of the group."""
    value: float
    """V = E u - beta KL of the policy, u normalised over reference responses."""
    best: float
    """Largest value of any policy."""
    regret: float = Field(ge=0)
    """The difference: the group's alignment gap."""


class RegretRecord(StrictPart):
    """Against exact optima on the test prompts, where responses can be listed."""

    beta: float = Field(gt=0)
    """Weight of the KL charge, in standard deviations of utility per nat."""
    groups: tuple[GroupRegret, ...]
    """One per group, in the task's order."""
    max_regret: float = Field(ge=0)
    """The largest of the groups'."""
    egalitarian_regret: float = Field(ge=0)
    """The largest possible smallest value of a group, minus the policy's."""
    pareto_distance: float = Field(ge=0)
    """Amount that every group could gain at once; 0 on the Pareto front."""
    kl: float
    """Exact divergence from the reference policy on the test prompts, nats per response."""
    certificate: float = Field(ge=0)
    """Duality gap of the exact maxmin solution; it bounds the errors above."""


class SelectionRecord(StrictPart):
    """Scores by which `tune` selects, on validation prompts; larger is better."""

    measure: Literal["share won", "value"]
    """Share of fresh judgements won against the reference; where responses are listed, E u - beta KL."""
    S0: float
    """Score of all annotators together."""
    S1: float
    """Score of the fifth of the annotators who fare worst."""
    S2: float
    """Score of the worst group."""
    S3: float
    """Worst group's true win rate; where responses are listed, minus the egalitarian regret."""


class TuningRecord(StrictPart):
    """Origin of the aligner's options where `tune` chose them."""

    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    """First digits of the SHA-256 of the file that `tune` wrote."""
    configurations: int = Field(ge=1)
    """Budget: configurations that each aligner was given; a small space may hold fewer."""
    tokens: Count | None
    """Tokens that went through models to try them, at most; null where that is not known."""
    rule: Literal["S0", "S1", "S2", "S3"]
    """Rule that chose among them."""


class TextRecord(StrictPart):
    """Figures that a win rate does not see, of the policy's responses and of the reference's."""

    nonword_rate: RateShare | None
    """Share of responses with a word that the task's lexicon does not have; null where it has no lexicon."""
    reference_nonword_rate: RateShare | None
    """The same of the reference's."""
    logprob_per_token: float | None
    """Mean log-probability of a token of the policy's responses under the reference policy, nats; null where
    responses have no tokens."""
    reference_logprob_per_token: float | None
    """The same of the reference's: their difference is what the policy says less as the reference would."""
    distinct_1: RateShare | None
    """Different words in as many words as there are responses, as a share, whatever the length of responses;
    null where they have fewer words in all."""
    reference_distinct_1: RateShare | None
    """The same of the reference's."""
    distinct_2: RateShare | None
    """The same of pairs of neighbouring words."""
    reference_distinct_2: RateShare | None
    """The same of the reference's."""
    relevance: RateShare | None
    """Share of responses that the reference policy finds likelier after their own prompt than after another
    one, ties one half and so one without a word: one half is none; null where responses have no tokens."""
    reference_relevance: RateShare | None
    """The same of the reference's."""


class LearnedReward(StrictPart):
    """One of the rewards that the aligner learned, of the responses on test prompts."""

    name: str
    """Name that the aligner gives it: a group, a cluster, everybody."""
    mean: float
    """Mean of the policy's responses, in standard deviations over reference responses to train prompts."""
    reference: float
    """Mean of the reference policy's responses, in the same unit."""


class ProxyRecord(StrictPart):
    """The rewards that the aligner optimised in the place of the groups' utilities."""

    rewards: tuple[LearnedReward, ...] = Field(min_length=1)
    """One for each reward that it learned."""
    gain: float
    """Smallest difference between a reward's two means: what the worst-off reward gained."""


class PluginRecord(StrictPart):
    """A stranger's code that the run used: a package, a file or a notebook."""

    name: str
    """Name of the package, of the file without its folder, or `__main__` for a notebook."""
    version: str | None
    """Version of the package; null for what is not installed as one."""
    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    """First digits of the SHA-256 of its sources."""


class Provenance(StrictPart):
    """Origin of a number: code, machine and time."""

    prefbench: str
    """Version."""
    git: str | None
    """Commit of the source tree that it ran from or was installed from, with `-dirty` after it where sources
    were changed since; null where that is not known."""
    python: str
    """Version."""
    torch: str | None
    """Version."""
    transformers: str | None
    """Version."""
    hardware: str
    """Processor or accelerator."""
    threads: int = Field(ge=1)
    """Torch threads."""
    processes: int = Field(1, ge=1)
    """Number of processes that shared the run out."""
    started: str
    """ISO 8601, UTC."""


class Record(StrictPart):
    """One run: one task, aligner, model, minority ratio and seed."""

    schema_version: Literal[1, 2, 3, 4, 5, 6, 7, 8] = 8
    """Version of this format."""
    status: Literal["ok", "diverged", "failed"]
    """Measured fields are null unless `ok`."""
    spec: dict[str, Any]
    """The run's whole specification, defaults filled in; running it again gives this record."""
    spec_hash: str = Field(min_length=8)
    """Names the specification, and with it the run."""
    task: str
    """Name of the task."""
    task_version: int = Field(ge=1)
    """Results of different versions are not comparable."""
    aligner: str
    """Name of the aligner."""
    needs: tuple[Literal["group", "instruction", "oracle", "side", "user_id", "votes"], ...]
    """Fields that the aligner saw beyond prompt, chosen and rejected; sorted."""
    sees: tuple[Literal["group", "instruction", "pairs", "user_id"], ...] = ()
    """Facts of a person that its policy is told when it answers her; none of one for everybody. Sorted."""
    model: str
    """Preset, folder or hub id."""
    data: str
    """Origin of the prompts."""
    minority_ratio: float = Field(gt=0, le=0.5)
    """Share of annotators in the minority: the one specified, of labels that a task brought along the one
    found in them, to four decimals."""
    seed: Count
    """Seed of the run."""
    split: Literal["test", "validation"] = "test"
    """Prompts that it was measured on; `validation` for the runs of `tune`, which are on no board."""
    tuning: TuningRecord | None = None
    """Origin of tuned options; null for defaults and for options that somebody set."""
    outside: OutsideRecord | None = None
    """The policy from outside that stands in the aligner's place; null where the run trained one, and of a
    run that failed."""
    defaults: dict[Literal["task", "aligner", "model", "evaluate"], dict[str, Any]] | None = None
    """Defaults that the options in `spec` had when it ran, by section; an option that has none is not there.
    Null in older versions."""
    groups: tuple[GroupRecord, ...]
    """One per group of the task; empty unless `ok`."""
    worst_group: str | None
    """The group with the smallest win rate; it need not be the minority."""
    worst_group_win_rate: RateShare | None
    """Win rate of the worst group. The smallest of several noisy rates: biased low."""
    minority_win_rate: RateShare | None
    """Win rate of the group with the smallest share."""
    majority_win_rate: RateShare | None
    """Win rate of the group with the largest share."""
    mean_win_rate: RateShare | None
    """Mean over groups, each counted once whatever its share."""
    gap: RateShare | None
    """The best group's win rate minus the worst group's."""
    worst_group_win_rate_ci: Bounds | None
    """95% interval from a bootstrap over prompts."""
    minority_win_rate_ci: Bounds | None
    """The minority's own 95% interval."""
    majority_win_rate_ci: Bounds | None
    """The majority's own 95% interval."""
    mean_win_rate_ci: Bounds | None
    """95% interval from a bootstrap over prompts."""
    gap_ci: Bounds | None
    """95% interval from a bootstrap over prompts; a largest minus a smallest rate is biased high."""
    prompted_worst_group_win_rate: RateShare | None = None
    """The smallest win rate of a group with its instruction in the prompt."""
    prompted_worst_group_win_rate_ci: Bounds | None = None
    """95% interval from a bootstrap over prompts."""
    mde: RateShare | None
    """Smallest difference between two runs' win rates for one group that this many prompts per run
    tell from none: 80% power, two-sided 5%, unpaired, worst case."""
    n_prompts: int | None = Field(ge=1)
    """Test prompts."""
    samples_per_prompt: int | None = Field(ge=1)
    """Responses drawn per prompt."""
    kl: float | None
    """Divergence from the reference policy, nats per response; sampled, so it may fall just below 0."""
    mean_length: float | None = Field(ge=0)
    """Words per response, to read beside every win rate."""
    reference_length: float | None = Field(ge=0)
    """Words per response of the reference policy."""
    empty_rate: RateShare | None
    """Share of responses without text; each is counted as a loss."""
    agreed: Count | None = None
    """Comparisons that all groups decide alike, none of them a tie; null in older versions."""
    retention: RateShare | None = None
    """Share of those won: what is kept of what everybody wants; null where there are none."""
    text: TextRecord | None = None
    """Figures that a win rate does not see; null where responses are no texts, as in a world."""
    utility_gain: float | None = None
    """Smallest, over groups, of mean utility less the reference's, in standard deviations of the utility over
    the reference responses; null where these are all alike, and in older records."""
    proxy: ProxyRecord | None = None
    """The same of the rewards that the aligner learned; null where it returned none, and in older records."""
    people: PeopleRecord | None = None
    """Person by person; null where it matters to nobody who is answered."""
    held_out: HeldOutRecord | None = None
    """Held-out labels of people against what was learned; null where the task brought none, and in older
    records."""
    em: EmRecord | None
    """Set if the aligner fitted a mixture of annotators."""
    task_report: dict[str, Any]
    """The task's own account of how its groups conflict."""
    regret: RegretRecord | None = None
    """Loss of the policy against exact optima; null where responses cannot be listed."""
    selection: SelectionRecord | None = None
    """Scores that `tune` selects by; null for a run on test prompts."""
    notes: tuple[str, ...] = ()
    """Remarks for a reader on how it went, such as batches that were halved for want of memory."""
    message: str | None
    """Reason why the run diverged or failed."""
    timings: dict[str, Annotated[float, Field(ge=0)]]
    """Seconds per stage."""
    numerics: int | None = Field(None, ge=1, le=1_000_000)
    """Numerics of the prefbench that made it: results of different numerics are not comparable. Null before
    it was counted."""
    code: str | None = Field(None, pattern=r"^[0-9a-f]{16}$")
    """Digest of all sources that its numbers depend on, prefbench's and plug-ins'. Null in older versions."""
    plugins: tuple[PluginRecord, ...] = ()
    """Plug-ins that task, aligner or model come from."""
    stages: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]] = {}
    """Stages that the run rests on, each with the name of its folder below `stages/` of the runs folder.
    Empty in older versions."""
    provenance: Provenance
    """Versions, hardware and start time."""

    @field_validator("spec", "defaults", "task_report", mode="before")
    @classmethod
    def _plain_json(cls, value: Any) -> Any:
        try:
            return json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not plain JSON: {error}") from None

    @field_validator("spec")
    @classmethod
    def _options_are_tables(cls, value: dict[str, Any]) -> dict[str, Any]:
        for section in SECTIONS:
            if not isinstance(value.get(f"{section}_options", {}), dict):
                raise ValueError(f"{section}_options is no table")
        return value

    @field_validator("needs", "sees", mode="before")
    @classmethod
    def _sorted(cls, value: Any) -> Any:
        listed = isinstance(value, list | tuple | set | frozenset)
        # What is no name is left for the field's own check to refuse.
        return sorted(set(value)) if listed and all(isinstance(name, str) for name in value) else value

    @model_validator(mode="after")
    def _defaults_are_of_options(self) -> Record:
        for section, usual in (self.defaults or {}).items():
            more = sorted(usual.keys() - self.spec.get(f"{section}_options", {}).keys())
            if more:
                raise ValueError(f"defaults has {section}.{more[0]:.80}, which is no option of spec")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        measured = {name: getattr(self, name) for name in MEASURED}
        if self.status == "ok":
            missing = [name for name, value in measured.items() if value is None and name != "kl"]
            if missing or not self.groups:
                raise ValueError(f"status is ok but {', '.join(missing) or 'groups'} is missing")
            if self.message is not None:
                raise ValueError("status is ok but there is a message")
            self._check_groups()
        else:
            present = [name for name, value in measured.items() if value is not None]
            if present or self.groups:
                raise ValueError(f"status is {self.status} but {', '.join(present) or 'groups'} is set")
            if not self.message:
                raise ValueError(f"status is {self.status} but no message says why")
        return self

    def _check_groups(self) -> None:
        names = [group.name for group in self.groups]
        if len(set(names)) < len(names):
            raise ValueError("two groups have one name")
        if self.worst_group not in names:
            raise ValueError(f"worst_group '{self.worst_group}' is no group")
        assert self.n_prompts is not None and self.samples_per_prompt is not None
        for group in self.groups:
            compared = group.wins + group.ties + group.losses
            if group.n_prompts != self.n_prompts or compared != self.n_prompts * self.samples_per_prompt:
                raise ValueError(f"group '{group.name}' does not count every prompt and sample")


MEASURED = (
    "worst_group",
    "worst_group_win_rate",
    "minority_win_rate",
    "majority_win_rate",
    "mean_win_rate",
    "gap",
    "worst_group_win_rate_ci",
    "minority_win_rate_ci",
    "majority_win_rate_ci",
    "mean_win_rate_ci",
    "gap_ci",
    "mde",
    "n_prompts",
    "samples_per_prompt",
    "kl",
    "mean_length",
    "reference_length",
    "empty_rate",
)
"""The record's fields that `summarise` fills, beside `groups`; null for a run that did not end well."""
LATER_MEASURED = ("agreed", "retention", "text", "utility_gain", "proxy")
"""Fields that it fills too, and that versions before `LATER_VERSION` lack."""
LATER_VERSION = 5
"""Version of the record's format from which on it has those."""
PEOPLE_VERSION = 6
"""Version from which on it has `sees` and `people`."""
DEFAULTS_VERSION = 8
"""Version from which on it has `defaults`."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `record.json`."""
    schema = Record.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

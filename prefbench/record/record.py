"""The record of a run: what was run, what came out for each group, and the evidence to check it.

A run's folder holds `record.json`, described by the models below and by the JSON Schema made from
them, and `items.parquet`, one row per prompt and sample. `summarise` makes every measured number of
the record out of the items alone. The run calls it to write the record and `verify` calls it to
check one, so the two agree by construction or somebody edited a file.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from prefbench.errors import UserError
from prefbench.files import Unfit, read_json, read_table
from prefbench.spec import SECTIONS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from prefbench.evaluate.win_rate import GroupResult
    from prefbench.stats.intervals import Floats

SCHEMA_VERSION = 4
READABLE_VERSIONS = (1, 2, 3, 4)
"""Version 1 had no `regret` and two fields less in `em`, version 2 nothing `prompted`, version 3 neither
`numerics` nor `code`, `plugins` and `stages`; all have defaults."""
RECORD_FILE = "record.json"
ITEMS_FILE = "items.parquet"
DISTRIBUTION_FILE = "distribution.parquet"
PROMPTED_FILE = "prompted.parquet"
HISTORY_FILE = "history.json"
"""One row per iteration of the policy's training, where the optimiser keeps one."""

NEAR_REFERENCE_NATS = 0.05
"""KL from the reference policy, nats per response, below which a policy is practically the reference."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Bounds = tuple[Share, Share]


def near_reference(kl: float | None) -> str | None:
    """How a policy is called, beside its win rates, that hardly left the reference; None of any other.

    Args:
        kl: nats per response; None or NaN where it is unknown.
    """
    if kl is None or not kl < NEAR_REFERENCE_NATS:
        return None
    if kl == 0:
        return "the reference policy itself"
    return f"practically the reference policy, {max(kl, 0.0):.2f} nats from it"


class _Model(BaseModel):
    """Frozen, no unknown fields, no NaN or infinity anywhere, docstrings as descriptions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


class PromptedRecord(_Model):
    """The same comparison with the group's instruction in the prompt of both policies."""

    wins: Count
    """Comparisons won against the reference policy, over prompts x samples."""
    ties: Count
    """Comparisons tied."""
    losses: Count
    """Comparisons lost, every empty response among them."""
    win_rate: Share
    """(wins + ties / 2) / comparisons."""
    ci_low: Share
    """Lower end of the 95% interval."""
    ci_high: Share
    """Upper end of that interval."""
    mean_utility: float | None
    """Of the policy's responses."""
    reference_utility: float | None
    """Of the reference policy's, which had the same instruction."""


class GroupRecord(_Model):
    """One group's result."""

    name: str
    """As the task calls it."""
    share: Share
    """Of annotators, and so of preference pairs."""
    is_minority: bool
    """Whether the task calls it a minority."""
    utility: str
    """What the group values."""
    unit: str
    """Of the utility."""
    n_prompts: int = Field(ge=1)
    """Test prompts, none left out."""
    wins: Count
    """Comparisons won against the reference policy, over prompts x samples."""
    ties: Count
    """Comparisons tied (utilities within 1e-9)."""
    losses: Count
    """Comparisons lost, every empty response among them."""
    win_rate: Share
    """(wins + ties / 2) / comparisons."""
    ci_low: Share
    """Lower end of the 95% interval: Wilson for one sample per prompt, else a bootstrap over prompts."""
    ci_high: Share
    """Upper end of that interval."""
    mean_utility: float | None
    """Of the policy's responses, in `unit`."""
    reference_utility: float | None
    """Of the reference policy's responses that they were compared with, in `unit`."""
    reward_accuracy: Share | None = None
    """Share of held-out pairs that the learned reward orders as this group does; null without a reward."""
    prompted: PromptedRecord | None = None
    """With the group's instruction in the test prompts; null where the task has none."""

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


class EmRecord(_Model):
    """How the mixture of annotators was found."""

    clusters: int = Field(ge=1)
    """Mixture components fitted."""
    iterations: Count
    """Rounds of fitting reward models and placing annotators anew."""
    log_likelihood: tuple[float, ...]
    """Nats per pair under each annotator's own cluster, after every M-step and every E-step that moved
    somebody."""
    start: Literal["spectral", "random"]
    """How the chosen restart began."""
    restarts: int = Field(ge=1)
    """Starts tried."""
    chosen_restart: Count
    """Index of the one with the largest likelihood."""
    cluster_sizes: tuple[Count, ...]
    """Annotators in each cluster."""
    adjusted_rand_index: float | None
    """Agreement of clusters and true groups, 1 perfect, 0 chance; null if the truth is unknown."""
    accuracy: Share | None
    """Share of annotators placed rightly under the best matching of clusters to groups."""
    stopped: str
    """Why iteration ended."""
    assignment: Literal["hard", "soft"] = "hard"
    """Each annotator wholly in one cluster, or in all by posterior probability."""
    unit: Literal["annotator", "pair"] = "annotator"
    """What was placed in clusters; pairs by themselves are the control."""
    held_out: tuple[float, ...] | None = None
    """Log-likelihood of held-out pairs with 1, 2, ... clusters, nats per pair, where that chose their
    number."""


class GroupRegret(_Model):
    """What one group loses against its own exact optimum, in standard deviations of its utility."""

    name: str
    """Of the group."""
    value: float
    """V = E u - beta KL of the policy, u normalised over reference responses."""
    best: float
    """Largest value of any policy."""
    regret: float = Field(ge=0)
    """The difference: the group's alignment gap."""


class RegretRecord(_Model):
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
    """What every group could gain at once; 0 on the Pareto front."""
    kl: float
    """Exact divergence from the reference policy on the test prompts, nats per response."""
    certificate: float = Field(ge=0)
    """Duality gap of the exact maxmin solution; it bounds the errors above."""


class PluginRecord(_Model):
    """A stranger's code that the run used: a package, a file or a notebook."""

    name: str
    """Of the package, of the file without its folder, or `__main__` for a notebook."""
    version: str | None
    """Of the package; null for what is not installed as one."""
    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    """First digits of the SHA-256 of its sources."""


class Provenance(_Model):
    """Where a number comes from."""

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
    """That shared the run out."""
    started: str
    """ISO 8601, UTC."""


class Record(_Model):
    """One run: one task, aligner, model, minority ratio and seed."""

    schema_version: Literal[1, 2, 3, 4] = 4
    """Of this format."""
    status: Literal["ok", "diverged", "failed"]
    """Measured fields are null unless `ok`."""
    spec: dict[str, Any]
    """The run's whole specification, defaults filled in; running it again gives this record."""
    spec_hash: str = Field(min_length=8)
    """Names the specification, and with it the run."""
    task: str
    """Name."""
    task_version: int = Field(ge=1)
    """Results of different versions are not comparable."""
    aligner: str
    """Name."""
    needs: tuple[Literal["group", "oracle", "user_id"], ...]
    """What the aligner saw beyond prompt, chosen and rejected; sorted."""
    model: str
    """Preset, folder or hub id."""
    data: str
    """Where the prompts come from."""
    minority_ratio: float = Field(gt=0, le=0.5)
    """Share of annotators in the minority: the one specified, of labels that a task brought along the one
    found in them, to four decimals."""
    seed: Count
    """Of the run."""
    groups: tuple[GroupRecord, ...]
    """One per group of the task; empty unless `ok`."""
    worst_group: str | None
    """The group with the smallest win rate; it need not be the minority."""
    worst_group_win_rate: Share | None
    """Its win rate. The smallest of several noisy rates: biased low."""
    minority_win_rate: Share | None
    """Of the group with the smallest share."""
    majority_win_rate: Share | None
    """Of the group with the largest share."""
    mean_win_rate: Share | None
    """Over groups, each counted once whatever its share."""
    gap: Share | None
    """The best group's win rate minus the worst group's."""
    worst_group_win_rate_ci: Bounds | None
    """95% interval from a bootstrap over prompts."""
    minority_win_rate_ci: Bounds | None
    """That group's own 95% interval."""
    majority_win_rate_ci: Bounds | None
    """That group's own 95% interval."""
    mean_win_rate_ci: Bounds | None
    """95% interval from a bootstrap over prompts."""
    gap_ci: Bounds | None
    """95% interval from a bootstrap over prompts; a largest minus a smallest rate is biased high."""
    prompted_worst_group_win_rate: Share | None = None
    """The smallest win rate of a group with its instruction in the prompt."""
    prompted_worst_group_win_rate_ci: Bounds | None = None
    """95% interval from a bootstrap over prompts."""
    mde: Share | None
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
    empty_rate: Share | None
    """Share of responses without text; each is counted as a loss."""
    em: EmRecord | None
    """Set if the aligner fitted a mixture of annotators."""
    task_report: dict[str, Any]
    """The task's own account of how its groups conflict."""
    regret: RegretRecord | None = None
    """What the policy loses against exact optima; null where responses cannot be listed."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it went, such as batches that were halved for want of memory."""
    message: str | None
    """Why the run diverged or failed."""
    timings: dict[str, Annotated[float, Field(ge=0)]]
    """Seconds per stage."""
    numerics: int | None = Field(None, ge=1)
    """Of the prefbench that made it: results of different numerics are not comparable. Null before it was
    counted."""
    code: str | None = Field(None, pattern=r"^[0-9a-f]{16}$")
    """Digest of all sources that its numbers depend on, prefbench's and plug-ins'. Null in older versions."""
    plugins: tuple[PluginRecord, ...] = ()
    """Plug-ins that task, aligner or model come from."""
    stages: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]] = {}
    """Stages that the run rests on, each with the name of its folder below `stages/` of the runs folder.
    Empty in older versions."""
    provenance: Provenance
    """Versions, hardware and start time."""

    @field_validator("spec", "task_report", mode="before")
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

    @field_validator("needs", mode="before")
    @classmethod
    def _sorted(cls, value: Any) -> Any:
        listed = isinstance(value, list | tuple | set | frozenset)
        # What is no name is left for the field's own check to refuse.
        return sorted(set(value)) if listed and all(isinstance(name, str) for name in value) else value

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


# ------------------------------------------------------------------------------ reading and writing


def write_record(record: Record, folder: Path) -> Path:
    """Write `record.json` into `folder`, so that a reader sees the old one or the whole new one.

    Returns:
        The file's path.
    """
    from prefbench.store.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD_FILE
    text = json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, text + "\n")
    return path


def read_record(path: Path) -> Record:
    """The record in a file, or in a run's folder.

    Raises:
        UserError: if it is missing, not JSON, of a newer format, or has a field that does not fit.
    """
    path = Path(path)
    if path.is_dir():
        path = path / RECORD_FILE
    try:
        data = read_json(path, within=path.parent)
    except FileNotFoundError:
        raise UserError(f"no record at '{path}': give a run's folder or its {RECORD_FILE}.") from None
    except OSError as error:
        raise UserError(f"record '{path}' cannot be read: {error.strerror}.") from None
    except Unfit as error:
        raise UserError(f"record '{path}' cannot be read: {error}.") from None
    except ValueError as error:
        raise UserError(f"record '{path}' is not JSON ({_line(error)}): run it again.") from None
    if not isinstance(data, dict):
        raise UserError(f"record '{path}' is not a JSON object: run it again.")
    version = data.get("schema_version")
    if version not in READABLE_VERSIONS:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        mend = "upgrade prefbench" if newer else "run it again"
        raise UserError(
            f"record '{path}' has schema_version {version!r}, this prefbench reads {SCHEMA_VERSION}: {mend}."
        )
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise UserError(f"record '{path}' is not valid, field {where}: {_line(first['msg'])}.") from None


def _line(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".")


def find_records(runs_dir: Path) -> list[tuple[Path, Record]]:
    """Every run folder directly inside `runs_dir` that has a readable record, sorted by name.

    A record that cannot be read is left out with a warning that names it.

    Returns:
        Pairs of a run's folder and its record.

    Raises:
        UserError: if `runs_dir` is no folder.
    """
    runs_dir = Path(runs_dir)
    if not runs_dir.is_dir():
        raise UserError(f"runs folder '{runs_dir}' does not exist: name one with --runs-dir.")
    found = []
    for path in sorted(runs_dir.glob(f"*/{RECORD_FILE}")):
        try:
            found.append((path.parent, read_record(path)))
        except UserError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return found


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `record.json`."""
    schema = Record.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def comparable(record: Record) -> dict[str, Any]:
    """The record without what may differ between two runs of one specification: times, places and mishaps."""
    return record.model_dump(mode="json", exclude={"timings", "provenance", "notes"})


# --------------------------------------------------------------------------------------- evidence

ITEM_COLUMNS: Mapping[str, tuple[str, str]] = {
    "prompt_id": ("int64", "identifies the prompt within the test split"),
    "sample": ("int64", "0, 1, ... for each prompt; the same number for all of them"),
    "prompt": ("string", "as the policy saw it"),
    "response": ("string", "the policy's"),
    "reference_response": ("string", "the reference policy's response that it was compared with"),
    "empty": ("bool", "whether the response has no text; then it is a loss"),
    "words": ("int64", "in the response"),
    "reference_words": ("int64", "in the reference response"),
    "kl": ("float64", "log pi(response) - log pi_ref(response), nats; null in all rows if unknown"),
    "utility/<group>": ("float64", "one column per group: that group's utility of the response"),
    "reference_utility/<group>": ("float64", "one column per group: of the reference response"),
}
"""Columns of `items.parquet`: type and meaning."""


def item_columns(groups: Iterable[str]) -> list[str]:
    """The column names for these groups, in order."""
    fixed = [name for name in ITEM_COLUMNS if "<group>" not in name]
    names = list(groups)
    return fixed + [f"utility/{name}" for name in names] + [f"reference_utility/{name}" for name in names]


def write_items(items: pd.DataFrame, folder: Path, name: str = ITEMS_FILE) -> Path:
    """Write a run's evidence into its folder through a temporary file beside it."""
    from prefbench.store.files import clear_disk_errors

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    beside = folder / f".{name}.{os.getpid()}.tmp"
    with clear_disk_errors():
        try:
            items.to_parquet(beside, index=False)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def read_items(folder: Path, name: str = ITEMS_FILE) -> pd.DataFrame:
    """The evidence beside a record.

    Raises:
        UserError: if the file is missing or is not parquet.
    """
    frame: pd.DataFrame = read_evidence(folder, name).to_pandas()
    return frame


def read_evidence(folder: Path, name: str = ITEMS_FILE, columns: Sequence[str] | None = None) -> pa.Table:
    """Known columns of the evidence beside a record, or those of them that are named.

    Raises:
        UserError: if the file is missing, is not parquet, is too large or leads out of the folder, or a whole
            number in it needs more than 64 bits.
    """
    import pyarrow as pa

    path = Path(folder) / name
    try:
        table = read_table(
            path, _is_known if columns is None else set(columns).__contains__, within=path.parent
        )
        for index, field in enumerate(table.schema):
            if pa.types.is_uint64(field.type):  # beyond 2 ** 63 there is no telling two of them apart
                table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    except FileNotFoundError:
        raise UserError(f"'{path}' is missing: without it nothing can be recomputed; run it again.") from None
    except Unfit as error:
        raise UserError(f"'{path}' cannot be read: {error}: run it again.") from None
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise UserError(f"'{path}' cannot be read ({_line(error)[:80]}): run it again.") from None
    return table


def _is_known(column: str) -> bool:
    """Whether some file of evidence has a column of this name."""
    from prefbench.evaluate.regret import COLUMNS as STATES

    known = column in (*ITEM_COLUMNS, *PROMPTED_COLUMNS, *STATES)
    return known or column.startswith(("utility/", "reference_utility/"))


def sorted_items(items: pd.DataFrame, groups: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """The items ordered by prompt and sample, checked to be complete, and the samples per prompt.

    Raises:
        UserError: if a column is missing or a prompt lacks a sample.
    """
    from pandas.api.types import is_numeric_dtype

    texts = {name for name, (kind, _) in ITEM_COLUMNS.items() if kind == "string"}
    for name in item_columns(groups):
        if name not in items.columns:
            raise UserError(f"{ITEMS_FILE} has no column '{name}': run it again.")
        unknown_kl = name == "kl" and items[name].isna().all()
        if name not in texts and not unknown_kl and not is_numeric_dtype(items[name]):
            raise UserError(f"{ITEMS_FILE}: column '{name}' is not numeric: run it again.")
    if items.empty:
        raise UserError(f"{ITEMS_FILE} has no rows: run it again.")
    ordered = items.sort_values(["prompt_id", "sample"], kind="stable", ignore_index=True)
    samples = int(ordered["sample"].max()) + 1
    whole = len(ordered) == samples * ordered["prompt_id"].nunique()
    if not whole or (ordered["sample"] != ordered.index % samples).any():
        raise UserError(f"{ITEMS_FILE} lacks some of samples 0 to {samples - 1} of a prompt: run it again.")
    return ordered, samples


def item_outcomes(items: pd.DataFrame, groups: Sequence[str]) -> Floats:
    """Outcomes `[prompts, samples, groups]` of the items, prompts ordered by `prompt_id`.

    Raises:
        UserError: if the items are incomplete or a utility is not a finite number.
    """
    import numpy as np

    from prefbench.evaluate.win_rate import outcomes

    ordered, samples = sorted_items(items, groups)
    shape = (len(ordered) // samples, samples)

    def utilities(prefix: str) -> Floats:
        columns = [f"{prefix}/{name}" for name in groups]
        return np.asarray(ordered[columns].to_numpy(dtype=np.float64)).reshape(*shape, len(columns))

    reference_empty = ordered["reference_words"] == 0
    try:
        return outcomes(
            utilities("utility"),
            utilities("reference_utility"),
            ordered["empty"].to_numpy(dtype=bool).reshape(shape),
            reference_empty.to_numpy(dtype=bool).reshape(shape),
        )
    except ValueError as error:
        raise UserError(f"{ITEMS_FILE}: {_line(error)}: run it again.") from None


def summarise(
    items: pd.DataFrame, groups: Sequence[tuple[str, float, bool]], rng_seed: int
) -> dict[str, Any]:
    """Every measured number of a record, from its items alone.

    Args:
        items: rows as `ITEM_COLUMNS` says, in any order.
        groups: name, share and whether it is a minority, of every group.
        rng_seed: of the bootstrap; a run gives its own seed, so that anyone can repeat it.

    Returns:
        `groups`, a list of dictionaries with the fields of `GroupRecord` except `utility`, `unit`
        and `reward_accuracy`, and every field named in `MEASURED`. Intervals are 95%. The intervals
        of the minority and the majority are those groups' own; of the worst group, mean and gap,
        which depend on several groups, a bootstrap over prompts.

    Raises:
        UserError: if the items are incomplete.
    """
    from prefbench.evaluate.win_rate import (
        Group,
        fairness,
        fairness_statistics,
        group_results,
        minority_and_majority,
    )
    from prefbench.seeds import rng
    from prefbench.stats import intervals, power

    known = [Group(*group) for group in groups]
    names = [group.name for group in known]
    ordered, samples = sorted_items(items, names)
    scores = item_outcomes(ordered, names)
    n_prompts = len(scores)
    results = group_results(scores, known, [rng(rng_seed, "interval", name) for name in names])
    measures = fairness([result.win_rate for result in results], known)
    by_prompt = scores.mean(axis=1)
    replicates = intervals.resample_means([by_prompt], rng(rng_seed, "interval"))
    minority, majority = minority_and_majority(known)
    own = {"minority_win_rate": results[minority].interval, "majority_win_rate": results[majority].interval}

    summary: dict[str, Any] = {
        "groups": [
            {
                "name": result.name,
                "share": result.share,
                "is_minority": result.is_minority,
                "n_prompts": result.n_prompts,
                **_compared(result),
                "mean_utility": _mean(ordered[f"utility/{result.name}"]),
                "reference_utility": _mean(ordered[f"reference_utility/{result.name}"]),
            }
            for result in results
        ],
        "worst_group": names[measures.worst],
    }
    for name, statistic in fairness_statistics(known).items():
        estimate = getattr(measures, name)
        interval = own.get(name) or intervals.percentile_interval(statistic(replicates), estimate, n_prompts)
        summary[name] = estimate
        summary[f"{name}_ci"] = (interval.low, interval.high)
    summary |= {
        "mde": power.minimum_detectable_effect(n_prompts),
        "n_prompts": n_prompts,
        "samples_per_prompt": samples,
        "kl": _mean_kl(ordered["kl"]),
        "mean_length": _mean(ordered["words"]),
        "reference_length": _mean(ordered["reference_words"]),
        "empty_rate": _mean(ordered["empty"]),
    }
    return summary


def _compared(result: GroupResult) -> dict[str, Any]:
    """A group's comparisons as the record holds them, told what is wanted or not."""
    return {
        "wins": result.wins,
        "ties": result.ties,
        "losses": result.losses,
        "win_rate": result.win_rate,
        "ci_low": result.interval.low,
        "ci_high": result.interval.high,
    }


def _mean_kl(column: pd.Series[float]) -> float | None:
    unknown = int(column.isna().sum())
    if unknown == len(column):
        return None
    if unknown:
        raise UserError(f"{ITEMS_FILE} lacks kl in {unknown} of {len(column)} rows: give it in all or none.")
    return _mean(column)


def _mean(column: pd.Series[float]) -> float:
    """The mean of a column that must not have gaps or infinities: nothing is averaged over."""
    mean = float(column.mean(skipna=False))
    if not math.isfinite(mean):
        raise UserError(f"{ITEMS_FILE}: column '{column.name}' has a value that is not finite.")
    return mean


PROMPTED_COLUMNS: Mapping[str, tuple[str, str]] = {
    "group": ("string", "whose instruction the prompt begins with, and who judges"),
    "prompt_id": ("int64", "as in items.parquet"),
    "sample": ("int64", "0, 1, ... for each prompt and group"),
    "prompt": ("string", "with the instruction, as both policies saw it"),
    "response": ("string", "the policy's"),
    "reference_response": ("string", "the reference policy's"),
    "empty": ("bool", "whether the response has no text; then it is a loss"),
    "reference_empty": ("bool", "the same of the reference's"),
    "utility": ("float64", "the group's, of the response"),
    "reference_utility": ("float64", "the group's, of the reference response"),
}
"""Columns of `prompted.parquet`: type and meaning."""


def prompted_outcomes(table: pd.DataFrame, groups: Sequence[str]) -> Floats:
    """Outcomes `[prompts, samples, groups]` of `prompted.parquet`, prompts ordered by `prompt_id`.

    Raises:
        UserError: a column, a group or a sample is missing.
    """
    import numpy as np

    lacking = [name for name in PROMPTED_COLUMNS if name not in table.columns]
    if lacking:
        raise UserError(f"{PROMPTED_FILE} has no column '{lacking[0]}': run it again.")
    columns = []
    for name in groups:
        mine = table[table["group"] == name].drop(columns="group")
        mine = mine.rename(columns={side: f"{side}/{name}" for side in ("utility", "reference_utility")})
        # What items hold beside this is not recorded here, or says nothing of who won.
        mine = mine.assign(words=0, reference_words=(~mine["reference_empty"]).astype(int), kl=0.0)
        columns.append(item_outcomes(mine, [name]))
    if len({column.shape for column in columns}) > 1:
        raise UserError(f"{PROMPTED_FILE} does not have every prompt for every group: run it again.")
    return np.concatenate(columns, axis=2)


def summarise_prompted(
    table: pd.DataFrame, groups: Sequence[tuple[str, float, bool]], rng_seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """What the record says of policies that were told what is wanted.

    Args:
        table: rows as `PROMPTED_COLUMNS` says, in any order.
        groups: name, share and whether it is a minority, of every group of the task.
        rng_seed: of the bootstrap.

    Returns:
        The fields of `PromptedRecord` by group, for those that have an instruction; and the record's own
        fields that start with `prompted_`.

    Raises:
        UserError: the table is incomplete.
    """
    from prefbench.evaluate.win_rate import Group, group_results
    from prefbench.seeds import rng
    from prefbench.stats import intervals

    told = set(table["group"]) if "group" in table.columns else set()
    known = [Group(*group) for group in groups if group[0] in told]
    if not known:
        raise UserError(f"{PROMPTED_FILE} has no rows of any group: run it again.")
    names = [group.name for group in known]
    scores = prompted_outcomes(table, names)
    results = group_results(scores, known, [rng(rng_seed, "interval", "prompted", name) for name in names])
    replicates = intervals.resample_means([scores.mean(axis=1)], rng(rng_seed, "interval", "prompted"))
    worst = min(result.win_rate for result in results)
    interval = intervals.percentile_interval(replicates.min(axis=-1), worst, len(scores))
    by_group = {}
    for result in results:
        mine = table[table["group"] == result.name]
        by_group[result.name] = {
            **_compared(result),
            "mean_utility": _mean(mine["utility"]),
            "reference_utility": _mean(mine["reference_utility"]),
        }
    return by_group, {
        "prompted_worst_group_win_rate": worst,
        "prompted_worst_group_win_rate_ci": (interval.low, interval.high),
    }


def spec_differs(record: Record) -> list[str]:
    """What of a record does not fit its own specification: the hash, and what both name."""
    from prefbench.spec import digest

    wrong = []
    if not digest(record.spec).startswith(record.spec_hash):
        wrong.append(f"spec_hash is {record.spec_hash}, the specification gives {digest(record.spec)[:16]}")
    for name in ("task", "aligner", "model", "data", "seed"):
        if record.spec.get(name) != getattr(record, name):
            wrong.append(f"{name} is {getattr(record, name)!r}, specified {record.spec.get(name)!r}")
    asked, shares = record.spec.get("minority_ratio"), [group.share for group in record.groups]
    # Of labels that a task brought along it is the share found; a run that failed shows no groups.
    if record.minority_ratio != asked and shares and record.minority_ratio != round(min(shares), 4):
        wrong.append(
            f"minority_ratio is {record.minority_ratio!r}, specified {asked!r} and found {min(shares):.4g}"
        )
    return wrong


def verify(folder: Path, tolerance: float = 1e-6) -> list[str]:
    """What in a run's record does not follow from its items and its specification.

    Args:
        folder: of the run.
        tolerance: how far a number may be off. Sums in another order differ in the last digits.

    Returns:
        A sentence for each thing that differs; empty if the record is what the evidence gives.

    Raises:
        UserError: if the record or the items cannot be read.
    """
    record = read_record(folder)
    wrong = spec_differs(record)
    if record.status != "ok":
        return wrong
    items = read_items(folder)
    groups = [(group.name, group.share, group.is_minority) for group in record.groups]
    found = summarise(items, groups, record.seed)
    for name in MEASURED:
        wrong += _differs(name, getattr(record, name), found[name], tolerance)
    for group, values in zip(record.groups, found["groups"], strict=True):
        for name, value in values.items():
            wrong += _differs(f"{group.name}.{name}", getattr(group, name), value, tolerance)
    wrong += _prompted_differs(record, folder, tolerance)
    wrong += _regret_differs(record, folder, tolerance)
    blank = items["response"].fillna("").str.strip() == ""
    unflagged = int((blank & ~items["empty"].astype(bool)).sum())
    if unflagged:
        wrong.append(f"{unflagged} responses without text are not marked empty")
    return wrong


def _prompted_differs(record: Record, folder: Path, tolerance: float) -> list[str]:
    """What is said of prompted policies against their responses."""
    told = {group.name: group.prompted for group in record.groups if group.prompted is not None}
    if not told and record.prompted_worst_group_win_rate is None:
        return []
    groups = [(group.name, group.share, group.is_minority) for group in record.groups]
    table = read_items(folder, PROMPTED_FILE)
    found, worst = summarise_prompted(table, groups, record.seed)
    wrong: list[str] = []
    if found.keys() != told.keys():
        return [f"prompted groups are {sorted(told)}, {PROMPTED_FILE} has {sorted(found)}"]
    for name, written in told.items():
        for field, value in found[name].items():
            wrong += _differs(f"{name}.prompted.{field}", getattr(written, field), value, tolerance)
    for field, value in worst.items():
        wrong += _differs(field, getattr(record, field), value, tolerance)
    blank = table["response"].fillna("").str.strip() == ""
    if (blank & ~table["empty"].astype(bool)).any():
        wrong.append(f"{PROMPTED_FILE} has responses without text that are not marked empty")
    return wrong


def _regret_differs(record: Record, folder: Path, tolerance: float) -> list[str]:
    """The regret block against the distribution that it was computed from."""
    from prefbench.evaluate.regret import COLUMNS, regrets

    if record.regret is None:
        return []
    names = [group.name for group in record.groups]
    distribution = read_items(folder, DISTRIBUTION_FILE)
    lacking = {*COLUMNS, *(f"utility/{name}" for name in names)} - set(distribution.columns)
    if lacking:
        return [f"{DISTRIBUTION_FILE} has no column {', '.join(sorted(lacking))}"]
    found = RegretRecord.model_validate(regrets(distribution, names, record.regret.beta))
    wrong: list[str] = []
    for name in ("max_regret", "egalitarian_regret", "pareto_distance", "kl", "certificate"):
        wrong += _differs(f"regret.{name}", getattr(record.regret, name), getattr(found, name), tolerance)
    if [group.name for group in record.regret.groups] != names:
        return [*wrong, "the groups of regret are not the record's"]
    for ours, theirs in zip(record.regret.groups, found.groups, strict=True):
        for name in ("value", "best", "regret"):
            wrong += _differs(
                f"regret.{ours.name}.{name}", getattr(ours, name), getattr(theirs, name), tolerance
            )
    return wrong


def _differs(name: str, written: Any, found: Any, tolerance: float) -> list[str]:
    if isinstance(written, tuple) and isinstance(found, tuple):
        same = all(abs(a - b) <= tolerance for a, b in zip(written, found, strict=True))
    elif isinstance(written, float) and isinstance(found, float):
        same = abs(written - found) <= tolerance * max(1.0, abs(found))
    else:
        same = bool(written == found)
    return [] if same else [f"{name} is {written}, the items give {found}"]

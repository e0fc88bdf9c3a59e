"""Fields of a record that follow from what lies beside it, and fields that do not, and why.

Every field of the record's models is in one of the two tables, under its path; a test sees to it, and another
edits each checked field of an honest record and looks for the complaint.
"""

from __future__ import annotations

from collections.abc import Mapping

CHECKED: Mapping[str, str] = {
    "status": "an ok record has evidence, another one has none",
    "spec": "the options of what is registered, its own hash, and the problem that it states",
    "spec_hash": "the specification",
    "task": "the specification and the registry",
    "task_version": "the registry",
    "aligner": "the specification and the registry",
    "needs": "the registry",
    "model": "the specification",
    "data": "the specification",
    "minority_ratio": "the specification",
    "seed": "the specification",
    "split": "the specification",
    "tuning.digest": "the specification",
    "tuning.configurations": "the specification",
    "tuning.tokens": "the specification",
    "tuning.rule": "the specification",
    "groups.name": "the problem",
    "groups.share": "the problem",
    "groups.is_minority": "the problem",
    "groups.utility": "the problem",
    "groups.unit": "the problem",
    "groups.n_prompts": "the problem and the items",
    "groups.wins": "the items, whose utilities are computed from the texts",
    "groups.ties": "the items",
    "groups.losses": "the items",
    "groups.win_rate": "the items",
    "groups.ci_low": "the items",
    "groups.ci_high": "the items",
    "groups.mean_utility": "the items",
    "groups.reference_utility": "the items",
    "groups.prompted.wins": "prompted.parquet, whose prompts and utilities are computed from the problem",
    "groups.prompted.ties": "prompted.parquet",
    "groups.prompted.losses": "prompted.parquet",
    "groups.prompted.win_rate": "prompted.parquet",
    "groups.prompted.ci_low": "prompted.parquet",
    "groups.prompted.ci_high": "prompted.parquet",
    "groups.prompted.mean_utility": "prompted.parquet",
    "groups.prompted.reference_utility": "prompted.parquet",
    "worst_group": "the items",
    "worst_group_win_rate": "the items",
    "minority_win_rate": "the items",
    "majority_win_rate": "the items",
    "mean_win_rate": "the items",
    "gap": "the items",
    "worst_group_win_rate_ci": "the items",
    "minority_win_rate_ci": "the items",
    "majority_win_rate_ci": "the items",
    "mean_win_rate_ci": "the items",
    "gap_ci": "the items",
    "prompted_worst_group_win_rate": "prompted.parquet",
    "prompted_worst_group_win_rate_ci": "prompted.parquet",
    "mde": "the items",
    "n_prompts": "the problem and the items",
    "samples_per_prompt": "the specification and the items",
    "kl": "the items; of a world, what they say follows from distribution.parquet",
    "mean_length": "the items, whose words are counted again",
    "reference_length": "the items",
    "empty_rate": "the items",
    "agreed": "the items, whose utilities are computed from the texts",
    "retention": "the items",
    "text.nonword_rate": "the items, whose words are held against the task's lexicon",
    "text.logprob_per_token": "the items",
    "text.distinct_1": "the items, from their texts",
    "text.distinct_2": "the items, from their texts",
    "text.relevance": "the items",
    "text.reference_nonword_rate": "the items, whose words are held against the task's lexicon",
    "text.reference_logprob_per_token": "the items",
    "text.reference_distinct_1": "the items, from their texts",
    "text.reference_distinct_2": "the items, from their texts",
    "text.reference_relevance": "the items",
    "utility_gain": "the items, whose utilities are computed from the texts",
    "proxy.rewards.name": "the columns of the items",
    "proxy.rewards.mean": "the items",
    "proxy.rewards.reference": "the items",
    "proxy.gain": "the items",
    "em.clusters": "its own lists",
    "em.cluster_sizes": "their number, and the problem's annotators where those were placed",
    "task_report": "what the task says of itself; conflict and utilities are measured and not checked",
    "regret.beta": "the problem's world",
    "regret.groups.name": "the problem",
    "regret.groups.value": "distribution.parquet, which follows from the world but for the policy's column",
    "regret.groups.best": "distribution.parquet",
    "regret.groups.regret": "distribution.parquet",
    "regret.max_regret": "distribution.parquet",
    "regret.egalitarian_regret": "distribution.parquet",
    "regret.pareto_distance": "distribution.parquet",
    "regret.kl": "distribution.parquet",
    "regret.certificate": "distribution.parquet",
    "numerics": "it is one that is known here; a row whose seeds differ in it is named",
    "code": "a row whose seeds differ in it is named",
}
"""Source that each field is computed from again, or held against."""

_STAGES = "the labelled pairs and the learned rewards are stages of the run and no part of its evidence"
_SAID = "said by the machine that ran it; nothing beside the record could tell"

UNCHECKED: Mapping[str, str] = {
    "schema_version": "of the format: it is one that is read here",
    "groups.reward_accuracy": _STAGES,
    "em.iterations": _STAGES,
    "em.log_likelihood": _STAGES,
    "em.start": _STAGES,
    "em.restarts": _STAGES,
    "em.chosen_restart": _STAGES,
    "em.adjusted_rand_index": _STAGES,
    "em.accuracy": _STAGES,
    "em.stopped": _STAGES,
    "em.assignment": _STAGES,
    "em.unit": _STAGES,
    "em.held_out": _STAGES,
    **{
        f"selection.{name}": "of a run that tuned, which no board takes in"
        for name in ("measure", "S0", "S1", "S2", "S3")
    },
    "notes": "words for the reader",
    "message": "words for the reader",
    "timings": _SAID,
    "plugins.name": _SAID,
    "plugins.version": _SAID,
    "plugins.digest": _SAID,
    "stages": "the stages that it names are not beside it",
    "provenance.prefbench": _SAID,
    "provenance.git": _SAID,
    "provenance.python": _SAID,
    "provenance.torch": _SAID,
    "provenance.transformers": _SAID,
    "provenance.hardware": _SAID,
    "provenance.threads": _SAID,
    "provenance.processes": _SAID,
    "provenance.started": _SAID,
}
"""Reason why a field is not checked. `verify --rerun` computes what matters of them anew."""


def unchecked_lines() -> list[str]:
    """The fields that no record is checked for, a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in UNCHECKED.items():
        by_reason.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]

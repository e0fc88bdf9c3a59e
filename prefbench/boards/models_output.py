"""A comparison of two models for people and build servers: table, markdown and JUnit XML."""

from __future__ import annotations

from prefbench.boards.gate_output import GateCase, escaped, junit_of
from prefbench.evaluate.models import GroupVerdict, ModelComparison

HEADER = ("group", "verdict", "win rate, 95%", "won/tied/lost", "p")


def models_title(comparison: ModelComparison) -> str:
    """The two models, and what they were asked."""
    c = comparison
    each = "" if c.scores.shape[1] == 1 else f", {c.scores.shape[1]} responses each"
    return f"{c.new.name} against {c.old.name}: {len(c.prompts):,} prompts{each}"


def models_rows(comparison: ModelComparison) -> list[list[str]]:
    """Cells under `HEADER`, a row for each group."""
    return [_cells(group) for group in comparison.groups]


def _cells(group: GroupVerdict) -> list[str]:
    return [
        group.name,
        {"held": "held", "fell": "LOSES", "cannot tell": "cannot tell"}[group.verdict],
        f"{group.win_rate:.3f} [{group.low:.3f}, {group.high:.3f}]",
        f"{group.wins:,}/{group.ties:,}/{group.losses:,}",
        f"{group.p_value:.2g}",
    ]


def models_sentences(comparison: ModelComparison) -> list[str]:
    """Sentences below the table: worst group, gap, each verdict, the level, and the sum."""
    c = comparison
    bounds = [f"[{low:.3f}, {high:.3f}]" for low, high in (c.worst_group_win_rate_ci, c.gap_ci)]
    said = [
        f"worst group {c.worst_group} {c.worst_group_win_rate:.3f} {bounds[0]}, gap {c.gap:.3f} {bounds[1]}"
    ]
    said += [group.sentence for group in c.groups]
    if not c.decided:
        said.append("UNDECIDED: no group held or lost, so this gate guards nothing: give more prompts.")
    return [*said, c.promise, c.sum]


def models_markdown(comparison: ModelComparison) -> str:
    """The comparison as GitHub-flavoured markdown; names cannot break out of the table."""
    lines = [
        f"### prefbench compare-models: {escaped(comparison.sum)}",
        "",
        escaped(models_title(comparison)),
        "",
    ]
    lines += [f"| {' | '.join(HEADER)} |", "|---|---|---:|---:|---:|"]
    lines += [f"| {' | '.join(map(escaped, row))} |" for row in models_rows(comparison)]
    return "\n".join([*lines, "", escaped(comparison.promise), ""])


def models_junit(comparison: ModelComparison) -> str:
    """The comparison as JUnit XML, a case for each group; a failure closes the gate."""
    cases = [
        GateCase(group.name, group.verdict, group.sentence, comparison.closes(group.verdict))
        for group in comparison.groups
    ]
    return junit_of("compare-models", cases)

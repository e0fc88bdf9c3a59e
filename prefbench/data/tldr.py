"""TL;DR comparisons (openai/summarize_from_feedback, arXiv 2009.01325): two summaries, a worker's choice."""

from __future__ import annotations

from collections.abc import Mapping

from prefbench.data.annotated import Label, Read, Terms
from prefbench.data.files import Columns
from prefbench.data.label_source import from_hub, lacking
from prefbench.errors import UserError

HUB_ID = "openai/summarize_from_feedback"
TERMS = Terms(
    "TL;DR comparisons (Stiennon et al. 2020)",
    "code MIT; the posts are texts of Reddit users, whose terms apply",
    "Whoever publishes rows of it has to see that they may publish the posts.",
)
_NEEDED = ("info", "summaries", "choice", "worker")


def hub_columns() -> Columns:
    """The comparisons as the hub has them, with all published splits."""
    return from_hub(HUB_ID, "comparisons")


def read(source: str, columns: Columns) -> Read:
    """The labels of the workers; nothing else is known of them.

    Raises:
        UserError: a column is missing, or a row is none of this layout.
    """
    for name in _NEEDED:
        if name not in columns:
            raise lacking(source, name, columns, f"task.layout says that it is laid out as {HUB_ID}.")
    labels = []
    for number, (info, summaries, choice, worker) in enumerate(
        zip(*(columns[name] for name in _NEEDED), strict=True), start=1
    ):
        texts = _texts(summaries)
        if not isinstance(info, Mapping) or texts is None or choice not in (0, 1) or not worker:
            raise UserError(
                f"{source!r}: row {number} has no post, two summaries, choice of 0 or 1 and worker: mend "
                "it, or "
                "leave it out."
            )
        won = int(choice == 1)
        labels.append(Label(_prompt(info), texts[won], texts[1 - won], str(worker)))
    return Read(labels, terms=TERMS)


def _texts(summaries: object) -> tuple[str, str] | None:
    if not isinstance(summaries, list) or len(summaries) != 2:
        return None
    one, other = (each.get("text") if isinstance(each, Mapping) else None for each in summaries)
    return (one, other) if isinstance(one, str) and isinstance(other, str) else None


def _prompt(info: Mapping[str, object]) -> str:
    """The post, or the article of a comparison about news, as the task of summarising it."""
    parts = []
    for head, name in (("SUBREDDIT: r/", "subreddit"), ("TITLE: ", "title")):
        if info.get(name):
            parts.append(f"{head}{info[name]}")
    parts.append(f"POST: {info.get('post') or info.get('article') or ''}")
    return "\n\n".join([*parts, "TL;DR:"])

"""Published sets of labels by people, each with its layout and its terms, by the word that names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prefbench.data import community_alignment, multipref, prism, tldr
from prefbench.data.annotated import Read, Terms
from prefbench.data.label_source import from_hub, read_labels


@dataclass(frozen=True)
class Published:
    """One set: how it is read, and its terms."""

    read: Callable[[str], tuple[str, Read]]
    """From a path, or the word itself for the hub, to the source's name and what it holds."""
    terms: Terms


def _community_alignment(data: str) -> tuple[str, Read]:
    hub = data == "community-alignment"
    source, columns = (
        (data, from_hub(community_alignment.HUB_ID, splits=["train"])) if hub else read_labels(data)
    )
    return source, community_alignment.read(source, columns)


def _prism(data: str) -> tuple[str, Read]:
    source, utterances, survey = prism.tables(prism.HUB_ID if data == "prism" else data)
    return source, prism.read(source, utterances, survey)


def _tldr(data: str) -> tuple[str, Read]:
    source, columns = (data, tldr.hub_columns()) if data == "tldr" else read_labels(data)
    return source, tldr.read(source, columns)


def _multipref(data: str) -> tuple[str, Read]:
    source, columns = (data, from_hub(multipref.HUB_ID)) if data == "multipref" else read_labels(data)
    return source, multipref.read(source, columns)


PUBLISHED: Mapping[str, Published] = {
    "community-alignment": Published(_community_alignment, community_alignment.TERMS),
    "prism": Published(_prism, prism.TERMS),
    "tldr": Published(_tldr, tldr.TERMS),
    "multipref": Published(_multipref, multipref.TERMS),
}

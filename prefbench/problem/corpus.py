"""Cleaned reviews, with the labels that their source has."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Corpus:
    """Cleaned reviews, with the labels and the test split that their source has.

    Attributes:
        source: what the user named: a source's word, or the file's or folder's own name.
        texts: the reviews: one line each, none empty, no two alike.
        labels: 1 positive, 0 negative, in the order of `texts`; None where the source has none.
        test_texts: the source's own test split, without any review that is also in `texts`; often empty.
        test_labels: as `labels`, for `test_texts`.
    """

    source: str
    texts: tuple[str, ...]
    labels: tuple[int, ...] | None
    test_texts: tuple[str, ...] = ()
    test_labels: tuple[int, ...] | None = None

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all texts and labels; the same reviews read from another format share it."""
        sha = hashlib.sha256()
        for texts, labels in ((self.texts, self.labels), (self.test_texts, self.test_labels)):
            sha.update(len(texts).to_bytes(8, "big"))
            for text in texts:
                encoded = text.encode()
                # The length goes first, so that no two lists of texts run together to the same bytes.
                sha.update(len(encoded).to_bytes(8, "big") + encoded)
            sha.update(b"unlabelled" if labels is None else b"labelled" + bytes(labels))
        return sha.hexdigest()

"""Words, sizes and digests of text, and how amounts are shown to a reader."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds in each unit of an age."""

# Letters and digits, joined inside a word by one apostrophe or hyphen: "don't" and "well-made" are one
# word, the quotes of 'great' are no part of it, and "great--but" is two.
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def count_words(text: str) -> int:
    """Number of words in `text`; punctuation, emoji and other symbols are none."""
    return sum(1 for _ in _WORD.finditer(text))


def lower_words(text: str) -> list[str]:
    """The words of `text` in lower case, with straight apostrophes."""
    return _WORD.findall(text.lower().replace("\u2019", "'"))


def is_empty(text: str) -> bool:
    """True for a text without any word, which the evaluator counts as an empty response."""
    return _WORD.search(text) is None


def text_digest(texts: Iterable[str]) -> str:
    """SHA-256 over a sequence of texts, each framed by its length."""
    state = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "little"))
        state.update(raw)
    return state.hexdigest()


def visible(text: object, keep: str = "") -> str:
    """A text in which control characters, invisible ones and half surrogate pairs are spelt out as in Python.

    Every text of a stranger's goes through here on its way to a terminal, so that none moves the cursor.

    Args:
        text: of any kind; what is no text is written as Python does.
        keep: characters that stay, such as a newline.
    """
    plain = str(text)
    return plain if plain.isprintable() else "".join(c if c in keep else _shown(c) for c in plain)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def one_line(text: object) -> str:
    """A visible text without line breaks and runs of blanks."""
    return visible(" ".join(str(text).split()))


def message_line(error: BaseException) -> str:
    """The first 200 characters of an error's message on one line; empty where it has none."""
    return " ".join(str(error).split())[:200]


def message_or_type(error: BaseException) -> str:
    """An error's message on one line of 160 characters at most, or its type where it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def show_bytes(amount: float, *, binary: bool = False) -> str:
    """An amount of memory or disk, as `12 B`, `409.6 kB`, `13.5 GB`; a limit, in binary units, `16 MiB`."""
    step, units = (1024, ("B", "KiB", "MiB", "GiB")) if binary else (1000, ("B", "kB", "MB", "GB", "TB"))
    whole = round(amount)
    amount, unit = float(whole), "B"
    for unit in units:
        if amount < step or unit == units[-1]:
            break
        amount /= step
    if unit == "B":
        return f"{whole} B"
    return f"{amount:.3g} {unit}" if binary else f"{amount:.1f} {unit}"


def show_age(seconds: float | None) -> str:
    """An age in its largest whole unit, as `5m`, `3d`; empty for none."""
    if seconds is None:
        return ""
    unit = next((u for u in ("d", "h", "m") if seconds >= UNITS[u]), "s")
    return f"{max(0, int(seconds // UNITS[unit]))}{unit}"


def clock(seconds: float) -> str:
    """A duration, as `0.4 s` below ten seconds, else `1:05` or `1:02:03`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_count(amount: float) -> str:
    """A large number to three digits, as `6.74 G`, `4.9 k`."""
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if amount >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount:.0f}"


def show_hours(least: float, most: float) -> str:
    """A range of hours, as `2.1 to 6.4 h`, `4 min`; one number where both ends read alike."""

    def one(hours: float) -> str:
        return f"{hours:.1f}" if hours < 10 else f"{hours:.0f}"

    if most < 1:
        low, high = max(1, round(least * 60)), max(1, round(most * 60))
        return f"{high} min" if low == high else f"{low} to {high} min"
    return f"{one(most)} h" if one(least) == one(most) else f"{one(least)} to {one(most)} h"

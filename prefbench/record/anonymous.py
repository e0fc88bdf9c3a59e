"""A record without what names the machine that it was made on, and a look for what is left of it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from prefbench.record.schema import Record
from prefbench.sources import path_digest
from prefbench.spec import digest

if TYPE_CHECKING:
    import pandas as pd

_PATH = re.compile(
    r"(?<![\w/.~\\])(?:~?/(?!/)|file://|[A-Za-z]:[\\/]|\\\\)[^\s'\"<>|:;,()]*[^\s'\"<>|:;,().]"
)
"""An absolute path within a text: of a Unix, below a home, a URL to a file, of Windows or a network share."""
MOST_FILES = 10_000
"""Most files in a folder of data or of a model; one with more is not named by its content."""
ARCHITECTURES = ("cuda", "rocm", "arm64", "x86_64", "other")
"""Words that the hardware of a packed record is reduced to."""
_ARCHITECTURES = (
    (("nvidia", "cuda", "geforce", "tesla", "quadro"), "cuda"),
    (("radeon", "instinct", "rocm"), "rocm"),
    (("aarch64", "arm", "apple"), "arm64"),
    (("x86", "amd64", "intel", "amd", "i386", "i686"), "x86_64"),
)


def anonymous(record: Record) -> Record:
    """The record without what names the machine that it was made on.

    A local path in the specification becomes its base name and, where the path still exists, twelve
    digits of its content's SHA-256, so that two data sets of one name stay apart. `spec_hash` is then the
    changed specification's. Absolute paths in other texts become base names; the commit is dropped, the
    start keeps its day, the hardware its architecture and versions their public part.

    Doing it twice changes nothing more.
    """
    plain = record.model_dump(mode="json")
    spec = {key: named_by_content(value) for key, value in record.spec.items()}
    provenance = plain["provenance"]
    for name in ("prefbench", "python", "torch", "transformers"):
        if provenance[name] is not None:  # what follows a plus is the builder's own
            provenance[name] = provenance[name].split("+")[0]
    day = re.match(r"\d{4}-\d{2}-\d{2}", provenance["started"])
    provenance |= {
        "git": None,
        "hardware": architecture(provenance["hardware"]),
        "started": day[0] if day else "",
    }
    changed: dict[str, Any] = {name: spec[name] for name in ("model", "data") if name in spec}
    if plain["outside"] is not None and isinstance(spec.get("outside"), dict):
        changed["outside"] = {**plain["outside"], "source": spec["outside"].get("source")}
    plain = without_paths({**plain, **changed, "spec": None})
    plain |= {"spec": spec, "spec_hash": digest(spec)[:16], "defaults": named_by_content(record.defaults)}
    return Record.model_validate(plain)


def architecture(hardware: str) -> str:
    """One of `ARCHITECTURES`."""
    said = hardware.lower()
    return next((name for words, name in _ARCHITECTURES if any(word in said for word in words)), "other")


def named_by_content(value: Any) -> Any:
    """A value of a specification or of its defaults with local paths replaced, at any depth."""
    if isinstance(value, Mapping):
        return {without_paths(key): named_by_content(item) for key, item in value.items()}
    if isinstance(value, list):
        return [named_by_content(item) for item in value]
    if not isinstance(value, str):
        return value
    if not _is_local(value):
        return without_paths(value)
    name = _base_name(value)
    content = path_digest(Path(value), MOST_FILES)
    return f"{name}@{content[:12]}" if content else name


def _is_local(text: str) -> bool:
    """True if a text is a path on this or some machine, rather than a word or a hub's `owner/name`."""
    if "\n" in text or len(text) > 4096:
        return False
    if re.match(r"(?:[/~.\\]|file:|[A-Za-z]:[\\/])", text):
        return len(text) > 1
    if "\\" in text:
        return True
    try:
        return ("/" in text or "." in text) and Path(text).exists()
    except (OSError, ValueError):
        return False


def _base_name(text: str) -> str:
    return PureWindowsPath(text).name.lstrip("~") or "path"  # it parts at both kinds of slash


def without_paths(value: Any) -> Any:
    """Absolute paths within texts, at any depth and in keys too, as their base names."""
    if isinstance(value, str):
        return _PATH.sub(lambda found: _base_name(found[0]), value)
    if isinstance(value, Mapping):
        return {without_paths(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    return value


def traces(record: Record, items: Iterable[pd.DataFrame]) -> list[str]:
    """Traces of this machine in a packed run: its home folder, its host's and its user's name."""
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False)
    home = str(Path.home())
    said = []
    host = platform.node()
    # Short names are words: an "ada" in a record accuses nobody.
    if len(host) > 3 and re.search(rf"\b{re.escape(host)}\b", text):
        said.append("the host's name")
    if len(home) > 4 and home in text:
        said.append("the home folder")
    user = Path.home().name
    if len(user) > 4 and re.search(rf"[/\\]{re.escape(user)}\b", text):
        said.append("the user's name")
    for frame in items:
        for name in frame.columns:
            if frame[name].dtype.kind in "biuf":
                continue
            column = frame[name].dropna().astype(str)
            if len(home) > 4 and column.str.contains(home + os.sep, regex=False).any():
                said.append(f"the home folder in {name} of the items")
    return said

"""New preference data for personas: a model writes the answers, judges who hold each wish label them.

The folder has the layout of the Personalized Soups data (Jang et al. 2023, arXiv 2310.11564): a file
`rm_training/<CODE>.json` for each persona, with rows `user_input, completion_a, completion_b` where `a` was
preferred. Nothing is sent anywhere by this module itself; writers and judges on a server do that.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from prefbench.arrays import Floats
from prefbench.chat.answers import KeptAnswer, Question
from prefbench.chat.client import Chat
from prefbench.chat.server import Server, totals
from prefbench.data.files import read_columns
from prefbench.errors import PrefbenchError, UserError
from prefbench.files import DATA_BYTES, read_json, read_text
from prefbench.problem.problem import with_instruction
from prefbench.spec import digest
from prefbench.store.files import checksum, clear_disk_errors, write_atomically
from prefbench.text import message_or_type, text_digest
from prefbench.version import __version__

__all__ = ["Labeller", "ServerWriter", "Writer", "generate", "read_prompts"]

_FORMAT = 1
_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")


class Writer(Protocol):
    """Something that answers prompts."""

    if TYPE_CHECKING:  # as a property or as an attribute

        @property
        def name(self) -> str:
            """Everything that can move a word of an answer, on one line."""

    def write(self, prompts: Sequence[str]) -> list[str]:
        """An answer to each prompt."""
        ...

    def check(self) -> None:
        """Ask for little before much is asked for: raises where nothing would come of it."""

    def report(self) -> dict[str, Any] | None:
        """Counts of questions and answers, as JSON values; None for nothing."""
        return None


class Labeller(Protocol):
    """Something that says which of two responses it prefers; `prefbench.evaluate.judge.Judge` is one."""

    if TYPE_CHECKING:  # as a property or as an attribute

        @property
        def name(self) -> str:
            """Everything that can move a verdict, on one line."""

    def compare(
        self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> tuple[Floats, Floats]:
        """Utilities `[n]` of the first responses and of the second; equal ones are a tie."""
        ...

    def check(self) -> None:
        """See `Writer`."""

    def report(self) -> dict[str, Any] | None:
        """See `Writer`."""
        return None


# --- prompts ----------------------------------------------------------------------------------------------

PROMPT_COLUMNS = ("prompt", "instruction", "user_input", "question", "text")


def read_prompts(path: str) -> list[str]:
    """Prompts of a file: a line each, or the first of `PROMPT_COLUMNS` in JSON, JSONL, CSV or parquet.

    Raises:
        UserError: the file is missing, of another kind or damaged, or has no such column.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"prompts file '{path}' does not exist: name one with a prompt a line, or a table.")
    try:
        if file.suffix == ".txt":
            lines = read_text(file, DATA_BYTES).splitlines()
            return [line.strip() for line in lines if line.strip()]
        if file.suffix == ".json":
            rows = read_json(file, DATA_BYTES)
            columns: Any = {name: [row[name] for row in rows] for name in rows[0]}
        else:
            columns = read_columns(file, "prompts")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"prompts file '{path}' cannot be read ({message_or_type(error)}): name another file."
        ) from None
    named = [name for name in PROMPT_COLUMNS if name in columns]
    if not named:
        raise UserError(
            f"prompts file '{path}' has none of the columns {', '.join(PROMPT_COLUMNS)}: rename the one "
            "with prompts."
        )
    prompts = columns[named[0]]
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise UserError(
            f"prompts file '{path}': column {named[0]} holds something else than text: write it as text."
        )
    return [prompt for prompt in prompts if prompt.strip()]


# --- a writer on a server ---------------------------------------------------------------------------------

WRITER_VERSION = 1


@dataclass(frozen=True)
class ServerWriter(Writer):
    """A model on a server, whose answers are cached by what was asked.

    Attributes:
        server: where the model is; give it `role="writer"` so that messages name the right options.
        temperature: of sampling, 0 or more. One prompt has one answer, also above 0.
        max_tokens: of an answer; longer ones are cut there.
    """

    server: Server
    temperature: float = 0.0
    max_tokens: int = 512
    _answers: dict[str, KeptAnswer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2 or self.max_tokens < 1:
            raise UserError("a writer needs a temperature from 0 to 2 and max_tokens of 1 or more.")

    @property
    def name(self) -> str:
        """Version, model, temperature and token limit; neither address nor key."""
        return (
            f"server_writer/{WRITER_VERSION}:{self.server.model}:temperature={float(self.temperature)!r}:"
            f"max_tokens={self.max_tokens}"
        )

    def check(self) -> None:
        """See `Server.check`."""
        self.server.check()

    def write(self, prompts: Sequence[str]) -> list[str]:
        """An answer to each prompt, which is sent as it is; nothing where the model refused.

        Raises:
            PrefbenchError: the server failed for good; answers so far are kept.
            UserError: the key or the model is not accepted.
        """
        questions = [self._question(prompt) for prompt in prompts]

        def done(key: str, answer: KeptAnswer, _is_new: bool) -> None:
            self._answers[key] = answer

        answers = self.server.gather(questions, done)
        return [answers[question.key].text for question in questions]

    def _question(self, prompt: str) -> Question:
        async def ask(chat: Chat) -> KeptAnswer:
            reply = await chat.send(prompt, self.temperature, self.max_tokens)
            if reply.finish == "refused":
                return KeptAnswer.of("", "refused", [reply])
            return KeptAnswer.of(reply.text, "cut" if reply.finish == "length" else "ok", [reply])

        return Question(digest([self.name, prompt]), ask)

    def report(self) -> dict[str, Any]:
        """Counts of this writer so far: `answers`, `refused`, `cut` at the limit, and those of `totals`."""
        answers = list(self._answers.values())
        return {
            "answers": len(answers),
            "refused": sum(answer.status == "refused" for answer in answers),
            "cut": sum(answer.status == "cut" for answer in answers),
            **totals(self.server, answers),
        }


# --- the data ---------------------------------------------------------------------------------------------


class _Questions(NamedTuple):
    """The prompts, personas and pairs to answer, checked."""

    prompts: tuple[str, ...]
    personas: dict[str, str]
    pairs: tuple[tuple[str, str], ...]


def generate(
    prompts: Sequence[str],
    personas: Mapping[str, str],
    writer: Writer,
    judge_factory: Callable[[str], Labeller],
    folder: Path,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> dict[str, Any]:
    """Have prompts answered under every persona's instruction, and the answers labelled by every persona.

    Each persona's judge sees the bare prompt and two answers, for each pair of personas in `pairs`. So for
    `p` prompts and all pairs of `k` personas each judge makes p k (k - 1) / 2 comparisons. Ties are left out
    and counted. Files appear in `folder` all at once. Until then answers are kept beside it, in a hidden
    folder that ends in `.partial`, and verdicts where the judges keep them: what was stopped continues.

    Args:
        prompts: what to answer; a prompt that comes twice counts once.
        personas: an instruction for each code; a code is also a file name.
        writer: who answers. A writer or judge that has a `check()` is checked before anything is written.
        judge_factory: makes the judge of an instruction, which is its criterion.
        folder: a new or empty folder, or one that this very call has made before, which is left as it is.
        pairs: codes of personas whose answers are compared; all pairs unless given.

    Returns:
        What `generation.json` holds.

    Raises:
        UserError: the arguments or the folder cannot be used.
        PrefbenchError: the writer or a judge failed.
    """
    plan = _plan(prompts, personas, pairs)
    folder = folder.absolute()
    judges = {code: judge_factory(instruction) for code, instruction in plan.personas.items()}
    key = digest(
        [
            _FORMAT,
            plan.prompts,
            list(plan.personas.items()),
            plan.pairs,
            writer.name,
            [judge.name for judge in judges.values()],
        ]
    )
    files = [f"{kind}/{code}.json" for kind in ("answers", "rm_training") for code in plan.personas]
    made = _existing(folder, key, files)
    if made is not None:
        return made
    writer.check()
    for judge in judges.values():
        judge.check()
    # Named by what goes into it, so that whatever lies there is of this call.
    partial = folder.with_name(f".{folder.name}.{key[:16]}.partial")
    answers = {
        code: _answers(partial / "answers" / f"{code}.json", writer, plan.prompts, instruction)
        for code, instruction in plan.personas.items()
    }
    labels: dict[str, dict[str, Any]] = {}
    for code, judge in judges.items():
        rows, ties = _label(judge, plan, answers)
        _write(partial / "rm_training" / f"{code}.json", rows)
        labels[code] = {"judge": judge.name, "rows": len(rows), "ties": ties, "report": judge.report()}
    made = {
        "format": _FORMAT,
        "key": key,
        "prefbench": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompts": len(plan.prompts),
        "repeated_prompts": len(prompts) - len(plan.prompts),
        "prompts_digest": text_digest(plan.prompts),
        "pairs": [list(pair) for pair in plan.pairs],
        "writer": {"name": writer.name, "report": writer.report()},
        "personas": {
            code: {"instruction": instruction, **labels[code]} for code, instruction in plan.personas.items()
        },
        "files": {name: checksum(partial / name) for name in files},
    }
    _write(partial / "generation.json", made)
    for leftover in partial.rglob("*.tmp"):
        leftover.unlink()
    with clear_disk_errors():
        if folder.is_dir():  # empty, or it would have been refused
            folder.rmdir()
        os.replace(partial, folder)
    return made


def _plan(
    prompts: Sequence[str], personas: Mapping[str, str], pairs: Sequence[tuple[str, str]] | None
) -> _Questions:
    distinct = tuple(dict.fromkeys(prompts))
    if not distinct or not all(prompt.strip() for prompt in distinct):
        raise UserError("generating needs prompts, none of them empty: give one a line.")
    for code in personas:
        if not _CODE.fullmatch(code):
            raise UserError(
                f"the persona code {code!r} cannot be a file name: use letters, digits and _ (64 at most)."
            )
    if len(personas) < 2 or len({code.lower() for code in personas}) < len(personas):
        raise UserError("generating needs two or more personas, whose codes differ by more than capitals.")
    empty = [code for code, instruction in personas.items() if not instruction.strip()]
    if empty:
        raise UserError(f"persona {empty[0]} has no instruction: say in words what it wants.")
    chosen = tuple(itertools.combinations(personas, 2)) if pairs is None else tuple((a, b) for a, b in pairs)
    for a, b in chosen:
        if a not in personas or b not in personas or a == b:
            raise UserError(
                f"the pair ({a}, {b}) is not of two different personas among {list(personas)}: name two of "
                "these."
            )
    if not chosen or len({frozenset(pair) for pair in chosen}) < len(chosen):
        raise UserError("pairs must name one pair of personas or more, each once.")
    return _Questions(distinct, dict(personas), chosen)


def _existing(folder: Path, key: str, files: Sequence[str]) -> dict[str, Any] | None:
    """The report of an earlier call with the same arguments, or None where nothing lies yet."""
    if not (folder.exists() or folder.is_symlink()) or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        made = read_json(folder / "generation.json", within=folder)
        if made["key"] == key and made["files"] == {name: checksum(folder / name) for name in files}:
            return dict(made)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(f"'{folder}' holds something else, or was altered: name a new folder, or remove it.")


def _answers(path: Path, writer: Writer, prompts: Sequence[str], instruction: str) -> list[str]:
    """The writer's answers under an instruction, from the file where an earlier call left them."""
    try:
        kept = [str(row["completion"]) for row in read_json(path, DATA_BYTES)]
        if len(kept) == len(prompts):
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        pass
    texts = writer.write([with_instruction(prompt, instruction) for prompt in prompts])
    if len(texts) != len(prompts):
        raise PrefbenchError(f"the writer gave {len(texts)} answers to {len(prompts)} prompts.")
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    _write(path, [{"user_input": p, "completion": t} for p, t in zip(prompts, texts, strict=True)])
    return texts


def _label(
    judge: Labeller, plan: _Questions, answers: Mapping[str, Sequence[str]]
) -> tuple[list[dict[str, str]], int]:
    """A persona's rows in the order of prompts and then of pairs, and how many ties were left out."""
    asked = [
        (prompt, answers[a][index], answers[b][index])
        for index, prompt in enumerate(plan.prompts)
        for a, b in plan.pairs
    ]
    first, second = judge.compare(
        [prompt for prompt, _, _ in asked], [a for _, a, _ in asked], [b for _, _, b in asked]
    )
    rows = []
    for (prompt, a, b), ours, theirs in zip(asked, first, second, strict=True):
        if ours != theirs:
            better, worse = (a, b) if ours > theirs else (b, a)
            rows.append({"user_input": prompt, "completion_a": better, "completion_b": worse})
    return rows, len(asked) - len(rows)


def _write(path: Path, value: Any) -> None:
    try:
        with clear_disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"'{path.parent}' cannot be written ({error.strerror}): name another folder."
        ) from None
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

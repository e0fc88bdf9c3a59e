"""Prompts and responses that are conversations: messages and transcripts as text.

A conversation of one message of the user's is that message. A longer one is written as HH-RLHF writes it, in
turns of `Human:` and `Assistant:` that end with an open `Assistant:`; a chat model's template takes both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from prefbench.data.comparisons import encodable

TURN = "\n\nAssistant:"
"""Beginning of an assistant's turn in a transcript."""
Turn = tuple[str, str]
"""Role (`user` or `assistant`) and content."""

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "model", "gpt", "bot", "chatbot"), "assistant"),
    "system": "system",
}


def turns_of(cell: object) -> list[Turn] | None:
    """The messages that a cell holds, as a list or as its JSON text; None where it holds none.

    A system message becomes the beginning of the user's message after it.

    Raises:
        ValueError: they are messages, and one has no known role or no text.
    """
    if isinstance(cell, str):
        cell = _parsed(cell)
    if not isinstance(cell, Sequence) or isinstance(cell, str) or not cell:
        return None
    if not all(isinstance(message, Mapping) and "role" in message for message in cell):
        return None
    turns: list[Turn] = []
    system = ""
    for message in cell:
        role, content = _ROLES.get(str(message["role"]).lower()), message.get("content")
        if role is None or not isinstance(content, str):
            raise ValueError(f"a message has the role {message['role']!r:.40} and {content!r:.40} as content")
        if role == "system":
            system += f"{encodable(content)}\n\n"
        else:
            turns.append((role, (system if role == "user" else "") + encodable(content)))
            system = "" if role == "user" else system
    return turns


def _parsed(text: str) -> object:
    if not text.lstrip().startswith("[{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def prompt_of(turns: Sequence[Turn]) -> str:
    """A conversation that waits for an answer, as a prompt.

    Raises:
        ValueError: the last word is not the user's.
    """
    if not turns or turns[-1][0] != "user":
        raise ValueError("the last message of a prompt is not the user's")
    if len(turns) == 1:
        return turns[0][1]
    said = "".join(f"\n\n{'Human' if role == 'user' else 'Assistant'}: {text}" for role, text in turns)
    return said + TURN


def response_of(text: str) -> str:
    """A response as what follows a prompt: it begins with white space."""
    return text if not text or text[0].isspace() else f" {text}"


def answer_of(turns: Sequence[Turn]) -> str:
    """The one message of the assistant's that a response is.

    Raises:
        ValueError: it is more than that.
    """
    if len(turns) != 1 or turns[0][0] != "assistant":
        raise ValueError("a response is more than one message of the assistant's")
    return turns[0][1]


def parted(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> tuple[str, str, str]:
    """The prompt that two whole conversations share, and the last answer of each.

    Raises:
        ValueError: they part before the last message, or that is not the assistant's.
    """
    if len(chosen) < 2 or list(chosen[:-1]) != list(rejected[:-1]):
        raise ValueError("chosen and rejected do not share all messages but the last")
    return prompt_of(chosen[:-1]), answer_of(chosen[-1:]), answer_of(rejected[-1:])


def last_turn(transcript: str) -> tuple[str, str]:
    """Everything up to and with the last `Assistant:`, and what follows; empty prompt where there is none."""
    # White space around a transcript says nothing: some files begin each with a blank line, others do not.
    before, turn, response = transcript.strip().rpartition(TURN)
    return before + turn, response

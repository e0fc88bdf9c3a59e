"""Text to token ids and back, the same way everywhere: plain, or in a model's chat template."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefbench.backbone.language import chat_template
from prefbench.backbone.language.tokens import Ids, Versions
from prefbench.errors import UserError
from prefbench.problem.problem import with_instruction
from prefbench.text import message_line

Message = dict[str, str]
"""`role` (user or assistant) and `content`, as chat templates take them."""
KNOWN_TOKENS = 1_000_000
"""Tokens of encoded texts that are remembered."""
_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")


def split_transcript(prompt: str) -> list[Message]:
    """The messages of a prompt: one of the user's, or the turns of a transcript that waits for an answer.

    A transcript is written as the HH-RLHF data are: turns that begin with "Human:" or "Assistant:" after a
    blank line, the first of them a human's, with or without an open "Assistant:" at the end. Empty turns are
    left out and neighbours of one role joined, so that user and assistant take turns and the user has the
    last word. Whatever is not such a transcript is one message, as it stands.
    """
    parts = _TURN.split(prompt.lstrip("\n"))
    turns: list[Message] = []
    for speaker, said in zip(parts[1::2], parts[2::2], strict=True):
        role, content = {"Human": "user", "Assistant": "assistant"}[speaker], said.strip()
        if not content:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{content}"
        else:
            turns.append({"role": role, "content": content})
    if parts[0] or not turns or turns[0]["role"] != "user" or turns[-1]["role"] != "user":
        return [{"role": "user", "content": prompt}]
    return turns


def end_of_turn(tokenizer: Any) -> int | None:
    """The token with which the chat template ends an assistant's message; None where it ends it otherwise."""
    marker = "prefbench"
    turns = [{"role": role, "content": marker} for role in ("user", "assistant")]
    after = _render(tokenizer, [turns], open_end=False)[0].rpartition(marker)[2].lstrip()
    ids = tokenizer([after], add_special_tokens=False)["input_ids"][0]
    known = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return int(ids[0]) if ids and ids[0] in known else None


def _render(tokenizer: Any, chats: Sequence[list[Message]], *, open_end: bool = True) -> list[str]:
    """Conversations in the tokenizer's chat template, with the head of the answer unless it is closed."""
    try:
        template = tokenizer.get_chat_template()
        texts = chat_template.render(template, chats, tokenizer.special_tokens_map, open_end=open_end)
    except (ValueError, TypeError) as error:
        why = message_line(error)
        raise UserError(
            f"the model's chat template cannot be applied ({why}): "
            "say --set model.chat_template=none to give prompts as plain text."
        ) from None
    return texts


@dataclass(frozen=True)
class Codec:
    """Text to tokens and back, the same way everywhere."""

    tokenizer: Any
    stops: frozenset[int]
    """Tokens that end a response."""
    response_tokens: int
    context: int
    """Longest sequence the model takes."""
    chat: bool = False
    """Prompts are messages, given to the model in the tokenizer's chat template."""
    end: int | None = None
    """Token written after a response; None takes the tokenizer's end of text, if it has one."""
    instructions: tuple[str, ...] = ()
    """Text before every prompt, for each of several models that read it in `Versions`; none for one model."""
    prefix: tuple[int, ...] = ()
    """Soft tokens before every prompt."""
    _known: dict[str, dict[str, Ids]] = field(
        default_factory=lambda: {"prompt": {}, "response": {}}, init=False, repr=False, compare=False
    )

    @property
    def room(self) -> int:
        """Longest prompt, in tokens."""
        return self.context - self.response_tokens

    def prompts(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of prompts, never empty, cut from the left where they leave no room for a response.

        In a chat the template stays whole: the oldest exchanges go first, then the start of the last message.

        Raises:
            UserError: the chat template cannot be applied, or fills the context by itself.
        """
        if not self.instructions:
            read = self._remembered("prompt", self._prompts, texts)
            return [[*self.prefix, *ids] for ids in read] if self.prefix else read
        told = [[with_instruction(text, said) for text in texts] for said in self.instructions]
        each = [self._remembered("prompt", self._prompts, put) for put in told]
        return [Versions(versions) for versions in zip(*each, strict=True)]

    def _remembered(
        self, kind: str, encode: Callable[[Sequence[str]], list[Ids]], texts: Sequence[str]
    ) -> list[Ids]:
        """The result of `encode` for each text, kept, as a run's pairs come again in every pass."""
        known = self._known[kind]
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encode(new), strict=True))
        result = [known[text] for text in texts]
        if new and sum(map(len, known.values())) > KNOWN_TOKENS:
            known.clear()
        return result

    def _prompts(self, texts: Sequence[str]) -> list[Ids]:
        if self.chat:
            return self._chats([split_transcript(text) for text in texts])
        filler = self.tokenizer.bos_token_id
        if filler is None:
            filler = next(iter(self.stops), 0)
        result: list[Ids] = []
        for ids in self.tokenizer(list(texts))["input_ids"]:
            # Some tokenizers end every text; a prompt is meant to go on.
            body = ids[:-1] if ids and ids[-1] in self.stops and len(ids) > 1 else ids
            result.append(body[-self.room :] or [filler])
        return result

    def _chats(self, chats: Sequence[list[Message]]) -> list[Ids]:
        """Token ids of conversations that end with the user's message."""
        encoded = self._encode(chats)
        if not all(encoded):
            raise UserError(
                "the model's chat template makes nothing of a prompt: "
                "say --set model.chat_template=none to give prompts as plain text."
            )
        return [
            ids if len(ids) <= self.room else self._shortened(chat)
            for ids, chat in zip(encoded, chats, strict=True)
        ]

    def _encode(self, chats: Sequence[list[Message]], *, open_end: bool = True) -> list[Ids]:
        if not chats:
            return []
        texts = _render(self.tokenizer, chats, open_end=open_end)
        first = self.tokenizer.bos_token
        # Some templates write the beginning-of-text token, others leave it to the tokenizer.
        bare = first is not None and texts[0].startswith(first)
        result: list[Ids] = []
        for text, ids in zip(
            texts, self.tokenizer(texts, add_special_tokens=not bare)["input_ids"], strict=True
        ):
            added = not bare and ids and ids[-1] in self.stops
            if added and not text.endswith(self.tokenizer.convert_ids_to_tokens(ids[-1])):
                ids = ids[:-1]
            result.append(ids)
        return result

    def _shortened(self, turns: list[Message]) -> Ids:
        """Token ids of as much of the end of a conversation as fits."""
        while len(turns) > 1:
            turns = turns[2:]
            ids = self._encode([turns])[0]
            if len(ids) <= self.room:
                return ids
        text = turns[0]["content"]
        ids = self._encode([[{"role": "user", "content": ""}]])[0]
        if len(ids) > self.room:
            raise UserError(
                f"model.context={self.context} leaves no room for the model's chat template "
                f"({len(ids)} tokens) and {self.response_tokens} response tokens: raise it, or say "
                "--set model.chat_template=none."
            )
        low, high = 0, len(text)  # characters to leave out: more than `low - 1`, and `high` is enough
        while low < high:
            middle = (low + high) // 2
            tried = self._encode([[{"role": "user", "content": text[middle:]}]])[0]
            if len(tried) <= self.room:
                high, ids = middle, tried
            else:
                low = middle + 1
        return ids

    def responses(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of responses, with the end token where the length limit did not cut them off.

        In a chat they are what the template makes of an answer, without the blank that follows a speaker's
        name in a transcript.
        """
        return self._remembered("response", self._responses, texts)

    def _responses(self, texts: Sequence[str]) -> list[Ids]:
        last = self.tokenizer.eos_token_id if self.end is None else self.end
        end = [] if last is None else [last]
        said = [text.removeprefix(" ") for text in texts] if self.chat else list(texts)
        encoded = self.tokenizer(said, add_special_tokens=False)["input_ids"]
        if self.chat and self.end is not None:
            encoded = self._answers(said, encoded)
        return [(ids + end)[: self.response_tokens] for ids in encoded]

    def _answers(self, texts: list[str], alone: list[Ids]) -> list[Ids]:
        """Token ids of answers as they follow a prompt, where those are the same text as `alone`.

        A tokenizer of Llama's kind begins a text with another token when it stands alone.
        """
        question = {"role": "user", "content": "?"}
        head = self._encode([[question]])[0]
        chats = [[question, {"role": "assistant", "content": text}] for text in texts]
        result = []
        for text, ids, plain in zip(texts, self._encode(chats, open_end=False), alone, strict=True):
            body = ids[len(head) :] if ids[: len(head)] == head else []
            body = body[: body.index(self.end)] if self.end in body else plain
            same = self.tokenizer.decode(body).strip() == text.strip()
            result.append(body if same else plain)
        return result

    def decode(self, responses: Sequence[Ids]) -> list[str]:
        """Text of sampled responses, without the end token."""
        bodies = [ids[:-1] if ids and ids[-1] in self.stops else ids for ids in responses]
        decoded: list[str] = self.tokenizer.batch_decode(
            bodies, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

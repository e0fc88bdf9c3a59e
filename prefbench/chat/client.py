"""Messages to a server, and what it said to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import openai


_SECRET_CHARACTERS = 12  # characters; a shorter key keeps nobody out


def scrub(text: str, key: str) -> str:
    """`text` without the key, should a server send it back, and without what no UTF-8 file can hold.

    A made-up key, such as servers on this machine may ask for, can be a word of the text.
    """
    return utf8(text.replace(key, "[key]") if len(key) >= _SECRET_CHARACTERS else text)


def utf8(text: str) -> str:
    """The text with a question mark for whatever no server takes, such as half a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Reply(NamedTuple):
    """The server's answer."""

    text: str
    finish: str
    """`stop`, `length` where the limit of tokens cut it short, or `refused`."""
    retries: int
    prompt_tokens: int | None
    completion_tokens: int | None
    """Tokens of the answer; None where the server does not count."""
    model: str
    """The name under which the server answered, which may say more than the one asked for."""


class Chat:
    """Sends messages and texts to a server; shared by all workers."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, url_option: str, key: str) -> None:
        self._client = client
        self._model = model
        self._url_option = url_option
        self._key = key
        self._limit = "max_tokens"

    async def send(self, text: str, temperature: float, max_tokens: int) -> Reply:
        """The reply to one message, which begins a conversation of its own.

        Raises:
            openai.OpenAIError: the request failed, after all its retries where those could help.
        """
        return await self.converse([{"role": "user", "content": text}], temperature, max_tokens)

    async def converse(
        self,
        messages: Sequence[Mapping[str, str]],
        temperature: float,
        max_tokens: int,
        seed: int | None = None,
    ) -> Reply:
        """The reply to a conversation, of messages with a `role` and a `content`.

        Raises:
            openai.OpenAIError: the request failed, after all its retries where those could help.
        """
        import openai

        said: Any = [{**message, "content": utf8(message["content"])} for message in messages]
        more = {} if seed is None else {"seed": seed}
        limit = self._limit
        while True:
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._model,
                    messages=said,
                    temperature=temperature,
                    extra_body={limit: max_tokens, **more},
                )
            except openai.BadRequestError as error:
                if error.code == "content_filter":
                    return Reply("", "refused", 0, None, None, "")
                # Newer models of one provider know the limit only by its newer name, most servers by the old.
                if limit == "max_tokens" and (error.code, error.param) == ("unsupported_parameter", limit):
                    limit = self._limit = "max_completion_tokens"
                    continue
                raise
            return self._read(raw, "chat completion")

    async def complete(
        self, text: str, temperature: float, max_tokens: int, seed: int | None = None
    ) -> Reply:
        """The way in which the model continues a text.

        Raises:
            openai.OpenAIError: the request failed, after all its retries where those could help.
        """
        raw = await self._client.completions.with_raw_response.create(
            model=self._model,
            prompt=utf8(text),
            temperature=temperature,
            max_tokens=max_tokens,
            extra_body={} if seed is None else {"seed": seed},
        )
        return self._read(raw, "completion")

    def _read(self, raw: Any, what: str) -> Reply:
        from prefbench.chat.bounded import UnfitAnswer

        try:
            return self._reply(raw.parse(), raw.retries_taken, what)
        except (ValueError, RecursionError):
            raise UnfitAnswer("the answer is no JSON") from None

    def _reply(self, completion: Any, retries: int, what: str) -> Reply:
        from prefbench.chat.bounded import UnfitAnswer

        # The client checks no types: whatever a server sends comes through.
        choices: Any = getattr(completion, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        content = getattr(choice, "text", None) if message is None else getattr(message, "content", None)
        if message is None and content is None:
            raise UnfitAnswer(f"the answer is no {what}; does {self._url_option} lack a /v1?")
        finish = str(getattr(choice, "finish_reason", None) or "stop")
        if getattr(message, "refusal", None) or finish == "content_filter":
            finish = "refused"
        usage = getattr(completion, "usage", None)
        return Reply(
            scrub(content, self._key) if isinstance(content, str) else "",
            finish,
            retries,
            _count(getattr(usage, "prompt_tokens", None)),
            _count(getattr(usage, "completion_tokens", None)),
            scrub(str(getattr(completion, "model", None) or ""), self._key)[:200],
        )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**53 else None

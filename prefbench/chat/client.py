"""Single messages to a server, and what it said to them."""

from __future__ import annotations

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
    """The server's answer to one message."""

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
    """Sends single messages to a server; shared by all workers."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, role: str, key: str) -> None:
        self._client = client
        self._model = model
        self._role = role
        self._key = key
        self._limit = "max_tokens"

    async def send(self, text: str, temperature: float, max_tokens: int) -> Reply:
        """The reply to one message, which begins a conversation of its own.

        Raises:
            openai.OpenAIError: the request failed, after all its retries where those could help.
        """
        import openai

        from prefbench.chat.bounded import UnfitAnswer

        limit = self._limit
        while True:
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._model,
                    messages=[{"role": "user", "content": utf8(text)}],
                    temperature=temperature,
                    extra_body={limit: max_tokens},
                )
            except openai.BadRequestError as error:
                if error.code == "content_filter":
                    return Reply("", "refused", 0, None, None, "")
                # Newer models of one provider know the limit only by its newer name, most servers by the old.
                if limit == "max_tokens" and (error.code, error.param) == ("unsupported_parameter", limit):
                    limit = self._limit = "max_completion_tokens"
                    continue
                raise
            try:
                return self._reply(raw.parse(), raw.retries_taken)
            except (ValueError, RecursionError):
                raise UnfitAnswer("the answer is no JSON") from None

    def _reply(self, completion: Any, retries: int) -> Reply:
        from prefbench.chat.bounded import UnfitAnswer

        # The client checks no types: whatever a server sends comes through.
        choices: Any = getattr(completion, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        if message is None:
            raise UnfitAnswer(f"the answer is no chat completion; does {self._role}_url lack a /v1?")
        content = getattr(message, "content", None)
        finish = str(getattr(choices[0], "finish_reason", None) or "stop")
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

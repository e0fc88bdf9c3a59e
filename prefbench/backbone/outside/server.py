"""Policies behind a server that speaks the OpenAI-compatible protocol.

Every response is a question of its own with a seed of its own, kept by all that it depends on: a run that was
stopped, or whose server failed, asks for the rest only, and a second run pays for nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.backbone.language.codec import split_transcript
from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.chat.answers import KeptAnswer, Question
from prefbench.chat.client import Chat
from prefbench.chat.server import Server, totals
from prefbench.errors import UserError
from prefbench.learn.interface import Policy
from prefbench.registry import suggest
from prefbench.spec import digest
from prefbench.store.progress import Reporter

if TYPE_CHECKING:
    from prefbench.backbone.outside.kinds import ServerOptions

FOLDER = "responses"
"""Folder of kept answers, within the runs folder."""
SEEDS = 2**31
"""Servers take seeds below this."""


@dataclass(frozen=True)
class ServerPolicy(Policy):
    """A model that is asked over the network."""

    server: Server
    chat: bool
    """Prompts are messages; else texts to continue."""
    temperature: float
    max_tokens: int
    reporter: Reporter

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt, each with a seed that depends on the draw, the prompt and its number.

        Raises:
            JudgeFailed: the server failed for good; the responses so far are kept.
            UserError: it does not accept the key, or answers as another model.
        """
        asked = self._questions(prompts, n, draw)

        def progress(done: int, total: int) -> None:
            self.reporter.step("samples", done, total, {})

        answers = self.server.gather(asked, lambda key, answer, new: None, progress)
        texts = [answers[question.key].text for question in asked]
        return [texts[start : start + n] for start in range(0, len(texts), n)]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """None: a server tells at most the probabilities of its own tokens."""

    def save(self, folder: Any) -> None:
        """Nothing: it is named by its address, its model and its options."""

    def usage(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> Mapping[str, Any] | None:
        """Sums over the responses, whenever they were asked for; None where one is not kept any more."""
        keys = {question.key for question in self._questions(prompts, n, draw)}
        kept = self.server.kept(keys)
        if len(kept) < len(keys):
            return None
        cut = sum(answer.status == "cut" for answer in kept.values())
        return {**totals(self.server, kept.values()), "cut": cut}

    def _questions(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[Question]:
        drawn = [str(draw.entropy), *map(str, draw.spawn_key)]
        return [
            self._question(prompt, int(digest([*drawn, prompt, number])[:12], 16) % SEEDS)
            for prompt in prompts
            for number in range(n)
        ]

    def _question(self, prompt: str, seed: int) -> Question:
        said = split_transcript(prompt) if self.chat else prompt
        asked = [self.server.base_url, self.server.model, said, self.temperature, self.max_tokens, seed]

        async def ask(chat: Chat) -> KeptAnswer:
            if isinstance(said, str):
                reply = await chat.complete(said, self.temperature, self.max_tokens, seed)
            else:
                reply = await chat.converse(said, self.temperature, self.max_tokens, seed)
            self._refuse_another(reply.model)
            status = {"refused": "refused", "length": "cut"}.get(reply.finish, "ok")
            return KeptAnswer.of(reply.text, status, [reply])

        return Question(digest(asked), ask)

    def _refuse_another(self, model: str) -> None:
        """Refuse an answer by another model; one provider adds a date to the name, others drop a folder."""
        asked, said = self.server.model.casefold(), model.casefold()
        if said and asked not in said and said not in asked:
            raise UserError(
                f"the policy at {self.server.base_url} was asked for the model {self.server.model!r} and "
                f"answers as {model!r}: name that one with --set policy.model, or mend the server."
            )


def open_server(request: PolicyRequest, options: ServerOptions) -> Outside:
    """The policy behind an address, once the server has said that it serves the model.

    Raises:
        UserError: one line on why it cannot be asked.
    """
    server = Server(
        base_url=request.source,
        model=options.model or "none",
        cache=request.store.root.parent / FOLDER,
        concurrency=options.concurrency,
        timeout=options.timeout,
        retries=options.retries,
        prompt_price=options.prompt_price,
        completion_price=options.completion_price,
        role="policy",
    )
    server = replace(server, model=_served(server, options.model))
    chat = request.problem.chat if options.api == "auto" else options.api == "chat"
    tokens = options.max_tokens or request.problem.response_tokens
    policy = ServerPolicy(server, chat, options.temperature, tokens, request.store.reporter)
    return Outside(
        policy,
        identity={"url": server.base_url, "model": server.model, "chat": chat, "max_tokens": tokens},
        no_kl="a server tells no log-probabilities of whole responses",
        usage=policy.usage,
    )


def _served(server: Server, wanted: str | None) -> str:
    """The model that will be asked for: the one that is wanted, or the only one.

    Raises:
        UserError: the server does not serve it, or serves several and none is named.
    """
    listed = server.check()
    if listed is None:
        if wanted is None:
            raise UserError(
                f"the policy at {server.base_url} does not list its models: name one with --set policy.model."
            )
        return wanted
    if wanted is None and len(listed) > 1:
        raise UserError(
            f"the policy at {server.base_url} serves {len(listed)} models, such as {listed[0]!r}: name one "
            "with --set policy.model."
        )
    if wanted is not None and wanted not in listed:
        raise UserError(
            f"the policy at {server.base_url} does not serve the model {wanted!r}.{suggest(wanted, listed[:20])}"
        )
    return wanted or listed[0]

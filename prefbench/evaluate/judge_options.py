"""Options by which a task names a language model as judge, and the judge that they make."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from prefbench.chat.server import TIMEOUT_SECONDS, Server
from prefbench.errors import UserError
from prefbench.evaluate.judge import Judge
from prefbench.registry import Options

VERDICTS = Path("verdicts")
"""Folder of a judge's answers, within the runs folder."""


class JudgeOptions(Options):
    """Options of tasks whose measure may be a language model on a server."""

    judge_url: str = "http://127.0.0.1:8000/v1"
    """Address of the judge's OpenAI-compatible server."""
    judge_model: str | None = None
    """The judge's name on that server."""
    judge_key_env: str | None = None
    """Environment variable that holds the judge's key; only on the command line. Records do not name it."""
    judge_concurrency: int = Field(8, ge=1)
    """Requests at a time, at the most; fewer while the server is slow."""
    judge_timeout: float = Field(TIMEOUT_SECONDS, gt=0, le=86400)
    """Seconds that a server, also a writer's, may take for one answer."""
    judge_max_tokens: int = Field(256, ge=1)
    """Longest answer of the judge; one that thinks first needs thousands."""
    judge_prompt_price: float | None = Field(None, ge=0)
    """Price of a million tokens sent to the judge, for the cost in the record."""
    judge_completion_price: float | None = Field(None, ge=0)
    """Price of a million tokens that the judge writes."""

    def judge(self, wish: str, kept: Path = VERDICTS) -> Judge:
        """The judge of a wish in words.

        Args:
            wish: what the person wants.
            kept: the folder of answers.

        Raises:
            UserError: no model is named, or the server's options do not fit.
        """
        if self.judge_model is None:
            raise UserError(
                "a judge needs a model: set task.judge_model to its name on the server at judge_url."
            )
        server = Server(
            self.judge_url,
            self.judge_model,
            kept,
            concurrency=self.judge_concurrency,
            timeout=self.judge_timeout,
            prompt_price=self.judge_prompt_price,
            completion_price=self.judge_completion_price,
        )
        return Judge(server, wish, self.judge_max_tokens)

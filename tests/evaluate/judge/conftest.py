"""What every test of the judge gets: a server on loopback, and judges that ask it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefbench.chat.server import Server
from prefbench.evaluate.judge import Judge
from support.judge_server import MODEL, JudgeServer, prefers, serving


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own back-off, from half a second up, is too patient for a test."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with serving(prefers(len)) as state:
        yield state


@pytest.fixture
def make(server: JudgeServer, tmp_path: Path) -> Callable[..., Judge]:
    """A judge at the test's server; options of the server and of the judge."""

    def judge(criterion: str = "long answers", max_tokens: int = 256, **options) -> Judge:
        chosen = {"base_url": server.url, "model": MODEL, "cache": tmp_path / "cache"} | options
        return Judge(Server(**chosen), criterion, max_tokens)

    return judge

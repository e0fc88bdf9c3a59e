"""What tests of policies behind servers get."""

import pytest

from support.judge_server import serving


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own back-off, from half a second up, is too patient for a test."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)


@pytest.fixture
def server():
    with serving(lambda message: f"a joy , {len(message)} .") as state:
        yield state

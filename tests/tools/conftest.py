"""What tests of tools share: a hub that is nobody's."""

import types

import pytest

from prefbench.tools import hub as hub_module


class Hub:
    """Stands in for huggingface_hub, and remembers what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict]] = []
        self.error = error

    def module(self) -> types.ModuleType:
        module = types.ModuleType("huggingface_hub")
        module.HfApi = lambda: self  # type: ignore[attr-defined]
        return module

    def create_repo(self, repo, **more):
        if self.error is not None:
            raise self.error
        self.calls.append(("create_repo", {"repo": repo, **more}))
        return f"https://hub.example/{more['repo_type']}s/{repo}"

    def upload_folder(self, **more):
        self.calls.append(("upload_folder", more))


@pytest.fixture
def hub(monkeypatch):
    def use(error=None):
        made = Hub(error)
        monkeypatch.setattr(hub_module, "_hub", made.module)
        return made

    return use

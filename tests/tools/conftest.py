"""What tests of tools share: a hub that is nobody's."""

import types

import pytest

from prefbench.tools import hub as hub_module


class Hub:
    """Stands in for huggingface_hub, and remembers what it was asked."""

    def __init__(
        self, error: Exception | None = None, *, there: bool | None = None, offline: bool = False
    ) -> None:
        self.calls: list[tuple[str, dict]] = []
        self.error = error
        self.private = there
        """Whether what is there already is private; none where nothing is."""
        self.offline = offline

    def module(self) -> types.ModuleType:
        module = types.ModuleType("huggingface_hub")
        module.HfApi = lambda: self  # type: ignore[attr-defined]
        module.constants = types.SimpleNamespace(HF_HUB_OFFLINE=self.offline)  # type: ignore[attr-defined]
        return module

    def create_repo(self, repo, **more):
        if self.error is not None:
            raise self.error
        self.calls.append(("create_repo", {"repo": repo, **more}))
        if self.private is None:
            self.private = more["private"]
        return f"https://hub.example/{more['repo_type']}s/{repo}"

    def repo_info(self, repo, repo_type):
        return types.SimpleNamespace(private=self.private)

    def upload_folder(self, **more):
        self.calls.append(("upload_folder", more))


@pytest.fixture
def hub(monkeypatch):
    def use(error=None, **more):
        made = Hub(error, **more)
        monkeypatch.setattr(hub_module, "_hub", made.module)
        return made

    return use

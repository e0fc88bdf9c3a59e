"""What trackio and wandb are called with."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import constants

from prefbench.tracking.to_wandb import QUIET
from prefbench.tracking.trackers import TRACKERS, tracker_of

CONFIG = {"task": "bandit", "task.annotators": 6}


def told(name: str, status: str = "ok") -> str:
    """The sentence of a tracker that was told of a run."""
    tracker = tracker_of(name)
    where = tracker.started("a-run", "a group", CONFIG)
    tracker.logged(1, {"policy/kl": 0.5})
    tracker.logged(2, {"policy/kl": 0.25})
    tracker.finished(status, {"gap": 0.1})
    return where


def test_wandb_is_offline_for_who_is_not_logged_in(wandb: Any) -> None:
    assert told("wandb") == "wandb keeps its figures here: wandb sync wandb/offline-run"
    (made,) = wandb.calls("init")
    assert made["mode"] == "offline" and made["project"] == "prefbench"
    assert (made["name"], made["group"], made["config"]) == ("a-run", "a group", CONFIG)
    assert made["settings"] == dict(QUIET) and made["settings"]["console"] == "off"
    steps = wandb.calls("log")
    assert [(call["step"], call["figures"]) for call in steps] == [
        (1, {"policy/kl": 0.5}),
        (2, {"policy/kl": 0.25}),
    ]
    assert wandb.calls("summary")[0]["figures"] == {"status": "ok", "gap": 0.1}
    assert wandb.calls("finish")[0]["exit_code"] == 0


def test_wandb_is_what_the_user_says(wandb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOGGED_IN", "1")
    assert told("wandb", "diverged") == "wandb has its figures: https://wandb.example/run"
    monkeypatch.delenv("FAKE_LOGGED_IN")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    told("wandb")
    first, second = wandb.calls("init")
    assert first["mode"] is None and second["mode"] is None and second["project"] == "mine"
    assert wandb.calls("finish")[0]["exit_code"] == 1


def test_trackio_stays_here_and_asks_nobody(
    trackio: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert told("trackio") == "trackio keeps its figures: trackio show --project prefbench"
    made, *logged, _ = trackio.calls()
    assert made["hub_is_asked"] is False and constants.HF_HUB_OFFLINE is False
    assert (made["name"], made["group"], made["config"]) == ("a-run", "a group", CONFIG)
    assert made["private"] is True and made["embed"] is False
    assert made["auto_log_cpu"] is False and made["auto_log_gpu"] is False
    assert "space_id" not in made
    assert [call["step"] for call in logged] == [1, 2, None]
    assert logged[-1]["figures"] == {"status": "ok", "gap": 0.1}
    assert "Trackio project" not in capsys.readouterr().out


def test_a_space_of_the_users_own_is_asked(trackio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/board")
    told("trackio")
    assert trackio.calls("init")[0]["hub_is_asked"] is True


def test_the_options_name_every_tracker() -> None:
    from typing import get_args

    from prefbench.cli.options import Track
    from prefbench.tracking.trackers import TrackerName

    named = get_args(get_args(get_args(Track)[0])[0])
    assert set(TRACKERS) == set(named) == set(get_args(TrackerName))

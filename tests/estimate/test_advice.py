"""Does it fit: what is refused and what would make it fit, on devices that are known and others."""

import dataclasses
import re

import pytest

from prefbench.backbone.shapes import SHAPES
from prefbench.errors import UserError
from prefbench.estimate import advice, estimate, hardware
from prefbench.estimate.hardware import HARDWARE
from prefbench.estimate.setting import shape_of
from prefbench.machine import MACHINE
from prefbench.problem.problem import Problem
from support.estimated import problem, spec


def long_problem() -> Problem:
    return problem(response_tokens=400)


def require(gigabytes, **sets):
    return advice.require(spec(**sets), SHAPES["tulu2-7b"], long_problem(), gigabytes * 1e9, "so much memory")


def test_a_run_that_cannot_fit_is_refused_with_what_would_make_it_fit():
    assert require(80) is None
    with pytest.raises(UserError) as refused:
        require(12)
    assert re.fullmatch(
        r"this run needs about 1\d\.\d GB even with one response at a time, and there are so much memory: "
        r"set model\.quantise=4bit \(\d\.\d GB\) \(docs/faq\.md#not-enough-memory\)\.",
        str(refused.value),
    )
    with pytest.raises(UserError, match=r"set model\.lora=true \(1\d\.\d GB\) \(docs"):
        require(80, model={"lora": False})
    with pytest.raises(UserError, match=r"set model\.lora=true and model\.quantise=4bit \(\d\.\d GB\) \("):
        require(12, model={"lora": False})
    with pytest.raises(
        UserError, match=r"take a smaller model or a larger device \(model\.quantise=4bit.*still"
    ):
        require(2)


def test_a_run_that_fits_in_parts_is_let_through_with_a_word():
    wide = {"model": {"gradient_checkpointing": False}}
    note = require(70, **wide)
    assert note is not None
    assert "\n" not in note
    assert note.startswith("training a reward (rewards by EM) needs about ")
    assert "it will be done in smaller parts" in note
    assert "set model.gradient_checkpointing=true (" in note
    found = estimate.estimate(spec(**wide), SHAPES["tulu2-7b"], long_problem())
    assert [found.fits(size * 1e9) for size in (1000, 70, 10)] == ["fits", "fits in parts", "does not fit"]


LARGE = {"gradient_checkpointing": False, "lora": False, "dtype": "float32", "steps": 1}


def test_every_advice_is_an_option_that_exists_and_is_estimated_with_it():
    plain = spec(model=LARGE, task={"response_tokens": 400})
    before = estimate.estimate(plain, SHAPES["tulu2-7b"], long_problem())
    changes = {change.words: change for change in advice._changes(plain, long_problem())}
    assert changes.keys() == {
        "model.lora=true",
        "model.gradient_checkpointing=true",
        "model.dtype=bfloat16",
        "aligner.reward_batch=16",
        "aligner.minibatches=8",
        "model.batch=4",
        "task.response_tokens=200",
        "model.context=512",
    }
    for words, change in changes.items():
        section, _, option = words.partition(".")
        name, _, value = option.partition("=")
        said = {"model": dict(LARGE), "task": {"response_tokens": 400}}
        said.setdefault(section, {})[name] = value
        assert spec(**said).to_dict() == change.spec.to_dict()
        after = estimate.estimate(change.spec, SHAPES["tulu2-7b"], change.problem)
        assert after.peak <= before.peak
        if name not in ("context", "batch"):  # no row is as long as that, and texts are short
            assert after.passes != before.passes


def test_memory_is_checked_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(advice, "free_memory", lambda device: ("a small device", 12e9))
    with pytest.raises(
        UserError, match=r"and there are 12\.0 GB free on a small device: set model\.quantise"
    ):
        advice.check_memory(spec(), problem())
    monkeypatch.setattr(advice, "free_memory", lambda device: (MACHINE, 12e9))
    with pytest.raises(UserError, match=r"free on this machine: take a smaller model or a larger device"):
        advice.check_memory(spec(), problem())  # 4 bits need a GPU
    monkeypatch.setattr(advice, "free_memory", lambda device: ("a large device", 500e9))
    assert advice.check_memory(spec(), problem()) is None
    monkeypatch.setattr(advice, "free_memory", lambda device: ("who knows", None))
    assert advice.check_memory(spec(), problem()) is None


def test_a_small_or_unknown_model_is_not_looked_at(monkeypatch):
    def refuse(device):
        raise AssertionError("not to be asked")

    monkeypatch.setattr(advice, "free_memory", refuse)
    assert advice.check_memory(spec("nano"), problem()) is None
    unknown = dataclasses.replace(spec(), model="nobody/nothing")
    assert shape_of(unknown) is None
    assert advice.check_memory(unknown, problem()) is None


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA L40", None),
        ("this machine", None),
    ],
)
def test_hardware_is_known_by_the_drivers_name(driver, name):
    assert hardware.known_hardware(driver) == name


def test_hardware_that_is_not_known():
    with pytest.raises(UserError, match=r"unknown hardware 'h20'\. Did you mean 'h200'\?"):
        hardware.hardware_called("h20")
    assert hardware.hardware_called("h200") is HARDWARE["h200"]

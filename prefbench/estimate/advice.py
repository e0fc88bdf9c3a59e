"""The fit of a run into a device's memory, and the options that would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prefbench.backbone.shapes import Shape
from prefbench.errors import UserError
from prefbench.estimate.estimate import Estimate, estimate
from prefbench.estimate.setting import shape_of
from prefbench.machine import MACHINE, free_memory
from prefbench.spec import RunSpec
from prefbench.text import show_bytes

if TYPE_CHECKING:
    from prefbench.problem.problem import Problem


LEAST_PARAMETERS = 50_000_000
"""A smaller model fits wherever torch does, and is never made to wait for a check."""


def check_memory(spec: RunSpec, problem: Problem) -> str | None:
    """Refuse a run that its device has no room for, before anything is loaded.

    A small model is let through at once, and so is one whose sizes are not known.

    Returns:
        One line for the user where the run fits in smaller parts only.

    Raises:
        UserError: not even a single response fits; says which options make it fit.
    """
    shape = shape_of(spec)
    if shape is None or shape.parameters < LEAST_PARAMETERS:
        return None
    device, free = free_memory(spec.model_options.get("device", "auto"))
    if free is None:
        return None
    if device == MACHINE:  # `auto` found no GPU, which some advice would need
        spec = RunSpec(**{**vars(spec), "model_options": {**spec.model_options, "device": "cpu"}})
    return require(spec, shape, problem, free, f"{show_bytes(free)} free on {device}")


def require(spec: RunSpec, shape: Shape, problem: Problem, memory: float, place: str) -> str | None:
    """Refuse a run that does not fit into this many bytes.

    Args:
        spec: what is to be run.
        shape: of its model.
        problem: its problem.
        memory: bytes.
        place: what has them, in words.

    Returns:
        One line for the user where the run fits in smaller parts only.

    Raises:
        UserError: not even a single response fits; says which options make it fit.
    """
    found = estimate(spec, shape, problem)
    fits = found.fits(memory)
    if fits == "does not fit":
        advice = _advice(spec, shape, problem, lambda tried: tried.least, memory)
        raise UserError(
            f"this run needs about {show_bytes(found.least)} even with one response at a time, and there are "
            f"{place}: {advice} (docs/faq.md#not-enough-memory)."
        )
    if fits == "fits in parts":
        advice = _advice(spec, shape, problem, lambda tried: tried.peak, memory)
        return (
            f"{found.moment} needs about {show_bytes(found.peak)} at once, and there are {place}: it will be "
            f"done in smaller parts, with the same numbers but for rounding; or {advice}"
        )
    return None


@dataclass(frozen=True)
class _Change:
    """A run that may need less memory, and what was changed for it."""

    option: str
    value: Any
    spec: RunSpec
    problem: Problem

    @property
    def words(self) -> str:
        """The option in the words of `--set`."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.option}={value}"


def _advice(
    spec: RunSpec, shape: Shape, problem: Problem, measure: Callable[[Estimate], float], memory: float
) -> str:
    """Options that bring a measure of the estimate below the memory: each by itself, else together."""

    def tried(spec: RunSpec, problem: Problem) -> list[tuple[float, _Change]]:
        found = [(measure(estimate(c.spec, shape, c.problem)), c) for c in _changes(spec, problem)]
        return sorted(found, key=lambda pair: pair[0])

    alone = [
        f"{change.words} ({show_bytes(size)})" for size, change in tried(spec, problem) if size <= memory
    ]
    if alone:
        return f"set {' or '.join(alone[:3])}"
    size, together = measure(estimate(spec, shape, problem)), dict[str, str]()
    while size > memory:
        less, change = min(tried(spec, problem), key=lambda pair: pair[0])
        if less > 0.97 * size:
            break
        size, spec, problem = less, change.spec, change.problem
        together[change.option] = change.words
    named = " and ".join(together.values())
    if size <= memory:
        return f"set {named} ({show_bytes(size)})"
    still = f" ({named} would still leave {show_bytes(size)})" if named else ""
    return f"take a smaller model or a larger device{still}"


def _changes(spec: RunSpec, problem: Problem) -> Iterator[_Change]:
    """Changes that may need less memory, an option at a time."""

    def change(section: str, name: str, value: Any) -> _Change:
        options = {**getattr(spec, f"{section}_options"), name: value}
        changed = RunSpec(**{**vars(spec), f"{section}_options": options})
        stated = replace(problem, response_tokens=value) if section == "task" else problem
        return _Change(f"{section}.{name}", value, changed, stated)

    model, aligner = spec.model_options, spec.aligner_options
    if model.get("lora") is False:
        yield change("model", "lora", True)
    if model.get("gradient_checkpointing") is False:
        yield change("model", "gradient_checkpointing", True)
    if model.get("dtype") == "float32":
        yield change("model", "dtype", "bfloat16")
    quantisable = model.get("lora") and not model.get("steps") and model.get("device") != "cpu"
    if model.get("quantise") == "none" and quantisable:
        yield change("model", "quantise", "4bit")
    if aligner.get("reward_batch", 1) > 1:
        yield change("aligner", "reward_batch", aligner["reward_batch"] // 2)
    if aligner.get("minibatches", 0) < aligner.get("batch", 1) and "minibatches" in aligner:
        yield change("aligner", "minibatches", min(2 * aligner["minibatches"], aligner["batch"]))
    elif aligner.get("batch", 1) > 2:
        yield change("aligner", "batch", aligner["batch"] // 2)
    if model.get("steps") and model.get("batch", 1) > 1:
        yield change("model", "batch", model["batch"] // 2)
    if "response_tokens" in spec.task_options and problem.response_tokens >= 16:
        yield change("task", "response_tokens", problem.response_tokens // 2)
    if model.get("context", 0) // 2 > problem.response_tokens:
        yield change("model", "context", model["context"] // 2)

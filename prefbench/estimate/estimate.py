"""The needs of a run, before it starts: memory by part, tokens and arithmetic by stage, hours on a GPU.

Everything follows from the sizes of the model, the sizes of the problem and the options of the run; no weight
is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from prefbench import registry
from prefbench.backbone.shapes import Shape
from prefbench.estimate.hardware import HARDWARE, UTILISATION_SHARE, Hardware
from prefbench.estimate.memory import CONTEXT_BYTES, FRAGMENT_SHARE, lengths, memory
from prefbench.estimate.passes import CHARACTERS_PER_TOKEN, recipe_of, sizes_of, with_people, works_of
from prefbench.estimate.setting import ModelSetting, setting_of, shape_of
from prefbench.estimate.time import BANDWIDTH_SHARE, LAUNCH_SECONDS, flops, seconds
from prefbench.problem.people import refuse_lacking_people
from prefbench.problem.problem import Problem, without_test
from prefbench.spec import RunSpec, get_model, make_spec
from prefbench.work import Passes, Sizes

Fit = Literal["fits", "fits in parts", "does not fit"]


@dataclass(frozen=True)
class StageEstimate:
    """Tokens and arithmetic of a stage, at most."""

    name: str
    sampled: float
    """Tokens of responses that are drawn."""
    scored: float
    """Tokens of prompts and responses that go through a model without training it."""
    trained: float
    """Tokens of prompts and responses that are trained on, counted in every pass over them."""
    flops: float


@dataclass(frozen=True)
class Estimate:
    """The needs of a run."""

    parameters: int
    known: bool
    """The aligner's training is counted; of an aligner that does not declare its work it is not known."""
    memory: Mapping[str, float]
    """Bytes by part, at the moment of the peak."""
    moment: str
    """Moment of the peak, in words."""
    passes: Mapping[str, float]
    """Bytes in use in the largest pass of each kind."""
    least: float
    """Bytes of device memory with a single response in each pass, or the two of a pair."""
    stages: tuple[StageEstimate, ...]
    setting: ModelSetting
    sizes: Sizes
    works: tuple[Passes, ...]

    @property
    def peak(self) -> float:
        """Bytes of device memory, with passes as large as the options ask for."""
        return sum(self.memory.values())

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole run, at most."""
        return sum(stage.flops for stage in self.stages)

    def fits(self, memory: float) -> Fit:
        """One of `Fit`'s words for a device with this many bytes.

        A pass that runs out of memory is done again in halves (`backbone/language/memory.py`), which takes
        longer and changes no number but by rounding; so a run does not fit only where a single response
        does not.
        """
        if self.peak <= memory:
            return "fits"
        return "fits in parts" if self.least <= memory else "does not fit"

    def hours(self, hardware: Hardware) -> tuple[float, float]:
        """Least and most hours: EM may settle in its first round or take them all."""
        each = [(seconds(work, self.setting, self.sizes, hardware), work) for work in self.works]
        least = sum(time * work.fewest / work.rows for time, work in each)
        return least / 3600, sum(time for time, _ in each) / 3600

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form: bytes, tokens, FLOPs, hours."""
        hardware = {
            name: {
                "memory": device.memory,
                "fits": self.fits(device.memory),
                **dict(zip(("least_hours", "most_hours"), self.hours(device), strict=True)),
            }
            for name, device in HARDWARE.items()
        }
        return {
            "parameters": self.parameters,
            "aligner_known": self.known,
            "memory": {**self.memory, "peak": self.peak, "least": self.least},
            "peak_while": self.moment,
            "passes": dict(self.passes),
            "stages": [asdict(stage) for stage in self.stages],
            "flops": self.flops,
            "sizes": asdict(self.sizes),
            "assumed": assumptions(),
            "hardware": hardware,
        }


def assumptions() -> dict[str, float]:
    """The figures that are neither counted nor taken from a data sheet."""
    return {
        "characters_per_token": CHARACTERS_PER_TOKEN,
        "utilisation": UTILISATION_SHARE,
        "bandwidth_share": BANDWIDTH_SHARE,
        "seconds_per_layer_and_pass": LAUNCH_SECONDS,
        "context_bytes": CONTEXT_BYTES,
        "fragments": FRAGMENT_SHARE,
    }


def estimate(spec: RunSpec, shape: Shape, problem: Problem) -> Estimate:
    """The needs of a run in memory and arithmetic.

    Args:
        spec: what is to be run, on a language model.
        shape: of its model (`shape_of`).
        problem: as the task states it (`problem_of`).

    Returns:
        Upper bounds but for the figures of `assumptions`: responses are taken to be as long as they may be,
        every EM round to be needed, and no iteration of PPO to stop early.
    """
    setting = setting_of(spec, shape)
    wanted = spec.model_options.get("chat_template")
    sizes = sizes_of(problem, wanted == "model" or (wanted == "auto" and problem.chat))
    sizes = with_people(sizes, problem, registry.get("aligner", spec.aligner).sees, spec.seed)
    works = works_of(spec, sizes)
    parts = [(work, memory(work, setting, sizes)) for work in works]
    passes: dict[str, float] = {}
    for work, used in parts:
        label = _moment(work)
        passes[label] = max(passes.get(label, 0.0), sum(used.values()))
    # The first of equal ones: parts of the run come in order.
    largest, peak = max(parts, key=lambda part: sum(part[1].values()))
    return Estimate(
        parameters=shape.parameters,
        known=spec.outside is not None or registry.get("aligner", spec.aligner).work is not None,
        memory=peak,
        moment=_moment(largest) + ("" if largest.stage == "reference" else f" ({largest.stage})"),
        passes=passes,
        least=max(sum(memory(work, setting, sizes, work.unit).values()) for work in works),
        stages=tuple(_stages(works, setting, sizes)),
        setting=setting,
        sizes=sizes,
        works=tuple(works),
    )


def _moment(work: Passes) -> str:
    if work.kind == "sample":
        return "sampling"
    if work.stage == "reference":
        return "training the reference"
    verb = "scoring" if work.kind == "score" else "training"
    return f"{verb} {'a policy' if work.vocabulary else 'a reward'}"


def _stages(works: Sequence[Passes], setting: ModelSetting, sizes: Sizes) -> Iterator[StageEstimate]:
    for name in dict.fromkeys(work.stage for work in works):
        mine = [work for work in works if work.stage == name]
        tokens = dict.fromkeys(("sample", "score", "train"), 0.0)
        for work in mine:
            prompt, _, response = lengths(work, setting, sizes)
            if work.response is not None:
                response = min(response, work.response)
            tokens[work.kind] += work.rows * (response if work.kind == "sample" else prompt + response)
        total = sum(flops(work, setting, sizes) for work in mine)
        yield StageEstimate(name, tokens["sample"], tokens["score"], tokens["train"], total)


@dataclass(frozen=True)
class Tokens:
    """Tokens through models."""

    sampled: float
    """Tokens of responses that are drawn."""
    scored: float
    """Tokens that go through a model without training it."""
    trained: float
    """Tokens that are trained on, counted in every pass over them."""

    @property
    def total(self) -> float:
        """All of them, each counted once."""
        return self.sampled + self.scored + self.trained


def aligner_tokens(spec: RunSpec, problem: Problem) -> Tokens | None:
    """Tokens through models that an aligner's training takes, at most, by what it declares.

    A policy or a reward for each of K groups costs K. What the harness does around it, which is the same for
    all, is left out. None of an aligner that declares no work, and of a model whose sizes are not known.
    """
    shape, declared = shape_of(spec), registry.get("aligner", spec.aligner).work
    if shape is None or declared is None:
        return None
    sizes = sizes_of(problem)
    recipe = recipe_of(spec, sizes)
    declared(recipe)
    stages = list(_stages(recipe.works, setting_of(spec, shape), sizes))
    each = (sum(getattr(stage, name) for stage in stages) for name in ("sampled", "scored", "trained"))
    return Tokens(*each)


def problem_of(spec: RunSpec) -> Problem:
    """The problem of a specification, as its run would state it.

    Raises:
        UserError: its data cannot be read, or the ratio cannot be met.
    """
    function = registry.get("task", spec.task).function
    problem: Problem = function(spec.data, spec.minority_ratio, spec.seed, **spec.task_options)
    if spec.split == "validation":
        problem = without_test(problem)
    refuse_lacking_people(problem)
    return problem


def example(model: str) -> tuple[RunSpec | None, Estimate | None]:
    """A default run on a model, and what it needs: the learner that is shown first, on such a task.

    None where the model's sizes are not known, or where no task or no learner has a place.
    """
    if model == "pretrained" or get_model(model).backbone != "causal_lm":
        return None, None
    tasks = [entry for entry in registry.placed("task") if entry.backbone == "causal_lm"]
    learners = registry.placed("aligner", None)
    if not (tasks and learners):
        return None, None
    spec = make_spec(task=tasks[0].name, aligner=learners[0].name, model=model)
    shape = shape_of(spec)
    return spec, None if shape is None else estimate(spec, shape, problem_of(spec))

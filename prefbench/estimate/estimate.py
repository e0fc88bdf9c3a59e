"""What a run will need, before it starts: memory by part, tokens and arithmetic by stage, hours on a GPU.

Everything follows from the sizes of the model, the sizes of the problem and the options of the run; no weight
is loaded. The formulas of memory count what autograd keeps of the modules as transformers builds them, in
the manner of Korthikanti et al. 2022 (arXiv 2205.05198, section 4), with attention that keeps no scores
(SDPA) and norms in float32; `tests/test_estimate.py` holds them against models. Hours rest on assumed shares
of a data sheet's figures (`UTILISATION`, `BANDWIDTH_SHARE`, `LAUNCH_SECONDS`), not on measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefbench.backbone.shapes import SHAPES, Shape, shape_of_config
from prefbench.errors import UserError
from prefbench.estimate.passes import (
    CHARACTERS,
    RECIPES,
    ROWS_AT_ONCE,
    Sizes,
    Work,
    sizes_of,
    works_of,
)
from prefbench.files import read_json
from prefbench.machine import MACHINE, free_memory
from prefbench.spec import RunSpec
from prefbench.text import show_bytes, show_count, show_hours

if TYPE_CHECKING:
    from prefbench.problem.problem import Problem

EXAMPLE_TASK, EXAMPLE_ALIGNER = "imdb_two_group", "maxmin"
"""The run that a model's needs are shown for."""
LEAST_PARAMETERS = 50_000_000
"""A smaller model fits wherever torch does, and is never made to wait for a check."""
ADAPTER_BYTES = 4
"""Of an adapter's weight: peft keeps adapters in float32 whatever the weights under them are."""
ADAM_STATES = 2
"""AdamW keeps two moments of each trained weight, in its type."""
NF4_BYTES = 0.5 + 4 / 64
"""Of a weight in 4 bits: half a byte, and a float32 scale for each block of 64."""
TOKENS_AT_ONCE = 16384
"""Tokens in a pass, padding included, as there."""
CONTEXT_BYTES = 1.0e9
"""Assumed for what is no tensor of ours: the CUDA context, its kernels and their workspaces."""
FRAGMENTS = 0.05
"""Assumed share of a pass's memory that the allocator holds and cannot use."""
UTILISATION = 0.35
"""Assumed share of the peak rate that training and scoring reach."""
BANDWIDTH_SHARE = 0.5
"""Assumed share of the memory bandwidth that sampling reaches, which reads every weight for each token."""
LAUNCH_SECONDS = 1e-3
"""Assumed time that one layer takes at least in one pass: Python starts its kernels one by one."""


@dataclass(frozen=True)
class Hardware:
    """A GPU as its vendor's data sheet has it."""

    bfloat16: float
    """Dense tensor-core FLOP/s in bfloat16."""
    float32: float
    """FLOP/s in float32, without TF32, which torch does not use unless told to."""
    bandwidth: float
    """Bytes per second."""
    memory: float
    """Bytes, at 10^9 for a GB; the driver shows a little more."""


# NVIDIA's data sheets: H200 and H100 (SXM), A100 (SXM, 40 and 80 GB), L40S, and the Ada architecture's
# white paper for the GeForce RTX 4090. Dense rates, without structured sparsity.
HARDWARE: Mapping[str, Hardware] = {
    "h200": Hardware(989e12, 67e12, 4.8e12, 141e9),
    "h100-80gb": Hardware(989e12, 67e12, 3.35e12, 80e9),
    "a100-80gb": Hardware(312e12, 19.5e12, 2.039e12, 80e9),
    "a100-40gb": Hardware(312e12, 19.5e12, 1.555e12, 40e9),
    "l40s": Hardware(362e12, 91.6e12, 0.864e12, 48e9),
    "rtx-4090": Hardware(165.2e12, 82.6e12, 1.008e12, 24e9),
}
"""What `--hardware` names."""


# --------------------------------------------------------------------------------- sizes of the model


@dataclass(frozen=True)
class Setting:
    """A model as a run holds and trains it."""

    shape: Shape
    bytes: int
    """Of a weight and of an activation: 4 in float32, 2 in bfloat16."""
    rank: int | None = None
    """Of the adapters; None where every weight is trained, in copies."""
    checkpointing: bool = False
    quantised: bool = False
    context: int = 1 << 30

    @property
    def queries(self) -> int:
        """Width of all heads together."""
        return self.shape.heads * (self.shape.head_width or self.shape.hidden // self.shape.heads)

    @property
    def keys(self) -> int:
        """Width of all key-value heads together."""
        return self.queries // self.shape.heads * self.shape.kv_heads

    @property
    def block(self) -> int:
        """Weights of a layer's matrices."""
        s = self.shape
        return 2 * s.hidden * (self.queries + self.keys) + (3 if s.gated else 2) * s.hidden * s.intermediate

    @property
    def adapter(self) -> int:
        """Weights of one set of adapters on every linear map but the output layer; 0 without adapters.

        A map from a to b takes rank (a + b). GPT-2 has one map for queries, keys and values together.
        """
        if self.rank is None:
            return 0
        s, q, k = self.shape, self.queries, self.keys
        if s.gated:
            ends = (s.hidden + q) + 2 * (s.hidden + k) + (q + s.hidden) + 3 * (s.hidden + s.intermediate)
        else:
            ends = (s.hidden + q + 2 * k) + (q + s.hidden) + 2 * (s.hidden + s.intermediate)
        return s.layers * self.rank * ends

    @property
    def trained(self) -> int:
        """Weights that one trained model has of its own."""
        return self.shape.parameters if self.rank is None else self.adapter

    @property
    def trained_bytes(self) -> int:
        """Of such a weight."""
        return self.bytes if self.rank is None else ADAPTER_BYTES

    @property
    def base_bytes(self) -> float:
        """Bytes of the reference's weights."""
        quantised = self.shape.layers * self.block if self.quantised else 0
        return quantised * NF4_BYTES + (self.shape.parameters - quantised) * self.bytes

    def kept(self, length: int) -> float:
        """Bytes that autograd keeps of one token in one layer, in a sequence of this length.

        With hidden size h, inner size i, queries' width q, A heads, e bytes and sequences of s tokens: inputs
        of the two norms, of the linear maps and of the MLP's products; queries, keys, values and output of
        the attention (4 q e, keys repeated for every query head), its log-sum-exp (4 A) and mask (s e). RMS
        norms compute in float32 and keep that. Frozen maps keep nothing of their inputs; their adapters
        keep a float32 copy each where the weights are not float32, and 4 bytes for each rank.
        """
        s, e, q = self.shape, self.bytes, self.queries
        copies = self.rank is not None and e != ADAPTER_BYTES
        if s.gated:
            norms = 2 * (4 * s.hidden + 4 + (e * s.hidden if self.rank is None else 0))
            inputs = (
                4 * (5 * s.hidden + q + s.intermediate) if copies else e * (2 * s.hidden + s.intermediate)
            )
            products, maps = 3 * e * s.intermediate, 7
        else:
            norms = 2 * (e * s.hidden + 2 * e)
            inputs = (
                4 * (2 * s.hidden + q + s.intermediate) if copies else e * (2 * s.hidden + s.intermediate)
            )
            products, maps = e * s.intermediate, 4
        attention = 4 * q * e + 4 * s.heads + length * e
        return norms + inputs + products + attention + maps * ADAPTER_BYTES * (self.rank or 0)

    def activations(self, tokens: int, length: int, all_states: bool) -> tuple[float, float]:
        """Bytes kept for the backward pass, and what it takes besides while it goes through a layer.

        Args:
            tokens: in the pass, padding included.
            length: of its rows.
            all_states: the states between layers are returned, as PPO's value head asks for.
        """
        s, e = self.shape, self.bytes
        trained = (2 if s.gated else 1) * e * s.hidden if self.rank is None else 0
        last = (4 if s.gated else e) * s.hidden + trained  # the last norm and the output layer
        layer = self.kept(length)
        if self.checkpointing:
            copies = self.rank is not None and e != ADAPTER_BYTES
            gradients = s.intermediate * (e + (ADAPTER_BYTES if copies else 0))
            inputs = s.layers * e * s.hidden + length  # of the blocks, and a byte of mask for each column
            return tokens * (inputs + last), tokens * (layer + gradients)
        # Norms in float32 of bfloat16 states keep their own copy, so that the states are extra.
        states = s.layers * e * s.hidden if all_states and s.gated and e != 4 else 0
        return tokens * (s.layers * layer + last + states), 0.0

    def inside(self, tokens: int, adapted: bool) -> float:
        """Bytes in use inside a layer where nothing is kept for a backward pass.

        An adapter that is switched on computes in float32: its own output, and the sum with the layer's.
        """
        s, e = self.shape, self.bytes
        wide = (3 if s.gated else 2) * e * s.intermediate
        if adapted and s.gated and self.rank is not None:
            wide = max(wide, (2 * e + 8) * s.intermediate)
        return tokens * float(4 * e * s.hidden + wide)

    def forward(self, tokens: float, length: float, vocabulary: bool) -> float:
        """FLOPs: two for each weight and token, 4 q s for attention over s tokens, two for each logit's h."""
        s = self.shape
        logits = 2 * s.hidden * s.vocabulary if vocabulary else 0
        return tokens * (s.layers * (2 * self.block + 4 * self.queries * length) + 2 * self.adapter + logits)

    def training(self, tokens: float, length: float, vocabulary: bool) -> float:
        """FLOPs of a forward and a backward pass.

        The backward pass takes two for each weight to pass gradients on, and two more for each trained one;
        attention's takes twice its forward. Checkpointing computes the layers once more, but for the last map
        of each where nothing after it keeps a tensor.
        """
        once = self.forward(tokens, length, vocabulary)
        again = self.forward(tokens, length, False) if self.checkpointing else 0.0
        if self.checkpointing and self.rank is None:
            again -= tokens * self.shape.layers * 2 * self.shape.hidden * self.shape.intermediate
        if self.rank is None:
            return 3 * once + again
        return 2 * once + again + tokens * (2 * self.adapter + self.shape.layers * 4 * self.queries * length)

    def cache(self, rows: int, length: float) -> float:
        """Bytes of keys and values of these rows in every layer."""
        return rows * length * 2 * self.shape.layers * self.keys * self.bytes


def setting_of(spec: RunSpec, shape: Shape) -> Setting:
    """How a specification's model is held and trained."""
    options = spec.model_options
    context = min(options.get("context", shape.positions), shape.positions)
    if spec.model == "nano":
        return Setting(shape, 4, context=context)
    return Setting(
        shape,
        2 if options.get("dtype") == "bfloat16" else 4,
        rank=options["lora_rank"] if options.get("lora") else None,
        checkpointing=bool(options.get("gradient_checkpointing")),
        quantised=options.get("quantise") == "4bit",
        context=context,
    )


def why_unknown(spec: RunSpec) -> str:
    """One sentence on why there is no estimate."""
    if "dtype" not in spec.model_options:
        return f"Nothing to estimate: model '{spec.model}' is no language model that is trained on a GPU."
    source = spec.model_options.get("path") or spec.model
    return (
        f"Nothing is known of the size of model '{source}' before it is loaded: it has no config.json of a "
        "GPT-2, Llama, Mistral or Qwen2 in its folder or in the hub's cache."
    )


def shape_of(spec: RunSpec) -> Shape | None:
    """The shape of a specification's model; None where its sizes cannot be known without loading it."""
    options = spec.model_options
    if spec.model == "nano":
        width = options["width"]
        sizes = (options["layers"], width, options["heads"], options["heads"], 4 * width)
        return Shape(*sizes, options["vocabulary"], options["context"], tied=True, gated=False, biases=True)
    if "dtype" not in options:
        return None
    source = options.get("path")
    return (
        SHAPES[spec.model] if source is None and spec.model in SHAPES else _read_shape(source or spec.model)
    )


def _read_shape(source: str) -> Shape | None:
    """Of a folder, or of a hub model whose config is in the hub's cache. Nothing is fetched."""
    file = Path(source).expanduser() / "config.json"
    if not file.is_file():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            found = try_to_load_from_cache(source, "config.json")
        except HFValidationError:
            return None
        if not isinstance(found, str):
            return None
        file = Path(found)
    try:
        config = read_json(file)
    except (OSError, ValueError):
        return None  # loading the model says what is wrong with it
    return shape_of_config(config) if isinstance(config, dict) else None


# --------------------------------------------------------------------------------------- the estimate


Fit = Literal["fits", "fits in parts", "does not fit"]


@dataclass(frozen=True)
class Stage:
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
    """What a run needs."""

    parameters: int
    known: bool
    """The aligner's training is counted; of an aligner that is not built in it is not known."""
    memory: Mapping[str, float]
    """Bytes by part, at the moment of the peak."""
    moment: str
    """When that is."""
    passes: Mapping[str, float]
    """Bytes in use in the largest pass of each kind."""
    least: float
    """Bytes of device memory with a single response in each pass, or the two of a pair."""
    stages: tuple[Stage, ...]
    setting: Setting
    sizes: Sizes
    works: tuple[Work, ...]

    @property
    def peak(self) -> float:
        """Bytes of device memory, with passes as large as the options ask for."""
        return sum(self.memory.values())

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole run, at most."""
        return sum(stage.flops for stage in self.stages)

    def fits(self, memory: float) -> Fit:
        """Whether a device with this many bytes holds it.

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
        "characters_per_token": CHARACTERS,
        "utilisation": UTILISATION,
        "bandwidth_share": BANDWIDTH_SHARE,
        "seconds_per_layer_and_pass": LAUNCH_SECONDS,
        "context_bytes": CONTEXT_BYTES,
        "fragments": FRAGMENTS,
    }


def estimate(spec: RunSpec, shape: Shape, problem: Problem) -> Estimate:
    """What a run needs in memory and arithmetic.

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
        known=spec.aligner in RECIPES,
        memory=peak,
        moment=_moment(largest) + ("" if largest.stage == "reference" else f" ({largest.stage})"),
        passes=passes,
        least=max(sum(memory(work, setting, sizes, work.unit).values()) for work in works),
        stages=tuple(_stages(works, setting, sizes)),
        setting=setting,
        sizes=sizes,
        works=tuple(works),
    )


def _moment(work: Work) -> str:
    if work.kind == "sample":
        return "sampling"
    if work.stage == "reference":
        return "training the reference"
    verb = "scoring" if work.kind == "score" else "training"
    return f"{verb} {'a policy' if work.vocabulary else 'a reward'}"


def _lengths(work: Work, setting: Setting, sizes: Sizes) -> tuple[float, int, int]:
    """Mean and longest tokens before a response, and of a response."""
    response = min(sizes.response if work.response is None else work.response, setting.context - 1)
    room = max(1, setting.context - response)
    if work.prompt is not None:
        # A text of the corpus may fill the context.
        return work.prompt, round(work.prompt), setting.context - round(work.prompt)
    return min(sizes.prompt, room), min(sizes.longest_prompt, room), response


def memory(work: Work, setting: Setting, sizes: Sizes, most: int = ROWS_AT_ONCE) -> dict[str, float]:
    """Bytes by part at the largest moment of one pass of this work.

    The longest prompt is taken for every row of it.

    Args:
        work: what is done.
        setting: the model.
        sizes: of the problem.
        most: rows that the pass may have.
    """
    _, prompt, response = _lengths(work, setting, sizes)
    rows = min(_rows(work, prompt + response), most)
    own = setting.trained * setting.trained_bytes
    fixed = {
        "weights of the reference": setting.base_bytes,
        "adapters" if setting.rank is not None else "weights of trained copies": work.held * own,
        "heads": work.held * ADAPTER_BYTES * (setting.shape.hidden + 1),
        "moments of AdamW": ADAM_STATES * own if work.optimised else 0.0,
    }
    moments = {"train": _training, "score": _scoring, "sample": _sampling}[work.kind]
    passing = max(moments(work, setting, rows, prompt, response), key=lambda moment: sum(moment.values()))
    waste = {"context and fragments": CONTEXT_BYTES + FRAGMENTS * sum(passing.values())}
    return fixed | passing | waste


Moment = dict[str, float]
"""Bytes of what comes and goes within a pass."""


def _training(work: Work, setting: Setting, rows: int, prompt: int, response: int) -> Iterator[Moment]:
    length = prompt + response
    whole, row = _logits(setting, rows * length, rows * response)
    kept, layer = setting.activations(rows * length, length, work.all_states)
    gradients = float(setting.trained * setting.trained_bytes)
    # Of a batch in several parts the gradients of the first ones are there; else they come as activations go.
    waiting = gradients if work.batch > rows else 0.0
    if work.vocabulary:
        # The logits, and those of the responses twice in float32; then the log-softmax and two gradients.
        yield {"gradients": waiting, "activations": kept, "logits": max(whole + 8 * row, 12 * row)}
    yield {"gradients": waiting, "activations": kept + layer}
    # AdamW works out all denominators at once.
    yield {"gradients": 2 * gradients}


def _scoring(work: Work, setting: Setting, rows: int, prompt: int, response: int) -> Iterator[Moment]:
    length, shape = prompt + response, setting.shape
    tokens = rows * length
    state = tokens * setting.bytes * shape.hidden
    states = state * (shape.layers + 1) if work.all_states else state
    yield {"activations": states + setting.inside(tokens, work.held > 0)}
    if work.vocabulary:
        whole, row = _logits(setting, tokens, rows * response)
        together = _product(whole, work, setting) if work.product > 1 else whole
        yield {"activations": states, "logits": together + 8 * row}


def _sampling(work: Work, setting: Setting, rows: int, prompt: int, response: int) -> Iterator[Moment]:
    shape = setting.shape
    read = -(-rows // work.drawn)  # each prompt is read once
    whole, _ = _logits(setting, read * prompt, 0)
    if work.product > 1:
        whole = _product(whole, work, setting)
    drawing = 12.0 * rows * shape.vocabulary  # logits and probabilities in float32, and those in blocks
    first = setting.cache(read, prompt) * work.product
    yield {"activations": setting.inside(read * prompt, work.held > 0), "key-value cache": first}
    yield {"logits": whole + drawing, "key-value cache": first * rows / read}
    # A layer's longer cache is written before the shorter one goes.
    full = setting.cache(rows, prompt + response - 1) * work.product  # nothing follows the last token
    yield {"logits": drawing, "key-value cache": full * (1 + 1 / shape.layers)}


def _product(whole: float, work: Work, setting: Setting) -> float:
    """Bytes of the logits of models that are multiplied: each one's, and twice in float32."""
    return work.product * whole * (1 + 8 / setting.bytes)


def _logits(setting: Setting, tokens: int, predicted: int) -> tuple[float, float]:
    """Bytes of logits of these tokens; and their number for those that are predicted."""
    vocabulary = float(setting.shape.vocabulary)
    return setting.bytes * tokens * vocabulary, predicted * vocabulary


def _rows(work: Work, length: float) -> int:
    """Rows in a pass."""
    if work.kind == "sample":
        return work.batch
    allowed = max(1, int(TOKENS_AT_ONCE // length))
    return min(work.batch, allowed) if work.batch else allowed


def flops(work: Work, setting: Setting, sizes: Sizes) -> float:
    """Floating-point operations of this work, at most."""
    prompt, _, response = _lengths(work, setting, sizes)
    if work.response is not None:
        response = min(response, work.response)
    length = prompt + response
    count = setting.training if work.kind == "train" else setting.forward
    # A sampled token attends to those before it alone; elsewhere SDPA with a mask computes the whole square.
    attended = length / 2 if work.kind == "sample" else length
    return count(work.rows * length, attended, work.vocabulary)


def seconds(work: Work, setting: Setting, sizes: Sizes, hardware: Hardware) -> float:
    """Seconds of this work: by arithmetic, by memory traffic where it samples, and by kernels to start."""
    prompt, longest, response = _lengths(work, setting, sizes)
    rate = hardware.bfloat16 if setting.bytes == 2 else hardware.float32
    arithmetic = flops(work, setting, sizes) / (rate * UTILISATION)
    rows = _rows(work, longest + response)
    passes = work.rows / rows
    launch = setting.shape.layers * LAUNCH_SECONDS
    if work.kind == "sample":
        read = setting.base_bytes + setting.cache(rows, prompt + response / 2)
        step = max(read / (hardware.bandwidth * BANDWIDTH_SHARE), launch)
        return max(arithmetic, passes * response * step)
    each = 1 if work.kind == "score" else 4 if setting.checkpointing else 3
    return max(arithmetic, passes * each * launch)


def _stages(works: Sequence[Work], setting: Setting, sizes: Sizes) -> Iterator[Stage]:
    for name in dict.fromkeys(work.stage for work in works):
        mine = [work for work in works if work.stage == name]
        tokens = dict.fromkeys(("sample", "score", "train"), 0.0)
        for work in mine:
            prompt, _, response = _lengths(work, setting, sizes)
            if work.response is not None:
                response = min(response, work.response)
            tokens[work.kind] += work.rows * (response if work.kind == "sample" else prompt + response)
        total = sum(flops(work, setting, sizes) for work in mine)
        yield Stage(name, tokens["sample"], tokens["score"], tokens["train"], total)


# ---------------------------------------------------------------------------------------- does it fit


def problem_of(spec: RunSpec) -> Problem:
    """The problem of a specification, as its run would state it.

    Raises:
        UserError: its data cannot be read, or the ratio cannot be met.
    """
    from prefbench import registry
    from prefbench.problem.problem import apportion

    function = registry.get("task", spec.task).function
    problem: Problem = function(spec.data, spec.minority_ratio, spec.seed, **spec.task_options)
    apportion([group.share for group in problem.groups], problem.annotators)
    return problem


def example(model: str) -> tuple[RunSpec | None, Estimate | None]:
    """A default run on a model, and what it needs; none where the model's sizes are not known."""
    from prefbench import registry
    from prefbench.spec import get_model, make_spec

    known = {entry.name for entry in [*registry.entries("task"), *registry.entries("aligner")]}
    if not known >= {EXAMPLE_TASK, EXAMPLE_ALIGNER}:
        return None, None
    if model == "pretrained" or get_model(model).backbone != "causal_lm":
        return None, None
    spec = make_spec(task=EXAMPLE_TASK, aligner=EXAMPLE_ALIGNER, model=model)
    shape = shape_of(spec)
    return spec, None if shape is None else estimate(spec, shape, problem_of(spec))


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
            f"{place}: {advice}."
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
        """As the user would say it after `--set`."""
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
    """What may need less memory, an option at a time."""

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
    quantisable = model.get("lora") and not model.get("sft_steps") and model.get("device") != "cpu"
    if model.get("quantise") == "none" and quantisable:
        yield change("model", "quantise", "4bit")
    if aligner.get("reward_batch", 1) > 1:
        yield change("aligner", "reward_batch", aligner["reward_batch"] // 2)
    if aligner.get("minibatches", 0) < aligner.get("batch", 1) and "minibatches" in aligner:
        yield change("aligner", "minibatches", min(2 * aligner["minibatches"], aligner["batch"]))
    elif aligner.get("batch", 1) > 2:
        yield change("aligner", "batch", aligner["batch"] // 2)
    if model.get("sft_steps") and model.get("sft_batch", 1) > 1:
        yield change("model", "sft_batch", model["sft_batch"] // 2)
    if "response_tokens" in spec.task_options and problem.response_tokens >= 16:
        yield change("task", "response_tokens", problem.response_tokens // 2)
    if model.get("context", 0) // 2 > problem.response_tokens:
        yield change("model", "context", model["context"] // 2)


def hardware_called(name: str) -> Hardware:
    """The hardware of a name on the command line.

    Raises:
        UserError: there is none of that name.
    """
    from prefbench.registry import suggest

    if name not in HARDWARE:
        raise UserError(f"unknown hardware '{name}'.{suggest(name, HARDWARE)}")
    return HARDWARE[name]


def known_hardware(device: str) -> str | None:
    """The name in `HARDWARE` of a device as its driver calls it, such as `NVIDIA H100 80GB HBM3`."""
    words = device.lower().replace("-", " ").split()
    return next((name for name in HARDWARE if set(name.split("-")) <= set(words)), None)


# -------------------------------------------------------------------------------------- for a reader


def shape_line(shape: Shape) -> str:
    """A model's sizes in a sentence."""
    return (
        f"{show_count(shape.parameters)} weights: {shape.layers} layers, hidden size {shape.hidden}, "
        f"{shape.heads} heads ({shape.kv_heads} of keys and values), inner size {shape.intermediate}, "
        f"{shape.vocabulary} tokens, {shape.positions} positions"
    )


def here_line(found: Estimate, device: str, free: float | None) -> str:
    """What this machine makes of it."""
    if free is None:
        return f"Here ({device}): free memory not known."
    name = known_hardware(device)
    fits = found.fits(free)
    time = "" if name is None or fits == "does not fit" else f", {show_hours(*found.hours(HARDWARE[name]))}"
    hours = time if name is not None else ", time not estimated"
    return f"Here ({device}, {show_bytes(free)} free): {fits}{hours}."


def memory_rows(found: Estimate) -> list[list[str]]:
    """Parts that take any memory, their sizes and what they are."""
    setting, shape = found.setting, found.setting.shape
    kind = "4 bits" if setting.quantised else "bfloat16" if setting.bytes == 2 else "float32"
    held = found.memory.get("adapters", 0.0) or found.memory.get("weights of trained copies", 0.0)
    own = setting.trained * setting.trained_bytes
    notes = {
        "weights of the reference": f"{show_count(shape.parameters)} weights, {kind}, once for all",
        "adapters": f"{round(held / own)} of {show_count(setting.trained)} weights, float32",
        "weights of trained copies": f"{round(held / own)} of {show_count(setting.trained)} weights",
        "heads": "one number from the hidden state",
        "gradients": "of the model in training",
        "moments of AdamW": "two for each weight in training",
        "activations": "kept for the backward pass" + (", checkpointed" if setting.checkpointing else ""),
        "logits": f"of {show_count(shape.vocabulary)} tokens",
        "key-value cache": "of the rows that are sampled at once",
        "context and fragments": f"{show_bytes(CONTEXT_BYTES)} and {FRAGMENTS:.0%} of the pass, assumed",
    }
    if "training" not in found.moment:
        notes["activations"] = "inside a layer"
    rows = [[name, show_bytes(size), notes[name]] for name, size in found.memory.items() if size]
    return [*rows, ["peak", show_bytes(found.peak), found.moment]]


def stage_rows(found: Estimate) -> list[list[str]]:
    """Stages with their tokens and FLOPs."""
    rows = []
    for stage in found.stages:
        tokens = (stage.sampled, stage.scored, stage.trained)
        rows.append([stage.name, *(show_count(n) if n else "" for n in tokens), show_count(stage.flops)])
    return [*rows, ["all", "", "", "", show_count(found.flops)]]


def hardware_rows(found: Estimate, names: Sequence[str] = tuple(HARDWARE)) -> list[list[str]]:
    """Each device, whether the run fits, and hours."""
    rows = []
    for name in names:
        device = HARDWARE[name]
        fits = found.fits(device.memory)
        time = "" if fits == "does not fit" else show_hours(*found.hours(device))
        rows.append([name, show_bytes(device.memory), fits, time])
    return rows


def remarks(found: Estimate) -> list[str]:
    """What to know of the figures."""
    peaks = sorted(found.passes.items(), key=lambda item: -item[1])
    lines = [
        f"Memory while {', '.join(f'{name} {show_bytes(size)}' for name, size in peaks)}.",
        f"At most: responses of {found.sizes.response} tokens, no early stop; the shorter time is that of an "
        "EM that settles in its first round.",
        f"Assumed: {UTILISATION:.0%} of the peak rate, {BANDWIDTH_SHARE:.0%} of the bandwidth in sampling, "
        f"{LAUNCH_SECONDS * 1000:g} ms for a layer in a pass at least, {CHARACTERS:g} characters a token. "
        "Not measured.",
    ]
    if not found.known:
        lines.append(
            "The training of this aligner is not known: only pairs, evaluation and the reference are counted."
        )
    return lines

"""A model as a run holds and trains it: its weights, adapters, and what a token costs in it.

The formulas of memory count what autograd keeps of the modules as transformers builds them, in the manner of
Korthikanti et al. 2022 (arXiv 2205.05198, section 4), with attention that keeps no scores (SDPA) and norms in
float32; `tests/estimate/test_memory.py` holds them against models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefbench import weights
from prefbench.backbone.options import PretrainedOptions
from prefbench.backbone.shapes import SHAPES, Shape, shape_of_config
from prefbench.errors import UserError
from prefbench.files import read_json
from prefbench.machine import threads_of_large
from prefbench.spec import RunSpec, get_model

ADAPTER_BYTES = 4
"""Bytes of an adapter's weight: peft keeps adapters in float32 whatever the weights under them are."""
NF4_BYTES = 0.5 + 4 / 64
"""Bytes of a weight in 4 bits: half a byte, and a float32 scale for each block of 64."""


@dataclass(frozen=True)
class ModelSetting:
    """A model as a run holds and trains it."""

    shape: Shape
    bytes: int
    """Bytes of a weight and of an activation: 4 in float32, 2 in bfloat16."""
    rank: int | None = None
    """Rank of the adapters; None where every weight is trained, in copies."""
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
    def matrices(self) -> int:
        """Weights of all layers' linear maps."""
        s = self.shape
        return s.layers * self._block if s.counted is None else s.counted.matrices

    @property
    def _block(self) -> int:
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
        if s.counted is not None:
            return self.rank * s.counted.ends
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
        """Bytes of a weight that is trained."""
        return self.bytes if self.rank is None else ADAPTER_BYTES

    @property
    def base_bytes(self) -> float:
        """Bytes of the reference's weights."""
        quantised = self.matrices if self.quantised else 0
        return quantised * NF4_BYTES + (self.shape.parameters - quantised) * self.bytes

    def kept(self, length: int) -> float:
        """Bytes that autograd keeps of one token in one layer, in a sequence of this length.

        With hidden size h, inner size i, queries' width q, A heads, e bytes and sequences of s tokens: inputs
        of the two norms, of the linear maps and of the MLP's products; queries, keys, values and output of
        the attention (4 q e, keys repeated for every query head), its log-sum-exp (4 A) and mask (s e). RMS
        norms compute in float32 and keep that. Frozen maps keep nothing of their inputs; their adapters
        keep a float32 copy of each input where the weights are not float32, and 4 bytes for each rank.
        """
        s, e, q = self.shape, self.bytes, self.queries
        copies = self.rank is not None and e != ADAPTER_BYTES
        if s.gated:
            normed = 2 * s.hidden if s.counted is None else s.counted.normed
            norms = 4 * normed + 8 + (e * normed if self.rank is None else 0)
            inputs = (
                4 * (2 * s.hidden + q + s.intermediate) if copies else e * (2 * s.hidden + s.intermediate)
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

    def forward(self, tokens: float, length: float, predicted: float) -> float:
        """FLOPs: two for each weight and token, 4 q s for attention over s tokens, 2 h for each logit.

        Args:
            tokens: in all passes.
            length: tokens that each attends to.
            predicted: tokens that logits are computed for.
        """
        s = self.shape
        used = self.matrices + (0 if s.counted is None else s.counted.experts)
        each = 2 * used + s.layers * 4 * self.queries * length + 2 * self.adapter
        return tokens * each + predicted * 2 * s.hidden * s.vocabulary

    def training(self, tokens: float, length: float, predicted: float) -> float:
        """FLOPs of a forward and a backward pass.

        The backward pass takes two for each weight to pass gradients on, and two more for each trained one;
        attention's takes twice its forward. Checkpointing computes the layers once more, but for the last map
        of each where nothing after it keeps a tensor.
        """
        once = self.forward(tokens, length, predicted)
        again = self.forward(tokens, length, 0) if self.checkpointing else 0.0
        if self.checkpointing and self.rank is None:
            again -= tokens * self.shape.layers * 2 * self.shape.hidden * self.shape.intermediate
        if self.rank is None:
            return 3 * once + again
        return 2 * once + again + tokens * (2 * self.adapter + self.shape.layers * 4 * self.queries * length)

    def cache(self, rows: int, length: float) -> float:
        """Bytes of keys and values of these rows in every layer."""
        return rows * length * 2 * self.shape.layers * self.keys * self.bytes


def setting_of(spec: RunSpec, shape: Shape) -> ModelSetting:
    """The way a specification's model is held and trained."""
    options = spec.model_options
    context = min(options.get("context", shape.positions), shape.positions)
    if spec.model == "nano":
        return ModelSetting(shape, 4, context=context)
    return ModelSetting(
        shape,
        2 if options.get("dtype") == "bfloat16" else 4,
        rank=options["lora_rank"] if options.get("lora") else None,
        checkpointing=bool(options.get("gradient_checkpointing")),
        quantised=options.get("quantise") == "4bit",
        context=context,
    )


def threads_said(spec: RunSpec) -> int | None:
    """CPU threads that its options say, else one for what is small; None if nothing is said."""
    chosen = spec.model_options.get("threads")
    if isinstance(chosen, int) and chosen > 0:
        return chosen
    return None if issubclass(get_model(spec.model).options, PretrainedOptions) else 1


def threads_of(spec: RunSpec) -> int:
    """CPU threads that its run takes on this machine, in one process."""
    return threads_said(spec) or threads_of_large()


def why_unknown(spec: RunSpec) -> str:
    """One sentence on why there is no estimate."""
    if "dtype" not in spec.model_options:
        return f"Nothing to estimate: model '{spec.model}' is no language model that is trained on a GPU."
    source = spec.model_options.get("path") or spec.model
    return (
        f"Nothing is known of the size of model '{source}' before it is loaded: it has no config.json of a "
        "decoder that transformers knows in its folder or in the hub's cache."
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
    if source is None and spec.model in SHAPES:
        return SHAPES[spec.model]
    return _read_shape(source or spec.model, options.get("gguf_file"))


def _read_shape(source: str, gguf_file: str | None = None) -> Shape | None:
    """Shape of a folder's model, or of a hub model whose config is in the hub's cache. Nothing is fetched."""
    folder = Path(source).expanduser()
    file = folder / "config.json"
    try:
        gguf = weights.gguf_file(folder, gguf_file) if folder.is_dir() else {}
    except UserError:
        return None  # loading the model says what is wrong with it
    if gguf:
        return _read_gguf_shape(folder, gguf)
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


def _read_gguf_shape(folder: Path, gguf: Mapping[str, str]) -> Shape | None:
    """Shape of the model that a GGUF file's metadata describe."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **gguf)
    except Exception:  # a damaged file may break its reader anywhere: loading the model says what is wrong
        return None
    return shape_of_config(config.to_dict())

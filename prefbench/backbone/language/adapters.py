"""Low-rank adapters on one shared model: a policy, its rewards and its reference keep one base in memory.

Every linear layer of the base but the output layer has a hook that adds (alpha / r) B A x of the adapter that
is switched on; with none the base is the reference, to the bit. An adapter's weights belong to the module
that uses them and not to the base, so they are trained, copied, averaged and freed as any module's are, and
switching changes nothing but which of them the hooks read.

Source: LoRA (Hu et al. 2021, arXiv 2106.09685). Files are laid out as peft's.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from prefbench import seeds
from prefbench.backbone.language.beyond import Beyond
from prefbench.errors import UserError
from prefbench.text import message_line
from prefbench.weights import not_finite

PEFT_PREFIX = "base_model.model."
MOST_RANK = 1 << 14
_OTHER = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication")
"""Settings of peft's that change what an adapter computes."""
Contexts = Callable[[], tuple[Any, Any]]


class Base:
    """A frozen causal language model that adapters share."""

    def __init__(self, model: Any, digest: str) -> None:
        from transformers.pytorch_utils import Conv1D

        self.model = model
        self.digest = digest
        output = model.get_output_embeddings()
        self.layers: dict[str, Any] = {
            path: module
            for path, module in model.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and module is not output
        }
        self._active: Adapter | None = None
        self._read: tuple[torch.Tensor, torch.Tensor] | None = None
        self._hooks = [
            layer.register_forward_hook(partial(self._add, path)) for path, layer in self.layers.items()
        ]
        words = model.get_input_embeddings()
        self._hooks += [
            words.register_forward_pre_hook(self._read_beyond),
            words.register_forward_hook(self._put_beyond),
        ]

    def __deepcopy__(self, memo: object) -> Base:
        """Itself: a copy of what uses a base uses the same base."""
        return self

    def _add(self, path: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if self._active is None:
            return None  # the output as it is
        pair = self._active.pairs[path]
        return pair(self._as(pair.lora_A.weight.dtype, inputs[0]), output)

    def _read_beyond(self, layer: nn.Module, inputs: tuple[Any, ...]) -> Any:
        beyond = None if self._active is None else self._active.beyond
        return None if beyond is None else beyond.before(layer, inputs)

    def _put_beyond(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        beyond = None if self._active is None else self._active.beyond
        return None if beyond is None else beyond.after(layer, inputs, output)

    def _as(self, dtype: torch.dtype, x: torch.Tensor) -> torch.Tensor:
        """A layer's input in an adapter's type; of layers that read the same one there is one copy."""
        if x.dtype == dtype:
            return x
        if self._read is None or self._read[0] is not x:
            self._read = x, x.to(dtype)
        return self._read[1]

    @contextlib.contextmanager
    def using(self, adapter: Adapter | None) -> Iterator[None]:
        """Run the base with this adapter switched on, within the block."""
        before, self._active = self._active, adapter
        try:
            yield
        finally:
            self._active, self._read = before, None

    def contexts(self) -> tuple[Any, Any]:
        """Contexts of a checkpointed forward pass and of its repetition, which needs the same adapter."""
        return contextlib.nullcontext(), self.using(self._active)

    def release(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()


class LowRank(nn.Module):
    """(alpha / r) B A x of one linear layer, zero at first; float32 whatever the layer's type."""

    def __init__(self, layer: Any, rank: int, alpha: float) -> None:
        super().__init__()
        # Conv1D, GPT-2's own linear layer, keeps its weight the other way round.
        self.turned = not hasattr(layer, "in_features")
        wide, tall = layer.weight.shape if self.turned else (layer.in_features, layer.out_features)
        self.scale = alpha / rank
        self.lora_A = nn.Linear(wide, rank, bias=False)
        self.lora_B = nn.Linear(rank, tall, bias=False)
        # Drawn again and rounded to the layer's precision, as peft does: a seed gives the same adapter.
        nn.init.kaiming_uniform_(self.lora_A.weight, a=5**0.5)
        nn.init.zeros_(self.lora_B.weight)
        if layer.weight.is_floating_point():
            self.to(layer.weight.dtype)
        self.to(layer.weight.device, torch.float32)

    def forward(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """A layer's output [..., out], in its type, with what this adds for its input [..., in], float32."""
        low, weight = self.lora_A(x).flatten(0, -2), self.lora_B.weight
        # One product that scales and adds, over what would be three passes over the output.
        wide = output.to(weight.dtype).flatten(0, -2)
        if wide.dtype == output.dtype:
            return torch.addmm(wide, low, weight.T, alpha=self.scale).view(output.shape)
        # The wide copy is nobody else's: the sum takes its place.
        return wide.addmm_(low, weight.T, alpha=self.scale).view(output.shape).to(output.dtype)

    def delta(self) -> torch.Tensor:
        """Increase of the layer's weight that has the same effect."""
        product = self.lora_B.weight @ self.lora_A.weight
        return (product.T if self.turned else product) * self.scale


class Adapter(nn.Module):
    """One adapter's weights, a `LowRank` at the path of each layer of the base."""

    def __init__(self, base: Base, rank: int, alpha: float, seed: int) -> None:
        super().__init__()
        self.rank = rank
        self.alpha = alpha
        self.beyond: Beyond | None = None
        """Tokens beyond the vocabulary, which the base reads with this adapter alone."""
        self.pairs: dict[str, LowRank] = {}
        with seeds.torch_seeded(seed, "lora"):
            for path, layer in base.layers.items():
                self.pairs[path] = LowRank(layer, rank, alpha)
        for path, pair in self.pairs.items():
            parent: nn.Module = self
            *folders, last = path.split(".")
            for folder in folders:
                if folder not in dict(parent.named_children()):
                    parent.add_module(folder, nn.Module())
                parent = parent.get_submodule(folder)
            parent.add_module(last, pair)


class Adapted(nn.Module):
    """A shared base that runs with an adapter of its own. Its only parameters are the adapter's."""

    def __init__(self, base: Base, adapter: Adapter, *, whole: bool = True) -> None:
        """`whole` is the language model; otherwise only its transformer, without the output layer."""
        super().__init__()
        self.base = base
        self.adapter = adapter
        self.whole = whole
        self.eval()

    @property
    def inner(self) -> Any:
        """The part of the base that is run."""
        return self.base.model if self.whole else self.base.model.base_model

    @property
    def base_model(self) -> Adapted:
        """The transformer without the output layer, with the same adapter."""
        return Adapted(self.base, self.adapter, whole=False)

    def forward(self, **inputs: Any) -> Any:
        """Output of the base, with the adapter switched on."""
        with self.base.using(self.adapter):
            return self.inner(**inputs)

    def save_pretrained(self, folder: Path) -> None:
        """Write `adapter_config.json` and `adapter_model.safetensors`, which peft loads too."""
        name = self.base.model.name_or_path
        settings = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            # A hub id; where a folder lies is nobody else's business.
            "base_model_name_or_path": None if Path(name).exists() else name,
            "r": self.adapter.rank,
            "lora_alpha": self.adapter.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": any(pair.turned for pair in self.adapter.pairs.values()),
            "target_modules": sorted(self.base.layers),
            "inference_mode": True,
        }
        (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1))
        tensors = {PEFT_PREFIX + name: value for name, value in self.adapter.state_dict().items()}
        write_tensors(folder / "adapter_model.safetensors", tensors, self.base.digest)

    def merge_and_unload(self) -> Any:
        """The base with this adapter in its weights for good: whoever else uses the base is changed too.

        Raises:
            UserError: the weights are quantised.
        """
        if not all(layer.weight.is_floating_point() for layer in self.base.layers.values()):
            raise UserError(
                "adapters cannot be merged into quantised weights: set model.steps=0 or model.quantise=none."
            )
        for path, pair in self.adapter.pairs.items():
            self.base.layers[path].weight.data += pair.delta().detach()
        self.base.release()
        return self.base.model


def load_adapter(base: Base, folder: Path) -> Adapted:
    """Read back what `Adapted.save_pretrained` wrote.

    Raises:
        UserError: the adapter belongs to another base, or is of a kind that is not computed here.
    """
    file = folder / "adapter_config.json"
    config = read_json(file)
    if not isinstance(config, dict):
        raise UserError(f"'{file}' is damaged: it holds no settings; save the adapter again.")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (
        isinstance(rank, int) and 1 <= rank <= MOST_RANK and isinstance(alpha, int | float) and alpha > 0
    ):
        raise UserError(
            f"'{file}' is damaged: r={rank} and lora_alpha={alpha} are no rank and scale; save the adapter "
            "again."
        )
    if config.get("peft_type") != "LORA" or (
        odd := sorted(name for name in _OTHER if config.get(name, False))
    ):
        what = f"with {', '.join(odd)}" if config.get("peft_type") == "LORA" else f"{config.get('peft_type')}"
        raise UserError(
            f"'{folder}' holds an adapter {what}, which is not computed here: train a plain LoRA."
        )
    adapter = Adapter(base, rank, alpha, seed=0)
    tensors = {PEFT_PREFIX + name: value for name, value in adapter.state_dict().items()}
    read_tensors(folder / "adapter_model.safetensors", tensors, base.digest)
    return Adapted(base, adapter)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it is none, or is not there.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"'{path}' is missing or damaged: it holds no JSON; save the adapter again."
        ) from None


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], digest: str | None) -> None:
    """Write tensors to a safetensors file, with the digest of the base that they belong to."""
    metadata = None if digest is None else {"format": "pt", "base": digest}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata)


@torch.no_grad()
def read_tensors(path: Path, tensors: Mapping[str, torch.Tensor], digest: str | None) -> None:
    """Copy a file that `write_tensors` wrote into the tensors of the same names.

    Raises:
        UserError: names, shapes or the base's digest are not those of the file, or it holds NaN.
    """
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}
            made_for = (file.metadata() or {}).get("base", digest)
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"'{path}' could not be read, so save it again: {message_line(error)}") from None
    same = stored.keys() == tensors.keys() and all(
        stored[name].shape == value.shape for name, value in tensors.items()
    )
    if not same or made_for != digest:
        raise UserError(f"'{path}' belongs to another model: use it with the model that it was trained on.")
    odd = not_finite(stored)
    if odd:
        raise UserError(f"'{path}' holds NaN or infinities, as in {odd[0]}: train it again.")
    for name, value in tensors.items():
        value.copy_(stored[name])


def checkpoint_layers(model: Any, contexts: Contexts | None = None) -> None:
    """Keep only the inputs of a model's blocks for the backward pass, and compute the rest again.

    Blocks do so whenever gradients are recorded, in evaluation mode as well: transformers' own switch
    works in training mode alone, which would bring dropout with it.

    Args:
        model: a transformers model.
        contexts: makes a context for the forward pass and one for its repetition.

    Raises:
        UserError: the architecture has no blocks for it.
    """
    from torch.utils.checkpoint import noop_context_fn
    from transformers.modeling_layers import GradientCheckpointingLayer

    blocks = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not blocks:
        raise UserError(
            f"{type(model).__name__} cannot compute its activations again: set "
            "model.gradient_checkpointing=false."
        )
    for block in blocks:
        block.forward = partial(_checkpointed, block.forward, contexts or noop_context_fn)


def _checkpointed(forward: Callable[..., Any], contexts: Contexts, *inputs: Any, **more: Any) -> Any:
    from torch.utils.checkpoint import checkpoint

    if not torch.is_grad_enabled():
        return forward(*inputs, **more)
    return checkpoint(
        forward, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts, **more
    )

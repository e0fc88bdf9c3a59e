"""Parts that every language model is built with: its device, training it on texts, the backbone around it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prefbench import seeds, weights
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.memory import Limits
from prefbench.backbone.language.tokens import collate
from prefbench.backbone.language.training import Parts, State, bucketed_batches, minimise
from prefbench.backbone.options import ModelOptions, NanoOptions, PretrainedOptions
from prefbench.errors import Diverged, UserError
from prefbench.store.stages import Work
from prefbench.team import team

if TYPE_CHECKING:
    from prefbench.store.stages import Store


def device_of(options: ModelOptions, threads: int) -> torch.device:
    """The device that the options or the launcher ask for; torch is given its threads, shared by processes.

    Raises:
        UserError: there is no such device.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("model.device=cuda, but torch sees no CUDA device: leave it at auto or say cpu.")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", team().size)) if team().size > 1 else 1
    torch.set_num_threads(options.threads or max(1, threads // here))
    wanted = options.device
    given = team().device
    if given is not None:  # by the launcher
        if wanted not in ("auto", given.type):
            raise UserError(
                f"model.device={wanted}, but the processes of this run are on {given.type}: leave it at auto."
            )
        return given
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def backbone_of(
    model: Any,
    codec: Codec,
    digest: str,
    store: Store,
    lora: dict[str, Any] | None,
    options: NanoOptions | PretrainedOptions,
) -> CausalLM:
    """The backbone around a reference model, with the options of either preset."""
    return CausalLM(
        model,
        codec,
        digest=digest,
        store=store,
        lora=lora,
        policy_learning_rate=options.policy_learning_rate,
        reward_learning_rate=options.reward_learning_rate,
        reward_pooling=options.reward_pooling,
        reward_head=options.reward_head if isinstance(options, PretrainedOptions) else "random",
        gradient_checkpointing=isinstance(options, PretrainedOptions) and options.gradient_checkpointing,
        work=Work("reference", store.root),
    )


def fit_language_model(
    model: Any,
    ids: Sequence[list[int]],
    context: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    work: Work,
) -> list[float]:
    """Minimise next-token loss (nats per token) on whole texts; a long text is cut at the context.

    Every text starts at its first token, as prompts do.
    """
    texts = [row[:context] for row in ids if len(row) > 1]
    device = next(model.parameters()).device
    lengths = [len(row) for row in texts]
    batches: list[np.ndarray] = []
    epoch = 0
    while len(batches) < steps:
        batches.extend(bucketed_batches(lengths, batch_size, seeds.rng(seed, "reference", "epoch", epoch)))
        epoch += 1
    state = State([model], learning_rate, weight_decay=0.01)

    def lengths_at(step: int) -> list[int]:
        return [lengths[i] for i in batches[step]]

    def losses_at(step: int, parts: Parts) -> Iterator[torch.Tensor]:
        predicted = sum(lengths_at(step)) - len(batches[step])
        for part in parts:
            rows = [texts[i] for i in batches[step][part.rows]]
            batch = collate([row[:1] for row in rows], [row[1:] for row in rows], device)
            yield -part.weight * logprobs(model, batch).sum() / predicted

    limit = Limits.of(work.reporter.note).training
    return minimise(state, lengths_at, losses_at, steps, limit, work, "language-model")


def stored(kind: Any, folder: Path, **more: Any) -> Any:
    """A reference that a stage has trained."""
    model, wrong = weights.load(kind, folder, use_safetensors=True, **more)
    if wrong is not None:
        raise Diverged(
            f"the reference in '{folder}': {wrong}. Lower the learning rate that it is trained with."
        )
    return model

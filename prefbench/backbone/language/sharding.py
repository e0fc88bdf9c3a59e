"""A frozen model cut up over several processes with FSDP2 (`prefbench.team`).

A pass through the model is then something that all do at once, so everybody makes as many passes as everybody
else (`batches.py`).
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from prefbench.team import team


def shard(model: Any) -> Any:
    """Cut up the weights of a frozen causal language model over the processes, in place.

    Each keeps a part of every weight, and gathers those of a block while that block is at work. Adapters and
    heads are no part of the model: they stay whole everywhere.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    device = team().device
    assert device is not None
    model.eval().requires_grad_(False)
    # It warns of changing outputs in place, which nobody does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    # A tied embedding belongs to the first layer and to the last: it stays whole.
    embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tied = {embedding} if embedding is output else set()
    mesh = init_device_mesh(device.type, (team().size,))
    cut = partial(fully_shard, mesh=mesh, reshard_after_forward=True, ignored_params=tied)
    for block in [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]:
        cut(block)
    cut(model.base_model)  # rewards run it by itself
    cut(model)
    for weight in tied:
        weight.data = weight.data.to(device)
    # FSDP takes what it first sees running for the whole: it must not be a reward's part of the model.
    with torch.no_grad():
        one = torch.ones((1, 1), dtype=torch.long, device=device)
        model(input_ids=one, attention_mask=one, use_cache=False)
    return model

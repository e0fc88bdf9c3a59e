"""Arithmetic and seconds of passes through the model.

On a GPU seconds rest on assumed shares of a data sheet's figures (`UTILISATION_SHARE`, `BANDWIDTH_SHARE`,
`LAUNCH_SECONDS`), not on measurements; on a processor the share of its arithmetic was measured.
"""

from __future__ import annotations

from prefbench.estimate.hardware import Hardware
from prefbench.estimate.memory import lengths, rows_in_pass
from prefbench.estimate.setting import ModelSetting
from prefbench.work import Passes, Sizes

BANDWIDTH_SHARE = 0.5
"""Assumed share of the memory bandwidth that sampling reaches, which reads every weight for each token."""
LAUNCH_SECONDS = 1e-3
"""Assumed time that one layer takes at least in one pass: Python starts its kernels one by one."""


def flops(work: Passes, setting: ModelSetting, sizes: Sizes) -> float:
    """Floating-point operations of this work, at most."""
    prompt, _, response = lengths(work, setting, sizes)
    if work.response is not None:
        response = min(response, work.response)
    length = prompt + response
    count = setting.training if work.kind == "train" else setting.forward
    # A sampled token attends to those before it alone; elsewhere SDPA with a mask computes the whole square.
    attended = length / 2 if work.kind == "sample" else length
    return count(work.rows * length, attended, work.rows * response if work.vocabulary else 0)


def seconds(work: Passes, setting: ModelSetting, sizes: Sizes, hardware: Hardware) -> float:
    """Seconds of this work: by arithmetic, by memory traffic where it samples, and by kernels to start."""
    prompt, longest, response = lengths(work, setting, sizes)
    arithmetic = flops(work, setting, sizes) / hardware.reached(setting.bytes)
    rows = rows_in_pass(work, longest + response)
    passes = work.rows / rows
    launch = setting.shape.layers * LAUNCH_SECONDS
    if work.kind == "sample":
        read = setting.base_bytes + setting.cache(rows, prompt + response / 2)
        step = max(read / (hardware.bandwidth * BANDWIDTH_SHARE), launch)
        return max(arithmetic, passes * response * step)
    each = 1 if work.kind == "score" else 4 if setting.checkpointing else 3
    return max(arithmetic, passes * each * launch)

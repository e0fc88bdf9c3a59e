"""An estimate in sentences and rows of tables."""

from __future__ import annotations

from collections.abc import Sequence

from prefbench.backbone.shapes import Shape
from prefbench.estimate.estimate import Estimate
from prefbench.estimate.hardware import HARDWARE, UTILISATION_SHARE, Hardware, known_hardware, processor
from prefbench.estimate.memory import CONTEXT_BYTES, FRAGMENT_SHARE
from prefbench.estimate.passes import (
    CHARACTERS_PER_TOKEN,
)
from prefbench.estimate.time import BANDWIDTH_SHARE, LAUNCH_SECONDS
from prefbench.machine import MACHINE, stored
from prefbench.text import show_bytes, show_count, show_hours


def shape_line(shape: Shape) -> str:
    """A model's sizes in a sentence."""
    return (
        f"{show_count(shape.parameters)} weights: {shape.layers} layers, hidden size {shape.hidden}, "
        f"{shape.heads} heads ({shape.kv_heads} of keys and values), inner size {shape.intermediate}, "
        f"{shape.vocabulary} tokens, {shape.positions} positions"
    )


def here_line(found: Estimate, device: str, free: float | None, threads: int) -> str:
    """A line on this machine: its free memory, and whether and how fast a run of these threads would go."""
    if free is None:
        return f"Here ({device}): free memory not known."
    here, fits = hardware_here(device, free, threads), found.fits(free)
    with_threads = f", {threads} thread{'s' * (threads > 1)}" if device == MACHINE else ""
    place = f"Here ({device}{with_threads}, {show_bytes(free)} free)"
    if here is None:
        why = ": prefbench doctor measures what it takes" if device == MACHINE else ""
        return f"{place}: {fits}, time not estimated{why}."
    time = "" if fits == "does not fit" else f", {show_hours(*found.hours(here))}"
    return f"{place}: {fits}{time}."


def hardware_here(device: str, free: float, threads: int) -> Hardware | None:
    """A device as its data sheet has it or as `prefbench doctor` measured it; None if neither is known.

    Args:
        device: as its driver calls it, or `MACHINE`.
        free: bytes of its memory.
        threads: of the run, on a processor.
    """
    name = known_hardware(device)
    if name is not None:
        return HARDWARE[name]
    machine = stored() if device == MACHINE else None
    return None if machine is None else processor(machine, free, threads)


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
        "context and fragments": f"{show_bytes(CONTEXT_BYTES)} and {FRAGMENT_SHARE:.0%} of the pass, assumed",
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
    """Remarks on the figures."""
    peaks = sorted(found.passes.items(), key=lambda item: -item[1])
    lines = [
        f"Memory while {', '.join(f'{name} {show_bytes(size)}' for name, size in peaks)}.",
        f"At most: responses of {found.sizes.response} tokens, no early stop; the shorter time is that of an "
        "EM that settles in its first round.",
        f"Assumed: {UTILISATION_SHARE:.0%} of the peak rate, {BANDWIDTH_SHARE:.0%} of the bandwidth in "
        f"sampling, {LAUNCH_SECONDS * 1000:g} ms for a layer in a pass at least, "
        f"{CHARACTERS_PER_TOKEN:g} characters a token. Not measured.",
    ]
    if not found.known:
        lines.append(
            "The training of this aligner is not known: only pairs, evaluation and the reference are counted."
        )
    return lines

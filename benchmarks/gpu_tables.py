"""The figures of `gpu_7b.py` that follow from its phases, and how all are shown."""

from __future__ import annotations

from typing import Any

from gpu_bench import Bench, near, share
from gpu_phases import APART
from tabulate import tabulate

from prefbench.text import show_bytes


def decoding(bench: Bench) -> dict[str, float | None] | None:
    """One step of sampling: what it reads, and how near that comes to the bandwidth of a copy."""
    times = {entry["name"]: entry.get("seconds") for entry in bench.found["phases"]}
    first, whole = times.get("first token"), times.get("sampling")
    if first is None or whole is None:
        return None
    shape, setting, options = bench.shape, bench.setting, bench.options
    seconds = (whole - first) / (options.response_tokens - 1)
    # Of the embedding a row for each token is read, unless it is the output layer too.
    table = 0 if shape.tied else shape.vocabulary * shape.hidden * setting.bytes
    weights = setting.base_bytes - table + setting.trained * setting.trained_bytes
    cache = setting.cache(options.batch, options.prompt_tokens + options.response_tokens / 2)
    bandwidth = bench.found["machine"]["bytes_per_second"]
    return {
        "seconds_per_step": seconds,
        "tokens_per_second": options.batch / seconds,
        "bytes_of_weights": weights,
        "bytes_of_cache": cache,
        "weights_per_second": weights / seconds,
        "share_of_bandwidth": share(weights / seconds, bandwidth),
        "share_of_bandwidth_with_cache": share((weights + cache) / seconds, bandwidth),
    }


def in_all(bench: Bench) -> dict[str, Any]:
    """The most memory of the whole path, what is no tensor included, against the estimate."""
    done = [
        entry["memory"]
        for entry in bench.found["phases"]
        if entry["status"] == "ok" and entry["name"] != APART  # what a run does without
    ]
    reserved = [memory["reserved"] for memory in done if memory["reserved"] is not None]
    outside = bench.meter.outside()
    used = None if outside is None or not reserved else max(reserved) + outside
    said = max((memory["estimated_with_allowance"] for memory in done), default=None)
    ratio = share(used, said)
    return {
        "outside_the_allocator": outside,
        "used": used,
        "unknown": bench.meter.unknown,
        "estimated": said,
        "ratio": ratio,
        "near": near(ratio),
    }


def show(value: float | None, unit: float = 1.0, digits: int = 3) -> str:
    return "" if value is None else f"{value / unit:.{digits}g}"


def tables(found: dict[str, Any]) -> str:
    """The phases, then what is of the whole."""
    rows = []
    for entry in found["phases"]:
        memory, work = entry.get("memory", {}), entry.get("arithmetic", {})
        near = memory.get("near")
        rows.append(
            [
                entry["name"],
                entry["status"],
                show(entry.get("seconds")),
                show(entry.get("seconds_expected")),
                show(entry.get("tokens_per_second"), digits=4),
                show(work.get("flops_per_second"), 1e12),
                show(work.get("share_of_gemm"), 0.01),
                show(memory.get("allocated"), 1e9, 4),
                show(memory.get("reserved"), 1e9, 4),
                show(memory.get("estimated"), 1e9, 4),
                show(memory.get("ratio")),
                "" if near is None else "yes" if near else "no",
            ]
        )
    headers = ["phase", "status", "s", "said s", "tokens/s", "TFLOP/s", "% of GEMM", "allocated GB"]
    headers += ["reserved GB", "estimated GB", "ratio", "within 10%"]
    lines = [tabulate(rows, headers, tablefmt="github", disable_numparse=True), ""]
    return "\n".join([*lines, *summary(found)])


def summary(found: dict[str, Any]) -> list[str]:
    machine, step, rewards, peak = (found[name] for name in ("machine", "decode", "rewards", "in_all"))
    lines = [
        f"device: {found['device']['name']}; product of {machine['gemm']}^2 matrices "
        f"{show(machine['flops_per_second'], 1e12)} TFLOP/s, "
        f"copy {show(machine['bytes_per_second'], 1e9)} GB/s"
    ]
    if step is not None:
        lines.append(
            f"a step of sampling: {show(step['seconds_per_step'], 1e-3)} ms, "
            f"{show(step['weights_per_second'], 1e9)} GB/s of weights, "
            f"{show(step['share_of_bandwidth'], 0.01)}% of the copy's bandwidth"
        )
    if rewards is not None:
        same = "the same scores" if rewards["same_scores"] else "other scores"
        lines.append(
            f"{rewards['k']} rewards on one base and on models of their own: {same}, largest difference "
            f"{rewards['largest_difference']:.2g}; one base saves {show_bytes(rewards['bytes_saved'])}"
        )
    if peak["used"] is not None:
        lines.append(
            f"in all: {show_bytes(peak['used'])} of the device, estimated {show_bytes(peak['estimated'])}, "
            f"ratio {show(peak['ratio'])}"
        )
    elif peak["unknown"] is not None:
        lines.append(f"no memory figures: {peak['unknown']}")
    lines.extend(f"{entry['name']}: {entry['why']}" for entry in found["phases"] if entry["why"])
    return [*lines, *found["notes"]]

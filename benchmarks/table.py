"""What `test_stages.py` measured, as tables in GitHub's markdown.

    python -m pytest benchmarks/test_stages.py --benchmark-json=stages.json && \\
        python benchmarks/table.py stages.json

A floor is what a stage has to compute or read at least, at the best rate that the machine showed; of the two
the longer one counts. A share is the floor's of the median round.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from prefbench.text import show_bytes

Entry = Mapping[str, Any]
"""A benchmark of pytest-benchmark's file."""
Rates = Sequence[Mapping[str, Any]]
"""As the fixture `rates` of `test_stages.py` makes them."""

HEADERS = (
    "stage",
    "size",
    "s",
    "items/s",
    "tokens/s",
    "peak memory",
    "GFLOP",
    "GB",
    "floor s",
    "by",
    "share",
)


def fastest(rates: Rates, what: str, size: str) -> float:
    """The best figure of any shape that is the size's or nobody's: noise only ever slows a machine."""
    fits = [rate for rate in rates if rate["what"] == what and rate["size"] in (size, "")]
    return max(max(rate["before"], rate["after"]) for rate in fits)


def floor_of(info: Mapping[str, Any]) -> tuple[float, str] | None:
    """Seconds that a stage takes at the machine's own rates, and what they go into; None if not counted."""
    rates, size = info["rates"], info["size"]
    floors = [
        (info[counted] / fastest(rates, what, size), name)
        for counted, what, name in (("flops", "product", "arithmetic"), ("bytes", "read", "memory"))
        if counted in info
    ]
    return max(floors, default=None)


def show(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row_of(entry: Entry) -> list[str]:
    info, seconds = entry["extra_info"], entry["stats"]["median"]
    floor = floor_of(info)
    tokens, flops, read = (info.get(name) for name in ("tokens", "flops", "bytes"))
    return [
        info["stage"],
        info["size"],
        show(seconds),
        f"{show(info['items'] / seconds)} {info['unit']}",
        show(None if tokens is None else tokens / seconds),
        show_bytes(info["peak_memory"]),
        show(None if flops is None else flops / 1e9),
        show(None if read is None else read / 1e9),
        *(["", "", ""] if floor is None else [show(floor[0]), floor[1], f"{floor[0] / seconds:.0%}"]),
    ]


def rate_row(rate: Mapping[str, Any]) -> list[str]:
    if rate["what"] == "read":
        name = "reading memory, GB/s"
    else:
        shape, size = " x ".join(map(str, rate["shape"])), f" ({rate['size']})" if rate["size"] else ""
        name = f"product of {shape}{size}, GFLOP/s"
    return [name, *(show(rate[when] / 1e9) for when in ("before", "after"))]


def tables(found: Mapping[str, Any]) -> str:
    """The machine and its rates, then the stages."""
    entries: list[Entry] = [entry for entry in found["benchmarks"] if "stage" in entry["extra_info"]]
    machine = found["machine_info"]
    name = machine.get("cpu", {}).get("brand_raw", machine["machine"])
    rates = [rate_row(rate) for rate in entries[0]["extra_info"]["rates"]]
    return "\n\n".join(
        [
            f"{name}, one thread, {found['datetime'][:10]}:",
            tabulate(rates, ("rate", "before", "after"), tablefmt="github", disable_numparse=True),
            tabulate(map(row_of, entries), HEADERS, tablefmt="github", disable_numparse=True),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="of --benchmark-json")
    path = parser.parse_args(arguments).file
    try:
        print(tables(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        what = "no file that --benchmark-json wrote for benchmarks/test_stages.py"
        parser.exit(2, f"error: '{path}' is {what}.\n")


if __name__ == "__main__":
    main()

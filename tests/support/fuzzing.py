"""Mutated files of strangers, and what is to become of each: a result, or one line that says what is wrong.

`python tests/support/fuzzing.py FOLDER SEED START END [KIND...]` judges the inputs with these numbers in this
process and prints a line of JSON for each that fails. Every input is made from its number alone. The process
may take two GiB beyond what it has imported, and ends itself when an input takes more than thirty seconds.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # a script stands in its own folder, `support` lies above

from support.mutations import mutate
from support.verdicts import KINDS

SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
"""More on a machine that others keep busy."""
MEMORY = 2 << 30


def judge(root: Path, seed: int, number: int, kinds: list[str]) -> dict[str, Any] | None:
    """Mutate one file, judge what came of it and put the file back; what is wrong, if anything."""
    draw = random.Random(f"{seed}/{number}")
    kind = draw.choice(kinds)
    names, verdict = KINDS[kind]
    path = root / draw.choice(names)
    good = path.read_bytes()
    how = mutate(path, draw)
    try:
        verdict(root, draw)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        trace = traceback.format_exception(error)
        return {
            "number": number,
            "file": str(path.relative_to(root)),
            "how": how,
            "trace": "".join(trace[-4:]),
        }
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.write_bytes(good)
    return None


def main() -> None:
    """Judge a range of inputs."""
    source, seed, start, end, *kinds = sys.argv[1:]
    from prefbench import registry
    from prefbench.registry import Entry, Options

    registry.load_plugins()
    registry._entries[("task", "toy")] = Entry("task", "toy", len, Options)

    warnings.simplefilter("ignore")
    root = Path(source)
    # Good files first: what a verdict imports is not what an input takes.
    for kind in kinds:
        KINDS[kind][1](root, random.Random(0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(int(start), int(end)):
        print(json.dumps({"begun": number}), flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        found = judge(root, int(seed), number, kinds)
        faulthandler.cancel_dump_traceback_later()
        if found is not None:
            print(json.dumps(found), flush=True)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"megabytes": (after - before) // 1024}), flush=True)


if __name__ == "__main__":
    main()

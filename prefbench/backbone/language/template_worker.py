"""The process in which chat templates run: `chat_template.py` starts it, and it imports nothing of prefbench.

A line of JSON comes in, a line of JSON goes out. The operating system ends the process when a template takes
too much time, also if whoever asked is long gone; what takes too much memory ends as an error.
"""

import contextlib
import json
import resource
import signal
import sys

MEMORY_BYTES = 1 << 30
"""Bytes that a template may take beyond what the process has when it starts."""


def main() -> None:
    """Answer until there are no more questions."""
    from transformers.utils.chat_template_utils import render_jinja_template

    with contextlib.suppress(OSError, ValueError):  # some systems have no such limit
        with open("/proc/self/statm") as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(flush=True)  # ready
    for line in sys.stdin:
        asked = json.loads(line)
        signal.alarm(asked.pop("seconds"))
        try:
            answer: object = {"texts": render_jinja_template(**asked.pop("given"), **asked)[0]}
        except Exception as error:  # a template may raise anything
            answer = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
        signal.alarm(0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

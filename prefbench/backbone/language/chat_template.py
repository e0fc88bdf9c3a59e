"""Chat templates are programs that come with a model: they run in a process of their own, for a limited time.

Jinja's sandbox keeps a template from files and from Python, but not from looping for ever, nor from doubling
a text forty times.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START_SECONDS = 300.0
"""For the process to be ready: it imports transformers, which takes a second unless the machine is busy."""
CALL_SECONDS = 30.0
"""For one call, however few conversations."""
CONVERSATIONS_PER_SECOND = 20
"""Conversations that are rendered in another second; a thousand are usual."""
ANSWER_BYTES = 256 << 20
"""Bytes of an answer."""


class TemplateError(ValueError):
    """A template that cannot be applied; the message says why."""


class _Renderer:
    """The process and the pipes to it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            # Without the working folder, or the template's, among the places that modules are taken from.
            [sys.executable, "-P", str(Path(__file__).with_name("template_worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for whoever asked, and the process ends with that one
            env={**os.environ, "USE_TORCH": "0", "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"},
        )
        self._line(time.monotonic() + START_SECONDS)

    def ask(self, question: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The process's answer.

        Raises:
            TemplateError: it took too long, or too much memory. The process is gone then.
        """
        assert self._process.stdin is not None
        try:
            line = json.dumps({**question, "seconds": int(seconds) + 5}, default=str) + "\n"
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(time.monotonic() + seconds))
        except BaseException as error:
            self.end()
            if isinstance(error, OSError):  # the pipe is closed
                raise TemplateError("it takes too much memory or time") from None
            raise
        return answer

    def _line(self, until: float) -> bytes:
        """The next line that the process writes."""
        assert self._process.stdout is not None
        said = bytearray()
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            part = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            said += part
            if not part or len(said) > ANSWER_BYTES:
                self.end()
                raise TemplateError("it takes too much memory" if ready else "it takes too long")
        return bytes(said)

    def end(self) -> None:
        """Stop the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent cannot be
                assert pipe is not None
                pipe.close()


_lock = threading.Lock()
_workers: list[_Renderer] = []
"""The one process, once there is one."""


@atexit.register
def _end() -> None:
    while _workers:
        worker = _workers.pop()
        if worker.owner == os.getpid():
            worker.end()


def render(
    template: str,
    chats: Sequence[Sequence[Mapping[str, str]]],
    special_tokens: Mapping[str, Any],
    *,
    open_end: bool = True,
) -> list[str]:
    """Conversations in a chat template, as transformers writes them.

    Args:
        template: in jinja.
        chats: messages with `role` and `content`.
        special_tokens: names and texts of the tokenizer's, which templates use.
        open_end: with the head of an answer after the last message.

    Raises:
        TemplateError: it is broken, refuses the conversation, or takes too much time or memory.
    """
    question = {
        "chat_template": template,
        "conversations": chats,
        "add_generation_prompt": open_end,
        "given": special_tokens,
    }
    with _lock:
        if not (_workers and _workers[0].owner == os.getpid()):
            _workers[:] = [_Renderer()]
        try:
            answer = _workers[0].ask(question, CALL_SECONDS + len(chats) / CONVERSATIONS_PER_SECOND)
        except BaseException:
            _workers.clear()
            raise
    if "error" in answer:
        raise TemplateError(answer["error"])
    texts: list[str] = answer["texts"]
    return texts

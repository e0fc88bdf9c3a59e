"""The catch-all: whatever a command raises becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer

from prefbench import __version__
from prefbench.cli.examples import START, WholeGroup, examples, write_lines
from prefbench.cli.output import warn
from prefbench.errors import PrefbenchError, UserError, says_no_memory
from prefbench.team import Left, team
from prefbench.text import one_line

INTERRUPTED = 130
BROKEN_PIPE = 141
"""Exit code that a shell reports of a process that the closed pipe ended."""


class Commands(WholeGroup):
    """Turns what a command raises into one line and an exit code.

    Here and not in `main`, because typer takes an interrupt for itself before `main` would see it.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """The context of what was typed; options that there are not end in one line as well."""
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            _fail_if_misused(error)
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was typed; one that is in a group is named with it."""
        if args and args[0] not in self.commands:
            for group, command in self.commands.items():
                if args[0] in getattr(command, "commands", {}):
                    ctx.fail(f"No such command '{args[0]}'. Did you mean '{group} {args[0]}'?")
        return super().resolve_command(ctx, args)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the program is, and where to start."""
        super().format_help_text(ctx, formatter)
        write_lines(formatter, "Start here", examples()[START])

    def invoke(self, ctx: Any) -> Any:
        """The command's result; nothing that it raises gets out, but for an exit code."""
        try:
            with _one_line_warnings():
                result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe shows itself here at the latest
            return result
        except PrefbenchError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            echoed = "\n" if sys.stderr.isatty() else ""  # the terminal's own ^C
            print(f"{echoed}interrupted; the same command continues where it stopped", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # What is still buffered must not complain when the interpreter flushes it at its end.
            sys.stdout = io.StringIO()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(BROKEN_PIPE) from None
        except (typer.Exit, typer.Abort, Left):
            raise
        except BaseException as error:  # a plug-in's sys.exit(0) is no good end of ours
            _fail_if_misused(error)
            if says_no_memory(error):
                said = (
                    "out of memory: take a smaller model or a smaller batch (docs/faq.md#not-enough-memory)."
                )
                _fail(said, PrefbenchError.exit_code)
            if isinstance(error, OSError):
                where = f": '{error.filename}'" if error.filename else ""
                _fail(f"{error.strerror or error}{where}.", PrefbenchError.exit_code)
            _fail(_crash(error), PrefbenchError.exit_code)


def _crash(error: BaseException) -> str:
    """A sentence on a mistake of ours, whose trace is written where the system keeps temporary files."""
    trace = "".join(traceback.format_exception(error))
    said = f"prefbench {__version__}, Python {sys.version}\n{shlex.join(sys.argv)}\n\n{trace}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="prefbench-crash-", suffix=".txt", encoding="utf-8", errors="replace", delete=False
        ) as file:
            file.write(said)
        place = f"its trace is in {file.name}, which is worth sending to us"
    except OSError:
        print(trace, file=sys.stderr)  # the disk may be full, and the trace is all that there is
        place = "its trace is above"
    return f"a mistake in prefbench or in a plug-in ({type(error).__name__}: {str(error)[:200]}); {place}."


def _fail_if_misused(error: BaseException) -> None:
    """End with typer's words in the form of every error, if the error is about what was typed."""
    if not hasattr(error, "format_message"):
        return
    context = getattr(error, "ctx", None)
    if context is None or type(error).__name__ == "NoArgsIsHelpError":  # it is the help
        raise error
    said = error.format_message().replace("Value error, ", "")  # pydantic's word for what follows
    end = "" if said.endswith((".", "?", "!")) else "."
    _fail(
        f"{said[:1].lower()}{said[1:]}{end} `{context.command_path} --help` says what it takes.",
        UserError.exit_code,
    )


def _fail(message: str, code: int) -> NoReturn:
    print(f"prefbench: error: {one_line(message)}", file=sys.stderr)
    raise typer.Exit(code)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Our own warnings as one line each, without the source line that Python adds."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if team().rank:
                return  # the first process says it
            if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parents[1]):
                warn(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield

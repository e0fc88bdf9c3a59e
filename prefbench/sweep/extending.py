"""The result of tuning: where it lies, what it is added to, and how it reads."""

from __future__ import annotations

from pathlib import Path

from prefbench.errors import UserError
from prefbench.evaluate.selection import Rule
from prefbench.sweep.tune_file import TuneSpec
from prefbench.sweep.tuned import Tried, Tuned, TunedAligner, read_tuned


def result_path(file: str) -> Path:
    """Path of the result of a tuning file: beside it, with another ending."""
    return Path(file).expanduser().with_suffix(".tuned.json")


def result_to_extend(path: Path, tune: TuneSpec) -> Tuned | None:
    """The result that is there, which this one is added to; None if there is none.

    Raises:
        UserError: it cannot be read, or was made with other settings than these.
    """
    if not path.exists():
        return None
    there = read_tuned(path)
    file = tune.file
    settings = {
        "task": file.task,
        "model": tune.model,
        "data": file.data,
        "minority_ratio": file.minority_ratio,
        "configurations": file.configurations,
        "seeds": file.seed,
        "search_seed": file.search_seed,
    }
    for name, value in settings.items():
        if getattr(there, name) != value:
            _refuse(path, name, getattr(there, name), value)
    return there


def extended(before: Tuned | None, now: Tuned) -> Tuned:
    """A result with what was found before of other aligners.

    Raises:
        UserError: what was found before was found with other options, numerics or version of the task.
    """
    if before is None:
        return now
    ours, theirs = now.header(), before.header()
    for name, value in ours.items():
        if theirs[name] != value:
            raise UserError(
                f"the result that is there was made with another {name}: tune all aligners again, into a new "
                "--out, or remove it."
            )
    fresh = {each.name: each for each in now.aligners}
    kept = [fresh.pop(each.name, each) for each in before.aligners]
    return now.model_copy(update={"aligners": (*kept, *fresh.values())})


def _refuse(path: Path, name: str, there: object, here: object) -> None:
    raise UserError(
        f"'{path}' was made with {name} {_said(there)}, not {_said(here)}: name another --out, or remove it."
    )


def _said(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def choice_rows(tuned: Tuned) -> tuple[str, list[str], list[list[str]]]:
    """The choice of each aligner as a table: title, header, rows."""
    header = ["aligner", "rule", "tried", "default", "chosen", "KL", "tokens", "options"]
    rows = []
    for each in tuned.aligners:
        best = _chosen(each, each.rule)
        default = each.tried[0]
        rows.append(
            [
                each.name,
                each.rule,
                str(len(each.tried)),
                _score(default, each.rule),
                "none" if best is None else _score(best, each.rule),
                "" if best is None or best.kl is None else f"{best.kl:.2f}",
                "" if each.tokens is None else f"{each.tokens.total:.2e}",
                "" if best is None else _options(best),
            ]
        )
    said = f"{tuned.task}, {tuned.model}, ratio {tuned.minority_ratio:g}, seeds {_said(tuned.seeds)}"
    return said, header, rows


def _chosen(each: TunedAligner, rule: Rule) -> Tried | None:
    index = each.chosen.get(rule)
    return next((tried for tried in each.tried if tried.index == index), None)


def _score(tried: Tried, rule: Rule) -> str:
    """Mean score, and over how many seeds where that is not all."""
    if tried.scores is None:
        return tried.trials[-1].status if tried.trials else "not run"
    return f"{tried.scores[rule]:.3f} ({len(tried.trials)})"


def _options(tried: Tried) -> str:
    return ", ".join(f"{name}={value}" for name, value in tried.options.items()) or "the defaults"

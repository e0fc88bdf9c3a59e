"""Checks of a task's utilities and of the labels that follow from them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prefbench import seeds
from prefbench.backbone.finite.policies import FinitePolicy
from prefbench.problem.brought import STRENGTH
from prefbench.problem.labels import label_pairs, preference_probability
from prefbench.problem.problem import Group, Problem
from prefbench.tools.check.findings import Checks, FindingStatus, raised

if TYPE_CHECKING:
    import pandas as pd

LOW_DIVERSITY = 0.05
"""Mean difference of two groups' preference probabilities below which hardly any pair tells them apart."""
SCORED_RESPONSES = 200
"""Responses that a utility is tried on."""
ALONE_RESPONSES = 20
"""Texts of these that are scored one by one too."""


def check_utilities(checks: Checks, problem: Problem, again: Problem) -> None:
    """Utilities on texts of the problem itself, then labels; `again` is the same problem built once more."""
    prompts, responses = _responses(problem)
    if not responses:
        checks.add(
            "utilities and labels", "left out", "it has neither a corpus nor a world to take texts from."
        )
        return
    silent = [] if problem.world is not None else ["", " ", "?!", "caf\u00e9 \U0001f600\n\n" * 3]
    asked = prompts + prompts[:1] * len(silent)
    answers = responses + silent
    for group in problem.groups:
        if not _check_utility(checks, group, again, asked, answers):
            return  # nothing can be labelled with it
        if silent:
            _check_silence(checks, group, prompts, responses)
    pairs = _pairs_of_responses(problem)
    labelled = checks.that(
        "labels have the columns and the rows that they should", lambda: _bad_labels(problem, pairs)
    )
    checks.that("swapping the two responses swaps their chances", lambda: _asymmetric(problem, pairs))
    if labelled:
        _check_conflict(checks, problem, pairs)


def _check_utility(
    checks: Checks, group: Group, again: Problem, prompts: Sequence[str], responses: Sequence[str]
) -> bool:
    quoted = f"utility of '{group.name}'"

    def unsound() -> str | None:
        return _unsound(np.asarray(group.utility(prompts, responses)), prompts)

    if not checks.that(f"{quoted}: one finite number for each response", unsound):
        return False
    checks.that(
        f"{quoted}: the same twice, one by one, and in another order",
        lambda: _unsteady(group, prompts, responses),
    )
    checks.that(f"{quoted}: its name is one line and stands still", lambda: _bad_name(group, again))
    return True


def _responses(problem: Problem) -> tuple[list[str], list[str]]:
    """Prompts and something that could be answered to each."""
    pairs = _pairs_of_responses(problem)
    half = len(pairs) if problem.world is not None else SCORED_RESPONSES // 2
    pairs = pairs.iloc[:half].iloc[:SCORED_RESPONSES]
    return [*pairs["prompt"], *pairs["prompt"]], [*pairs["response_a"], *pairs["response_b"]]


def prompt_pairs(problem: Problem) -> pd.DataFrame:
    """A row for each prompt, with nothing to label yet."""
    import pandas as pd

    splits = {name: getattr(problem.prompts, name) for name in ("train", "validation", "test")}
    return pd.DataFrame(
        {
            "split": [name for name, prompts in splits.items() for _ in prompts],
            "prompt": [prompt for prompts in splits.values() for prompt in prompts],
        }
    )


def _pairs_of_responses(problem: Problem) -> pd.DataFrame:
    """Two responses to each prompt: of a world's reference policy, or what texts of the corpus go on with."""
    pairs = prompt_pairs(problem)
    rng = seeds.rng(0, "check", "responses")
    if problem.world is not None:
        policy = FinitePolicy(problem.world, np.log(problem.world.reference))
        drawn = policy.sample(pairs["prompt"].tolist(), 2, seeds.child(0, "check", "responses"))
        texts = [text for row in drawn for text in row]
    elif problem.corpus:
        tails = _tails(problem)
        texts = [tails[i] for i in rng.integers(len(tails), size=2 * len(pairs))]
    else:
        return pairs.iloc[:0].assign(response_a=[], response_b=[])
    return pairs.assign(response_a=texts[::2], response_b=texts[1::2])


def _tails(problem: Problem) -> list[str]:
    """Ends of the corpus's texts: after the prompt where one begins with it, else the second half."""
    lengths = sorted({len(prompt) for prompt in problem.prompts.train}, reverse=True)
    known = set(problem.prompts.train) | set(problem.prompts.validation)
    tails = []
    for text in problem.corpus[:5000]:
        length = next((n for n in lengths if text[:n] in known), None)
        words = text.split() if length is None else text[length:].split()
        start = len(words) // 2 if length is None else 0
        tails.append(" " + " ".join(words[start : start + problem.response_tokens]))
    return tails


def _unsound(values: np.ndarray, prompts: Sequence[str]) -> str | None:
    if values.shape != (len(prompts),):
        return f"{len(prompts)} responses gave an array of shape {values.shape}."
    if not np.issubdtype(values.dtype, np.floating):
        return f"it returns {values.dtype}: return float64."
    return None if np.isfinite(values).all() else "some are not finite."


def _unsteady(group: Group, prompts: Sequence[str], responses: Sequence[str]) -> str | None:
    values = np.asarray(group.utility(prompts, responses))
    if not np.array_equal(values, np.asarray(group.utility(prompts, responses))):
        return "a second call gives other numbers."
    few = np.linspace(0, len(responses) - 1, min(ALONE_RESPONSES, len(responses))).astype(int)
    alone = np.concatenate([np.asarray(group.utility([prompts[i]], [responses[i]])) for i in few])
    if not np.allclose(alone, values[few], rtol=1e-5, atol=1e-6):
        return "a response scored alone gets another number than among others."
    turned = np.asarray(group.utility(prompts[::-1], responses[::-1]))[::-1]
    return (
        None if np.allclose(turned, values, rtol=1e-5, atol=1e-6) else "the order of the responses matters."
    )


def _bad_name(group: Group, again: Problem) -> str | None:
    name, unit = group.utility.name, group.utility.unit
    if not (isinstance(name, str) and name.strip()) or "\n" in name:
        return f"{name!r:.60}: make it one line that holds everything which can move a number."
    if not (isinstance(unit, str) and unit.strip()):
        return "its unit is empty: say what one unit of it is."
    if re.search(r"0x[0-9a-f]{6,}", name):
        return f"{name!r:.60} holds an address in memory, which differs from run to run."
    others = [other.utility.name for other in again.groups if other.name == group.name]
    return None if others == [name] else f"it was {name!r:.60} and is {others!r:.80} when built again."


def _check_silence(checks: Checks, group: Group, prompts: Sequence[str], responses: Sequence[str]) -> None:
    words = f"utility of '{group.name}': an empty response is not liked"
    try:
        values = np.asarray(group.utility(prompts, responses))
        nothing = float(np.asarray(group.utility(prompts[:1], [""]))[0])
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything
        checks.add(words, "failed", raised(error))
        return
    better = float((values < nothing).mean())
    detail = f"it earns {nothing:g}, more than {better:.0%} of texts: make it as bad as the worst of them."
    status: FindingStatus = "failed" if better > 0.5 else "warned" if better > 0.1 else "passed"
    checks.add(words, status, "" if status == "passed" else detail)


def _bad_labels(problem: Problem, pairs: pd.DataFrame) -> str | None:
    rows, _ = label_pairs(pairs, problem, 0)
    expected = {"split", "prompt", "chosen", "rejected", "user_id", "group"}
    expected |= {f"{side}_utility/{g.name}" for side in ("chosen", "rejected") for g in problem.groups}
    expected |= {STRENGTH} if problem.population.tie_band else set()
    if set(rows.columns) != expected:
        return f"columns {sorted(set(rows.columns) ^ expected)} are missing or too many."
    if (rows.groupby("user_id")["group"].nunique() != 1).any():
        return "an annotator belongs to two groups."
    each = pairs.iloc[np.repeat(np.arange(len(pairs)), problem.population.labels_per_pair)]
    offered = [{a, b} for a, b in zip(each["response_a"], each["response_b"], strict=True)]
    labelled = [{a, b} for a, b in zip(rows["chosen"], rows["rejected"], strict=True)]
    return None if offered == labelled else "a label is about other responses than its pair's."


def _asymmetric(problem: Problem, pairs: pd.DataFrame) -> str | None:
    if not (problem.temperature >= 0 and math.isfinite(problem.temperature)):
        return f"a temperature of {problem.temperature} is no preference noise: give it 0 or more."
    pairs = pairs.iloc[:SCORED_RESPONSES]
    prompts = pairs["prompt"].tolist()
    a, b = pairs["response_a"].tolist(), pairs["response_b"].tolist()
    for group in problem.groups:
        there = np.asarray(group.utility(prompts * 2, [*a, *b]))
        back = np.asarray(group.utility(prompts * 2, [*b, *a]))
        n = len(prompts)
        temperature = problem.temperature * np.maximum([there.std()], 1e-9)
        chances = preference_probability((there[:n] - there[n:])[:, None], temperature)
        swapped = preference_probability((back[:n] - back[n:])[:, None], temperature)
        if not np.allclose(chances + swapped, 1, atol=1e-6):
            return f"'{group.name}' prefers by position: its utility must not depend on what else is scored."
    return None


def _check_conflict(checks: Checks, problem: Problem, pairs: pd.DataFrame) -> None:
    _, conflict = label_pairs(pairs, problem, 0)
    where = "" if problem.world is not None else " on texts of its corpus"
    for names, found in conflict.items():
        words = f"{names}: the groups want different things{where}"
        amount = f"their chances of preferring one response differ by {found['diversity']:.2g} on average"
        if found["diversity"] <= 1e-9:
            checks.add(words, "failed", "they never differ: give the groups different utilities.")
        elif found["diversity"] < LOW_DIVERSITY:
            checks.add(words, "warned", f"{amount}: hardly a pair tells them apart.")
        else:
            checks.add(words, "passed", amount)

"""Made-up runs whose records and evidence say who was answered, knowing what of her."""

import json

import pandas as pd

from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import PEOPLE_FILE, write_record
from prefbench.record.schema import Record
from support.records import make_run

SIZES = (0, 1, 8)
CONTROL = 8
EVEN = {"many": 0.6, "few": 0.6}


def told_run(runs, worst, seed=0, sees=("pairs",), moved=True, default=True, minus=None, **changes):
    """A run's folder; `worst` gives the worst group's win rate of the seen (None) and of each size.

    Args:
        runs: the runs folder.
        worst: by number of pairs; a number that stands alone is everybody's.
        seed: the run's.
        sees: of the policy.
        moved: its words depend on whose pairs it is shown.
        default: whoever nothing is known of is given what the items have.
        minus: own win rate less that of each control.
        changes: of the specification, and `aligner`.
    """
    rates = changes.pop("rates", EVEN)
    folder = make_run(runs, rates, seed=seed, **changes)
    record = json.loads((folder / "record.json").read_text())
    if not isinstance(worst, dict):
        worst = dict.fromkeys((None, *SIZES), worst)
    minus = minus if minus is not None else ({"shuffled": 0.2, "other group": 0.3} if sees else {})
    strata = [_stratum(rate, n) for n, rate in worst.items()]
    strata += [_stratum(worst[CONTROL] - less, CONTROL, context) for context, less in minus.items()]
    record |= {"sees": list(sees), "schema_version": 6}
    record["people"] = {
        "group_scales": None,
        "taste_scales": None,
        "strata": strata,
        "own_minus": [
            {"context": c, "n": CONTROL, "difference": d, "ci_low": d - 0.1, "ci_high": d + 0.1}
            for c, d in minus.items()
        ],
    }
    write_record(Record.model_validate(record), folder)
    items = read_items(folder)
    write_items(pd.concat([_said(items, s, moved, default) for s in strata]), folder, PEOPLE_FILE)
    return folder


def _stratum(worst, n, context="own"):
    groups = [("many", min(1.0, worst + 0.1)), ("few", worst)]
    mean = sum(rate for _, rate in groups) / 2
    return {
        "seen": n is None,
        "n": n,
        "context": context,
        "win_rate": mean,
        "ci_low": max(0, mean - 0.1),
        "ci_high": min(1, mean + 0.1),
        "groups": [
            {"name": name, "people": 3, "win_rate": rate, "ci_low": 0.0, "ci_high": 1.0}
            for name, rate in groups
        ],
        "worst_group": "few",
        "worst_group_win_rate": worst,
        "worst_group_win_rate_ci": [max(0, worst - 0.1), min(1, worst + 0.1)],
        "kl": 2.0,
        "worst_tenth": worst / 2,
        "gini": 0.1,
        "atkinson": 0.05,
    }


def _said(items, stratum, moved, default):
    """Evidence of a stratum: what the items have, or a word for each context and size."""
    kept = items[["prompt_id", "sample", "prompt", "response", "reference_response"]]
    known = stratum["n"] != 0
    word = f"{stratum['context'] if moved else 'own'} {stratum['n']}"
    said = word if known else ("another" if not default else None)
    tables = []
    for group in ("many", "few"):
        table = kept.assign(person=f"one of {group}", group=group, seen=stratum["seen"])
        table = table.assign(n=5 if stratum["seen"] else stratum["n"], context=stratum["context"])
        if said is not None:
            table["response"] = said
        facts = {
            "empty": False,
            "reference_empty": False,
            "kl": 2.0,
            "utility": 1.0,
            "reference_utility": 0.0,
        }
        tables.append(table.assign(**facts))
    return pd.concat(tables)


def told_board(runs, seeds=(0, 1, 2, 3)):
    """Two learners for everybody, three told of people, and a ceiling, on one board.

    `router` beats the better of the two with eight pairs, `deaf` says the same whatever it is shown, and
    `noisy` cannot be told.
    """
    steps = (0.0, 0.02, -0.02, 0.01, 0.0)
    for seed in seeds:
        luck = steps[seed % len(steps)]
        told_run(runs, 0.6 + luck, seed, sees=(), aligner="fair")
        told_run(runs, 0.4 + luck, seed, sees=(), aligner="pooled", needs=("user_id",))
        own = {None: 0.9, 0: 0.4, 1: 0.6, 8: 0.85 + luck}
        told_run(runs, own, seed, aligner="router", needs=("user_id",))
        told_run(runs, 0.4 + luck, seed, moved=False, minus={"shuffled": 0.0}, aligner="deaf")
        wild = {None: 0.5, 0: 0.4, 1: 0.5, 8: 0.2 + 0.6 * (seed % 2)}
        swings = {"shuffled": 0.2 * (seed % 2) - 0.1, "other person": 0.0}
        told_run(runs, wild, seed, minus=swings, default=seed > 0, aligner="noisy")
        gold = {None: 0.95, 0: 0.4, 1: 0.95, 8: 0.95 + luck}
        told_run(runs, gold, seed, sees=("group",), minus={}, aligner="gold_personal", needs=("oracle",))
    return runs

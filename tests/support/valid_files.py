"""Valid files of every kind that strangers may send, to be mutated."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd

from support.verdicts import RUN


def make_runs(root: Path) -> None:
    """Two runs, one of them with every kind of evidence."""
    from prefbench.record.evidence import PROMPTED_COLUMNS, read_items, write_items
    from prefbench.record.files import DISTRIBUTION_FILE, PROMPTED_FILE, write_record
    from prefbench.record.schema import Record
    from prefbench.record.summary import summarise_prompted
    from support.records import make_items, make_record

    rates = {"many": 0.8, "few": 0.6}
    for name, aligner, seed in (("run-a", "a", 0), ("run-b", "good", 0)):
        items = make_items(rates, n=12, seed=seed)
        groups = [("many", 0.8, False), ("few", 0.2, True)]
        made = make_record(items, groups, aligner=aligner, seed=seed)
        write_record(made, root / "runs" / name)
        write_items(items, root / "runs" / name)
    folder = root / RUN
    items = read_items(folder)
    prompted = pd.concat(
        items[["prompt_id", "sample", "prompt", "response", "reference_response", "empty"]].assign(
            group=group, reference_empty=False, utility=items[f"utility/{group}"], reference_utility=0.0
        )
        for group in rates
    )
    write_items(prompted[list(PROMPTED_COLUMNS)], folder, PROMPTED_FILE)
    states = pd.DataFrame(
        {
            "state": [0, 0, 1, 1],
            "state_weight": 0.5,
            "response": ["x", "y"] * 2,
            "reference": 0.5,
            "policy": 0.5,
        }
        | {f"utility/{name}": [0.0, 1.0, 1.0, 0.0] for name in rates}
    )
    write_items(states, folder, DISTRIBUTION_FILE)
    from prefbench.evaluate.regret import regrets

    plain = json.loads((folder / "record.json").read_text())
    by_group, worst = summarise_prompted(prompted, [("many", 0.8, False), ("few", 0.2, True)], 0)
    for group in plain["groups"]:
        group["prompted"] = by_group[group["name"]]
    plain |= worst | {"regret": regrets(states, list(rates), 0.15)}
    write_record(Record.model_validate(plain), folder)
    assert (states["policy"] > 0).all()


def make_seeds(root: Path) -> None:
    """A folder with a valid file of every kind."""
    from prefbench.boards.csv_file import write_csv
    from prefbench.boards.pack import pack
    from prefbench.boards.table import build

    make_runs(root)
    folder = root / RUN
    pack([root / "runs"], root / "packed.zip")
    (folder / "history.json").write_text(json.dumps([{"reward": 0.1 * i, "kl": 0.2 * i} for i in range(5)]))
    stage = root / "runs/stages/policy/0123456789abcdef0123456789abcdef"
    stage.mkdir(parents=True)
    (stage / "done.json").write_text(
        json.dumps({"stage": "policy", "key": {"aligner": "a", "seed": 0}, "files": {}, "within": {}})
    )
    write_csv(build(root / "runs"), root / "board.csv")
    (root / "run.toml").write_text(
        'task = "bandit_two_group"\naligner = "maxmin"\ndata = "synthetic"\nminority_ratio = "4:1"\n'
        'seed = 0\nseeds = 2\nruns_dir = "runs"\n[set.task]\nannotators = 20\n[set.evaluate]\nsamples = 2\n'
    )
    (root / "sweep.toml").write_text(
        'task = "bandit_two_group"\naligner = ["maxmin", "dpo"]\nminority_ratio = [0.2, "10:1"]\nseeds = 2\n'
        'runs_dir = "runs"\n[set.task]\nannotators = [20, 40]\n[resources]\ncpus = 1\n[[grid]]\n'
        '[[grid]]\naligner = "single_reward"\n[[exclude]]\naligner = "dpo"\nminority_ratio = 0.2\n'
    )
    (root / "tune.toml").write_text(
        'task = "bandit_two_group"\naligner = ["dpo", "maxmin"]\nminority_ratio = "10:1"\n'
        'configurations = 4\nseed = [100, 101]\nsearch_seed = 3\nruns_dir = "runs"\n'
        "[set.task]\nannotators = 20\n[set.aligner.dpo]\nlabel_smoothing = 0.1\n[resources]\ncpus = 1\n"
    )
    (root / "tuned.json").write_text(json.dumps(_tuned(), indent=1))
    (root / "gate.toml").write_text(
        'level = 0.05\nstrict = true\n[[check]]\nmetric = "minority_win_rate"\nmargin = 0.03\ntask = "toy"\n'
        'minority_ratio = "4:1"\n'
    )
    _make_data(root / "data")
    _make_model(root / "model")


def _tuned() -> dict[str, Any]:
    """What tuning one aligner of one problem might have found."""
    rules = ("S0", "S1", "S2", "S3")
    scores = dict.fromkeys(rules, 0.5)
    trial = {"seed": 100, "status": "ok", "message": None, "spec_hash": "0" * 16, "scores": scores, "kl": 1.5}
    tokens = {"sampled": 0, "scored": 10, "trained": 40}
    more = {"trials": [trial], "scores": scores, "kl": 1.5, "tokens": tokens}
    return {
        "schema_version": 1,
        "prefbench": "0.1.0",
        "numerics": 2,
        "task": "bandit_two_group",
        "task_version": 1,
        "task_options": {"annotators": 20},
        "model": "finite",
        "model_options": {},
        "data": "synthetic",
        "minority_ratio": 0.0909,
        "evaluate_options": {"samples": 1},
        "configurations": 2,
        "seeds": [100],
        "search_seed": 0,
        "aligners": [
            {
                "name": "dpo",
                "needs": [],
                "rule": "S0",
                "measure": "value",
                "code": "0" * 16,
                "space": {"beta": "log-uniform from 0.03 to 3"},
                "fixed": {"label_smoothing": 0.1},
                "tokens": tokens,
                "tried": [
                    {"index": 0, "options": {}, **more},
                    {"index": 1, "options": {"beta": 0.7}, **more},
                ],
                "chosen": dict.fromkeys(rules, 1),
            }
        ],
    }


def _make_data(folder: Path) -> None:
    folder.mkdir()
    reviews = pd.DataFrame({"text": [f"a review, number {i}" for i in range(8)], "label": [0, 1] * 4})
    reviews.to_csv(folder / "reviews.csv", index=False)
    reviews.to_parquet(folder / "reviews.parquet", index=False)
    lines = reviews.to_json(orient="records", lines=True).encode()
    (folder / "reviews.jsonl").write_bytes(lines)
    (folder / "reviews.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    turn = "Human: hello {}\n\nAssistant: "
    pairs = [{"chosen": turn.format(i) + "yes", "rejected": turn.format(i) + "no"} for i in range(6)]
    (folder / "helpful-base.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    pd.DataFrame(pairs).assign(objective="helpful").to_parquet(folder / "hh.parquet", index=False)
    rows = [{"user_input": f"p{i}", "completion_a": "x", "completion_b": "y"} for i in range(4)]
    (folder / "P1A.json").write_text(json.dumps(rows))
    (folder / "prompts.json").write_text(json.dumps([{"prompt": f"p{i}"} for i in range(4)]))
    answers = [{"instruction": f"i{i}", "generator": m, "output": f"{m} {i}"} for i in range(4) for m in "ab"]
    pd.DataFrame(answers).to_parquet(folder / "answers.parquet", index=False)


def _make_model(folder: Path) -> None:
    """A tiny Llama with a chat template, and an index of its weights beside them."""
    from support.tiny import CHATML, chat_tokenizer, tiny_model

    tokenizer = chat_tokenizer(CHATML)
    tiny_model("llama", len(tokenizer), 96, 0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"model.embed_tokens.weight": "model.safetensors"}})
    )

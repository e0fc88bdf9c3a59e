"""Tables of labels by people, written here: every label follows from who gives it."""

import json
from pathlib import Path

import numpy as np

from prefbench_tasks.hh_two_group import Harmlessness, Helpfulness, synthetic_requests

PEOPLE = {
    f"{name}": "careful" if index % 3 == 0 else "brisk"
    for index, name in enumerate("ann bob cem dee eve fay gil hal ida jon kim lou mia ned oda pam".split())
}
"""Names and the group of each: 6 careful, 10 brisk."""


def labels(prompts: int = 60, each: int = 30, seed: int = 3) -> list[dict]:
    """Rows of prompt, chosen, rejected, annotator and group; people label overlapping, unequal parts."""
    rng = np.random.default_rng(seed)
    asked, answers = synthetic_requests(2 * prompts, rng)
    pairs = list(zip(asked[:prompts], answers[:prompts], answers[prompts:], strict=True))
    pairs = [pair for pair in pairs if pair[1] != pair[2]]
    rows = []
    for index, (who, group) in enumerate(PEOPLE.items()):
        utility = Harmlessness() if group == "careful" else Helpfulness()
        for place in rng.permutation(len(pairs))[: each + index].tolist():
            prompt, one, other = pairs[place]
            first, second = utility([prompt] * 2, [one, other])
            if first == second:
                continue
            chosen, rejected = (one, other) if first > second else (other, one)
            rows.append(
                {"prompt": prompt, "chosen": chosen, "rejected": rejected, "annotator": who, "group": group}
            )
    return rows


def write_rows(path: Path, rows: list[dict]) -> Path:
    """Rows as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

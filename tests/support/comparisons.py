"""Comparisons in the layout of HH-RLHF."""

import json
from pathlib import Path

import numpy as np

from prefbench_tasks.hh_two_group import Harmlessness, Helpfulness, synthetic_requests

SMALL = {"annotators": 5, "pairs_per_annotator": 8, "test_prompts": 20}


def write_hh(folder: Path, pairs: int = 150) -> Path:
    """Comparisons from the grammar, in the layout of HH-RLHF, each labelled by its part's utility."""
    prompts, answers = synthetic_requests(4 * pairs, np.random.default_rng(1))
    for group, part in (("helpful", slice(0, 2 * pairs)), ("harmless", slice(2 * pairs, None))):
        utility = Helpfulness() if group == "helpful" else Harmlessness()
        rows = []
        for prompt, one, other in zip(
            prompts[part][::2], answers[part][::2], answers[part][1::2], strict=True
        ):
            first, second = utility([prompt] * 2, [one, other])
            chosen, rejected = (one, other) if first >= second else (other, one)
            head = f"\n\nHuman: {prompt}\n\nAssistant: "
            rows.append({"chosen": head + chosen, "rejected": head + rejected})
        path = folder / f"{group}-base" / "train.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder

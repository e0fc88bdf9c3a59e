"""What a user would pick instead, beside the harness: `python benchmarks/peers.py --json peers.json`.

Same model, texts, batches and number of updates; each side warms up once and then both take turns, so that a
machine that slows down slows both. Reported are medians and the median of the ratios within a round. Before
a trainer is timed, its loss on the same pairs has to agree with ours.

TRL runs in an interpreter of its own (`peer_trl.py`). PPO was dropped from TRL after 1.12: `--trl-ppo`
names an interpreter, or a folder to put first on the path, that has it.

    pip download --no-deps trl==1.12.0 && python -m zipfile -e trl-1.12.0-py3-none-any.whl trl-1.12
    python benchmarks/peers.py --trl-ppo trl-1.12 --json peers.json
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compared import Bench, Compared, margins
from peer_bootstrap import bootstrap
from peer_em import mixture
from peer_process import agree, trainer
from setting import (
    SIZES,
    Size,
    backbone_of,
    endings,
    fresh,
    interleaved,
    model_of,
    pairs_of,
    seconds_of,
    tokenizer_of,
)
from tabulate import tabulate

from prefbench import registry, seeds
from prefbench.backbone.language import reward as language_reward
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.policies import LMPolicy, LMReward
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.learn.interface import Pairs, RewardFunction, RewardRequest
from prefbench.learn.options import PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.welfare import population_min

BETA = 0.1
ITERATIONS = 3
"""Of PPO and RLOO in a round."""


def texts_of(pairs: Pairs) -> dict[str, list[str]]:
    return {"prompt": list(pairs.prompts), "chosen": list(pairs.chosen), "rejected": list(pairs.rejected)}


def saved(model: Any, size: Size, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer_of(size).save_pretrained(folder)
    return str(folder)


def moved(size: Size) -> Any:
    """The model after a small step somewhere, so that a policy differs from its reference."""
    model, other = model_of(size), model_of(size, seed=1)
    with torch.no_grad():
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            p.add_(q, alpha=0.1)
    return model


# ------------------------------------------------------------------------------------------------- the stages


def dpo(bench: Bench, size_name: str) -> Compared:
    size = SIZES[size_name]
    backbone, pairs = backbone_of(size, bench.folder), pairs_of(size)
    start = saved(backbone.reference.model, size, bench.folder / f"{size_name}-reference")
    other = moved(size)
    job = {
        "trainer": "dpo",
        "model": saved(other, size, bench.folder / f"{size_name}-moved"),
        "reference": start,
        "pairs": texts_of(pairs),
        "batch": size.batch,
        "epochs": 1,
        "learning_rate": 1e-12,
        "beta": BETA,
        "precompute": False,
        "threads": bench.threads,
    }
    with trainer(job, bench.trl) as peer:
        theirs = peer.round()["loss"]
    policy = LMPolicy(other.eval(), backbone)
    log_ratio = [
        policy.logprob(pairs.prompts, side) - backbone.reference.logprob(pairs.prompts, side)
        for side in (pairs.chosen, pairs.rejected)
    ]
    ours = DPO(BETA)(torch.from_numpy(log_ratio[0] - log_ratio[1])).mean()
    agree(f"DPO ({size_name})", float(ours), theirs, 2e-3)
    options = PairwiseOptions(epochs=1, batch=size.batch, beta=BETA)

    def fit() -> None:
        fresh(backbone).fit_pairwise(pairs, DPO(BETA), options, seed=0)

    job |= {"model": start, "learning_rate": size.learning_rate}
    with trainer(job, bench.trl) as peer:
        times = interleaved([partial(seconds_of, fit), peer.seconds], bench.rounds)
        name = f"TRL {peer.version} DPOTrainer"
    return Compared("DPO", size_name, name, "pairs/s", len(pairs), *times, 4 if size_name == "nano" else 1.5)


def as_classifier(backbone: CausalLM, size: Size, folder: Path) -> tuple[str, LMReward]:
    """The same reward model for both: the last token's state and a head."""
    from transformers import AutoModelForSequenceClassification

    model = backbone.new_reward(0)
    config = copy.deepcopy(backbone.reference.model.config)
    config.num_labels = 1
    twin = AutoModelForSequenceClassification.from_config(config)
    twin.base_model.load_state_dict(model.trunk.state_dict())
    twin.score.weight.data.copy_(model.head.weight)
    return saved(twin, size, folder), LMReward(model, backbone)


def reward(bench: Bench, size_name: str) -> Compared:
    size = SIZES[size_name]
    backbone, pairs = backbone_of(size, bench.folder), pairs_of(size)
    backbone.reward_pooling = "last"
    start, model = as_classifier(backbone, size, bench.folder / f"{size_name}-classifier")
    job = {
        "trainer": "reward",
        "model": start,
        "pairs": texts_of(pairs),
        "batch": size.batch,
        "epochs": 1,
        "learning_rate": 1e-12,
        "threads": bench.threads,
    }
    with trainer(job, bench.trl) as peer:
        theirs = peer.round()["loss"]
    margin = margins(model, pairs)
    agree(f"reward ({size_name})", float(np.logaddexp(0, -margin).mean()), theirs, 2e-3)
    options = RewardOptions(reward_epochs=1, reward_batch=size.batch)

    def fit() -> None:
        language_reward.fit(fresh(backbone), RewardRequest(pairs, options, seed=0, name="r"))

    job |= {"learning_rate": size.learning_rate}
    with trainer(job, bench.trl) as peer:
        times = interleaved([partial(seconds_of, fit), peer.seconds], bench.rounds)
        name = f"TRL {peer.version} RewardTrainer"
    target = 4 if size_name == "nano" else 1.5
    return Compared("reward training", size_name, name, "pairs/s", len(pairs), *times, target)


def policy_gradient(bench: Bench, size_name: str, kind: str) -> Compared:
    """Iterations of sampling, scoring and updating: as many responses and gradient steps on both sides."""
    size = SIZES[size_name]
    backbone, pairs = backbone_of(size, bench.folder), pairs_of(size)
    backbone.reward_pooling = "last"
    start = saved(backbone.reference.model, size, bench.folder / f"{size_name}-reference")
    folder, model = as_classifier(backbone, size, bench.folder / f"{size_name}-classifier")
    options = PPOOptions(iterations=ITERATIONS, batch=size.rollouts, early_stop_kl=None)

    def rewards(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return model.score(prompts, responses)[:, None]

    function: RewardFunction = rewards

    def iterate() -> None:
        fresh(backbone).optimise(
            function, population_min, options, prompts=pairs.prompts, seed=0, names=["r"]
        )

    job = {
        "trainer": kind,
        "model": start,
        "reference": start,
        "reward": folder,
        "pairs": texts_of(pairs),
        "rollouts": size.rollouts,
        "minibatches": options.minibatches,
        "epochs": options.epochs,
        "iterations": ITERATIONS,
        "response_tokens": size.response[1],
        "stops": sorted(endings(size)),
        "learning_rate": size.learning_rate,
        "beta": BETA,
        "threads": bench.threads,
    }
    with trainer(job, bench.trl_ppo if kind == "ppo" else bench.trl) as peer:
        times = interleaved([partial(seconds_of, iterate), peer.seconds], bench.rounds)
        name = f"TRL {peer.version} {'PPOTrainer' if kind == 'ppo' else 'RLOOTrainer'}"
    return Compared("RL iteration", size_name, name, "responses/s", ITERATIONS * size.rollouts, *times, 5)


def sampling(bench: Bench, size_name: str, ends: bool, n: int = 1) -> Compared:
    """Tokens that count: those of responses up to their end."""
    size, rows = SIZES[size_name], 64
    backbone = backbone_of(size, bench.folder, ends=ends)
    model, codec = backbone.reference.model, backbone.codec
    prompts = codec.prompts(pairs_of(size, rows // n).prompts)
    stops = sorted(codec.stops) or None
    uniform = torch.rand(
        (rows, codec.response_tokens), generator=seeds.torch_generator(0, "u"), dtype=torch.float64
    )
    made: dict[str, list[int]] = {"ours": [], "theirs": []}

    def sample() -> None:
        drawn = sample_tokens(model, codec, prompts, n, uniform, backbone.limits.sampling)
        made["ours"].append(sum(map(len, drawn)))

    tokenizer = tokenizer_of(size)
    state = {"round": 0}

    def generate() -> None:
        torch.manual_seed(state["round"])
        state["round"] += 1
        inputs = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        with torch.no_grad():
            ids = model.generate(
                **inputs,
                do_sample=True,
                top_k=0,
                temperature=1.0,
                max_new_tokens=codec.response_tokens,
                num_return_sequences=n,
                eos_token_id=stops,
                pad_token_id=1,
            )
        new = ids[:, inputs["input_ids"].shape[1] :]
        ended = torch.isin(new, torch.tensor(stops or [-1])).cumsum(1)
        made["theirs"].append(int((ended - torch.isin(new, torch.tensor(stops or [-1])).long() == 0).sum()))

    times = interleaved([partial(seconds_of, sample), partial(seconds_of, generate)], bench.rounds)
    # Per token, since each side draws its own lengths.
    per_token = [
        [s / m for s, m in zip(side, made[name][1:], strict=True)]
        for side, name in zip(times, ("ours", "theirs"), strict=True)
    ]
    what = "sampling" if ends else "sampling, none ends"
    return Compared(
        f"{what}, 64 rows" + (f", {n} a prompt" if n > 1 else ""),
        size_name,
        "transformers generate",
        "tokens/s",
        1,
        *per_token,
        2,
    )


STAGES: dict[str, Callable[[Bench], Compared]] = {
    "dpo-nano": partial(dpo, size_name="nano"),
    "reward-nano": partial(reward, size_name="nano"),
    "ppo-nano": partial(policy_gradient, size_name="nano", kind="ppo"),
    "rloo-nano": partial(policy_gradient, size_name="nano", kind="rloo"),
    "sampling-nano": partial(sampling, size_name="nano", ends=True),
    "sampling-nano-whole": partial(sampling, size_name="nano", ends=False),
    "em-nano": mixture,
    "bootstrap": partial(bootstrap, continuous=False),
    "bootstrap-continuous": partial(bootstrap, continuous=True),
    "dpo-gpt2": partial(dpo, size_name="gpt2"),
    "reward-gpt2": partial(reward, size_name="gpt2"),
    "sampling-gpt2": partial(sampling, size_name="gpt2", ends=True),
    "sampling-gpt2-whole": partial(sampling, size_name="gpt2", ends=False),
    "dpo-smollm2": partial(dpo, size_name="smollm2"),
    "reward-smollm2": partial(reward, size_name="smollm2"),
    "sampling-smollm2": partial(sampling, size_name="smollm2", ends=True),
    "sampling-smollm2-whole": partial(sampling, size_name="smollm2", ends=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", choices=list(STAGES), help="these stages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--trl", metavar="PYTHON", help="an interpreter with TRL, or a folder to put on the path"
    )
    parser.add_argument(
        "--trl-ppo", metavar="PYTHON", help="the same with TRL 1.12; without it PPO is left out"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    registry.load_plugins()
    torch.set_num_threads(asked.threads)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), asked.rounds, asked.threads, asked.trl, asked.trl_ppo)
        for name in asked.only or STAGES:
            if name.startswith("ppo") and asked.trl_ppo is None:
                continue
            found.append(STAGES[name](bench))
            print(*found[-1].row(), sep="  ", file=sys.stderr, flush=True)
    header = ["stage", "against", "ours", "theirs", "unit", "times faster", "target", "met"]
    print(tabulate([one.row() for one in found], header, tablefmt="github", disable_numparse=True))
    if asked.json is not None:
        rows = [asdict(one) | {"ratio": one.ratio} for one in found]
        asked.json.write_text(json.dumps({"threads": asked.threads, "compared": rows}, indent=1))


if __name__ == "__main__":
    main()

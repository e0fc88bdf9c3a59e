"""One round of a TRL trainer on request, in an interpreter of its own: `peers.py` starts it.

It knows nothing of prefbench. A line of JSON on standard input says which trainer, model folder, texts and
sizes; after that each line `round` is answered with the seconds of `train()` and the loss that it reports.
Everything is what TRL's documentation would have a user write for a CPU: no padding to multiples, no
checkpoints, no logging, no gradient checkpointing, which slow it down.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import warnings
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # trainers print; answers have the channel to themselves


def quiet(folder: str) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "seed": 0,
    }


def dpo(job: dict[str, Any], folder: str) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    args = DPOConfig(
        **quiet(folder),
        per_device_train_batch_size=job["batch"],
        num_train_epochs=job["epochs"],
        learning_rate=job["learning_rate"],
        beta=job["beta"],
        max_length=None,
        logging_steps=10**6,
        precompute_ref_log_probs=job["precompute"],
    )
    return DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(job["model"]),
        ref_model=None if job["precompute"] else AutoModelForCausalLM.from_pretrained(job["reference"]),
        args=args,
        train_dataset=Dataset.from_dict({k: job["pairs"][k] for k in ("prompt", "chosen", "rejected")}),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
    )


def classifier(folder: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)


def reward(job: dict[str, Any], folder: str) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    args = RewardConfig(
        **quiet(folder),
        per_device_train_batch_size=job["batch"],
        num_train_epochs=job["epochs"],
        learning_rate=job["learning_rate"],
        max_length=None,
        logging_steps=10**6,
    )
    return RewardTrainer(
        model=classifier(job["model"]),
        args=args,
        train_dataset=Dataset.from_dict({k: job["pairs"][k] for k in ("prompt", "chosen", "rejected")}),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
    )


def rloo(job: dict[str, Any], folder: str) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import RLOOConfig, RLOOTrainer

    args = RLOOConfig(
        **quiet(folder),
        per_device_train_batch_size=job["rollouts"] // job["minibatches"],
        steps_per_generation=job["minibatches"],
        num_iterations=job["epochs"],
        num_generations=2,
        max_steps=job["iterations"] * job["minibatches"] * job["epochs"],
        max_completion_length=job["response_tokens"],
        learning_rate=job["learning_rate"],
        beta=job["beta"],
        temperature=1.0,
        top_k=0,
        generation_kwargs={"eos_token_id": job["stops"]},
        logging_steps=10**6,
    )
    return RLOOTrainer(
        model=AutoModelForCausalLM.from_pretrained(job["model"]),
        reward_funcs=classifier(job["reward"]),
        reward_processing_classes=AutoTokenizer.from_pretrained(job["model"]),
        args=args,
        train_dataset=Dataset.from_dict({"prompt": job["pairs"]["prompt"]}),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
    )


def ppo(job: dict[str, Any], folder: str) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    args = PPOConfig(
        **quiet(folder),
        per_device_train_batch_size=job["rollouts"],
        gradient_accumulation_steps=1,
        num_mini_batches=job["minibatches"],
        num_ppo_epochs=job["epochs"],
        total_episodes=job["iterations"] * job["rollouts"],
        local_rollout_forward_batch_size=job["rollouts"],
        response_length=job["response_tokens"],
        stop_token_id=0,
        learning_rate=job["learning_rate"],
        kl_coef=job["beta"],
        temperature=1.0,
        num_sample_generations=0,
        logging_steps=10**6,
    )
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    encoded = tokenizer(job["pairs"]["prompt"])["input_ids"]
    policy = AutoModelForCausalLM.from_pretrained(job["model"])
    return PPOTrainer(
        args=args,
        processing_class=tokenizer,
        model=policy,
        ref_model=AutoModelForCausalLM.from_pretrained(job["reference"]),
        reward_model=classifier(job["reward"]),
        value_model=classifier(job["reward"]),
        train_dataset=Dataset.from_dict({"input_ids": encoded}),
        eval_dataset=Dataset.from_dict({"input_ids": encoded[:2]}),
    )


def main() -> None:
    job = json.loads(sys.stdin.readline())
    import torch
    import transformers
    import trl

    torch.set_num_threads(job["threads"])
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    make = {"dpo": dpo, "reward": reward, "rloo": rloo, "ppo": ppo}[job["trainer"]]
    print(json.dumps({"trl": trl.__version__}), file=answers, flush=True)
    for _ in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            trainer = make(job, folder)
            started = time.perf_counter()
            outcome = trainer.train()
            seconds = time.perf_counter() - started
        history = [row for row in trainer.state.log_history if "train_loss" not in row]
        loss = None if outcome is None else outcome.training_loss
        print(json.dumps({"seconds": seconds, "loss": loss, "log": history}), file=answers, flush=True)


if __name__ == "__main__":
    main()

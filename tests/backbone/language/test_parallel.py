"""Several processes at one run: the same numbers as one, and one end for all of them."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from prefbench.backbone.language.memory import attempt
from prefbench.errors import PrefbenchError, UserError
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.team import Team, _current
from support.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[3]
SIZE = 2


# --- processes --------------------------------------------------------------------------------------------


def launch(*words, **environment):
    """The same command as `SIZE` processes that know of each other, as torchrun would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(SIZE), "LOCAL_WORLD_SIZE": str(SIZE), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": port, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **shared, **environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for rank in range(SIZE)
    ]


def finish(processes, seconds=300):
    """Exit codes, outputs and errors. None outlives the test."""
    try:
        said = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], *zip(*said, strict=True)


STEPS = """
import sys
from pathlib import Path
import numpy as np, torch
from prefbench.backbone.language.batches import deal
from prefbench.team import Once, joined, team
from prefbench.backbone.language.memory import Limit
from prefbench.backbone.language.training import State, descend
from prefbench.store.stages import Store

def train(memory):
    # Batches of 7, 3 and 1 rows: with two processes somebody has less to do, or nothing.
    torch.manual_seed(0)
    model, rows = torch.nn.Linear(3, 1), torch.randn(11, 3)
    state, losses, at, once = State([model], 0.1), [], 0, Once()
    short = [memory and team().rank == 1]  # memory runs out once, in one process, after a sum was taken
    for size in (7, 3, 1):
        batch, at = rows[at : at + size], at + size

        def each(parts):
            shares = [part.weight * (model(batch[part.rows]) ** 2).sum() / size for part in parts]
            whole = once.sum(size, torch.stack(shares).sum().detach())
            for share in shares:
                if size == 7 and short[0]:
                    short[0] = False
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                yield share / whole.sqrt()

        limit = Limit(8, "tokens", "training on", print)
        losses.append(descend(state, [1 + i % 3 for i in range(size)], each, limit, 1.0, 100.0))
    share = deal([5, 1, 2, 4, 3])
    table = share.whole(torch.tensor(10 * share.rows))
    return [*losses, *model.weight[0].tolist(), *model.bias.tolist(), *table.tolist()]

def stored(root, rank):
    # A stage is computed by all and written by the first, whose checkpoint all of them read.
    def compute(work):
        assert work.load("half") is None
        work.save("half", {"x": torch.tensor([float(rank)])}, {"step": rank + 1})
        team().first(0)
        tensors, meta = work.load("half")
        (work.path / "result").write_text(f"{tensors['x'].item()} {meta['step']} {rank}")

    folders = {Store(root).stage("labels", {"k": 1}, compute) for _ in range(2)}
    return [(folder / "result").read_text() for folder in folders]

def in_turn(mark):
    with team().in_turn():
        first = not mark.exists()
        mark.touch()
    return first

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with joined() as processes:
        rank = processes.rank
        np.save(folder / f"{rank}.npy", [train(False), train(True)])
        assert stored(folder / "runs", rank) == ["0.0 1 0"]
        assert in_turn(folder / "mark") == (rank == 0)
        assert team().together() and team().first(7 + rank) == 7
"""


def test_gradients_of_two_processes_sum_to_the_whole_batchs(tmp_path):
    """Also where one of them runs out of memory and begins its share again."""
    code = tmp_path / "steps.py"
    code.write_text(STEPS)
    codes, outputs, errors = finish(launch(str(code), str(tmp_path), PYTHONPATH=str(ROOT)))
    assert codes == [0, 0], errors
    assert outputs[0] == "" and outputs[1].count("memory ran out") == 1
    expected = runpy.run_path(str(code))["train"](False)
    for rank in range(SIZE):
        for found in np.load(tmp_path / f"{rank}.npy"):
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_cannot_be_shared_out_is_refused(tmp_path, monkeypatch):
    """Before anything is loaded, written or waited for."""

    def refused(team, **wanted):
        token = _current.set(team)
        try:
            with pytest.raises(UserError) as error:
                run(make_spec(**wanted), tmp_path / "runs")
        finally:
            _current.reset(token)
        assert not (tmp_path / "runs").exists() and "\n" not in str(error.value)
        return str(error.value)

    cpu = torch.device("cpu")
    assert "one process" in refused(Team(0, 2, device=cpu), task="gridworld_two_group", aligner="maxmin")
    (tmp_path / "model").mkdir()
    text = {"task": "imdb_two_group", "aligner": "dpo", "model": str(tmp_path / "model")}
    for item, hint in {
        "model.lora=false": "model.lora=true",
        "model.steps=1": "model.steps=0",
        "model.device=cuda": "on cpu",
    }.items():
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        assert hint in refused(Team(0, 2, True, cpu), **text, sets=parse_sets([item]))


def test_with_weights_cut_up_missing_memory_is_the_end():
    def short():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    token = _current.set(Team(1, 2, sharded=True))
    try:
        with pytest.raises(PrefbenchError, match="memory ran out") as error:
            attempt(short)
    finally:
        _current.reset(token)
    assert "\n" not in str(error.value) and attempt(short) is None


CUT_UP = """
import sys
from pathlib import Path
import numpy as np, torch
from prefbench import seeds
from prefbench.learn.interface import Pairs
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.sharding import shard
from prefbench.team import joined, team
from prefbench.backbone.language.codec import Codec
from prefbench.learn.options import PairwiseOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.store.stages import Store, Work
from prefbench_baselines.kto import KTO

PROMPTS = ["the film", "my sister said the plot", "a short story", "the acting", "it runs"]
CHOSEN = [" was a joy.", " was fine", " about two brothers, and one sings", " is fine", " for hours"]
REJECTED = [" was dull.", " it was worse", " a mess", " is a mess and so is the ending", ""]

def figures(architecture, folder):
    from support.tiny import tiny_model, tiny_tokenizer
    folder = folder / f"{architecture}-of-{team().size}"
    folder.mkdir(exist_ok=True)
    tokenizer = tiny_tokenizer()
    model = tiny_model(architecture, len(tokenizer), 32, 0)
    # Half of all tokens end a response, so that processes end at different times.
    codec = Codec(tokenizer, frozenset(range(0, len(tokenizer), 2)), 6, 32)
    backbone = CausalLM(
        shard(model) if team().sharded else model, codec, digest="x", store=Store(folder),
        lora={"r": 2, "lora_alpha": 4}, policy_learning_rate=3e-3, reward_learning_rate=3e-3,
        reward_pooling="last", gradient_checkpointing=True, train_tokens_at_once=60,
        work=Work("test", folder),
    )
    said = backbone.reference.sample(PROMPTS, 3, seeds.child(0, "x"))
    pairs = Pairs(PROMPTS, CHOSEN, REJECTED)
    reward = backbone.fit_reward(pairs, RewardOptions(reward_epochs=2, reward_batch=4), seed=0, name="r")
    policy = backbone.fit_pairwise(pairs, DPO(0.3), PairwiseOptions(epochs=2, batch=4), seed=0)
    loss = KTO(0.3, 1.0, 1.0)
    apart = backbone.fit_pairwise(pairs, loss, PairwiseOptions(epochs=2, batch=4), seed=0, name="apart")
    margin = reward.score(PROMPTS, CHOSEN) - reward.score(PROMPTS, REJECTED)
    found = [backbone.reference.logprob(PROMPTS, CHOSEN), margin, policy.logprob(PROMPTS, REJECTED)]
    found.append(apart.logprob(PROMPTS, REJECTED))
    kept = sum(getattr(p, "to_local", lambda p=p: p)().numel() for p in model.parameters())
    return found, said, kept / sum(p.numel() for p in model.parameters())

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with joined():
        for architecture in ("gpt2", "llama"):
            found, said, kept = figures(architecture, folder)
            np.savez(folder / f"{architecture}-{team().rank}", found=found, said=said, kept=kept)
"""


@pytest.mark.slow
def test_weights_that_are_cut_up_compute_the_same(tmp_path):
    """Both layouts of a decoder, one with a tied embedding; passes of unequal number and length."""
    code = tmp_path / "cut_up.py"
    code.write_text(CUT_UP)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    fsdp = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "PYTHONPATH": paths}
    codes, _, errors = finish(launch(str(code), str(tmp_path), **fsdp))
    assert codes == [0, 0] and errors == ("", ""), errors
    figures = runpy.run_path(str(code))["figures"]
    for architecture, most in (("gpt2", 0.8), ("llama", 0.51)):
        expected, said, kept = figures(architecture, tmp_path)
        assert kept == 1 and len({len(text) for row in said for text in row}) > 2
        for rank in range(SIZE):
            there = np.load(tmp_path / f"{architecture}-{rank}.npz")
            assert there["said"].tolist() == said and there["kept"] < most
            np.testing.assert_allclose(there["found"], expected, atol=1e-4)


# --- runs -------------------------------------------------------------------------------------------------

SMALL = [
    "task.synthetic_size=300",
    "task.test_prompts=20",
    "task.annotators=8",
    "task.pairs_per_annotator=6",
    "task.response_tokens=6",
    "model.threads=1",
    "model.policy_learning_rate=0.003",
    "model.reward_learning_rate=0.003",
]
# Batches leave remainders of one row and of an odd number of rows.
ALIGNERS = {
    "maxmin": [
        "aligner.iterations=3",
        "aligner.batch=15",
        "aligner.epochs=2",
        "aligner.minibatches=2",
        "aligner.reward_epochs=1",
        "aligner.reward_batch=23",
        "aligner.em_restarts=2",
        "aligner.em_iterations=2",
    ],
    "gr_dpo": ["aligner.epochs=1", "aligner.batch=7", "model.lora=false"],
}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("parallel") / "model", tiny_tokenizer()
    tiny_model("llama", len(tokenizer), context=48, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def alone(model_folder, tmp_path_factory):
    """What one process makes of an aligner: its runs folder, once for all tests."""
    known: dict[str, Path] = {}

    def folder(aligner):
        if aligner not in known:
            known[aligner] = tmp_path_factory.mktemp("alone")
            sets = parse_sets(SMALL + ALIGNERS[aligner])
            spec = make_spec(task="imdb_two_group", aligner=aligner, model=str(model_folder), sets=sets)
            run(spec, known[aligner])
        return known[aligner]

    return folder


def words(model_folder, runs, aligner, *more):
    sets = [word for item in SMALL + ALIGNERS.get(aligner, []) for word in ("--set", item)]
    where = ["--model", str(model_folder), "--runs-dir", str(runs)]
    return ["run", "--task", "imdb_two_group", "--aligner", aligner, *where, *sets, *more]


def only(paths):
    (path,) = paths
    return path


def record_of(runs):
    return json.loads(only(runs.glob("imdb*/record.json")).read_text())


def same(found, expected, path=""):
    """Equal but for rounding, of a record's values or anything like them."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key in expected.keys() - {"timings", "provenance"}:
            same(found[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for index, pair in enumerate(zip(found, expected, strict=True)):
            same(*pair, f"{path}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4), path
    else:
        assert found == expected, path


def same_runs(found, expected):
    """The same labels, policy, rewards and record. A reward's own bias is nowhere in its loss."""
    records = [record_of(runs) for runs in (found, expected)]
    for record in records:
        record["stages"] = sorted(record["stages"])  # keys hold results to digits that rounding moves
    same(*records)
    for name in ("labels/*/labels.parquet", "policy/*/margins.parquet"):
        tables = [sorted((runs / "stages").glob(name)) for runs in (found, expected)]
        assert len(tables[0]) == len(tables[1])
        for ours, theirs in zip(*tables, strict=True):
            pd.testing.assert_frame_equal(pd.read_parquet(ours), pd.read_parquet(theirs), atol=1e-4)
    weights = [only((runs / "stages" / "policy").glob("*/*.safetensors")) for runs in (found, expected)]
    ours, theirs = (load_file(file) for file in weights)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=0, msg=name)
    assert not list((found / "stages").glob("*/*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("aligner", ALIGNERS)
def test_two_processes_make_the_same_run(model_folder, alone, tmp_path, aligner):
    """Rewards, EM and PPO with adapters; groups' weights over a whole batch with every weight trained."""
    codes, outputs, errors = finish(
        launch("-m", "prefbench", *words(model_folder, tmp_path, aligner, "--json"))
    )
    assert codes == [0, 0], errors
    assert json.loads(outputs[0]) == record_of(tmp_path) and outputs[1] == ""
    same_runs(tmp_path, alone(aligner))


@pytest.mark.slow
def test_the_shipped_config_launches_the_same_run_with_weights_cut_up(model_folder, alone, tmp_path):
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(SIZE)]
    config = ["--config_file", str(ROOT / "prefbench" / "configs" / "fsdp2.yaml"), "--main_process_port", "0"]
    # The plug-in looks at the weights that a process keeps.
    plugin = tmp_path / "look.py"
    plugin.write_text(LOOK)
    arguments = words(model_folder, tmp_path / "runs", "maxmin", "--plugin", str(plugin))
    result = subprocess.run(
        [*accelerate, *config, "-m", "prefbench", *arguments],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    same_runs(tmp_path / "runs", alone("maxmin"))
    total = sum(p.numel() for p in tiny_model("llama", len(tiny_tokenizer()), 48, 0).parameters())
    kept = [int((tmp_path / f"kept-{rank}").read_text()) for rank in range(SIZE)]
    assert sum(kept) == total and max(kept) < 0.6 * total


LOOK = """
import os
from pathlib import Path
from prefbench.backbone.language import pretrained as loading

def looking(model, cut=loading.shard):
    kept = sum(p.to_local().numel() for p in cut(model).parameters())
    (Path(__file__).parent / f"kept-{os.environ['RANK']}").write_text(str(kept))
    return model

loading.shard = looking
"""

FAILING = """
import os
from prefbench import seeds
from prefbench.learn.interface import Policy
from prefbench.registry import NoOptions, aligner

@aligner("failing")
def failing(view, backbone, options: NoOptions) -> Policy:
    if os.environ["RANK"] in os.environ["WHO_FAILS"]:
        raise ValueError("no more")
    backbone.reference.sample(view.prompts, 1, seeds.child(0, "failing"))
    raise AssertionError("nobody gets here")
"""


@pytest.mark.slow
@pytest.mark.parametrize("who", ["1", "01"], ids=["one", "both"])
def test_a_failure_ends_all_processes_with_one_line(model_folder, tmp_path, who):
    plugin = tmp_path / "failing.py"
    plugin.write_text(FAILING)
    arguments = words(model_folder, tmp_path / "runs", "failing", "--plugin", str(plugin), "--quiet")
    codes, outputs, errors = finish(launch("-m", "prefbench", *arguments, WHO_FAILS=who))
    assert codes == [3, 3], errors
    lines = [line for text in errors for line in text.splitlines()]
    assert len(lines) == 1 and "aligner 'failing' failed with ValueError: no more" in lines[0], errors
    assert outputs == ("", "")
    # Only what all agree on is a result of the run.
    assert (who == "01") == bool(list((tmp_path / "runs").glob("imdb*/record.json")))


@pytest.mark.slow
def test_wrong_input_and_a_lost_process_end_in_one_line(model_folder, tmp_path):
    arguments = words(model_folder, tmp_path / "runs", "maxmin", "--set", "aligner.batch=none")
    codes, _, errors = finish(launch("-m", "prefbench", *arguments))
    assert codes == [2, 2] and len("".join(errors).splitlines()) == 1, errors
    processes = launch("-m", "prefbench", *words(model_folder, tmp_path / "runs", "maxmin", "--quiet"))
    wait_for(lambda: list((tmp_path / "runs" / "stages").glob("rewards/*.partial")), processes)
    processes[1].kill()
    codes, _, errors = finish(processes)
    assert codes == [3, -signal.SIGKILL] and errors[1] == ""
    assert len(errors[0].splitlines()) == 1 and "another process" in errors[0], errors


def wait_for(there, processes):
    while not there():
        assert all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_processes_continue_where_they_were(model_folder, alone, tmp_path):
    arguments = ("-m", "prefbench", *words(model_folder, tmp_path, "maxmin"))
    killed = launch(*arguments)
    wait_for(lambda: list((tmp_path / "stages").glob("rewards/*.partial/reward-em-*.checkpoint")), killed)
    for process in killed:
        process.kill()
    finish(killed)
    assert not list(tmp_path.glob("imdb*/record.json"))
    codes, _, errors = finish(launch(*arguments))
    assert codes == [0, 0], errors
    assert "pairs: stored" in errors[0] and "pairs" not in errors[1]
    same_runs(tmp_path, alone("maxmin"))

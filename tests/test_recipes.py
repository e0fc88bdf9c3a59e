"""The recipes of docs/recipes.md, run as they stand there but for their sizes, with the installed TRL."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from prefbench.running.recorded import StoredRun
from prefbench.spec import make_spec, parse_sets, run_name
from support.commands import sets, typed
from support.pages import PAGES
from support.tiny import TINY_SETS

PAGE = PAGES["docs/recipes.md"]
LITTLE = ["aligner.iterations=1", "aligner.batch=16", "aligner.reward_epochs=1", "aligner.em_restarts=1"]
SMALLER = {"STEPS": 6, "BATCH": 16}


def recipe(name: str) -> str:
    (found,) = re.findall(rf"<!-- recipe: {name} -->\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return found


def smaller(body: str) -> str:
    """A script with fewer steps and smaller batches."""
    line = re.search(r"^([A-Z]+(?:, [A-Z]+)*) = (.*)$", body, re.MULTILINE)
    assert line is not None
    names, values = line[1].split(", "), line[2].split(", ")
    assert SMALLER.keys() <= set(names)
    chosen = [str(SMALLER.get(name, value)) for name, value in zip(names, values, strict=True)]
    return body.replace(line[0], f"{line[1]} = {', '.join(chosen)}")


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's commands have been typed, at toy size."""
    home = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for line in recipe("export").splitlines():
            words = shlex.split(line)[1:]
            words += sets(*TINY_SETS) if "--task" in words else []
            words += sets(*LITTLE) if words[0] == "run" else []
            if "--rewards" in words:
                words[2] = str(next(Path("runs").glob("*-maxmin-*")))
            outcome = typed(*words, "--quiet")
            assert outcome.code == 0, outcome.err
    return home


@pytest.fixture
def run_script(taken, monkeypatch):
    """Runs a recipe in the folder of what was taken away."""

    def execute(name: str) -> None:
        monkeypatch.chdir(taken)
        monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
        monkeypatch.setenv("HF_DATASETS_CACHE", str(taken / "cache"))
        exec(smaller(recipe(name)), {})

    return execute


def moved(home: Path, name: str) -> float:
    """How far a trained folder's weights are from the reference's."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    before, after = (AutoModelForCausalLM.from_pretrained(home / each) for each in ("reference", name))
    assert AutoTokenizer.from_pretrained(home / name)("a film") == AutoTokenizer.from_pretrained(
        home / "reference"
    )("a film")
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def test_the_run_that_the_page_names_is_the_one_it_makes():
    chosen = parse_sets(["model.reward_pooling=last"])
    spec = make_spec(task="imdb_two_group", aligner="maxmin", sets=chosen)
    assert f"--rewards runs/{run_name(spec)} " in recipe("export")


def test_dpo_goes_on_from_the_exported_reference(taken, run_script):
    pytest.importorskip("trl")
    run_script("dpo")
    assert moved(taken, "dpo") > 1e-4


def test_rloo_goes_on_from_the_exported_reference(taken, run_script):
    pytest.importorskip("trl")
    run_script("rloo")
    assert moved(taken, "rloo") > 1e-4


# ---------------------------------------------------------------------------------- the worst group


@pytest.fixture(scope="module")
def worst_group(taken):
    """The class of the page, and the exported rewards' folders."""
    definitions = {}
    exec(recipe("rloo").split("\n\nfolders = ")[0], definitions)
    return definitions["WorstGroup"], sorted(map(str, (taken / "rewards").glob("reward-*")))


def test_it_computes_the_rewards_that_were_learned(taken, worst_group):
    make, folders = worst_group
    run = StoredRun.at(next((taken / "runs").glob("*-maxmin-*"))).opened()
    prompts = list(run.problem.measured[:12])
    responses = [" a fine film and more of it"[: 3 + 2 * place] for place in range(12)]
    ids = run.backbone.codec.responses(responses)
    found = make(folders).of_groups(prompts, ids).numpy().T
    np.testing.assert_allclose(found, run.rewards()(prompts, responses), atol=1e-5)
    assert len({len(row) for row in ids}) > 1, "rows of one length need no padding"


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        # The means are 1, 0.5: neither the sums (1, 3, 0.5) nor the smallest of each response (0, 1, -2).
        ([[0.0, 1.0, 2.0], [1.0, 2.5, -2.0]], [1.0, 2.5, -2.0]),
        ([[0.0, -1.0, -0.5], [3.0, 3.0, -9.0]], [3.0, 3.0, -9.0]),
    ],
)
def test_every_response_has_the_reward_of_the_group_with_the_smallest_mean(worst_group, rewards, expected):
    make, folders = worst_group
    reward = make(folders)
    reward.of_groups = lambda prompts, ids: torch.tensor(rewards)
    assert reward(["a"] * 3, [[1]] * 3) == expected


def test_the_means_of_batches_before_smooth_the_choice(worst_group):
    make, folders = worst_group
    batches = iter([[[0.0, 0.0], [4.0, 4.0]], [[2.0, 2.0], [0.0, 0.0]], [[2.0, 2.0], [0.0, 0.0]]])
    reward = make(folders, keep=0.5)
    reward.of_groups = lambda prompts, ids: torch.tensor(next(batches))
    # Means after each batch: 0 and 4, 1 and 2, 1.5 and 1.
    assert [reward(["a"] * 2, [[1]] * 2)[0] for _ in range(3)] == [0.0, 2.0, 0.0]


def test_its_policy_gradient_is_that_of_the_smallest_mean(worst_group):
    """Over all responses of a small policy, weighed by their probabilities, REINFORCE is exact."""
    make, folders = worst_group
    rewards = torch.tensor([[1.0, 0.0, -1.0, 0.5], [-2.0, 1.0, 0.5, 0.0]], dtype=torch.float64)
    counts = torch.tensor([3, 1, 2, 2])  # a batch whose shares are the policy's probabilities
    logits = (counts / counts.sum()).double().log().requires_grad_()
    objective = (rewards @ logits.softmax(0)).min()
    (exact,) = torch.autograd.grad(objective, logits)
    reward = make(folders)
    batch = rewards.repeat_interleave(counts, 1)
    reward.of_groups = lambda prompts, ids: batch
    given = torch.tensor(reward(["a"] * 8, [[1]] * 8), dtype=torch.float64)
    said = logits.log_softmax(0).repeat_interleave(counts)
    (estimated,) = torch.autograd.grad((given * said).mean(), logits)
    torch.testing.assert_close(estimated, exact)

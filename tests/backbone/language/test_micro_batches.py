"""Batches in parts: the whole batch's numbers, whether a limit or missing memory cut it up."""

import gc
import json
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefbench import seeds
from prefbench.backbone.language import training
from prefbench.backbone.language.build import fit_language_model
from prefbench.backbone.language.memory import Limit, attempt, in_batches, is_out_of_memory
from prefbench.backbone.language.rows import applies
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.errors import Diverged, PrefbenchError
from prefbench.learn.interface import Pairs
from prefbench.learn.options import PairTrainingOptions, PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.welfare import mean
from prefbench.store.stages import Work
from prefbench_baselines.kto import KTO

LORA = {"r": 2, "lora_alpha": 4}
WHOLE = 1 << 20
PROMPTS = ["the film", "my sister said the plot", "a short story", "the acting"] * 3
CHOSEN = [" was a joy.", " was fine", " about two brothers, and one sings", " is fine"] * 3
REJECTED = [" was dull.", " it was worse", " a mess", " is a mess and so is the ending"] * 3
PAIRS = Pairs(PROMPTS, CHOSEN, REJECTED, group=np.array(["many", "many", "few", "many"] * 3, dtype=object))


def limit_of(size, doing="training on", notes=None):
    return Limit(size, "tokens", doing, [].append if notes is None else notes.append)


@pytest.fixture(autouse=True)
def no_collection(monkeypatch):
    """Collecting garbage takes a while in a test session; reference counts have to do here."""
    monkeypatch.setattr("prefbench.backbone.language.memory.gc", SimpleNamespace(collect=lambda: None))


# --- cutting ----------------------------------------------------------------------------------------------

row_lengths = st.lists(st.integers(1, 50), min_size=1, max_size=30)


@given(row_lengths, st.integers(1, 400))
def test_parts_hold_every_row_once_and_no_more_than_the_limit(lengths, size):
    parts = limit_of(size).split(lengths)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * max(lengths[i] for i in part) <= size
    if len(lengths) * max(lengths) <= size:
        assert len(parts) == 1 and parts[0].tolist() == list(range(len(lengths)))


@given(row_lengths, st.integers(1, 400), st.integers(1, 400))
def test_rows_are_computed_once_each_while_memory_runs_out(lengths, size, memory):
    """Whatever takes more than `memory` tokens fails; no single row does."""
    memory = max(memory, *lengths)
    notes, tried, found = [], [], {}

    def compute(rows):
        tried.append(len(rows) * max(lengths[i] for i in rows))
        if tried[-1] > memory:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [lengths[i] for i in rows]

    for rows, values in in_batches(lengths, limit_of(size, "scoring", notes), compute):
        for row, value in zip(rows.tolist(), values, strict=True):
            assert row not in found
            found[row] = value
    assert found == dict(enumerate(lengths))
    assert len(notes) == sum(used > memory for used in tried)


def test_what_counts_as_memory_running_out():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"))
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
    with pytest.raises(RuntimeError):  # the allocator's own words, as it says them today
        try:
            torch.empty(1 << 62, dtype=torch.uint8)
        except RuntimeError as error:
            assert is_out_of_memory(error)
            raise


def test_nothing_of_a_failed_attempt_is_kept():
    kept = []

    def failing():
        tensor = torch.zeros(1000)
        kept.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    gc.disable()
    try:
        assert attempt(failing) is None
    finally:
        gc.enable()
    assert kept[0]() is None
    assert attempt(lambda: 0) == 0
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 // 0)


# --- the same result in parts -----------------------------------------------------------------------------


def rewarded(backbone):
    reward = backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=2, reward_batch=6), seed=0, name="r")
    return [reward.score(PROMPTS, CHOSEN), reward.score(PROMPTS, REJECTED)]


def preferred(backbone, group_step=None):
    options = PairwiseOptions(epochs=2, batch=6)
    policy = backbone.fit_pairwise(PAIRS, DPO(0.3), options, seed=0, group_step=group_step)
    return [policy.logprob(PROMPTS, CHOSEN), policy.logprob(PROMPTS, REJECTED)]


def robust(backbone):
    return preferred(backbone, group_step=1.0)


def by_each_ratio(backbone):
    """KTO, whose loss takes the divergence of a whole batch."""
    options = PairTrainingOptions(epochs=2, batch=6)
    policy = backbone.fit_pairwise(PAIRS, KTO(0.3, 1.0, 1.0), options, seed=0)
    return [policy.logprob(PROMPTS, CHOSEN), policy.logprob(PROMPTS, REJECTED)]


def optimised(backbone):
    def rewards(prompts, responses):
        return np.array([[len(text) / 10] for text in responses])

    options = PPOOptions(iterations=3, batch=24, minibatches=3, epochs=3, learning_rate=0.005)
    policy = backbone.optimise(rewards, mean(), options, prompts=PROMPTS, seed=0, names=["long"])
    history = json.loads((backbone.work.path / "history.json").read_text())
    figures = [np.array([row[key] for row in history]) for key in sorted(history[0])]
    return [policy.logprob(PROMPTS, CHOSEN), *figures]


LOOPS = (rewarded, preferred, robust, by_each_ratio, optimised)


def close(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


class Passes:
    """Counts the rows of every pass through a backbone's transformer, and lets some run out of memory."""

    def __init__(self, backbone, most_rows=1 << 20, fail_at=()):
        self.most_rows = most_rows
        self.fail_at = fail_at
        self.with_gradient, self.without = [], []
        applies(backbone.reference.model)  # which tries it out: passes that are not counted
        trunk = backbone.reference.model.base_model  # copies of the model take the hook with them
        trunk.register_forward_pre_hook(self.before, with_kwargs=True)

    def __deepcopy__(self, memo):
        return self

    def before(self, module, args, kwargs):
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        passes = self.with_gradient if torch.is_grad_enabled() else self.without
        passes.append(len(kwargs["rows"].packed.rectangle) if "rows" in kwargs else len(ids))
        number = len(self.with_gradient) + len(self.without)
        if passes[-1] > self.most_rows or number in self.fail_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_limit_on_tokens_changes_nothing_but_the_passes(tiny_backbone, loop, lora):
    whole = tiny_backbone("llama", lora=lora, train_tokens_at_once=WHOLE, tokens_at_once=WHOLE)
    parts = tiny_backbone("llama", lora=lora, train_tokens_at_once=60, tokens_at_once=60)
    counted = Passes(whole), Passes(parts)
    expected = loop(whole)
    close(loop(parts), expected)
    assert len(counted[1].with_gradient) > 2 * len(counted[0].with_gradient)
    assert max(counted[1].with_gradient) <= 20
    assert parts.notes == whole.notes == []


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("loop", LOOPS)
def test_missing_memory_changes_nothing_but_the_passes(tiny_backbone, loop, lora):
    expected = loop(tiny_backbone("llama", lora=lora))
    backbone = tiny_backbone("llama", lora=lora)
    counted = Passes(backbone, most_rows=5)
    close(loop(backbone), expected)
    # A batch's divergence comes first, without a gradient, and meets the wall for both.
    assert max(counted.with_gradient) > 5 or loop is by_each_ratio, "nothing would have run out of memory"
    doing = " ".join(backbone.notes)
    assert "training on" in doing and "scoring" in doing and ("sampling" in doing) == (loop is optimised)
    assert all("memory ran out" in note and "\n" not in note for note in backbone.notes)
    # What was learned once is kept: later stages do not run into the same wall.
    before = len(backbone.notes)
    loop(backbone.at(backbone.work) if loop is not optimised else backbone)
    assert len(backbone.notes) == before


@pytest.mark.parametrize("loop", [rewarded, preferred, robust])
@pytest.mark.parametrize("fail_at", range(1, 7))
def test_memory_may_run_out_once_at_any_pass(tiny_backbone, loop, fail_at):
    expected = loop(tiny_backbone("llama", lora=LORA))
    backbone = tiny_backbone("llama", lora=LORA)
    Passes(backbone, fail_at=(fail_at,))
    close(loop(backbone), expected)
    assert len(backbone.notes) == 1


@pytest.mark.parametrize("loop", [preferred, robust])
def test_memory_may_run_out_in_the_backward_pass(tiny_backbone, loop):
    """Part of the gradient is there by then, and the groups' weights are known; neither may count twice."""
    expected = loop(tiny_backbone("llama", lora=LORA))
    backbone = tiny_backbone("llama", lora=LORA)
    failures = iter([False, True, False, False, True])

    def fail(gradient):
        if next(failures, False):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def watch(module, inputs, output):
        if output.requires_grad:
            output.register_hook(fail)

    backbone.reference.model.model.layers[0].self_attn.o_proj.register_forward_hook(watch)
    close(loop(backbone), expected)
    assert len(backbone.notes) == 2


def test_early_stopping_is_by_the_whole_minibatch(tiny_backbone):
    def updates(backbone):
        options = PPOOptions(
            iterations=2, batch=24, minibatches=2, epochs=6, learning_rate=0.02, early_stop_kl=0.01
        )
        backbone.optimise(
            lambda prompts, responses: np.array([[float(len(text))] for text in responses]),
            mean(),
            options,
            prompts=PROMPTS,
            seed=0,
            names=["x"],
        )
        history = json.loads((backbone.work.path / "history.json").read_text())
        return [(row["updates"], row["old_to_new_kl"]) for row in history]

    whole = updates(tiny_backbone("llama", lora=LORA))
    parts = updates(tiny_backbone("llama", lora=LORA, train_tokens_at_once=50))
    assert [count for count, _ in parts] == [count for count, _ in whole]
    assert all(0 < count < 12 for count, _ in whole), "the stop should come early, not at once"
    np.testing.assert_allclose([kl for _, kl in parts], [kl for _, kl in whole], rtol=1e-3)


def test_a_language_model_is_trained_in_parts(tiny_backbone, tmp_path):
    texts = [list(range(5, 5 + n)) for n in (3, 12, 7, 7, 20, 4, 9, 15)]

    def losses(most_rows):
        backbone = tiny_backbone("gpt2", lora=LORA)
        counted = Passes(backbone, most_rows)
        work = Work("reference", tmp_path / str(most_rows))
        work.path.mkdir()
        model = backbone.trainable_copy(0)
        found = fit_language_model(model, texts, 32, 6, 4, 0.01, 0, work)
        return found, [rows for rows in counted.with_gradient if rows <= most_rows]

    whole, passes = losses(4)
    assert len(passes) == 6
    parts, passes = losses(1)
    assert len(passes) == 24
    np.testing.assert_allclose(parts, whole, atol=1e-5)


# --- sampling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("memory", [1, 2, 5, 100])
def test_samples_do_not_depend_on_the_memory_they_are_drawn_in(tiny_backbone, size, memory):
    """Fewer rows at once than samples of a prompt, too."""
    backbone = tiny_backbone("llama", stops=frozenset(range(60)), response_tokens=8)
    prompts, n = [[5, 6, 7], [8], [9, 10, 11, 12], [13, 14]], 3
    uniform = torch.rand((12, 8), generator=seeds.torch_generator(0, "u"), dtype=torch.float64)

    def draw(size):
        notes = []
        limit = Limit(size, "responses", "sampling", notes.append)
        return sample_tokens(backbone.reference.model, backbone.codec, prompts, n, uniform, limit), notes

    whole, _ = draw(100)
    counted = Passes(backbone, most_rows=memory)
    found, notes = draw(size)
    assert found == whole
    assert len(notes) == sum(rows > memory for rows in counted.without)


# --- when nothing helps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [rewarded, preferred, optimised])
def test_a_row_that_does_not_fit_is_one_line_that_says_what_to_lower(tiny_backbone, loop):
    backbone = tiny_backbone("llama", lora=LORA)
    Passes(backbone, most_rows=0)
    with pytest.raises(PrefbenchError) as error:
        loop(backbone)
    said = str(error.value)
    assert not isinstance(error.value, Diverged) and "\n" not in said
    for remedy in ("model.context", "task.response_tokens", "model.lora=true"):
        assert remedy in said
    assert ("model.gradient_checkpointing=true" in said) == ("training" in said)


def test_memory_that_runs_out_in_the_optimiser_is_not_tried_again(tiny_backbone, monkeypatch):
    backbone = tiny_backbone("llama", lora=LORA)

    def fail(self, closure=None):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.optim.AdamW, "step", fail)
    with pytest.raises(PrefbenchError, match="optimiser") as error:
        rewarded(backbone)
    assert "\n" not in str(error.value)
    assert not any("training" in note for note in backbone.notes)


def test_other_errors_are_not_taken_for_missing_memory(tiny_backbone):
    backbone = tiny_backbone("llama", lora=LORA)

    def fail(module, args, kwargs):
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    backbone.reference.model.base_model.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must match"):
        backbone.reference.logprob(PROMPTS, CHOSEN)
    assert backbone.notes == []


def test_notes_are_told_and_shared_by_every_stage(tiny_backbone):
    backbone = tiny_backbone("llama", lora=LORA)
    told = []
    backbone.store.reporter.note = told.append
    Passes(backbone, fail_at=(1,))
    backbone.at(Work("scores", backbone.work.path)).reference.logprob(PROMPTS, CHOSEN)
    assert backbone.notes == told and len(told) == 1


# --- by hand ----------------------------------------------------------------------------------------------


def test_a_step_sums_its_parts_before_it_clips():
    """Gradients 3 and 4 sum to 7, clipped to 1; the first Adam step is the learning rate's size."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    state = training.State([model], 0.5)
    value = state.step(lambda: (factor * model.weight.sum() + 1 for factor in (3, 4)), 1.0, 1.0)
    assert value == 2.0
    assert model.weight.grad.item() == pytest.approx(1.0, abs=1e-5)
    assert model.weight.item() == pytest.approx(-0.5, abs=1e-5)

"""Several processes at one run: each computes some of the rows, and all of them end with the same numbers.

A launcher (`accelerate launch`, `torchrun`) starts the same command several times, and every process goes
through the whole run. Where rows are sampled, scored or trained on, each takes its share; then a table that
everybody filled in at other rows is summed, and so are gradients, which add up to that of the whole batch.
What might differ between processes (the time, the files, a judge's answers) is decided by process 0, which
alone writes. Nothing but tensors travels.

With FSDP2 the frozen weights under the adapters are cut up as well. A pass through the model is then
something that all do at once, so everybody makes as many passes as everybody else; those that count for
nothing are parts of weight 0.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import JudgeFailed, PrefbenchError, UserError

if TYPE_CHECKING:
    import torch

    from prefbench.learn.memory import Limit

MEETING = timedelta(minutes=5)
"""Longest wait for all processes to be there."""
TIMEOUT = timedelta(hours=6)
"""Longest wait for another process: process 0 may be asking a judge, or waiting for somebody else's stage."""
PATIENCE = timedelta(seconds=10)
"""Longest wait for others to report the failure that a process has met."""
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SIGNS = ("gloo", "NCCL", "Connection closed by peer", "Broken pipe")


class Lost(PrefbenchError):
    """Another process of the run is gone."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has ended or does not answer; the same command continues where it "
            "stopped."
        )


def is_lost(error: BaseException) -> bool:
    """Whether an exception says that another process is gone; with FSDP it may come out of any pass."""
    if isinstance(error, Lost):
        return True
    return team().size > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@dataclass(frozen=True)
class Part:
    """Rows of a batch that go through a model at once."""

    rows: np.ndarray
    """Their positions in the batch."""
    weight: float = 1.0
    """0 for a pass that only keeps step with other processes: nothing that comes of it counts."""


@dataclass(frozen=True)
class Share:
    """What one process computes of a table of rows.

    Every process has as many places as every other. The last one of some holds a row that is computed by
    another process too, and is not counted.
    """

    team: Team
    rows: np.ndarray
    """The row at each place."""
    lengths: Sequence[int]
    """At each place the tokens of the longest row that any process has there, so that all cut alike."""
    own: int
    """How many places count."""
    total: int
    """Rows of the whole table."""

    def parts(self, limit: Limit) -> list[Part]:
        """These rows in parts within a limit; as many as the others have, under the same limit."""
        result = []
        for places in limit.split(self.lengths):
            counted = places[places < self.own]
            result.append(
                Part(self.rows[counted]) if len(counted) else Part(self.rows[places[:1]], weight=0.0)
            )
        return result

    def whole(self, values: torch.Tensor) -> torch.Tensor:
        """The whole table [total, ...] from the values [places, ...] of every process."""
        if self.team.size == 1:
            return values
        result = values.new_zeros((self.total, *values.shape[1:]))
        result[self.rows[: self.own]] = values[: self.own]
        return self.team.sum(result)


@dataclass
class Team:
    """The processes of a run, as one of them sees it; by itself a single one, to which all this is free."""

    rank: int = 0
    size: int = 1
    sharded: bool = False
    """The frozen weights are cut up over the processes (FSDP2)."""
    device: torch.device | None = None
    """This process's own; None where there is only one, which may choose."""
    store: Any = field(default=None, repr=False)
    """Where processes leave words for each other that no sum could carry, such as that they end."""
    _failures: int = 0

    def deal(self, lengths: Sequence[int]) -> Share:
        """This process's share of rows that have so many tokens: as many long and short ones as anyone's."""
        total = len(lengths)
        if self.size == 1:
            return Share(self, np.arange(total), lengths, total, total)
        order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
        own, longest = order[self.rank :: self.size], order[:: self.size]
        rows = np.concatenate([own, order[-1:]])[: len(longest)]
        return Share(self, rows, [lengths[i] for i in longest], len(own), total)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over the processes, in place and the same to the bit in all of them.

        Raises:
            Lost: another process is gone.
        """
        self._reduce([tensor])
        return tensor

    def sum_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Sum the gradients of these tensors over the processes; all of them must have the same ones."""
        self._reduce([p.grad for p in parameters if p.grad is not None])

    def _reduce(self, tensors: Sequence[torch.Tensor]) -> None:
        if self.size == 1:
            return
        import torch.distributed as dist

        try:
            for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                work.wait()
        except RuntimeError as error:
            if is_lost(error):
                raise Lost from error
            raise

    def first(self, value: int) -> int:
        """Process 0's number. Nobody goes on before everybody is here."""
        if self.size == 1:
            return value
        import torch

        return int(self.sum(torch.tensor(0 if self.rank else int(value))))

    def anybody(self, busy: bool) -> bool:
        """Whether another pass through the model is needed: by this process, or with FSDP by any of them."""
        if not self.sharded:
            return busy
        import torch

        return bool(self.sum(torch.tensor(int(busy))))

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Within it process 0 comes first; the others then find what it has left behind.

        Raises:
            JudgeFailed: process 0 did not come to the end.
        """
        if self.rank:
            if not self.first(0):
                raise JudgeFailed("process 0 got no answers.")
            yield
            return
        done = 0
        try:
            yield
            done = 1
        finally:
            self.first(done)

    def together(self) -> bool:
        """Whether all the processes have failed in the same place, so that they can go on together."""
        if self.size == 1:
            return True
        self._failures += 1
        keys = [f"failure/{self._failures}/{rank}" for rank in range(self.size)]
        try:
            self.store.set(keys[self.rank], "")
            self.store.wait(keys, PATIENCE)
        except RuntimeError:
            return False
        return True


SOLO = Team()
_current: ContextVar[Team] = ContextVar("team", default=SOLO)


def team() -> Team:
    """The processes that this run belongs to."""
    return _current.get()


class Once:
    """Sums over the processes, each taken once: a batch that begins again, as memory ran out, has its own."""

    def __init__(self) -> None:
        self._known: dict[Hashable, torch.Tensor] = {}

    def sum(self, key: Hashable, tensor: torch.Tensor) -> torch.Tensor:
        """The sum called `key`; the last one is remembered."""
        if key not in self._known:
            self._known = {key: team().sum(tensor)}
        return self._known[key]


# ----------------------------------------------------------------------------------- meeting and parting


@contextlib.contextmanager
def joined() -> Iterator[Team]:
    """Within it the run belongs to all the processes that a launcher has started.

    An exception in one process ends the others as well, with the same exit code. Only the first one to fail
    raises it; the others leave without a word.
    """
    if not all(os.environ.get(name) for name in _VARIABLES) or int(os.environ["WORLD_SIZE"]) == 1:
        yield SOLO
        return
    # Torch would print a page of addresses wherever another process is gone.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    store, rank, size = _meet()
    token = None
    try:
        found = _connect(store, rank, size)
        token = _current.set(found)
        yield found
        found.first(0)
        _part()
    except (Exception, KeyboardInterrupt) as error:
        if not _is_first(store):
            raise SystemExit(_code_of_the_first(store)) from None
        with contextlib.suppress(RuntimeError):
            store.set("code", str(_code(error)))
        if is_lost(error):
            raise Lost from error
        raise
    finally:
        if token is not None:
            _current.reset(token)


def _meet() -> tuple[Any, int, int]:
    """A store that all the processes share, this one's number, and how many there are."""
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=MEETING)))
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        why = " ".join(str(error).split())[:200]
        raise PrefbenchError(f"the processes of this run cannot meet at {place} ({why}).") from None
    return store, rank, size


def _connect(store: Any, rank: int, size: int) -> Team:
    import torch
    import torch.distributed as dist

    if _is_on("ACCELERATE_USE_DEEPSPEED") or _is_on("ACCELERATE_USE_MEGATRON_LM"):
        raise UserError("several processes share a run as they are or by FSDP2: change accelerate's config.")
    sharded = _is_on("ACCELERATE_USE_FSDP")
    if sharded and os.environ.get("FSDP_VERSION") != "2":
        raise UserError("of FSDP only version 2 is supported: set fsdp_version: 2 in accelerate's config.")
    # Transformers would give every process but one a model without weights, for accelerate to fill.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    device, backend = torch.device("cpu"), "gloo"
    if torch.cuda.is_available() and not _is_on("ACCELERATE_USE_CPU"):
        local, present = int(os.environ.get("LOCAL_RANK", rank)), torch.cuda.device_count()
        if local >= present:
            raise UserError(
                f"there are more processes than GPUs on this machine: launch {present} of them at most."
            )
        device, backend = torch.device("cuda", local), "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return Team(rank, size, sharded, device, store)


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")


def _part() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


def _is_first(store: Any) -> bool:
    """Whether no other process has failed before. Where nobody can be asked, another has."""
    try:
        return int(store.add("failed", 1)) == 1
    except RuntimeError:
        return False


def _code(error: BaseException) -> int:
    return 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 3)


def _code_of_the_first(store: Any) -> int:
    try:
        store.wait(["code"], PATIENCE)
        return int(store.get("code"))
    except RuntimeError:
        return PrefbenchError.exit_code


# ----------------------------------------------------------------------------------------------- FSDP2


def shard(model: Any) -> Any:
    """Cut up the weights of a frozen causal language model over the processes, in place.

    Each keeps a part of every weight, and gathers those of a block while that block is at work. Adapters and
    heads are no part of the model: they stay whole everywhere.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    device = team().device
    assert device is not None
    model.eval().requires_grad_(False)
    # It warns of changing outputs in place, which nobody does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    # A tied embedding belongs to the first layer and to the last: it stays whole.
    embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tied = {embedding} if embedding is output else set()
    mesh = init_device_mesh(device.type, (team().size,))
    cut = partial(fully_shard, mesh=mesh, reshard_after_forward=True, ignored_params=tied)
    for block in [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]:
        cut(block)
    cut(model.base_model)  # rewards run it by itself
    cut(model)
    _show_last_state(model)
    for weight in tied:
        weight.data = weight.data.to(device)
    # FSDP takes what it first sees running for the whole: it must not be a reward's part of the model.
    with torch.no_grad():
        one = torch.ones((1, 1), dtype=torch.long, device=device)
        model(input_ids=one, attention_mask=one, use_cache=False)
    return model


def _show_last_state(model: Any) -> None:
    """Have a cut-up model return its last hidden state where states are asked for.

    Transformers looks for them by the names of classes, which FSDP changes.
    """
    seen: list[torch.Tensor] = []

    def look(layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[:] = inputs[:1]

    def give(model: Any, inputs: Any, options: dict[str, Any], output: Any) -> None:
        if options.get("output_hidden_states"):
            output.hidden_states = tuple(seen)
        seen.clear()

    model.get_output_embeddings().register_forward_pre_hook(look)
    model.register_forward_hook(give, with_kwargs=True)

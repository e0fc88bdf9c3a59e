"""Several processes at one run: each computes some of the rows, and all of them end with the same numbers.

A launcher (`accelerate launch`, `torchrun`) starts the same command several times, and every process goes
through the whole run. Where rows are sampled, scored or trained on, each takes its share; then a table that
everybody filled in at other rows is summed, and so are gradients, which add up to that of the whole batch.
What might differ between processes (the time, the files, a judge's answers) is decided by process 0, which
alone writes. Nothing but tensors travels.

With FSDP2 the frozen weights under the adapters are cut up as well. A pass through the model is then
something that all do at once, so everybody makes as many passes as everybody else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefbench.errors import JudgeFailed, PrefbenchError, UserError

if TYPE_CHECKING:
    import torch

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
    """True for an exception that says that another process is gone; with FSDP it may come out of any pass."""
    if isinstance(error, Lost):
        return True
    return team().size > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@dataclass
class Team:
    """The processes of a run, as one of them sees it; of a single process everything here costs nothing."""

    rank: int = 0
    size: int = 1
    sharded: bool = False
    """The frozen weights are cut up over the processes (FSDP2)."""
    device: torch.device | None = None
    """This process's own; None where there is only one, which may choose."""
    store: Any = field(default=None, repr=False)
    """Torch's key-value store that all processes share: there they tell each other what no sum could carry,
    such as that one of them has failed."""
    _failures: int = 0

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
        """True if another pass through the model is needed: by this process, or with FSDP by any of them."""
        if not self.sharded:
            return busy
        import torch

        return bool(self.sum(torch.tensor(int(busy))))

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Run the block in process 0 first; the others then find what it has left behind.

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
        """True if all the processes have failed in the same place, so that they can go on together."""
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


class Left(SystemExit):
    """This process ends without a word, as another one has failed before it and says why."""


@contextlib.contextmanager
def joined() -> Iterator[Team]:
    """Make the run within the block belong to all the processes that a launcher has started.

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
            raise Left(_code_of_the_first(store)) from None
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
    """True if no other process has failed before. Where nobody can be asked, another has."""
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

"""The processes of one training: which of them this is, and what they tell each other.

They are started by `torchrun`, on one machine or many, or by `train --devices`; each is told its place by the
environment, as torch has it: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from curriculumnet.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

Made = TypeVar("Made")

STARTED_BY = "CURRICULUMNET_STARTED_BY"
"""The process that started this one: it holds the work folder's lock and, as long as it lives, a pipe to this one's
input. Nobody where torchrun did."""

_WAIT = timedelta(days=7)
"""How long processes wait for each other: as long as the first one decodes pictures for all."""

_gone = threading.Event()


@dataclass(frozen=True)
class Ranks:
    """Where a process stands among those of a training.

    Attributes
    ----------
    rank : int
        Its number; 0 writes.
    count : int
        How many there are.
    local : int
        Its number among those of this machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @classmethod
    def here(cls) -> Ranks:
        """Return what the environment says.

        Raises
        ------
        UsageError
            It says something impossible.
        """
        found = {name: os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))}
        found["LOCAL_RANK"] = os.environ.get("LOCAL_RANK", found["RANK"])
        for name, value in found.items():
            if not value.isdigit():
                raise UsageError(f"The environment's {name} is {value!r}, but must be a number, as torchrun sets it.")
        rank, count, local = (int(value) for value in found.values())
        if STARTED_BY in os.environ and not any(each.name == STARTED_BY for each in threading.enumerate()):
            threading.Thread(target=_watch, name=STARTED_BY, daemon=True).start()
        if rank >= count:
            raise UsageError(f"The environment's RANK is {rank}, but must be below its WORLD_SIZE, {count}.")
        return cls(rank, count, local)

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def locks(self) -> bool:
        """Whether this is the process that takes the work folder's lock."""
        return self.writes and STARTED_BY not in os.environ

    @property
    def orphaned(self) -> bool:
        """Whether the process that started this one has gone."""
        return _gone.is_set()

    def share(self, places: np.ndarray) -> np.ndarray:
        """Return what of a batch is this process's: every `count`-th place, so that each has some of every subset."""
        return places[self.rank :: self.count]

    @contextmanager
    def joined(self, *, cuda: bool) -> Iterator[None]:
        """Connect the processes for as long as the block lasts."""
        if self.count == 1:
            yield
            return
        import torch.distributed as dist

        # What is said besides gradients is said by the processors, which need not wait for their GPUs.
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_WAIT, world_size=self.count, rank=self.rank
        )
        try:
            yield
        finally:
            dist.destroy_process_group()

    def any(self, *wishes: bool) -> tuple[bool, ...]:
        """Return which of some wishes any process has; all must ask."""
        if self.count == 1:
            return wishes
        import torch
        import torch.distributed as dist

        found = torch.tensor([int(wish) for wish in wishes], dtype=torch.int32)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return tuple(bool(wish) for wish in found.tolist())

    def gathered(self, part: Any) -> list[Any]:
        """Return what each process has, in their order, to the one that writes; nothing to the others; all must ask."""
        if self.count == 1:
            return [part]
        import torch.distributed as dist

        parts: list[Any] | None = [None] * self.count if self.writes else None
        dist.gather_object(part, parts)
        return parts or []

    def told(self, value: Any) -> Any:
        """Return what the process that writes has; all must ask."""
        if self.count == 1:
            return value
        import torch.distributed as dist

        found = [value if self.writes else None]
        dist.broadcast_object_list(found)
        return found[0]

    def after_the_first(self, make: Callable[[], Made]) -> Made:
        """Return what is made, in the process that writes first: the others find it there."""
        if self.writes:
            made = make()
            self.wait()
            return made
        self.wait()
        return make()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            import torch
            import torch.distributed as dist

            # Over the processors, whatever computes.
            dist.all_reduce(torch.zeros(1))


def _watch() -> None:
    """Wait until nobody holds this process's input open any more."""
    while os.read(0, 1):
        pass
    _gone.set()

"""How many threads of ours work at once, and one for each product that they take.

numba's own count is not asked: asking starts its threads, which changes those of torch in the same process, and with
them the last digits of a training.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

_mine = threading.local()
_lock = threading.Lock()
_inside = 0
_limit: Any = None


def thread_count() -> int:
    """Return how many threads the calling one may start: as many as there are cores, or as OMP_NUM_THREADS says."""
    return getattr(_mine, "count", None) or _cores()


def set_thread_count(count: int) -> None:
    """Set how many threads the calling one may start."""
    _mine.count = count


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores


@contextmanager
def one_thread_per_product() -> Iterator[None]:
    """Let a product have one thread.

    The threads of a product would wait for the next one by turning in circles, in the way of ours. The limit is the
    whole process's: of several that are inside at once, the last one that leaves takes it back.
    """
    global _inside, _limit
    with _lock:
        if not _inside:
            _limit = threadpool_limits(1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limit.restore_original_limits()

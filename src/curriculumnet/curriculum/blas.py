"""One thread for matrix products, while threads of ours each take their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_inside = 0
_limit: Any = None


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

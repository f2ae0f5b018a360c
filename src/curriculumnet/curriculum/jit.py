"""Loops as machine code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock

Loop = Callable[..., Any]


def compiled(*, sums_in_any_order: bool = False) -> Callable[[Loop], Loop]:
    """Compile a loop at its first call; several threads may run it at once.

    What was compiled is kept beside the package or, where that cannot be written to, in the user's folder for caches;
    where there is none, or no room in it, it is compiled in each process. All loops take some five seconds.

    Parameters
    ----------
    sums_in_any_order : bool
        Sums of floats may be added up several at a time, which changes their last digits and takes a quarter of the
        time.
    """

    def compile_it(function: Loop) -> Loop:
        settings: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc"} if sums_in_any_order else False}
        try:
            kept = numba.njit(cache=True, **settings)(function)
        except RuntimeError:
            found: Loop = numba.njit(**settings)(function)
            return found
        _keep_safely(kept)
        loop: Loop = kept
        return loop

    return compile_it


def _keep_safely(kept: Any) -> None:
    """Let one process at a time keep what it compiled, and let none fail because it cannot.

    numba writes an index and then what it points to: two processes at once would leave an index that points to the
    other one's.
    """
    cache = kept._cache
    save = cache.save_overload

    def save_overload(*arguments: Any) -> None:
        with contextlib.suppress(OSError), FileLock(Path(cache.cache_path, "compiled.lock"), timeout=60):
            save(*arguments)

    cache.save_overload = save_overload

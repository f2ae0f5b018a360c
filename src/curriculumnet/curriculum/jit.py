"""Loops as machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Loop = Callable[..., Any]


def compiled(*, sums_in_any_order: bool = False) -> Callable[[Loop], Loop]:
    """Compile a loop at its first call; several threads may run it at once.

    What was compiled is kept beside the package or, where that cannot be written to, in the user's folder for caches;
    where there is none, it is compiled in each process, in a second or two.

    Parameters
    ----------
    sums_in_any_order : bool
        Sums of floats may be added up several at a time, which changes their last digits and takes a quarter of the
        time.
    """

    def compile_it(function: Loop) -> Loop:
        settings: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc"} if sums_in_any_order else False}
        try:
            kept: Loop = numba.njit(cache=True, **settings)(function)
        except RuntimeError:
            kept = numba.njit(**settings)(function)
        return kept

    return compile_it

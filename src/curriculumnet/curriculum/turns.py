"""Categories in turn: the large ones one by one, with all cores each; of the others several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from curriculumnet.curriculum.threads import one_thread_per_product, set_thread_count, thread_count

Result = TypeVar("Result")

_ALONE = 6_000
"""Images from which a category has all cores: its distances take 72 MB, and so many for each core would be too many."""

_TOO_SMALL = 300
"""Images up to which one is ordered in the time that two would need to let each other to the interpreter."""


def in_turn(
    order: Callable[[int], Result], categories: Sequence[int], sizes: Sequence[int]
) -> Generator[tuple[int, Result], None, None]:
    """Order categories, the largest first, each once.

    Parameters
    ----------
    order : callable
        Orders a category by its number, with as many threads as `threads.thread_count` says where it is called.
    categories : sequence of int
        Their numbers.
    sizes : sequence of int
        How many images each has.

    Yields
    ------
    category : int
    result
        What `order` returned for it.
    """
    by_size = sorted(zip(sizes, categories, strict=True), key=lambda each: (-each[0], each[1]))
    threads = thread_count()
    alone: list[int] = []
    together: list[int] = []
    small: list[int] = []
    for size, category in by_size:
        (alone if size >= _ALONE or threads == 1 else together if size > _TOO_SMALL else small).append(category)
    with one_thread_per_product():
        for category in alone:
            yield category, order(category)
        yield from _at_once(order, together, threads)
        for category in small:
            yield category, order(category)


def _at_once(
    order: Callable[[int], Result], categories: Sequence[int], threads: int
) -> Generator[tuple[int, Result], None, None]:
    """Order some categories in threads of one core each, a few ahead of what is asked for."""
    ahead: deque[tuple[int, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, initializer=set_thread_count, initargs=(1,))
    try:
        for category in categories:
            ahead.append((category, pool.submit(order, category)))
            if len(ahead) > 2 * threads:
                first, done = ahead.popleft()
                yield first, done.result()
        for first, done in ahead:
            yield first, done.result()
    finally:
        pool.shutdown(cancel_futures=True)

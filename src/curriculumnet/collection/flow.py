"""Rows through the fetcher into their shards: many at once, few bodies in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from curriculumnet.collection.addresses import Resolve, Resolver
from curriculumnet.collection.fetching import Bounds, Fetcher, FetchError
from curriculumnet.collection.listing import Listed
from curriculumnet.collection.pictures import NO_CATEGORY, NO_URL, NOT_FETCHED, Outcome, examined, failed
from curriculumnet.collection.shards import Shard, Shards

_T = TypeVar("_T")

_AHEAD = 16
"""Rows that are looked at for each that is asked for: where the next many are of one host, others come meanwhile."""

_LOOK = 0.2
"""Seconds between two looks at whether Ctrl-C came; a thread that only waits does not hear of it on Windows."""

_TICK = 1.0
"""Seconds between two looks at whether a line of progress is due though nothing has come."""


async def fill(
    shards: Shards, listed: Listed, bounds: Bounds, advance: Callable[[int], None], resolve: Resolve | None = None
) -> None:
    """Fetch the rows of all unfinished shards, and write each shard when it is full.

    Parameters
    ----------
    shards, listed, bounds
        What is written, what is fetched, and how.
    advance : callable
        Called with how many more rows are done; also each second with 0, for who shows that nothing comes.
    resolve : Resolve, optional
        What finds the addresses of hosts; the system unless given.
    """
    resolver, rows = Resolver(bounds.concurrency), _Rows(shards)
    ticking = asyncio.create_task(_tick(advance))
    try:
        async with Fetcher(bounds, resolve or resolver) as fetcher, asyncio.TaskGroup() as group:
            for _ in range(min(len(listed), bounds.concurrency * _AHEAD)):
                group.create_task(_work(rows, listed, fetcher, advance))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        ticking.cancel()
        resolver.close()


class _Rows:
    """The rows that are to be asked for, in order, each with its shard, which is begun when its first row is taken."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        untouched = shards.untouched()
        self._numbers = iter([number for number in range(len(shards)) if number not in untouched])
        self._rows: Iterator[tuple[int, Shard]] = iter(())
        self._copying: asyncio.Task[None] | None = None

    async def take(self) -> tuple[int, Shard] | None:
        """Return the next row; None where there is no more."""
        while (found := next(self._rows, None)) is None:
            if self._copying is not None:
                await self._copying
            elif (number := next(self._numbers, None)) is None:
                return None
            elif self._shards.is_again(number):
                self._copying = asyncio.create_task(self._copied(number))
            else:
                self._go_on(self._shards.begin(number))
        return found

    async def _copied(self, number: int) -> None:
        """Begin a shard for which pictures have to be copied, while others come; who needs a row waits for it."""
        shard = await asyncio.to_thread(self._shards.begin, number)
        self._copying = None
        self._go_on(shard)

    def _go_on(self, shard: Shard) -> None:
        self._rows = iter([(row, shard) for row in shard.missing()])


async def _tick(advance: Callable[[int], None]) -> None:
    while True:
        await asyncio.sleep(_TICK)
        advance(0)


async def _work(rows: _Rows, listed: Listed, fetcher: Fetcher, advance: Callable[[int], None]) -> None:
    """Take rows until there are no more."""
    while (found := await rows.take()) is not None:
        row, shard = found
        outcome, data = await _outcome(listed, row, fetcher)
        shard.add(row, outcome, data)
        # Not held while the disk is waited for.
        del data
        advance(1)
        if shard.full:
            await asyncio.to_thread(shard.finish)


async def _outcome(listed: Listed, row: int, fetcher: Fetcher) -> tuple[Outcome, bytes]:
    url = listed.urls[row]
    if url is None or listed.labels[row] is None:
        return failed(NOT_FETCHED, NO_URL if url is None else NO_CATEGORY), b""
    try:
        data = await fetcher.fetch(url)
    except FetchError as error:
        return failed(NOT_FETCHED, error.reason), b""
    return examined(data), data


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Do asynchronous work in a thread of its own, and wait for it.

    What Ctrl-C raises in the midst of a loop of events may be lost there. Here it is raised where nothing but waiting
    is done; the work is then told to end, and has ended when this returns. It also works within a notebook, which has
    a loop running.
    """
    ended = threading.Event()
    result: list[_T] = []
    errors: list[BaseException] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def go() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                result.append(runner.run(_awaited(task)))
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=go, name="collecting", daemon=True)
    thread.start()
    try:
        while not ended.wait(_LOOK):
            pass
    finally:
        if not ended.is_set():
            loop.call_soon_threadsafe(task.cancel)
            ended.wait()
        thread.join()
    if errors:
        raise errors[0]
    return result[0]


async def _awaited(task: asyncio.Task[_T]) -> _T:
    return await task

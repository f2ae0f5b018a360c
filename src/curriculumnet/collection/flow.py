"""Rows through the fetcher into their shards: many at once, few bodies in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from curriculumnet.collection.addresses import Resolve, Resolver
from curriculumnet.collection.fetching import Bounds, Fetcher, FetchError
from curriculumnet.collection.listing import Listed
from curriculumnet.collection.pictures import NOT_FETCHED, Outcome, examined, failed
from curriculumnet.collection.shards import Shard, Shards

_T = TypeVar("_T")

_AHEAD = 16
"""Rows that are looked at for each that is asked for: where the next many are of one host, others come meanwhile."""

_LOOK = 0.2
"""Seconds between two looks at whether Ctrl-C came; a thread that only waits does not hear of it on Windows."""


async def fill(
    shards: Shards, listed: Listed, bounds: Bounds, advance: Callable[[], None], resolve: Resolve | None = None
) -> None:
    """Fetch the rows of all unfinished shards, and write each shard when it is full.

    Parameters
    ----------
    shards, listed, bounds
        What is written, what is fetched, and how.
    advance : callable
        Called for each row that is done.
    resolve : Resolve, optional
        What finds the addresses of hosts; the system unless given.
    """
    resolver = Resolver(bounds.concurrency)
    rows, begun = shards.unfinished_rows(), dict[int, Shard]()
    try:
        async with Fetcher(bounds, resolve or resolver) as fetcher, asyncio.TaskGroup() as group:
            for _ in range(min(len(listed), bounds.concurrency * _AHEAD)):
                group.create_task(_work(rows, begun, shards, listed, fetcher, advance))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        resolver.close()


async def _work(
    rows: Iterator[int],
    begun: dict[int, Shard],
    shards: Shards,
    listed: Listed,
    fetcher: Fetcher,
    advance: Callable[[], None],
) -> None:
    """Take rows until there are no more."""
    for row in rows:
        number = shards.of(row)
        if number not in begun:
            begun[number] = shards.begin(number)
        outcome, data = await _outcome(listed, row, fetcher)
        begun[number].add(row, outcome, data)
        # Not held while the disk is waited for.
        del data
        advance()
        if begun[number].full:
            await asyncio.to_thread(begun.pop(number).finish)


async def _outcome(listed: Listed, row: int, fetcher: Fetcher) -> tuple[Outcome, bytes]:
    url = listed.urls[row]
    if url is None or listed.labels[row] is None:
        return failed(NOT_FETCHED, "no URL" if url is None else "no category"), b""
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

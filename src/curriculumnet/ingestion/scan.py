"""Scan: every file read, decoded to its end and given its digests, in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from curriculumnet.images.archives import Bytes
from curriculumnet.images.decode import TooLarge, Unreadable, decode, probe
from curriculumnet.images.duplicates import byte_digest, pixel_digest
from curriculumnet.images.loader import leave_interruption_to_parent, without_interruption, worker_count

_CHUNK = 32
"""Files handed to a worker at a time: few enough that Ctrl-C and progress do not wait."""

_AHEAD = 4
"""Chunks per worker that wait to be done, so that memory does not grow with the number of files."""

_WORTH_WORKERS = 256
"""Files from which starting workers pays, unless a number was asked for."""


class Found(NamedTuple):
    """What was found in one file."""

    state: str
    reason: str
    width: int | None = None
    height: int | None = None
    format: str | None = None
    bytes: int | None = None
    digest: str | None = None
    pixel_digest: str | None = None


def examine(data: bytes, min_side: int) -> Found:
    """Look into one file.

    Parameters
    ----------
    data : bytes
        The file.
    min_side : int
        The least length of the short side, in pixels.

    Returns
    -------
    Found
        In state ``used``, ``broken`` or ``refused``.
    """
    digest, size = byte_digest(data), len(data)
    try:
        header = probe(data)
    except TooLarge as error:
        return Found("refused", f"too large: {error}", bytes=size, digest=digest)
    except Unreadable as error:
        return Found("broken", str(error), bytes=size, digest=digest)
    known = Found("used", "", header.width, header.height, header.format, size, digest)
    try:
        image = decode(data)
    except Unreadable as error:
        return known._replace(state="broken", reason=str(error))
    if min(image.size) < min_side:
        known = known._replace(state="refused", reason=f"too small: short side under {min_side} px")
    return known._replace(pixel_digest=pixel_digest(image))


def examine_file(files: Bytes, name: str, min_side: int) -> Found:
    """Look into one file by its name; one that is gone is ``missing``, one that may not be read ``broken``."""
    try:
        data = files.read(name)
    except FileNotFoundError:
        return Found("missing", "not there")
    except OSError as error:
        return Found("broken", f"cannot be read: {(error.strerror or str(error)).lower()}")
    return examine(data, min_side)


def scan(
    files: Bytes, names: Sequence[str], *, min_side: int, workers: int | None, advance: Callable[[int], None]
) -> list[Found]:
    """Look into many files.

    Parameters
    ----------
    files : Bytes
        Where they lie.
    names : sequence of str
        Which.
    min_side : int
        The least length of the short side, in pixels.
    workers : int, optional
        Worker processes, started by the platform's own way; 0 or 1 scans in this process. As many as there are cores
        if None.
    advance : callable
        Told how many files more are done.

    Returns
    -------
    list of Found
        In the order of the names.
    """
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    if workers is None:
        workers = worker_count(None) if len(names) >= _WORTH_WORKERS else 0
    found: list[Found] = []
    done = _in_workers(files, chunks, min_side, workers) if workers > 1 else _here(files, chunks, min_side)
    with closing(done):
        for part in done:
            found += part
            advance(len(part))
    return found


def _here(files: Bytes, chunks: list[Sequence[str]], min_side: int) -> Generator[list[Found], None, None]:
    for chunk in chunks:
        yield [examine_file(files, name, min_side) for name in chunk]


def _in_workers(
    files: Bytes, chunks: list[Sequence[str]], min_side: int, workers: int
) -> Generator[list[Found], None, None]:
    """Give the chunks' results in order; when left early, as by Ctrl-C, the workers are ended at once."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(chunks)), initializer=_begin_worker, initargs=(files, min_side))
    waiting: deque[Future[list[Found]]] = deque()
    rest = iter(chunks)
    try:
        with without_interruption():
            waiting.extend(pool.submit(_examine_chunk, chunk) for chunk in islice(rest, _AHEAD * workers))
        for chunk in rest:
            yield waiting.popleft().result()
            waiting.append(pool.submit(_examine_chunk, chunk))
        while waiting:
            yield waiting.popleft().result()
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_task: tuple[Bytes, int] | None = None
"""In a worker: where the files lie, and the least short side."""


def _begin_worker(files: Bytes, min_side: int) -> None:
    global _task
    _task = (files, min_side)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    leave_interruption_to_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Let a worker not outlive the process that started it, even when that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _examine_chunk(names: Sequence[str]) -> list[Found]:
    if _task is None:
        raise RuntimeError("a worker was asked before it was begun")
    files, min_side = _task
    return [examine_file(files, name, min_side) for name in names]

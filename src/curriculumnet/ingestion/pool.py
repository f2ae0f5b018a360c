"""Worker processes of which one may fall: it is replaced, and what it fell over is named.

Native code reads foreign bytes in these processes, and may crash, never end, or ask for all memory there is. Each
worker has a pipe of its own, so that none can leave another's locked, and says in shared memory how many names it has
begun, so that a dead one's last is known. No thread is needed, and replacing a worker forks no process with threads.
"""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from curriculumnet.errors import MachineError
from curriculumnet.images.loader import leave_interruption_to_parent, without_interruption

if sys.platform == "linux":
    import resource

Result = TypeVar("Result")

_CHUNK = 32
"""Names handed to a worker at a time: few enough that Ctrl-C and progress do not wait."""

_CHUNK_LENGTH = 4096
"""Characters of names handed over at a time: so many fit into a pipe even when nobody reads it."""

_AHEAD = 2
"""Chunks that a worker has at a time: the second is there when the first is done."""

_TICK = 0.5
"""Seconds between two looks at how far the workers are, when none has anything to say."""

_SLOW_START = 300.0
"""Seconds within which a worker has to begin. On a loaded machine starting one, with all imports, can take long."""

_STARTS = 3
"""Workers that may end one after another before they begin: one may be killed by chance, three say that none can."""

OUT_OF_MEMORY = "decoding needed more memory than there is"

_OUT_OF_MEMORY = 77
"""What a worker exits with when an allocation failed."""


@dataclass(frozen=True)
class Limits:
    """What looking at one name may take.

    Attributes
    ----------
    seconds : float
        Time, to within half a second. What takes a whole machine a second has a minute by default: it may be loaded.
    memory : int
        Bytes of address space beyond those that a worker begins with. Kept on Linux only: macOS accepts such a limit
        and does not keep it, Windows has none. By default more than the largest picture needs that is decoded.
    """

    seconds: float = 60.0
    memory: int = 4 * 2**30


LIMITS = Limits()


class Fallen(NamedTuple):
    """What stands in place of a result, for a name over which a worker fell."""

    reason: str


def in_processes(
    look: Callable[[str], Result], names: Sequence[str], *, processes: int, limits: Limits = LIMITS
) -> Generator[tuple[int, list[Result | Fallen]], None, None]:
    """Look at many names in worker processes, started by the platform's own way, spawned or forked.

    A name over which a worker crashed, or ran out of memory, is tried once more, first thing in a new process, before
    it is blamed: what an earlier one broke or leaked may have been to blame. One that took too long is not.

    Parameters
    ----------
    look : callable
        Looks at one name; picklable.
    names : sequence of str
        At what.
    processes : int
        How many there are at most. When the generator is closed, as after Ctrl-C, they are ended at once.
    limits : Limits
        What one name may take.

    Yields
    ------
    place : int
        Of the first of some names that lie beside each other; each place is given once, in no order.
    results : list
        What was found at these names, or that a worker fell over it.

    Raises
    ------
    MachineError
        Worker processes end before they begin with anything.
    RuntimeError
        `look` raised something other than MemoryError.
    """
    tasks = _tasks(names)
    crew: list[_Worker[Result]] = []
    clock = _Clock()
    stillborn = 0
    try:
        while True:
            for worker in crew:
                worker.fill(tasks, names, clock.seconds)
            while len(crew) < processes and (task := next(tasks, None)) is not None:
                _join(crew, look, limits, [task], names, clock)
            busy = [worker for worker in crew if worker.given]
            if not busy:
                return
            wait([worker.connection for worker in busy], _TICK)
            clock.tick()
            for worker in busy:
                yield from worker.results(clock.seconds)
                if (reason := worker.fallen(clock.seconds)) is not None:
                    worker.end()
                    crew.remove(worker)
                    stillborn = 0 if worker.begun else stillborn + 1
                    if stillborn == _STARTS:
                        raise MachineError(
                            "The worker processes that read pictures end before they begin: "
                            "--workers 0 reads in this process."
                        )
                    blamed, again = worker.left(reason)
                    if blamed is not None:
                        yield blamed, [Fallen(reason)]
                    if again:
                        _join(crew, look, limits, again, names, clock)
    finally:
        for worker in crew:
            worker.end()


def _tasks(names: Sequence[str]) -> Iterator[range]:
    """Cut the names into chunks."""
    start = length = 0
    for place, name in enumerate(names):
        if place > start and (place - start == _CHUNK or length + len(name) > _CHUNK_LENGTH):
            yield range(start, place)
            start, length = place, 0
        length += len(name)
    if start < len(names):
        yield range(start, len(names))


class _Clock:
    """Seconds in which this process was awake: a suspended one's workers, which were suspended too, are not late."""

    def __init__(self) -> None:
        self.seconds, self._last = 0.0, time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self.seconds += min(now - self._last, 2 * _TICK)
        self._last = now


class _Worker(Generic[Result]):
    """A worker process as the one that started it sees it.

    Attributes
    ----------
    connection : Connection
        To it.
    given : deque of range
        The tasks that were sent and whose results have not come.
    """

    def __init__(self, look: Callable[[str], Result], limits: Limits, waiting: Iterable[range], now: float) -> None:
        self.given: deque[range] = deque()
        self._waiting = deque(waiting)
        self._limits = limits
        self._begun = multiprocessing.RawValue(ctypes.c_longlong, 0)
        self._finished = self._seen = 0
        self._since, self._gone = now, False
        self.connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(
            target=_serve, args=(theirs, self._begun, look, limits), name="scan", daemon=True
        )
        self._process.start()
        # With this copy closed, its death is the end of what can be read.
        theirs.close()

    @property
    def begun(self) -> int:
        """How many names it has begun."""
        return int(self._begun.value)

    def fill(self, tasks: Iterator[range], names: Sequence[str], now: float) -> None:
        """Send it tasks: first those that wait for it, then of all."""
        while len(self.given) < _AHEAD and not self._gone:
            task = self._waiting.popleft() if self._waiting else next(tasks, None)
            if task is None:
                return
            if not self.given:
                self._since = now
            self.given.append(task)
            try:
                self.connection.send(names[task.start : task.stop])
            except OSError:
                self._gone = True

    def results(self, now: float) -> Iterator[tuple[int, list[Result | Fallen]]]:
        """Give the results that have come."""
        while not self._gone:
            try:
                if not self.connection.poll():
                    return
                answer = self.connection.recv()
            except (EOFError, OSError):
                self._gone = True
                return
            if isinstance(answer, str):
                raise RuntimeError(answer)
            task = self.given.popleft()
            self._finished += len(task)
            self._since = now
            yield task.start, answer

    def fallen(self, now: float) -> str | None:
        """Say how it fell; None when it did not."""
        if self._gone:
            self._process.join(_TICK)
            return _reason(self._process.exitcode, self._limits)
        if self.begun != self._seen:
            self._seen, self._since = self.begun, now
        if now - self._since <= (self._limits.seconds if self._seen else _SLOW_START):
            return None
        return _too_slow(self._limits)

    def left(self, reason: str) -> tuple[int | None, list[range]]:
        """Return the place of the name that is to blame, if any is, and the tasks that another worker has to do."""
        rest = [*self.given, *self._waiting]
        at = self.begun - self._finished - 1
        if at < 0:
            return None, rest
        task = rest.pop(0)
        # The results of those before it were lost with the worker.
        rest = [part for part in (task[:at], task[at + 1 :]) if part] + rest
        if self.begun > 1 and reason != _too_slow(self._limits):
            return None, [task[at : at + 1], *rest]
        return task[at], rest

    def end(self) -> None:
        """End it at once; what is ended already stays so."""
        # Not by SIGTERM: a stopped process would wait with that.
        self._process.kill()
        self._process.join()
        self.connection.close()


def _join(
    crew: list[_Worker[Result]],
    look: Callable[[str], Result],
    limits: Limits,
    tasks: list[range],
    names: Sequence[str],
    clock: _Clock,
) -> None:
    """Start a worker for these tasks."""
    with without_interruption():
        worker = _Worker(look, limits, tasks, clock.seconds)
        crew.append(worker)
    worker.fill(iter(()), names, clock.seconds)


def _reason(exitcode: int | None, limits: Limits) -> str:
    if exitcode == _OUT_OF_MEMORY:
        return f"decoding needed more than {limits.memory / 2**30:.3g} GB of memory"
    if hasattr(signal, "SIGKILL") and exitcode == -signal.SIGKILL:
        # The one who sends this without being asked is the system, to the largest process when memory is out.
        return OUT_OF_MEMORY
    if hasattr(signal, "SIGPROF") and exitcode == -signal.SIGPROF:
        return _too_slow(limits)
    return "the decoder crashed on it"


def _too_slow(limits: Limits) -> str:
    return f"decoding took longer than {limits.seconds:g} s"


# -- in a worker ------------------------------------------------------------------------------------------------------


def _serve(connection: Connection, begun: Any, look: Callable[[str], Result], limits: Limits) -> None:
    """Look at whatever is sent, until the one who sends is gone."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    leave_interruption_to_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What is said of a crash is the row's reason; a traceback, or a file of gigabytes, would help nobody. Nor would
    # what native code says of bad bytes, amid the progress.
    faulthandler.disable()
    _limit_space(limits.memory)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    while True:
        names = connection.recv()
        results = []
        try:
            for name in names:
                begun.value += 1
                _limit_processor_time(2 * limits.seconds * (os.cpu_count() or 1))
                results.append(look(name))
            _limit_processor_time(0)
        except MemoryError:
            os._exit(_OUT_OF_MEMORY)
        except Exception:
            # Its text alone is sure to cross.
            connection.send(f"in a worker process:\n{traceback.format_exc()}")
            return
        connection.send(results)


def _end_with_parent() -> None:
    """Let a worker not outlive the process that started it, even when that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _limit_processor_time(seconds: float) -> None:
    """Let the system end this process then: when its parent was killed, and native code lets no thread run.

    It is the parent that keeps the time of a file. By the clock, that of a command that was suspended would go on.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_space(memory: int) -> None:
    """Limit the address space to what is used now and `memory` more, where the system keeps to that."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        pages = Path("/proc/self/statm").read_bytes().split()[0]
        limit = int(pages) * resource.getpagesize() + memory
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))

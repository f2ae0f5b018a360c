"""Stopping between two steps: Ctrl-C and SIGTERM wait until the step under way is done, and can be written down."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import TracebackType
from typing import Any

_IMPATIENT = 1.0
"""Seconds after which a signal that comes again is a second wish: `timeout` sends one to a process and its group."""


class Stop:
    """A wish to stop that is heeded between two steps; one that comes again is heeded at once.

    In a thread other than the main one, which signals do not reach, nothing is held back.

    Attributes
    ----------
    asked : bool
        Whether it was asked for.
    """

    def __init__(self) -> None:
        self.asked = False
        self._process = os.getpid()
        self._number = signal.SIGINT
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        """Hold signals back from here on."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let them through again."""
        self._let_through()

    def follow(self) -> None:
        """Stop as another process of the training does, or because the one that started this one has gone."""
        if not self.asked:
            self.asked, self._number = True, signal.SIGTERM

    def heed(self) -> None:
        """Do what the signal that came would have done."""
        self._let_through()
        signal.raise_signal(self._number)

    def _ask(self, number: int, _frame: object) -> None:
        if os.getpid() != self._process:
            # A forked worker has nothing to write down.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        now = time.monotonic()
        if self.asked:
            if now - self._since >= _IMPATIENT:
                self.heed()
            return
        self.asked, self._number, self._since = True, signal.Signals(number), now
        if hasattr(signal, "SIGCHLD"):
            # The signal may have ended the workers, too: torch is not to raise an error for that amid a step.
            self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _unheeded)

    def _let_through(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


def _unheeded(number: int, frame: object) -> None:
    """Take a signal and do nothing; to set SIG_IGN with one on its way makes Python complain."""

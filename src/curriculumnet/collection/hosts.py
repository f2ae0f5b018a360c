"""Turns at hosts: how many requests at a time, how many a second, and none while a host asks to be left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_MANY = 4096
"""Hosts that are remembered before those that nobody waits for are forgotten."""


class HeldError(Exception):
    """A host has asked to be left alone for longer than anybody waits.

    Parameters
    ----------
    seconds : float
        For how long still.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Host:
    def __init__(self, at_once: int) -> None:
        self.places = asyncio.Semaphore(at_once)
        self.users = 0
        self.next = 0.0
        """When the next request may begin, by the monotonic clock."""
        self.held = 0.0
        """Until when the host is to be left alone."""


class Hosts:
    """The hosts that are asked at present.

    Parameters
    ----------
    at_once : int
        Requests to one host at a time.
    rate : float, optional
        Requests to one host a second; None for as many as come.
    longest : float
        The longest that is waited for a host that asks to be left alone, in seconds.
    """

    def __init__(self, at_once: int, rate: float | None, longest: float) -> None:
        self._at_once, self._pause, self._longest = at_once, 1 / rate if rate else 0.0, longest
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait until a host may be asked, and be one of those who ask it.

        Raises
        ------
        HeldError
        """
        host = self._hosts.setdefault(name, _Host(self._at_once))
        host.users += 1
        try:
            async with host.places:
                await self._wait(host)
                yield
        finally:
            host.users -= 1
            self._forget(name, host)

    def hold(self, name: str, seconds: float) -> None:
        """Leave a host alone for some seconds."""
        host = self._hosts.setdefault(name, _Host(self._at_once))
        host.held = max(host.held, time.monotonic() + seconds)

    async def _wait(self, host: _Host) -> None:
        while (now := time.monotonic()) < (until := max(host.held, host.next)):
            if host.held - now > self._longest:
                raise HeldError(host.held - now)
            await asyncio.sleep(until - now)
        host.next = now + self._pause

    def _forget(self, name: str, host: _Host) -> None:
        now = time.monotonic()
        if not host.users and max(host.held, host.next) <= now:
            self._hosts.pop(name, None)
        elif len(self._hosts) > _MANY:
            for other, each in list(self._hosts.items()):
                if not each.users and max(each.held, each.next) <= now:
                    del self._hosts[other]

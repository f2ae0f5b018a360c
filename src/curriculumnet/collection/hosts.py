"""Turns at hosts: how many requests at a time, how many a second, and none while a host asks to be left alone.

Each host has connections of its own, which are closed when nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from curriculumnet.collection.connections import Connections

_SILENT = 16
"""Requests in a row to which a host gives no answer before it is given up: others wait behind those for it."""

_MANY = 4096
"""Hosts that are remembered before those that nobody waits for are forgotten."""


class HeldError(Exception):
    """A host has asked to be left alone for longer than anybody waits."""


class SilentError(Exception):
    """A host has let so many requests wait in vain that it is not asked any more."""


class _Host:
    def __init__(self, at_once: int) -> None:
        self.places = asyncio.Semaphore(at_once)
        self.users = 0
        self.connections: Connections | None = None
        self.next = 0.0
        """When the next request may begin, by the monotonic clock."""
        self.held = 0.0
        """Until when the host is to be left alone."""
        self.silent = 0
        """Requests in a row for which nothing came in time."""


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
    connections : callable
        Makes the connections to a host, given how many hosts are asked at present.
    """

    def __init__(
        self,
        at_once: int,
        rate: float | None,
        longest: float,
        connections: Callable[[int], Connections],
    ) -> None:
        self._at_once, self._pause, self._longest = at_once, 1 / rate if rate else 0.0, longest
        self._connections = connections
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Connections]:
        """Wait until a host may be asked, and be one of those who ask it, by the connections that this gives.

        Raises
        ------
        HeldError, SilentError
        """
        host = self._hosts.setdefault(name, _Host(self._at_once))
        host.users += 1
        try:
            async with host.places:
                if host.silent >= _SILENT:
                    raise SilentError
                await self._wait(host)
                if host.connections is None:
                    host.connections = self._connections(len(self._hosts))
                yield host.connections
        finally:
            host.users -= 1
            if not host.users:
                self._forget(name, host)
                await self._close(host)

    def hold(self, name: str, seconds: float) -> None:
        """Leave a host alone for some seconds."""
        host = self._hosts.setdefault(name, _Host(self._at_once))
        host.held = max(host.held, time.monotonic() + seconds)

    def note(self, name: str, *, answered: bool) -> None:
        """Take note of whether a host, which is asked at present, has answered."""
        host = self._hosts[name]
        host.silent = 0 if answered else host.silent + 1

    async def close(self) -> None:
        """Close all connections."""
        for host in self._hosts.values():
            await self._close(host)

    async def _close(self, host: _Host) -> None:
        if host.connections is not None:
            await host.connections.close()

    async def _wait(self, host: _Host) -> None:
        while (now := time.monotonic()) < (until := max(host.held, host.next)):
            if host.held - now > self._longest:
                raise HeldError
            await asyncio.sleep(until - now)
        host.next = now + self._pause

    def _forget(self, name: str, host: _Host) -> None:
        now = time.monotonic()
        if max(host.held, host.next) <= now and not host.silent:
            del self._hosts[name]
        elif len(self._hosts) > _MANY:
            for other, each in list(self._hosts.items()):
                if not each.users and max(each.held, each.next) <= now:
                    del self._hosts[other]

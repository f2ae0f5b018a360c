"""Connections to one host, kept to be used again.

A pool, such as httpcore2's, looks at all its connections at each request. Here whoever asks has taken its turn at the
host before, so that a stack is enough.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpcore2

_NOTHING = (b"", False)

Make = Callable[[httpcore2.Origin], httpcore2.AsyncHTTPConnection]


class Connections:
    """The connections to a host that nobody uses at present.

    Parameters
    ----------
    make : Make
        Makes a connection, which connects when it is first used.
    most : int
        How many are kept.
    """

    def __init__(self, make: Make, most: int) -> None:
        self._make, self._most = make, most
        self._idle: list[httpcore2.AsyncHTTPConnection] = []

    @asynccontextmanager
    async def one(self, origin: httpcore2.Origin) -> AsyncIterator[httpcore2.AsyncHTTPConnection]:
        """Give a connection for one request, and keep it if it can be used again."""
        connection = await self._kept(origin) or self._make(origin)
        try:
            yield connection
        finally:
            if connection.is_available() and _is_read(connection) and len(self._idle) < self._most:
                self._idle.append(connection)
            else:
                await connection.aclose()

    async def close(self) -> None:
        """Close all."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _kept(self, origin: httpcore2.Origin) -> httpcore2.AsyncHTTPConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.can_handle_request(origin) and not connection.has_expired():
                return connection
            await connection.aclose()
        return None


def _is_read(connection: httpcore2.AsyncHTTPConnection) -> bool:
    """Say whether nothing came after the answer, which would be taken for the next one.

    Only the connection's HTTP/1.1 state knows; where that cannot be asked, the connection is not used again.
    """
    state = getattr(getattr(connection, "_connection", None), "_h11_state", None)
    return state is not None and state.trailing_data == _NOTHING

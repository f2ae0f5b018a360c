"""Which addresses may be connected to, and connecting to the very address that was looked at.

A name is resolved once, here, and the connection goes to an address that was found and allowed. So neither a redirect
nor a name that resolves differently the second time leads into the network that this machine stands in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to addresses as text, such as `Resolver`."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_BITS = 0xFFFFFFFF

_PATIENCE = 3.0
"""Seconds after which a host's next address is tried: where IPv6 leads nowhere, nothing says so."""

_MORE = (
    # What older Pythons take for public; cloud providers answer for their machines' secrets at some of them.
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("100.64.0.0/10"),
    ipaddress.ip_network("198.18.0.0/15"),
    ipaddress.ip_network("168.63.129.16/32"),
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("fec0::/10"),
)


class NoSuchHostError(Exception):
    """A name that no address was found for.

    Parameters
    ----------
    may_pass : bool
        Whether asking again may help: it was the server of names that did not answer.
    """

    def __init__(self, may_pass: bool) -> None:
        super().__init__(may_pass)
        self.may_pass = may_pass


class AddressRefusedError(Exception):
    """A host of which no address may be connected to."""


def is_public(text: str) -> bool:
    """Say whether an address is one of the public internet's hosts.

    Addresses that carry an IPv4 address, as mapped, 6to4, Teredo and NAT64 ones do, are judged by that one too.

    >>> is_public("93.184.216.34"), is_public("::ffff:10.0.0.1"), is_public("169.254.169.254")
    (True, False, False)
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(each) for each in _carried(address))


def _carried(address: Address) -> list[Address]:
    """Return an address, or the IPv4 addresses that it stands for or leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & _BITS)]
    inner: list[Address] = [address]
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    inner += address.teredo or ()
    return inner


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _MORE if network.version == address.version)
    )


class Resolver:
    """Asks the system for the addresses of names, in threads of its own: a slow answer holds up no other."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "resolving")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host.

        Raises
        ------
        NoSuchHostError
        """
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, _addresses, host, port)
        except socket.gaierror as error:
            raise NoSuchHostError(error.errno == socket.EAI_AGAIN) from error
        except (OSError, UnicodeError) as error:
            raise NoSuchHostError(False) from error
        return found

    def close(self) -> None:
        """Forget the questions that have not been asked yet."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class _Reader(asyncio.StreamReader):
    """A reader that knows how many bytes have come and not been read."""

    left = 0

    def feed_data(self, data: Any) -> None:
        self.left += len(data)
        super().feed_data(data)


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection, without limits of time of its own: whoever asks limits the whole.

    Asyncio's own streams have noticed by themselves when the other side has closed, so that asking costs nothing before
    a connection is used again; and httpcore2's, which are anyio's, took more time than all else.
    """

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, address: str, port: int) -> _Stream:
        """Connect, as `asyncio.open_connection` does."""
        loop = asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, address, port)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        data = await self._reader.read(max_bytes)
        self._reader.left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._writer.write(buffer)
        await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        del timeout
        try:
            await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except BaseException:
            self._writer.close()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # What came unasked would be taken for the answer to the next request.
            return self._reader.left > 0 or self._reader.at_eof()
        return self._writer.get_extra_info(info)


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connections to allowed addresses only.

    Parameters
    ----------
    resolve : Resolve
        What finds the addresses of a host.
    allow_private : bool
        Allow every address.
    """

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve, self._allow_private = resolve, allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve a host, look at what was found, and connect to it.

        Raises
        ------
        NoSuchHostError, AddressRefusedError, OSError
        """
        del timeout, local_address, socket_options
        found = await self._resolve(host, port)
        allowed = [address for address in found if self._allow_private or is_public(address)]
        for place, address in enumerate(allowed, 1):
            last = place == len(allowed)
            try:
                async with asyncio.timeout(None if last else _PATIENCE):
                    return await _Stream.connect(address, port)
            except OSError:
                if last:
                    raise
        raise AddressRefusedError

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

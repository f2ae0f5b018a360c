"""One URL fetched: within bounds of bytes, time, redirects and tries, and only from where it is allowed.

httpx2's connections (httpcore2) are used without httpx2's client, because only they can be given what connects; and
because a client keeps cookies, and follows redirects, by itself. httpx2 is what became of httpx.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import ssl
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import httpcore2
import httpx2

from curriculumnet.collection.addresses import AddressRefusedError, CheckedBackend, NoSuchHostError, Resolve
from curriculumnet.collection.connections import Connections
from curriculumnet.collection.hosts import HeldError, Hosts, SilentError
from curriculumnet.collection.opting_out import opted_out
from curriculumnet.collection.pictures import REFUSED
from curriculumnet.console import duration, storage
from curriculumnet.errors import MachineError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WHOLE = frozenset({200, 203})
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may go well a little later."""
_ASK_TO_WAIT = frozenset({429, 503})

_NO_MORE_FILES = frozenset({errno.EMFILE, errno.ENFILE})

_FIRST_WAIT = 0.5
"""Seconds before the second try; before each further one twice as long."""

_IDLE = 5.0
"""Seconds for which a connection is kept that nobody uses."""

_HELD = "the host asks to be left alone for longer than is waited"
_ACCEPT = b"image/*,*/*;q=0.5"

_ZIPPED = {"gzip": (31,), "x-gzip": (31,), "deflate": (47, -15)}
"""What zlib calls the encodings that are undone, of which some servers leave the header out.

None is asked for, but some servers send one all the same.
"""


@dataclass(frozen=True)
class Bounds:
    """How much is asked of the network and of each host; the flags of `collect` with these names say what they mean."""

    concurrency: int
    per_host: int
    host_rate: float | None
    timeout: float
    max_bytes: int
    max_redirects: int
    retries: int
    max_wait: float
    opt_outs: bool
    allow_private: bool
    user_agent: str


class FetchError(Exception):
    """A URL that cannot be had.

    Parameters
    ----------
    reason : str
        Why, without what differs from URL to URL.
    may_pass : bool
        Whether it may be had a little later.
    asked : bool
        Whether the host has said when, and is being left alone until then.
    """

    def __init__(self, reason: str, *, may_pass: bool = False, asked: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.may_pass, self.asked = reason, may_pass, asked


class Fetcher:
    """Fetches URLs; use it as an asynchronous context.

    Parameters
    ----------
    bounds : Bounds
        What is allowed.
    resolve : Resolve
        What finds the addresses of a host.
    """

    def __init__(self, bounds: Bounds, resolve: Resolve) -> None:
        self._bounds = bounds
        self._agent = bounds.user_agent.partition("/")[0].strip()
        self._backend = CheckedBackend(resolve, allow_private=bounds.allow_private)
        self._trusted = _trusted()
        self._hosts = Hosts(bounds.per_host, bounds.host_rate, bounds.max_wait, self._connections)
        self._places = asyncio.Semaphore(bounds.concurrency)

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hosts.close()

    def _connections(self, hosts: int) -> Connections:
        """Return the connections to one of so many hosts; the more there are, the fewer are kept open unused."""
        return Connections(self._connection, min(self._bounds.per_host, self._bounds.concurrency // hosts))

    def _connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncHTTPConnection:
        return httpcore2.AsyncHTTPConnection(
            origin, ssl_context=self._trusted, keepalive_expiry=_IDLE, network_backend=self._backend
        )

    async def fetch(self, url: str) -> bytes:
        """Return what a URL gives, as it came.

        Raises
        ------
        FetchError
        """
        wait = _FIRST_WAIT
        for tries_left in range(self._bounds.retries, -1, -1):
            try:
                return await self._follow(_parsed(url))
            except FetchError as error:
                if not error.may_pass or not tries_left:
                    raise
                if not error.asked:
                    await asyncio.sleep(wait)
            wait *= 2
        raise FetchError("not tried")

    async def _follow(self, url: httpx2.URL) -> bytes:
        """Ask for a URL, and for what it leads to. The time counts only while a host is asked, not before its turn."""
        left = self._bounds.timeout
        for _ in range(self._bounds.max_redirects + 1):
            async with self._turn(url.host) as connections:
                start = time.monotonic()
                try:
                    async with asyncio.timeout(left):
                        found = await self._ask(url, connections)
                except TimeoutError:
                    self._hosts.note(url.host, answered=False)
                    raise FetchError(f"not there after {duration(self._bounds.timeout)}", may_pass=True) from None
                left -= time.monotonic() - start
            if isinstance(found, bytes):
                return found
            url = found
        raise FetchError(f"more than {self._bounds.max_redirects} redirects")

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[Connections]:
        try:
            async with self._hosts.turn(host) as connections, self._places:
                yield connections
        except HeldError:
            raise FetchError(_HELD) from None
        except SilentError:
            raise FetchError("the host does not answer") from None

    async def _ask(self, url: httpx2.URL, connections: Connections) -> bytes | httpx2.URL:
        """Send one request. Return the body, or where it is instead."""
        try:
            request = self._request(url)
            async with connections.one(request.url.origin) as connection:
                response = await connection.handle_async_request(request)
                try:
                    return await self._answer(url, response)
                finally:
                    await response.aclose()
        except NoSuchHostError as error:
            raise FetchError("no such host", may_pass=error.may_pass) from error
        except AddressRefusedError:
            raise FetchError(REFUSED) from None
        except (OSError, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            if isinstance(error, OSError) and error.errno in _NO_MORE_FILES:
                raise MachineError(
                    "Too many connections are open for this system: ask for less --concurrency."
                ) from None
            raise _meant(error) from error

    def _request(self, url: httpx2.URL) -> httpcore2.Request:
        headers = [
            (b"Host", url.netloc),
            (b"User-Agent", self._bounds.user_agent.encode("latin-1", "replace")),
            (b"Accept", _ACCEPT),
            (b"Accept-Encoding", b"identity"),
        ]
        if url.userinfo:
            # They are in a header of this request alone: where a redirect leads, they do not go.
            plain = f"{url.username}:{url.password}".encode()
            headers.append((b"Authorization", b"Basic " + base64.b64encode(plain)))
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        return httpcore2.Request("GET", target, headers=headers)

    async def _answer(self, url: httpx2.URL, response: httpcore2.Response) -> bytes | httpx2.URL:
        self._hosts.note(url.host, answered=True)
        headers = httpx2.Headers(response.headers)
        if self._bounds.opt_outs and opted_out(headers.get_list("x-robots-tag"), self._agent):
            raise FetchError("opted out by X-Robots-Tag")
        if response.status in _REDIRECTS:
            return _target(url, headers.get("location"), response.status)
        if response.status in _ASK_TO_WAIT and (seconds := _seconds(headers.get("retry-after"))) is not None:
            self._hosts.hold(url.host, seconds)
            if seconds > self._bounds.max_wait:
                raise FetchError(_HELD)
            raise FetchError(f"HTTP {response.status}", may_pass=True, asked=True)
        if response.status not in _WHOLE:
            raise FetchError(f"HTTP {response.status}", may_pass=response.status in _MAY_PASS)
        return _undone(await self._body(headers, response), headers.get("content-encoding", ""), self._bounds.max_bytes)

    async def _body(self, headers: httpx2.Headers, response: httpcore2.Response) -> bytes:
        most = self._bounds.max_bytes
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        parts, size = [], 0
        async for part in response.aiter_stream():
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
        return b"".join(parts)


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Return whom TLS trusts; reading the certificates takes long."""
    return httpx2.create_ssl_context()


def _meant(error: Exception) -> FetchError:
    """Return what an error of the connection means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        # What follows the comma is the host's name; reasons are counted.
        return FetchError(f"TLS: {error.verify_message.partition(',')[0]}")
    if isinstance(error, ssl.SSLError):
        return FetchError("TLS: no connection could be agreed on")
    if isinstance(error, httpcore2.LocalProtocolError):
        return FetchError("not a URL that can be asked for")
    if "without sending" in str(error):
        # A body that is shorter than was announced, or no answer at all.
        return FetchError("broken off before its end", may_pass=True)
    if isinstance(error, httpcore2.RemoteProtocolError):
        return FetchError("no HTTP answer")
    return FetchError("no connection, or one that broke off", may_pass=True)


def _parsed(text: str) -> httpx2.URL:
    """Return a URL that may be asked for.

    Raises
    ------
    FetchError
    """
    try:
        url = httpx2.URL(text.strip())
        usable = bool(url.host) and (url.port is None or 0 < url.port < 65536)
    except (httpx2.InvalidURL, ValueError):
        raise FetchError("not a URL") from None
    if url.scheme not in ("http", "https"):
        raise FetchError("neither an http nor an https URL")
    if not usable:
        raise FetchError("not a URL")
    return url


def _target(url: httpx2.URL, location: str | None, status: int) -> httpx2.URL:
    """Return where a redirect leads."""
    if not location:
        raise FetchError(f"HTTP {status} that leads nowhere")
    try:
        return _parsed(str(url.join(location)))
    except FetchError as error:
        raise FetchError(f"redirected to what is {error.reason}") from None
    except (httpx2.InvalidURL, ValueError):
        raise FetchError("redirected to what is not a URL") from None


def _seconds(retry_after: str | None) -> float | None:
    """Return how long a host asks to be left alone, which it says in seconds or by a date."""
    if not retry_after:
        return None
    if retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        until = parsedate_to_datetime(retry_after)
        until = until.replace(tzinfo=until.tzinfo or UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _too_large(most: int) -> FetchError:
    return FetchError(f"more than {storage(most)}")


def _undone(data: bytes, encoding: str, most: int) -> bytes:
    """Undo a Content-Encoding, as far as `most` bytes."""
    name = encoding.strip().lower()
    if not data or name in ("", "identity"):
        return data
    if name not in _ZIPPED:
        raise FetchError("a Content-Encoding that was not asked for")
    for form in _ZIPPED[name]:
        with suppress(zlib.error):
            return _inflated(data, form, most)
    raise FetchError(f"a body that is not the {name} it is said to be")


def _inflated(data: bytes, form: int, most: int) -> bytes:
    """Undo a compression, of which there may be several, one after the other; what follows and is none counts not."""
    parts, size = [], 0
    while data:
        unzip = zlib.decompressobj(form)
        try:
            parts.append(unzip.decompress(data, most + 1 - size))
        except zlib.error:
            if not parts:
                raise
            break
        size += len(parts[-1])
        if size > most:
            raise _too_large(most)
        if not unzip.eof:
            raise FetchError("broken off before its end", may_pass=True)
        data = unzip.unused_data
    return b"".join(parts)

"""A server on loopback that answers as badly as servers do, and lists of URLs on it."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
from PIL import Image

from curriculumnet.errors import SourceError

PAGE = b"<!DOCTYPE html><html><body>Not here any more</body></html>"


def picture(form: str, size: tuple[int, int] = (40, 30), colour: str = "teal", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form, **options)
    return file.getvalue()


PICTURES = {name: picture(form) for name, form in [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("gif", "GIF")]}


class Crowd:
    """What the server has seen."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], float]] = []
        self.times: Counter[str] = Counter()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.moved = threading.Condition()
        self.connections = 0
        self.ended = threading.Event()

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path; a picture where it knows no better."""

    protocol_version = "HTTP/1.1"
    # Or a body waits until its header is acknowledged, which takes 40 ms.
    disable_nagle_algorithm = True
    crowd: Crowd

    def setup(self) -> None:
        super().setup()
        self.crowd.connections += 1

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.crowd.lock:
            self.crowd.asked.append((self.path, dict(self.headers.items()), time.monotonic()))
            self.crowd.times[self.path] += 1
        kind, _, rest = self.path.strip("/").partition("/")
        try:
            getattr(self, f"on_{kind}", self.on_picture)(rest)
        except OSError:
            self.close_connection = True

    def give(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def on_picture(self, rest: str) -> None:
        self.give(PICTURES.get(rest.rpartition(".")[2], PICTURES["jpg"]))

    def on_status(self, rest: str) -> None:
        self.give(b"", int(rest.split("/")[0]))

    def on_html(self, rest: str) -> None:
        self.give(PAGE, Content_Type="image/jpeg")

    def on_empty(self, rest: str) -> None:
        self.give(b"")

    def on_text(self, rest: str) -> None:
        self.give(b"just some words, and then some more of them")

    def on_cut(self, rest: str) -> None:
        """Announce a whole picture and close in its middle."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(PICTURES["jpg"])))
        self.end_headers()
        self.wfile.write(PICTURES["jpg"][:100])
        self.close_connection = True

    def on_nothing(self, rest: str) -> None:
        self.close_connection = True

    def on_noise(self, rest: str) -> None:
        self.wfile.write(b"this is no HTTP at all\r\n\r\n")
        self.close_connection = True

    def on_unmeasured(self, rest: str) -> None:
        """Give a picture whose end is the connection's end."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PICTURES["jpg"])
        self.close_connection = True

    def on_chunked(self, rest: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (PICTURES["jpg"][:50], PICTURES["jpg"][50:], b""):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")

    def on_endless(self, rest: str) -> None:
        """Never stop sending, a little at a time or (`fast`) as quickly as it goes."""
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        part = bytes(65536 if rest.startswith("fast") else 1)
        while not self.crowd.ended.wait(0.0 if len(part) > 1 else 0.05):
            self.wfile.write(part)

    def on_slow(self, rest: str) -> None:
        self.crowd.ended.wait(float(rest.split("/")[0]))
        self.on_picture(rest)

    def on_together(self, rest: str) -> None:
        """Answer when so many are here, or no more come; then as soon as one more would have come."""
        host, crowd = self.headers["Host"].partition(":")[0], self.crowd
        with crowd.moved:
            for who in (host, "all"):
                crowd.now[who] += 1
                crowd.most[who] = max(crowd.most[who], crowd.now[who])
            crowd.moved.notify_all()
            crowd.moved.wait_for(lambda: crowd.most["all"] >= int(rest.split("/")[0]), timeout=10)
        crowd.ended.wait(0.05)
        with crowd.moved:
            for who in (host, "all"):
                crowd.now[who] -= 1
        self.on_picture(rest)

    def on_announced(self, rest: str) -> None:
        self.give(PICTURES["jpg"], Content_Length="999999999999")

    def on_hops(self, rest: str) -> None:
        left = int(rest.split("/")[0])
        self.give(b"", 302, Location=f"../hops/{left - 1}" if left > 1 else "/picture/1.png")

    def on_circle(self, rest: str) -> None:
        self.give(b"", 301, Location=self.path)

    def on_to(self, rest: str) -> None:
        """Redirect to what stands, percent-encoded, in the path."""
        self.give(b"", 307, Location=unquote(rest))

    def on_nowhere(self, rest: str) -> None:
        self.give(b"", 302)

    def on_busy(self, rest: str) -> None:
        """`busy/STATUS/TIMES/SECONDS`: refuse so many times, and ask to wait."""
        status, times, seconds = rest.split("/")[:3]
        if self.crowd.times[self.path] > int(times):
            self.on_picture(rest)
        else:
            self.give(b"", int(status), **({"Retry_After": unquote(seconds)} if seconds != "none" else {}))

    def on_robots(self, rest: str) -> None:
        self.give(PICTURES["jpg"], X_Robots_Tag=unquote(rest))

    def on_zipped(self, rest: str) -> None:
        self.give(gzip.compress(PICTURES["jpg"]), Content_Encoding="gzip")

    def on_twice_zipped(self, rest: str) -> None:
        half = len(PICTURES["jpg"]) // 2
        parts = (PICTURES["jpg"][:half], PICTURES["jpg"][half:])
        self.give(b"".join(map(gzip.compress, parts)), Content_Encoding="gzip")

    def on_deflated(self, rest: str) -> None:
        """Give what some servers call deflate: without zlib's header."""
        squeeze = zlib.compressobj(wbits=-15)
        self.give(squeeze.compress(PICTURES["jpg"]) + squeeze.flush(), Content_Encoding="deflate")

    def on_more(self, rest: str) -> None:
        """Give a picture, and at once or a little later a whole answer that nobody asked for."""
        self.give(PICTURES["jpg"])
        if rest.startswith("later"):
            self.wfile.flush()
            self.crowd.ended.wait(0.1)
        stray = PICTURES["png"]
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(stray)).encode() + b"\r\n\r\n" + stray)

    def on_bomb(self, rest: str) -> None:
        self.give(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")

    def on_brotli(self, rest: str) -> None:
        self.give(PICTURES["jpg"], Content_Encoding="br")

    def on_raw(self, rest: str) -> None:
        """Send what stands in the path, in hex, and close."""
        self.wfile.write(bytes.fromhex(rest))
        self.close_connection = True

    def on_cookie(self, rest: str) -> None:
        self.give(PICTURES["jpg"], Set_Cookie="who=you")


class _Waiting(ThreadingHTTPServer):
    # By default five may wait to be let in; who comes sixth tries again after a second.
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.let_in: set[Any] = set()
        self.inside: set[Any] = set()
        self.moved = threading.Condition()

    def process_request(self, request: Any, address: Any) -> None:
        with self.moved:
            self.let_in.add(address)
            self.inside.add(address)
        super().process_request(request, address)

    def process_request_thread(self, request: Any, address: Any) -> None:
        super().process_request_thread(request, address)
        with self.moved:
            self.inside.discard(address)
            self.moved.notify_all()

    def handle_error(self, *_: object) -> None:
        """Say nothing: what an answer leads to may be nonsense."""


class Server:
    """A server, and what it has seen."""

    def __init__(self) -> None:
        self.crowd = Crowd()
        handler = type("Bound", (Handler,), {"crowd": self.crowd})
        self.http = _Waiting(("127.0.0.1", 0), handler)
        self.port = self.http.server_address[1]

    def settle(self) -> None:
        """Wait until what clients that are gone have sent is seen: it may lie unread long after they were stopped."""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            mine = last.getsockname()
        # Connections are let in in the order in which they come: who came before is in when this one is.
        with self.http.moved:
            assert self.http.moved.wait_for(lambda: mine in self.http.let_in and not self.http.inside, timeout=30)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.crowd.ended.set()
    made.http.shutdown()
    made.http.server_close()
    thread.join()


@pytest.fixture
def listing(tmp_path: Path, server: Server) -> Callable[..., Path]:
    """Write a list of paths on the server, or of whole URLs."""

    def write_list(*paths: str, name: str = "list.csv") -> Path:
        urls = [path if "://" in path else server.url(path) for path in paths]
        rows = [f'"{url}",cat,"a cat, sitting",{place}' for place, url in enumerate(urls, 1)]
        path = tmp_path / name
        path.write_text("\n".join(["url,category,query,rank", *rows, ""]), encoding="utf-8")
        return path

    return write_list


@contextmanager
def perhaps_no_picture(folder: Path) -> Iterator[None]:
    """Where not one picture comes the command says so, after the shards are written; and only there."""
    try:
        yield
    except SourceError as error:
        assert "Not one picture came of" in str(error)
        assert not sum(stats["successes"] for stats in stats_of(folder))
    else:
        assert sum(stats["successes"] for stats in stats_of(folder))


def rows_of(shards: Path) -> list[dict[str, Any]]:
    """Return the rows of all shards, in the order of their files."""
    return [row for path in sorted(shards.glob("[0-9]*.parquet")) for row in pq.read_table(path).to_pylist()]


def stats_of(shards: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(shards.glob("[0-9]*_stats.json"))]

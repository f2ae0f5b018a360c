"""Encrypted connections: the name is checked, though the connection goes to an address."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

import curriculumnet as cn
from curriculumnet.collection import fetching

from .conftest import PICTURES, Server, perhaps_no_picture, rows_of


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody trusts."""
    return trustme.CA()


@pytest.fixture
def encrypted(server: Server, authority: trustme.CA) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True, do_handshake_on_connect=False)
    return server


@pytest.fixture
def status(tmp_path: Path, listing: Callable[..., Path]) -> Callable[[str], tuple[str, str | None]]:
    def call(url: str) -> tuple[str, str | None]:
        with perhaps_no_picture(tmp_path / "shards"):
            cn.collect(listing(url), output=tmp_path / "shards", allow_private=True, retries=0, timeout=5, quiet=True)
        (row,) = rows_of(tmp_path / "shards")
        return row["status"], row["error_message"]

    return call


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, authority: trustme.CA) -> None:
    def trusted() -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    monkeypatch.setattr(fetching, "_trusted", trusted)


Status = Callable[[str], tuple[str, str | None]]


@pytest.mark.usefixtures("trusting")
def test_a_picture_comes_over_tls(encrypted: Server, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PICTURES, "large", PICTURES["jpg"] + bytes(5_000_000))
    assert status(encrypted.url("picture/1.large", "localhost").replace("http:", "https:")) == ("success", None)


@pytest.mark.usefixtures("trusting")
def test_a_certificate_of_another_name_is_refused(encrypted: Server, status: Status) -> None:
    _, message = status(encrypted.url("1.jpg").replace("http:", "https:"))
    assert message == "TLS: IP address mismatch"
    assert not encrypted.crowd.asked


def test_a_certificate_that_nobody_trusts_is_refused(encrypted: Server, status: Status) -> None:
    _, message = status(encrypted.url("1.jpg", "localhost").replace("http:", "https:"))
    assert message is not None
    assert message.startswith("TLS: ")
    assert message.endswith(" certificate")
    assert not encrypted.crowd.asked


def test_a_server_that_speaks_no_tls_is_told(server: Server, status: Status) -> None:
    _, message = status(server.url("1.jpg").replace("http:", "https:"))
    assert message == "TLS: no connection could be agreed on"

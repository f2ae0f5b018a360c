"""The tests run without a network, no command wants one, and workers need not be forked.

The commands run in a process of their own whose workers are spawned, as on macOS and Windows, with the guard of
`offline/sitecustomize.py` in each of these processes. The guard denies and writes down what was tried.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from curriculumnet import cli
from curriculumnet.miniature import make_crawl

ELSEWHERE = "192.0.2.1"
"""An address that is kept for documentation and leads nowhere."""


# -- the guard itself -------------------------------------------------------------------------------------------------


def test_a_test_cannot_reach_another_host() -> None:
    with socket.socket() as tried, pytest.raises(PermissionError, match=f"asked for {ELSEWHERE}"):
        tried.connect((ELSEWHERE, 80))
    with socket.socket() as tried, pytest.raises(PermissionError, match=f"asked for {ELSEWHERE}"):
        tried.connect_ex((ELSEWHERE, 80))
    with socket.socket(type=socket.SOCK_DGRAM) as tried, pytest.raises(PermissionError, match="asked for"):
        tried.sendto(b"x", (ELSEWHERE, 53))
    with pytest.raises(PermissionError, match=r"asked for example\.org"):
        socket.getaddrinfo("example.org", 443)


def test_a_test_can_reach_its_own_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets that are files")
def test_a_test_can_use_a_socket_that_is_a_file(tmp_path: Path) -> None:
    name = os.path.relpath(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(name)
        server.listen()
        client.connect(name)


WORKERS = """
import multiprocessing, socket, sys

def ask(address):
    with socket.socket() as tried:
        try:
            tried.connect((address, 80))
        except PermissionError:
            return "denied"
    return "let through"

if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(ask, [sys.argv[1]])[0])
"""


def test_the_guard_holds_in_worker_processes_and_writes_down_what_it_denied(tmp_path: Path) -> None:
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(WORKERS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program, ELSEWHERE],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "SOCKET_LOG": str(log)},
    )
    answers = done.stdout.split("\n")[:-1]
    assert answers
    assert all(answer.endswith(" denied") for answer in answers)
    assert len(log.read_text(encoding="utf-8").splitlines()) == len(answers)


# -- the commands -----------------------------------------------------------------------------------------------------

PROGRAM = """
import json, multiprocessing, sys
from curriculumnet import cli

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    codes = {}
    for words in json.loads(sys.argv[1]):
        try:
            cli.app(words, prog_name="curriculumnet")
        except SystemExit as ended:
            codes[" ".join(words[:4])] = ended.code
    print("codes:", json.dumps(codes))
"""


@dataclass(frozen=True)
class Told:
    """What the commands left: their exit codes, their messages, and the sockets they asked for."""

    codes: dict[str, int]
    stderr: str
    sockets: str
    commands: set[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Run every command on a tiny crawl; what they told."""
    folder = tmp_path_factory.mktemp("offline")
    made = make_crawl(folder / "miniature", images_per_category=(12, 16), test_images=20)
    crawl, test, work, whole = str(made.crawl), str(made.test), str(folder / "work"), str(folder / "whole")
    picture = str(next(made.test.rglob("*.png")))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(made.test)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    small = shlex.split("--model test_resnet --image-size 32 --epochs 0.5 --batch-size 32 --device cpu --workers 2")
    urls = folder / "urls.csv"
    place = Path(picture).relative_to(made.test).as_posix()
    urls.write_text(f"url,category\nhttp://127.0.0.1:{server.server_port}/{quote(place)},cat\n", encoding="utf-8")
    commands = [
        ["collect", str(urls), "-o", str(folder / "shards"), "--allow-private", "--retries", "0"],
        ["ingest", crawl, "-o", work, "--test", test, "--workers", "2"],
        ["train", work, "--recipe", "model-a", *small],
        ["embed", work, "--from", "model-a", "--device", "cpu", "--workers", "2"],
        ["design", work],
        ["train", work, "--recipe", "model-d", "--cache", *small],
        ["evaluate", work, "--device", "cpu", "--workers", "2"],
        ["report", work],
        ["predict", work, picture, "--device", "cpu"],
        ["export", work, "-o", str(folder / "export"), "--format", "folders"],
        ["run", crawl, "-o", whole, "--test", test, *small],
        ["inject", test, "-o", str(folder / "noisy"), "--closed", "0.2"],
        ["status", whole],
    ]
    program, log = folder / "program.py", folder / "sockets"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program, json.dumps(commands)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=600,
        env={**os.environ, "SOCKET_LOG": str(log)},
    )
    server.shutdown()
    server.server_close()
    assert "codes:" in done.stdout, done.stderr
    codes = json.loads(done.stdout.split("codes:")[1])
    sockets = log.read_text(encoding="utf-8") if log.exists() else ""
    return Told(codes, done.stderr, sockets, {words[0] for words in commands})


@pytest.mark.slow
@pytest.mark.short
def test_every_command_but_the_demo_is_tried(told: Told) -> None:
    # The demo is `run` on a crawl of its own, and takes minutes.
    assert told.commands == {command.name for command in cli.COMMANDS} - {"demo"}


@pytest.mark.slow
@pytest.mark.short
def test_workers_may_be_spawned(told: Told) -> None:
    assert not any(told.codes.values()), f"{told.codes}\n{told.stderr}"
    assert "Traceback" not in told.stderr


@pytest.mark.slow
@pytest.mark.short
def test_no_command_opens_a_socket_to_elsewhere(told: Told) -> None:
    assert told.sockets == ""

"""Whatever lies in a crawl ends as a row, in bounded time and memory; and whatever a decoder does, the scan goes on."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import curriculumnet as cn
from curriculumnet.images.folder import Folder
from curriculumnet.images.stored import Bytes
from curriculumnet.ingestion import pool
from curriculumnet.ingestion.pool import Limits, in_processes
from curriculumnet.ingestion.scan import MAX_BYTES, Found, examine, scan
from curriculumnet.ingestion.step import Ingestion
from curriculumnet.work import tables

HOSTILE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "hostile.py")))

MOST_MEMORY = 1000
"""MB that the scanning process and each of its workers may hold at their peak; with all libraries loaded it is 200."""

SLOWEST = 5.0
"""Seconds of processor time that one of these files may take."""

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of a process has no limit")

Write = Callable[[str, bytes], Path]


def good(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    data: bytes = HOSTILE.encoded(Image.fromarray(noise).resize((24, 20), Image.Resampling.NEAREST), "PNG")
    return data


@pytest.fixture
def crawl(tmp_path: Path, write: Write) -> Path:
    """Two categories of three good pictures."""
    for number in range(6):
        write(f"crawl/{('cat', 'dog')[number % 2]}/good {number}.png", good(number))
    return tmp_path / "crawl"


@pytest.fixture
def ingest(tmp_path: Path) -> Callable[..., Ingestion]:
    return lambda source, workers=0: cn.ingest(source, output=tmp_path / "work", workers=workers, quiet=True)


def rows(result: Ingestion) -> dict[str, tuple[str, str]]:
    """State and reason by file name; the account is checked on the way."""
    table = result.table().to_pylist()
    assert result.seen == len(table) == sum(result.states.values())
    assert result.states == dict(Counter(row["state"] for row in table))
    assert sum(result.reasons.values()) == result.seen - result.states["used"]
    for row in table:
        assert row["state"] in tables.STATES
        assert bool(row["reason"]) == (row["state"] != "used")
    return {row["file_name"]: (row["state"], row["reason"]) for row in table}


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus() -> dict[str, bytes]:
    made: dict[str, bytes] = HOSTILE.corpus()
    return made


INGEST = """
import json, resource, sys
from pathlib import Path
import curriculumnet as cn

if __name__ == "__main__":
    result = cn.ingest(sys.argv[1], output=sys.argv[2], workers=2, quiet=True)
    unit = 1 if sys.platform == "darwin" else 1024
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = [resource.getrusage(who).ru_maxrss * unit / 2**20 for who in whose]
    if Path("/proc/self/status").exists():
        # Linux counts the process that started this one into the first of these.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        peaks[0] = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    print(json.dumps({"peaks": peaks, "states": result.states, "seen": result.seen, "reasons": result.reasons}))
"""


def test_every_hostile_file_ends_as_a_row(corpus: dict[str, bytes], crawl: Path, write: Write, tmp_path: Path) -> None:
    assert len(corpus) >= 400
    for number, (name, data) in enumerate(corpus.items()):
        write(f"crawl/{('cat', 'dog')[number % 2]}/{name}", data)
    # In a process of its own: the peak of its memory is its own too.
    command = [sys.executable, "-c", INGEST, str(crawl), str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert not done.returncode, done.stderr
    # Decoders write what they think of a file to the terminal, amid the progress.
    assert not done.stderr
    account = json.loads(done.stdout)
    table = tables.read(tmp_path / "work" / "images.parquet").to_pylist()
    assert account["seen"] == len(table) == len(corpus) + 6 == sum(account["states"].values())
    assert sum(account["reasons"].values()) == account["seen"] - account["states"]["used"]
    assert not [row for row in table if row["state"] not in tables.STATES]
    assert not [row for row in table if bool(row["reason"]) == (row["state"] == "used")]
    # None of them is too much for the decoders of today.
    assert not [row for row in table if re.match("the decoder crashed|decoding (took|needed)", row["reason"])]
    assert max(account["peaks"]) < MOST_MEMORY
    states = {row["file_name"].partition("/")[2].removesuffix(".jpg"): row["state"] for row in table}
    assert {state for name, state in states.items() if name.startswith("good ")} == {"used"}
    for name in ("empty", "page", "drawing", "answer of a server", "zip", "pdf", "program of postscript", "text"):
        assert states[name] == "broken", name
    for name in ("bomb of 30,000 x 30,000", "bomb of a tiff", "png that claims 2147483647 x 2147483647"):
        assert states[name] == "refused", name
    assert {states[f"png cut at {tenth}0 percent"] for tenth in range(1, 10)} == {"broken"}
    assert states["picture with an archive behind it"] in ("used", "copy")


@pytest.mark.slow
def test_no_hostile_file_takes_long(corpus: dict[str, bytes]) -> None:
    for name, data in corpus.items():
        start = time.process_time()
        found = examine(data, 16)
        assert time.process_time() - start < SLOWEST, name
        assert (found.reason == "") == (found.state == "used"), name


def test_a_file_of_gigabytes_is_refused_unread(crawl: Path, ingest: Callable[..., Ingestion]) -> None:
    with (crawl / "cat" / "huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert rows(ingest(crawl))["cat/huge.jpg"] == ("refused", "too large: 2,147,483,649 bytes, more than 2,147,483,648")


# -- names, links, rights ---------------------------------------------------------------------------------------------


def test_odd_names_are_rows(crawl: Path, ingest: Callable[..., Ingestion]) -> None:
    taken = HOSTILE.write_odd(crawl / "cat", lambda number: good(100 + number))
    found = rows(ingest(crawl, workers=1))
    assert len(found) == 6 + taken
    # A leading dot hides a file.
    odd = {os.fsdecode(b"cat/" + name) for name in HOSTILE.odd_names()}
    assert taken >= len(odd) - 4
    for name, (state, reason) in found.items():
        if name.startswith("cat/") and "\\x" in name:
            assert (state, reason) == ("refused", "its name is not valid UTF-8")
        else:
            assert (state, reason) == ("used", ""), name


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_links_and_what_is_no_file_are_rows(crawl: Path, ingest: Callable[..., Ingestion], tmp_path: Path) -> None:
    folder = crawl / "dog"
    (folder / "circle").symlink_to(crawl, target_is_directory=True)
    (folder / "first.jpg").symlink_to(folder / "second.jpg")
    (folder / "second.jpg").symlink_to(folder / "first.jpg")
    (folder / "nowhere.jpg").symlink_to(tmp_path / "nothing.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    (folder / "linked.png").symlink_to(crawl / "dog" / "good 1.png")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket is short
        server.bind("socket.jpg")
        os.chdir(here)
        found = rows(ingest(crawl, workers=1))
    odd = {name: what for name, what in found.items() if "good" not in name}
    assert odd.pop("dog/linked.png") == ("copy", "same bytes as an earlier image of its category")
    assert odd.pop("dog/first.jpg")[0] == odd.pop("dog/second.jpg")[0] == "broken"
    assert odd == {
        "dog/circle": ("refused", "no regular file"),
        "dog/nowhere.jpg": ("missing", "not there"),
        "dog/endless.jpg": ("refused", "no regular file"),
        "dog/pipe.jpg": ("refused", "no regular file"),
        "dog/socket.jpg": ("refused", "no regular file"),
    }


def test_links_between_folders_lead_to_each_file_once(
    crawl: Path, ingest: Callable[..., Ingestion], tmp_path: Path, write: Write
) -> None:
    write("beside/one.png", good(50))
    folders = [crawl / "cat" / f"album {number}" for number in range(6)]
    for number, folder in enumerate(folders):
        write(f"crawl/cat/album {number}/{number}.png", good(60 + number))
        for other in range(6):
            (folder / f"to {other}").symlink_to(folders[other], target_is_directory=True)
    (crawl / "dog" / "up").symlink_to(tmp_path, target_is_directory=True)
    (crawl / "dog" / "beside").symlink_to(tmp_path / "beside", target_is_directory=True)
    found = rows(ingest(crawl, workers=0))
    assert Counter(state for state, _ in found.values()) == {"used": 6 + 6 + 1, "refused": 36 + 1}
    assert found["dog/beside/one.png"][0] == "used"
    assert found["dog/up"] == ("refused", "no regular file")


def test_a_tree_deeper_than_a_path_may_be_is_read_as_far_as_it_goes(
    crawl: Path, ingest: Callable[..., Ingestion]
) -> None:
    here = Path.cwd()
    try:
        os.chdir(crawl / "cat")
        for _ in range(25):
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)
        Path("deep.png").write_bytes(good(70))
    finally:
        os.chdir(here)
    found = rows(ingest(crawl, workers=0))
    assert Counter(state for state, _ in found.values()) == {"used": 6, "broken": 1}
    (reason,) = (why for state, why in found.values() if state == "broken")
    assert reason == "cannot be read: file name too long"


def test_a_folder_that_vanishes_while_the_others_are_listed_is_none(
    crawl: Path, ingest: Callable[..., Ingestion], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("crawl/cat/sub/1.png", good(80))
    write("crawl/dog/sub/2.png", good(81))
    scandir = os.scandir

    def scandir_and_then_gone(path: object) -> object:
        if isinstance(path, Path) and path.name == "sub":
            path.rename(path.parents[2] / f"elsewhere {path.parent.name}")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_and_then_gone)
    assert Counter(state for state, _ in rows(ingest(crawl, workers=0)).values()) == {"used": 6}


AS_NOBODY = """
import os, sys
import curriculumnet as cn

if os.geteuid() == 0:  # who may read everything, the libraries too: all have to be loaded before
    for workers in (0, 1):
        cn.ingest(sys.argv[1], output=f"{sys.argv[2]}-as-root-{workers}", workers=workers, quiet=True)
    os.setegid(65534)
    os.seteuid(65534)
result = cn.ingest(sys.argv[1], output=sys.argv[2], workers=1, quiet=True)
print([(row["state"], row["reason"]) for row in result.table().to_pylist() if "secret" in row["file_name"]])
"""


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="rights of files are another matter there")
def test_a_file_that_may_not_be_read_is_a_row() -> None:
    # pytest's own temporary folders let nobody else in.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        for number in range(6):
            path = Path(folder, "crawl", ("cat", "dog")[number % 2], f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(good(number))
        secret = path.with_name("secret.png")
        secret.write_bytes(good(7))
        secret.chmod(0)
        closed = path.with_name("secret")
        closed.mkdir(mode=0)
        command = [sys.executable, "-c", AS_NOBODY, f"{folder}/crawl", f"{folder}/work"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout.strip() == str(
        [
            ("broken", "cannot be read: permission denied"),
            ("broken", "cannot be read: a folder that may not be read"),
        ]
    ), done.stderr


SHUT_IN = """
import os, sys
import curriculumnet as cn
from curriculumnet.errors import SourceError

if os.geteuid() == 0:  # who may enter everything
    cn.ingest(sys.argv[1], output=f"{sys.argv[2]}-as-root", workers=0, quiet=True)
    os.setegid(65534)
    os.seteuid(65534)
try:
    cn.ingest(sys.argv[1], output=sys.argv[2], workers=0, quiet=True)
except SourceError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="rights of files are another matter there")
def test_a_source_in_a_folder_that_may_not_be_entered() -> None:
    # pytest's own temporary folders let nobody else in.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        for number in range(6):
            path = Path(folder, "shut/crawl", ("cat", "dog")[number % 2], f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(good(number))
        Path(folder, "shut").chmod(0)
        command = [sys.executable, "-c", SHUT_IN, f"{folder}/shut/crawl", f"{folder}/work"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        Path(folder, "shut").chmod(0o755)
    assert done.stdout.startswith(f"{folder}/shut/crawl is not there, or may not be read: check"), done.stderr


# -- files that change ------------------------------------------------------------------------------------------------


def test_a_file_that_vanishes_before_it_is_read_is_missing(
    crawl: Path, ingest: Callable[..., Ingestion], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(f"crawl/cat/vanishing {number}.png", good(20 + number))
    size = Folder.size

    def size_and_then_gone(self: Folder, name: str) -> int:
        found = size(self, name)
        if "vanishing" in name:
            Path(self.root, name).unlink()
        return found

    monkeypatch.setattr(Folder, "size", size_and_then_gone)
    found = rows(ingest(crawl, workers=1))
    assert {found[f"cat/vanishing {number}.png"] for number in range(3)} == {("missing", "not there")}


def test_files_that_vanish_and_grow_all_the_while_are_rows(
    crawl: Path, ingest: Callable[..., Ingestion], write: Write
) -> None:
    paths = [write(f"crawl/cat/{number}.png", good(100 + number)) for number in range(300)]

    def disturb() -> None:
        for path in paths[::2]:
            path.unlink()
        for path in paths[1::2]:
            path.write_bytes(path.read_bytes()[:40])

    disturber = threading.Timer(0.05, disturb)
    disturber.start()
    found = rows(ingest(crawl, workers=0))
    disturber.join()
    # Those that were gone before the folder was listed are nowhere.
    assert 156 <= len(found) <= 306
    assert {state for state, _ in found.values()} <= {"used", "missing", "broken"}


# -- archives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "part"), [("", ""), ("./", ""), ("./inner/", "inner")])
def test_members_of_a_tar_that_lead_outside_or_are_no_files_are_refused_by_name(
    tmp_path: Path, ingest: Callable[..., Ingestion], prefix: str, part: str
) -> None:
    pictures = {f"{('cat', 'dog')[number % 2]}/{number}.png": good(number) for number in range(6)}
    strange = HOSTILE.write_tar(tmp_path / "crawl.tar", pictures, prefix)
    result = ingest(f"{tmp_path / 'crawl.tar'}#{part}" if part else tmp_path / "crawl.tar", workers=1)
    found = rows(result)
    assert {name: found.pop(name)[0] for name in pictures} == dict.fromkeys(pictures, "used")
    if part:
        strange = [name for name in strange if name.startswith(("cat/", "dog/")) and ".." not in name]
    assert found == {
        name: ("refused", "its name leads out of the archive" if ".." in name or name[0] == "/" else "no regular file")
        for name in strange
    }
    assert result.categories.keys() == {"cat", "dog"}
    assert result.not_images == 0


def test_a_tar_that_shrinks_while_it_is_read_gives_rows(tmp_path: Path) -> None:
    from curriculumnet.images.archives import open_bytes

    pictures = {f"cat/{number}.png": good(number) for number in range(6)}
    HOSTILE.write_tar(tmp_path / "crawl.tar", pictures)
    files = open_bytes(str(tmp_path / "crawl.tar"))
    os.truncate(tmp_path / "crawl.tar", 3000)
    found = in_order(scan(files, list(pictures), min_side=16, workers=1))
    assert [each.state for each in found].count("used") >= 1
    assert found[-1].state == "broken"
    assert "cannot be read" in found[-1].reason


def in_order(parts: Iterable[tuple[int, list[Found]]]) -> list[Found]:
    return [each for _, part in sorted(parts) for each in part]


# -- decoders that misbehave ------------------------------------------------------------------------------------------

LEAKED: list[np.ndarray] = []


def misbehave(files: Bytes, name: str, min_side: int) -> Found:
    """Do what a file's content says."""
    what = files.read(name)
    if what == b"crash":
        ctypes.string_at(0)
    elif what == b"exit":
        os._exit(0)
    elif what == b"abort":
        os.abort()
    elif what == b"sleep":
        time.sleep(1000)
    elif what == b"no thread runs":
        re.match("(a+)+$", 100 * "a" + "b")
    elif what == b"all memory":
        LEAKED.append(np.ones(2**40, dtype=np.uint8))
    elif what == b"leak":
        # Address space, as a real leak would take; the pages need not be there.
        LEAKED.append(np.empty(2**28, dtype=np.uint8))
    elif what == b"our fault":
        raise KeyError("who wrote this?")
    return Found("used", "", bytes=len(what))


CRASHED, SLOW = ("broken", "the decoder crashed on it"), ("broken", "decoding took longer than 1 s")
GREEDY = ("broken", "decoding needed more than 1 GB of memory")
LIMITS = Limits(seconds=1.0, memory=2**30)


def behaviours(tmp_path: Path, what: list[str]) -> tuple[Folder, list[str]]:
    names = [f"{number:03} {each}.jpg" for number, each in enumerate(what)]
    for name, each in zip(names, what, strict=True):
        (tmp_path / name).write_bytes(each.encode())
    return Folder(str(tmp_path)), names


def looked(tmp_path: Path, what: list[str], workers: int) -> list[tuple[str, str]]:
    files, names = behaviours(tmp_path, what)
    found = in_order(scan(files, names, min_side=16, workers=workers, look=misbehave, limits=LIMITS))
    assert len(found) == len(names)
    assert not multiprocessing.active_children()
    # Each result is that of its own file.
    assert all(each.bytes == len(did) for each, did in zip(found, what, strict=True) if each.state == "used")
    return [each[:2] for each in found]


@pytest.mark.parametrize(
    ("workers", "what", "expected"),
    [
        (1, "crash", CRASHED),
        (2, "crash", CRASHED),
        (2, "exit", CRASHED),
        (2, "abort", CRASHED),
        (2, "sleep", SLOW),
        (2, "no thread runs", SLOW),
        pytest.param(2, "all memory", GREEDY, marks=LINUX),
    ],
)
def test_a_decoder_that_falls_takes_down_one_worker_and_its_file_is_named(
    tmp_path: Path, workers: int, what: str, expected: tuple[str, str]
) -> None:
    behaved = ["fine"] * 100
    for place in (0, 50):
        behaved[place] = what
    found = looked(tmp_path, behaved, workers)
    assert [found[place] for place in (0, 50)] == [expected] * 2
    assert found.count(("used", "")) == 98


def test_any_number_of_files_may_crash(tmp_path: Path) -> None:
    assert looked(tmp_path, ["exit", "crash"] * 20, 2) == [CRASHED] * 40


@LINUX
def test_a_leak_is_mended_and_nothing_blamed(tmp_path: Path) -> None:
    assert looked(tmp_path, ["leak"] * 40, 2) == [("used", "")] * 40


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_worker_that_is_killed_from_outside_costs_no_file(tmp_path: Path) -> None:
    files, names = behaviours(tmp_path, ["fine"] * 400)
    killed: list[int] = []
    found: list[Found] = []
    for _, part in scan(files, names, min_side=16, workers=2, look=misbehave):
        found += part
        alive = {child.pid for child in multiprocessing.active_children()}.difference(killed)
        if alive and len(killed) < 3:
            killed.append(alive.pop() or 0)
            os.kill(killed[-1], signal.SIGKILL)
    assert len(killed) == 3
    assert [each[:2] for each in found] == [("used", "")] * len(names)


def test_an_error_of_ours_is_raised_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in misbehave.*who wrote this\?"):
        looked(tmp_path, ["fine", "our fault"], 1)
    assert not multiprocessing.active_children()


def test_time_in_which_the_command_was_suspended_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = pool._Clock()
    now = time.monotonic()
    for seconds in (0.1, 1000.1):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
        clock.tick()
    assert 0.1 <= clock.seconds < 2


def test_nothing_to_look_at_starts_no_worker() -> None:
    assert list(in_processes(len, [], processes=2)) == []


def test_names_longer_than_a_pipe_holds_are_handed_over() -> None:
    names = [str(n) + "x" * 300_000 for n in range(8)]
    found = {place + n: each for place, part in in_processes(len, names, processes=2) for n, each in enumerate(part)}
    assert [found[n] for n in range(8)] == [len(name) for name in names]


def test_a_few_files_are_looked_at_in_one_worker_unless_told_otherwise(tmp_path: Path) -> None:
    files, names = behaviours(tmp_path, ["fine"] * 60)

    def where(files: Bytes, name: str, min_side: int) -> Found:
        return Found("used", str(os.getpid()))

    pids = [
        {each.reason for each in in_order(scan(files, names, min_side=1, workers=n, look=where))} for n in (None, 0)
    ]
    assert len(pids[0]) == 1
    assert pids[1] == {str(os.getpid())} != pids[0]


SPAWNED = """
import multiprocessing, os, sys, time
from curriculumnet.images.archives import open_bytes
from curriculumnet.ingestion.pool import Limits
from curriculumnet.ingestion.scan import Found, scan

def look(files, name, min_side):
    if "exit" in name:
        os._exit(3)
    if "sleep" in name:
        print(os.getpid(), flush=True)
        time.sleep(1000)
    if "no thread runs" in name:
        import re
        print(os.getpid(), flush=True)
        re.match("(a+)+$", 100 * "a" + "b")
    if "half a second" in name:
        print(os.getpid(), flush=True)
        time.sleep(0.5)
    return Found("used", "")

def begin(how, folder):
    multiprocessing.set_start_method(how)
    files = open_bytes(folder)
    limits = Limits(seconds=2)
    parts = sorted(scan(files, files.names(), min_side=16, workers=2, look=look, limits=limits))
    print([each.reason for _, part in parts for each in part], flush=True)
"""
GUARDED = SPAWNED + "\nif __name__ == '__main__':\n    begin(*sys.argv[1:])\n"
UNGUARDED = SPAWNED + "\nbegin(*sys.argv[1:])\n"


def command(tmp_path: Path, program: str, how: str, what: list[str]) -> list[str]:
    (tmp_path / "files").mkdir()
    files, _ = behaviours(tmp_path / "files", what)
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    return [sys.executable, str(tmp_path / "program.py"), how, files.root]


def test_spawned_workers_are_replaced_too(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, GUARDED, "spawn", ["fine", "exit", "sleep", "fine"]),
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    expected = ["", "the decoder crashed on it", "decoding took longer than 2 s", ""]
    assert done.stdout.splitlines()[-1] == str(expected), done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="there is no such signal")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="nothing can be forked")
def test_a_command_that_was_suspended_blames_no_file(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path, GUARDED, "fork", ["half a second"] * 8),
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGSTOP)
        # More than twice what a file may take, which is 2 s.
        time.sleep(6)
        os.killpg(process.pid, signal.SIGCONT)
        told = [line for line in process.stdout if line.startswith("[")]
    assert told == [f"{[''] * 8}\n"]


def test_workers_that_cannot_be_started_are_no_files_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, UNGUARDED, "spawn", ["fine"]), capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode
    assert done.stderr.splitlines()[-1].endswith(
        "MachineError: The worker processes that read pictures end before they begin: "
        "--workers 0 reads in this process."
    )


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there is no such signal")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="nothing can be forked")
def test_a_worker_in_which_no_thread_runs_does_not_outlive_a_killed_command(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path, GUARDED, "fork", ["no thread runs"]), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.kill()
        process.wait()
    deadline = time.monotonic() + 30
    while runs(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(worker)


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        if Path("/proc/self").exists():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return state != "Z"

"""A work folder: whole files, records, and one writer at a time, between real processes."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from curriculumnet.errors import MachineError, UnknownNameError, WorkFolderBusyError, WorkFolderError
from curriculumnet.work.folder import PROJECT, WorkFolder, file_digest, writing

HOLD = """
import sys
from curriculumnet.work.folder import WorkFolder
folder = WorkFolder(sys.argv[1])
with folder.lock():
    print("held", flush=True)
    sys.stdin.read()
"""

HOLD_WITH_A_FORKED_WORKER = """
import os, sys, time
from curriculumnet.work.folder import WorkFolder
with WorkFolder(sys.argv[1]).lock():
    begun, begins = os.pipe()
    if os.fork() == 0:
        os.write(begins, b"x")
        time.sleep(60)
        os._exit(0)
    # What lets go of the lock in the worker runs before its first line.
    os.read(begun, 1)
    print("held", flush=True)
    time.sleep(60)
"""

REPLACE = """
import sys
from curriculumnet.work.folder import WorkFolder
folder = WorkFolder(sys.argv[1])
with folder.lock():
    folder.write_bytes("table.bin", b"a" * 4_000_000)
    print("held", flush=True)
    while True:
        for letter in (b"b", b"a"):
            folder.write_bytes("table.bin", letter * 4_000_000)
"""

ON_WINDOWS = sys.platform == "win32"


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    """A work folder in which one step has finished."""
    folder = WorkFolder.create(tmp_path / "work")
    folder.write_bytes("images.parquet", b"rows")
    folder.stamp("ingest", {"crawl": "abc"}, {"seed": 0}, ["images.parquet"], 1.5, {"seen": 3}, categories=["a", "b"])
    return folder


def start(script: str, folder: WorkFolder) -> subprocess.Popen[str]:
    """Start a process in the folder and wait until it holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


# -- the lock ---------------------------------------------------------------------------------------------------------


def test_a_folder_whose_images_are_not_all_read_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "images.begun").write_bytes(b"")
    with pytest.raises(WorkFolderError, match="whose images are not all read yet: start the same `curr"):
        WorkFolder.open(tmp_path)


def test_a_second_process_is_told_who_is_writing(work: WorkFolder, processes: list[subprocess.Popen[str]]) -> None:
    holder = start(HOLD, work)
    processes.append(holder)
    with pytest.raises(WorkFolderBusyError, match=f"in use by process {holder.pid} on"), work.lock():
        pytest.fail("two writers")
    holder.communicate("", timeout=120)
    said: list[str] = []
    with work.lock(said.append):
        assert said == []


def test_readers_never_wait(work: WorkFolder, processes: list[subprocess.Popen[str]]) -> None:
    processes.append(start(HOLD, work))
    assert WorkFolder.open(work.path).categories == ["a", "b"]


@pytest.mark.skipif(ON_WINDOWS, reason="there is no kill -9 on Windows")
def test_the_lock_of_a_killed_process_is_taken_over(work: WorkFolder, processes: list[subprocess.Popen[str]]) -> None:
    holder = start(HOLD, work)
    processes.append(holder)
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=120)
    said: list[str] = []
    with work.lock(said.append):
        assert len(said) == 1
        assert f"process {holder.pid} on" in said[0]
    with work.lock(said.append):
        assert len(said) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_a_worker_that_outlives_its_killed_parent_does_not_hold_the_lock(work: WorkFolder) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_WITH_A_FORKED_WORKER, str(work.path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    os.waitpid(holder.pid, 0)
    holder.returncode = -signal.SIGKILL
    try:
        with work.lock():
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.stdout.close()


def test_the_lock_of_another_host_is_left_alone(work: WorkFolder) -> None:
    name = work.file("lock.json")
    name.write_text(json.dumps({"pid": 1, "host": f"not-{socket.gethostname()}", "since": ""}), encoding="utf-8")
    with pytest.raises(WorkFolderBusyError, match=r"process 1 on not-.*cannot see.*delete .*lock\.json"), work.lock():
        pytest.fail("two writers")
    assert name.exists()


@pytest.mark.parametrize("written", ["", "{", '{"pid": 3}'])
def test_a_spoilt_lock_of_a_dead_process_is_taken_over(work: WorkFolder, written: str) -> None:
    work.file("lock.json").write_text(written, encoding="utf-8")
    with work.lock():
        pass
    assert not work.file("lock.json").exists()


def test_a_process_may_take_its_own_lock_again(work: WorkFolder, processes: list[subprocess.Popen[str]]) -> None:
    with work.lock():
        with WorkFolder(work.path).lock():
            pass
        # The inner block gave nothing free.
        second = subprocess.run(
            [sys.executable, "-c", HOLD, str(work.path)], input="", capture_output=True, text=True, check=False
        )
        assert "WorkFolderBusyError" in second.stderr
    processes.append(start(HOLD, work))


def test_an_error_gives_the_lock_free(work: WorkFolder, processes: list[subprocess.Popen[str]]) -> None:
    with pytest.raises(KeyError, match="x"), work.lock():
        raise KeyError("x")
    processes.append(start(HOLD, work))


# -- whole files ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(ON_WINDOWS, reason="there is no kill -9 on Windows")
def test_a_file_is_whole_whenever_its_writer_is_killed(
    work: WorkFolder, processes: list[subprocess.Popen[str]]
) -> None:
    left = 0
    for attempt in range(8):
        writer = start(REPLACE, work)
        processes.append(writer)
        time.sleep(0.003 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=120)
        data = work.file("table.bin").read_bytes()
        assert data in (b"a" * 4_000_000, b"b" * 4_000_000)
        left += len(list(work.path.glob(".writing-*")))
        with work.lock():
            assert list(work.path.glob(".writing-*")) == []
    assert left, "no kill fell into a write, so this showed nothing"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(work: WorkFolder) -> None:
    def write(_: IO[bytes]) -> None:
        with Path("/dev/full").open("wb") as full:
            full.write(b"x" * 100_000)

    with pytest.raises(MachineError, match=r"The disk is full: .*images\.parquet could not be written"):
        work.write_with("images.parquet", write)
    assert work.file("images.parquet").read_bytes() == b"rows"
    assert list(work.path.glob(".writing-*")) == []


def test_a_disk_that_is_full_only_when_it_is_flushed(work: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="The disk is full"):
        work.stamp("design:x", {}, {}, [], 0.0)
    monkeypatch.undo()
    assert work.record("design:x") is None
    assert work.record("ingest") is not None


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_may_not_be_written(tmp_path: Path, number: int) -> None:
    with pytest.raises(MachineError, match=r"may not be written \(.+\): choose another folder"), writing(tmp_path):
        raise OSError(number, os.strerror(number))


def test_another_error_of_the_system_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), writing(tmp_path):
        raise IsADirectoryError(errno.EISDIR, "is a directory")


def test_a_write_that_fails_keeps_the_old_file(work: WorkFolder) -> None:
    def write(file: IO[bytes]) -> None:
        file.write(b"half")
        raise RuntimeError("bad day")

    with pytest.raises(RuntimeError, match="bad day"):
        work.write_with("images.parquet", write)
    assert work.file("images.parquet").read_bytes() == b"rows"
    assert list(work.path.glob(".writing-*")) == []


# -- records ----------------------------------------------------------------------------------------------------------


def test_a_step_with_the_same_inputs_and_settings_has_finished(work: WorkFolder) -> None:
    record = work.finished("ingest", {"crawl": "abc"}, {"seed": 0})
    assert record is not None
    assert record.figures == {"seen": 3}
    assert record.seconds == 1.5
    assert record.outputs["images.parquet"]["digest"] == file_digest(work.file("images.parquet"))


@pytest.mark.parametrize(
    ("inputs", "settings"),
    [({"crawl": "abd"}, {"seed": 0}), ({"crawl": "abc"}, {"seed": 1}), ({"crawl": "abc"}, {"seed": 0, "more": 1})],
)
def test_a_step_with_others_has_not(work: WorkFolder, inputs: dict[str, str], settings: dict[str, int]) -> None:
    assert work.finished("ingest", inputs, settings) is None


def test_settings_are_the_same_after_they_were_written(work: WorkFolder) -> None:
    work.stamp("train:a", {}, {"scale": (0.25, 1.0), "shares": ()}, [], 0.0)
    assert work.finished("train:a", {}, {"scale": (0.25, 1.0), "shares": ()}) is not None


def test_a_step_whose_file_is_gone_or_changed_has_not_finished(work: WorkFolder) -> None:
    work.file("images.parquet").write_bytes(b"ROWS")
    os.utime(work.file("images.parquet"), ns=(1, 1))
    assert work.finished("ingest", {"crawl": "abc"}, {"seed": 0}) is None
    work.file("images.parquet").unlink()
    assert work.finished("ingest", {"crawl": "abc"}, {"seed": 0}) is None


def test_a_file_that_was_only_touched_is_still_the_same(work: WorkFolder) -> None:
    os.utime(work.file("images.parquet"), ns=(1, 1))
    assert work.finished("ingest", {"crawl": "abc"}, {"seed": 0}) is not None


def test_stamping_twice_leaves_one_record(work: WorkFolder) -> None:
    before = work.project["steps"]["ingest"]
    work.stamp("ingest", {"crawl": "abc"}, {"seed": 0}, ["images.parquet"], 1.5, {"seen": 3})
    after = work.project["steps"]["ingest"]
    assert list(work.project["steps"]) == ["ingest"]
    assert before | {"finished": ""} == after | {"finished": ""}
    assert work.categories == ["a", "b"]


def test_names_are_in_the_order_in_which_they_finished(work: WorkFolder) -> None:
    for name in ("model-d", "model-a", "model-d"):
        work.stamp(f"train:{name}", {}, {}, [], 0.0)
    assert work.names("train") == ["model-a", "model-d"]
    assert work.find("train", None, "run", "") == "model-d"
    assert work.find("train", "model-a", "run", "") == "model-a"
    with pytest.raises(UnknownNameError, match="no run 'model-x': it must be one of model-a, model-d"):
        work.find("train", "model-x", "run", "")
    with pytest.raises(WorkFolderError, match="has no curriculum yet: do this"):
        work.find("design", None, "curriculum", "do this")


# -- making and opening -----------------------------------------------------------------------------------------------


def test_no_folder_to_open(tmp_path: Path) -> None:
    with pytest.raises(WorkFolderError, match=r"is no work folder \(it is not there\): `curriculumnet ingest"):
        WorkFolder.open(tmp_path / "nowhere")
    with pytest.raises(WorkFolderError, match=r"is no work folder \(it has no project\.json\)"):
        WorkFolder.open(tmp_path)


@pytest.mark.parametrize(("asked", "named"), [(".", "inner-work"), ("..", "outer-work"), ("a.txt", "a.txt-work")])
def test_no_work_folder_by_a_name_that_it_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, named: str
) -> None:
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "inner" / "a.txt").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "outer" / "inner")
    with pytest.raises(WorkFolderError, match=f"is no work folder .* -o {re.escape(named)}` makes one"):
        WorkFolder.open(asked)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(WorkFolderError, match=r"holds other files \(thesis\.tex"):
        WorkFolder.create(tmp_path)
    with pytest.raises(WorkFolderError, match=r"thesis\.tex is a file"):
        WorkFolder.create(tmp_path / "thesis.tex")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_spoilt_project(work: WorkFolder) -> None:
    work.file(PROJECT).write_text("{", encoding="utf-8")
    with pytest.raises(WorkFolderError, match="is not readable as JSON"):
        _ = work.project

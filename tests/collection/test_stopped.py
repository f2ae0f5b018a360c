"""Stopped, killed, started again, and started where it may not be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import curriculumnet as cn
from curriculumnet.collection import shards as shards_module
from curriculumnet.collection.shards import PART
from curriculumnet.errors import MachineError, UsageError, WorkFolderBusyError

from .conftest import Server, rows_of, stats_of

FLAGS: dict[str, Any] = {"allow_private": True, "quiet": True, "retries": 0}
SIZE = 5


def begun(table: Path, folder: Path) -> subprocess.Popen[bytes]:
    words = ["collect", str(table), "-o", str(folder), "--shard-size", str(SIZE), "--concurrency", "2"]
    command = [sys.executable, "-m", "curriculumnet", *words, "--allow-private", "--retries", "0", "--quiet"]
    group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **group)


def wait_for_a_shard(folder: Path) -> None:
    end = time.monotonic() + 60
    while not list(folder.glob("[0-9]*_stats.json")):
        assert time.monotonic() < end
        time.sleep(0.01)


def journaled(folder: Path) -> int:
    """Return how many rows journals hold: a line each, after the first."""
    return sum(path.read_bytes().count(b"\n") - 1 for path in folder.glob(f"{PART}*.jsonl"))


OTHERS = [signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)]


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(each, marks=[pytest.mark.slow, pytest.mark.short]) for each in OTHERS)],
)
def test_stopped_at_any_moment_it_goes_on_with_what_is_missing(
    tmp_path: Path, server: Server, listing: Callable[..., Path], number: signal.Signals
) -> None:
    table, folder = listing(*(f"slow/0.06/{n}.jpg" for n in range(32))), tmp_path / "shards"
    process = begun(table, folder)
    wait_for_a_shard(folder)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -number)
    whole = {path.name[:5] for path in folder.glob("[0-9]*_stats.json")}
    rows = sum(stats["count"] for stats in stats_of(folder)) + journaled(folder)
    if number in (signal.SIGINT, signal.SIGTERM):
        assert b"Stopped" in said
        assert {path.name[:5] for path in folder.iterdir() if path.name[:1].isdigit()} == whole
    server.settle()
    asked = len(server.crowd.asked)
    found = cn.collect(table, output=folder, shard_size=SIZE, **FLAGS)
    assert found.earlier_shards >= len(whole) >= 1
    assert len(server.crowd.asked) - asked == found.fetched_rows == 32 - rows
    assert [row["url"] for row in rows_of(folder)] == [server.url(f"slow/0.06/{n}.jpg") for n in range(32)]
    assert not list(folder.glob(f"{PART}*"))


def test_what_is_finished_is_not_asked_for_again(tmp_path: Path, server: Server, listing: Callable[..., Path]) -> None:
    table = listing("1.jpg", "status/404")
    first = cn.collect(table, output=tmp_path / "shards", **FLAGS)
    again = cn.collect(table, output=tmp_path / "shards", **FLAGS)
    assert len(server.crowd.asked) == 2
    assert (again.statuses, again.reasons, again.bytes) == (first.statuses, first.reasons, first.bytes)
    assert (again.fetched_rows, again.earlier_shards) == (0, 1)
    assert "All shards had been finished before: nothing was asked for." in again.summary()


@pytest.mark.parametrize("gone", [".tar", ".parquet", "_stats.json"])
def test_a_shard_of_which_a_file_is_gone_is_begun_anew(
    tmp_path: Path, server: Server, listing: Callable[..., Path], gone: str
) -> None:
    table = listing(*(f"{n}.jpg" for n in range(4)))
    cn.collect(table, output=tmp_path / "shards", shard_size=2, **FLAGS)
    (tmp_path / "shards" / f"00001{gone}").unlink()
    found = cn.collect(table, output=tmp_path / "shards", shard_size=2, **FLAGS)
    assert (found.earlier_shards, found.fetched_rows) == (1, 2)
    assert len(rows_of(tmp_path / "shards")) == 4


def test_a_list_that_has_changed_is_refused(tmp_path: Path, listing: Callable[..., Path]) -> None:
    cn.collect(listing("1.jpg", "2.jpg"), output=tmp_path / "shards", **FLAGS)
    with pytest.raises(UsageError, match="has changed since: fetch into another folder"):
        cn.collect(listing("1.jpg", "3.jpg"), output=tmp_path / "shards", **FLAGS)
    assert len(rows_of(tmp_path / "shards")) == 2


def test_shards_of_another_size_or_other_columns_are_refused(tmp_path: Path, listing: Callable[..., Path]) -> None:
    table = listing("1.jpg", "2.jpg")
    cn.collect(table, output=tmp_path / "shards", **FLAGS)
    with pytest.raises(UsageError, match="begun with another --shard-size"):
        cn.collect(table, output=tmp_path / "shards", shard_size=1, **FLAGS)
    with pytest.raises(UsageError, match="begun with another --…-column"):
        cn.collect(table, output=tmp_path / "shards", category_column="query", **FLAGS)


@pytest.mark.parametrize("name", ["notes.txt", "00000.tar", "project.json"])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, listing: Callable[..., Path], name: str) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name}.*not of `collect`"):
        cn.collect(listing("1.jpg"), output=folder, **FLAGS)
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, listing: Callable[..., Path]) -> None:
    table = listing("1.jpg")
    with pytest.raises(UsageError, match="is a file"):
        cn.collect(table, output=table, **FLAGS)


def test_a_damaged_record_is_told(tmp_path: Path, listing: Callable[..., Path]) -> None:
    table, folder = listing("1.jpg"), tmp_path / "shards"
    cn.collect(table, output=folder, **FLAGS)
    (folder / "collect.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        cn.collect(table, output=folder, **FLAGS)


def test_the_folder_is_named_after_the_list(
    tmp_path: Path, listing: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cn.collect(listing("1.jpg", name="birds.csv"), **FLAGS).shards == Path("birds-shards")
    assert (tmp_path / "birds-shards" / "00000.tar").exists()


@pytest.mark.slow
@pytest.mark.short
def test_two_at_a_time_do_not_fetch_into_one_folder(tmp_path: Path, listing: Callable[..., Path]) -> None:
    table, folder = listing(*(f"slow/0.06/{n}.jpg" for n in range(40))), tmp_path / "shards"
    process = begun(table, folder)
    wait_for_a_shard(folder)
    with pytest.raises(WorkFolderBusyError, match="in use"):
        cn.collect(table, output=folder, shard_size=SIZE, **FLAGS)
    process.kill()
    process.communicate()


def test_a_full_disk_is_said_and_leaves_whole_shards_only(
    tmp_path: Path, listing: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, folder = listing(*(f"{n}.jpg" for n in range(6))), tmp_path / "shards"
    finish, finished = shards_module.Shard.finish, []

    def full(self: Any) -> None:
        if finished:
            raise OSError(28, "No space left on device", "a shard")
        finished.append(self)
        finish(self)

    monkeypatch.setattr(shards_module.Shard, "finish", full)
    with pytest.raises(MachineError, match="disk is full"):
        cn.collect(table, output=folder, shard_size=2, **FLAGS)
    assert len(stats_of(folder)) == 1
    rows = 2 + journaled(folder)
    monkeypatch.undo()
    found = cn.collect(table, output=folder, shard_size=2, **FLAGS)
    assert (found.statuses["success"], found.fetched_rows) == (6, 6 - rows)
    assert not list(folder.glob(f"{PART}*"))


def test_it_works_within_a_loop_of_events_as_notebooks_have_one(tmp_path: Path, listing: Callable[..., Path]) -> None:
    import asyncio

    async def cell() -> int:
        return cn.collect(listing("1.jpg"), output=tmp_path / "shards", **FLAGS).statuses["success"]

    assert asyncio.run(cell()) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "collecting"]


def test_bodies_do_not_pile_up(tmp_path: Path, listing: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 pictures of 1 MB no more than a few are in memory at a time."""
    import tracemalloc

    from .conftest import PICTURES

    monkeypatch.setitem(PICTURES, "large", PICTURES["jpg"] + bytes(1_000_000))
    table = listing(*(f"picture/{n}.large" for n in range(80)))
    cn.collect(listing("1.jpg", name="first.csv"), output=tmp_path / "first", **FLAGS)
    tracemalloc.start()
    try:
        cn.collect(table, output=tmp_path / "shards", concurrency=4, **FLAGS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000

"""A crawl that has grown: only what is new is read, and the table is the one of a first reading."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import curriculumnet as cn
from curriculumnet.ingestion import scan, states
from curriculumnet.work import tables
from curriculumnet.work.folder import WorkFolder

PLAIN = {"workers": 0, "quiet": True}


def picture(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def encoded(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes of the files that were looked into, in this process."""
    found: list[bytes] = []
    examine = scan.examine

    def noted(data: bytes, min_side: int) -> Any:
        found.append(data)
        return examine(data, min_side)

    monkeypatch.setattr(scan, "examine", noted)
    return found


def test_only_new_and_changed_files_are_read_again(
    crawl: Path, write: Callable[[str, bytes], Path], tmp_path: Path, read: list[bytes]
) -> None:
    write("crawl/cat/broken.jpg", b"<html>")
    write("crawl/cat/small.png", encoded(picture(500, (8, 8))))
    write("crawl/dog/copy.png", (crawl / "dog/00.png").read_bytes())
    cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    assert len(read) == 27
    read.clear()

    write("crawl/cat/new.png", encoded(picture(501)))
    (crawl / "dog/01.png").write_bytes(encoded(picture(502)))
    # The same size at another time: it may be another picture.
    same = crawl / "dog/02.png"
    os.utime(same, ns=(1, same.stat().st_mtime_ns + 1))
    (crawl / "dog/03.png").unlink()
    again = cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    # A broken file as well: whether one can be read differs from day to day.
    names = ("cat/broken.jpg", "cat/new.png", "dog/01.png", "dog/02.png")
    assert sorted(read) == sorted((crawl / name).read_bytes() for name in names)
    first = cn.ingest(crawl, output=tmp_path / "first", **PLAIN)
    assert again.table().equals(first.table())
    assert (again.states, again.reasons, again.formats) == (first.states, first.reasons, first.formats)


def test_what_was_a_leak_is_known_when_it_is_used_after_all(crawl: Path, tmp_path: Path, read: list[bytes]) -> None:
    test = tmp_path / "test"
    for number, category in enumerate(("cat", "dog")):
        (test / category).mkdir(parents=True)
        (test / category / "own.png").write_bytes(encoded(picture(600 + number)))
    shutil.copy2(crawl / "cat/00.png", test / "cat" / "00.png")
    leaking = cn.ingest(crawl, output=tmp_path / "work", test=test, **PLAIN)
    assert leaking.states["leak"] == 1
    read.clear()
    (test / "cat/00.png").unlink()
    again = cn.ingest(crawl, output=tmp_path / "work", test=test, **PLAIN)
    assert read == []
    assert again.states == {"used": 26}
    assert again.table().equals(cn.ingest(crawl, output=tmp_path / "first", test=test, **PLAIN).table())


def test_with_another_least_side_all_are_read_again(crawl: Path, tmp_path: Path, read: list[bytes]) -> None:
    cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    read.clear()
    cn.ingest(crawl, output=tmp_path / "work", min_side=20, **PLAIN)
    assert len(read) == 24


def test_a_reading_that_was_killed_between_its_tables_is_done_again(
    crawl: Path, tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    for number in range(4):
        (crawl / f"cat/{number:02}.png").unlink()

    def killed(self: WorkFolder, name: str, table: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WorkFolder, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    monkeypatch.undo()
    again = cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    assert again.seen == 20
    assert again.table().equals(cn.ingest(crawl, output=tmp_path / "first", **PLAIN).table())


def test_what_an_earlier_version_looked_at_otherwise_is_read_again(
    crawl: Path, tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "EXAMINED", 1)
    cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    monkeypatch.undo()
    read_before = len(read)
    (crawl / "cat/00.png").unlink()
    cn.ingest(crawl, output=tmp_path / "work", workers=0, quiet=True)
    work = WorkFolder.open(tmp_path / "work")
    assert read_before == 24
    assert work.record("ingest").figures["examined"] == scan.EXAMINED  # type: ignore[union-attr]


# -- interrupted ------------------------------------------------------------------------------------------------------


def stop_after(n: int, read: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a reading be interrupted when it has looked into so many files."""
    noted = scan.examine

    def stopped(data: bytes, min_side: int) -> Any:
        if len(read) == n:
            raise KeyboardInterrupt
        return noted(data, min_side)

    monkeypatch.setattr(scan, "examine", stopped)


@pytest.mark.parametrize("n", [0, 1, 11, 23])
def test_a_reading_that_was_interrupted_goes_on(
    crawl: Path,
    write: Callable[[str, bytes], Path],
    tmp_path: Path,
    read: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    n: int,
) -> None:
    write("test/cat/t.png", encoded(picture(900)))
    straight = cn.ingest(crawl, test=tmp_path / "test", output=tmp_path / "straight", **PLAIN)
    assert len(read) == 25
    read.clear()
    with monkeypatch.context() as patch:
        stop_after(n, read, patch)
        with pytest.raises(KeyboardInterrupt):
            cn.ingest(crawl, test=tmp_path / "test", output=tmp_path / "work", **PLAIN)
    assert len(read) == n
    again = cn.ingest(crawl, test=tmp_path / "test", output=tmp_path / "work", **PLAIN)
    assert len(read) == 25
    assert again.table().equals(straight.table())
    assert not (tmp_path / "work" / tables.READ).exists()


def test_what_has_changed_since_an_interruption_is_read_again(
    crawl: Path, tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(n: int) -> None:
        read.clear()
        with monkeypatch.context() as patch:
            stop_after(n, read, patch)
            with pytest.raises(KeyboardInterrupt):
                cn.ingest(crawl, output=tmp_path / "work", **PLAIN)

    interrupted(10)
    (crawl / "cat/03.png").write_bytes(encoded(picture(901)))
    # Interrupted once more: what was found before is kept with what is found now.
    interrupted(5)
    read.clear()
    cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    assert len(read) == 24 - 9 - 5
    cn.ingest(crawl, output=tmp_path / "work", min_side=17, **PLAIN)
    read.clear()
    (tmp_path / "work" / tables.READ).write_bytes(b"PAR1 cut off")
    cn.ingest(crawl, output=tmp_path / "work", min_side=18, **PLAIN)
    assert len(read) == 24


def test_what_other_settings_found_before_an_interruption_is_not_taken(
    crawl: Path, tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(10, read, patch)
        with pytest.raises(KeyboardInterrupt):
            cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    read.clear()
    cn.ingest(crawl, output=tmp_path / "work", min_side=18, **PLAIN)
    assert len(read) == 24


def test_what_was_read_is_kept_when_what_follows_is_interrupted(
    crawl: Path, tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(states, "near_groups", stopped)
        with pytest.raises(KeyboardInterrupt):
            cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    assert len(read) == 24
    again = cn.ingest(crawl, output=tmp_path / "work", **PLAIN)
    assert len(read) == 24
    assert again.table().equals(cn.ingest(crawl, output=tmp_path / "straight", **PLAIN).table())
    assert not (tmp_path / "work" / tables.READ).exists()

"""Compressed archives: zip, and tars by gzip, bzip2, xz or zstd."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import IO, Any

from curriculumnet.errors import SourceError
from curriculumnet.sources.layout import HeldPlace, Member, member

_MODES = {"gzip": "r|gz", "bzip2": "r|bz2", "xz": "r|xz", "zstd": "r|"}

KINDS = ("zip", *_MODES)
"""What can be unpacked, by what `images.tar.compression` calls it."""

_IN_MEMORY = 2**26
"""Bytes of a file that are unpacked in memory; larger ones, such as films, are put on the disk."""


def compressed_members(place: HeldPlace, kind: str, advance: Callable[[int], None]) -> Iterator[Member]:
    """Give the files of a compressed archive, one after the other.

    Parameters
    ----------
    place : HeldPlace
        Of the archive.
    kind : str
        One of `KINDS`.
    advance : callable
        Told how many more of the archive's bytes were read.

    Raises
    ------
    SourceError
        It is damaged, encrypted, or cut off.
    """
    try:
        with place.files.open(place.name) as file:
            yield from _zipped(file, place.given, advance) if kind == "zip" else _tarred(file, kind, advance)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SourceError(f"{place.given} is damaged, or cut off ({error}): make or fetch it anew.") from error


def _zipped(file: IO[bytes], given: str, advance: Callable[[int], None]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise SourceError(f"{given} is encrypted ({info.filename}): unpack it and give the folder.")
            with _spooled() as data:
                try:
                    with archive.open(info) as packed:
                        shutil.copyfileobj(packed, data)
                except (zipfile.BadZipFile, zlib.error):
                    # One damaged file is no reason to lose the others: it is seen to be broken when it is looked at.
                    data.seek(0)
                    data.truncate()
                yield _whole(info.filename, data, _seconds(info.date_time))
            advance(info.compress_size)


def _tarred(file: IO[bytes], kind: str, advance: Callable[[int], None]) -> Iterator[Member]:
    counted: Any = _Counted(file, advance)
    if kind == "zstd":
        import pyarrow as pa

        counted = pa.CompressedInputStream(pa.PythonFile(counted, mode="r"), "zstd")
    with tarfile.open(fileobj=counted, mode=_MODES[kind], encoding="utf-8", errors="surrogateescape") as archive:  # type: ignore[call-overload]
        for info in archive:
            if info.isdir():
                continue
            packed = archive.extractfile(info) if info.isreg() else None
            if packed is None:
                # Links and devices stay what they are: they are counted, and not followed.
                yield Member(info, None)
                continue
            with _spooled() as data:
                shutil.copyfileobj(packed, data)
                yield _whole(info.name, data, info.mtime)


@contextlib.contextmanager
def _spooled() -> Generator[IO[bytes], None, None]:
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as data:
        yield data


def _whole(name: str, data: IO[bytes], modified: float) -> Member:
    size = data.tell()
    data.seek(0)
    return member(name, data, size, modified)


def _seconds(date_time: tuple[int, int, int, int, int, int]) -> float:
    try:
        return datetime(*date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return 0


class _Counted:
    """A file that tells how many bytes were read from it."""

    closed = False

    def __init__(self, file: IO[bytes], advance: Callable[[int], None]) -> None:
        self._file, self._advance = file, advance

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data

    def close(self) -> None:
        """Leave closing to the one who opened the file."""

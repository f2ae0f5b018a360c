"""Compressed archives: zip, and tars by gzip, bzip2, xz or zstd."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import lzma
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import IO, Any

from curriculumnet.errors import SourceError
from curriculumnet.sources.layout import HeldPlace

KINDS = ("zip", "gzip", "bzip2", "xz", "zstd")
"""What can be unpacked, by what `images.tar.compression` calls it."""

_IN_MEMORY = 2**26
"""Bytes of a file that are unpacked in memory; larger ones, such as films, are put on the disk."""

# fmt: off
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError,
    OSError, OverflowError, ValueError,
)
# fmt: on
"""What is raised where the bytes are none that an archive has. OSErrors with a number come from the machine."""


def write_unpacked(place: HeldPlace, kind: str, out: IO[bytes], advance: Callable[[int], None]) -> None:
    """Write the tar that a compressed one is, or one with the files of a zip.

    Parameters
    ----------
    place : HeldPlace
        Of the archive.
    kind : str
        One of `KINDS`.
    out : binary file
        Written to.
    advance : callable
        Told how many more of the archive's bytes were read.

    Raises
    ------
    SourceError
        It is damaged, encrypted, cut off, or packed by a method that is not known here.
    """
    try:
        with place.files.open(place.name) as file:
            if kind == "zip":
                _write_zipped(file, place.given, out, advance)
            else:
                with _opened(_Counted(file, advance), kind) as unpacked:
                    shutil.copyfileobj(unpacked, out, 2**20)
    except _DAMAGE as error:
        # A damaged list of what is in a zip leads to places that no file has.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise SourceError(f"{place.given} is damaged, or cut off ({error}): make or fetch it anew.") from error


def _opened(file: Any, kind: str) -> Any:
    """Return what a compressed file holds; its checksum is compared when its end is read."""
    if kind == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return openers[kind](file)


def _write_zipped(file: IO[bytes], given: str, out: IO[bytes], advance: Callable[[int], None]) -> None:
    with (
        zipfile.ZipFile(file) as archive,
        tarfile.open(fileobj=out, mode="w", encoding="utf-8", errors="surrogateescape") as tar,
    ):
        for info in archive.infolist():
            if not info.filename:
                raise zipfile.BadZipFile("a file has no name")
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise SourceError(f"{given} is encrypted ({info.filename}): unpack it and give the folder.")
            with _spooled() as data:
                try:
                    with archive.open(info) as packed:
                        shutil.copyfileobj(packed, data)
                except NotImplementedError as error:
                    raise SourceError(
                        f"{given} cannot be unpacked here ({info.filename}: {error}): unpack it and give the folder."
                    ) from error
                except _DAMAGE as error:
                    if isinstance(error, OSError) and error.errno is not None:
                        raise
                    # One damaged file is no reason to lose the others: it is seen to be broken when it is looked at.
                    data.seek(0)
                    data.truncate()
                member = tarfile.TarInfo(info.filename)
                member.size, member.mtime = data.tell(), _seconds(info.date_time)
                data.seek(0)
                tar.addfile(member, data)
            advance(info.compress_size)


@contextlib.contextmanager
def _spooled() -> Generator[IO[bytes], None, None]:
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as data:
        yield data


def _seconds(date_time: tuple[int, int, int, int, int, int]) -> int:
    try:
        return int(datetime(*date_time, tzinfo=UTC).timestamp())
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

    def seekable(self) -> bool:
        """Say that it is read from its beginning to its end."""
        return False

    def close(self) -> None:
        """Leave closing to the one who opened the file."""

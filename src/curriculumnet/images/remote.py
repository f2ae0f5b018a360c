"""Files on the network, by fsspec: an S3 bucket, a web server, whatever has a URL that fsspec knows."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, cast

from curriculumnet.errors import SourceError
from curriculumnet.images.stored import GONE, UNTOLD, Stamp
from curriculumnet.images.tar import Tar, open_tar, split_member

_TARS = 16
"""Tars whose index is kept at a time."""

_OFTEN = 8
"""Files of a folder that are asked for one by one, before all of it is asked for."""

_TIMES = ("LastModified", "mtime", "modified", "created")
"""Under which names file systems tell when a file was changed."""


@dataclass(frozen=True)
class Remote:
    """The files below a URL. What lies there is asked once, as each answer takes time and money.

    Parameters
    ----------
    root : str
        The URL, without a ``/`` at its end.
    indexes : str
        Where the indexes of large tars are kept; empty where they are not.
    opened : int
        When it was opened: what was heard before is no answer to who opens it again.
    """

    root: str
    indexes: str = ""
    opened: int = field(default_factory=time.monotonic_ns, repr=False)
    _listing: dict[str, Stamp] = field(default_factory=dict, compare=False, repr=False)
    _tars: dict[str, Tar] = field(default_factory=dict, compare=False, repr=False)
    _asked: Counter[str] = field(default_factory=Counter, compare=False, repr=False)
    _folders: dict[str, dict[str, Stamp]] = field(default_factory=dict, compare=False, repr=False)
    _in_worker: bool = field(default=False, compare=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        # Of a million files the listings are larger than what a worker needs of them, which it asks itself.
        return self.__dict__ | {"_listing": {}, "_tars": {}, "_asked": Counter(), "_folders": {}, "_in_worker": True}

    def names(self) -> list[str]:
        """Return the names of all files, relative to the root, with ``/``, in code-point order."""
        return self.contents()[0]

    def contents(self) -> tuple[list[str], list[str]]:
        """Return the names of all files; there is nothing that is none."""
        return sorted(self._listed()), []

    def top(self) -> list[str]:
        """Return the names of what lies at the top, in code-point order; those of folders end with ``/``."""
        firsts = (name.partition("/") for name in self._listed())
        return sorted({first + folder for first, folder, _ in firsts})

    def is_file(self) -> bool:
        """Say whether the root is a file.

        Raises
        ------
        SourceError
            There is nothing of that name, or the network does not answer.
        """
        try:
            with _errors_of_the_network(self.root):
                return str(self._system.info(self._path(""))["type"]) == "file"
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError(
                f"{self.root} is not there, or may not be read: check the name and the credentials."
            ) from None
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, name: str) -> bytes:
        """Return a file's bytes; OSError when it is gone or may not be read."""
        tar, member = split_member(name)
        if member and self._is_file(tar):
            return self.tar(tar).read(member)
        with _errors_of_the_network(name):
            return bytes(self._system.cat_file(self._path(name)))

    def size(self, name: str) -> int:
        """Return a file's size in bytes; OSError when it is gone."""
        size = self.stamp(name).size
        if size == GONE:
            raise FileNotFoundError(errno.ENOENT, f"not in {self.root}", name)
        return size

    def stamp(self, name: str) -> Stamp:
        """Return a file's size, when it was changed, and where it lies."""
        tar, member = split_member(name)
        if member and self._is_file(tar):
            return self.tar(tar).stamp(member)
        if self._listing or not name:
            return self._listing.get(name, Stamp(GONE, GONE))
        folder = posixpath.dirname(name)
        self._asked[folder] += 1
        if self._asked[folder] == _OFTEN and not self._in_worker:
            self._list(folder)
        if name in self._folders.get(folder, ()):
            return self._folders[folder][name]
        try:
            with _errors_of_the_network(name):
                info = self._system.info(self._path(name))
        except OSError:
            return Stamp(GONE, GONE)
        return _stamp(info) if info["type"] == "file" else Stamp(GONE, GONE)

    def version(self) -> str:
        """Return nothing: the files' stamps tell."""
        return ""

    def tar(self, name: str) -> Tar:
        """Return an uncompressed tar that lies here; its headers are read once."""
        if name not in self._tars:
            if len(self._tars) == _TARS:
                del self._tars[next(iter(self._tars))]
            self._tars[name] = open_tar(self, name)
        return self._tars[name]

    def open(self, name: str) -> BinaryIO:
        """Open a file to be read from any place of it; OSError when it is gone or may not be read."""
        with _errors_of_the_network(name):
            return cast(BinaryIO, _Opened(self._system.open(self._path(name), "rb"), name))

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a file's bytes, fewer where it ends before; OSError when it is gone."""
        if size == 0:
            return b""
        with _errors_of_the_network(name):
            data = bytes(self._system.cat_file(self._path(name), start=offset, end=offset + size))
        if len(data) > size:
            raise OSError(errno.EIO, "the server sends whole files only, not parts of them", name)
        return data

    def _is_file(self, name: str) -> bool:
        return name in self._tars or self.stamp(name).size != GONE

    @property
    def _system(self) -> Any:
        return _system(self.root.partition("://")[0], os.getpid())

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name) if name else self.root

    def _list(self, folder: str) -> None:
        """Ask at once for all files that lie in a folder; a web server may have no answer to that."""
        with contextlib.suppress(OSError), _errors_of_the_network(folder):
            found = self._system.ls(self._path(folder), detail=True)
            names = ((posixpath.join(folder, posixpath.basename(each["name"])), each) for each in found)
            # Web servers list names without sizes.
            self._folders[folder] = {
                name: _stamp(each) for name, each in names if each["type"] == "file" and each.get("size") is not None
            }

    def _listed(self) -> dict[str, Stamp]:
        """Return the files below the root with their stamps."""
        if not self._listing:
            try:
                with _errors_of_the_network(self.root):
                    found = self._system.find(self._path(""), detail=True)
            except OSError as error:
                raise self._unreadable(error) from error
            root = self._system._strip_protocol(self.root).rstrip("/") + "/"
            self._listing.update({str(path).removeprefix(root): _stamp(info) for path, info in found.items()})
        return self._listing

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(
            f"{self.root} cannot be read ({error.strerror or error}): check the name, the network and the credentials."
        )


@lru_cache(maxsize=16)
def _system(protocol: str, process: int) -> Any:
    """Return the file system of a kind of URL; a forked process may not use that of its parent."""
    import fsspec

    del process
    try:
        # Not one that was used before, which would answer with what it heard then.
        return fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"{protocol}:// cannot be read ({error}): install what reads it, such as `pip install "
            "'curriculumnet[s3]'` for s3://."
        ) from error


@contextlib.contextmanager
def _errors_of_the_network(name: str) -> Generator[None, None, None]:
    """Turn what a file system raises, which may be of any library, into an OSError."""
    try:
        yield
    except (OSError, SourceError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(errno.EIO, reason, name) from error


class _Opened:
    """An open file on the network, whose errors are OSErrors."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            with _errors_of_the_network(self._name):
                return found(*given, **named)

        return call


def _stamp(info: dict[str, Any]) -> Stamp:
    """Return a file's size, and when it was changed."""
    modified = UNTOLD
    for name in _TIMES:
        told = info.get(name)
        if isinstance(told, datetime):
            modified = round(told.timestamp()) * 10**9
        elif isinstance(told, int | float):
            modified = int(told * 10**9)
        if modified != UNTOLD:
            break
    if modified == UNTOLD and (tag := info.get("ETag")):
        # What tells a file's states apart serves as well as a time.
        modified = int.from_bytes(hashlib.blake2b(str(tag).encode(), digest_size=7).digest())
    return Stamp(int(info.get("size") or 0), modified)

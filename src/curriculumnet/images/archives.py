"""Where bytes lie: in a folder, or in an uncompressed tar that is read in place.

A place is written as a *root*: ``crawl/``, ``crawl.tar``, or ``crawl.tar#inner/folder``. Opening one holds no file
open, so what is opened can be sent to other processes and used by threads.
"""

from __future__ import annotations

import bisect
import errno
import os
import posixpath
import re
import stat
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from curriculumnet.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
"""How compressed archives begin. They cannot be read in place: a picture in their middle has no place of its own."""

_BLOCK = 512
"""The size of a block of a tar, in bytes."""

_AT_ONCE = 65_536
"""Names of members that are Python's before they are put away."""


# fmt: off
_NO_IMAGE_ENDINGS = frozenset((
    ".7z", ".avi", ".bz2", ".cfg", ".csv", ".db", ".doc", ".docx", ".gz", ".ini", ".ipynb", ".json", ".jsonl", ".list",
    ".log", ".lst", ".m4v", ".md", ".mkv", ".mov", ".mp3", ".mp4", ".ndjson", ".npy", ".npz", ".parquet", ".pkl", ".pt",
    ".pth", ".py", ".rar", ".rst", ".rtf", ".sh", ".sqlite", ".tar", ".tgz", ".toml", ".tsv", ".txt", ".wav", ".webm",
    ".xls", ".xlsx", ".xml", ".xz", ".yaml", ".yml", ".zip", ".zst",
))
# fmt: on
"""Endings of names that are passed over. All other files are looked into, web pages too: crawlers save pictures under
names such as ``.php`` or ``.aspx``, and pages under ``.jpg``."""


class Stamp(NamedTuple):
    """By what a file is known again without reading it: its size in bytes, and when it was changed, in ns since 1970.

    Both are `GONE` when there is no such file, the time `UNTOLD` where nothing tells.
    """

    size: int
    modified: int


GONE, UNTOLD = -1, -2

_NANOSECONDS = 10**9
_LAST_SECOND = 2**63 // _NANOSECONDS
"""Times from this second since 1970 on cannot be written down in nanoseconds."""


class Bytes(Protocol):
    """Files by name."""

    @property
    def root(self) -> str:
        """The root that was opened."""
        ...

    def names(self) -> list[str]:
        """Return the names of all regular files, relative to the root, with ``/``, in code-point order."""
        ...

    def contents(self) -> tuple[list[str], list[str]]:
        """Return the names of all regular files, and of what is none or lies outside: pipes, devices, ``../x``."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes; OSError when it is gone or may not be read."""
        ...

    def size(self, name: str) -> int:
        """Return a file's size in bytes; OSError when it is gone."""
        ...

    def stamp(self, name: str) -> Stamp:
        """Return a file's size, and when it was changed."""
        ...

    def version(self) -> str:
        """Return a text that changes when files may have changed whose stamps have not; empty where there is none."""
        ...


def open_bytes(root: str) -> Bytes:
    """Open the files of a folder, a tar, or a folder inside a tar.

    Parameters
    ----------
    root : str
        A folder, ``x.tar``, or ``x.tar#inner``.

    Raises
    ------
    SourceError
        It is not there, is no tar, or the tar is compressed or damaged.
    """
    path, inner = split_root(root)
    if path.is_dir():
        return Folder(str(path))
    if not path.exists():
        raise SourceError(f"{path} is not there: check the name, or the folder that you are in.")
    return open_tar(path).inside(inner)


def open_tar(path: Path) -> Tar:
    """Open an uncompressed tar; only its headers are read.

    Raises
    ------
    SourceError
        It is compressed, damaged or no tar.
    """
    found = path.stat()
    return Tar(path, "", _index(path, found.st_size, found.st_mtime_ns))


def split_root(root: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path of a root and the part inside its tar, which is empty when there is none.

    >>> split_root("crawl.tar#photos/cats/")[1]
    'photos/cats'
    """
    text = os.fspath(root)
    found = re.match(r"(.+?\.tar)#(.*)", text, re.IGNORECASE | re.DOTALL)
    if found is None or os.path.lexists(text):
        return Path(text), ""
    inner = posixpath.normpath(found[2].strip("/"))
    return Path(found[1]), "" if inner == "." else inner


def compression(path: Path) -> str | None:
    """Return the kind of compressed archive that a file is, by its first bytes; None when it is none."""
    with path.open("rb") as file:
        start = file.read(8)
    return next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), None)


@dataclass(frozen=True)
class Folder:
    """The files below a folder.

    Links are followed, but not to a folder that is read already, or that holds the root: such a link is no regular
    file. A name whose link leads nowhere is among the names: reading it says that it is gone. So is a folder that may
    not be read, with a ``/`` at its end.
    """

    root: str

    def names(self) -> list[str]:
        """Return the names of all regular files, relative to the root, with ``/``, in code-point order."""
        return self.contents()[0]

    def contents(self) -> tuple[list[str], list[str]]:
        """Return the names of all regular files, and of what is neither a file nor a folder."""
        files: list[str] = []
        others: list[str] = []
        for name, regular in self._walk():
            (files if regular else others).append(name)
        return sorted(files), sorted(others)

    def read(self, name: str) -> bytes:
        """Return a file's bytes; OSError when it is gone or may not be read."""
        mode = self._stat(name).st_mode
        if stat.S_ISDIR(mode) and name.endswith("/"):
            raise PermissionError(errno.EACCES, "a folder that may not be read", name)
        if not stat.S_ISREG(mode):
            # Opening a pipe would wait for ever.
            raise FileNotFoundError(errno.ENOENT, "not a file", name)
        with open(self._path(name), "rb", buffering=0) as file:  # noqa: PTH123
            return file.read()

    def size(self, name: str) -> int:
        """Return a file's size in bytes; OSError when it is gone."""
        return self._stat(name).st_size

    def stamp(self, name: str) -> Stamp:
        """Return a file's size, and when it was changed."""
        try:
            found = self._stat(name)
        except OSError:
            return Stamp(GONE, GONE)
        # A time before 1970 or after 2262 says nothing.
        return Stamp(found.st_size, found.st_mtime_ns if 0 <= found.st_mtime_ns < 2**63 else UNTOLD)

    def version(self) -> str:
        """Return nothing: the files' stamps tell."""
        return ""

    def _path(self, name: str) -> str:
        # Not by pathlib, which takes ten microseconds: a twentieth of what decoding a small picture takes.
        return os.path.join(self.root, name)  # noqa: PTH118

    def _stat(self, name: str) -> os.stat_result:
        try:
            return os.stat(self._path(name))  # noqa: PTH116
        except ValueError as error:
            # A list may hold names that no file can have, such as ones with a zero byte.
            raise FileNotFoundError(errno.ENOENT, str(error), name) from error

    def _walk(self) -> Iterator[tuple[str, bool]]:
        """Give each name below the root, and whether it is a regular file or a link that leads nowhere."""
        root = Path(self.root)
        known = {_identity(folder) for folder in (root, *root.resolve().parents)}
        waiting = [""]
        links: list[str] = []
        while waiting or links:
            linked = not waiting
            if linked:
                # Only now, so that what can be read by its own name is; by name, whatever the order on the disk.
                links.sort(reverse=True)
            prefix = (links if linked else waiting).pop()
            here = _identity(root / prefix)
            if linked and here in known:
                yield prefix.rstrip("/"), False
                continue
            known.add(here)
            try:
                with os.scandir(root / prefix) as entries:
                    for entry in entries:
                        name = prefix + entry.name
                        if not _is_folder(entry):
                            yield name, _is_file(entry)
                        else:
                            (links if entry.is_symlink() else waiting).append(f"{name}/")
            except (FileNotFoundError, NotADirectoryError):
                # It has gone since its name was read.
                if not prefix:
                    raise
            except OSError as error:
                if not prefix:
                    raise SourceError(
                        f"The folder {root} may not be read ({error.strerror}): allow it, or give another source."
                    ) from error
                yield prefix, True


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return by what a folder is known again under another name; None where it cannot be told."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Index:
    """Where a tar's members lie, in arrays: for a million members a dictionary would take 300 MB.

    Of members of one name the last counts, as when unpacking.

    Parameters
    ----------
    names : pyarrow.BinaryArray
        In the order of the tar, as UTF-8; other bytes stay as they are.
    places, sizes : array of int64
        Of each: the place of its first byte, and the bytes it has.
    times : array of int64
        When each was changed, in seconds since 1970; 0 where the tar does not tell.
    strangers : list of str
        Members that are no regular files, or whose names lead outside.
    """

    def __init__(
        self,
        names: pa.BinaryArray,
        places: Sequence[int],
        sizes: Sequence[int],
        times: Sequence[int],
        strangers: list[str],
    ) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        order = pc.array_sort_indices(names)
        names = names.take(order)
        last = np.ones(len(names), dtype=np.bool_)
        # Equal names keep their order when sorted.
        last[:-1] = pc.not_equal(names[:-1], names[1:]).to_numpy(zero_copy_only=False)
        kept = order.to_numpy()[last]
        names = names.filter(pa.array(last))
        # Out of Arrow, of which a scalar takes a microsecond; looking one name up takes twenty steps.
        self._text = b"".join(names.to_pylist())
        self._starts = array("q", np.cumsum([0, *pc.binary_length(names).to_pylist()]).tolist())
        self._places, self._sizes, self._times = (
            np.array(column, dtype=np.int64)[kept] for column in (places, sizes, times)
        )
        self.strangers = strangers

    def __len__(self) -> int:
        """Return how many members there are."""
        return len(self._places)

    def find(self, name: str) -> tuple[int, int, int] | None:
        """Return the place, the size and the time of a member; None when there is none of that name."""
        found = self._before(_as_bytes(name))
        if found == len(self) or self._name(found) != _as_bytes(name):
            return None
        return int(self._places[found]), int(self._sizes[found]), int(self._times[found])

    def below(self, prefix: str) -> Iterator[str]:
        """Give the names that begin with `prefix`, without it."""
        start = _as_bytes(prefix)
        for place in range(self._before(start), len(self)):
            name = self._name(place)
            if not name.startswith(start):
                return
            yield name[len(start) :].decode("utf-8", "surrogateescape")

    def _before(self, name: bytes) -> int:
        """Return how many names come before one."""
        return bisect.bisect_left(range(len(self)), name, key=self._name)

    def _name(self, place: int) -> bytes:
        return self._text[self._starts[place] : self._starts[place + 1]]


def _as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


@lru_cache(maxsize=2)
def _index(path: Path, size: int, mtime_ns: int) -> Index:
    """Read where the members of a tar lie; once for a crawl and a test that lie in the same one."""
    import pyarrow as pa

    del mtime_ns
    kind = compression(path)
    if kind is not None:
        how = f"`gunzip {path.name}`" if kind == "gzip" else "unpack it"
        raise SourceError(
            f"{path} is compressed ({kind}), and pictures in it cannot be read in place: {how} first, then give the "
            f"{'tar' if kind == 'gzip' else 'folder'}."
        )
    parts: list[pa.Array] = []
    names: list[bytes] = []
    places, sizes, times = array("q"), array("q"), array("q")
    strangers = []
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                # The list of all members, which tarfile keeps, would be the largest thing in memory.
                tar.members = []  # type: ignore[attr-defined]
                if member.isdir():
                    continue
                name = posixpath.normpath(member.name)
                outside = f"{name}/".startswith(("/", "../"))
                if not member.isreg() or member.issparse() or outside or "\0" in name:
                    strangers.append(member.name if outside else name)
                    continue
                names.append(_as_bytes(name))
                places.append(member.offset_data)
                sizes.append(member.size)
                times.append(int(member.mtime) if 0 < member.mtime < _LAST_SECOND else 0)
                if len(names) == _AT_ONCE:
                    parts.append(pa.array(names, pa.binary()))
                    names.clear()
            cut = 0 < size - tar.offset < _BLOCK
    except tarfile.TarError as error:
        raise SourceError(
            f"{path} is no tar, or is damaged after {len(places):,} files ({error}): make or fetch it anew."
        ) from error
    except PermissionError as error:
        raise SourceError(f"{path} may not be read ({error.strerror}): allow it.") from error
    if cut:
        raise SourceError(f"{path} is cut off after {len(places):,} files: make or fetch it anew.")
    return Index(pa.concat_arrays([*parts, pa.array(names, pa.binary())]), places, sizes, times, strangers)


@dataclass(frozen=True)
class Tar:
    """The files of an uncompressed tar, or of a folder inside it, read where they lie."""

    path: Path
    inner: str
    index: Index = field(repr=False)

    @property
    def root(self) -> str:
        """The root that was opened."""
        return f"{self.path}#{self.inner}" if self.inner else str(self.path)

    @property
    def prefix(self) -> str:
        """What the members' names begin with."""
        return f"{self.inner}/" if self.inner else ""

    def inside(self, inner: str) -> Tar:
        """Return a folder of it.

        Raises
        ------
        SourceError
            There is none.
        """
        found = Tar(self.path, inner, self.index)
        if inner and next(self.index.below(found.prefix), None) is None:
            raise SourceError(f"{self.path} has no folder {inner!r}; {self._beside(inner)}.")
        return found

    def _beside(self, inner: str) -> str:
        """Say what lies in the deepest folder of that path that there is."""
        above = f"{inner.strip('/')}/"
        while above:
            above = above[: above.rstrip("/").rfind("/") + 1]
            if found := sorted({name.split("/", 1)[0] for name in self.index.below(above)}):
                break
        return f"{f'in {above}' if above else 'at its top'} are {_few(found)}"

    def names(self) -> list[str]:
        """Return the names of all regular files, relative to the root, with ``/``, in code-point order."""
        return sorted(self.index.below(self.prefix))

    def contents(self) -> tuple[list[str], list[str]]:
        """Return the names of all regular files, and of members that are none, or lead outside."""
        prefix = self.prefix
        return self.names(), sorted(name[len(prefix) :] for name in self.index.strangers if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        """Return a file's bytes; OSError when it is gone or may not be read."""
        place, size, _ = self._find(name)
        with self.path.open("rb", buffering=0) as file:
            file.seek(place)
            data = file.read(size)
        if len(data) < size:
            raise OSError(errno.EIO, f"{self.path} ends inside it", name)
        return data

    def size(self, name: str) -> int:
        """Return a file's size in bytes; OSError when it is gone."""
        return self._find(name)[1]

    def stamp(self, name: str) -> Stamp:
        """Return a file's size, and a number of when it was changed, to a second, and where in the tar it lies.

        What is added to a tar, or taken from its end, leaves the others where they are.
        """
        try:
            place, size, time = self._find(name)
        except OSError:
            return Stamp(GONE, GONE)
        return Stamp(size, time * _NANOSECONDS + place // tarfile.BLOCKSIZE % _NANOSECONDS if time else UNTOLD)

    def version(self) -> str:
        """Return the tar's size and time."""
        found = self.path.stat()
        return f"{found.st_size} {found.st_mtime_ns}"

    def _find(self, name: str) -> tuple[int, int, int]:
        full = self.prefix + name
        found = self.index.find(full) or self.index.find(posixpath.normpath(full))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, f"not in {self.path}", name)
        return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link in a circle, or one to where we may not go, is a file that cannot be read.
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Say whether a name is a regular file, or a link from which none can be read."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def may_be_image(name: str) -> bool:
    """Say whether a file could be a picture by its name: not hidden, nor in a hidden folder, nor of a known ending."""
    if name.startswith(".") or "/." in name:
        return False
    return posixpath.splitext(name)[1].lower() not in _NO_IMAGE_ENDINGS

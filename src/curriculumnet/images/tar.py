"""Uncompressed tars, read where they lie: a member's bytes are those at its place."""

from __future__ import annotations

import bisect
import contextlib
import errno
import hashlib
import json
import os
import posixpath
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from curriculumnet.errors import SourceError
from curriculumnet.images.stored import GONE, UNTOLD, Holder, Stamp

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

_AFTER_END = 2**20
"""Bytes behind the last member that are looked at: nothing but zeros may be there."""

_AT_ONCE = 65_536
"""Names of members that are Python's before they are put away."""

_LARGE = 1000
"""Members of a tar from which its index is kept: those of smaller ones are read in a moment."""

_INDEXES = 64
"""Tars whose index is kept: of a shard of ten thousand members it takes half a megabyte."""

_NANOSECONDS = 10**9
_LAST_SECOND = 2**63 // _NANOSECONDS
"""Times from this second since 1970 on cannot be written down in nanoseconds."""

_MEMBER = re.compile(r"(.+?\.tar)#(.+)", re.IGNORECASE | re.DOTALL)


def split_member(name: str) -> tuple[str, str]:
    """Return the tar and the member that a name names; no member where it is a file's own.

    >>> split_member("a/00000.tar#b/1.jpg"), split_member("a/1.jpg")
    (('a/00000.tar', 'b/1.jpg'), ('a/1.jpg', ''))
    """
    found = _MEMBER.fullmatch(name) if "#" in name else None
    return (found[1], found[2]) if found else (name, "")


def compression(start: bytes) -> str | None:
    """Return the kind of compressed archive that a file is, by its first eight bytes; None when it is none."""
    return next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), None)


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
        When each was changed, in seconds since 1970; 0 where the tar does not tell, or tells the same of all.
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

    def table(self) -> pa.Table:
        """Return it as it is kept: a row for each member, by name."""
        import pyarrow as pa

        names = [self._name(place) for place in range(len(self))]
        columns = {"offset": self._places, "size": self._sizes, "time": self._times}
        return pa.table({"name": pa.array(names, pa.binary()), **columns})

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

    def top(self, prefix: str) -> Iterator[str]:
        """Give the first parts of the names that begin with `prefix`, each once; those of folders with ``/``."""
        start = _as_bytes(prefix)
        place = self._before(start)
        while place < len(self) and (name := self._name(place)).startswith(start):
            first, folder, _ = name[len(start) :].partition(b"/")
            yield (first + folder).decode("utf-8", "surrogateescape")
            # The letter after the slash comes after all that lies in the folder.
            place = self._before(start + first + b"0") if folder else place + 1

    def in_order(self) -> list[str]:
        """Return all names in the order of the tar."""
        order = self._places.argsort(kind="stable").tolist()
        return [self._name(place).decode("utf-8", "surrogateescape") for place in order]

    def _before(self, name: bytes) -> int:
        """Return how many names come before one."""
        return bisect.bisect_left(range(len(self)), name, key=self._name)

    def _name(self, place: int) -> bytes:
        return self._text[self._starts[place] : self._starts[place + 1]]


def _as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def open_tar(holder: Holder, name: str) -> Tar:
    """Open an uncompressed tar; only its headers are read.

    Parameters
    ----------
    holder : Holder
        The folder in which it lies.
    name : str
        Its name there.

    Raises
    ------
    SourceError
        It is compressed, damaged or no tar.
    """
    size, modified, _ = holder.stamp(name)
    if size == GONE:
        raise SourceError(
            f"{_shown(holder, name)} is not there, or is no file: check the name, or the folder that you are in."
        )
    return Tar(holder, name, "", _index(holder, name, size, modified), modified)


def _shown(holder: Holder, name: str) -> str:
    return posixpath.join(holder.root, name)


@lru_cache(maxsize=_INDEXES)
def _index(holder: Holder, tar_name: str, size: int, modified: int) -> Index:
    """Return where the members of a tar lie: as it was kept, or by reading their headers."""
    if not holder.indexes or modified == UNTOLD:
        return _read_headers(holder, tar_name)
    called = hashlib.blake2b(_as_bytes(_shown(holder, tar_name)), digest_size=16).hexdigest()
    kept = Path(holder.indexes, f"{called}.parquet")
    version = f"{size} {modified}"
    index = _kept_index(kept, version)
    if index is None:
        index = _read_headers(holder, tar_name)
        if len(index) >= _LARGE:
            _keep_index(index, kept, version)
    return index


def _kept_index(path: Path, version: str) -> Index | None:
    """Return an index that was kept; None where there is none of this version of the tar."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, memory_map=False)
        about = json.loads(table.schema.metadata[b"about"])
        if about["version"] != version:
            return None
        names = table["name"].combine_chunks()
        places, sizes, times = (table[name].to_numpy() for name in ("offset", "size", "time"))
        return Index(names, places, sizes, times, about["strangers"])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def _keep_index(index: Index, path: Path, version: str) -> None:
    """Keep an index; where that is not possible it is made again."""
    import pyarrow.parquet as pq

    about = {b"about": json.dumps({"version": version, "strangers": index.strangers}).encode()}
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            pq.write_table(index.table().replace_schema_metadata(about), temporary, compression="zstd")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _read_headers(holder: Holder, tar_name: str) -> Index:
    """Read where the members of a tar lie."""
    import pyarrow as pa

    shown = _shown(holder, tar_name)
    parts: list[pa.Array] = []
    names: list[bytes] = []
    places, sizes, times = array("q"), array("q"), array("q")
    moments: set[float] = set()
    strangers = []
    try:
        kind = compression(holder.read_range(tar_name, 0, 8))
        if kind is not None:
            raise SourceError(
                f"{shown} is compressed ({kind}), and pictures in it cannot be read in place: unpack it first."
            )
        with (
            holder.open(tar_name) as file,
            tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar,
        ):
            for member in tar:
                # The list of all members, which tarfile keeps, would be the largest thing in memory.
                tar.members = []  # type: ignore[attr-defined]
                if tar.offset <= member.offset:
                    # It would be found again and again.
                    raise tarfile.ReadError("a member of negative size")
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
                if len(moments) < 2:
                    moments.add(member.mtime)
                if len(names) == _AT_ONCE:
                    parts.append(pa.array(names, pa.binary()))
                    names.clear()
            end = holder.read_range(tar_name, tar.offset, _AFTER_END)
    except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
        # A damaged header may name a place that no file has.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise SourceError(
                f"{shown} may not be read ({error.strerror or error}): allow it, or fetch it first if it is on the "
                "network."
            ) from error
        raise SourceError(
            f"{shown} is no tar, or is damaged after {len(places):,} files ({error}): make or fetch it anew."
        ) from error
    # tarfile takes whatever is no header for the end.
    if len(end) < _BLOCK or any(end):
        what = "cut off" if len(end) < _BLOCK else "damaged, or several tars in a row,"
        raise SourceError(f"{shown} is {what} after {len(places):,} files: make or fetch it anew.")
    if len(times) > 1 and len(moments) == 1:
        # Whoever made the tar gave all members one time, which tells nothing: made anew, it has the same.
        times = array("q", bytes(times.itemsize * len(times)))
    return Index(pa.concat_arrays([*parts, pa.array(names, pa.binary())]), places, sizes, times, strangers)


@dataclass(frozen=True)
class Tar:
    """The files of an uncompressed tar, or of a folder inside it, read where they lie."""

    holder: Holder
    name: str
    inner: str
    index: Index = field(repr=False)
    modified: int = UNTOLD

    @property
    def path(self) -> str:
        """The tar."""
        return _shown(self.holder, self.name)

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
        found = Tar(self.holder, self.name, inner, self.index, self.modified)
        if inner and next(self.index.below(found.prefix), None) is None:
            raise SourceError(f"{self.path} has no folder or table {inner!r}; {self._beside(inner)}.")
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

    def top(self) -> list[str]:
        """Return the names of what lies at the top, in code-point order; those of folders end with ``/``."""
        return sorted(self.index.top(self.prefix))

    def tar(self, name: str) -> Tar:
        """Return the tar itself where nothing is named: a tar inside a tar is not looked into."""
        if name:
            raise SourceError(f"{self.path}#{self.prefix}{name} is a tar inside a tar: unpack the outer one.")
        return self

    def in_order(self) -> list[str]:
        """Return the names of all regular files, relative to the root, in the order of the tar."""
        names, length = self.index.in_order(), len(self.prefix)
        return [name[length:] for name in names if name.startswith(self.prefix)] if length else names

    def read_some(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Give the bytes of some files in the order of the tar, from which they are read in one go.

        Raises
        ------
        OSError
            A file is not there, or the tar ends inside it.
        """
        found = sorted((*self._find(name)[:2], name) for name in names)
        if not found:
            return
        with self.holder.open(self.name) as file:
            for place, size, name in found:
                file.seek(place)
                yield name, whole(file.read(size), size, self.path, name)

    def read(self, name: str) -> bytes:
        """Return a file's bytes; OSError when it is gone or may not be read."""
        place, size, _ = self._find(name)
        return whole(self.holder.read_range(self.name, place, size), size, self.path, name)

    def size(self, name: str) -> int:
        """Return a file's size in bytes; OSError when it is gone."""
        return self._find(name)[1]

    def stamp(self, name: str) -> Stamp:
        """Return a file's size, and a number of when it was changed, to a second, and where in the tar it lies.

        What is added to a tar, or taken from its end, leaves the others where they are. A file of which the tar does
        not tell when it was changed is as old as the tar.
        """
        try:
            place, size, time = self._find(name)
        except OSError:
            return Stamp(GONE, GONE)
        changed = time * _NANOSECONDS + place // tarfile.BLOCKSIZE % _NANOSECONDS if time else self.modified
        return Stamp(size, changed, place)

    def version(self) -> str:
        """Return the tar's size and time."""
        size, modified, _ = self.holder.stamp(self.name)
        return f"{size} {modified}"

    def _find(self, name: str) -> tuple[int, int, int]:
        full = self.prefix + name
        found = self.index.find(full) or self.index.find(posixpath.normpath(full))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, f"not in {self.path}", name)
        return found


def whole(data: bytes, size: int, tar: str, name: str) -> bytes:
    """Return a member's bytes, once it is sure that they are all; OSError when the tar ends inside them."""
    if len(data) < size:
        raise OSError(errno.EIO, f"{tar} ends inside it", name)
    return data


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")

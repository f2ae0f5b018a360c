"""What a design has found so far, in a file that grows: one that was stopped goes on from there."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from curriculumnet.curriculum.methods import CategoryDesign, Ordering

_ABOUT = [("category", "i8"), ("n", "i8"), ("centre", "i8"), ("cutoff", "f8"), ("density_error", "f8")]
"""What is written of each category; its rows follow."""

_HEAD = struct.Struct("<q16s")
"""What a record begins with: how many bytes follow, and their digest, by which one that is not whole is known."""

_SECONDS = 2.0
"""How long what was found may wait to be written."""


class Begun:
    """Categories that are ordered, written as they come.

    Parameters
    ----------
    path : Path
        The file. What it holds counts only if it was begun with the same key.
    key : str
        What decides the result: settings and digests of what is read.

    Attributes
    ----------
    known : dict of int to CategoryDesign
        What was found before, by the category's number.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.known: dict[int, CategoryDesign] = {}
        self._path, self._key = path, f"{key}\n".encode()
        self._waiting: list[tuple[int, CategoryDesign]] = []
        self._end = 0
        self._written = time.monotonic()

    def __enter__(self) -> Begun:
        """Read what is there, and open the file to go on after it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self._path.open("r+b" if self._path.exists() else "w+b")
        if self._file.read(len(self._key)) == self._key:
            self._read()
        else:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(self._key)
        self._end = self._end or len(self._key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, whatever has happened, and close the file."""
        with self._file:
            self._write()

    def add(self, category: int, design: CategoryDesign) -> None:
        """Keep what was found of a category."""
        self._waiting.append((category, design))
        if time.monotonic() - self._written > _SECONDS:
            self._write()

    def remove(self) -> None:
        """Remove the file, when its content is in the tables."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        """Write what waits as one record, over what an interruption may have left of an earlier attempt."""
        count = len(self._waiting)
        if count:
            body = _packed(self._waiting)
            self._file.seek(self._end)
            self._file.truncate()
            self._file.write(_HEAD.pack(len(body), xxhash.xxh3_128_digest(body)) + body)
            self._file.flush()
            self._end = self._file.tell()
            del self._waiting[:count]
        self._written = time.monotonic()

    def _read(self) -> None:
        """Read the records that are whole."""
        self._end = self._file.tell()
        while len(head := self._file.read(_HEAD.size)) == _HEAD.size:
            length, digest = _HEAD.unpack(head)
            body = self._file.read(max(0, length))
            if len(body) != length or xxhash.xxh3_128_digest(body) != digest:
                return
            self.known |= _unpacked(body)
            self._end = self._file.tell()


def _packed(designs: list[tuple[int, CategoryDesign]]) -> bytes:
    about = np.array([_about(*each) for each in designs], _ABOUT)
    found = [design for _, design in designs]
    columns = list(found[0].ordering.columns)
    rows = np.empty(
        about["n"].sum(), [("subset", "i1"), *((name, "f8") for name in ("cleanliness", "doubt", *columns))]
    )
    rows["subset"] = np.concatenate([design.subset for design in found])
    rows["cleanliness"] = np.concatenate([design.cleanliness for design in found])
    rows["doubt"] = np.concatenate([design.ordering.doubt for design in found])
    for name in columns:
        rows[name] = np.concatenate([design.ordering.columns[name] for design in found])
    body = io.BytesIO()
    np.save(body, about)
    np.save(body, rows)
    return body.getvalue()


def _unpacked(body: bytes) -> dict[int, CategoryDesign]:
    file = io.BytesIO(body)
    about: NDArray[np.void] = np.load(file, allow_pickle=False)
    rows: NDArray[np.void] = np.load(file, allow_pickle=False)
    columns = [name for name in rows.dtype.names or () if name not in ("subset", "cleanliness", "doubt")]
    designs, start = {}, 0
    for category, n, centre, cutoff, error in about.tolist():
        mine = rows[start : start + n]
        start += n
        ordering = Ordering(
            doubt=mine["doubt"],
            columns={name: mine[name] for name in columns},
            centre=None if centre < 0 else centre,
            cutoff=None if np.isnan(cutoff) else cutoff,
            density_error=None if np.isnan(error) else error,
        )
        designs[category] = CategoryDesign(mine["subset"], mine["cleanliness"], ordering)
    return designs


def _about(category: int, design: CategoryDesign) -> tuple[int, int, int, float, float]:
    ordering, none = design.ordering, float("nan")
    return (
        category,
        len(design.subset),
        -1 if ordering.centre is None else ordering.centre,
        none if ordering.cutoff is None else ordering.cutoff,
        none if ordering.density_error is None else ordering.density_error,
    )

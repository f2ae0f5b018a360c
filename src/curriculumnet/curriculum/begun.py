"""What a design has found so far, in a file that grows: one that was stopped goes on from there."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.methods import CategoryDesign, Ordering

_ABOUT = [("category", "i8"), ("n", "i8"), ("centre", "i8"), ("cutoff", "f8"), ("density_error", "f8")]
"""What is written of each category; its rows follow."""

_SECONDS = 2.0
"""How long what was found may wait to be written."""


class Begun:
    """Categories that are ordered, written as they come.

    Parameters
    ----------
    path : Path
        The file. What it holds counts only if it was begun with the same key.
    key : str
        What decides the result: a digest of settings and inputs.

    Attributes
    ----------
    known : dict of int to CategoryDesign
        What was found before, by the category's number.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.known: dict[int, CategoryDesign] = {}
        self._path, self._key = path, f"{key}\n".encode()
        self._waiting: list[tuple[int, CategoryDesign]] = []
        self._written = time.monotonic()

    def __enter__(self) -> Begun:
        """Read what is there, and open the file to go on after it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self._path.open("a+b")
        self._file.seek(0)
        end = 0
        if self._file.read(len(self._key)) == self._key:
            end = self._read()
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            self._file.write(self._key)
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
        if self._waiting:
            about = np.array([_about(*each) for each in self._waiting], _ABOUT)
            designs = [design for _, design in self._waiting]
            columns = designs[0].ordering.columns
            rows = np.empty(
                about["n"].sum(),
                [("subset", "i1"), ("cleanliness", "f8"), ("doubt", "f8"), *((name, "f8") for name in columns)],
            )
            rows["subset"] = np.concatenate([design.subset for design in designs])
            rows["cleanliness"] = np.concatenate([design.cleanliness for design in designs])
            rows["doubt"] = np.concatenate([design.ordering.doubt for design in designs])
            for name in columns:
                rows[name] = np.concatenate([design.ordering.columns[name] for design in designs])
            np.save(self._file, about)
            np.save(self._file, rows)
            self._waiting.clear()
        self._file.flush()
        self._written = time.monotonic()

    def _read(self) -> int:
        """Read what was written; return where the last of it that is whole ends."""
        end = self._file.tell()
        while True:
            try:
                about: NDArray[np.void] = np.load(self._file, allow_pickle=False)
                rows: NDArray[np.void] = np.load(self._file, allow_pickle=False)
            except (ValueError, EOFError):
                return end
            start = 0
            for category, n, centre, cutoff, error in about.tolist():
                mine = rows[start : start + n]
                start += n
                names = [name for name in rows.dtype.names or () if name not in ("subset", "cleanliness", "doubt")]
                ordering = Ordering(
                    doubt=mine["doubt"],
                    columns={name: mine[name] for name in names},
                    centre=None if centre < 0 else centre,
                    cutoff=None if np.isnan(cutoff) else cutoff,
                    density_error=None if np.isnan(error) else error,
                )
                self.known[category] = CategoryDesign(mine["subset"], mine["cleanliness"], ordering)
            end = self._file.tell()


def _about(category: int, design: CategoryDesign) -> tuple[int, int, int, float, float]:
    ordering, none = design.ordering, float("nan")
    return (
        category,
        len(design.subset),
        -1 if ordering.centre is None else ordering.centre,
        none if ordering.cutoff is None else ordering.cutoff,
        none if ordering.density_error is None else ordering.density_error,
    )

"""A matrix of features in a .npy file, written and read a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_ROWS = 8192
"""Rows that are held at a time while a matrix is copied or a gap is filled."""

Block = tuple["NDArray[np.int64]", "NDArray[np.float32]"]
"""Places of rows, rising, and the rows."""


def write_rows(file: IO[bytes], n: int, blocks: Iterator[Block]) -> None:
    """Write a matrix of which only some rows are known; the others are NaN.

    The file is written from its beginning to its end, not through a memory map: on a full disk that is an error,
    while a memory map would end the process.

    Parameters
    ----------
    file : binary file
        Where it goes.
    n : int
        Its rows.
    blocks : iterator of (ndarray of int64, ndarray of float32)
        The known rows, in rising order over all blocks; at least one block.
    """
    columns = after = 0
    for places, rows in blocks:
        if not columns:
            columns = rows.shape[1]
            header = {"descr": "<f4", "fortran_order": False, "shape": (n, columns)}
            np.lib.format.write_array_header_1_0(file, header)
        for start, stop in _runs(places):
            _write_gap(file, int(places[start]) - after, columns)
            file.write(np.ascontiguousarray(rows[start:stop], "<f4").tobytes())
            after = int(places[stop - 1]) + 1
    _write_gap(file, n - after, columns)


def _runs(places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return begin and end of each part of `places` that has no gap."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    bounds = [0, *cuts.tolist(), len(places)]
    return list(pairwise(bounds))


def _write_gap(file: IO[bytes], rows: int, columns: int) -> None:
    for start in range(0, rows, _BLOCK_ROWS):
        file.write(np.full((min(_BLOCK_ROWS, rows - start), columns), np.nan, "<f4").tobytes())


def given_rows(matrix: NDArray[Any]) -> Iterator[Block]:
    """Give the rows of a matrix as float32, a block at a time; values beyond float32 become infinite."""
    for start in range(0, len(matrix), _BLOCK_ROWS):
        rows = np.asarray(matrix[start : start + _BLOCK_ROWS])
        with np.errstate(over="ignore"):
            yield np.arange(start, start + len(rows)), rows.astype(np.float32)

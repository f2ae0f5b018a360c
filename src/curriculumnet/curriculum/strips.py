"""Distances of all pairs of rows, a strip of rows at a time, and what is counted in them, as machine code.

The matrix of distances is symmetric, so each pair is computed once: a strip holds some rows against themselves and all
rows after them, by one matrix product. What is counted is added up in passes over the strips, each by several threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.cutoff import LOW_BITS, LOWER_BINS, UPPER_BINS, Pairs
from curriculumnet.curriculum.jit import compiled
from curriculumnet.curriculum.rows import SAME, Rows
from curriculumnet.curriculum.threads import thread_count

KEPT_BYTES = 2**30
"""Distances are kept while they take no more, 2·n² bytes: up to 23,170 rows. Those of more rows are computed anew in
each pass."""

_HEIGHT = 256
"""Rows of a strip that is kept: the fewer, the less is computed twice beside the diagonal, and the slower."""

_STRIP_ELEMENTS = 2**23
"""Distances of a strip that is not kept: 32 MB."""

_ALONE = 2**18
"""Pairs that one thread counts before the others would be awake."""

_LOW = LOWER_BINS - 1

_INFINITY = int(np.array(np.inf, np.float32).view(np.int32))


class Strips(Pairs):
    """The distances of all pairs of rows, kept or computed anew in each pass.

    Each thread has strips of its own, of which it computes the products, too.

    Parameters
    ----------
    rows : Rows
        Of which.

    Attributes
    ----------
    threads : int
        How many threads count.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows.copies)
        self.values, self.squares = rows.values, rows.squares
        self.copies = rows.copies.astype(np.int32)
        n = len(rows)
        self.threads = thread_count() if n * n // 2 > _ALONE else 1
        self._kept: dict[int, NDArray[np.float32]] | None = {} if 2 * n * n <= KEPT_BYTES else None
        most = _HEIGHT if self._kept is not None else max(1, _STRIP_ELEMENTS // n)
        self._height = max(1, min(most, n // (4 * self.threads)))
        self._shares: list[list[int]] = [[] for _ in range(self.threads)]
        lengths = [0] * self.threads
        for first in range(0, n, self._height):
            # Strips become shorter: the next one is for the thread that has had the least.
            thread = lengths.index(min(lengths))
            self._shares[thread].append(first)
            lengths[thread] += n - first

    def _strip(self, first: int) -> NDArray[np.float32]:
        """Return the distances of some rows to all from the first of them on; those behind the diagonal count."""
        if self._kept is not None and first in self._kept:
            return self._kept[first]
        some = slice(first, first + self._height)
        products = self.values[some] @ self.values[first:].T
        to_distances(products, self.squares[some], self.squares[first:], SAME)
        strip = products.astype(np.float32, copy=False)
        if self._kept is not None:
            self._kept[first] = strip
        return strip

    def between(self, some: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the distances of some rows to all rows, shape (some, n)."""
        distances = self.values[some] @ self.values.T
        to_distances(distances, self.squares[some], self.squares, SAME)
        distances[np.arange(len(some)), some] = 0
        return distances.astype(np.float32, copy=False)

    def _sweep(self, shape: int, dtype: Any, work: Callable[[NDArray[np.float32], int, Any], object]) -> NDArray[Any]:
        """Do some work on each strip, told where it begins and where its thread counts; return what each counted."""
        counted = np.zeros((self.threads, shape), dtype)

        def do(thread: int) -> None:
            for first in self._shares[thread]:
                work(self._strip(first), first, counted[thread])

        if self.threads == 1:
            do(0)
            return counted
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(do, range(self.threads)))
        return counted

    def histogram(self) -> NDArray[np.int64]:
        """Count pairs of images by the upper bits of their distance; shape (65,536,)."""
        counted = self._sweep(
            UPPER_BINS,
            np.int64,
            lambda strip, first, counts: _by_upper_bits(strip.view(np.int32), self.copies[first:], counts),
        )
        return np.asarray(counted.sum(axis=0))

    def histogram_within(self, upper: int) -> NDArray[np.int64]:
        """Count the pairs whose distance has these upper bits by its lower ones; shape (32,768,)."""
        bits = np.int32(upper << LOW_BITS)
        counted = self._sweep(
            LOWER_BINS,
            np.int64,
            lambda strip, first, counts: _by_lower_bits(strip.view(np.int32), self.copies[first:], bits, counts),
        )
        return np.asarray(counted.sum(axis=0))

    def near(self, cutoff: np.float32) -> NDArray[np.float64]:
        """Count for each row the images of other rows that are nearer than the cut-off; shape (n,)."""
        counted = self._sweep(
            len(self.values),
            np.int32,
            lambda strip, first, counts: _count_near(strip, self.copies[first:], cutoff, counts[first:]),
        )
        return np.asarray(counted.sum(axis=0, dtype=np.float64))

    def weigh(self, cutoff: np.float32) -> NDArray[np.float64]:
        """Sum for each row exp(-distance / cutoff) over the images of other rows; shape (n,)."""
        factor = -1 / np.float64(cutoff)
        counted = self._sweep(
            len(self.values),
            np.float64,
            lambda strip, first, sums: _weigh(strip, self.copies[first:], factor, sums[first:]),
        )
        return np.asarray(counted.sum(axis=0))

    def nearest_higher(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return for each row the distance to the nearest one that is higher; infinite where none is; shape (n,)."""
        # Counted down from infinity, since counting begins at 0.
        counted = self._sweep(
            len(self.values),
            np.int32,
            lambda strip, first, gains: _nearest_higher(strip.view(np.int32), heights[first:], gains[first:]),
        )
        return np.asarray((_INFINITY - counted.max(axis=0)).astype(np.int32).view(np.float32))


@compiled()
def to_distances(products, squares, other_squares, same_share):  # type: ignore[no-untyped-def]
    """Turn products into squared distances, in place; those of at most a share of both squared lengths into 0."""
    same, two, zero = squares.dtype.type(same_share), squares.dtype.type(2), squares.dtype.type(0)
    for row in range(len(products)):
        mine, found = squares[row], products[row]
        for column in range(found.size):
            lengths = mine + other_squares[column]
            distance = lengths - two * found[column]
            found[column] = distance if distance > same * lengths else zero


@compiled()
def _by_upper_bits(bits, copies, counts):  # type: ignore[no-untyped-def]
    for row in range(len(bits)):
        mine, others, weights = np.int64(copies[row]), bits[row, row + 1 :], copies[row + 1 :]
        for column in range(others.size):
            counts[others[column] >> LOW_BITS] += mine * weights[column]


@compiled()
def _by_lower_bits(bits, copies, low, counts):  # type: ignore[no-untyped-def]
    high = low | np.int32(_LOW)
    for row in range(len(bits)):
        mine, others, weights = np.int64(copies[row]), bits[row, row + 1 :], copies[row + 1 :]
        for start in range(0, others.size, 128):
            some, theirs = others[start : start + 128], weights[start : start + 128]
            # Two loops without a branch, which the processor does for sixteen at a time, pass over what has none.
            hits = np.int32(0)
            for column in range(some.size):
                hits += np.int32(1) if some[column] <= high else np.int32(0)
            for column in range(some.size):
                hits -= np.int32(1) if some[column] < low else np.int32(0)
            if hits:
                for column in range(some.size):
                    if low <= some[column] <= high:
                        counts[some[column] & _LOW] += mine * theirs[column]


@compiled()
def _count_near(strip, copies, cutoff, counts):  # type: ignore[no-untyped-def]
    nothing = np.int32(0)
    for row in range(len(strip)):
        mine, distances, weights, others = copies[row], strip[row, row + 1 :], copies[row + 1 :], counts[row + 1 :]
        count = nothing
        # In one loop the compiler does not see that it could count several at a time: thirteen times as long.
        for column in range(distances.size):
            count += weights[column] if distances[column] < cutoff else nothing
        for column in range(distances.size):
            others[column] += mine if distances[column] < cutoff else nothing
        counts[row] += count


@compiled()
def _weigh(strip, copies, factor, sums):  # type: ignore[no-untyped-def]
    for row in range(len(strip)):
        mine, distances, weights, others = copies[row], strip[row, row + 1 :], copies[row + 1 :], sums[row + 1 :]
        total = 0.0
        for column in range(distances.size):
            weight = math.exp(distances[column] * factor)
            total += weights[column] * weight
            others[column] += mine * weight
        sums[row] += total


@compiled()
def _nearest_higher(bits, heights, gains):  # type: ignore[no-untyped-def]
    # As whole numbers, of which the processor finds the least of several at a time: floats take seven times as long.
    far, nothing = np.int32(_INFINITY), np.int32(0)
    for row in range(len(bits)):
        mine, distances, theirs, others = heights[row], bits[row, row + 1 :], heights[row + 1 :], gains[row + 1 :]
        most = nothing
        for column in range(distances.size):
            here = far - distances[column] if theirs[column] > mine else nothing
            most = here if here > most else most
        for column in range(distances.size):
            there = far - distances[column] if mine > theirs[column] else nothing
            others[column] = there if there > others[column] else others[column]
        gains[row] = most if most > gains[row] else gains[row]

"""Distances between some rows and others, a block at a time, and what is counted in them, as machine code."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.jit import compiled
from curriculumnet.curriculum.rows import SAME, Rows
from curriculumnet.curriculum.strips import to_distances
from curriculumnet.curriculum.threads import thread_count

_BLOCK_ELEMENTS = 2**22
"""Distances that a thread has at a time: 16 MB."""


class Blocks:
    """Distances between some rows and others, which are in ascending order; each thread has some of the former.

    Parameters
    ----------
    rows : Rows
        Of which.
    """

    def __init__(self, rows: Rows) -> None:
        self._values, self._squares = rows.values, rows.squares

    def near(
        self, which: NDArray[np.intp], others: NDArray[np.intp], weights: NDArray[np.int64], cutoff: np.float32
    ) -> NDArray[np.float64]:
        """Count for some rows the others that are nearer than the cut-off, each with its weight; shape (which,)."""
        counts = np.zeros(len(which))

        def count(distances: NDArray[np.float32], these: slice, those: slice) -> None:
            _count_near(distances, weights[those], cutoff, counts[these])

        self._between(which, others, count)
        return counts

    def weigh(
        self, which: NDArray[np.intp], others: NDArray[np.intp], weights: NDArray[np.int64], cutoff: np.float32
    ) -> NDArray[np.float64]:
        """Sum for some rows exp(-distance / cutoff) over others, each with its weight; shape (which,)."""
        sums = np.zeros(len(which))
        factor = -1 / np.float64(cutoff)

        def weigh(distances: NDArray[np.float32], these: slice, those: slice) -> None:
            _weigh(distances, weights[those], factor, sums[these])

        self._between(which, others, weigh)
        return sums

    def nearest_higher(
        self, which: NDArray[np.intp], others: NDArray[np.intp], heights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return for some rows the distance to the nearest of others that is higher; shape (which,)."""
        mine, theirs = heights[which], heights[others]
        nearest = np.full(len(which), np.inf, np.float32)

        def seek(distances: NDArray[np.float32], these: slice, those: slice) -> None:
            _nearest_higher(distances.view(np.int32), mine[these], theirs[those], nearest.view(np.int32)[these])

        self._between(which, others, seek)
        return nearest

    def least_positive(self, which: NDArray[np.intp], others: NDArray[np.intp]) -> np.float32:
        """Return the least distance above 0; infinite where there is none."""
        least: list[np.float32] = []

        def seek(distances: NDArray[np.float32], _these: slice, _those: slice) -> None:
            least.append(distances.min(where=distances > 0, initial=np.inf))

        self._between(which, others, seek)
        return np.float32(min(least))

    def _between(
        self,
        which: NDArray[np.intp],
        others: NDArray[np.intp],
        work: Callable[[NDArray[np.float32], slice, slice], object],
    ) -> None:
        """Do some work on the distances, a block at a time; each thread on rows of its own."""
        width = min(len(others), _BLOCK_ELEMENTS // 256)
        height = max(1, _BLOCK_ELEMENTS // width)
        threads = thread_count()
        height = min(height, -(-len(which) // threads))
        values, squares = self._values, self._squares
        columns = [slice(start, start + width) for start in range(0, len(others), width)]

        def do(these: slice) -> None:
            rows_here = which[these]
            for those in columns:
                rows_there = others[those]
                distances = values[rows_here] @ values[rows_there].T
                to_distances(distances, squares[rows_here], squares[rows_there], SAME)
                # A zero vector's product with itself would not tell that it is at distance 0.
                place = np.minimum(rows_there.searchsorted(rows_here), len(rows_there) - 1)
                itself = np.flatnonzero(rows_there[place] == rows_here)
                distances[itself, place[itself]] = 0
                work(distances.astype(np.float32, copy=False), these, those)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(do, [slice(start, start + height) for start in range(0, len(which), height)]))


@compiled()
def _count_near(distances, weights, cutoff, found):  # type: ignore[no-untyped-def]
    for row in range(len(distances)):
        count = np.int64(0)
        for column in range(weights.size):
            count += weights[column] if distances[row, column] < cutoff else np.int64(0)
        found[row] += count


@compiled()
def _weigh(distances, weights, factor, found):  # type: ignore[no-untyped-def]
    for row in range(len(distances)):
        total = 0.0
        for column in range(weights.size):
            total += weights[column] * math.exp(distances[row, column] * factor)
        found[row] += total


@compiled()
def _nearest_higher(bits, heights, other_heights, nearest):  # type: ignore[no-untyped-def]
    # As whole numbers, see `strips`.
    for row in range(len(bits)):
        mine, least = heights[row], nearest[row]
        for column in range(other_heights.size):
            here = bits[row, column] if other_heights[column] > mine else nearest[row]
            least = here if here < least else least
        nearest[row] = least

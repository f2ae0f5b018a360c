"""Features as the rows that are compared: seen from a mean, of unit length, each one once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from curriculumnet.curriculum.features import checked, floats
from curriculumnet.curriculum.jit import compiled

AT_MEAN = 1e-6
"""A row no farther from the mean than this share of its length is at the mean: the rest is float32 rounding."""

_EXACT = 2**28
"""Multiplications up to which rows are float64: they take milliseconds."""

_FEW = 16
"""Columns up to which rows are float64, since their products take no longer than what is counted in them."""

_MOST = 500
"""Powers of two up to which the square of a number is one."""

_SMALL, _LARGE = 1e-200, 1e200
"""Sums of squares between these have lost nothing."""


SAME = 1e-6
"""Two rows whose squared distance is at most this share of the sum of their squared lengths are at distance 0."""

_TIE = 1e-9
"""Two rows whose mean distances to all others differ by no more than this share are equally central: rounding."""


@dataclass(frozen=True)
class Rows:
    """The m different ones of n rows, as they are compared, in an order of their own that theirs does not change.

    Attributes
    ----------
    values : ndarray of float32 or float64, shape (m, d)
        Each row once; squared distances of these, times `unit`, are the distances that were asked for.
    squares : ndarray of the same type, shape (m,)
        What counts as the squared length of each: of directions 1, of the zero vector too, which is so at 2 from all.
    first : ndarray of int64, shape (m,)
        Where each was first.
    inverse : ndarray of int64, shape (n,)
        Which of them each of the n rows is.
    copies : ndarray of int64, shape (m,)
        How often each was there.
    unit : float
        What squared distances are multiplied by.
    """

    values: NDArray[Any]
    squares: NDArray[Any]
    first: NDArray[np.intp]
    inverse: NDArray[np.intp]
    copies: NDArray[np.int64]
    unit: float

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.values)

    def of(self, places: NDArray[np.intp], copies: NDArray[np.int64]) -> Rows:
        """Return some of them, each as often as is told."""
        inverse = np.repeat(np.arange(len(places)), copies)
        return Rows(self.values[places], self.squares[places], self.first[places], inverse, copies, self.unit)

    def distances_to(self, row: int) -> NDArray[np.float64]:
        """Return the squared distances to one of them, reckoned in float64."""
        distances = np.empty(len(self))
        _to_squared_distances(self.values, self.values[row], distances)
        lengths = self.squares.astype(np.float64)
        # Zero vectors are orthogonal to the others, whatever counts as their length.
        zero = np.logical_not(self.values.any(axis=1))
        orthogonal = zero != zero[row]
        distances[orthogonal] = lengths[orthogonal] + lengths[row]
        distances[distances <= SAME * (lengths + lengths[row])] = 0
        return distances

    def most_central(self, some: NDArray[np.intp]) -> int:
        """Return which of some of them is the nearest to all on average; of equals the one that came first."""
        if len(some) == 1:
            return int(some[0])
        # The sum over all j of |x_i|² + |x_j|² - 2·x_i·x_j, less what a zero vector would so be apart from its copies.
        values, n = self.values[some], self.copies.sum()
        lengths = self.squares.astype(np.float64)
        total = np.einsum("i,ij->j", self.copies, self.values, dtype=np.float64)
        sums = n * lengths[some] + self.copies @ lengths - 2 * np.einsum("ij,j->i", values, total, dtype=np.float64)
        sums -= self.copies[some] * 2 * (lengths[some] - np.einsum("ij,ij->i", values, values, dtype=np.float64))
        central = some[sums <= sums.min() + _TIE * n * lengths.max()]
        return int(central[self.first[central].argmin()])


def compared(features: NDArray[Any], mean: NDArray[Any] | None, metric: str) -> Rows:
    """Return features as the rows that are compared.

    Parameters
    ----------
    features : ndarray, shape (n, d)
    mean : ndarray, shape (d,), optional
        Subtracted from the rows, which are then made unit length. None leaves them as they are.
    metric : {"sqeuclidean", "cosine"}
        What the distance is.

    Raises
    ------
    ValueError
        Features are not a matrix of at least one row and column, or not finite.
    """
    given = checked(features)
    n, d = given.shape
    # In float64 distances that are equal are so as float32; of few columns float32 would lose the small ones.
    dtype = np.float64 if n * n * d <= _EXACT or d <= _FEW else np.float32
    angular = mean is not None or metric == "cosine"
    if angular:
        values, unit = directions(given, mean, dtype), 0.5 if metric == "cosine" else 1.0
    else:
        values, unit = _centred(given, dtype)
    order, new = _order(values)
    inverse = np.empty(n, np.intp)
    inverse[order] = np.cumsum(new) - 1
    first = order[new]
    values = values[first]
    if angular:
        squares = np.ones(len(values), dtype)
    else:
        squares = np.einsum("ij,ij->i", values, values, dtype=np.float64).astype(dtype)
    return Rows(values, squares, first, inverse, np.diff(np.append(np.flatnonzero(new), n)), unit)


def _order(rows: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return an order in which equal rows follow each other, and which are new; none holds a negative zero."""
    digests = np.frombuffer(b"".join(xxhash.xxh3_128_digest(row.data) for row in rows), np.uint64).reshape(-1, 2)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    new = np.ones(len(rows), np.bool_)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    return order, new


def directions(rows: NDArray[Any], mean: NDArray[Any] | None, dtype: Any = np.float64) -> NDArray[Any]:
    """Return rows of unit length, seen from the mean; zero where there is no direction.

    Parameters
    ----------
    rows : ndarray, shape (n, d)
        Finite.
    mean : ndarray, shape (d,), optional
        None is the origin.
    dtype : type
        Of the result; everything is reckoned in float64.
    """
    origin = np.zeros(rows.shape[1]) if mean is None else np.ascontiguousarray(mean, np.float64)
    found = np.empty(rows.shape, dtype)
    exponent = int(np.frexp(np.abs(origin).max())[1])
    length = float(np.ldexp(np.linalg.norm(np.ldexp(origin, -exponent)), exponent))
    _to_directions(floats(rows), origin, AT_MEAN * length, found)
    return found


def _centred(rows: NDArray[Any], dtype: Any) -> tuple[NDArray[Any], float]:
    """Return rows seen from about their middle, divided by a power of two, and what that does to squared distances.

    Far from the origin the digits of float32 would go into what all rows have in common. The mean is rounded to the
    columns' mean deviation, so that small whole numbers stay such: their equal distances are then equal.

    Parameters
    ----------
    rows : ndarray of float32 or float64, shape (n, d)
    dtype : type
        Of the result.

    Raises
    ------
    ValueError
        Squared distances of such features are no numbers.
    """
    mean, deviation = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    _add_up(rows, mean)
    mean /= len(rows)
    _add_up_deviations(rows, mean, deviation)
    deviation /= len(rows)
    grid = np.ldexp(1.0, np.frexp(deviation)[1] - 1)
    origin = np.where(deviation > 0, np.rint(mean / grid) * grid, rows[0])
    largest = math.frexp(_largest_deviation(rows, origin))[1]
    if abs(largest) > _MOST:
        size, mend = ("large", "divide") if largest > 0 else ("small", "multiply")
        raise ValueError(f"features are too {size} for squared distances: {mend} them")
    found = np.empty(rows.shape, dtype)
    # In two steps, of which none leaves the range of float64.
    _to_shifted(rows, origin, math.ldexp(1.0, -(largest // 2)), math.ldexp(1.0, -(largest - largest // 2)), found)
    return found, math.ldexp(1.0, 2 * largest)


@compiled(sums_in_any_order=True)
def _to_directions(rows, origin, at_origin, found):  # type: ignore[no-untyped-def]
    for row in range(len(rows)):
        given, into = rows[row], found[row]
        scale, exponent, square = 1.0, 0, 0.0
        for column in range(given.size):
            side = np.float64(given[column]) - origin[column]
            square += side * side
        if not _SMALL < square < _LARGE:
            # By a power of two, so that no square leaves the range.
            largest = 0.0
            for column in range(given.size):
                largest = max(largest, abs(np.float64(given[column]) - origin[column]))
            exponent = min(max(math.frexp(largest)[1], -1000), 1000)
            scale, square = math.ldexp(1.0, -exponent), 0.0
            for column in range(given.size):
                side = (np.float64(given[column]) - origin[column]) * scale
                square += side * side
        length = math.sqrt(square)
        if math.ldexp(length, exponent) <= at_origin:
            into[:] = 0.0
            continue
        factor = scale / length
        for column in range(given.size):
            into[column] = (np.float64(given[column]) - origin[column]) * factor + 0.0


@compiled()
def _add_up(rows, sums):  # type: ignore[no-untyped-def]
    for row in range(len(rows)):
        for column in range(sums.size):
            sums[column] += rows[row, column]


@compiled()
def _add_up_deviations(rows, means, sums):  # type: ignore[no-untyped-def]
    for row in range(len(rows)):
        for column in range(sums.size):
            sums[column] += abs(rows[row, column] - means[column])


@compiled()
def _largest_deviation(rows, origin):  # type: ignore[no-untyped-def]
    largest = 0.0
    for row in range(len(rows)):
        for column in range(origin.size):
            largest = max(largest, abs(rows[row, column] - origin[column]))
    return largest


@compiled()
def _to_shifted(rows, origin, scale, rest, found):  # type: ignore[no-untyped-def]
    for row in range(len(rows)):
        given, into = rows[row], found[row]
        for column in range(given.size):
            into[column] = (np.float64(given[column]) - origin[column]) * scale * rest + 0.0


@compiled(sums_in_any_order=True)
def _to_squared_distances(rows, one, found):  # type: ignore[no-untyped-def]
    for row in range(len(rows)):
        given = rows[row]
        total = 0.0
        for column in range(given.size):
            apart = np.float64(given[column]) - np.float64(one[column])
            total += apart * apart
        found[row] = total

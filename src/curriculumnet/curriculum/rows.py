"""Features as the rows that are compared: seen from a mean, of unit length, each one once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from curriculumnet.curriculum.jit import compiled

AT_MEAN = 1e-6
"""A row no farther from the mean than this share of its length is at the mean: the rest is float32 rounding."""

_EXACT = 2**28
"""Up to so many multiplications rows are float64: distances that are equal by definition then are so as float32, and it
takes milliseconds."""


_SMALL, _LARGE = 1e-200, 1e200
"""Sums of squares between these have lost nothing."""


@dataclass(frozen=True)
class Distinct:
    """The different ones of some rows, in an order of their own that the rows' order does not change.

    Attributes
    ----------
    rows : ndarray, shape (m, d)
        Each row once.
    first : ndarray of int64, shape (m,)
        Where each was first.
    inverse : ndarray of int64, shape (n,)
        Which of them each of the n rows is.
    copies : ndarray of int64, shape (m,)
        How often each was there.
    """

    rows: NDArray[Any]
    first: NDArray[np.intp]
    inverse: NDArray[np.intp]
    copies: NDArray[np.int64]


def row_type(n: int, d: int) -> type[np.float32] | type[np.float64]:
    """Return the type of number in which n rows of d numbers are multiplied."""
    return np.float64 if n * n * d <= _EXACT else np.float32


def checked(features: NDArray[Any]) -> NDArray[Any]:
    """Return features as float32 or float64, whichever holds them.

    Raises
    ------
    ValueError
        They are not a matrix of at least one row and column, or not finite.
    """
    rows = _floats(np.asarray(features))
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"features must have at least one row and one column, not the shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("features must be finite, but some are NaN or infinite")
    return rows


def _floats(rows: NDArray[Any]) -> NDArray[Any]:
    if rows.dtype in (np.float32, np.float64):
        return rows
    return rows.astype(np.float32 if rows.dtype == np.float16 else np.float64)


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
    _to_directions(_floats(rows), origin, 0.0 if mean is None else AT_MEAN * float(np.linalg.norm(origin)), found)
    return found


def centred(rows: NDArray[Any], dtype: Any) -> tuple[NDArray[Any], float]:
    """Return rows seen from about their middle, divided by a power of two, and what that does to squared distances.

    Far from the origin the digits of float32 would go into what all rows have in common. The middle is rounded to the
    columns' spread, so that small whole numbers stay such: their equal distances are then equal.

    Parameters
    ----------
    rows : ndarray of float32 or float64, shape (n, d)
    dtype : type
        Of the result.
    """
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    spread = high - low
    _, exponent = np.frexp(spread)
    middle = low + spread / 2
    grid = np.ldexp(1.0, exponent - 1)
    origin = np.where(spread > 0, np.rint(middle / grid) * grid, low)
    _, largest = math.frexp(max(float(np.abs(high - origin).max()), float(np.abs(low - origin).max())))
    found = np.empty(rows.shape, dtype)
    # In two steps, of which none leaves the range of float64.
    _to_shifted(rows, origin, math.ldexp(1.0, -(largest // 2)), math.ldexp(1.0, -(largest - largest // 2)), found)
    return found, float(np.ldexp(1.0, 2 * largest))


def distinct(rows: NDArray[Any]) -> Distinct:
    """Return the different ones of some rows, of which none holds a negative zero."""
    digests = np.frombuffer(b"".join(xxhash.xxh3_128_digest(row.data) for row in rows), np.uint64).reshape(-1, 2)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    new = np.ones(len(rows), np.bool_)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    inverse = np.empty(len(rows), np.intp)
    inverse[order] = np.cumsum(new) - 1
    first = order[new]
    copies = np.diff(np.append(np.flatnonzero(new), len(rows)))
    return Distinct(rows[first], first, inverse, copies)


def squared_distances(rows: NDArray[Any], one: NDArray[Any]) -> NDArray[np.float64]:
    """Return the squared distances of some rows to one, in float64."""
    found = np.empty(len(rows))
    _to_squared_distances(rows, one, found)
    return found


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

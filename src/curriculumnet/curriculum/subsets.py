"""Subsets: one number per image, lower is cleaner, cut into the clean, the noisy and the highly noisy; and its rank.

The cut is one-dimensional k-means solved to its optimum by dynamic programming over the sorted distinct values. Two
cuts that are equally good must be seen to be equal, so sums are kept in two float64 numbers each (about 106 bits;
T. J. Dekker, "A floating-point technique for extending the available precision", 1971): with one, a far outlier would
decide the digits of every sum, and rounding would decide the ties.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

CHOICES = (2, 3, 4, 5)
"""Numbers of subsets that `choose_n_subsets` chooses from."""

_TIE = 2.0**-96
"""Two cuts whose sums of squares differ by no more than this share of all squares are equally good: a rounding."""


def split(values: NDArray[np.floating], n_subsets: int = 3) -> NDArray[np.int8]:
    """Cut values into subsets with the least sum of squared distances to the subsets' means.

    Equal values never part. Of equally good cuts, the one with the larger subset 0 is taken, then the one with the
    larger subset 1, and so on. Where there are fewer distinct values than subsets, each value is a subset.

    Parameters
    ----------
    values : ndarray, shape (n,)
        One finite number per image, lower is cleaner. Time grows with n·log(n), memory with n.
    n_subsets : int
        How many subsets, 1 … 127.

    Returns
    -------
    ndarray of int8, shape (n,)
        The subset of each image; 0 holds the lowest values.

    Raises
    ------
    ValueError
        Values are not a vector, or not finite; `n_subsets` is out of its range.
    """
    values = _checked(values)
    if not 1 <= n_subsets <= 127:
        raise ValueError(f"n_subsets must lie in 1 … 127, not {n_subsets}")
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) <= n_subsets:
        return inverse.astype(np.int8)
    sums = _Sums.of(distinct, counts)
    cuts = _best_cuts(sums, n_subsets)
    return np.searchsorted(cuts, inverse, side="right").astype(np.int8)


def rank_cleanliness(values: NDArray[np.floating]) -> _Floats:
    """Turn values into ranks in [0, 1], the lowest value highest.

    Parameters
    ----------
    values : ndarray, shape (n,)
        One finite number per image, lower is cleaner.

    Returns
    -------
    ndarray of float64, shape (n,)
        1 − (mid-rank − 0.5) / n with ranks from 1; equal values share the middle of their ranks. All 1 when there is
        one value only.

    Raises
    ------
    ValueError
        Values are not a vector, or not finite.
    """
    values = _checked(values)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(counts) <= 1:
        return np.ones(len(values))
    last = np.cumsum(counts)
    middle = last - (counts - 1) / 2
    return np.asarray((1 - (middle - 0.5) / len(values))[inverse])


def choose_n_subsets(categories: Iterable[NDArray[np.floating]]) -> int:
    """Choose into how many subsets all categories are cut, 2 … 5, by how much tighter these are than chance.

    Cut into N parts, numbers without any structure (evenly spread) have the N²-th part of their scatter within the
    parts. So the N is taken for which N² times the scatter within, as a share of the whole, is least: F. H. C.
    Marriott, "Practical problems in a method of cluster analysis", Biometrics 27, 1971. Over categories the logarithms
    are averaged, each image with the same weight. Categories of fewer than six different values have no say; where
    none has any, and of equally good numbers the lowest is taken.

    Parameters
    ----------
    categories : iterable of ndarray, shape (n,)
        What the subsets of each category are cut from.

    Returns
    -------
    int
    """
    totals = np.zeros(len(CHOICES))
    for values in map(_checked, categories):
        if len(np.unique(values)) > max(CHOICES):
            whole = _scatter_within(values, np.zeros(len(values), np.int8))
            within = [_scatter_within(values, split(values, n)) for n in CHOICES]
            # Two values at each place have no scatter within: nothing is tighter.
            shares = [max(n * n * each / whole, np.finfo(float).tiny) for n, each in zip(CHOICES, within, strict=True)]
            totals += len(values) * np.log(shares)
    return CHOICES[int(np.argmin(totals))]


def _scatter_within(values: _Floats, subset: NDArray[np.int8]) -> float:
    counts = np.bincount(subset)
    means = np.bincount(subset, values) / counts
    return float(((values - means[subset]) ** 2).sum())


def _checked(values: NDArray[np.floating]) -> _Floats:
    checked: _Floats = np.asarray(values, dtype=np.float64)
    if checked.ndim != 1:
        raise ValueError(f"values must be one number per image, not of the shape {checked.shape}")
    if not np.isfinite(checked).all():
        raise ValueError("values must be finite, but some are NaN or infinite")
    return checked


@dataclass(frozen=True)
class _Double:
    """Numbers of about 106 bits: the sum of two float64, the second below the first one's last digit."""

    high: _Floats
    low: _Floats

    @classmethod
    def exact_sum(cls, a: _Floats, b: _Floats) -> _Double:
        total = a + b
        part = total - a
        return cls(total, (a - (total - part)) + (b - part))

    @classmethod
    def exact_product(cls, a: _Floats, b: _Floats) -> _Double:
        product = a * b
        a_high, b_high = _upper_half(a), _upper_half(b)
        a_low, b_low = a - a_high, b - b_high
        return cls(product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low)

    def __add__(self, other: _Double) -> _Double:
        total = _Double.exact_sum(self.high, other.high)
        return _Double.exact_sum(total.high, total.low + (self.low + other.low))

    def __sub__(self, other: _Double) -> _Double:
        return self + _Double(-other.high, -other.low)

    def __mul__(self, other: _Double) -> _Double:
        product = _Double.exact_product(self.high, other.high)
        return _Double.exact_sum(product.high, product.low + (self.high * other.low + self.low * other.high))

    def __truediv__(self, divisor: _Floats) -> _Double:
        quotient = self.high / divisor
        rest = self - _Double.exact_product(quotient, divisor)
        return _Double.exact_sum(quotient, (rest.high + rest.low) / divisor)

    def __getitem__(self, places: NDArray[np.intp] | slice | int) -> _Double:
        return _Double(self.high[places], self.low[places])


def _upper_half(a: _Floats) -> _Floats:
    """Return the upper 26 bits of each number."""
    scaled = a * 134217729.0  # 2²⁷ + 1
    return np.asarray(scaled - (scaled - a))


@dataclass(frozen=True)
class _Sums:
    """Sums over the first i distinct values, i in 0 … m: of images, of their values, of the values' squares."""

    images: _Floats
    values: _Double
    squares: _Double

    @classmethod
    def of(cls, distinct: _Floats, counts: NDArray[np.intp]) -> _Sums:
        # A power of two changes no digit and keeps squares in range; counting from the least value loses none either.
        _, exponent = np.frexp(np.abs(distinct).max())
        scaled = np.ldexp(distinct, -exponent)
        offsets = _Double.exact_sum(scaled, np.full_like(scaled, -scaled[0]))
        weights = _Double(counts.astype(np.float64), np.zeros(len(counts)))
        values = offsets * weights
        return cls(
            np.concatenate(([0.0], np.cumsum(weights.high))), _running_sums(values), _running_sums(values * offsets)
        )

    def scatter(self, start: NDArray[np.intp], stop: NDArray[np.intp]) -> _Double:
        """Return the sum of squared distances to their mean of the distinct values start … stop − 1."""
        value = self.values[stop] - self.values[start]
        return self.squares[stop] - self.squares[start] - value * value / (self.images[stop] - self.images[start])


def _running_sums(terms: _Double) -> _Double:
    """Return the sums of the first 0 … m terms."""
    high, low = np.concatenate(([0.0], terms.high)), np.concatenate(([0.0], terms.low))
    step = 1
    while step < len(high):
        total = _Double(high[step:], low[step:]) + _Double(high[:-step], low[:-step])
        high[step:], low[step:] = total.high, total.low
        step *= 2
    return _Double(high, low)


def _best_cuts(sums: _Sums, n_subsets: int) -> NDArray[np.intp]:
    """Return the first distinct value of each subset but the first."""
    m = len(sums.images) - 1
    rests = [sums.scatter(np.arange(m), np.full(m, m))]
    for parts in range(2, n_subsets):
        rests.append(_scatter_of_rests(sums, rests[-1], parts))
    tolerance = _TIE * float(sums.squares.high[-1])
    cuts = []
    start = 0
    for parts in range(n_subsets, 1, -1):
        candidates = np.arange(start + 1, m - parts + 2)
        totals = sums.scatter(np.full_like(candidates, start), candidates) + rests[parts - 2][candidates]
        above = totals - totals[np.lexsort((totals.low, totals.high))[:1]]
        start = int(candidates[np.flatnonzero(above.high + above.low <= tolerance)[-1]])
        cuts.append(start)
    return np.asarray(cuts, np.intp)


def _scatter_of_rests(sums: _Sums, rests: _Double, parts: int) -> _Double:
    """Return, for each i, the least sum of squares of the distinct values i … m − 1 in `parts` subsets.

    `rests` holds the same for one subset less. Where the first cut lies best never moves down as i grows, so each
    i is searched between the best cuts of its neighbours of a coarser grid, all of one grid at once.
    """
    m = len(sums.images) - 1
    n = m - parts + 1
    best = np.zeros(n, np.intp)
    found = _Double(np.zeros(n), np.zeros(n))
    step = 1 << (n - 1).bit_length()
    while step >= 1:
        rows = np.arange(0, n, step) if step > n - 1 else np.arange(step, n, 2 * step)
        below = best[np.maximum(rows - step, 0)]
        above = np.where(rows + step < n, best[np.minimum(rows + step, n - 1)], n)
        low = np.maximum(rows + 1, below)
        widths = np.maximum(above - low, 0) + 1
        heads = np.cumsum(widths) - widths
        cuts = np.arange(widths.sum()) - np.repeat(heads - low, widths)
        totals = sums.scatter(np.repeat(rows, widths), cuts) + rests[cuts]
        least = np.minimum.reduceat(totals.high, heads)
        lower = np.where(totals.high == np.repeat(least, widths), totals.low, np.inf)
        lowest = np.minimum.reduceat(lower, heads)
        hits = np.flatnonzero(lower == np.repeat(lowest, widths))
        segments = np.repeat(np.arange(len(rows)), widths)[hits]
        best[rows[segments[::-1]]] = cuts[hits[::-1]]
        found.high[rows], found.low[rows] = least, lowest
        step //= 2
    return found

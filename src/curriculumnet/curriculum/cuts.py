"""Where sorted numbers are cut with the least sum of squares, by dynamic programming, as machine code.

A number here is two float64, a higher and a lower, of about 106 bits together (T. J. Dekker, "A floating-point
technique for extending the available precision", 1971).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.jit import compiled

_TIE = 2.0**-96
"""Two cuts whose sums of squares differ by no more than this share of all squares are equally good: a rounding."""


def best_cuts(values: NDArray[np.float64], counts: NDArray[np.intp], n_subsets: int) -> NDArray[np.int64]:
    """Return the first value of each subset but the first.

    Of equally good cuts, those with the larger first subset are taken, then with the larger second, and so on.

    Parameters
    ----------
    values : ndarray of float64, shape (m,)
        Different, in ascending order; m greater than `n_subsets`.
    counts : ndarray of int64, shape (m,)
        How often each is there.
    n_subsets : int
        2 or more.

    Returns
    -------
    ndarray of int64, shape (n_subsets - 1,)
    """
    # A power of two changes no digit and keeps squares in range; counting from the least value loses none either.
    _, exponent = np.frexp(np.abs(values).max())
    sums = _running_sums(np.ldexp(values, -exponent), counts.astype(np.float64))
    found: NDArray[np.int64] = _cuts(sums, n_subsets)
    return found


@compiled()
def _sum(a, b):  # type: ignore[no-untyped-def]
    """Return the sum of two float64, exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@compiled()
def _product(a, b):  # type: ignore[no-untyped-def]
    """Return the product of two float64, exactly."""
    product = a * b
    scaled = a * 134217729.0  # 2²⁷ + 1: the upper 26 bits
    a_high = scaled - (scaled - a)
    scaled = b * 134217729.0
    b_high = scaled - (scaled - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@compiled()
def _add(a, a_low, b, b_low):  # type: ignore[no-untyped-def]
    total, rest = _sum(a, b)
    return _sum(total, rest + (a_low + b_low))


@compiled()
def _times(a, a_low, b, b_low):  # type: ignore[no-untyped-def]
    product, rest = _product(a, b)
    return _sum(product, rest + (a * b_low + a_low * b))


@compiled()
def _by(a, a_low, divisor):  # type: ignore[no-untyped-def]
    quotient = a / divisor
    product, rest = _product(quotient, divisor)
    left, left_low = _add(a, a_low, -product, -rest)
    return _sum(quotient, (left + left_low) / divisor)


@compiled()
def _running_sums(values, counts):  # type: ignore[no-untyped-def]
    """Return sums over the first 0 … m values: of images, of their values and of the squares, each higher and lower."""
    sums = np.zeros((len(values) + 1, 5))
    for place in range(len(values)):
        offset, offset_low = _sum(values[place], -values[0])
        weighted, weighted_low = _times(offset, offset_low, counts[place], 0.0)
        squared, squared_low = _times(weighted, weighted_low, offset, offset_low)
        before, here = sums[place], sums[place + 1]
        here[0] = before[0] + counts[place]
        here[1], here[2] = _add(before[1], before[2], weighted, weighted_low)
        here[3], here[4] = _add(before[3], before[4], squared, squared_low)
    return sums


@compiled()
def _scatter(sums, start, stop):  # type: ignore[no-untyped-def]
    """Return the sum of squared distances to their mean of the values start … stop - 1."""
    value, value_low = _add(sums[stop, 1], sums[stop, 2], -sums[start, 1], -sums[start, 2])
    square, square_low = _add(sums[stop, 3], sums[stop, 4], -sums[start, 3], -sums[start, 4])
    middle, middle_low = _times(value, value_low, value, value_low)
    middle, middle_low = _by(middle, middle_low, sums[stop, 0] - sums[start, 0])
    return _add(square, square_low, -middle, -middle_low)


@compiled()
def _with_rest(sums, rests, start, cut):  # type: ignore[no-untyped-def]
    first, first_low = _scatter(sums, start, cut)
    return _add(first, first_low, rests[cut, 0], rests[cut, 1])


@compiled()
def _cuts(sums, n_subsets):  # type: ignore[no-untyped-def]
    m = len(sums) - 1
    # rests[k - 1, i]: the least sum of squares of the values i … m - 1 in k subsets.
    rests = np.zeros((n_subsets - 1, m, 2))
    for start in range(m):
        rests[0, start, 0], rests[0, start, 1] = _scatter(sums, start, m)
    for parts in range(2, n_subsets):
        _fill(sums, rests[parts - 2], rests[parts - 1], m - parts + 1)
    tolerance = _TIE * sums[m, 3]
    cuts = np.zeros(n_subsets - 1, np.int64)
    start = 0
    for parts in range(n_subsets, 1, -1):
        rest = rests[parts - 2]
        least, least_low = _with_rest(sums, rest, start, start + 1)
        for cut in range(start + 2, m - parts + 2):
            total, low = _with_rest(sums, rest, start, cut)
            if total < least or (total == least and low < least_low):
                least, least_low = total, low
        best = start + 1
        for cut in range(start + 1, m - parts + 2):
            total, low = _with_rest(sums, rest, start, cut)
            above, above_low = _add(total, low, -least, -least_low)
            if above + above_low <= tolerance:
                best = cut
        cuts[n_subsets - parts] = best
        start = best
    return cuts


@compiled()
def _fill(sums, rests, found, n):  # type: ignore[no-untyped-def]
    """Fill in the least sums of squares with one subset more, of the values from each of the first n on.

    Where the first cut lies best never moves down as the beginning grows, so each is sought between the best cuts of
    its neighbours of a coarser grid.
    """
    best = np.zeros(n, np.int64)
    step = 1
    while step < n:
        step *= 2
    first = True
    while step >= 1:
        row = 0 if first else step
        while row < n:
            low = row + 1
            if row >= step and best[row - step] > low:
                low = best[row - step]
            high = best[row + step] if row + step < n and not first else n
            least, least_low, at = np.inf, np.inf, low
            for cut in range(low, max(low, high) + 1):
                total, total_low = _with_rest(sums, rests, row, cut)
                if total < least or (total == least and total_low < least_low):
                    least, least_low, at = total, total_low, cut
            found[row, 0], found[row, 1], best[row] = least, least_low, at
            row += 2 * step
        first = False
        step //= 2

"""Subsets: one number per image, lower is cleaner, cut into the clean, the noisy and the highly noisy; and its rank.

The cut is one-dimensional k-means solved to its optimum by dynamic programming over the sorted distinct values. Two
cuts that are equally good must be seen to be equal, so sums are kept in two float64 numbers each (`cuts`): with one, a
far outlier would decide the digits of every sum, and rounding would decide the ties.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

CHOICES = (2, 3, 4, 5)
"""Numbers of subsets that `choose_n_subsets` chooses from."""


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
    if n_subsets == 1:
        return np.zeros(len(values), np.int8)
    from curriculumnet.curriculum.cuts import best_cuts

    cuts = best_cuts(distinct, counts, n_subsets)
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
    for given in map(_checked, categories):
        # By a power of two, so that squares stay in range.
        values = np.ldexp(given, -np.frexp(np.abs(given).max(initial=0.0))[1])
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

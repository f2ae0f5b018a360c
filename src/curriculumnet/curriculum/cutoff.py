"""The cut-off d_c: an element of the ascending order of all distances, found without sorting them.

Positive floats have the order of their bits, so that an element in their order is found by two histograms: of the upper
bits, 65,536 bins, and within one of these bins of the lower ones, where each bin is one number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LOW_BITS = 15
"""Bits of a distance that the first histogram leaves to the second."""

UPPER_BINS, LOWER_BINS = 1 << 31 - LOW_BITS, 1 << LOW_BITS
"""Bins of the two histograms."""


class Pairs(ABC):
    """The distances of all pairs of different rows, of which images are counted by distance.

    Attributes
    ----------
    total : int
        How many pairs of images there are.
    """

    def __init__(self, copies: NDArray[np.int64]) -> None:
        self.total = (int(copies.sum()) ** 2 - int((copies**2).sum())) // 2

    @abstractmethod
    def histogram(self) -> NDArray[np.int64]:
        """Count pairs of images by the upper bits of their distance; shape (65,536,)."""

    @abstractmethod
    def histogram_within(self, upper: int) -> NDArray[np.int64]:
        """Count the pairs whose distance has these upper bits by its lower ones; shape (32,768,)."""

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return self.histogram()

    def element(self, place: int) -> np.float32:
        """Return the distance at a place of the ascending order of all pairs."""
        ends = self._counts.cumsum()
        upper = int(ends.searchsorted(place, side="right"))
        within = self.histogram_within(upper).cumsum()
        lower = int(within.searchsorted(place - (ends[upper] - self._counts[upper]), side="right"))
        return _float(upper, lower)

    def least_positive(self) -> np.float32:
        """Return the least distance above 0; 0 where there is none."""
        for upper in self._counts.nonzero()[0].tolist():
            within = self.histogram_within(upper)
            within[: 1 if upper == 0 else 0] = 0
            if within.any():
                return _float(upper, int(within.nonzero()[0][0]))
        return np.float32(0)


def find_cutoff(pairs: Pairs, copies: NDArray[np.int64], percent: float) -> np.float32:
    """Return the element at place ⌊n²k/100⌋ of all n² distances in ascending order, or the least positive one.

    Parameters
    ----------
    pairs : Pairs
        The distances of all rows or, for an estimate, of some: the element is then at the same share of theirs.
    copies : ndarray of int64, shape (m,)
        How many images each of all rows stands for; n is their sum.
    percent : float
        k.
    """
    n = int(copies.sum())
    # Images that are at distance 0 from each other because they are the same, or one.
    zeros = int((copies**2).sum())
    place = min(int(n * n * percent / 100), n * n - 1)
    if place >= zeros and pairs.total:
        cutoff = pairs.element(min(pairs.total * (place - zeros) // (n * n - zeros), pairs.total - 1))
        if cutoff > 0:
            return cutoff
    return pairs.least_positive()


def _float(upper: int, lower: int) -> np.float32:
    return np.float32(np.array([upper << LOW_BITS | lower], np.int32).view(np.float32)[0])

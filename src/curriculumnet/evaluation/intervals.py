"""Bootstrap intervals over images: between which values a figure would lie on other images of the same kind.

The percentile bootstrap of Efron (1979): n images are drawn from the n measured ones with replacement, the figure is
taken on them, again and again; the interval holds the middle 95 % of what comes out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

_ENDS = (0.025, 0.975)

_DRAWS = 10_000
"""Draws for a paired interval: its ends then vary with the seed by about 1 % of its length."""


def share_interval(count: NDArray[np.int64], n: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % bootstrap interval of shares, exactly.

    The number of errors among n images that are drawn with replacement is binomial, with the measured share as its
    probability; so its quantiles are known and nothing need be drawn.

    A share of 0 or 1 gives an interval of no length, whatever n is, and so does n = 1: images that are all alike say
    nothing about others. The interval is then no measure of certainty.

    Parameters
    ----------
    count : ndarray of int64, shape (k,)
        Errors.
    n : ndarray of int64, shape (k,)
        Images, at least 1.

    Returns
    -------
    low, high : ndarray of float64, shape (k,)
        In 0 … 1.
    """
    low, high = (binom.ppf(end, n, count / n) / n for end in _ENDS)
    return low, high


def paired_interval(better: int, worse: int, n: int, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of n values that are 1, 0 or -1.

    The images are drawn in pairs of answers: what both runs find easy or hard cancels out. How many of the drawn images
    have each value is multinomial, so that a draw costs three numbers, not n.

    Where all values are equal (no image, or every one, differs in the same way; n = 1) the interval has no length.

    Parameters
    ----------
    better : int
        How many values are 1.
    worse : int
        How many are -1.
    n : int
        How many there are, at least 1.
    seed : int
        The same seed gives the same interval.

    Returns
    -------
    low, high : float
        In -1 … 1.
    """
    shares = np.array([better, worse, n - better - worse]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=_DRAWS)
    low, high = np.quantile(drawn[:, 0] - drawn[:, 1], _ENDS, method="inverted_cdf") / n
    return float(low), float(high)

"""How many of a category's labels are wrong, as far as density shows it.

A category's images are right ones, whose features resemble those of the others, and wrong ones, which resemble the
category no more than images of other categories do. How these resemble it is known; so the share of wrong ones is how
much of their distribution fits below that of the category's own images. It is read where right images are rare: among
those that are less typical than the median of the others.

J. D. Storey, "A direct approach to false discovery rates", Journal of the Royal Statistical Society B 64, 2002: the
share of true nulls from p-values above λ = 0.5; here the p-value of an image is the share of other categories' images
that resemble the category at least as much. The probability that an image's label is wrong is its local false discovery
rate (B. Efron, R. Tibshirani et al., "Empirical Bayes analysis of a microarray experiment", Journal of the American
Statistical Association 96, 2001).

Wrong images that look like right ones are not seen: those of a category that looks alike, and those which the network
that gave the features has learnt by heart. Right images in the lower half of the others are counted as wrong: where
features are poor, or a category shows several things, the estimate is too high. So it is with two or three categories,
because images of this one that lie among the others by a wrong label then raise their median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import binomtest

_LAMBDA = 0.5
"""The p-value above which right images are taken to be rare; Storey's."""

_FEWEST_OTHERS = 20
"""Images of other categories that are needed to know how such ones resemble a category."""


@dataclass(frozen=True)
class NoiseRate:
    """The estimated share of wrong labels in one category.

    Attributes
    ----------
    value : float
        In 0 … 1.
    low, high : float
        The 95 % interval of Wilson for the images counted, at the same scale: what another draw of as many images of
        the category would give. It does not hold what the estimate cannot see.
    right : ndarray of float64, shape (n,)
        The estimated probability that each image's label is right, which grows with how typical it is: 1 minus the rate
        times how much rarer the category's own images are at its place than others' are.
    """

    value: float
    low: float
    high: float
    right: NDArray[np.float64]


def noise_rate(own: NDArray[Any], others: NDArray[Any], foreign: NDArray[np.bool_] | None = None) -> NoiseRate | None:
    """Estimate the share of wrong labels in one category.

    Parameters
    ----------
    own : ndarray of float, shape (n, d)
        The features of the category's images, seen from the mean of all categories and of unit length
        (`rows.directions`).
    others : ndarray of float, shape (m, d)
        The same of a sample of the images of all other categories.
    foreign : ndarray of bool, shape (m,), optional
        Which of the sample count, where it has images of the category itself too.

    Returns
    -------
    NoiseRate or None
        None where it cannot be told: n below 2, fewer than 20 others, or others that all resemble the category equally.
    """
    n = len(own)
    if n < 2 or (len(others) if foreign is None else np.count_nonzero(foreign)) < _FEWEST_OTHERS:
        return None
    total = own.sum(axis=0, dtype=np.float64)
    # An image does not resemble itself.
    # By einsum, which copies nothing into float64 and has the same digits for the same row.
    typical = np.einsum("ij,j->i", own, total, dtype=np.float64) - np.einsum("ij,ij->i", own, own, dtype=np.float64)
    typical /= n - 1
    resemblance = others @ total / n
    if foreign is not None:
        resemblance = resemblance[foreign]
    border = np.quantile(resemblance, 1 - _LAMBDA)
    share = float((resemblance < border).mean())
    if share == 0:
        return None
    below = int((typical < border).sum())
    interval = binomtest(below, n).proportion_ci(0.95, method="wilson")
    rate, low, high = (min(1.0, float(value) / share) for value in (below / n, interval.low, interval.high))
    return NoiseRate(rate, low, high, 1 - np.minimum(1, rate * _density_ratio(typical, resemblance)))


def _density_ratio(own: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return at each own value how dense the others are there, as a multiple of how dense the own ones are.

    The ratio is taken to fall, and is then the slope of the least concave majorant of the others' distribution over the
    own one, which is isotonic regression (U. Grenander, "On the theory of mortality measurement", 1956).
    """
    values, inverse, counts = np.unique(own, return_inverse=True, return_counts=True)
    reached = np.searchsorted(np.sort(others), values, side="right") / len(others)
    slopes = np.diff(reached, prepend=0.0) / (counts / len(own))
    found: NDArray[np.float64] = isotonic_regression(slopes, weights=counts, increasing=False).x
    return found[inverse]

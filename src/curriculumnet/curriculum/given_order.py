"""The order that the source itself gives, such as an image's place among the results of a search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def given_order(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks as doubts; images without one come right behind the last that has one.

    Parameters
    ----------
    ranks : ndarray of float64, shape (n,)
        Lower is better; NaN where the source gives none.

    Returns
    -------
    ndarray of float64, shape (n,)
        Finite. All the same where no image has a rank.
    """
    known = np.isfinite(ranks)
    doubt = ranks + 0.0
    # The next number after the last rank, and none farther: how far is not known, and would decide where is cut.
    doubt[~known] = np.nextafter(ranks[known].max(), np.inf) if known.any() else 0.0
    return doubt

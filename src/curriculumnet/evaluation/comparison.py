"""Two runs on the same images: the paired difference of their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curriculumnet.evaluation.intervals import paired_interval


@dataclass(frozen=True)
class Difference:
    """What a run wins over a baseline.

    Attributes
    ----------
    value : float
        The baseline's error minus the run's, in -1 … 1: positive means that the run is better.
    low, high : float
        The 95 % paired bootstrap interval.
    n : int
        Images.
    improved, fell, unchanged : int
        Categories whose error is lower, higher, equal in the run; those without images are none of these.
    """

    value: float
    low: float
    high: float
    n: int
    improved: int
    fell: int
    unchanged: int

    def turned(self) -> Difference:
        """Return what the baseline wins over the run."""
        # 0 is taken away, not negated, for a share of -0.0 would be shown with its sign.
        return Difference(0 - self.value, 0 - self.high, 0 - self.low, self.n, self.fell, self.improved, self.unchanged)


def compare(
    run: NDArray[np.bool_], baseline: NDArray[np.bool_], targets: NDArray[np.int64], *, seed: int = 0
) -> Difference:
    """Compare two runs on the same images.

    Parameters
    ----------
    run, baseline : ndarray of bool, shape (n,), n at least 1
        Whether each answers an image wrongly, in the same order.
    targets : ndarray of int64, shape (n,)
        The category of each image's label.
    seed : int
        Decides the draws of the interval.
    """
    won = baseline.astype(np.int64) - run
    n = len(won)
    better, worse = int((won > 0).sum()), int((won < 0).sum())
    low, high = paired_interval(better, worse, n, seed)
    sizes = np.bincount(targets)
    # Sums of whole numbers, which floats hold exactly.
    by_category = np.bincount(targets, weights=won)[sizes > 0]
    return Difference(
        value=(better - worse) / n,
        low=low,
        high=high,
        n=n,
        improved=int((by_category > 0).sum()),
        fell=int((by_category < 0).sum()),
        unchanged=int((by_category == 0).sum()),
    )

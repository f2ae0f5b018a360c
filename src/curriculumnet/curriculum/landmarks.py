"""Density peaks of a category that is too large to compare all with all: from landmarks, in time that grows with n.

The cut-off and the densities are estimated from a sample of the images, the landmarks, as a poll estimates; the hundred
images that seem densest are then counted exactly, so that the centre is the best of these, and all distances to it are
exact. A reading of S. Guo et al. 2018 (see `density`) for categories of hundreds of thousands of images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.cutoff import find_cutoff
from curriculumnet.curriculum.density import DensityPeaks, check_settings, peaks_of
from curriculumnet.curriculum.devices import all_pairs, some_pairs
from curriculumnet.curriculum.rows import compared

CANDIDATES = 100
"""How many of the seemingly densest images are counted exactly."""


def landmark_peaks(
    features: NDArray[Any],
    *,
    landmarks: int = 8192,
    mean: NDArray[Any] | None = None,
    cutoff_percent: float = 60.0,
    metric: str = "sqeuclidean",
    kernel: str = "cutoff",
    seed: int = 0,
    device: str = "cpu",
) -> DensityPeaks:
    """Estimate densities from landmarks, and find the centre and the distances to it.

    Identical rows are equal in every result, and the order of the rows changes nothing but which of several equally
    good centres is taken (the first row).

    Parameters
    ----------
    features : ndarray, shape (n, d)
        One finite row per image. Time grows with n · landmarks · d, memory is twice the rows as float32.
    landmarks : int
        m, how many images to sample, at least 2 and fewer than n.
    mean, cutoff_percent, metric, kernel, device
        As for `density.density_peaks`.
    seed : int
        Decides the sample.

    Returns
    -------
    DensityPeaks
        `density` is an estimate, but of `CANDIDATES` rows exact; `delta` is the distance to the nearest denser
        landmark or, where none is denser, to the centre; `cutoff` an estimate; the rest exact. `density_error` is the
        standard error of density / n, at most 0.5 / √m for the cut-off kernel.

    Raises
    ------
    ValueError
        Features are not a matrix of at least one row and column, or not finite; `landmarks` is out of its range; there
        is no such device.
    """
    check_settings(metric, kernel, cutoff_percent)
    if not 2 <= landmarks < len(features):
        raise ValueError(f"landmarks must lie in 2 … {len(features) - 1:,}, not {landmarks:,}")
    rows = compared(features, mean, metric)
    n, copies = int(rows.copies.sum()), rows.copies
    places, sampled = _sample(copies, landmarks, seed)
    own = np.zeros(len(rows), np.int64)
    own[places] = sampled
    everything = np.arange(len(rows))
    with all_pairs(rows.of(places, sampled), device) as strips:
        cutoff = find_cutoff(strips, copies, cutoff_percent)
    with some_pairs(rows, device) as blocks:
        if cutoff == 0:
            least = blocks.least_positive(everything, places)
            cutoff = np.float32(least if np.isfinite(least) else 0)
        count = blocks.weigh if kernel == "gaussian" else blocks.near
        if cutoff == 0:
            # All images are equal.
            share = np.full(len(rows), 1.0 if kernel == "gaussian" else 0.0)
        else:
            near = count(everything, places, sampled, cutoff)
            others = landmarks - own
            share = np.divide(near - own, others, out=np.zeros(len(rows)), where=others > 0)
        density = share * (n - copies) + (0.0 if cutoff == 0 and kernel == "cutoff" else copies - 1)
        if cutoff > 0:
            candidates = np.argsort(-density, kind="stable")[:CANDIDATES]
            exact = count(candidates, everything, copies, cutoff)
            density[candidates] = exact - 1
            best = candidates[density[candidates] == density[candidates].max()]
        else:
            best = everything
        centre = rows.most_central(best)
        to_centre = rows.distances_to(centre)
        heights = density.astype(np.float32)
        nearest = blocks.nearest_higher(everything, places, heights)
    delta = np.where(np.isinf(nearest), to_centre, nearest.astype(np.float64))
    delta[centre] = to_centre.max()
    error = math.sqrt(float((share * (1 - share)).max()) / landmarks * (n - landmarks) / (n - 1))
    return peaks_of(rows, heights.astype(np.float64), delta, to_centre, centre, cutoff, error)


def _sample(copies: NDArray[np.int64], landmarks: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Draw images; return which of the different rows they are, and how many of each were drawn."""
    ends = copies.cumsum()
    images = np.random.default_rng(seed).choice(int(ends[-1]), landmarks, replace=False)
    return np.unique(ends.searchsorted(images, side="right"), return_counts=True)

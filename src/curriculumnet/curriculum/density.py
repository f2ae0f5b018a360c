"""Density peaks: how crowded each image's neighbourhood is within its category, and how far each lies from the centre.

S. Guo, W. Huang et al., "CurriculumNet: Weakly Supervised Learning from Large-Scale Web Images", ECCV 2018, section
3.2, and the authors' slides of the WebVision workshop 2017; after A. Rodriguez and A. Laio, "Clustering by fast search
and find of density peaks", Science 2014.

Products are float32, in small categories float64, and kept as float32: small whole numbers stay exact, and in small
categories values that differ by rounding alone become equal. Each distance is computed once and kept once, so that the
matrix is symmetric to the bit and takes half of its room; where that is more than a gigabyte, distances are computed
anew in each of the four passes over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from curriculumnet.curriculum.cuda import CudaStrips
    from curriculumnet.curriculum.rows import Rows
    from curriculumnet.curriculum.strips import Strips

METRICS = {
    "sqeuclidean": "squared Euclidean distance",
    "cosine": "one minus the cosine",
}
"""The ways to measure how far two images are apart."""

KERNELS = {
    "cutoff": "the images nearer than d_c are counted",
    "gaussian": "every image counts by exp(-distance / d_c)",
}
"""The ways to count an image's neighbours."""

_AT_ONCE = 256
"""Rows whose distances to all others are computed at a time."""


@dataclass(frozen=True)
class DensityPeaks:
    """What `density_peaks` found in one category.

    Attributes
    ----------
    density : ndarray of float64, shape (n,)
        ρ: the images of the category nearer than the cut-off, the image itself not counted.
    delta : ndarray of float64, shape (n,)
        δ: distance to the nearest denser image; where none is denser, to the farthest image.
    distance_to_centre : ndarray of float64, shape (n,)
        Distance to the centre; 0 at the centre itself.
    centre : int
        Row of the densest image.
    cutoff : float
        d_c; 0 when all images are equal.
    density_error : float or None
        Standard error of density / n at most, where densities are estimated; None where they are exact.
    """

    density: NDArray[np.float64]
    delta: NDArray[np.float64]
    distance_to_centre: NDArray[np.float64]
    centre: int
    cutoff: float
    density_error: float | None = None


def density_peaks(
    features: NDArray[Any],
    *,
    mean: NDArray[Any] | None = None,
    cutoff_percent: float = 60.0,
    metric: str = "sqeuclidean",
    kernel: str = "cutoff",
    device: str = "cpu",
) -> DensityPeaks:
    """Find densities, centre and the distances to it among the images of one category.

    Identical rows are equal in every result, and the order of the rows changes nothing but which of several equally
    good centres is taken (the first row).

    Parameters
    ----------
    features : ndarray, shape (n, d)
        One finite row per image; n and d at least 1. Time grows with n²·d. Memory is 2·n² bytes for the distances, in
        place of that 32 MB a thread from 23,171 different rows on; and the rows twice.
    mean : ndarray, shape (d,), optional
        Subtracted from the rows, which are then made unit length. None leaves them as they are.
    cutoff_percent : float
        k in 0 … 100: the cut-off is the distance below which k percent of all n² lie.
    metric : {"sqeuclidean", "cosine"}
        How far two rows are apart. A zero row is orthogonal to every other and equal to other zero rows, where lengths
        do not count (any metric with `mean`, and cosine).
    kernel : {"cutoff", "gaussian"}
        How neighbours are counted. Identical images at a cut-off of 0 count fully in the Gaussian one.
    device : str
        Where distances are computed: ``cpu``, or a GPU, ``cuda`` or ``cuda:N``. There, distances are kept where they
        take at most half of the memory that is free.

    Returns
    -------
    DensityPeaks

    Raises
    ------
    ValueError
        Features are not a matrix of at least one row and column, or not finite; a setting is out of its range;
        there is no such device.
    MemoryError
        The GPU's memory is full.
    """
    check_settings(metric, kernel, cutoff_percent)
    from curriculumnet.curriculum.cutoff import find_cutoff
    from curriculumnet.curriculum.devices import all_pairs
    from curriculumnet.curriculum.rows import compared

    rows = compared(features, mean, metric)
    with all_pairs(rows, device) as strips:
        cutoff = find_cutoff(strips, rows.copies, cutoff_percent)
        density = _density(strips, rows.copies, cutoff, kernel)
        centre = rows.most_central(np.flatnonzero(density == density.max()))
        to_centre = rows.distances_to(centre)
        delta = _delta(strips, density, centre, to_centre)
    return peaks_of(rows, density, delta, to_centre, centre, cutoff)


def peaks_of(
    rows: Rows,
    density: NDArray[np.float64],
    delta: NDArray[np.float64],
    to_centre: NDArray[np.float64],
    centre: int,
    cutoff: np.float32,
    density_error: float | None = None,
) -> DensityPeaks:
    """Return what was found of the different rows for all images, in the units of their distances."""
    return DensityPeaks(
        density=density[rows.inverse],
        delta=delta[rows.inverse] * rows.unit,
        distance_to_centre=to_centre[rows.inverse] * rows.unit,
        centre=int(rows.first[centre]),
        cutoff=float(cutoff) * rows.unit,
        density_error=density_error,
    )


def check_settings(metric: str, kernel: str, cutoff_percent: float) -> None:
    """Check that settings are in their range.

    Raises
    ------
    ValueError
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
    if not 0 <= cutoff_percent <= 100:
        raise ValueError(f"cutoff_percent must lie in 0 … 100, not {cutoff_percent}")


def _density(
    strips: Strips | CudaStrips, copies: NDArray[np.int64], cutoff: np.float32, kernel: str
) -> NDArray[np.float64]:
    """Return how many other images are near, counted by the kernel."""
    if cutoff == 0:
        # All images are equal.
        return np.full(len(copies), copies.sum() - 1.0 if kernel == "gaussian" else 0.0)
    near = strips.near(cutoff) if kernel == "cutoff" else strips.weigh(cutoff)
    # As float32, sums that rounding tells apart are equal.
    return np.asarray((near + (copies - 1)).astype(np.float32).astype(np.float64))


def _delta(
    strips: Strips | CudaStrips, density: NDArray[np.float64], centre: int, to_centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance to the nearest denser row; to the farthest one where none is denser."""
    delta = strips.nearest_higher(density.astype(np.float32)).astype(np.float64)
    delta[centre] = to_centre.max()
    peaks = np.flatnonzero(np.isinf(delta))
    for start in range(0, len(peaks), _AT_ONCE):
        some = peaks[start : start + _AT_ONCE]
        delta[some] = strips.between(some).max(axis=1)
    return delta

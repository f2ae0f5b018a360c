"""Density peaks: how crowded each image's neighbourhood is within its category, and how far each lies from the centre.

S. Guo, W. Huang et al., "CurriculumNet: Weakly Supervised Learning from Large-Scale Web Images", ECCV 2018, section
3.2, and the authors' slides of the WebVision workshop 2017; after A. Rodriguez and A. Laio, "Clustering by fast search
and find of density peaks", Science 2014.

Products are taken in float64 and kept as float32: small whole numbers stay exact, and values that differ by rounding
alone become equal. Each distance is computed once and kept once, so that the matrix is symmetric to the bit and takes
half of its room; the other half is what selecting the cut-off needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

SAME = 1e-6
"""Two rows whose squared distance is at most this share of the sum of their squared lengths are at distance 0."""

_AT_MEAN = 1e-6
"""A row no farther from the mean than this share of its length is at the mean: the rest is float32 rounding."""

_STRIP_ELEMENTS = 4_000_000
"""Distances computed at a time: 32 MB of float64."""


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
    """

    density: NDArray[np.float64]
    delta: NDArray[np.float64]
    distance_to_centre: NDArray[np.float64]
    centre: int
    cutoff: float


def density_peaks(
    features: NDArray[Any],
    *,
    mean: NDArray[Any] | None = None,
    cutoff_percent: float = 60.0,
    metric: str = "sqeuclidean",
    kernel: str = "cutoff",
) -> DensityPeaks:
    """Find densities, centre and the distances to it among the images of one category.

    Identical rows are equal in every result, and the order of the rows changes nothing but which of several equally
    good centres is taken (the first row).

    Parameters
    ----------
    features : ndarray, shape (n, d)
        One finite row per image; n and d at least 1. Time grows with n²·d, memory is about one n × n float32 matrix.
    mean : ndarray, shape (d,), optional
        Subtracted from the rows, which are then made unit length. None leaves them as they are.
    cutoff_percent : float
        k in 0 … 100: the cut-off is the distance below which k percent of all n² lie.
    metric : {"sqeuclidean", "cosine"}
        How far two rows are apart. A zero row is orthogonal to every other and equal to other zero rows, where lengths
        do not count (any metric with `mean`, and cosine).
    kernel : {"cutoff", "gaussian"}
        How neighbours are counted. Identical images at a cut-off of 0 count fully in the Gaussian one.

    Returns
    -------
    DensityPeaks

    Raises
    ------
    ValueError
        Features are not a matrix of at least one row and column, or not finite; a setting is out of its range.
    """
    rows = _checked(features, cutoff_percent, metric, kernel)
    distinct, first, inverse, copies = _distinct(rows)
    if mean is None and metric == "sqeuclidean":
        distinct, unit = _rescaled(distinct)
        strips = _euclidean(distinct)
    else:
        unit = 1.0 if metric == "cosine" else 2.0
        strips = _angular(directions(distinct, mean))
    cutoff = _cutoff(strips, copies, cutoff_percent)
    density = _density(strips, copies, cutoff, kernel)
    delta = _delta(strips, density)
    centre = _centre(strips, copies, density, first)
    to_centre = _row(strips, centre).astype(np.float64)
    return DensityPeaks(
        density=density[inverse],
        delta=delta[inverse] * unit,
        distance_to_centre=to_centre[inverse] * unit,
        centre=int(first[centre]),
        cutoff=float(cutoff) * unit,
    )


def _checked(features: NDArray[Any], cutoff_percent: float, metric: str, kernel: str) -> NDArray[np.floating[Any]]:
    """Return the features as floats, without negative zeros, once everything is in its range."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
    if not 0 <= cutoff_percent <= 100:
        raise ValueError(f"cutoff_percent must lie in 0 … 100, not {cutoff_percent}")
    rows = np.asarray(features)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"features must have at least one row and one column, not the shape {rows.shape}")
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("features must be finite, but some are NaN or infinite")
    return np.asarray(rows + 0.0)


def _distinct(
    rows: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Return the distinct rows in an order of their own, each one's first place, each row's place there, and counts."""
    rows = np.ascontiguousarray(rows)
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, inverse, copies = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    return rows[first].astype(np.float64), first, inverse.reshape(-1), copies.astype(np.int64)


def _rescaled(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Divide by a power of two, so that no square leaves float32's range; return what it does to distances."""
    _, exponent = np.frexp(np.abs(rows).max())
    return np.ldexp(rows, -exponent), float(np.ldexp(1.0, 2 * exponent))


def directions(rows: NDArray[np.float64], mean: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return rows of unit length, seen from the mean; zero where there is no direction."""
    if mean is not None:
        rows = rows - np.asarray(mean, np.float64)
    _, exponents = np.frexp(np.abs(rows).max(axis=1))
    rows = np.ldexp(rows, -exponents[:, None])
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    at_mean = 0.0 if mean is None else _AT_MEAN * float(np.linalg.norm(np.asarray(mean, np.float64)))
    lengths[np.ldexp(lengths, exponents) <= at_mean] = np.inf
    return np.asarray(rows / lengths[:, None])


def _starts(n: int) -> list[tuple[int, int]]:
    """Return the first and last-plus-one row of each strip."""
    height = max(1, _STRIP_ELEMENTS // n)
    return [(start, min(n, start + height)) for start in range(0, n, height)]


def _euclidean(rows: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """Return squared distances as strips: strip s holds rows [a, b) against rows [a, n)."""
    squares = np.einsum("ij,ij->i", rows, rows)
    strips = []
    for start, stop in _starts(len(rows)):
        lengths = squares[start:stop, None] + squares[None, start:]
        distances = rows[start:stop] @ rows[start:].T
        distances *= -2
        distances += lengths
        lengths *= SAME
        distances[distances <= lengths] = 0
        strips.append(_mirrored(distances))
    return strips


def _angular(unit_rows: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """Return one minus the cosine as strips; half of the squared distance of unit rows."""
    zero = np.logical_not(np.any(unit_rows, axis=1))
    strips = []
    for start, stop in _starts(len(unit_rows)):
        distances = unit_rows[start:stop] @ unit_rows[start:].T
        np.subtract(1, distances, out=distances)
        distances[distances <= SAME] = 0
        distances[np.ix_(zero[start:stop], zero[start:])] = 0
        strips.append(_mirrored(distances))
    return strips


def _mirrored(strip: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a strip whose leading square is symmetric to the bit, with a diagonal of zeros."""
    kept = strip.astype(np.float32)
    square = kept[:, : len(kept)]
    upper = np.triu(square, 1)
    square[:] = upper + upper.T
    return kept


def _row(strips: list[NDArray[np.float32]], row: int) -> NDArray[np.float32]:
    """Return all distances of one row."""
    parts = []
    start = 0
    for strip in strips:
        stop = start + len(strip)
        if row < stop:
            parts.append(strip[row - start])
            break
        parts.append(strip[:, row - start])
        start = stop
    return np.concatenate(parts)


def _cutoff(strips: list[NDArray[np.float32]], copies: NDArray[np.int64], percent: float) -> np.float32:
    """Return the element at place ⌊n²k/100⌋ of all n² distances in ascending order, or the least positive one."""
    n = int(copies.sum())
    zeros = int((copies**2).sum())
    place = min(int(n * n * percent / 100), n * n - 1)
    pairs = _pairs(strips, copies, (n * n - zeros) // 2)
    if place >= zeros:
        at = (place - zeros) // 2
        pairs.partition(at)
        if pairs[at] > 0:
            return np.float32(pairs[at])
    least = np.min(pairs, where=pairs > 0, initial=np.inf)
    return np.float32(least) if np.isfinite(least) else np.float32(0)


def _pairs(strips: list[NDArray[np.float32]], copies: NDArray[np.int64], total: int) -> NDArray[np.float32]:
    """Return the distances of all pairs of images that are not copies of each other, each pair once."""
    pairs = np.empty(total, np.float32)
    single = copies.max() == 1
    filled = row = 0
    for strip in strips:
        for place in range(len(strip)):
            others = strip[place, place + 1 :]
            if not single:
                others = np.repeat(others, copies[row] * copies[row + 1 :])
            pairs[filled : filled + len(others)] = others
            filled += len(others)
            row += 1
    return pairs


def _density(
    strips: list[NDArray[np.float32]], copies: NDArray[np.int64], cutoff: np.float32, kernel: str
) -> NDArray[np.float64]:
    """Return how many other images are near, counted by the kernel."""
    weights = copies.astype(np.float64)
    density = np.zeros(len(copies))
    start = 0
    for strip in strips:
        stop = start + len(strip)
        near = _near(strip, cutoff, kernel)
        density[start:stop] += near @ weights[start:]
        density[stop:] += weights[start:stop] @ near[:, stop - start :]
        start = stop
    itself = _near(np.zeros((1, 1), np.float32), cutoff, kernel)[0, 0]
    density -= itself
    return density.astype(np.float32).astype(np.float64)


def _near(distances: NDArray[np.float32], cutoff: np.float32, kernel: str) -> NDArray[np.float64]:
    if kernel == "cutoff":
        return (distances < cutoff).astype(np.float64)
    return np.exp(distances / -np.float64(cutoff)) if cutoff else np.ones(distances.shape)


def _delta(strips: list[NDArray[np.float32]], density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance to the nearest denser row; to the farthest one where none is denser."""
    delta = np.full(len(density), np.inf)
    start = 0
    for strip in strips:
        stop = start + len(strip)
        here, onward = density[start:stop, None], density[None, start:]
        nearest = np.min(strip, axis=1, where=onward > here, initial=np.inf)
        delta[start:stop] = np.minimum(delta[start:stop], nearest)
        nearest = np.min(strip, axis=0, where=here > onward, initial=np.inf)
        delta[start:] = np.minimum(delta[start:], nearest)
        start = stop
    for peak in np.flatnonzero(np.isinf(delta)):
        delta[peak] = _row(strips, int(peak)).max()
    return delta


def _centre(
    strips: list[NDArray[np.float32]],
    copies: NDArray[np.int64],
    density: NDArray[np.float64],
    first: NDArray[np.intp],
) -> int:
    """Return the densest row; among equals the one nearest to all others, then the one that came first."""
    densest = np.flatnonzero(density == density.max())
    totals = [float((_row(strips, int(row)).astype(np.float64) * copies).sum()) for row in densest]
    return int(min(zip(totals, first[densest], densest, strict=True))[2])

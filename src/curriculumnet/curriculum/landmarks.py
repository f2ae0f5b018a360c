"""Density peaks of a category that is too large to compare all with all: from landmarks, in time that grows with n.

The cut-off and the densities are estimated from a sample of the images, the landmarks, as a poll estimates; the hundred
images that seem densest are then counted exactly, so that the centre is the best of these, and all distances to it are
exact. A reading of S. Guo et al. 2018 (see `density`) for categories of hundreds of thousands of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.density import DensityPeaks, check_settings, find_cutoff, peaks_of
from curriculumnet.curriculum.jit import compiled
from curriculumnet.curriculum.rows import SAME, Rows, compared
from curriculumnet.curriculum.strips import Strips, to_distances
from curriculumnet.curriculum.threads import one_thread_per_product, thread_count

CANDIDATES = 100
"""How many of the seemingly densest images are counted exactly."""

_BLOCK_ELEMENTS = 2**22
"""Distances that a thread has at a time: 16 MB."""


def landmark_peaks(
    features: NDArray[Any],
    *,
    landmarks: int = 8192,
    mean: NDArray[Any] | None = None,
    cutoff_percent: float = 60.0,
    metric: str = "sqeuclidean",
    kernel: str = "cutoff",
    seed: int = 0,
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
    mean, cutoff_percent, metric, kernel
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
        Features are not a matrix of at least one row and column, or not finite; `landmarks` is out of its range.
    """
    check_settings(metric, kernel, cutoff_percent)
    if not 2 <= landmarks < len(features):
        raise ValueError(f"landmarks must lie in 2 … {len(features) - 1:,}, not {landmarks:,}")
    rows = compared(features, mean, metric)
    n, copies = int(rows.copies.sum()), rows.copies
    places, sampled = _sample(copies, landmarks, seed)
    own = np.zeros(len(rows), np.int64)
    own[places] = sampled
    with one_thread_per_product():
        of_landmarks = find_cutoff(Strips(rows.of(places, sampled)), copies, cutoff_percent)
        cutoff = of_landmarks or _least_positive(rows, places)
        if cutoff == 0:
            # All images are equal.
            share = np.full(len(rows), 1.0 if kernel == "gaussian" else 0.0)
        else:
            near = _near(rows, np.arange(len(rows)), places, sampled, cutoff, kernel)
            others = landmarks - own
            share = np.divide(near - own, others, out=np.zeros(len(rows)), where=others > 0)
        density = share * (n - copies) + (0.0 if cutoff == 0 and kernel == "cutoff" else copies - 1)
        if cutoff > 0:
            candidates = np.argsort(-density, kind="stable")[:CANDIDATES]
            exact = _near(rows, candidates, np.arange(len(rows)), copies, cutoff, kernel)
            density[candidates] = exact - 1
            best = candidates[density[candidates] == density[candidates].max()]
        else:
            best = np.arange(len(rows))
        centre = rows.most_central(best)
        to_centre = rows.distances_to(centre)
        heights = density.astype(np.float32)
        delta = _delta(rows, places, heights, centre, to_centre)
    error = math.sqrt(float((share * (1 - share)).max()) / landmarks * (n - landmarks) / (n - 1))
    return peaks_of(rows, heights.astype(np.float64), delta, to_centre, centre, cutoff, error)


def _sample(copies: NDArray[np.int64], landmarks: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Draw images; return which of the different rows they are, and how many of each were drawn."""
    ends = copies.cumsum()
    images = np.random.default_rng(seed).choice(int(ends[-1]), landmarks, replace=False)
    return np.unique(ends.searchsorted(images, side="right"), return_counts=True)


def _least_positive(rows: Rows, places: NDArray[np.intp]) -> np.float32:
    """Return the least distance above 0 from the landmarks; 0 where there is none."""
    least: list[np.float32] = []

    def seek(distances: NDArray[np.float32], _these: slice, _those: slice) -> None:
        least.append(distances.min(where=distances > 0, initial=np.inf))

    _between(rows, np.arange(len(rows)), places, seek)
    found = min(least)
    return np.float32(found if np.isfinite(found) else 0)


def _near(
    rows: Rows,
    which: NDArray[np.intp],
    others: NDArray[np.intp],
    weights: NDArray[np.int64],
    cutoff: np.float32,
    kernel: str,
) -> NDArray[np.float64]:
    """Count for some rows those of others that are near, each with its weight, by the kernel."""
    found = np.zeros(len(which))
    factor = -1 / np.float64(cutoff)

    def count(distances: NDArray[np.float32], these: slice, those: slice) -> None:
        if kernel == "cutoff":
            _count_near(distances, weights[those], cutoff, found[these])
        else:
            _weigh(distances, weights[those], factor, found[these])

    _between(rows, which, others, count)
    return found


def _delta(
    rows: Rows,
    places: NDArray[np.intp],
    heights: NDArray[np.float32],
    centre: int,
    to_centre: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the distance to the nearest denser landmark; to the centre, or of that to the farthest, where none is."""
    nearest = np.full(len(rows), np.inf, np.float32)

    def seek(distances: NDArray[np.float32], these: slice, those: slice) -> None:
        _nearest_higher(distances.view(np.int32), heights[these], heights[places[those]], nearest.view(np.int32)[these])

    _between(rows, np.arange(len(rows)), places, seek)
    delta = np.where(np.isinf(nearest), to_centre, nearest.astype(np.float64))
    delta[centre] = to_centre.max()
    return delta


def _between(
    rows: Rows,
    which: NDArray[np.intp],
    others: NDArray[np.intp],
    work: Callable[[NDArray[np.float32], slice, slice], object],
) -> None:
    """Do some work on the distances between some rows and others, a block at a time; each thread on rows of its own.

    `others` are in ascending order.
    """
    width = min(len(others), _BLOCK_ELEMENTS // 256)
    height = max(1, _BLOCK_ELEMENTS // width)
    threads = thread_count()
    height = min(height, -(-len(which) // threads))
    values, squares = rows.values, rows.squares
    columns = [slice(start, start + width) for start in range(0, len(others), width)]

    def do(these: slice) -> None:
        rows_here = which[these]
        for those in columns:
            rows_there = others[those]
            distances = values[rows_here] @ values[rows_there].T
            to_distances(distances, squares[rows_here], squares[rows_there], SAME)
            # A zero vector's product with itself would not tell that it is at distance 0.
            place = np.minimum(rows_there.searchsorted(rows_here), len(rows_there) - 1)
            itself = np.flatnonzero(rows_there[place] == rows_here)
            distances[itself, place[itself]] = 0
            work(distances.astype(np.float32, copy=False), these, those)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(do, [slice(start, start + height) for start in range(0, len(which), height)]))


@compiled()
def _count_near(distances, weights, cutoff, found):  # type: ignore[no-untyped-def]
    for row in range(len(distances)):
        count = np.int64(0)
        for column in range(weights.size):
            count += weights[column] if distances[row, column] < cutoff else np.int64(0)
        found[row] += count


@compiled()
def _weigh(distances, weights, factor, found):  # type: ignore[no-untyped-def]
    for row in range(len(distances)):
        total = 0.0
        for column in range(weights.size):
            total += weights[column] * math.exp(distances[row, column] * factor)
        found[row] += total


@compiled()
def _nearest_higher(bits, heights, other_heights, nearest):  # type: ignore[no-untyped-def]
    # As whole numbers, see `strips`.
    for row in range(len(bits)):
        mine, least = heights[row], nearest[row]
        for column in range(other_heights.size):
            here = bits[row, column] if other_heights[column] > mine else nearest[row]
            least = here if here < least else least
        nearest[row] = least

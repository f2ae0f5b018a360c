"""k-means in feature space: the simplest way to group a category's images, to compare the density design with.

S. Guo et al., "CurriculumNet", ECCV 2018, figure 1, show its groups beside theirs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def feature_kmeans(
    features: NDArray[Any],
    *,
    mean: NDArray[Any] | None = None,
    metric: str = "sqeuclidean",
    n_clusters: int = 3,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Group one category's images by k-means, the tightest group first.

    Identical rows are equal in both results, and the order of the rows changes nothing.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        One finite row per image; n and d at least 1.
    mean : ndarray, shape (d,), optional
        Subtracted from the rows, which are then made unit length. None leaves them as they are.
    metric : {"sqeuclidean", "cosine"}
        With cosine rows are made unit length in any case.
    n_clusters : int
        How many groups; fewer where there are fewer different rows.
    seed : int
        Where k-means begins; the best of ten beginnings is taken.

    Returns
    -------
    doubt : ndarray of float64, shape (n,)
        The group's number, and a share of 1 for the squared distance to its mean.
    group : ndarray of int8, shape (n,)
        0 is the group with the least mean squared distance to its mean.

    Raises
    ------
    ValueError
        Features are not a matrix of at least one row and column, or not finite.
    """
    from sklearn.cluster import KMeans

    from curriculumnet.curriculum.rows import compared

    rows = compared(features, mean, metric)
    clusters = KMeans(min(n_clusters, len(rows)), n_init=10, random_state=seed % 2**32)
    label = clusters.fit_predict(rows.values, sample_weight=rows.copies)
    # An empty cluster, which k-means leaves where rows hardly differ, is no group.
    _, label = np.unique(label, return_inverse=True)
    counts = np.bincount(label, rows.copies)
    means = np.stack([np.bincount(label, rows.copies * column) for column in rows.values.T], axis=1) / counts[:, None]
    apart = ((rows.values - means[label]) ** 2).sum(axis=1, dtype=np.float64)
    tightness = np.bincount(label, rows.copies * apart) / counts
    number = np.empty(len(counts), np.int64)
    number[np.argsort(tightness, kind="stable")] = np.arange(len(counts))
    doubt = number[label] + apart / (2 * max(float(apart.max()), np.finfo(np.float64).tiny))
    return doubt[rows.inverse], number[label].astype(np.int8)[rows.inverse]

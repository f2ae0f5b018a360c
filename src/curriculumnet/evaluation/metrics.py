"""Errors of probabilities: per image, per category and over all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.evaluation.intervals import share_interval

_BLOCK_ROWS = 4096
"""Images that are ranked at a time: of 1,000 categories, in float32, 16 MB."""

_PLACES = {"top1_error": 1, "top5_error": 5}
"""Each metric, and among how many of the most probable categories the label must be."""


def metrics_of(n_categories: int) -> tuple[str, ...]:
    """Return the metrics that mean something: of up to five categories, the label is always among five.

    Parameters
    ----------
    n_categories : int
    """
    return tuple(metric for metric, places in _PLACES.items() if places < n_categories)


def label_ranks(probabilities: NDArray[Any], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each image's label among the categories, the most probable in place 0.

    Of equally probable categories the earlier one comes first, as with `numpy.argmax`. Where a probability is not a
    number the network has given no answer: the label's place is then the last one plus one.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n, C)
    targets : ndarray of int64, shape (n,)
        The category of each image's label.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    n, n_categories = probabilities.shape
    ranks = np.empty(n, np.int64)
    for start in range(0, n, _BLOCK_ROWS):
        # Comparing float16 is many times slower than float32.
        block = probabilities[start : start + _BLOCK_ROWS].astype(np.float32)
        label = targets[start : start + len(block), None]
        own = np.take_along_axis(block, label, axis=1)
        earlier = np.arange(n_categories) < label
        above = ((block > own) | ((block == own) & earlier)).sum(axis=1)
        ranks[start : start + len(block)] = np.where(np.isnan(block).any(axis=1), n_categories, above)
    return ranks


def is_wrong(ranks: NDArray[np.int64], metric: str) -> NDArray[np.bool_]:
    """Return whether each image counts as an error.

    Parameters
    ----------
    ranks : ndarray of int64, shape (n,)
        As `label_ranks` gives them.
    metric : {"top1_error", "top5_error"}

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    return ranks >= _PLACES[metric]


def figures(ranks: NDArray[np.int64], targets: NDArray[np.int64], categories: list[str]) -> list[dict[str, Any]]:
    """Return every error with its interval, over all images and in each category that has some.

    Parameters
    ----------
    ranks : ndarray of int64, shape (n,), n at least 1
        As `label_ranks` gives them.
    targets : ndarray of int64, shape (n,)
        The category of each image's label.
    categories : list of str
        The categories' names.

    Returns
    -------
    list of dict
        `metric`, `category` (None for all), `value`, `low`, `high`, `n`.
    """
    sizes = np.bincount(targets, minlength=len(categories))
    present = np.flatnonzero(sizes)
    names: list[str | None] = [None, *(categories[index] for index in present)]
    n = np.concatenate([[len(targets)], sizes[present]])
    rows = []
    for metric in metrics_of(len(categories)):
        wrong = is_wrong(ranks, metric)
        errors = np.bincount(targets[wrong], minlength=len(categories))
        counts = np.concatenate([[wrong.sum()], errors[present]])
        low, high = share_interval(counts, n)
        columns = (names, (counts / n).tolist(), low.tolist(), high.tolist(), n.tolist())
        keys = ("category", "value", "low", "high", "n")
        rows += [{"metric": metric} | dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows

"""Holding out validation images: stratified, seeded, and never parting what belongs together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from curriculumnet.images.duplicates import same_pictures

LEAST = 5
"""Categories with fewer usable images keep all of them for training."""


def hold_out(
    digests: NDArray[np.uint8],
    category: NDArray[np.int64],
    *,
    share: float,
    seed: int,
    groups: Sequence[NDArray[np.int64]] = (),
) -> NDArray[np.bool_]:
    """Choose the images to hold out.

    Equal pictures, and images of one group, are always on the same side. What is chosen depends on the pictures, the
    categories, the groups and the seed, and not on the order or the names of the files.

    Parameters
    ----------
    digests : ndarray of uint8, shape (n, 16)
        The pixel digest of each image; contiguous.
    category : ndarray of int64, shape (n,)
        0 … C-1.
    share : float
        The share of each category to hold out, in [0, 1). At least one image of a category of five or more, none of
        a smaller one; one image is always left for training.
    seed : int
        Another seed, another choice.
    groups : sequence of ndarray of int64, shape (n,)
        Images of one non-negative number in any of them stay together; -1 is no group.

    Returns
    -------
    ndarray of bool, shape (n,)
        Exactly the share, rounded, of each category; near it where groups or pictures under several labels are larger
        than what is still to be held out.
    """
    chosen = np.zeros(len(digests), dtype=np.bool_)
    if not len(digests) or share <= 0:
        return chosen
    picture = same_pictures(digests)
    unit = _connected(picture, [group for group in groups if (group >= 0).any()])
    count = np.bincount(category)
    target = to_hold_out(count, share)
    rows, starts, ends = _units_in_seeded_order(unit, _shuffled(digests, seed))
    kinds, wanted, size = category[rows], target.tolist(), count.tolist()
    taken, left = [0] * len(wanted), int(target.sum())
    # Large units are only taken where the small ones did not suffice, as they would overshoot what is wanted.
    for most in (0, len(rows)):
        for start, end in zip(starts, ends, strict=True):
            if left <= 0:
                break
            added = {int(kinds[start]): 1} if end - start == 1 else Counter(sorted(kinds[start:end].tolist()))
            if chosen[rows[start]] or end - start > left + most or not _improves(taken, added, wanted, size):
                continue
            for kind, n in added.items():
                taken[kind] += n
            left -= end - start
            chosen[rows[start:end]] = True
    _give_each_one(chosen, category, rows, np.sort(starts), target)
    return chosen


def to_hold_out(count: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return how many images of each category are to be held out, of how many it has."""
    target = np.where(count >= LEAST, np.maximum(1, np.rint(count * share)), 0).astype(np.int64)
    return np.minimum(target, np.maximum(count - 1, 0))


def _give_each_one(
    chosen: NDArray[np.bool_],
    category: NDArray[np.int64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    target: NDArray[np.int64],
) -> None:
    """Hold out one unit more for each category that has none yet, the smallest that leaves every category some."""
    n = len(target)
    total, taken = np.bincount(category, minlength=n), np.bincount(category, chosen, minlength=n)
    # The units lie one after the other.
    ends = np.append(starts[1:], len(rows))
    smallest_first = np.argsort(ends - starts, kind="stable")
    for kind in np.flatnonzero((target > 0) & (taken == 0)).tolist():
        if taken[kind]:
            continue
        has = np.add.reduceat(category[rows] == kind, starts) > 0
        for number in smallest_first[has[smallest_first]].tolist():
            unit = rows[starts[number] : ends[number]]
            added = np.bincount(category[unit], minlength=n)
            allowed = (target > 0) & (added + taken < total)
            if not chosen[unit].any() and allowed[added > 0].all():
                chosen[unit] = True
                taken += added
                break


def _improves(taken: list[int], added: Mapping[int, int], wanted: list[int], size: list[int]) -> bool:
    """Say whether holding out some more brings their categories nearer to what is wanted, and empties none."""
    gain = 0.0
    for kind, n in added.items():
        if wanted[kind] == 0 or taken[kind] + n >= size[kind]:
            return False
        gain += ((taken[kind] - wanted[kind]) ** 2 - (taken[kind] + n - wanted[kind]) ** 2) / wanted[kind]
    return gain > 0


def _units_in_seeded_order(
    unit: NDArray[np.int64], random: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return all rows, unit by unit, and each unit's start and end in them; units by their least random number."""
    by_unit = np.lexsort((random, unit))
    starts = np.flatnonzero(np.diff(unit[by_unit], prepend=-1))
    ends = np.append(starts[1:], len(unit))
    order = np.argsort(random[by_unit][starts], kind="stable")
    return by_unit, starts[order], ends[order]


def _shuffled(digests: NDArray[np.uint8], seed: int) -> NDArray[np.uint64]:
    """Return a random number per picture, which its digest and the seed decide (splitmix64)."""
    mixed = digests.view("<u8")[:, 0] ^ np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _connected(picture: NDArray[np.int64], groups: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return one number for all images that a chain of equal pictures and common groups connects."""
    if not groups:
        return picture
    nodes = int(picture.max() + 1)
    if len(groups) == 1:
        grouped = groups[0] >= 0
        last = np.full(nodes, -1)
        last[picture[grouped]] = groups[0][grouped]
        if (last[picture[grouped]] == groups[0][grouped]).all():
            # No picture is in two groups, as is usual: there are no chains, and scipy, 0.2 s to load, is not needed.
            return np.where(last[picture] >= 0, nodes + last[picture], picture)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for group in groups:
        grouped = group >= 0
        ends.append((picture[grouped], nodes + group[grouped]))
        nodes += int(group.max() + 1)
    pictures, numbers = (np.concatenate(each) for each in zip(*ends, strict=True))
    graph = coo_array((np.ones(len(pictures)), (pictures, numbers)), shape=(nodes, nodes))
    return np.asarray(connected_components(graph, directed=False)[1][picture], dtype=np.int64)

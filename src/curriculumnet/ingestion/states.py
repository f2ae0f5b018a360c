"""The state of each file, once all were looked into: copies, leaks, categories that are left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.images.duplicates import (
    CONFIRMED_COSINE,
    CONFIRMED_RADIUS,
    MOST_PAIRS,
    NEAR_RADIUS,
    TooManyPairs,
    confirmed,
    first_match,
    first_of_each,
    in_several_categories,
    near_groups,
    near_pairs,
    same_hashes,
    same_pictures,
)
from curriculumnet.ingestion.findings import STATES, Findings

KEYS = ("crawl", "val", "test")
"""The sources in the order of their rows; a source's code is its place here."""

_CRAWL = KEYS.index("crawl")
_USED, _COPY, _LEAK, _EXCLUDED = (STATES.index(state) for state in ("used", "copy", "leak", "excluded"))


@dataclass(frozen=True)
class States:
    """What became of each of n files.

    Attributes
    ----------
    state : ndarray of uint8, shape (n,)
        Codes of `ingestion.findings.STATES`.
    reason : ndarray of int32, shape (n,)
        Codes of the findings' `reasons`.
    copy_of : ndarray of int64, shape (n,)
        The image it is a copy or leak of; -1 where it is none.
    label_conflict : ndarray of bool, shape (n,)
        Whether the same picture lies in another category of its source too.
    near_group : ndarray of int64, shape (n,)
        The representative of the used images that are all near copies of each other; -1 where there is none.
    near_radius : int or None
        The bits of 64 in which near copies differ at most, where that had to be less than usual because too many are
        near.
    """

    state: NDArray[np.uint8]
    reason: NDArray[np.int32]
    copy_of: NDArray[np.int64]
    label_conflict: NDArray[np.bool_]
    near_group: NDArray[np.int64]
    near_radius: int | None

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which files take part."""
        return self.state == _USED


def judge(
    source: NDArray[np.int8],
    category: NDArray[np.int64],
    found: Findings,
    *,
    exclude: Collection[int] = (),
    min_images: int = 1,
    features: NDArray[Any] | None = None,
) -> States:
    """Give each file the first state that applies to it, and find near copies among those that are used.

    Parameters
    ----------
    source : ndarray of int8, shape (n,)
        Codes of `KEYS`.
    category : ndarray of int64, shape (n,)
        A number from 0 on for each label.
    found : Findings
        What the scan found in each; reasons are added to its `reasons`.
    exclude : collection of int
        Categories to leave out.
    min_images : int
        Categories with fewer usable images of the crawl are left out.
    features : ndarray of numbers, shape (n, d), optional
        By which near copies are confirmed; NaN, where a file has none, confirms nothing.
    """
    state, reason = found.state.copy(), found.reason.copy()
    copy_of = np.full(len(found), -1, dtype=np.int64)
    conflict = np.zeros(len(found), dtype=np.bool_)
    picture = np.full(len(found), -1, dtype=np.int64)
    readable = state == _USED
    picture[readable] = same_pictures(found.pixel_digest[readable])

    def mark(rows: NDArray[np.int64], originals: NDArray[np.int64], into: int, of: str) -> None:
        state[rows], copy_of[rows] = into, originals
        same = (found.digest[rows] == found.digest[originals]).all(axis=1)
        for key, name in enumerate(KEYS):
            for equal, what in ((True, "bytes"), (False, "pixels")):
                these = rows[(source[originals] == key) & (same == equal)]
                if len(these):
                    reason[these] = found.reasons.code(f"same {what} as {of.format(source=name)}")

    crawl = np.flatnonzero(readable & (source == _CRAWL))
    given = np.flatnonzero(readable & (source != _CRAWL))
    match = first_match(picture[crawl], picture[given])
    mark(crawl[match >= 0], given[match[match >= 0]], _LEAK, "a {source} image")
    for key in range(len(KEYS)):
        rows = np.flatnonzero((source == key) & (state == _USED))
        conflict[rows] = in_several_categories(picture[rows], category[rows])
        first = rows[first_of_each(picture[rows], category[rows])] if len(rows) else rows
        mark(rows[first != rows], first[first != rows], _COPY, "an earlier image of its category")
    usable = np.bincount(category[(source == _CRAWL) & (state == _USED)], minlength=int(category.max(initial=0)) + 1)
    for categories, why in (
        (np.isin(np.arange(len(usable)), list(exclude)), "category left out"),
        (usable < min_images, "category of too few images"),
    ):
        rows = np.flatnonzero((state == _USED) & categories[category])
        if len(rows):
            state[rows], reason[rows] = _EXCLUDED, found.reasons.code(why)
    return States(state, reason, copy_of, conflict, *_near_copies(found, state, features))


def _near_copies(
    found: Findings, state: NDArray[np.uint8], features: NDArray[Any] | None
) -> tuple[NDArray[np.int64], int | None]:
    """Return the groups of the used images that are all near copies of each other, and the radius if it is a lesser."""
    group = np.full(len(found), -1, dtype=np.int64)
    usual = radius = NEAR_RADIUS if features is None else CONFIRMED_RADIUS
    rows = np.flatnonzero((state == _USED) & found.decoded)
    if len(rows):
        hashes = found.hashes[rows]
        size = found.width[rows].astype(np.int64) * found.height[rows]
        same = same_hashes(hashes)
        pairs, radius = _pairs(hashes, usual)
        if features is not None:
            pairs = pairs[confirmed(rows[pairs], features, CONFIRMED_COSINE)]
            same = _confirmed_same(same, rows, features)
        leader = near_groups(len(rows), pairs, same=same, size=size)
        group[rows] = np.where(leader >= 0, rows[leader], -1)
    return group, radius if radius < usual else None


def _pairs(hashes: NDArray[np.uint64], radius: int) -> tuple[NDArray[np.int64], int]:
    """Return the pairs of near copies within the largest radius that gives no more than can be made groups of."""
    while radius:
        try:
            return near_pairs(hashes, radius, mirrored=True, most=MOST_PAIRS), radius
        except TooManyPairs:
            radius -= 1
    return np.zeros((0, 2), np.int64), 0


def _confirmed_same(same: NDArray[np.int64], rows: NDArray[np.int64], features: NDArray[Any]) -> NDArray[np.int64]:
    """Return for each row the first of equal hashes whose features it confirms; itself where there is none.

    Equal hashes are no pairs. Those that the first of them does not confirm are tried with the first of these, and so
    on.
    """
    leader = np.arange(len(same))
    left = np.flatnonzero(same != leader)
    first = same[left]
    while len(left):
        good = confirmed(rows[np.stack([first, left], axis=1)], features, CONFIRMED_COSINE)
        leader[left[good]] = first[good]
        left = left[~good]
        _, at, kind = np.unique(same[left], return_index=True, return_inverse=True)
        first = left[at][kind]
        left, first = left[first != left], first[first != left]
    return leader

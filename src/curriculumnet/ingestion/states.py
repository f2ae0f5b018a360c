"""The state of each file, once all were looked into: copies, leaks, categories that are left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curriculumnet.images.duplicates import (
    NEAR_RADIUS,
    first_match,
    first_of_each,
    in_several_categories,
    near_groups,
    near_pairs,
    same_hashes,
)
from curriculumnet.ingestion.scan import Found


@dataclass(frozen=True)
class States:
    """What became of each file.

    Attributes
    ----------
    states, reasons : list of str
    copy_of : ndarray of int64, shape (n,)
        The image it is a copy or leak of; -1 where it is none.
    label_conflict : ndarray of bool, shape (n,)
        Whether the same picture lies in another category of its source too.
    near_group : ndarray of int64, shape (n,)
        The representative of the used images that are all near copies of each other; -1 where there is none.
    """

    states: list[str]
    reasons: list[str]
    copy_of: NDArray[np.int64]
    label_conflict: NDArray[np.bool_]
    near_group: NDArray[np.int64]


def judge(
    sources: Sequence[str],
    labels: Sequence[str],
    found: Sequence[Found],
    *,
    exclude: Collection[str] = (),
    min_images: int = 1,
) -> States:
    """Give each file the first state that applies to it, and find near copies among those that are used.

    Parameters
    ----------
    sources : sequence of str, length n
        ``crawl``, ``val`` or ``test``.
    labels : sequence of str, length n
        The category of each.
    found : sequence of Found, length n
        What the scan found in each.
    exclude : collection of str
        Categories to leave out.
    min_images : int
        Categories with fewer usable images of the crawl are left out.
    """
    states, reasons = [each.state for each in found], [each.reason for each in found]
    copy_of = np.full(len(found), -1, dtype=np.int64)
    conflict = np.zeros(len(found), dtype=np.bool_)
    category = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)
    readable = np.array([each.state == "used" for each in found], dtype=np.bool_)
    picture = np.full(len(found), -1, dtype=np.int64)
    digests = np.array([each.pixel_digest for each in found if each.state == "used"], dtype="S32")
    picture[readable] = np.unique(digests, return_inverse=True)[1]
    source = np.asarray(sources, dtype=object)

    def mark(rows: NDArray[np.int64], originals: NDArray[np.int64], state: str, of: str) -> None:
        for row, original in zip(rows.tolist(), originals.tolist(), strict=True):
            same = "bytes" if found[row].digest == found[original].digest else "pixels"
            states[row], reasons[row] = state, f"same {same} as {of.format(source=sources[original])}"
        copy_of[rows] = originals

    crawl = np.flatnonzero(readable & (source == "crawl"))
    given = np.flatnonzero(readable & (source != "crawl"))
    match = first_match(picture[crawl], picture[given])
    mark(crawl[match >= 0], given[match[match >= 0]], "leak", "a {source} image")
    for key in ("crawl", "val", "test"):
        rows = np.flatnonzero((source == key) & np.array([state == "used" for state in states], dtype=np.bool_))
        conflict[rows] = in_several_categories(picture[rows], category[rows])
        first = rows[first_of_each(picture[rows], category[rows])] if len(rows) else rows
        mark(rows[first != rows], first[first != rows], "copy", "an earlier image of its category")
    _exclude(sources, labels, states, reasons, set(exclude), min_images)
    return States(states, reasons, copy_of, conflict, _near_copies(found, states))


def _near_copies(found: Sequence[Found], states: list[str]) -> NDArray[np.int64]:
    """Return the groups of the used images that are all near copies of each other."""
    group = np.full(len(found), -1, dtype=np.int64)
    rows = np.array(
        [row for row, each in enumerate(found) if states[row] == "used" and each.phash is not None], dtype=np.int64
    )
    if len(rows):
        hashes = np.array([(found[row].phash, found[row].phash_centre) for row in rows.tolist()], dtype=np.uint64)
        size = np.array([(found[row].width or 0) * (found[row].height or 0) for row in rows.tolist()], dtype=np.int64)
        pairs = near_pairs(hashes, NEAR_RADIUS, mirrored=True)
        leader = near_groups(len(rows), pairs, same=same_hashes(hashes), size=size)
        group[rows] = np.where(leader >= 0, rows[leader], -1)
    return group


def _exclude(
    sources: Sequence[str],
    labels: Sequence[str],
    states: list[str],
    reasons: list[str],
    exclude: set[str],
    min_images: int,
) -> None:
    """Put the used images of categories that are left out into state ``excluded``."""
    usable = dict.fromkeys(labels, 0)
    for source, label, state in zip(sources, labels, states, strict=True):
        usable[label] += source == "crawl" and state == "used"
    for row, (label, state) in enumerate(zip(labels, states, strict=True)):
        if state == "used" and label in exclude:
            states[row], reasons[row] = "excluded", "category left out"
        elif state == "used" and usable[label] < min_images:
            states[row], reasons[row] = "excluded", "category of too few images"

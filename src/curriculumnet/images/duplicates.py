"""The same picture twice: digests of bytes and pixels, perceptual hashes, and who is a copy of whom, on arrays.

Near copies are found in three steps: `perceptual_hashes` of each picture, `near_pairs` of these, `near_groups` of the
pairs. Rows whose hashes are equal (`same_hashes`) are one to the search and come together again in the groups, because
the pairs of a thousand equal rows would be half a million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations
from math import comb, log2
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from curriculumnet.images.sampling import SAMPLES, sampled

NEAR_RADIUS = 6
"""Bits of 64 in which the hashes of near copies may differ.

Of the 168 known near copies of tinyweb40, 91, 98, 99 and 99 % are found within 5, 6, 7 and 8 bits, and of its 35
million other pairs 0, 3, 3 and 6, where mirrored ones count (benchmarks/duplicates.py). Wrong pairs grow by 2.5 times
with each bit, and with the square of the number of pictures: of a million pictures, tens of thousands are to be
expected. There they need another look, at the features (`CONFIRMED_RADIUS`).
"""

CONFIRMED_RADIUS, CONFIRMED_COSINE = 8, 0.7
"""The same where features have a say: bits that may differ, and the least cosine of the features of near copies.

Of those known near copies 99 % are found with EfficientNet-Lite0's features at 64 px, and none of the 35 million other
pairs. One in a thousand pairs of any two pictures has a cosine of 0.68.
"""
MOST_PAIRS = 16_000_000
"""Near pairs of hashes, four for each pair of pictures, of which groups are made: that takes 20 seconds and 1 GB. Of a
million different pictures tens of thousands are near; of 3,000 frames of a camera that stands still all."""

_AT_ONCE = 4096
"""Pairs whose features are in memory at a time."""

_DIGEST_BYTES = 16

_CUT = 4
"""Samples left out on each side for the hash of the centre, which is 92 % of each side. Of 400 photographs cropped by
5, 8 and 10 %, 96, 98 and 95 % are found within 6 bits with it, and 67, 26 and 12 % without it."""
_GREY = np.array([2, 5, 1], dtype=np.float32)
"""Weights of red, green and blue, in eighths. Whole numbers, like all that follows until the sign is taken."""
_UNIT = 1 << 12
"""One, in the waves: sums stay below 2^49, so that float64 holds them exactly."""
_WAVES = 10
_LOWEST = sorted(((v, u) for v in range(_WAVES) for u in range(_WAVES)), key=lambda vu: (vu[0] ** 2 + vu[1] ** 2, vu))
_FREQUENCIES = np.array(_LOWEST[1:65])
"""The 64 lowest vertical and horizontal frequencies, in half waves per picture, without the mean (0, 0)."""
_PLACES = _FREQUENCIES @ [_WAVES, 1]
_MIRROR = np.packbits(_FREQUENCIES[:, 1] % 2 == 1).view(">u8").astype(np.uint64)[0]
"""The bits of odd horizontal frequencies: these waves change their sign in a mirror."""
_FLAT = 0.5
"""Grey levels of 255. A picture in which no wave is as high as this shows nothing but the coder's noise."""
_LEAST = _FLAT * float(_GREY.sum()) * (_UNIT * SAMPLES) ** 2 / 4
"""The coefficient of a wave of this height that varies in both directions."""

_BRUTE = 20_000
"""Up to so many hashes all are compared with all: half a second, where loading and compiling the search take 1.3."""


def byte_digest(data: bytes) -> str:
    """Return the BLAKE2b-128 digest of a file's bytes as 32 hex digits."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Return a 128-bit digest (XXH3) of a decoded picture's size and pixels as 32 hex digits.

    Files of different bytes have the same one when they show exactly the same picture. It need not withstand forgery,
    and takes a twentieth of the time that decoding takes; a cryptographic one would take as long as decoding.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        Contiguous.
    """
    height, width = pixels.shape[:2]
    digest = xxhash.xxh3_128(f"{width} {height}\n".encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def perceptual_hash(pixels: NDArray[np.uint8]) -> np.uint64:
    """Return 64 bits that hardly change when a picture is encoded again, scaled, or made brighter.

    They are the first of `perceptual_hashes`.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)

    Examples
    --------
    >>> slope = np.arange(256, dtype=np.uint8)[None, :, None].repeat(200, axis=0).repeat(3, axis=2)
    >>> bool(perceptual_hash(slope) == perceptual_hash(slope[::2, ::2]))
    True
    """
    return np.uint64(perceptual_hashes(pixels)[0])


def perceptual_hashes(pixels: NDArray[np.uint8], sample: NDArray[np.float32] | None = None) -> NDArray[np.uint64]:
    """Return the perceptual hash of a picture and that of its centre, which is the whole of a slightly cropped copy.

    A bit is the sign of a coefficient of the picture's discrete cosine transform, for the 64 lowest frequencies but the
    mean, as in pHash (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010). Different
    from there, the threshold is 0 and not the median, so that the mirror image's hash follows from the hash alone;
    frequencies are chosen by their length, not from a square. The picture's grey is sampled at 96 x 96 places, and
    squeezed to a square thereby. All sums are exact, so that a picture has the same hash on every machine, and the hash
    of the mirror image is exactly `mirrored` unless a coefficient is exactly 0.

    Takes about 50 microseconds, whatever the picture's size, half of which is the sample.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    sample : ndarray of float32, shape (3, 96, 96), optional
        What `sampled` returns for these pixels, where that is at hand.

    Returns
    -------
    ndarray of uint64, shape (2,)
        Of the whole, and of the middle 92 % of each side. 0 where that is flat: it says nothing, and `near_pairs`
        leaves it out.
    """
    colours = (sampled(pixels) if sample is None else sample).reshape(3, -1)
    grey = (_GREY @ colours).astype(np.float64).reshape(SAMPLES, SAMPLES).T
    down, across = _waves()
    coefficients = ((down @ grey).reshape(2, _WAVES, SAMPLES) @ across).reshape(2, -1).take(_PLACES, axis=1)
    highest = np.abs(coefficients).max(axis=1)
    hashes = np.packbits(coefficients > 0, axis=1).view(">u8")[:, 0].astype(np.uint64)
    hashes[highest < _LEAST] = 0
    return hashes


def mirrored(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes that the mirror images have (left and right exchanged).

    Parameters
    ----------
    hashes : ndarray of uint64, any shape

    Returns
    -------
    ndarray of uint64, the same shape
    """
    return hashes ^ _MIRROR


def same_hashes(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each row the first row that has the same hashes; its own number where all its hashes are 0 (flat).

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n,) or (n, k)

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    columns = _columns(hashes)
    first = [_firsts(column) for column in columns.T]
    rows = np.arange(len(hashes), dtype=np.int64)
    return np.where(columns.any(axis=1), first_of_each(*first) if len(first) > 1 else first[0], rows)


class TooManyPairs(Exception):  # noqa: N818
    """More rows are near each other than were allowed for."""


def near_pairs(
    hashes: NDArray[np.uint64], radius: int, *, mirrored: bool = False, most: int = 2**62
) -> NDArray[np.int64]:
    """Return all pairs of rows whose hashes differ in at most `radius` bits; none is missed.

    Of rows with the same hashes only the first is in pairs (`same_hashes` tells which these are), and hashes of 0,
    which are those of flat pictures, are left out: both could otherwise make n² pairs.

    Up to 20,000 hashes are compared with one another. More are searched by their parts: the 64 bits are dealt out to
    p > radius parts, of which a pair within the radius has at least p - radius equal. So the hashes are sorted into
    buckets by every choice of p - radius parts in turn, and compared within the buckets (the tables of G. Manku,
    A. Jain, A. Das Sarma, Detecting near-duplicates for web crawling, WWW 2007, section 3, one at a time). p is chosen
    by an estimate of the time. Within 6 bits and mirrored, 10 million hashes take 40 seconds on one core and 1 GB; the
    memory is 100 bytes per hash, and 50 per pair, so that m near rows of different hashes still cost m² / 2 pairs.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n,) or (n, k)
        With several hashes per row, rows are near where any hash of one is near any hash of the other.
    radius : int
        At least 0 and below 64. Time grows steeply with it.
    mirrored : bool
        Rows are near also where the hash of one is near the mirrored hash of the other. Doubles the comparisons.
    most : int
        How many pairs of hashes may be found, which of rows with several hashes can be several times the pairs of rows.

    Returns
    -------
    ndarray of int64, shape (m, 2)
        Row numbers, the lower first, in ascending order; each pair once.

    Raises
    ------
    ValueError
        If the radius is out of its range.
    TooManyPairs
        There are more than `most`; no more memory than they would take has been asked for.

    Examples
    --------
    >>> near_pairs(np.array([0b1111, 0b1111 << 30, 0b0111, 0b1111], dtype=np.uint64), 1).tolist()
    [[0, 2]]
    """
    if not 0 <= radius < 64:
        raise ValueError(f"radius is {radius}: it must be at least 0 and below 64")
    kept = np.flatnonzero(same_hashes(hashes) == np.arange(len(hashes)))
    columns = _columns(hashes)
    flat = (columns if len(kept) == len(columns) else columns[kept]).ravel()
    there = np.flatnonzero(flat)
    row = (there // columns.shape[1]).astype(np.int32 if len(kept) < 2**31 else np.int64)
    flat = flat[there]
    # Memory decides how many pictures can be compared.
    del there
    mirror = _MIRROR if mirrored else np.uint64(0)
    search = _all_against_all if len(row) <= _BRUTE else _by_parts
    # One number per pair sorts ten times as fast as two.
    codes, count = [], 0
    for found in search(flat, radius, mirror, most):
        count += len(found)
        if count > most:
            raise TooManyPairs(f"more than {most:,}")
        codes.append(_codes(row[found].astype(np.int64), len(kept)))
    code = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *codes]))
    return kept[np.stack(np.divmod(code, max(len(kept), 1)), axis=1)]


def confirmed(pairs: NDArray[np.int64], features: NDArray[Any], least: float) -> NDArray[np.bool_]:
    """Say of each pair of rows whether their features point nearly the same way.

    Hashes see where a picture is light and dark, features what it shows; of pairs that are near by chance few agree in
    both.

    Parameters
    ----------
    pairs : ndarray of int64, shape (m, 2)
        Row numbers.
    features : ndarray of numbers, shape (n, d)
        May be memory-mapped: only the rows in pairs are read. NaN confirms nothing.
    least : float
        The cosine from which a pair is confirmed.

    Returns
    -------
    ndarray of bool, shape (m,)
    """
    found = np.empty(len(pairs), dtype=np.bool_)
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        first, second = (np.asarray(features[part[:, side]], dtype=np.float32) for side in (0, 1))
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        product = np.einsum("ij,ij->i", first, second)
        found[start : start + len(part)] = product >= least * lengths
    return found


def near_groups(
    n: int,
    pairs: NDArray[np.int64],
    *,
    same: NDArray[np.int64] | None = None,
    size: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return groups in which every row is near every other, named by their representatives.

    A chain of rows, each near the next, is no group. The row with the largest picture that is in no group yet becomes a
    representative; those near it join, the larger first, if they are near all that have joined. Every row that is near
    none of a larger group's keeps the chance of its own. Time and memory grow with the number of pairs.

    Parameters
    ----------
    n : int
        Number of rows.
    pairs : ndarray of int64, shape (m, 2)
        Near rows, in any order.
    same : ndarray of int64, shape (n,), optional
        As `same_hashes` gives it: rows that are near one another without being listed as pairs, and near whatever the
        first of them is near.
    size : ndarray of int64, shape (n,), optional
        Pixels of each picture. Without it, and where it is equal, the lower row is the larger picture.

    Returns
    -------
    ndarray of int64, shape (n,)
        The representative's row, for it as well; -1 where a row is alone.
    """
    rows = np.arange(n, dtype=np.int64)
    same = rows if same is None else same
    order = rows if size is None else np.lexsort((rows, -size))
    rank = np.empty(n, dtype=np.int64)
    rank[order] = rows
    # From here a number is a rank, and that of the largest of the same pictures stands for all of them.
    best = np.full(n, n, dtype=np.int64)
    np.minimum.at(best, same, rank)
    ends = np.sort(best[same[pairs]].reshape(-1, 2), axis=1)
    ends = np.unique(ends[ends[:, 0] < ends[:, 1]], axis=0)
    leader = rows.copy()
    for member, leading in _cliques(ends):
        leader[member] = leading
    group = leader[best[same]]
    alone = np.bincount(group, minlength=n) == 1
    return np.where(alone[group], -1, order[group])


def first_of_each(*keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the first row that is equal to it in every key.

    Parameters
    ----------
    *keys : ndarray of int64, shape (n,)
        What must be equal: picture, category, …

    Returns
    -------
    ndarray of int64, shape (n,)
        Row numbers; a row's own number where it is the first of its kind.

    Examples
    --------
    >>> first_of_each(np.array([7, 8, 7, 7]), np.array([0, 0, 0, 1])).tolist()
    [0, 1, 0, 3]
    """
    return _firsts(_joined(keys))


def same_pictures(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return a number for each picture, from 0 on, that is equal where their digests are.

    Parameters
    ----------
    digests : ndarray of uint8, shape (n, 16)
        Contiguous.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    low, high = digests.view(np.uint64).T
    order = np.lexsort((high, low))
    new = (np.diff(low[order], prepend=low[order][:1]) != 0) | (np.diff(high[order], prepend=high[order][:1]) != 0)
    number = np.empty(len(digests), dtype=np.int64)
    number[order] = np.cumsum(new)
    return number


def first_match(picture: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each picture the place of the first equal one in `among`, and -1 where there is none.

    Parameters
    ----------
    picture : ndarray of int64, shape (n,)
    among : ndarray of int64, shape (m,)

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    if not len(among):
        return np.full(len(picture), -1, dtype=np.int64)
    kinds, first = np.unique(among, return_index=True)
    place = np.searchsorted(kinds, picture).clip(max=len(kinds) - 1)
    return np.where(kinds[place] == picture, first[place], -1).astype(np.int64)


def in_several_categories(picture: NDArray[np.int64], category: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each row whether its picture lies in another category too.

    Parameters
    ----------
    picture, category : ndarray of int64, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    if not len(picture):
        return np.zeros(0, dtype=np.bool_)
    code = np.unique(picture, return_inverse=True)[1]
    lowest = np.full(code.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(code.max() + 1, np.iinfo(np.int64).min)
    np.minimum.at(lowest, code, category)
    np.maximum.at(highest, code, category)
    return np.asarray(lowest[code] != highest[code])


def _joined(keys: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Return one key that is equal where all keys are."""
    joined = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        kinds, code = np.unique(key, return_inverse=True)
        joined = np.unique(joined * len(kinds) + code, return_inverse=True)[1].astype(np.int64)
    return joined


def _firsts(key: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.int64]:
    _, first, code = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(first[code], dtype=np.int64)


@cache
def _waves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the waves along a side, 10 over the whole of it and 10 over its centre, as whole numbers.

    First in 20 rows, then as two matrices of 10 columns.
    """
    places = np.arange(SAMPLES) + 0.5
    number = np.arange(_WAVES)[:, None]
    centre = np.cos(np.pi * number * (places - _CUT) / (SAMPLES - 2 * _CUT))
    centre[:, :_CUT] = centre[:, -_CUT:] = 0
    waves = np.rint(_UNIT * np.concatenate([np.cos(np.pi * number * places / SAMPLES), centre]))
    return waves, np.ascontiguousarray(waves.reshape(2, _WAVES, SAMPLES).swapaxes(1, 2))


def _columns(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return hashes if hashes.ndim == 2 else hashes[:, None]


def _codes(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return each pair of different rows as one number, the lower row times n plus the higher."""
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    return np.asarray((low * n + high)[low < high])


def _all_against_all(
    hashes: NDArray[np.uint64], radius: int, mirror: np.uint64, _most: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the places of near hashes, some rows of the table of distances at a time."""
    n = len(hashes)
    # A table of 2 MB stays in the processor's cache.
    step = max(1, (1 << 18) // max(n, 1))
    for start in range(0, n, step):
        different = hashes[start : start + step, None] ^ hashes[None, start:]
        near = np.bitwise_count(different) <= radius
        if mirror:
            near |= np.bitwise_count(different ^ mirror) <= radius
        low, high = np.nonzero(near)
        yield np.stack([low, high], axis=1)[low < high] + start


def _parts(n: int, radius: int, *, mirror: bool) -> tuple[int, int]:
    """Return into how many parts the bits are dealt and how many of them choose a bucket: what takes the least time."""

    def nanoseconds(parts: int) -> float:
        chosen = parts - radius
        buckets = 2.0 ** (64 * chosen / parts)
        # Measured: 40 to sort a hash into its bucket and look at the bucket, 0.5 to compare two. Where mirrored ones
        # share their buckets, these are half as many.
        return comb(parts, chosen) * (40.0 * n + 0.5 * n * n / 2 / buckets * (1 + mirror))

    parts = min(range(radius + 1, min(radius + 8, 64) + 1), key=nanoseconds)
    return parts, parts - radius


def _by_parts(hashes: NDArray[np.uint64], radius: int, mirror: np.uint64, most: int) -> Iterator[NDArray[np.int64]]:
    """Yield the places of near hashes, those that share a choice of parts at a time."""
    parts, chosen = _parts(len(hashes), radius, mirror=bool(mirror))
    masks = np.array([sum(1 << bit for bit in range(part, 64, parts)) for part in range(parts)], dtype=np.uint64)
    # A bucket for 16 to 32 hashes where the parts have the bits for it: with one for each, of 20 million, sorting takes
    # twice as long, because more places are written to than the processor's cache holds; comparing so many is nothing.
    bits = max(1, min(int(log2(len(hashes))) - 4, 64 * chosen // parts + 1))
    place = np.empty(len(hashes), dtype=np.int32 if len(hashes) < 2**31 else np.int64)
    ordered = np.empty_like(hashes)
    found = np.empty((1 << 16, 2), dtype=np.int64)
    into_buckets, within_buckets = _compiled()
    for choice in combinations(range(parts), chosen):
        mask = np.bitwise_or.reduce(masks[list(choice)])
        starts = into_buckets(hashes, mask, mirror, bits, ordered, place)
        members = sum(1 << part for part in choice)
        while True:
            count = within_buckets(ordered, place, starts, radius, mirror, masks, chosen, members, found)
            if count <= len(found):
                break
            if count > most:
                raise TooManyPairs(f"more than {most:,}")
            found = np.empty((2 * count, 2), dtype=np.int64)
        yield found[:count].copy()


@cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the two loops of the search as machine code; compiled at the first call in a process."""
    from numba import njit

    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    pairs_mask, nibbles_mask = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    bytes_mask, sum_up, last = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101), np.uint64(56)
    # 2^64 divided by the golden ratio: its products spread over the high bits (Knuth, volume 3, section 6.4).
    spread = np.uint64(0x9E3779B97F4A7C15)

    @njit(inline="always")
    def ones(bits):  # type: ignore[no-untyped-def]
        # The compiler knows this form and replaces it by the processor's own instruction.
        bits = bits - ((bits >> one) & pairs_mask)
        bits = (bits & nibbles_mask) + ((bits >> two) & nibbles_mask)
        bits = (bits + (bits >> four)) & bytes_mask
        return (bits * sum_up) >> last

    @njit(inline="always")
    def bucket(bits, mask, mirror, shift):  # type: ignore[no-untyped-def]
        # A hash and its mirrored one belong into one bucket.
        return (min(bits & mask, (bits ^ mirror) & mask) * spread) >> shift

    @njit
    def into_buckets(hashes, mask, mirror, bits, ordered, place):  # type: ignore[no-untyped-def]
        shift = np.uint64(64 - bits)
        starts = np.zeros((1 << bits) + 1, dtype=np.int64)
        for each in hashes:
            starts[bucket(each, mask, mirror, shift) + one] += 1
        for number in range(1, len(starts)):
            starts[number] += starts[number - 1]
        following = starts[:-1].copy()
        for row, each in enumerate(hashes):
            number = bucket(each, mask, mirror, shift)
            ordered[following[number]] = each
            place[following[number]] = row
            following[number] += 1
        return starts

    @njit
    def is_first(different, masks, chosen, members):  # type: ignore[no-untyped-def]
        # A pair is found once for every choice of its equal parts: it counts at the first.
        first = 0
        for part in range(len(masks)):
            if chosen and not different & masks[part]:
                first |= 1 << part
                chosen -= 1
        return first == members

    @njit
    def within_buckets(ordered, place, starts, radius, mirror, masks, chosen, members, found):  # type: ignore[no-untyped-def]
        count = 0
        limit = np.uint64(radius)
        for number in range(len(starts) - 1):
            end = starts[number + 1]
            for row in range(starts[number], end - 1):
                mine = ordered[row]
                # Nearly always nothing is near, and this loop, which has no branch, is what the processor is fast at.
                near = 0
                if mirror:
                    for other in range(row + 1, end):
                        different = mine ^ ordered[other]
                        near += (ones(different) <= limit) | (ones(different ^ mirror) <= limit)
                else:
                    for other in range(row + 1, end):
                        near += ones(mine ^ ordered[other]) <= limit
                if not near:
                    continue
                for other in range(row + 1, end):
                    different = mine ^ ordered[other]
                    if ones(different) > limit:
                        different ^= mirror
                    if ones(different) <= limit and is_first(different, masks, chosen, members):
                        if count < len(found):
                            found[count, 0] = place[row]
                            found[count, 1] = place[other]
                        count += 1
        return count

    return into_buckets, within_buckets


def _cliques(ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield each member but the first of each group, and the first.

    Parameters
    ----------
    ends : ndarray of int64, shape (m, 2)
        Ascending within each pair, each pair once.
    """
    both = np.concatenate([ends, ends[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    numbers, starts = np.unique(both[:, 0], return_index=True)
    bounds = [*starts.tolist(), len(both)]
    spans = {number: slice(bounds[place], bounds[place + 1]) for place, number in enumerate(numbers.tolist())}
    taken: set[int] = set()
    for leading in spans:
        if leading in taken:
            continue
        near = both[spans[leading], 1].tolist()
        possible = set(near) - taken
        for member in near:
            if member in possible:
                taken.add(member)
                possible.intersection_update(both[spans[member], 1].tolist())
                yield member, leading
        # Without members it stays alone: those before it have decided otherwise, and those after it asked it.
        taken.add(leading)
